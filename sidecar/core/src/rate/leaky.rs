//! A leaky bucket in one word: requests go on one by one, each with its turn.
//!
//! The word is the moment of the next free turn. Who asks takes it, also where it lies ahead, and waits for it; who would
//! wait too long takes nothing (nginx's `limit_req` without `nodelay`).

use std::time::Duration;

use api::Moment;

use crate::bucket::{Flow, Grant};

/// The pace and the longest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaky {
    flow: Flow,
    longest: u64,
}

/// From this interval on, a thousand seconds, a part of a limit is none: not even the first passes.
pub(crate) const NOTHING: u64 = 1_000_000_000_000;

impl Leaky {
    /// One by one at `flow`'s pace, nobody waiting longer than `longest`.
    pub fn new(flow: Flow, longest: Duration) -> Self {
        Self { flow, longest: u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX) }
    }

    pub(super) fn at(self, flow: Flow) -> Self {
        Self { flow, ..self }
    }

    pub(super) fn within(self, patience: Duration) -> Self {
        Self { longest: self.longest.min(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX)), ..self }
    }

    /// The rule: the word and the answer after one asks at `now` for what takes `cost` turns.
    pub fn step(self, next_free: u64, now: Moment, cost: u32) -> (u64, Grant) {
        let (interval, at) = (self.flow.interval(), now.as_nanos());
        let turn = next_free.max(at);
        let wait = turn - at;
        if wait > self.longest || interval >= NOTHING {
            let after = if interval >= NOTHING { interval } else { wait - self.longest };
            return (next_free, Grant::RetryAfter(Duration::from_nanos(after)));
        }
        let next = turn.saturating_add(interval.saturating_mul(u64::from(cost.max(1))));
        match wait {
            0 => (next, Grant::Now { left: u32::try_from(self.longest / interval).unwrap_or(u32::MAX) }),
            _ => (next, Grant::At(Moment::from_nanos(turn))),
        }
    }

    /// How much of the longest wait there is already.
    pub(super) fn taken(self, next_free: u64, now: Moment) -> f32 {
        let wait = next_free.saturating_sub(now.as_nanos());
        (wait as f32 / self.longest.saturating_add(self.flow.interval()) as f32).min(1.0)
    }
}
