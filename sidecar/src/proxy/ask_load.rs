//! Load probes, sent: asking the sidecars before endpoints how much there is to do, off every request's path.
//!
//! A probe that fails says nothing of anybody's health and is not sent again: the next request asks somebody.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use api::message::{LOAD_PATH, header};
use api::{Protocol, ServiceKey};
use sidecar_core::endpoint::Endpoint;
use sidecar_core::head::{Method, RequestHead};
use sidecar_core::probe;
use sidecar_core::report::Report;
use sidecar_core::service::ServiceCell;
use tokio::sync::mpsc::Receiver;
use tokio::task::spawn_local;

use super::open::open;
use crate::metrics::Limit;
use crate::pool::{Conn, Place};
use crate::publish::ServiceView;
use crate::wire::h1::Client;
use crate::wire::{BodyKind, Broken, Piece, Upstream, UpstreamConn};
use crate::worker::World;

/// Probes that one worker has out at a time: those of a hundred requests a second that are answered in 100 ms
/// each, and a burst. Further ones are not sent.
pub(crate) const PROBES_MAX: usize = 32;
/// A report that takes longer is older than what it says.
const WITHIN: Duration = Duration::from_millis(100);

/// Somebody to be asked.
pub(crate) struct Asked {
    service: ServiceKey,
    cell: Arc<ServiceCell>,
    endpoints: usize,
    endpoint: Arc<Endpoint>,
}

/// Has the endpoints at `places` of the view's list asked, unless as many are being asked as may be.
#[inline]
pub(super) fn ask(world: &World, view: &ServiceView, places: &[u32]) {
    // Hardly a policy asks for any.
    if !places.is_empty() {
        have_asked(world, view, places);
    }
}

fn have_asked(world: &World, view: &ServiceView, places: &[u32]) {
    for endpoint in places.iter().filter_map(|at| view.list.endpoints.get(*at as usize)) {
        let asked = Asked {
            service: view.key.clone(),
            cell: Arc::clone(&view.cell),
            endpoints: view.list.endpoints.len(),
            endpoint: Arc::clone(endpoint),
        };
        if world.probes.try_send(asked).is_err() {
            world.meters.limit_hit(Limit::Probes);
        }
    }
}

/// Sends what is asked for, for as long as the worker lives.
pub(crate) async fn drive(world: Rc<World>, mut asked: Receiver<Asked>) {
    let out = Rc::<Cell<usize>>::default();
    while let Some(asked) = asked.recv().await {
        if out.get() >= PROBES_MAX {
            world.meters.limit_hit(Limit::Probes);
            continue;
        }
        let (world, out) = (Rc::clone(&world), Out::new(&out));
        spawn_local(async move {
            let report = in_time(&world, report(&world, &asked)).await;
            world.meters.probed(report.is_some());
            world.in_use();
            if let Some(report) = report {
                let service = (&*asked.cell, asked.endpoints);
                probe::heard(&asked.endpoint, service, report, world.clock.now(), world.dice.draw());
            }
            drop(out);
        });
    }
}

/// A probe that is out.
struct Out(Rc<Cell<usize>>);

impl Out {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn in_time<T>(world: &World, what: impl Future<Output = Option<T>>) -> Option<T> {
    let (mut what, mut timer) = (pin!(what), pin!(world.wheel.at(world.clock.now() + WITHIN)));
    poll_fn(|cx| match what.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(done),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}

async fn report(world: &World, asked: &Asked) -> Option<Report> {
    let mut conn = connected(world, asked).await?;
    let host = asked.endpoint.instance.key.service.to_string();
    let head = RequestHead::build(Method::Get, LOAD_PATH, &host).ok()?;
    conn.wire.send_head(&head, BodyKind::Empty);
    conn.wire.end(None);
    let answer = poll_fn(|cx| match conn.wire.poll_flush(cx) {
        Poll::Ready(Err(broken)) => Poll::Ready(Err(broken)),
        Poll::Ready(Ok(())) | Poll::Pending => conn.wire.poll_head(cx),
    });
    let answer = answer.await.ok()?;
    let text = answer.find(header::LOAD).and_then(|value| std::str::from_utf8(value).ok());
    let report = text.and_then(Report::read).filter(|_| answer.status() == 204);
    let whole = poll_fn(|cx| {
        loop {
            match conn.wire.poll_read(cx) {
                Poll::Ready(Ok(Piece::Data(_))) => {}
                Poll::Ready(Ok(Piece::End(_))) => return Poll::Ready(Ok::<_, Broken>(())),
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    if whole.await.is_ok()
        && let Some(limit) = world.pool.give(conn, world.clock.now())
    {
        world.meters.limit_hit(limit);
    }
    report
}

/// A connection that speaks HTTP/1.1, as every sidecar's way in does whatever its app speaks.
async fn connected(world: &World, asked: &Asked) -> Option<Box<Conn>> {
    let instance = &asked.endpoint.instance;
    let trust = if instance.tls { Some(world.trusts.of(&asked.service)?.clone()) } else { None };
    let place = Place { address: instance.address, trust: trust.as_ref().map(|trust| trust.number) };
    let now = world.clock.now();
    if let Some(conn) = world.pool.take(place, now, None, |_| {}) {
        return Some(conn);
    }
    let link = open(place.address, trust.as_deref().map(|trust| (trust, Protocol::H1))).await.ok()?;
    let retires = world.pool.retires(now, world.dice.draw());
    Some(Conn::new(UpstreamConn::H1(Box::new(Client::new(link))), place, retires))
}
