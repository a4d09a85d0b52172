//! A token bucket in one word: the generic cell rate algorithm (ITU-T I.371, "virtual scheduling").
//!
//! The word is the moment at which the bucket is full again. A bucket that is full carries no memory, which
//! is what lets one be handed to another caller.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::{Moment, Rate};

/// A bucket's rate and depth, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    interval: u64,
    depth: u64,
}

impl Flow {
    /// So many over time, and so many at once. A rate of zero lets next to nothing through.
    pub fn new(rate: Rate, burst: u32) -> Self {
        let interval = rate.interval_nanos().unwrap_or(u64::MAX / 2).max(1);
        Self { interval, depth: interval.saturating_mul(u64::from(burst.max(1))) }
    }

    /// One request each `interval`, as many at once as `depth` has room for; both in nanoseconds.
    pub const fn with(interval: u64, depth: u64) -> Self {
        Self { interval, depth }
    }

    /// Nanoseconds between two requests.
    pub(crate) const fn interval(self) -> u64 {
        self.interval
    }

    /// What `cost` requests take; never more than a full bucket has, so that each can pass at all.
    pub(crate) fn of_cost(self, cost: u32) -> u64 {
        self.interval.saturating_mul(u64::from(cost.max(1))).min(self.depth.max(self.interval))
    }

    /// How much of the bucket is taken at `now`, as a share.
    pub(crate) fn taken(self, full_at: u64, now: Moment) -> f32 {
        (full_at.saturating_sub(now.as_nanos()) as f32 / self.depth.max(1) as f32).min(1.0)
    }
}

/// What a bucket answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Go; this many could follow at once.
    Now {
        /// Whole tokens left.
        left: u32,
    },
    /// Go then: your turn is kept. A leaky bucket's answer.
    At(Moment),
    /// Not now; there is a token after this long.
    RetryAfter(Duration),
}

/// Nobody's clock is behind another's by more: a word that is further ahead was written by another flow.
const SLACK: u64 = 1_000_000_000;

/// The rule: the word and the answer after one asks at `now` for what costs `cost`. What another flow left in the
/// word is worth an empty bucket at most.
pub fn step(full_at: u64, now: Moment, flow: Flow, cost: u32) -> (u64, Grant) {
    let now = now.as_nanos();
    let foreign = full_at > now.saturating_add(flow.depth).saturating_add(SLACK);
    let full_at = if foreign { now.saturating_add(flow.depth) } else { full_at };
    let next = full_at.max(now).saturating_add(flow.of_cost(cost));
    let missing = (next - now).saturating_sub(flow.depth);
    if missing > 0 {
        return (full_at, Grant::RetryAfter(Duration::from_nanos(missing)));
    }
    let left = (flow.depth - (next - now)) / flow.interval;
    (next, Grant::Now { left: u32::try_from(left).unwrap_or(u32::MAX) })
}

/// A bucket, full at first.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// Takes a token if there is one.
    pub fn ask(&self, now: Moment, flow: Flow) -> Grant {
        ask(&self.0, |word| step(word, now, flow, 1))
    }
}

/// Asks a word by its rule.
pub(crate) fn ask(of: &AtomicU64, rule: impl Fn(u64) -> (u64, Grant)) -> Grant {
    let mut word = of.load(Relaxed);
    loop {
        let (next, grant) = rule(word);
        if next == word {
            return grant;
        }
        match of.compare_exchange_weak(word, next, Relaxed, Relaxed) {
            Ok(_) => return grant,
            Err(other) => word = other,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn flow(rate: &str, burst: u32) -> Flow {
        Flow::new(rate.parse().unwrap(), burst)
    }

    #[test]
    fn an_empty_bucket_says_for_how_long() {
        let (bucket, flow) = (Bucket::default(), flow("10/s", 2));
        assert_eq!(bucket.ask(Moment::ZERO, flow), Grant::Now { left: 1 });
        assert_eq!(bucket.ask(Moment::ZERO, flow), Grant::Now { left: 0 });
        assert_eq!(bucket.ask(Moment::ZERO, flow), Grant::RetryAfter(Duration::from_millis(100)));
        assert_eq!(bucket.ask(Moment::from_millis(100), flow), Grant::Now { left: 0 });
    }

    #[test]
    fn what_another_flow_left_is_worth_an_empty_bucket_at_most() {
        let (now, flow) = (Moment::from_millis(1), flow("10/s", 2));
        let (word, grant) = step(u64::MAX / 2, now, flow, 1);
        assert_eq!(grant, Grant::RetryAfter(Duration::from_millis(100)));
        assert_eq!(step(word, now, flow, 1).1, Grant::RetryAfter(Duration::from_millis(100)));
        assert_eq!(step(word, Moment::from_millis(101), flow, 1).1, Grant::Now { left: 0 });
    }

    proptest! {
        /// The reference counts tokens as a number that grows with time, in exact integers.
        #[test]
        fn it_agrees_with_a_reference_counter(
            burst in 1_u32..20, rate in 1_u64..500, gaps in prop::collection::vec(0_u64..300_000_000, 1..200)
        ) {
            let flow = flow(&format!("{rate}/s"), burst);
            let (bucket, mut at, mut then) = (Bucket::default(), 0_u64, 0_u64);
            let mut credit = flow.depth;
            for gap in gaps {
                at += gap;
                credit = (credit + (at - then)).min(flow.depth);
                then = at;
                let wanted = credit >= flow.interval;
                let granted = matches!(bucket.ask(Moment::from_nanos(at), flow), Grant::Now { .. });
                prop_assert_eq!(granted, wanted);
                if granted {
                    credit -= flow.interval;
                }
            }
        }
    }
}
