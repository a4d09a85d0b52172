//! How long good answers of one route take, by percentile: when an answer is late.
//!
//! A histogram of 8 buckets to each doubling (an error of 9 % at most) in two generations of ten seconds each: what
//! is older than both is forgotten. Only answers that came are told, and attempts that another one overtook, with
//! the time they had waited: a failure that came fast must not make a service look fast (Finagle's
//! `BackupRequestFilter`). It allocates once, and belongs to the routes that ask for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::{Moment, Span};

use crate::pace::Pace;

/// What is not counted apart: below it hosts differ by noise.
const SHORTEST: f32 = 250e-6;
/// Buckets to a doubling, and doublings: 250 µs to 65 s.
const STEPS: usize = 8;
const BUCKETS: usize = STEPS * 18;
/// How long a generation lasts: long enough for a percentile of a quiet route, short enough to follow a change.
const GENERATION: Duration = Duration::from_secs(10);
/// Of fewer answers a high percentile is one answer's chance.
const ENOUGH: u64 = 50;
/// A percentile is worth this long before it is computed anew.
const FRESH: u32 = 250;

/// The answers of one route.
#[derive(Debug)]
pub struct Latencies {
    generations: [Generation; 2],
    /// The percentile last computed: microseconds above, the millisecond below.
    known: AtomicU64,
    pace: Pace,
}

#[derive(Debug)]
struct Generation {
    number: AtomicU64,
    buckets: [AtomicU32; BUCKETS],
}

impl Default for Generation {
    fn default() -> Self {
        Self { number: AtomicU64::new(0), buckets: [const { AtomicU32::new(0) }; BUCKETS] }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self { generations: Default::default(), known: AtomicU64::new(0), pace: Pace::default() }
    }
}

impl Latencies {
    /// An answer took `took`, or had not come after it.
    pub fn tell(&self, now: Moment, took: Duration) {
        let number = number(now);
        let generation = &self.generations[(number % 2) as usize];
        // Who finds the past in its place clears it; what others count meanwhile may be lost with it.
        let other = || generation.number.swap(number, Relaxed) != number;
        if generation.number.load(Relaxed) != number && other() {
            generation.buckets.iter().for_each(|bucket| bucket.store(0, Relaxed));
        }
        generation.buckets[bucket(took)].fetch_add(1, Relaxed);
        self.pace.tell(now, took);
    }

    /// How many times longer than usual an answer takes now.
    pub fn pace(&self, now: Moment) -> f32 {
        self.pace.ask(now)
    }

    /// The time within which `share` of the answers came; `None` while there are too few.
    pub fn ask(&self, now: Moment, share: f64) -> Option<Span> {
        let (known, tick) = (self.known.load(Relaxed), now.as_millis() as u32);
        if known != 0 && tick.wrapping_sub(known as u32) < FRESH {
            return Some(Span::micros(known >> 32));
        }
        let at = self.compute(now, share)?;
        let micros = u32::try_from(at.as_micros()).unwrap_or(u32::MAX);
        self.known.store(u64::from(micros) << 32 | u64::from(tick), Relaxed);
        Some(Span::micros(micros.into()))
    }

    fn compute(&self, now: Moment, share: f64) -> Option<Duration> {
        let newest = number(now);
        let live = |g: &&Generation| newest.wrapping_sub(g.number.load(Relaxed)) < 2;
        let count = |at: usize| -> u64 {
            self.generations.iter().filter(live).map(|g| u64::from(g.buckets[at].load(Relaxed))).sum()
        };
        let all: u64 = (0..BUCKETS).map(count).sum();
        if all < ENOUGH {
            return None;
        }
        let wanted = (share * all as f64).ceil() as u64;
        let mut seen = 0;
        let at = (0..BUCKETS).find(|at| {
            seen += count(*at);
            seen >= wanted
        });
        Some(upper(at.unwrap_or(BUCKETS - 1)))
    }
}

/// Numbered from 2, so that the word zero is of no generation that is asked for.
fn number(now: Moment) -> u64 {
    now.as_nanos() / GENERATION.as_nanos() as u64 + 2
}

/// Where the buckets of a doubling begin, the first of them aside: the powers of two to the eighths.
const BEGIN: [f32; STEPS - 1] =
    [1.090_507_7, 1.189_207_1, 1.296_839_6, std::f32::consts::SQRT_2, 1.542_210_8, 1.681_792_8, 1.834_008_1];

/// The doublings are the exponent of a number in binary, the bucket within one follows from the rest of it: no logarithm
/// is taken.
fn bucket(took: Duration) -> usize {
    let times = (took.as_secs_f32() / SHORTEST).max(1.0).to_bits();
    let (doublings, rest) = ((times >> 23) - 127, f32::from_bits(times & 0x007f_ffff | 1.0_f32.to_bits()));
    let within = BEGIN.iter().filter(|begin| rest >= **begin).count();
    (doublings as usize * STEPS + within).min(BUCKETS - 1)
}

/// The longest time that a bucket counts.
fn upper(bucket: usize) -> Duration {
    Duration::from_secs_f32(SHORTEST * 2_f32.powf((bucket + 1) as f32 / STEPS as f32))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_percentile_needs_a_history_and_forgets_it() {
        let latencies = Latencies::default();
        let at = |seconds: u64| Moment::from_millis(seconds * 1_000);
        (0..49).for_each(|_| latencies.tell(at(1), Duration::from_millis(20)));
        assert_eq!(latencies.ask(at(1), 0.95), None);
        latencies.tell(at(1), Duration::from_millis(20));
        let found = latencies.ask(at(1), 0.95).unwrap();
        assert!((20..22).contains(&found.as_millis()), "{found:?}");
        assert!(latencies.ask(at(19), 0.95).is_some());
        assert_eq!(latencies.ask(at(30), 0.95), None);
    }

    #[test]
    fn a_bucket_is_the_logarithm_in_eighths() {
        for micros in (250_u64..400_000).step_by(7).chain([0, 1, 64_000_000, 700_000_000]) {
            let exact = (micros as f64 / 250.0).max(1.0).log2() * STEPS as f64;
            let found = bucket(Duration::from_micros(micros));
            let near = |at: f64| found == (at as usize).min(BUCKETS - 1);
            assert!(near(exact - 1e-4) || near(exact + 1e-4), "{micros}: {found}, {exact}");
        }
    }

    proptest! {
        #[test]
        fn a_percentile_is_that_of_the_sorted_list_or_nine_percent_above(
            micros in prop::collection::vec(250_u64..60_000_000, 50..300), share in 0.01_f64..1.0
        ) {
            let latencies = Latencies::default();
            micros.iter().for_each(|m| latencies.tell(Moment::ZERO, Duration::from_micros(*m)));
            let found = latencies.ask(Moment::ZERO, share).unwrap().duration().as_secs_f64();
            let mut sorted = micros;
            sorted.sort_unstable();
            let rank = ((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
            let true_one = sorted[rank - 1] as f64 / 1e6;
            prop_assert!(found >= true_one * 0.999 && found <= true_one * 1.092, "{found} for {true_one}");
        }
    }
}
