//! Who waits for room at a service's endpoints, and whether that is overload.
//!
//! Where nobody knows how many requests hosts work on, work that takes as long as chance has it makes queues that go by
//! themselves; to refuse then is to lose what would have been served. More came than was served where more wait than so many times
//! what chance makes wait (the standard deviation of the difference of two Poisson counts is the root of their sum), and have
//! for long: CoDel's persistence (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;

use crate::service::ServiceCell;

/// A pause that hosts have is shorter.
const LASTS: Duration = Duration::from_secs(1);
/// More wait than chance makes wait by so many standard deviations: chance does that once in thirty thousand times.
const BEYOND: f32 = 4.0;

/// Who waits; on all workers.
#[derive(Debug, Default)]
pub struct Crowd {
    wait: AtomicU32,
    /// How many got a place since nobody waited.
    placed: AtomicU32,
    /// When somebody began to wait after nobody did, in nanoseconds.
    since: AtomicU64,
    /// Until when it is overload without being looked at again, in nanoseconds.
    overload: AtomicU64,
}

impl Crowd {
    /// How many wait.
    pub fn wait(&self) -> u32 {
        self.wait.load(Relaxed)
    }

    /// Whether more came than was served, for long and by more than chance.
    pub(crate) fn is_overload(&self, now: Moment) -> bool {
        let (wait, placed) = (self.wait() as f32, self.placed.load(Relaxed) as f32);
        let lasted = now.since(Moment::from_nanos(self.since.load(Relaxed)));
        // Of those who come later few wait: that more come than are placed does not show any more.
        let known = now.as_nanos() < self.overload.load(Relaxed);
        let found = known || lasted >= LASTS && wait > BEYOND * (2.0 * placed + wait).sqrt();
        if found {
            self.overload.store((now + LASTS).as_nanos(), Relaxed);
        }
        found
    }
}

/// One request in the crowd; it waits no longer once this is dropped.
#[derive(Debug)]
pub struct Queued(Arc<ServiceCell>);

impl Queued {
    /// It waits from `now` on.
    pub(crate) fn begin(cell: &Arc<ServiceCell>, now: Moment) -> Self {
        let crowd = &cell.crowd;
        if crowd.wait.fetch_add(1, Relaxed) == 0 {
            crowd.placed.store(0, Relaxed);
            crowd.since.store(now.as_nanos(), Relaxed);
        }
        Self(cell.clone())
    }

    /// It got a place.
    pub(crate) fn placed(self) {
        self.0.crowd.placed.fetch_add(1, Relaxed);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.crowd.wait.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For so many seconds so many a second come, all of whom wait, and so many get a place. Whether it is overload then.
    fn overload(came: u64, placed: u64, seconds: u64) -> bool {
        let (cell, mut waiting, mut overload) = (ServiceCell::shared(), Vec::new(), false);
        for millis in 0..seconds * 1_000 {
            let now = Moment::from_millis(1_000 + millis);
            let due = |rate: u64| millis * rate / 1_000 < (millis + 1) * rate / 1_000;
            waiting.extend(due(came).then(|| Queued::begin(&cell, now)));
            if due(placed) && waiting.len() > 1 {
                waiting.remove(0).placed();
            }
            overload |= cell.crowd.is_overload(now);
        }
        drop(waiting);
        assert_eq!(cell.crowd.wait(), 0);
        overload
    }

    #[test]
    fn more_than_chance_makes_wait_for_long_is_overload() {
        let check = |came, placed, seconds, wanted| {
            let found = overload(came, placed, seconds);
            assert_eq!(found, wanted, "{came} came, {placed} were placed, for {seconds} s");
        };
        check(500, 0, 1, false);
        check(500, 0, 2, true);
        check(100, 96, 10, false);
        check(150, 100, 2, true);
        check(400, 200, 2, true);
        check(10, 10, 30, false);
    }
}
