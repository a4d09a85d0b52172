//! The load budget of one service on this host: how much load we may add to what callers asked for.
//!
//! Resends that may reach an app may be a share of the requests of the last 10 s plus a floor, and no more of the
//! last 5 s alone, counted in windows and not by configuration alone (a configured ratio is not a measured one). The allowance shrinks
//! with the attempts' success and is nothing when half of them fail: a ratio by itself is no guard against
//! an overload that feeds itself (gRFC A6 throttles so; Finagle's `RetryBudget` counts so).
//!
//! Resends that are provably free are counted here and never refused here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::policy::Retry;
use api::{Moment, Share};

use crate::window::{Counts, Window};

/// The slices of the 10 s that the budget is measured over.
const SLICE: Duration = Duration::from_secs(1);
const SLICES: usize = 10;
/// And of the shorter window that it is measured over as well: a burst is not excused by the quiet seconds
/// around it.
const SHORT: usize = 5;
/// Success is judged together with this many good attempts that never happened, so that a handful of
/// failures at a quiet moment does not take the retries from those who need them.
const PRIOR: f32 = 20.0;
/// At this success share the throttle lets nothing through: when every other attempt fails, one more is
/// load and not help (SRE practice).
const SHUT: f32 = 0.5;
/// From this success share on the throttle does not act.
const OPEN: f32 = 0.8;

/// Where the ledger stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Balance {
    /// Resends of the last 10 s that may have reached an app.
    pub spent: u64,
    /// How many there might have been.
    pub allowed: u64,
}

/// How many resends there may be in `seconds`: (`share` of `requests` + the floor of each second) × `throttle`.
pub fn allowance(requests: u64, seconds: usize, retry: &Retry, throttle: f32) -> u64 {
    let floor = retry.floor.as_per_second() * seconds as f64;
    ((retry.budget.fraction() * requests as f64 + floor) * f64::from(throttle)) as u64
}

/// The factor that shrinks the allowance with the attempts' success: 1 from 80 % on, 0 at 50 %.
pub fn throttle(attempts: Counts) -> f32 {
    let success = (attempts.good as f32 + PRIOR) / (attempts.total() as f32 + PRIOR);
    ((success - SHUT) / (OPEN - SHUT)).clamp(0.0, 1.0)
}

/// The ledger.
#[derive(Debug, Default)]
pub struct Budget {
    /// Good: requests. Bad: resends. One slice more than is measured, so that a resend of the oldest slice
    /// that still counts in part is never forgotten too early.
    ledger: Window<{ SLICES + 1 }>,
    attempts: Window<SLICES>,
    /// Bad: resends that were hedges.
    hedges: Window<{ SHORT + 1 }>,
    free: AtomicU64,
}

impl Budget {
    /// A caller's request arrived.
    pub fn tell_request(&self, now: Moment) {
        self.ledger.tell(now, SLICE, Counts { good: 1, bad: 0 });
    }

    /// Callers' requests of the last 10 s.
    pub fn asked(&self, now: Moment) -> u64 {
        self.ledger.last(now, SLICE, SLICES).good
    }

    /// An attempt ended well or not.
    pub fn tell_attempt(&self, now: Moment, good: bool) {
        self.attempts.tell(now, SLICE, Counts { good: u64::from(good), bad: u64::from(!good) });
    }

    /// A resend that is provably free.
    pub fn tell_free(&self) {
        self.free.fetch_add(1, Relaxed);
    }

    /// Free resends since the start.
    pub fn free(&self) -> u64 {
        self.free.load(Relaxed)
    }

    /// May one more resend be made? A yes is counted.
    pub fn ask(&self, now: Moment, retry: &Retry) -> bool {
        self.ask_within(now, retry, self.throttle(now))
    }

    /// The same where this is what the attempts' success leaves of it.
    pub fn ask_within(&self, now: Moment, retry: &Retry, throttle: f32) -> bool {
        // Counted first and judged second: of workers that ask at the same time each sees the others.
        self.tell_spent(now);
        let within = |slices| {
            let balance = self.over(now, slices, retry, throttle);
            balance.spent <= balance.allowed
        };
        let yes = within(SLICES) && within(SHORT);
        if !yes {
            self.ledger.take_back_bad(now, SLICE);
        }
        yes
    }

    /// One more resend was made.
    pub fn tell_spent(&self, now: Moment) {
        self.ledger.tell(now, SLICE, Counts { good: 0, bad: 1 });
    }

    /// What the attempts' success leaves of it.
    pub fn throttle(&self, now: Moment) -> f32 {
        throttle(self.attempts.ask(now, SLICE))
    }

    /// May one more hedge be made? It must be within its own `share` of the requests of the last 5 s as well. A yes
    /// is counted.
    pub fn ask_hedge(&self, now: Moment, share: Share, retry: &Retry) -> bool {
        self.ask_hedge_within(now, share, retry, self.throttle(now))
    }

    /// The same where this is what the attempts' success leaves of it.
    pub(crate) fn ask_hedge_within(&self, now: Moment, share: Share, retry: &Retry, throttle: f32) -> bool {
        self.hedges.tell(now, SLICE, Counts { good: 0, bad: 1 });
        let allowed = share.of(self.ledger.last(now, SLICE, SHORT).good);
        let yes = self.hedges.ask(now, SLICE).bad <= allowed && self.ask_within(now, retry, throttle);
        if !yes {
            self.hedges.take_back_bad(now, SLICE);
        }
        yes
    }

    /// Where the ledger stands.
    pub fn balance(&self, now: Moment, retry: &Retry) -> Balance {
        self.over(now, SLICES, retry, self.throttle(now))
    }

    fn over(&self, now: Moment, slices: usize, retry: &Retry, throttle: f32) -> Balance {
        let requests = self.ledger.last(now, SLICE, slices).good;
        // The slice in which the window begins counts whole.
        let spent = self.ledger.last(now, SLICE, slices + 1).bad;
        Balance { spent, allowed: allowance(requests, slices, retry, throttle) }
    }

    /// The failing share of the last second or two without `apart` failures, which are told of otherwise: the
    /// worse of both, for the first moments of a second say little.
    pub fn recent_failing(&self, now: Moment, apart: u32) -> f32 {
        let share = |slices| {
            let Counts { good, bad } = self.attempts.last(now, SLICE, slices);
            let bad = bad.saturating_sub(u64::from(apart));
            Counts { good, bad }.share().map_or(0.0, |good| 1.0 - good)
        };
        share(1).max(share(2))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn check(good: u64, bad: u64, wanted: std::ops::RangeInclusive<f32>) {
        let factor = throttle(Counts { good, bad });
        assert!(wanted.contains(&factor), "{good} good, {bad} bad: {factor}");
    }

    #[test]
    fn the_throttle_falls_with_success() {
        check(0, 0, 1.0..=1.0);
        check(90, 10, 1.0..=1.0);
        check(700, 300, 0.6..=0.75);
        check(500, 520, 0.0..=0.0);
        check(10, 8, 0.8..=1.0);
    }

    #[test]
    fn the_last_second_or_two_are_judged_without_the_askers_own_failures() {
        let budget = Budget::default();
        let at = |millis: u64| Moment::from_millis(10_000 + millis);
        (0..90).for_each(|_| budget.tell_attempt(at(500), true));
        (0..10).for_each(|_| budget.tell_attempt(at(600), false));
        assert_eq!(budget.recent_failing(at(700), 10), 0.0);
        assert!((0.09..0.11).contains(&budget.recent_failing(at(1_700), 0)));
        assert_eq!(budget.recent_failing(at(2_700), 0), 0.0, "the second after the next has no past");
    }

    #[test]
    fn hedges_keep_within_their_own_share_and_within_the_budget() {
        let (budget, retry) = (Budget::default(), Retry::default());
        let now = Moment::from_millis(20_000);
        (0..200).for_each(|_| budget.tell_request(now));
        let hedges =
            |share| (0..100).filter(|_| budget.ask_hedge(now, Share::percent(share), &retry)).count();
        assert_eq!(hedges(10), 20);
        assert_eq!(hedges(10), 0);
        // 20 % of 200 and 15 of the floor, less the 20 that were made.
        assert_eq!(hedges(100), 35);
        assert_eq!(budget.balance(now, &retry).spent, 55);
    }

    proptest! {
        #[test]
        fn in_any_window_that_ends_with_a_resend_the_budget_held(
            moves in prop::collection::vec((0_u64..400, 0_u8..4), 1..600)
        ) {
            let (budget, retry) = (Budget::default(), Retry::default());
            let (mut at, mut requests, mut resends) = (0, Vec::new(), Vec::new());
            for (gap, what) in moves {
                at += gap;
                let now = Moment::from_millis(at);
                if what == 0 {
                    requests.push(at);
                    budget.tell_request(now);
                } else if budget.ask(now, &retry) {
                    resends.push(at);
                    for (millis, floor) in [(10_000, 30.0), (5_000, 15.0)] {
                        let inside = |then: &&u64| **then + millis > at;
                        let allowed = 0.2 * requests.iter().filter(inside).count() as f64 + floor;
                        prop_assert!(resends.iter().filter(inside).count() as f64 <= allowed);
                    }
                }
            }
        }
    }
}
