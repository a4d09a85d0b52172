//! What is added up within a round, each pair of sums in one word.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Sample;
use super::rule::Round;

/// Bits of the lower half of a pair: microseconds of twelve days, or as many requests in flight.
const BITS: u32 = 40;
const LOWER: u64 = (1 << BITS) - 1;
/// What was lost is taken for so many times what it was waited for: it took longer, and nobody knows by how much.
const LONGER: u64 = 2;
/// The cap is met where so many requests had to wait for each that was answered.
const OFTEN: f32 = 0.5;

/// The sums.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Answers, above, and their microseconds together.
    good: AtomicU64,
    /// Requests lost, above, and what was in flight beside all of the round together.
    lost: AtomicU64,
    /// Microseconds that the lost ones are taken for.
    waited: AtomicU64,
    /// Answers with few in flight, above, and their microseconds together.
    few: AtomicU64,
    /// How many requests had to wait for room.
    met: AtomicU32,
    /// What the quickest answer fell short of the longest by, in microseconds; zero before there was one.
    short: AtomicU32,
}

impl Sums {
    pub(super) fn tell_met(&self) {
        self.met.fetch_add(1, Relaxed);
    }

    /// An answer came, to a request with `few` in flight or not. How many requests of the round have ended with it.
    pub(super) fn tell_good(&self, sample: Sample, few: bool) -> u32 {
        if self.good.load(Relaxed) == 0 && self.lost.load(Relaxed) >> BITS > 0 {
            // It answers again: what was lost before says nothing of now.
            self.clear();
        }
        let micros = sample.took.as_micros() as u64;
        let short = u32::MAX - u32::try_from(micros).unwrap_or(u32::MAX - 1);
        if self.short.load(Relaxed) < short {
            self.short.fetch_max(short, Relaxed);
        }
        let one = 1 << BITS | micros & LOWER;
        if few {
            self.few.fetch_add(one, Relaxed);
        }
        let lost = self.lost.fetch_add(u64::from(sample.beside), Relaxed) >> BITS;
        ((self.good.fetch_add(one, Relaxed) >> BITS) + lost) as u32 + 1
    }

    /// A request was lost; how many were, with it, and how many were answered.
    pub(super) fn tell_lost(&self, sample: Sample) -> (u32, u32) {
        self.waited.fetch_add(LONGER * sample.took.as_micros() as u64, Relaxed);
        let lost = self.lost.fetch_add(1 << BITS | u64::from(sample.beside), Relaxed) >> BITS;
        (lost as u32 + 1, (self.good.load(Relaxed) >> BITS) as u32)
    }

    /// What the round showed.
    pub(super) fn read(&self, now: f32, usual: f32) -> Round {
        let (good, lost, few) = (self.good.load(Relaxed), self.lost.load(Relaxed), self.few.load(Relaxed));
        let (answers, gone) = ((good >> BITS) as f32, (lost >> BITS) as f32);
        let (all, few_answers) = ((answers + gone).max(1.0), (few >> BITS) as f32);
        Round {
            answers,
            lost: gone / all,
            in_flight: (lost & LOWER) as f32 / all,
            latency: ((good & LOWER) + self.waited.load(Relaxed)) as f32 / all,
            few: (few_answers > 0.0).then(|| (few_answers, (few & LOWER) as f32 / few_answers)),
            quickest: (u32::MAX - self.short.load(Relaxed)) as f32,
            met: self.met.load(Relaxed) as f32 >= all * OFTEN,
            now,
            usual,
        }
    }

    pub(super) fn clear(&self) {
        for sum in [&self.good, &self.lost, &self.waited, &self.few] {
            sum.store(0, Relaxed);
        }
        self.met.store(0, Relaxed);
        self.short.store(0, Relaxed);
    }
}
