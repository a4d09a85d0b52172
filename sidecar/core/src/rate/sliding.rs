//! A sliding window that is never exceeded: in any stretch of time as long as the window at most so much passes.
//!
//! The window is cut into slices. The word says which slice runs, what passed in it, and what passed in the sixteen
//! before it, which together with it cover every window that ends now. Only the running slice changes, so one
//! compare-and-set decides; what older slices held is kept beside it and summed up anew when a slice begins. Counts that
//! are known to be estimates (Cloudflare's interpolation between two windows) can let nearly twice as much through.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::Moment;

use crate::bucket::Grant;

/// Slices of a window: a steady flow gets 16/17 of the rate, because the oldest slice counts whole.
const SLICES: u64 = 16;
/// Bits of each of the word's two counts; the slice's number takes the other 24.
const BITS: u32 = 20;
const COUNT: u64 = (1 << BITS) - 1;
const NUMBER: u64 = (1 << (64 - 2 * BITS)) - 1;
/// A word that seems so many slices ahead, minutes at least, was written by somebody with a newer clock.
const AHEAD: u64 = 1 << 16;

/// What is kept beside the word.
#[derive(Debug, Default)]
pub struct Past {
    /// The latest slice that anybody began: who comes with an older clock counts there.
    latest: AtomicU64,
    /// What passed in slices that are over: each word a slice's number above, its count below.
    slices: [AtomicU64; SLICES as usize],
}

/// The slice and how much may pass in a window of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    width: u64,
    most: u64,
}

/// A word, read.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// The slice; its whole number.
    slice: u64,
    before: u64,
    here: u64,
}

impl Running {
    fn pack(self) -> u64 {
        (self.slice & NUMBER) << (2 * BITS) | self.before << BITS | self.here
    }
}

impl Sliding {
    /// `most` within any `window`.
    pub fn new(window: Duration, most: u64) -> Self {
        let width = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX) / SLICES;
        Self { width: width.max(1), most: most.clamp(1, COUNT) }
    }

    /// Takes `cost` if there is room for it.
    pub(super) fn ask(self, of: &AtomicU64, past: &Past, now: Moment, cost: u32) -> Grant {
        let cost = u64::from(cost).clamp(1, self.most);
        loop {
            let word = of.load(Ordering::Acquire);
            let running = self.running(word, past, now);
            let used = running.before + running.here + cost;
            if used > self.most {
                return Grant::RetryAfter(self.room_after(running, past, used - self.most, now));
            }
            let next = Running { here: running.here + cost, ..running }.pack();
            if of.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Grant::Now { left: (self.most - used) as u32 };
            }
        }
    }

    /// The slice that runs at `now`. Where it begins, what the one before held is written down first: whoever moves the
    /// word on has done so, so nobody sums up without it. A count that is taken back meanwhile stays counted.
    fn running(self, word: u64, past: &Past, now: Moment) -> Running {
        // Read after the word, it is never behind the word's slice.
        let slice = self.slice(now).max(past.latest.load(Ordering::Acquire));
        let (known, before, here) = (whole(word, slice), word >> BITS & COUNT, word & COUNT);
        if known == slice {
            return Running { slice, before, here };
        }
        past.slice(known).fetch_max(known << BITS | here, Ordering::AcqRel);
        past.latest.fetch_max(slice, Ordering::AcqRel);
        Running { slice, before: (slice - SLICES..slice).map(|old| past.count(old)).sum(), here: 0 }
    }

    /// When enough of the oldest slices are over for `missing` more to pass.
    fn room_after(self, running: Running, past: &Past, missing: u64, now: Moment) -> Duration {
        let mut freed = 0;
        let enough = |slice: &u64| {
            freed += past.count(*slice);
            freed >= missing
        };
        let last = (running.slice - SLICES..running.slice).find(enough).unwrap_or(running.slice);
        // It counts until the sixteenth slice after it is over; numbers are two windows ahead of time.
        let at = (last + 1).saturating_sub(SLICES).saturating_mul(self.width);
        Duration::from_nanos(at.saturating_sub(now.as_nanos()).max(1))
    }

    /// The word without what was taken at `now`, where its slice still runs.
    pub(super) fn back(self, word: u64, now: Moment, cost: u32) -> Option<u64> {
        let cost = u64::from(cost).clamp(1, self.most);
        let runs = whole(word, self.slice(now)) == self.slice(now);
        (runs && word & COUNT >= cost).then(|| word - cost)
    }

    pub(super) fn is_idle(self, word: u64, now: Moment) -> bool {
        let behind = self.slice(now).wrapping_sub(word >> (2 * BITS)) & NUMBER;
        word & (COUNT << BITS | COUNT) == 0 || (SLICES + 1..NUMBER - AHEAD).contains(&behind)
    }

    /// As of the slice that was asked last.
    pub(super) fn taken(self, word: u64, now: Moment) -> f32 {
        let used = (word >> BITS & COUNT) + (word & COUNT);
        if self.is_idle(word, now) { 0.0 } else { used as f32 / self.most as f32 }
    }

    /// Slices are numbered from the second window on, so that there is always one before.
    fn slice(self, now: Moment) -> u64 {
        now.as_nanos() / self.width + 2 * SLICES
    }
}

/// The whole number of a word's slice, seen from `slice`, which is not behind it.
fn whole(word: u64, slice: u64) -> u64 {
    slice - (slice.wrapping_sub(word >> (2 * BITS)) & NUMBER).min(slice)
}

impl Past {
    fn slice(&self, slice: u64) -> &AtomicU64 {
        &self.slices[(slice % SLICES) as usize]
    }

    /// What passed in `slice`, as far as it is written down.
    fn count(&self, slice: u64) -> u64 {
        let word = self.slice(slice).load(Ordering::Acquire);
        if word >> BITS == slice { word & COUNT } else { 0 }
    }
}
