//! Whose turn it is while a request's body goes out: an endpoint is not late while its client owes it bytes.

use api::{Moment, Span};
use sidecar_core::attempt::Attempt;
use sidecar_core::limit::Admission;

use super::Ongoing;
use crate::pool::Conn;
use crate::wire::{Downstream, Upstream};
use crate::worker::World;

/// Watches a body that may stand still.
pub(super) struct Stall {
    idle: Span,
    until: Option<Moment>,
    /// When the answer is late; `None` once that was said.
    late: Option<Moment>,
    /// How much the client had sent when it began to owe; `None` while it does not.
    owes_after: Option<u64>,
}

impl Stall {
    /// For an attempt that has until its own end, within which a body may stand still for `timeout.idle`.
    /// Its answer is late at `late`, which is said once.
    pub(super) fn new(admission: &Admission, attempt: &Attempt, late: Option<Moment>) -> Self {
        let idle = admission.settings().timeout.idle;
        Self { idle, until: attempt.until(), late, owes_after: None }
    }

    /// Sets the exchange's timer to what comes first of the attempt's end and the moment when it is late.
    pub(super) fn arm<D>(&self, ongoing: &mut Ongoing<'_, D>) {
        match (self.late, self.until) {
            (Some(late), Some(until)) => ongoing.timer.reset(late.min(until)),
            (Some(at), None) | (None, Some(at)) => ongoing.timer.reset(at),
            (None, None) => ongoing.timer.rest(),
        }
    }

    /// The timer ran out: whether it was because the answer is late. Then it runs again, until the attempt's end.
    pub(super) fn is_late<D>(&mut self, ongoing: &mut Ongoing<'_, D>) -> bool {
        let Some(late) = self.late.take() else { return false };
        if self.client_owes() || self.until.is_some_and(|until| until <= late) {
            return false;
        }
        self.arm(ongoing);
        true
    }

    /// Moves the exchange's timer when it became somebody else's turn, or something came.
    pub(super) fn watch<D: Downstream>(&mut self, world: &World, ongoing: &mut Ongoing<'_, D>, conn: &Conn) {
        let sent_on = !ongoing.upload.done() && conn.wire.queued() == 0;
        let owes = sent_on && !ongoing.client.expects_continue();
        let owes_after = owes.then_some(ongoing.upload.bytes);
        if owes_after == self.owes_after {
            return;
        }
        self.owes_after = owes_after;
        // While the client owes bytes nobody is late but the client.
        match owes_after.map(|_| world.clock.now() + self.idle) {
            Some(stalled) => ongoing.timer.reset(self.until.map_or(stalled, |until| until.min(stalled))),
            None => self.arm(ongoing),
        }
    }

    /// Whether the endpoint has all that the client sent, and the client has not sent all.
    pub(super) fn client_owes(&self) -> bool {
        self.owes_after.is_some()
    }
}
