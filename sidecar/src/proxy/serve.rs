//! One connection: exchange after exchange, until either side has had enough.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use api::Reason;
use sidecar_core::exchange::RequestId;
use sidecar_core::head::RequestHead;
use sidecar_core::outcome::End;
use sidecar_core::refusal::Refusal;

use super::arrive::arrive;
use super::finish::finish;
use super::say::say;
use super::{Answered, Ended, last_hop, line, own_load, reply, tunnel};
use crate::accept::Way;
use crate::wheel::Timer;
use crate::wire::h1::Tunnel;
use crate::wire::{Broken, Downstream, Upstream};
use crate::worker::World;

/// A client that was told to go away has this long to hear it.
const GOODBYE: Duration = Duration::from_secs(2);

/// What follows an exchange.
enum After {
    /// Another may come.
    Next,
    /// The connection is done.
    Close,
    /// HTTP is over and raw bytes begin.
    Tunnel(Box<Answered>),
}

/// Serves `client` until its connection ends.
pub(super) async fn serve<D: Downstream>(world: Rc<World>, way: Rc<Way>, client: D) {
    let mut exchanges = pin!(exchanges(&world, &way, client));
    poll_fn(|cx| world.clock.polling(|| exchanges.as_mut().poll(cx))).await;
}

async fn exchanges<D: Downstream>(world: &World, way: &Way, mut client: D) {
    let mut patience = world.limits.head.duration();
    // Kept from exchange to exchange: arming anew would cost each of them an allocation.
    let (mut idle, mut answer) = (world.wheel.resting(), world.wheel.resting());
    loop {
        idle.reset(world.clock.now() + patience);
        let after = match next_head(world, &mut client, &mut idle).await {
            Ok(Some(head)) if last_hop::is_here(&head) => {
                Box::pin(last_hop::answer(world, &mut client, &head)).await;
                if client.persistent() { After::Next } else { After::Close }
            }
            Ok(Some(head)) if own_load::is_asked(way, &head) => {
                Box::pin(own_load::answer(world, way, &mut client)).await;
                if client.persistent() { After::Next } else { After::Close }
            }
            // Boxed while it runs, so that a connection between two exchanges is small.
            Ok(Some(head)) => Box::pin(handle(world, way, &mut client, &mut answer, head)).await,
            Ok(None) => After::Close,
            Err(Broken::Request(reason, detail)) => {
                Box::pin(malformed(world, &mut client, reason, detail)).await;
                After::Close
            }
            // The client went away in the midst of a head: nobody is there to be told.
            Err(_) => return,
        };
        match after {
            After::Next => patience = world.limits.idle.duration(),
            After::Close => break,
            After::Tunnel(answered) => return Box::pin(tunnelled(world, client, *answered)).await,
        }
    }
    let mut timer = pin!(world.wheel.at(world.clock.now() + GOODBYE));
    poll_fn(|cx| match client.poll_close(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => timer.as_mut().poll(cx),
    })
    .await;
}

/// A client may be silent for as long as `idle` runs; from a head's first byte on, the rest has `limits.head`.
async fn next_head<D: Downstream>(
    world: &World,
    client: &mut D,
    idle: &mut Timer,
) -> Result<Option<RequestHead>, Broken> {
    let mut begun = false;
    poll_fn(|cx| {
        if let Poll::Ready(head) = client.poll_next_head(cx) {
            return Poll::Ready(head);
        }
        if !begun && client.head_begun() {
            begun = true;
            idle.reset(world.clock.now() + world.limits.head.duration());
        }
        let late = Broken::Request(Reason::HeadTimeout, "the rest of a head did not come");
        Pin::new(&mut *idle).poll(cx).map(|()| if begun { Err(late) } else { Ok(None) })
    })
    .await
}

/// The ten steps of one request.
async fn handle<D: Downstream>(
    world: &World,
    way: &Way,
    client: &mut D,
    timer: &mut Timer,
    head: RequestHead,
) -> After {
    let (mut ongoing, named) = arrive(world, way, client, timer, head);
    world.meters.arrived();
    let outcome = match named.and_then(|()| world.gate.ask(way)) {
        Ok(()) => line(world, way, &mut ongoing).await,
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(mut answered) => {
            let ended = reply::answer(world, way, &mut ongoing, &mut answered).await;
            if answered.head.status() == 101 && ended.end == End::Whole {
                finish(world, ongoing, None, &ended);
                return After::Tunnel(Box::new(answered));
            }
            finish(world, ongoing, Some(answered), &ended);
            after(client, &ended)
        }
        Err(refusal) => {
            let ended = reply::refusal(world, &mut ongoing, &refusal).await;
            finish(world, ongoing, None, &ended);
            after(client, &ended)
        }
    }
}

fn after<D: Downstream>(client: &D, ended: &Ended) -> After {
    if ended.end == End::Whole && client.persistent() { After::Next } else { After::Close }
}

/// Answers a message that is no request; there is no exchange to write down, so it is only counted.
pub(super) async fn malformed<D: Downstream>(
    world: &World,
    client: &mut D,
    reason: Reason,
    detail: &'static str,
) {
    world.meters.malformed(reason);
    let now = world.clock.now();
    let id = RequestId::mint(world.clock.wall(now), u128::from(world.dice.draw()));
    let answer = Refusal::of(reason).detail(detail).answer(id, false);
    client.close_after();
    say(world, client, answer.status, &answer.headers, answer.body).await;
}

/// Carries bytes both ways until both sides have ended. What was held for the request is held until then: a
/// tunnel is in flight for as long as it lasts.
async fn tunnelled<D: Downstream>(world: &World, client: D, answered: Answered) {
    let Answered { conn, attempt, admission, room, .. } = answered;
    let mut tunnel = Tunnel::new(client.into_tunnel(), conn.wire.into_tunnel());
    let torn = tunnel::carry(world, &admission, &mut tunnel).await;
    if let Some(reason) = torn {
        world.meters.tunnel_torn(&admission.route().plan().service, reason);
    }
    drop((attempt, admission, room));
}
