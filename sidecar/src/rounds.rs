//! Who is woken together, and in whose turn: a round is what a worker runs between two sleeps.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;

/// So many requests a client has taken up in one turn before others have theirs. Whoever waits for an endpoint ends its
/// turn by that; who pipelines what is answered here never waits for anything, and would have the worker to itself, its
/// clock included.
const IN_A_TURN: u32 = 8;

/// How often the worker's thread went to sleep. Only that thread counts it.
pub(crate) type Sleeps = Arc<AtomicU32>;

/// The rounds of one worker.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    sleeps: Sleeps,
    /// The sleep that the running round follows.
    round: Cell<u32>,
    /// Requests taken up in the running turn.
    taken_up: Cell<u32>,
}

impl Rounds {
    /// Rounds that are told apart by `sleeps`.
    pub(crate) fn new(sleeps: Sleeps) -> Self {
        Self { sleeps, ..Self::default() }
    }

    /// A client's task has its turn; whether it is the first of its round.
    pub(crate) fn turn(&self) -> bool {
        self.taken_up.set(0);
        let round = self.sleeps.load(Relaxed);
        self.round.replace(round) != round
    }

    /// A request is taken up: ready at once, or, where the asker had enough in this turn, once the others had theirs.
    pub(crate) fn others_first(&self) -> impl Future<Output = ()> {
        let taken_up = self.taken_up.get() + 1;
        self.taken_up.set(taken_up);
        let mut steps_back = taken_up > IN_A_TURN;
        poll_fn(move |cx| {
            if std::mem::take(&mut steps_back) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn only_the_first_turn_after_a_sleep_begins_a_round() {
        let sleeps = Sleeps::default();
        let rounds = Rounds::new(Arc::clone(&sleeps));
        for _ in 0..2 {
            assert!(!rounds.turn());
            sleeps.fetch_add(1, Relaxed);
            assert!(rounds.turn());
        }
    }

    #[test]
    fn who_took_up_enough_in_one_turn_steps_back_even_alone() {
        let (rounds, mut cx) = (Rounds::default(), Context::from_waker(Waker::noop()));
        let mut steps_back = || pin!(rounds.others_first()).poll(&mut cx).is_pending();
        for _ in 0..2 {
            _ = rounds.turn();
            assert!((0..IN_A_TURN).all(|_| !steps_back()));
            assert!(steps_back());
        }
    }
}
