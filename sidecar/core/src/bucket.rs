//! A token bucket in one word: the generic cell rate algorithm (ITU-T I.371, "virtual scheduling").
//!
//! The word is the moment at which the bucket is full again. A bucket that is full carries no memory, which
//! is what lets one be handed to another caller.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::policy::Limit;
use api::{Moment, Rate};

/// A bucket's rate and depth, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    interval: u64,
    depth: u64,
}

impl Flow {
    /// The flow that `limit` allows.
    pub fn of(limit: &Limit) -> Self {
        Self::new(limit.rate, limit.burst)
    }

    /// So many over time, and so many at once. A rate of zero lets next to nothing through.
    pub fn new(rate: Rate, burst: u32) -> Self {
        let interval = rate.interval_nanos().unwrap_or(u64::MAX / 2).max(1);
        Self { interval, depth: interval.saturating_mul(u64::from(burst.max(1))) }
    }

    /// One request each `interval`, as many at once as `depth` has room for; both in nanoseconds.
    pub const fn with(interval: u64, depth: u64) -> Self {
        Self { interval, depth }
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
    /// Not now; there is a token after this long.
    RetryAfter(Duration),
}

/// The rule: the word and the answer after one asks at `now`.
pub fn step(full_at: u64, now: Moment, flow: Flow) -> (u64, Grant) {
    let now = now.as_nanos();
    let next = full_at.max(now).saturating_add(flow.interval);
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
        let mut word = self.0.load(Relaxed);
        loop {
            let (next, grant) = step(word, now, flow);
            match self.0.compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => return grant,
                Err(other) => word = other,
            }
        }
    }

    /// Gives a token back that was taken for a request which was then refused elsewhere.
    pub fn give_back(&self, flow: Flow) {
        let next = |word: u64| Some(word.saturating_sub(flow.interval));
        let _given = self.0.fetch_update(Relaxed, Relaxed, next);
    }

    /// Whether it is full: as if nobody had ever asked.
    pub fn is_full(&self, now: Moment) -> bool {
        self.0.load(Relaxed) <= now.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn flow(rate: &str, burst: u32) -> Flow {
        let (name, key, scope) = ("a".parse().unwrap(), Default::default(), Default::default());
        Flow::of(&Limit { name, key, scope, rate: rate.parse().unwrap(), burst })
    }

    #[test]
    fn an_empty_bucket_says_for_how_long() {
        let (bucket, flow) = (Bucket::default(), flow("10/s", 2));
        assert_eq!(bucket.ask(Moment::ZERO, flow), Grant::Now { left: 1 });
        assert_eq!(bucket.ask(Moment::ZERO, flow), Grant::Now { left: 0 });
        assert_eq!(bucket.ask(Moment::ZERO, flow), Grant::RetryAfter(Duration::from_millis(100)));
        assert_eq!(bucket.ask(Moment::from_millis(100), flow), Grant::Now { left: 0 });
        bucket.give_back(flow);
        assert_eq!(bucket.ask(Moment::from_millis(100), flow), Grant::Now { left: 0 });
    }

    #[test]
    fn four_workers_take_what_one_would() {
        let (bucket, flow, now) = (Bucket::default(), flow("1/s", 500), Moment::from_millis(1));
        let taken = std::thread::scope(|scope| {
            let take = || (0..1_000).filter(|_| matches!(bucket.ask(now, flow), Grant::Now { .. })).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 500);
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
