//! One connection: exchange after exchange, until either side has had enough.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use api::Reason;
use sidecar_core::exchange::RequestId;
use sidecar_core::outcome::End;
use sidecar_core::refusal::Refusal;

use super::apart::apart;
use super::arrive::arrive;
use super::finish::{Held, finish, leave};
use super::lines::{Desk, Job, Kept, Lines, Running, Work};
use super::say::say;
use super::{Ended, Reached, last_hop, line, own_load, reply, tunnel};
use crate::accept::Way;
use crate::wheel::Timer;
use crate::wire::h1::Tunnel;
use crate::wire::{Broken, Downstream, Upstream};
use crate::worker::World;

/// A client that was told to go away has this long to hear it.
const GOODBYE: Duration = Duration::from_secs(2);

/// What follows an exchange.
pub(super) enum After {
    /// Another may come.
    Next,
    /// The connection is done.
    Close,
    /// HTTP is over and raw bytes begin.
    Tunnel(Box<Reached>),
}

/// Serves `client` until its connection ends.
pub(super) async fn serve<D: Downstream, W: Work<D>>(client: D, lines: Rc<Lines<D, W>>) {
    let mut guest = Some(Guest::new(&lines.world, client));
    if let (Some(reached), Some(guest)) = (exchanges(&mut guest, &lines).await, guest) {
        apart(|| tunnelled(&lines.world, guest, *reached)).await;
    }
}

/// A client and the times that are kept on it, from exchange to exchange; boxed, for it moves to the line of each and
/// back.
pub(super) struct Guest<D> {
    pub(super) client: D,
    /// For how long it may be silent.
    pub(super) idle: Timer,
    /// For how long an answer may take.
    answer: Timer,
    /// Whether it was answered before.
    known: bool,
}

impl<D> Guest<D> {
    pub(super) fn new(world: &World, client: D) -> Box<Self> {
        Box::new(Self { client, idle: world.wheel.resting(), answer: world.wheel.resting(), known: false })
    }
}

/// Exchange after exchange, until the connection ends, or HTTP does: what answered then has raw bytes to come. While a
/// request runs, its line has the guest.
///
/// Clients are many and mostly silent, so what lives between two exchanges is small: everything is borrowed, and what
/// runs for one exchange is lent.
#[expect(clippy::manual_async_fn, reason = "an async fn would keep its arguments twice")]
pub(super) fn exchanges<D: Downstream, W: Work<D>>(
    guest: &mut Option<Box<Guest<D>>>,
    lines: &Lines<D, W>,
) -> impl Future<Output = Option<Box<Reached>>> {
    async move {
        let world = &*lines.world;
        let mut exchanges = pin!(async {
            loop {
                let after = {
                    let due = match next_exchange(lines, guest).await {
                        Ok(Some(exchange)) => Ok(exchange),
                        Ok(None) => break,
                        Err(Broken::Request(reason, detail)) => Err((reason, detail)),
                        // The client went away in the midst of a head: nobody is there to be told.
                        Err(_) => return None,
                    };
                    match due {
                        Ok(exchange) => {
                            world.rounds.others_first().await;
                            let (back, after) = exchange.await;
                            *guest = Some(back);
                            after
                        }
                        Err((reason, detail)) => {
                            let client = &mut guest.as_mut()?.client;
                            apart(|| malformed(world, client, reason, detail)).await;
                            After::Close
                        }
                    }
                };
                match after {
                    After::Next => guest.as_mut()?.known = true,
                    After::Close => break,
                    After::Tunnel(reached) => return Some(reached),
                }
            }
            goodbye(world, guest.as_mut()?).await;
            None
        });
        poll_fn(|cx| {
            let first = world.rounds.turn();
            world.clock.polling(|| {
                if first {
                    world.pass_by();
                }
                exchanges.as_mut().poll(cx)
            })
        })
        .await
    }
}

/// The next request, on its line: its head moves there at once, and no room is kept for it here. A client may be silent for
/// `limits.idle`, `limits.head` before its first request; from a head's first byte on, the rest has `limits.head`.
fn next_exchange<'l, D: Downstream, W: Work<D>>(
    lines: &'l Lines<D, W>,
    next: &mut Option<Box<Guest<D>>>,
) -> impl Future<Output = Result<Option<Running<'l, D, W>>, Broken>> {
    let world = &*lines.world;
    if let Some(guest) = next {
        let patience = if guest.known { world.limits.idle } else { world.limits.head };
        guest.idle.reset(world.clock.now() + patience);
    }
    let mut begun = false;
    poll_fn(move |cx| {
        let Some(guest) = next else { return Poll::Ready(Ok(None)) };
        match guest.client.poll_next_head(cx) {
            Poll::Ready(Ok(Some(head))) => {
                let Some(guest) = next.take() else { return Poll::Ready(Ok(None)) };
                let exchange = lines.run(Job { guest, head, arrived: world.clock.now() });
                return Poll::Ready(Ok(Some(exchange)));
            }
            Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
            Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
            Poll::Pending => {}
        }
        if !begun && guest.client.head_begun() {
            begun = true;
            guest.idle.reset(world.clock.now() + world.limits.head);
        }
        let late = Broken::Request(Reason::HeadTimeout, "the rest of a head did not come");
        Pin::new(&mut guest.idle).poll(cx).map(|()| if begun { Err(late) } else { Ok(None) })
    })
}

/// Ends the connection in order, as far as the client hears it in time.
fn goodbye<D: Downstream>(world: &World, guest: &mut Guest<D>) -> impl Future<Output = ()> {
    guest.idle.reset(world.clock.now() + GOODBYE);
    poll_fn(move |cx| match guest.client.poll_close(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => Pin::new(&mut guest.idle).poll(cx),
    })
}

/// The ten steps of the request on `desk`, and whose it is.
pub(super) async fn handle<D: Downstream>(
    world: &World,
    way: &Way,
    desk: &Desk<D>,
    kept: &mut Kept,
) -> Option<(Box<Guest<D>>, After)> {
    // It is taken up here: what is handed to who waits is kept twice.
    let Job { mut guest, head, arrived } = desk.take_up()?;
    let Guest { client, answer: timer, .. } = &mut *guest;
    if last_hop::is_here(&head) {
        apart(|| last_hop::answer(world, client, head)).await;
        let after = if client.persistent() { After::Next } else { After::Close };
        return Some((guest, after));
    }
    if own_load::is_asked(way, &head) {
        drop(head);
        apart(|| own_load::answer(world, way, client)).await;
        let after = if client.persistent() { After::Next } else { After::Close };
        return Some((guest, after));
    }
    let mut ongoing = arrive(world, way, client, timer, (head, arrived), kept);
    world.meters.arrived();
    let mut held = Held::new();
    let taken = match ongoing.refused.take() {
        None => world.gate.ask(way),
        Some(refusal) => Err(*refusal),
    };
    let came = match taken {
        Ok(()) => line(world, way, &mut ongoing, &mut held).await,
        Err(refusal) => Err(refusal),
    };
    let (ended, after) = match came {
        Ok(came) => came,
        Err(refusal) => {
            let ended = apart(|| reply::refusal(world, way, &mut ongoing, &refusal)).await;
            let after = after(ongoing.client, &ended);
            (ended, after)
        }
    };
    finish(world, &ongoing, &ended);
    leave(&mut ongoing, &held);
    kept.scratch = Some(ongoing.scratch);
    if way.service().is_some() {
        kept.named = Some(ongoing.exchange.service);
    }
    Some((guest, after))
}

pub(super) fn after<D: Downstream>(client: &D, ended: &Ended) -> After {
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
pub(super) async fn tunnelled<D: Downstream>(world: &World, guest: Box<Guest<D>>, reached: Reached) {
    let Reached { conn, attempt, admission, room } = reached;
    let mut tunnel = Tunnel::new(guest.client.into_tunnel(), conn.wire.into_tunnel());
    let torn = tunnel::carry(world, &admission, &mut tunnel).await;
    if let Some(reason) = torn {
        world.meters.tunnel_torn(&admission.route().plan().service, reason);
    }
    drop((attempt, admission, room));
}
