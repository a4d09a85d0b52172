//! Step 7, `forward`: the head out, the body out while it comes, the head of the answer back.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use api::{Moment, Reason};
use sidecar_core::attempt::Attempt;
use sidecar_core::limit::Admission;
use sidecar_core::outcome::FaultKind;
use tokio::task::yield_now;

use super::hear::{fault, poll_answer};
use super::learn::learn;
use super::stall::Stall;
use super::{Ongoing, Stop};
use crate::pool::Conn;
use crate::wire::{BodyKind, Broken, Downstream, Upstream};
use crate::worker::World;

/// An exchange under way on a connection: its head is sent, its answer awaited.
pub(super) struct Forward {
    stall: Stall,
    /// Its body is let go of once its first byte left.
    lets_go: bool,
    /// How often its answer is looked for before the worker sleeps; `None` before it is awaited.
    looks: Option<u8>,
}

/// What the wait for an answer came to.
pub(super) enum Came {
    /// The head of the answer, which the request has now, or why there is none.
    Head(Result<(), Stop>),
    /// Nothing yet, and it is late.
    Nothing,
}

impl Forward {
    /// Sends the request's head on `conn`. With `late`, [`Forward::poll`] says once when that moment has come.
    pub(super) fn begin<D: Downstream>(
        ongoing: &mut Ongoing<'_, D>,
        (admission, attempt): (&Admission, &Attempt),
        conn: &mut Conn,
        late: Option<Moment>,
    ) -> Self {
        let body = match (&ongoing.upgrade, ongoing.client.request_body()) {
            (Some(_), _) => BodyKind::Empty,
            (None, body) => body,
        };
        ongoing.upload.rewind();
        conn.wire.send_head(&ongoing.head, body);
        // What must not run twice is kept no longer than it may be sent again: until its first byte left, or, where
        // the endpoint or its own sidecar can still say that its app never saw it, until the answer.
        let lets_go = ongoing.only_once && !attempt.endpoint().instance.sidecar && !conn.wire.may_refuse();
        let stall = Stall::new(admission, attempt, late);
        stall.arm(ongoing);
        Self { stall, lets_go, looks: None }
    }

    /// Sends the body while it comes and waits for the head of the answer. Interim answers (RFC 9110 §15.2) go to the
    /// client as they come; the request keeps the final head, with nothing of its body read.
    pub(super) fn poll<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        world: &World,
        ongoing: &mut Ongoing<'_, D>,
        (attempt, conn): (&mut Attempt, &mut Conn),
    ) -> Poll<Came> {
        let came = self.poll_came(cx, world, ongoing, (&mut *attempt, &mut *conn));
        if let Poll::Ready(Came::Head(answer)) = &came {
            ongoing.timer.rest();
            if self.looks.is_some_and(|left| left > 0) {
                world.looks.tell(true);
            }
            learn(world, attempt, conn, answer.as_ref().map(|()| ongoing.answer.as_ref()));
        }
        came
    }

    fn poll_came<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        world: &World,
        ongoing: &mut Ongoing<'_, D>,
        (attempt, conn): (&mut Attempt, &mut Conn),
    ) -> Poll<Came> {
        if let Poll::Ready(answer) = poll_answer(cx, ongoing, conn, self.lets_go) {
            return Poll::Ready(Came::Head(answer));
        }
        attempt.sent(ongoing.upload.is_through(), || world.clock.now());
        self.stall.watch(world, ongoing, conn);
        if Pin::new(&mut *ongoing.timer).poll(cx).is_pending() {
            if ongoing.upload.is_through() {
                self.look_again(cx, world);
            }
            return Poll::Pending;
        }
        if self.stall.is_late(ongoing) {
            return Poll::Ready(Came::Nothing);
        }
        let stop = match self.stall.client_owes() {
            true => Stop::Client(Broken::Request(Reason::BodyTimeout, "the rest of a body did not come")),
            false => {
                conn.wire.doubt();
                Stop::Fault(fault(FaultKind::AttemptTimeout, conn))
            }
        };
        Poll::Ready(Came::Head(Err(stop)))
    }

    /// Has this request polled once more before the worker sleeps, if looking pays here.
    fn look_again(&mut self, cx: &mut Context<'_>, world: &World) {
        let left = self.looks.get_or_insert_with(|| world.looks.ask(world.host.in_flight()));
        if *left == 0 {
            return;
        }
        *left -= 1;
        if *left == 0 {
            return world.looks.tell(false);
        }
        // The runtime wakes whoever gave way once it has asked the kernel for news, without sleeping.
        _ = pin!(yield_now()).poll(cx);
    }
}
