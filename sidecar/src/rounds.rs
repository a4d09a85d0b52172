//! Who is woken together: a round is what a worker runs between two sleeps.
//!
//! Where many are ready, whoever has read a request lets the others read theirs before anybody writes to an endpoint:
//! the endpoints are then woken once for several requests and find the next ones there. Each wake-up saved is an
//! interrupt to another core.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;

/// From so many turns of clients in the last round on, this one is taken for as crowded: below it there are too few to be
/// served together, and each would only be put off.
const CROWD: u32 = 4;

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
    /// Turns in it so far, and in the one before.
    turns: Cell<u32>,
    before: Cell<u32>,
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
        let round = self.sleeps.load(Relaxed);
        let first = self.round.replace(round) != round;
        if first {
            self.before.set(self.turns.take());
        }
        self.turns.set(self.turns.get() + 1);
        self.taken_up.set(0);
        first
    }

    /// A request is taken up: ready once whoever was woken together with the asker had its turn, where they are many or the
    /// asker had enough in this one.
    pub(crate) fn others_first(&self) -> impl Future<Output = ()> {
        let taken_up = self.taken_up.get() + 1;
        self.taken_up.set(taken_up);
        let mut steps_back = self.before.get() >= CROWD || taken_up > IN_A_TURN;
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

    /// Whether somebody steps back in a round that follows one of so many turns.
    fn check(turns: u32, wanted: bool) {
        let sleeps = Sleeps::default();
        let rounds = Rounds::new(Arc::clone(&sleeps));
        (0..turns).for_each(|_| _ = rounds.turn());
        sleeps.fetch_add(1, Relaxed);
        assert!(rounds.turn() && !rounds.turn());
        let (mut others, mut cx) = (pin!(rounds.others_first()), Context::from_waker(Waker::noop()));
        assert_eq!(others.as_mut().poll(&mut cx).is_pending(), wanted, "after {turns}");
        assert!(!wanted || others.as_mut().poll(&mut cx).is_ready(), "once is enough");
        // Rounds of one turn each: whoever was alone is put off no more.
        for _ in 0..2 {
            sleeps.fetch_add(1, Relaxed);
            rounds.turn();
        }
        assert!(pin!(rounds.others_first()).poll(&mut cx).is_ready());
    }

    #[test]
    fn only_who_is_one_of_many_lets_others_go_first() {
        check(1, false);
        check(CROWD - 1, false);
        check(CROWD, true);
        check(64, true);
    }

    #[test]
    fn who_took_up_enough_in_one_turn_steps_back_even_alone() {
        let (rounds, mut cx) = (Rounds::default(), Context::from_waker(Waker::noop()));
        let mut steps_back = || pin!(rounds.others_first()).poll(&mut cx).is_pending();
        for _ in 0..2 {
            rounds.turn();
            assert!((0..IN_A_TURN).all(|_| !steps_back()));
            assert!(steps_back());
        }
    }
}
