//! The one place where a request waits: for a list it was the first to ask for, for room, for its turn, for its next try.
//!
//! Whoever waits also watches the client: a request nobody waits for any more must not keep its place.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use api::{Moment, Reason};
use sidecar_core::ahead::Waiting;
use sidecar_core::attempt::Attempt;
use sidecar_core::choose::{Call, choose};
use sidecar_core::limit::{Admission, limit};
use sidecar_core::queue::{Order, Verdict, WaitOn};
use sidecar_core::refusal::Refusal;
use sidecar_core::route::Route;

use super::Ongoing;
use super::apart::apart;
use crate::accept::Way;
use crate::room::{Place, Room};
use crate::served::Served;
use crate::wire::Downstream;
use crate::worker::{Known, World};

/// Room that nobody gave back, as where a cap rose, is noticed this soon: longer than a wake-up costs, shorter than anyone waits.
const LOOK_AGAIN: Duration = Duration::from_millis(4);

/// What this host knows of the service.
pub(super) async fn known<D: Downstream>(
    world: &World,
    way: &Way,
    ongoing: &mut Ongoing<'_, D>,
) -> Result<Rc<Served>, Refusal> {
    match world.at_hand(way, &ongoing.exchange.service) {
        Some(view) => Ok(view),
        None => apart(|| told(world, way, ongoing)).await,
    }
}

/// What this host is told of the service. The first call of an unknown one has it subscribed and waits for its list, at most
/// `outbound.first_call`.
async fn told<D: Downstream>(
    world: &World,
    way: &Way,
    ongoing: &mut Ongoing<'_, D>,
) -> Result<Rc<Served>, Refusal> {
    let service = ongoing.exchange.service.clone();
    let until = world.clock.now() + world.first_call.duration();
    let mut timer = pin!(world.wheel.at(until));
    poll_fn(|cx| match world.known(way, &service, cx) {
        Known::Service(view) => Poll::Ready(Ok(view)),
        Known::Missing(reason) => Poll::Ready(Err(missing(reason, &service))),
        Known::NotYet => {
            if let Poll::Ready(gone) = ongoing.client.poll_gone(cx) {
                return Poll::Ready(Err(left(gone)));
            }
            timer.as_mut().poll(cx).map(|()| Err(missing(Reason::NoSnapshot, &service)))
        }
    })
    .await
}

fn missing(reason: Reason, service: &api::ServiceKey) -> Refusal {
    Refusal::of(reason).detail(format!("service {service}"))
}

/// Leave to go on, or what stands in its way.
pub(super) fn ask<D>(world: &World, ongoing: &mut Ongoing<'_, D>, route: Route) -> Verdict<Admission> {
    let head = &ongoing.head;
    let header = |name: &str| head.find(name).and_then(|value| std::str::from_utf8(value).ok());
    limit(route, &ongoing.exchange, header, &mut ongoing.scratch, world.clock.now())
}

/// Leave to go on for whom [`ask`] gave this verdict: room within the service's cap, or its turn where a leaky bucket
/// gives turns. Each time it asks anew its route is found again, by `again`: who need not wait has none to spare.
pub(super) async fn admission<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    (view, again): (&Served, impl Fn(&mut Ongoing<'_, D>) -> Route),
    mut verdict: Verdict<Admission>,
) -> Result<Admission, Refusal> {
    let mut place = None;
    loop {
        match verdict {
            Verdict::Now(admission) => {
                if let Some(turn) = admission.turn() {
                    until(world, ongoing, turn, |_| Poll::Pending).await?;
                }
                return Ok(admission);
            }
            Verdict::Refuse(refusal) => return Err(refusal),
            Verdict::Wait { until, on } => {
                let waits = (&*view.room, Waiting::default(), Order::Youth);
                room(world, ongoing, waits, (on, until), &mut place).await?;
            }
        }
        let route = again(ongoing);
        verdict = ask(world, ongoing, route);
    }
}

/// The next attempt, or what stands in its way. It is not looked at here: its verdict is large, and made where the caller
/// keeps it.
pub(super) fn pick<D>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    admission: &Admission,
    view: &Served,
) -> Verdict<Attempt> {
    let (now, dice) = (world.clock.fresh(), world.dice.draw());
    let call = Call { exchange: &ongoing.exchange, admission, list: &view.list };
    choose(&call, &mut ongoing.scratch, now, dice)
}

/// The next attempt for whom [`pick`] gave this verdict: when there is room at some endpoint.
pub(super) async fn attempt<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    (admission, view): (&Admission, &Served),
    mut verdict: Verdict<Attempt>,
) -> Result<Attempt, Refusal> {
    let mut place = None;
    loop {
        match verdict {
            Verdict::Now(attempt) => return Ok(attempt),
            Verdict::Refuse(refusal) => return Err(refusal),
            Verdict::Wait { until, on } => {
                let class = ongoing.exchange.level.class();
                let waiting = Waiting::begin(&view.list, &ongoing.scratch, class);
                let waits = (&*view.room, waiting, view.plan.cell.crowd.order(class));
                room(world, ongoing, waits, (on, until), &mut place).await?;
            }
        }
        verdict = pick(world, ongoing, admission, view);
    }
}

/// Until a place of what is waited for may be free, or `until`. Whoever comes in asks once more before it rests; whoever asks in vain
/// keeps its place in the queue, and the first one looks again.
async fn room<'r, D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    (room, waiting, order): (&'r Room, Waiting, Order),
    (on, until): (WaitOn, Moment),
    place: &mut Option<Place<'r>>,
) -> Result<(), Refusal> {
    let Some(place) = place.as_ref().filter(|place| place.on() == on) else {
        let class = ongoing.exchange.level.class();
        *place = Some(room.enter((class, order), on, (world.clock.now(), until), waiting));
        return Ok(());
    };
    place.wait_at(waiting, until);
    loop {
        let now = world.clock.now();
        let soon = if place.is_first(now) { until.min(now + LOOK_AGAIN) } else { until };
        self::until(world, ongoing, soon, |cx| place.poll_woken(cx)).await?;
        let now = world.clock.now();
        if now >= until || place.may_ask(now) {
            return Ok(());
        }
    }
}

/// Until the next try is due; what the one before held is free.
pub(super) async fn retry<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    view: &Served,
    at: Moment,
) -> Result<(), Refusal> {
    view.room.answered(&ongoing.scratch.tried);
    if at <= world.clock.now() { Ok(()) } else { until(world, ongoing, at, |_| Poll::Pending).await }
}

async fn until<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    at: Moment,
    mut freed: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Result<(), Refusal> {
    let mut timer = pin!(world.wheel.at(at));
    poll_fn(|cx| {
        if let Poll::Ready(gone) = ongoing.client.poll_gone(cx) {
            return Poll::Ready(Err(left(gone)));
        }
        if freed(cx).is_ready() { Poll::Ready(Ok(())) } else { timer.as_mut().poll(cx).map(Ok) }
    })
    .await
}

fn left(_: crate::wire::Gone) -> Refusal {
    Refusal::of(Reason::ClientGone).detail("while it waited")
}
