//! How long an endpoint leaves a connection idle: what a request that must not run twice may ride on.
//!
//! A server closes an idle connection without a word, and whoever sends at that moment does not learn whether its
//! request ran. So the limit is learned, from closings seen and from what the endpoint says; until it is known, a
//! request that must not run twice rides on what lay idle no longer than a connection that still worked, and a few at
//! a time find out whether longer works too. It never closes anything and never asks anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;

use crate::endpoint::EndpointCell;

/// A connection that closed after less had been in use a moment ago: its process died, which says nothing of a limit.
const CRASH: Duration = Duration::from_millis(10);
/// A limit is believed for this many seconds after it was last seen: what looked like one may have been a restart.
const BELIEVED_FOR: u32 = 600;
/// So many at a time may find out whether a longer idle time works: what a limit that nobody knows costs at most. More
/// than one, because each waits a round trip for its answer while others open connections that may not be needed.
const TRIES: u32 = 4;
/// So many tries that went well allow one more at a time: where nothing is ever closed, finding out costs ever less.
const PROOFS: u32 = 16;
/// And this many at most.
const TRIES_MAX: u32 = 64;

/// What is known of one endpoint's idle limit; told and asked by all workers.
#[derive(Debug, Default)]
pub struct IdleLimit {
    /// The shortest idle time after which it was seen to close, in milliseconds, above; the second in which that was
    /// learned, below. Zero for none.
    seen: AtomicU64,
    /// The longest idle time after which a connection still worked, in milliseconds.
    worked: AtomicU32,
    /// Requests that are finding out now.
    trying: AtomicU32,
    /// Tries that went well since one did not.
    proofs: AtomicU32,
}

/// Leave to ride on an idle connection. Drop it once there is an answer.
#[derive(Debug, Default)]
pub struct Leave {
    /// Whose tries it is one of; `None` when nothing is to be found out.
    tries: Option<Arc<EndpointCell>>,
}

impl IdleLimit {
    /// After how long an idle connection must be thought closed; `None` while nobody saw it close one.
    pub fn ask(&self, now: Moment) -> Option<Duration> {
        let millis = believed(self.seen.load(Relaxed), now);
        (millis > 0).then(|| Duration::from_millis(u64::from(millis)))
    }

    /// Whether a connection that lay idle for `idled` was in use a moment ago: no server's limit is that short.
    pub fn was_in_use(idled: Duration) -> bool {
        idled <= CRASH
    }

    /// Leave for a request that must not run twice to ride on a connection to the endpoint of `cell` that lay idle for
    /// `idled`. A connection within a fifth of the limit is as good as closed: the endpoint began to count before we
    /// did, and its word takes time to arrive.
    pub fn claim(cell: &Arc<EndpointCell>, now: Moment, idled: Duration) -> Option<Leave> {
        let idle = &cell.idle;
        if let Some(limit) = idle.ask(now) {
            return (idled <= limit * 4 / 5).then(Leave::default);
        }
        // No more than what worked: whoever comes a millisecond later may meet the limit, and so may many at once.
        if Self::was_in_use(idled) || millis(idled) <= idle.worked.load(Relaxed) {
            return Some(Leave::default());
        }
        let allowed = (TRIES + idle.proofs.load(Relaxed) / PROOFS).min(TRIES_MAX);
        let more = |tries| (tries < allowed).then_some(tries + 1);
        idle.trying.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Leave { tries: Some(Arc::clone(cell)) })
    }

    /// It closed a connection that had been idle for `idled`, or says that it will.
    pub fn tell_closed(&self, now: Moment, idled: Duration) {
        if idled < CRASH {
            return;
        }
        let idled = millis(idled);
        let next = |word| {
            let known = believed(word, now);
            (known == 0 || idled <= known).then_some(u64::from(idled) << 32 | u64::from(second(now)))
        };
        let _shorter_known = self.seen.fetch_update(Relaxed, Relaxed, next);
        self.proofs.store(0, Relaxed);
        // Once the limit is forgotten, what worked before it was seen is no proof any more.
        self.worked.fetch_min(idled / 2, Relaxed);
    }

    /// A connection that had been idle for `idled` still worked. Well beyond the limit that was seen, it shows that
    /// what was seen was a restart.
    pub fn tell_worked(&self, now: Moment, idled: Duration) {
        let idled = millis(idled);
        let word = self.seen.load(Relaxed);
        let known = believed(word, now);
        if known > 0 && idled > known.saturating_add(known / 4) {
            // Whoever saw a closing meanwhile knows better.
            let _seen_again = self.seen.compare_exchange(word, 0, Relaxed, Relaxed);
        }
        if idled > self.worked.load(Relaxed) {
            self.worked.fetch_max(idled, Relaxed);
        }
    }
}

impl Leave {
    /// There is an answer: the connection worked.
    pub fn worked(self) {
        if let Some(cell) = &self.tries {
            cell.idle.proofs.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(cell) = &self.tries {
            cell.idle.trying.fetch_sub(1, Relaxed);
        }
    }
}

/// What the word of a limit says at `now`, in milliseconds; zero for nothing.
fn believed(word: u64, now: Moment) -> u32 {
    let fresh = second(now).wrapping_sub(word as u32) < BELIEVED_FOR;
    if fresh { (word >> 32) as u32 } else { 0 }
}

fn second(now: Moment) -> u32 {
    (now.as_millis() / 1_000) as u32
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn allows(cell: &Arc<EndpointCell>, now: Moment, millis: u64) -> bool {
        IdleLimit::claim(cell, now, ms(millis)).is_some()
    }

    #[test]
    fn the_shortest_limit_seen_is_kept_and_forgotten_in_time() {
        let cell = EndpointCell::shared();
        assert_eq!(cell.idle.ask(at(0)), None);
        for millis in [300, 200, 250, 3] {
            cell.idle.tell_closed(at(1), ms(millis));
        }
        assert_eq!(cell.idle.ask(at(600)), Some(ms(200)));
        assert!(allows(&cell, at(600), 160) && !allows(&cell, at(600), 161));
        assert_eq!(cell.idle.ask(at(601)), None, "what was a restart is forgotten");
    }

    #[test]
    fn what_works_well_beyond_a_limit_shows_that_there_is_none() {
        let cell = EndpointCell::shared();
        cell.idle.tell_closed(at(1), ms(200));
        cell.idle.tell_worked(at(2), ms(250));
        assert_eq!(cell.idle.ask(at(2)), Some(ms(200)), "pauses are never quite the same");
        cell.idle.tell_worked(at(2), ms(251));
        assert_eq!(cell.idle.ask(at(2)), None);
        assert!(allows(&cell, at(2), 251));
    }

    #[test]
    fn what_worked_is_ridden_on_and_beyond_it_a_few_at_a_time() {
        let (cell, now) = (EndpointCell::shared(), at(1));
        let claim = |millis| IdleLimit::claim(&cell, now, ms(millis));
        let young: Vec<_> = (0..100).map(|_| claim(10)).collect();
        assert!(young.iter().all(Option::is_some), "in use a moment ago");
        let mut tries: Vec<_> = (0..100).filter_map(|_| claim(200)).collect();
        assert_eq!(tries.len(), TRIES as usize, "the others wait for what these find");
        cell.idle.tell_worked(now, ms(200));
        assert!(claim(200).is_some() && claim(201).is_none());
        tries.pop();
        assert!(claim(201).is_some(), "what is given back is there for the next");
        drop(tries);
        assert_eq!(cell.idle.trying.load(Relaxed), 0);
        // Where longer and longer works, more find out at a time; one that does not begins anew.
        (1..=64).for_each(|more| IdleLimit::claim(&cell, now, ms(200 + more)).unwrap().worked());
        let count =
            || (0..100).filter_map(|_| IdleLimit::claim(&cell, now, ms(500))).collect::<Vec<_>>().len();
        assert_eq!(count(), 8);
        cell.idle.tell_closed(now, ms(500));
        assert_eq!(cell.idle.proofs.load(Relaxed), 0);
    }

    proptest! {
        /// However many come at once and however their answers are mixed, a limit costs no more than the tries.
        #[test]
        fn a_limit_that_nobody_knows_costs_no_more_than_the_tries(
            own in 20_u64..5_000,
            rounds in proptest::collection::vec(proptest::collection::vec(0_u64..6_000, 1..80), 1..30),
        ) {
            let cell = EndpointCell::shared();
            for (round, idles) in rounds.into_iter().enumerate() {
                let now = at(round as u64);
                let known = cell.idle.ask(now);
                let ride = |idled| Some((idled, IdleLimit::claim(&cell, now, ms(idled))?));
                let rode: Vec<_> = idles.into_iter().filter_map(ride).collect();
                let mut lost = 0;
                for (idled, _leave) in rode {
                    if idled < own {
                        cell.idle.tell_worked(now, ms(idled));
                        continue;
                    }
                    lost += 1;
                    cell.idle.tell_closed(now, ms(idled));
                    prop_assert!(known.is_none_or(|limit| ms(idled) <= limit * 4 / 5), "{idled} of {known:?}");
                }
                prop_assert!(known.is_some() || lost <= TRIES, "{lost} lost at once");
            }
        }
    }
}
