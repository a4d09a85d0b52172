//! The load budget of one service on this host: how much load we may add to what callers asked for.
//!
//! Resends that may reach an app may be a share of the requests of the last 10 s plus a floor, counted in
//! windows and not by configuration alone (a configured ratio is not a measured one). The allowance shrinks
//! with the attempts' success and is nothing when half of them fail: a ratio by itself is no guard against
//! an overload that feeds itself (gRFC A6 throttles so; Finagle's `RetryBudget` counts so).
//!
//! Resends that are provably free are counted here and never refused here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::policy::Retry;

use crate::window::{Counts, Window};

/// The slices of the 10 s that the budget is measured over.
const SLICE: Duration = Duration::from_secs(1);
const SLICES: usize = 10;
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

/// How many resends there may be in 10 s: (`share` of `requests` + ten times the floor) × `throttle`.
pub fn allowance(requests: u64, retry: &Retry, throttle: f32) -> u64 {
    let floor = retry.floor.as_per_second() * SLICES as f64;
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
    free: AtomicU64,
}

impl Budget {
    /// A caller's request arrived.
    pub fn tell_request(&self, now: Moment) {
        self.ledger.tell(now, SLICE, Counts { good: 1, bad: 0 });
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
        // Counted first and judged second: of workers that ask at the same time each sees the others.
        self.ledger.tell(now, SLICE, Counts { good: 0, bad: 1 });
        let balance = self.balance(now, retry);
        let yes = balance.spent <= balance.allowed;
        if !yes {
            self.ledger.take_back_bad(now, SLICE);
        }
        yes
    }

    /// Where the ledger stands.
    pub fn balance(&self, now: Moment, retry: &Retry) -> Balance {
        let requests = self.ledger.last(now, SLICE, SLICES).good;
        let spent = self.ledger.ask(now, SLICE).bad;
        Balance { spent, allowed: allowance(requests, retry, throttle(self.attempts.ask(now, SLICE))) }
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

    proptest! {
        #[test]
        fn in_any_ten_seconds_that_end_with_a_resend_the_budget_held(
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
                    let inside = |then: &&u64| **then + 10_000 > at;
                    let allowed = 0.2 * requests.iter().filter(inside).count() as f64 + 30.0;
                    prop_assert!(resends.iter().filter(inside).count() as f64 <= allowed);
                }
            }
        }
    }
}
