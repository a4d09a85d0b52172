//! A second attempt beside one whose answer is late: both run, the first good answer is taken, the other attempt is
//! broken off. Steps 5 to 7 once more, for a request that the client has sent whole.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use api::Moment;
use sidecar_core::also::{self, is_taken, overtaken};
use sidecar_core::attempt::Attempt;
use sidecar_core::choose::Call;
use sidecar_core::head::{RequestHead, ResponseHead};
use sidecar_core::limit::Admission;
use sidecar_core::outcome::{Body, FaultKind, Outcome};

use super::connect::{Want, anew, left, pooled};
use super::forward::{Came, Forward};
use super::hear::fault;
use super::learn::learn;
use super::outcome::outcome;
use super::upload::Whole;
use super::{Answer, Ongoing, Stop, tell_next_hop};
use crate::pool::Conn;
use crate::publish::ServiceView;
use crate::wire::{BodyKind, Broken, Downstream, Upstream};
use crate::worker::World;

/// The first attempt, whose answer is late.
pub(super) struct Late {
    attempt: Attempt,
    conn: Box<Conn>,
    forward: Forward,
}

/// What the second attempt came to: the head of its answer with the connection, or why there is none.
type Second = Result<(ResponseHead, Box<Conn>), Stop>;

/// Which of the two ended.
enum Ended {
    First(Result<(), Stop>),
    Second(Box<Second>),
}

/// Runs a second attempt beside `first`, if that may be. The attempt that comes back is the one whose answer counts.
pub(super) async fn beside<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    asked: (&Admission, &ServiceView),
    mut first: Late,
) -> (Attempt, Answer) {
    let Some((mut second, whole)) = begin(world, ongoing, asked, &first.attempt) else {
        return first.alone(world, ongoing).await;
    };
    let (mut head, body) = (ongoing.head.clone(), ongoing.client.request_body());
    tell_next_hop(&mut head, &ongoing.exchange, asked.0, &second);
    let service = ongoing.exchange.service.clone();
    let want = Want { service: &service, only_once: false, fresh: false };
    let mut running = Box::pin(forward(world, want, &mut second, (head, body), whole));
    let ended = poll_fn(|cx| {
        if let Poll::Ready(Came::Head(answer)) = first.poll(cx, world, ongoing) {
            return Poll::Ready(Ended::First(answer));
        }
        running.as_mut().poll(cx).map(|answer| Ended::Second(Box::new(answer)))
    })
    .await;
    match ended {
        Ended::First(answer) => {
            let sidecar = first.attempt.endpoint().instance.sidecar;
            let found = outcome(ongoing.answer.as_ref(), answer.as_ref().err(), sidecar);
            if taken(world, ongoing, asked, &mut first.attempt, &found) {
                drop(running);
                go(world, ongoing, asked, &mut second, &found);
                return (first.attempt, answer.map(|()| first.conn));
            }
            drop(first);
            let answer = watched(ongoing, running.as_mut()).await;
            drop(running);
            (second, answer.map(|answer| kept(ongoing, answer)))
        }
        Ended::Second(answer) => {
            drop(running);
            let head = answer.as_ref().as_ref().ok().map(|(head, _)| head);
            let found = outcome(head, answer.as_ref().as_ref().err(), second.endpoint().instance.sidecar);
            if !taken(world, ongoing, asked, &mut second, &found) {
                return first.alone(world, ongoing).await;
            }
            ongoing.timer.rest();
            go(world, ongoing, asked, &mut first.attempt, &found);
            (second, answer.map(|answer| kept(ongoing, answer)))
        }
    }
}

impl Late {
    pub(super) fn of(attempt: Attempt, (conn, forward): (Box<Conn>, Forward)) -> Self {
        Self { attempt, conn, forward }
    }

    fn poll<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        world: &World,
        ongoing: &mut Ongoing<'_, D>,
    ) -> Poll<Came> {
        self.forward.poll(cx, world, ongoing, (&mut self.attempt, &mut self.conn))
    }

    /// It is waited for with nothing beside it.
    async fn alone<D: Downstream>(
        mut self,
        world: &World,
        ongoing: &mut Ongoing<'_, D>,
    ) -> (Attempt, Answer) {
        loop {
            let came = poll_fn(|cx| self.poll(cx, world, ongoing)).await;
            if let Came::Head(answer) = came {
                return (self.attempt, answer.map(|()| self.conn));
            }
        }
    }
}

/// The second attempt and what it sends, where there is leave for it and somebody to ask.
fn begin<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    (admission, view): (&Admission, &ServiceView),
    first: &Attempt,
) -> Option<(Attempt, Whole)> {
    let (now, dice) = (world.clock.fresh(), world.dice.draw());
    let call = Call { exchange: &ongoing.exchange, admission, list: &view.list };
    let whole = ongoing.upload.copy();
    let body = if whole.is_some() { Body::Whole } else { Body::Gone };
    let second = also::begin(&call, &mut ongoing.scratch, first, body, now, dice)?;
    Some((second, whole?))
}

/// The whole request, and the head of its answer. Interim answers are the first attempt's to pass on.
async fn forward(
    world: &World,
    want: Want<'_>,
    attempt: &mut Attempt,
    (head, body): (RequestHead, BodyKind),
    whole: Whole,
) -> Second {
    let mut conn = match pooled(world, want, attempt) {
        Some(conn) => conn,
        None => anew(world, want.service, attempt, |_| Poll::Pending).await?,
    };
    let mut timer = pin!(world.wheel.at(attempt.until().unwrap_or(Moment::from_nanos(u64::MAX))));
    conn.wire.send_head(&head, body);
    whole.pieces.into_iter().for_each(|piece| conn.wire.send(piece));
    conn.wire.end(whole.trailers);
    let answer = poll_fn(|cx| {
        // An endpoint may answer early and close: a failed write is told by the answer, if there is one.
        let flushed = conn.wire.poll_flush(cx);
        let broken = |kind, conn: &Conn| Poll::Ready(Err(Stop::Fault(fault(kind, conn))));
        loop {
            match conn.wire.poll_head(cx) {
                Poll::Ready(Ok(head)) if head.interim() => {}
                Poll::Ready(Ok(head)) if head.status() == 101 => return broken(FaultKind::BadAnswer, &conn),
                Poll::Ready(Ok(head)) => return Poll::Ready(Ok(head)),
                Poll::Ready(Err(Broken::Answer(_))) => return broken(FaultKind::BadAnswer, &conn),
                Poll::Ready(Err(_)) => return broken(FaultKind::ResetBeforeHead, &conn),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(_)) = flushed {
            return broken(FaultKind::ResetBeforeHead, &conn);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        conn.wire.doubt();
        broken(FaultKind::AttemptTimeout, &conn)
    })
    .await;
    learn(world, attempt, &mut conn, answer.as_ref().map(Some));
    answer.map(|head| (head, conn))
}

/// The second attempt is left alone: now it is its wait in which the client may leave.
async fn watched<D: Downstream>(
    ongoing: &mut Ongoing<'_, D>,
    mut running: Pin<&mut impl Future<Output = Second>>,
) -> Second {
    poll_fn(|cx| {
        if let Poll::Ready(answer) = running.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        ongoing.client.poll_gone(cx).map(|gone| Err(Stop::Client(left(gone))))
    })
    .await
}

/// The request keeps the head of the second attempt's answer; the connection is left.
fn kept<D>(ongoing: &mut Ongoing<'_, D>, (head, conn): (ResponseHead, Box<Conn>)) -> Box<Conn> {
    ongoing.answer = Some(head);
    conn
}

/// Whether the answer of the attempt that ended first is taken.
fn taken<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    (admission, view): (&Admission, &ServiceView),
    attempt: &mut Attempt,
    found: &Outcome,
) -> bool {
    let call = Call { exchange: &ongoing.exchange, admission, list: &view.list };
    is_taken(&call, &mut ongoing.scratch, attempt, found, world.clock.fresh(), world.dice.draw())
}

/// The other attempt is broken off: overtaken, or dropped with the request.
fn go<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    (admission, view): (&Admission, &ServiceView),
    attempt: &mut Attempt,
    found: &Outcome,
) {
    if *found != Outcome::Cancelled {
        let call = Call { exchange: &ongoing.exchange, admission, list: &view.list };
        overtaken(&call, &mut ongoing.scratch, attempt, world.clock.now(), world.dice.draw());
    }
}
