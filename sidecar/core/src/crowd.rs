//! Who waits for room at a service's endpoints, whether that is overload, and who of them is served first.
//!
//! Where nobody knows how many requests hosts work on, work that takes as long as chance has it makes queues that go by
//! themselves; to refuse then is to lose what would have been served. More came than was served where more wait, or left in vain, than
//! so many times what chance makes wait (the standard deviation of the difference of two Poisson counts is the root of their sum), and have
//! for long: CoDel's persistence (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012).
//!
//! Overload that is found may be a burst that ends. Whoever would have its turn within half of its patience, counted from when the
//! queue began to stand, keeps its place: a burst is served, and where more goes on coming the queue is full to there, who comes is
//! refused and the queue becomes shorter until nobody waits long. Where who waits leaves in vain nobody knows how long callers wait, and nobody
//! keeps a place; then whoever came last goes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::policy::Class;

use crate::health::Tally;
use crate::queue::Order;
use crate::service::ServiceCell;

/// A pause that hosts have is shorter.
const LASTS: Duration = Duration::from_secs(1);
/// Who comes within so long after the first began to wait came with it, as a batch does: what waits of them becomes less.
const BURST: Duration = Duration::from_millis(500);
/// More wait than chance makes wait by so many standard deviations: chance does that once in thirty thousand times.
const BEYOND: f32 = 4.0;

/// So many have to be answered before it is known how fast hosts answer.
const KNOWN: u64 = 16;
/// This part of a caller's patience is what a burst may take. The other is left for the answer, and for the guess of when its turn comes.
const PART: u32 = 2;
/// Callers leave in vain where more do than one for so many that get a place: now and then somebody goes away anyway.
const FEW: u32 = 16;

/// Who waits; on all workers.
#[derive(Debug, Default)]
pub struct Crowd {
    wait: AtomicU32,
    /// How many began to wait and how many got a place since nobody waited.
    came: AtomicU32,
    placed: AtomicU32,
    /// How many left in vain since then, of who waits or was sent after a long wait.
    left: AtomicU32,
    /// How many requests the service had at most until a [`BURST`] after somebody began to wait when nobody did.
    had: AtomicU32,
    /// When somebody began to wait after nobody did, in nanoseconds, and what the service had answered then.
    since: AtomicU64,
    answered: AtomicU64,
    /// The same, where that was no part of an overload that goes on.
    began: AtomicU64,
    /// Until when it is overload without being looked at again, in nanoseconds.
    overload: AtomicU64,
}

/// How many wait, and since when somebody did without a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// How many.
    pub count: u32,
    /// Since when.
    pub since: Moment,
}

impl Crowd {
    /// How many wait.
    pub fn wait(&self) -> u32 {
        self.wait.load(Relaxed)
    }

    /// [`Crowd::wait`], and since when; `None` while nobody does.
    pub fn waits(&self) -> Option<Waits> {
        let count = self.wait();
        (count > 0).then(|| Waits { count, since: Moment::from_nanos(self.since.load(Relaxed)) })
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

    /// One that had waited long was not answered in time.
    pub(crate) fn tell_in_vain(&self) {
        self.left.fetch_add(1, Relaxed);
    }

    /// Whether who waits leaves in vain.
    fn is_left(&self) -> bool {
        self.left.load(Relaxed).saturating_mul(FEW) > self.placed.load(Relaxed)
    }

    /// Who of `class` is served first. Where all of a class wait, it is few late ones of the critical rather than all of them.
    pub fn order(&self, class: Class) -> Order {
        if class == Class::Critical || self.is_left() { Order::Youth } else { Order::Age }
    }

    /// When the turn of the last one comes who waits, as far as is known, where the service has answered so many since the start.
    fn turn(&self, now: Moment, answered: Tally) -> Moment {
        let before = self.wait().saturating_sub(1);
        let lasted = now.since(Moment::from_nanos(self.since.load(Relaxed)));
        match answered.since(Tally(self.answered.load(Relaxed))).good {
            ..KNOWN => now,
            good => now + lasted.mul_f32(before as f32 / good as f32),
        }
    }
}

/// One request in the crowd, through all of its waits; each of them, at the endpoints that were full then, is a
/// [`Waiting`](crate::ahead::Waiting). It waits no longer once this is dropped, and has left by itself.
#[derive(Debug)]
pub struct Queued {
    cell: Arc<ServiceCell>,
    /// Until when it may be in a burst.
    until: Moment,
    /// Its turn is to come before that, as far as was known when it came.
    in_time: bool,
    /// It got a place, or was told that it gets none.
    was_told: bool,
}

impl Queued {
    /// It waits from `now` on, and would for `patience`.
    pub(crate) fn begin(cell: &Arc<ServiceCell>, now: Moment, patience: Duration) -> Self {
        let crowd = &cell.crowd;
        if crowd.wait.fetch_add(1, Relaxed) == 0 {
            for count in [&crowd.came, &crowd.placed, &crowd.left, &crowd.had] {
                count.store(0, Relaxed);
            }
            crowd.since.store(now.as_nanos(), Relaxed);
            crowd.answered.store(cell.tally().0, Relaxed);
            if now.as_nanos() >= crowd.overload.load(Relaxed) {
                crowd.began.store(now.as_nanos(), Relaxed);
            }
        }
        if now.since(Moment::from_nanos(crowd.since.load(Relaxed))) < BURST {
            crowd.had.fetch_max(cell.in_flight(), Relaxed);
        }
        crowd.came.fetch_add(1, Relaxed);
        let until = Moment::from_nanos(crowd.began.load(Relaxed)) + patience / PART;
        let in_time = crowd.turn(now, cell.tally()) < until;
        Self { cell: cell.clone(), until, in_time, was_told: false }
    }

    /// Whether it keeps its place although overload was found: it may be in a burst, or what holds it back is only tried.
    pub(crate) fn keeps_its_place(&self, now: Moment, is_tried: impl FnOnce() -> bool) -> bool {
        now < self.until && (self.in_time && !self.cell.crowd.is_left() || is_tried())
    }

    /// It got a place.
    pub(crate) fn placed(mut self) {
        self.cell.crowd.placed.fetch_add(1, Relaxed);
        self.was_told = true;
    }

    /// It gets none, after a wait as short as any is under overload.
    pub(crate) fn refused(mut self) {
        self.was_told = true;
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.cell.crowd.wait.fetch_sub(1, Relaxed);
        if !self.was_told {
            self.cell.crowd.tell_in_vain();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flight::Held;

    const PATIENCE: Duration = Duration::from_secs(15);

    /// For so many seconds so many a second come, all of whom wait, and so many get a place; the service has more requests by so many of
    /// those who wait. Whether it is overload then.
    fn overload(came: u64, placed: u64, seconds: u64, more: impl Fn(u32) -> u32) -> bool {
        let (cell, mut waiting, mut overload) = (ServiceCell::shared(), Vec::new(), false);
        for millis in 0..seconds * 1_000 {
            let now = Moment::from_millis(1_000 + millis);
            let due = |rate: u64| millis * rate / 1_000 < (millis + 1) * rate / 1_000;
            waiting.extend(due(came).then(|| Queued::begin(&cell, now, PATIENCE)));
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
        let comes = |_| (Held::enter(&cell, None), Queued::begin(&cell, at(1_000), PATIENCE));
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
            waiting.push(Queued::begin(&cell, at(millis), PATIENCE));
            if waiting.len() > 20 {
                drop(waiting.remove(0));
            }
        }
        assert!(cell.crowd.is_overload(at(3_000), 0));
    }

    /// Of a thousand a second that come for so long, where two hundred get a place, those who keep theirs once overload is found, and those who
    /// were there when it was over.
    fn burst(seconds: u64) -> (usize, Vec<Queued>, Arc<ServiceCell>) {
        let (cell, at) = (ServiceCell::shared(), Moment::from_millis);
        let (mut waiting, mut kept) = (std::collections::VecDeque::new(), 0);
        for millis in 1_000..1_000 + seconds * 1_000 {
            waiting.push_back(Queued::begin(&cell, at(millis), PATIENCE));
            kept += usize::from(
                waiting.back().is_some_and(|queued| queued.keeps_its_place(at(millis), || false)),
            );
            cell.crowd.is_overload(at(millis), cell.crowd.wait());
            if millis.is_multiple_of(5) {
                waiting.pop_front().into_iter().for_each(Queued::placed);
                cell.tell_attempt(at(millis), true);
            }
        }
        (kept, waiting.into(), cell)
    }

    #[test]
    fn who_would_have_its_turn_within_half_of_its_patience_keeps_its_place() {
        assert_eq!(burst(1).0, 1_000);
        let kept = burst(3).0;
        assert!((1_450..1_550).contains(&kept), "{kept}: the 1,500th's turn comes after 7.5 s");
    }

    #[test]
    fn a_burst_that_does_not_end_has_no_second_half() {
        let (_, waiting, cell) = burst(2);
        let at = Moment::from_millis;
        waiting.into_iter().for_each(Queued::placed);
        let keeps = |millis| {
            cell.crowd.is_overload(at(millis), 0);
            Queued::begin(&cell, at(millis), PATIENCE).keeps_its_place(at(millis), || false)
        };
        for millis in (3_000..20_000).step_by(500) {
            assert_eq!(keeps(millis), millis <= 8_500, "at {millis}");
        }
        assert!(keeps(22_000), "nobody found every place taken for a second");
    }

    #[test]
    fn where_callers_leave_in_vain_whoever_came_last_goes_first_and_nobody_keeps_a_place() {
        let (_, mut waiting, cell) = burst(1);
        let now = Moment::from_millis(2_000);
        let first = waiting.remove(0);
        assert_eq!(
            (cell.crowd.order(Class::Ordinary), first.keeps_its_place(now, || false)),
            (Order::Age, true)
        );
        waiting.drain(..12).for_each(drop);
        assert_eq!(cell.crowd.order(Class::Ordinary), Order::Age, "one of sixteen leaves anyway");
        waiting.drain(..1).for_each(drop);
        assert_eq!(
            (cell.crowd.order(Class::Ordinary), first.keeps_its_place(now, || false)),
            (Order::Youth, false)
        );
        waiting.drain(..16).for_each(Queued::placed);
        assert_eq!(cell.crowd.order(Class::Ordinary), Order::Age);
        assert_eq!(cell.crowd.order(Class::Critical), Order::Youth);
        waiting.drain(..100).for_each(Queued::refused);
        assert_eq!(cell.crowd.order(Class::Ordinary), Order::Age, "who is refused at once has not waited");
        drop(waiting);
        assert_eq!(cell.crowd.wait(), 1);
    }
}
