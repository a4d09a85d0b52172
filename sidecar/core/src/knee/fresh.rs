//! What the first answers of an endpoint show.
//!
//! Where a service is asked for too much from its first moment on, what is in flight grows with each answer, and what is usual with it:
//! nothing that is averaged tells how long an answer takes where nobody waits. The first few do, and as long as some are
//! answered about as soon, whatever was in flight beside them was no queue. Once all take far longer, so many more than that
//! may be in flight, and not as many as come.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{get, set, tardy};

/// So many answers are the first few: a host works on one at least, and each of these waits for one more.
const FIRST: u32 = 4;
/// Nobody is late before so many: what the last few took has to be averaged too.
pub(super) const JUDGED: u32 = 8;
/// An answer that took up to so many times what the first few did waited for nobody.
const SOON: f32 = 1.5;
/// The last few answers are late where they took so many times what the first few did.
const TARDY: f32 = 2.0;

/// The first answers of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// What the first few took, in microseconds, in the mean.
    took: AtomicU32,
    /// The most that was in flight beside one that waited for nobody.
    sure: AtomicU32,
}

impl Fresh {
    /// The answer of this number came, to a request that was sent with `beside` in flight, itself among them.
    pub(super) fn tell(&self, told: u32, beside: u32, micros: f32) {
        let took = self.took();
        let took = if told <= FIRST { took + (micros - took) / told as f32 } else { took };
        set(&self.took, took);
        if micros <= took * SOON || told <= FIRST {
            self.sure.fetch_max(beside, Relaxed);
        }
    }

    /// Microseconds that the first few took, in the mean.
    pub(super) fn took(&self) -> f32 {
        get(&self.took)
    }

    /// Above what answers are late, where one was found to take `unqueued` while nobody waits.
    pub(super) fn tardy(&self, unqueued: f32) -> f32 {
        tardy(self.took().max(unqueued), TARDY)
    }

    /// Whether this answer is one of the first few.
    pub(super) fn is_first(told: u32) -> bool {
        told <= FIRST
    }

    /// The most that is known to have been in flight without a queue.
    pub(super) fn sure(&self) -> f32 {
        self.sure.load(Relaxed) as f32
    }
}
