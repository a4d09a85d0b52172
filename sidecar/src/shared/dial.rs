//! A connection being made or put to the proof, for all who wait for it.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use sidecar_core::outcome::FaultKind;

/// One, until it is known what came of it.
#[derive(Default)]
pub struct Dial {
    outcome: Cell<Option<Result<(), FaultKind>>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Dial {
    /// Ready once there is a connection, or there will be none.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), FaultKind>> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn end(&self, outcome: Result<(), FaultKind>) {
        self.outcome.set(Some(outcome));
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}
