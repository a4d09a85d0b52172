//! Step 6, `connect`: a pooled connection, or one dialled anew.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::{Moment, Protocol, ServiceKey};
use sidecar_core::attempt::Attempt;
use sidecar_core::outcome::{Fault, FaultKind, Sent};

use super::apart::apart;
use super::join::join;
use super::open::open;
use super::{Ongoing, Stop, upgrade};
use crate::pool::{Conn, Place};
use crate::tls::Trust;
use crate::wire::h1::Client;
use crate::wire::{Broken, Downstream, Gone, UpstreamConn};
use crate::worker::World;

/// What a request wants of a connection.
#[derive(Clone, Copy)]
pub(super) struct Want<'a> {
    pub(super) service: &'a ServiceKey,
    /// It must not run twice.
    pub(super) only_once: bool,
    /// A pooled connection failed under it: this one is dialled.
    pub(super) fresh: bool,
}

/// A connection to the attempt's endpoint, while the client waits for it.
pub(super) async fn connect<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    attempt: &mut Attempt,
) -> Result<Box<Conn>, Stop> {
    let Ongoing { client, exchange, only_once, stale, .. } = ongoing;
    let want = Want { service: &exchange.service, only_once: *only_once, fresh: *stale };
    let conn = match pooled(world, want, attempt) {
        Some(conn) => conn,
        // Boxed: few requests dial, and all would have room for what that holds.
        None => apart(|| anew(world, want.service, attempt, |cx| client.poll_gone(cx))).await?,
    };
    upgrade::possible(ongoing, &conn)?;
    Ok(conn)
}

/// An idle connection to the attempt's endpoint. A request that must not run twice never rides on one that has been idle
/// for longer than the endpoint is known to allow; nobody rides on one that was just closed.
pub(super) fn pooled(world: &World, want: Want<'_>, attempt: &mut Attempt) -> Option<Box<Conn>> {
    let now = world.clock.now();
    let endpoint = attempt.endpoint();
    // After a failed reuse a fresh connection: the others in the pool are most likely as dead.
    if want.fresh || is_shared(endpoint.instance.protocol) {
        return None;
    }
    let trust = if endpoint.instance.tls { Some(world.trusts.of(want.service)?.number) } else { None };
    let place = Place { address: endpoint.instance.address, trust };
    let careful = want.only_once.then_some(&endpoint.cell);
    let conn = world.pool.take(place, now, careful, |idled| endpoint.cell.idle.tell_closed(now, idled))?;
    attempt.connected(world.clock.now(), true);
    Some(conn)
}

/// A connection of its own to the attempt's endpoint, or a stream of a shared one, unless `gone` says first that nobody
/// waits for it.
pub(super) async fn anew(
    world: &World,
    service: &ServiceKey,
    attempt: &mut Attempt,
    gone: impl FnMut(&mut Context<'_>) -> Poll<Gone>,
) -> Result<Box<Conn>, Stop> {
    let instance = &attempt.endpoint().instance;
    let trust = if instance.tls { Some(trusted(world, service)?) } else { None };
    let place = Place { address: instance.address, trust: trust.as_ref().map(|trust| trust.number) };
    let until = attempt.connect_until();
    let conn = if is_shared(instance.protocol) {
        join(world, gone, (place, trust), until).await?
    } else {
        let tls = trust.as_deref().map(|trust| (trust, instance.protocol));
        dial(world, gone, (place, tls), until).await?
    };
    attempt.connected(world.clock.now(), conn.reused);
    Ok(conn)
}

/// Whether requests share connections to who speaks `protocol`.
fn is_shared(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::H2c | Protocol::Grpc)
}

async fn dial(
    world: &World,
    mut gone: impl FnMut(&mut Context<'_>) -> Poll<Gone>,
    (place, tls): (Place, Option<(&Trust, Protocol)>),
    until: Moment,
) -> Result<Box<Conn>, Stop> {
    let mut dial = pin!(open(place.address, tls));
    let mut timer = pin!(world.wheel.at(until));
    poll_fn(|cx| {
        if let Poll::Ready(dialled) = dial.as_mut().poll(cx) {
            if matches!(dialled, Err(FaultKind::NoSocket)) {
                // Each idle one holds a descriptor that the next try may have.
                world.pool.shed();
            }
            let fresh = |link| {
                let retires = world.pool.retires(world.clock.now(), world.dice.draw());
                Conn::new(UpstreamConn::H1(Box::new(Client::new(link))), place, retires)
            };
            return Poll::Ready(dialled.map(fresh).map_err(|kind| Stop::Fault(unsent(kind))));
        }
        if let Poll::Ready(gone) = gone(cx) {
            return Poll::Ready(Err(Stop::Client(left(gone))));
        }
        timer.as_mut().poll(cx).map(|()| Err(Stop::Fault(unsent(FaultKind::ConnectTimeout))))
    })
    .await
}

/// How the endpoints of `service` are trusted. One that is listed with TLS and that nobody trusts is never spoken
/// to in clear.
fn trusted(world: &World, service: &ServiceKey) -> Result<Arc<Trust>, Stop> {
    let trust = world.trusts.of(service);
    trust.cloned().ok_or(Stop::Fault(unsent(FaultKind::TlsFailed)))
}

pub(super) fn unsent(kind: FaultKind) -> Fault {
    Fault { kind, sent: Sent::None, reused: false, answer_byte: false }
}

pub(super) fn left(gone: Gone) -> Broken {
    match gone {
        Gone::Closed => Broken::Closed,
        Gone::Reset => Broken::Reset,
    }
}
