//! What is added up within a window, several counts in one word.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::rule::Seen;
use super::{Fact, Shown};

/// Bits of a count of attempts: two million in a window.
const BITS: u32 = 21;
const MASK: u64 = (1 << BITS) - 1;

/// The sums.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Requests that came, above, and how many met the bound, below.
    came: AtomicU64,
    /// Attempts that were answered well, that failed, that were waited for in vain.
    ended: AtomicU64,
    /// Microseconds that the good ones took, while the guard acts.
    took: AtomicU64,
    /// The endpoints that attempts ended at, a bit for each: more than 64 share them.
    asked: AtomicU64,
    /// Those of them where one was waited for in vain.
    losing: AtomicU64,
}

impl Sums {
    pub(super) fn offered(&self) {
        self.came.fetch_add(1 << 32, Relaxed);
    }

    pub(super) fn met(&self) {
        self.came.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, fact: Fact, id: u32) {
        let one = match fact {
            Fact::Good(_) => 1 << (2 * BITS),
            Fact::Failed => 1 << BITS,
            Fact::Lost => 1,
        };
        self.ended.fetch_add(one, Relaxed);
        mark(&self.asked, id);
        if one == 1 {
            mark(&self.losing, id);
        }
    }

    pub(super) fn took(&self, took: Duration) {
        self.took.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// What the window showed that lasted so long.
    pub(super) fn read(&self, lasted: Duration, usual: Duration, hosts: u32) -> Seen {
        let (came, ended) = (self.came.load(Relaxed), self.ended.load(Relaxed));
        let count = |at: u32| (ended >> (at * BITS) & MASK) as u32;
        Seen {
            shown: Shown { offered: (came >> 32) as u32, good: count(2), lost: count(0) },
            failed: count(1),
            took: Duration::from_micros(self.took.load(Relaxed)) / count(2).max(1),
            met: came as u32,
            asked: self.asked.load(Relaxed).count_ones(),
            losing: self.losing.load(Relaxed).count_ones(),
            lasted,
            usual,
            hosts,
        }
    }

    pub(super) fn clear(&self) {
        for sum in [&self.came, &self.ended, &self.took, &self.asked, &self.losing] {
            sum.store(0, Relaxed);
        }
    }
}

/// Most attempts end where others did: looking costs less than marking.
fn mark(set: &AtomicU64, id: u32) {
    let bit = 1 << (id % 64);
    if set.load(Relaxed) & bit == 0 {
        set.fetch_or(bit, Relaxed);
    }
}
