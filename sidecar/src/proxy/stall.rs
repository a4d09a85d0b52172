//! Whose turn it is while a request's body goes out: an endpoint is not late while its client owes it bytes.

use std::time::Duration;

use api::Moment;
use sidecar_core::attempt::Attempt;
use sidecar_core::limit::Admission;

use super::Ongoing;
use crate::pool::Conn;
use crate::wire::{Downstream, Upstream};
use crate::worker::World;

/// Watches a body that may stand still.
pub(super) struct Stall {
    idle: Duration,
    until: Option<Moment>,
    /// How much the client had sent when it began to owe; `None` while it does not.
    owes_after: Option<u64>,
}

impl Stall {
    /// For an attempt that has until its own end, within which a body may stand still for `timeout.idle`.
    pub(super) fn new(admission: &Admission, attempt: &Attempt) -> Self {
        let idle = admission.settings().timeout.idle.duration();
        Self { idle, until: attempt.until(), owes_after: None }
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
        let stalled = owes_after.map(|_| world.clock.now() + self.idle);
        match [stalled, self.until].into_iter().flatten().min() {
            Some(at) => ongoing.timer.reset(at),
            None => ongoing.timer.rest(),
        }
    }

    /// Whether the endpoint has all that the client sent, and the client has not sent all.
    pub(super) fn client_owes(&self) -> bool {
        self.owes_after.is_some()
    }
}
