//! What a worker counts in: one writer, any number of readers, no lock and no locked instruction.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A count with one writer. Adding is a load and a store: a second writer would lose counts, which is why
/// every worker has its own and the scrape sums them.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Replaces the count, for what goes both ways.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds in microseconds: OpenTelemetry's advice for HTTP durations, with three more below for a hop
/// that stays on the host.
pub const BOUNDS: [u64; 17] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// Durations by size; one writer.
#[derive(Debug, Default)]
pub struct Durations {
    /// How many fell between a bound and the one before; the last has no bound.
    buckets: [Count; BOUNDS.len() + 1],
    nanos: Count,
}

impl Durations {
    /// Notes one.
    pub fn note(&self, took: Duration) {
        let nanos = took.as_secs().saturating_mul(1_000_000_000) + u64::from(took.subsec_nanos());
        let micros = nanos / 1_000;
        // Most of what is noted is short.
        let at = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[at].add(1);
        self.nanos.add(nanos);
    }

    /// What was noted so far, added to `into`.
    pub fn sum(&self, into: &mut DurationSum) {
        for (sum, count) in into.buckets.iter_mut().zip(&self.buckets) {
            *sum += count.get();
        }
        into.seconds += self.nanos.get() as f64 / 1e9;
    }
}

/// The durations of several workers together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DurationSum {
    /// How many fell into each bucket, not cumulated.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All of them together.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(micros: u64, bucket: usize) {
        let (durations, mut sum) = (Durations::default(), DurationSum::default());
        durations.note(Duration::from_micros(micros));
        durations.sum(&mut sum);
        let at = sum.buckets.iter().position(|count| *count == 1);
        assert_eq!(at, Some(bucket), "{micros} us");
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_whose_bound_is_not_below_it() {
        check(0, 0);
        check(500, 0);
        check(501, 1);
        check(10_000_000, 16);
        check(10_000_001, 17);
    }
}
