//! Raw bytes per service: the line without messages.
//!
//! A connection is one request: admitted, limited, given an endpoint, counted and written down like any other,
//! as a CONNECT (RFC 9110 §9.3.6) without a status. Nothing is sent before there is an endpoint, so every try
//! before is free to go elsewhere; afterwards there is none. A refusal is a reset: there are no words for it.

use std::rc::Rc;

use api::{Caller, Moment, Reason, ServiceKey};
use sidecar_core::admit::admit;
use sidecar_core::choose::Call;
use sidecar_core::classify::{Next, classify};
use sidecar_core::exchange::Exchange;
use sidecar_core::head::{Method, RequestHead};
use sidecar_core::level::Level;
use sidecar_core::outcome::{Answer, End, Outcome};
use sidecar_core::refusal::Refusal;
use sidecar_core::route::route;

use super::finish::{Held, finish, leave};
use super::upload::Upload;
use super::{Ended, Found, Ongoing, Reached, Stop, ask_load, connect, tunnel, wait};
use crate::accept::Way;
use crate::crowd::Member;
use crate::wire::h1::Tunnel;
use crate::wire::raw::Raw;
use crate::wire::{Downstream, Socket, Upstream};
use crate::worker::World;

/// Carries bytes between `io` and an endpoint of the service that `way` names, until both have said all; `open` counts
/// the connection until then.
pub(crate) async fn carry<S: Socket>(world: Rc<World>, way: Rc<Way>, io: S, open: Member) {
    let mut client = Raw::new(io);
    let Some(service) = way.service() else { return };
    let Ok(head) = RequestHead::build(Method::Connect, &format!("{service}:0"), &format!("{service}:0"))
    else {
        return;
    };
    let mut timer = world.wheel.resting();
    let exchange = exchange(&world, &way, service.clone());
    let mut ongoing = Ongoing {
        client: &mut client,
        timer: &mut timer,
        upload: Upload::new(true, &world.memory),
        scratch: Box::default(),
        head,
        id_line: exchange.id.line(),
        exchange,
        told: None,
        route: None,
        upgrade: None,
        grpc: false,
        only_once: true,
        // What others left in the pool spoke HTTP.
        stale: true,
        answer: None,
        refused: None,
    };
    world.meters.arrived();
    let reached = match world.gate.ask(&way) {
        Ok(()) => reach(&world, &way, &mut ongoing).await,
        Err(refusal) => Err(refusal),
    };
    match reached {
        Ok(reached) => between(&world, ongoing, reached).await,
        Err(refusal) => {
            ongoing.client.abort();
            finish(&world, &ongoing, &ended(None, Some(refusal.reason), 0));
            leave(&mut ongoing, &Held::new());
        }
    }
    drop(open);
}

fn exchange(world: &World, way: &Way, service: ServiceKey) -> Exchange {
    let arrived = world.clock.now();
    Exchange {
        id: world.new_id(arrived),
        arrived,
        service,
        peer: None,
        caller: if let Way::Inbound(_) = way { Caller::default() } else { world.caller.clone() },
        safe: false,
        idempotent: false,
        keyed: false,
        streaming: true,
        patience: None,
        level: Level::ORDINARY,
    }
}

/// Steps 2 to 8 where connecting is all that can fail.
async fn reach<S: Socket>(
    world: &World,
    way: &Way,
    ongoing: &mut Ongoing<'_, Raw<S>>,
) -> Result<Reached, Refusal> {
    let room = admit(&world.host)?;
    let view = wait::known(world, way, ongoing).await?;
    if view.plan.needs_peer {
        ongoing.exchange.peer = ongoing.client.peer();
    }
    let routed = |ongoing: &mut Ongoing<'_, Raw<S>>| {
        route(&view.plan, &ongoing.exchange, ongoing.head.method_name(), "", |_| None)
    };
    let route = routed(ongoing);
    ongoing.route = Some(Found::new(&view, &route));
    let verdict = wait::ask(world, ongoing, route);
    let admission = wait::admission(world, ongoing, (&view, routed), verdict).await?;
    loop {
        let view = world.latest(way, &view);
        let verdict = wait::pick(world, ongoing, &admission, &view);
        let mut attempt = wait::attempt(world, ongoing, (&admission, &view), verdict).await?;
        ask_load::ask(world, &view, &ongoing.scratch.probes);
        let (outcome, conn) = match connect::connect(world, ongoing, &mut attempt).await {
            Ok(conn) => (Outcome::Answer(Answer::default()), Some(conn)),
            Err(Stop::Fault(fault)) => (Outcome::Fault(fault), None),
            Err(Stop::Client(_)) => (Outcome::Cancelled, None),
        };
        let (body, now, dice) = (ongoing.upload.state(), world.clock.now(), world.dice.draw());
        let call = Call { exchange: &ongoing.exchange, admission: &admission, list: &view.list };
        match (classify(&call, &mut ongoing.scratch, &mut attempt, &outcome, body, now, dice), conn) {
            (Next::Done, Some(conn)) => {
                view.room.answered(&ongoing.scratch.tried);
                return Ok(Reached { conn, attempt, admission, room });
            }
            (Next::Done, None) => return Err(Refusal::of(Reason::Internal)),
            (Next::GiveUp(refusal), _) => return Err(refusal),
            (Next::Again { at, .. }, _) => {
                drop(attempt);
                wait::retry(world, ongoing, &view, at).await?;
            }
        }
    }
}

/// Bytes both ways, each half closed in its own time, until both are or nothing moved for
/// `timeout.tunnel`.
async fn between<S: Socket>(world: &World, mut ongoing: Ongoing<'_, Raw<S>>, reached: Reached) {
    let Reached { conn, attempt, admission, room } = reached;
    let connected = world.clock.now();
    let mut tunnel = Tunnel::new(ongoing.client.lend(), conn.wire.into_tunnel());
    let reason = tunnel::carry(world, &admission, &mut tunnel).await;
    let (forth, back) = tunnel.moved();
    drop(tunnel);
    ongoing.upload.bytes = forth;
    // What is held goes back before somebody who waits for it is woken.
    drop((attempt, admission, room));
    finish(world, &ongoing, &ended(Some(connected), reason, back));
    leave(&mut ongoing, &Held::new());
}

fn ended(head: Option<Moment>, reason: Option<Reason>, bytes_out: u64) -> Ended {
    Ended { head, status: 0, grpc: None, reason, bytes_out, end: End::Whole }
}
