//! A second attempt beside a late one, as `sidecar/src/proxy/beside.rs` runs it.
//!
//! A request shows one attempt at a time: whichever a deed is meant for. The other one waits in `beside`.

use std::mem;

use sidecar_core::also::{self, is_taken, overtaken};
use sidecar_core::attempt::Attempt;
use sidecar_core::choose::Call;
use sidecar_core::outcome::{Body, Outcome};

use super::Request;
use crate::check::Met;
use crate::world::World;

/// The attempt that no deed is meant for at the moment.
#[derive(Debug)]
pub(crate) struct Beside {
    attempt: Attempt,
    turn: u32,
    reused: bool,
}

impl Request {
    /// Every attempt that runs.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempt.iter().chain(self.beside.iter().map(|beside| &beside.attempt))
    }

    /// Whether one of its attempts is at `turn`.
    pub(super) fn is_at(&self, turn: u32) -> bool {
        self.turn == turn || self.beside.as_ref().is_some_and(|beside| beside.turn == turn)
    }

    /// Shows the attempt that is at `turn`.
    pub(super) fn face(&mut self, turn: u32) {
        let other = self.beside.as_ref().is_some_and(|beside| beside.turn == turn);
        if let (true, Some(beside), Some(attempt)) = (other, &mut self.beside, &mut self.attempt) {
            mem::swap(&mut beside.attempt, attempt);
            mem::swap(&mut beside.turn, &mut self.turn);
            mem::swap(&mut beside.reused, &mut self.reused);
        }
    }

    /// Its attempt has another turn, unlike any before.
    pub(super) fn next_turn(&mut self) {
        self.turns += 1;
        self.turn = self.turns;
    }

    /// Only the attempt beside the shown one is left.
    fn turn_to_the_other(&mut self) {
        if let Some(Beside { attempt, turn, reused }) = self.beside.take() {
            (self.attempt, self.turn, self.reused) = (Some(attempt), turn, reused);
        }
    }
}

impl World {
    /// The answer of the shown attempt is late: another one begins beside it, if that may be.
    pub(super) fn late(&mut self, mut request: Request) {
        let (now, dice) = (self.nodes[request.node].local(self.now), self.dice.next());
        let list = self.nodes[request.node].workers[request.worker].views[request.service].list.clone();
        let body = if request.body_gone { Body::Gone } else { Body::Whole };
        let mut second = None;
        if let (Some(admission), Some(first)) = (&request.admission, &request.attempt) {
            let call = Call { exchange: &request.exchange, admission, list: &list };
            let breakers = Met::of(&call);
            second = also::begin(&call, &mut request.scratch, first, body, now, dice);
            self.broke(&call, &breakers, second.as_ref());
            if let Some(second) = &second {
                self.asked_of(admission, second, now);
            }
        }
        let Some(second) = second else {
            self.requests.insert(request.number, request);
            return;
        };
        self.hedged(&request, body, &second);
        let (turn, reused) = (request.turn, request.reused);
        let first = request.attempt.replace(second);
        request.beside = first.map(|attempt| Beside { attempt, turn, reused });
        self.connect(request);
    }

    /// The shown attempt ended. Whether the request goes on with that: if another runs beside it, a good answer ends
    /// the other one, and anything else leaves the request to the other one.
    pub(super) fn taken(&mut self, mut request: Request, outcome: &Outcome) -> Option<Request> {
        if request.beside.is_none() {
            return Some(request);
        }
        let (now, dice) = (self.nodes[request.node].local(self.now), self.dice.next());
        let list = self.nodes[request.node].workers[request.worker].views[request.service].list.clone();
        let (Some(admission), Some(attempt)) = (&request.admission, &mut request.attempt) else {
            return None;
        };
        let call = Call { exchange: &request.exchange, admission, list: &list };
        let before = self.checks.before_verdict(&call);
        let taken = is_taken(&call, &mut request.scratch, attempt, outcome, now, dice);
        if let (true, Some(other)) = (taken && *outcome != Outcome::Cancelled, &mut request.beside) {
            overtaken(&call, &mut request.scratch, &mut other.attempt, now, dice);
        }
        self.ejections(&request, &before);
        if taken {
            request.beside = None;
            return Some(request);
        }
        request.turn_to_the_other();
        self.requests.insert(request.number, request);
        None
    }
}
