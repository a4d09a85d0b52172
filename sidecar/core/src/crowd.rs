//! Who waits for room at a service's endpoints, and whether that is overload.
//!
//! Where nobody knows how many requests hosts work on, work that takes as long as chance has it makes queues that go by
//! themselves; to refuse then is to lose what would have been served. More came than was served where more wait, or left in vain, than
//! so many times what chance makes wait (the standard deviation of the difference of two Poisson counts is the root of their sum), and have
//! for long: CoDel's persistence (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;

use crate::service::ServiceCell;

/// A pause that hosts have is shorter.
const LASTS: Duration = Duration::from_secs(1);
/// Who comes within so long after the first began to wait came with it, as a batch does: what waits of them becomes less.
const BURST: Duration = Duration::from_millis(500);
/// More wait than chance makes wait by so many standard deviations: chance does that once in thirty thousand times.
const BEYOND: f32 = 4.0;

/// Who waits; on all workers.
#[derive(Debug, Default)]
pub struct Crowd {
    wait: AtomicU32,
    /// How many began to wait and how many got a place since nobody waited.
    came: AtomicU32,
    placed: AtomicU32,
    /// How many requests the service had at most until a [`BURST`] after somebody began to wait when nobody did.
    had: AtomicU32,
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

    /// Whether more came than was served, for long and by more than chance, where the service has so many requests now. Who waits
    /// because fewer may be at the hosts than were is no more than there was before, as of workers that wait for their answers.
    pub(crate) fn is_overload(&self, now: Moment, has: u32) -> bool {
        let (wait, came, placed) = (self.wait(), self.came.load(Relaxed), self.placed.load(Relaxed));
        let in_vain = came.saturating_sub(placed.saturating_add(wait));
        let more = in_vain + wait.min(has.saturating_sub(self.had.load(Relaxed)));
        let lasted = now.since(Moment::from_nanos(self.since.load(Relaxed)));
        // Of those who come later few wait: that more come than are placed does not show any more.
        let known = now.as_nanos() < self.overload.load(Relaxed);
        let found = known || lasted >= LASTS && more as f32 > BEYOND * (came as f32 + placed as f32).sqrt();
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
            crowd.came.store(0, Relaxed);
            crowd.placed.store(0, Relaxed);
            crowd.had.store(0, Relaxed);
            crowd.since.store(now.as_nanos(), Relaxed);
        }
        if now.since(Moment::from_nanos(crowd.since.load(Relaxed))) < BURST {
            crowd.had.fetch_max(cell.in_flight(), Relaxed);
        }
        crowd.came.fetch_add(1, Relaxed);
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
    use crate::flight::Held;

    /// For so many seconds so many a second come, all of whom wait, and so many get a place; the service has more requests by so many of
    /// those who wait. Whether it is overload then.
    fn overload(came: u64, placed: u64, seconds: u64, more: impl Fn(u32) -> u32) -> bool {
        let (cell, mut waiting, mut overload) = (ServiceCell::shared(), Vec::new(), false);
        for millis in 0..seconds * 1_000 {
            let now = Moment::from_millis(1_000 + millis);
            let due = |rate: u64| millis * rate / 1_000 < (millis + 1) * rate / 1_000;
            waiting.extend(due(came).then(|| Queued::begin(&cell, now)));
            if due(placed) && waiting.len() > 1 {
                waiting.remove(0).placed();
            }
            overload |= cell.crowd.is_overload(now, more(waiting.len() as u32));
        }
        drop(waiting);
        assert_eq!(cell.crowd.wait(), 0);
        overload
    }

    #[test]
    fn more_than_chance_makes_wait_for_long_is_overload() {
        let check = |came, placed, seconds, wanted| {
            let found = overload(came, placed, seconds, |waiting| waiting);
            assert_eq!(found, wanted, "{came} came, {placed} were placed, for {seconds} s");
        };
        check(500, 0, 1, false);
        check(500, 0, 2, true);
        check(100, 96, 10, false);
        check(150, 100, 2, true);
        check(400, 200, 2, true);
        check(10, 10, 30, false);
    }

    #[test]
    fn workers_that_wait_in_the_place_of_the_hosts_are_no_more_than_before() {
        assert!(overload(400, 200, 3, |waiting| waiting));
        assert!(!overload(400, 200, 3, |_| 0), "fewer are at the hosts by as many as wait");
        assert!(!overload(400, 200, 3, |waiting| waiting / 8));
    }

    #[test]
    fn a_batch_that_becomes_less_is_no_overload() {
        let (cell, at) = (ServiceCell::shared(), Moment::from_millis);
        let comes = |_| (Held::enter(&cell, None), Queued::begin(&cell, at(1_000)));
        let mut waiting: Vec<_> = (0..500).map(comes).collect();
        for millis in (1_000..3_000).step_by(5) {
            waiting.remove(0).1.placed();
            assert!(
                !cell.crowd.is_overload(at(millis), cell.in_flight()),
                "{} wait at {millis}",
                waiting.len()
            );
        }
    }

    #[test]
    fn who_leaves_without_a_place_was_not_served() {
        let (cell, mut waiting, at) = (ServiceCell::shared(), Vec::new(), Moment::from_millis);
        for millis in 1_000..3_000 {
            waiting.push(Queued::begin(&cell, at(millis)));
            if waiting.len() > 20 {
                drop(waiting.remove(0));
            }
        }
        assert!(cell.crowd.is_overload(at(3_000), 0));
    }
}
