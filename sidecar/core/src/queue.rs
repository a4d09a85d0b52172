//! Waiting for room: whether, until when, and who is next.
//!
//! A queue is bounded in time and not only in count: what waits longer than a burst lasts is overload, and
//! waiting only moves it (DAGOR, SoCC '18). Priority goes first, then age, or where the queue stands and who waits leaves in vain, youth.
//! This is a plain data structure: it answers whom to wake and never wakes anyone.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use api::policy::{Class, Settings};
use api::{Moment, Reason};

use crate::refusal::Refusal;

/// Who goes first of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Whoever came first.
    Age,
    /// Where the queue stands, whoever came last.
    Youth,
}

/// At most this many wait for one thing; more could not be served within any sensible wait.
pub const WAITERS_MAX: usize = 4_096;

/// While somebody has waited longer than this, a queue stands. Where who waits leaves in vain it is served from its end then: who comes goes before
/// all of its rank that wait, or everybody would be sent on when it is about to leave ("adaptive LIFO": Maurer, Fail at Scale, ACM
/// Queue 2015, with that value).
pub(crate) const STANDS: Duration = Duration::from_millis(100);

/// Whoever still waits after so long is patient, as a batch's workers are: who comes then stands behind them, or the first of them would
/// wait for ever. Callers that give up and try again are gone sooner.
const PATIENT: Duration = Duration::from_secs(2);

/// Who goes first waits only while others of its rank do. A longer bound costs nobody else anything, and of those who come
/// while every place is taken, one in thirty would wait longer than the others' bound.
const CRITICAL: u32 = 5;

/// The rank of a request in a queue.
pub const fn rank(class: Class) -> u8 {
    class as u8
}

/// How long a request may wait for room.
pub(crate) fn longest(settings: &Settings) -> Duration {
    let longest = settings.concurrency.longest_wait.duration();
    if settings.priority == Class::Critical { longest * CRITICAL } else { longest }
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitOn {
    /// A place within the service's cap.
    Service,
    /// A place on any of the service's endpoints.
    Endpoint,
    /// A place in the bulkhead of this number.
    Bulkhead(u64),
    /// A place among those that the service's guard lets in.
    Guard,
}

/// What `limit` and `choose` answer.
#[derive(Debug)]
pub enum Verdict<T> {
    /// Go on with this.
    Now(T),
    /// Ask again when a place is given back, at the latest at `until`.
    Wait {
        /// When waiting is over.
        until: Moment,
        /// What for.
        on: WaitOn,
    },
    /// No.
    Refuse(Refusal),
}

/// The wait of one request, kept between its questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    since: Option<Moment>,
}

impl Patience {
    /// There is no room: wait, or has it been long enough? `deadline` bounds the wait too.
    pub fn ask<T>(
        &mut self,
        now: Moment,
        longest: Duration,
        deadline: Option<Moment>,
        on: WaitOn,
    ) -> Verdict<T> {
        if longest.is_zero() {
            return Verdict::Refuse(Refusal::of(Reason::ConcurrencyLimited));
        }
        let until = *self.since.get_or_insert(now) + longest;
        let until = deadline.map_or(until, |deadline| until.min(deadline));
        if now < until {
            return Verdict::Wait { until, on };
        }
        let in_time = deadline.is_none_or(|deadline| now < deadline);
        let reason = if in_time { Reason::QueueTimeout } else { Reason::DeadlineExceeded };
        Verdict::Refuse(Refusal::of(reason))
    }

    /// Whether the request has not waited yet.
    pub fn is_fresh(&self) -> bool {
        self.since.is_none()
    }

    /// How long it has waited.
    pub fn waited(&self, now: Moment) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// There was room.
    pub fn over(&mut self) {
        self.since = None;
    }
}

/// A place in a queue; the lower one goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(Reverse<u8>, i64);

#[derive(Debug)]
struct Waiter<T> {
    joined: Moment,
    until: Moment,
    who: T,
}

/// Those who wait for one thing.
#[derive(Debug)]
pub struct Queue<T> {
    waiters: BTreeMap<Ticket, Waiter<T>>,
    next: i64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiters: BTreeMap::new(), next: 0 }
    }
}

impl<T> Queue<T> {
    /// Waits with `priority` from `now` until `until`; `None` when the queue is full.
    pub fn join(
        &mut self,
        (priority, order): (u8, Order),
        (now, until): (Moment, Moment),
        waiter: T,
    ) -> Option<Ticket> {
        if self.waiters.len() >= WAITERS_MAX {
            return None;
        }
        self.next += 1;
        let waited = self.oldest(priority).map(|joined| now.since(joined));
        let stands = waited.is_some_and(|waited| waited > STANDS && waited < PATIENT);
        let first = stands && order == Order::Youth;
        let ticket = Ticket(Reverse(priority), if first { -self.next } else { self.next });
        self.waiters.insert(ticket, Waiter { joined: now, until, who: waiter });
        Some(ticket)
    }

    /// Since when the one of this priority has waited who came before all others.
    fn oldest(&self, priority: u8) -> Option<Moment> {
        let ticket = |number| Ticket(Reverse(priority), number);
        let last = self.waiters.range(ticket(0)..=ticket(i64::MAX)).next();
        let last = last.or_else(|| self.waiters.range(ticket(i64::MIN)..ticket(0)).next_back());
        last.map(|(_, waiter)| waiter.joined)
    }

    /// Waits until `until` now, where it was.
    pub fn stay(&mut self, ticket: Ticket, until: Moment) {
        self.waiters.get_mut(&ticket).into_iter().for_each(|waiter| waiter.until = until);
    }

    /// Waits no longer; `None` when it was woken already.
    pub fn leave(&mut self, ticket: Ticket) -> Option<T> {
        self.waiters.remove(&ticket).map(|waiter| waiter.who)
    }

    /// Who would be woken.
    pub fn first(&self, now: Moment) -> Option<&T> {
        self.waiters.values().find(|waiter| now < waiter.until).map(|waiter| &waiter.who)
    }

    /// The first of those for whom it is so, those who have waited too long among them.
    pub fn find_mut(&mut self, wanted: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.waiters.values_mut().map(|waiter| &mut waiter.who).find(|who| wanted(who))
    }

    /// Who waits with `ticket`.
    pub fn with(&self, ticket: Ticket) -> Option<&T> {
        self.waiters.get(&ticket).map(|waiter| &waiter.who)
    }

    /// The same, to be changed.
    pub fn with_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        self.waiters.get_mut(&ticket).map(|waiter| &mut waiter.who)
    }

    /// Those who go before `ticket`, the first one first.
    pub fn before(&self, ticket: Ticket, now: Moment) -> impl Iterator<Item = &T> {
        let before = self.waiters.range(..ticket).filter(move |(_, waiter)| now < waiter.until);
        before.map(|(_, waiter)| &waiter.who)
    }

    /// A place was given back: whom to wake. Who has waited too long is left to [`Queue::expired`].
    pub fn freed(&mut self, now: Moment) -> Option<T> {
        let ticket = *self.waiters.iter().find(|(_, waiter)| now < waiter.until)?.0;
        self.leave(ticket)
    }

    /// Someone who has waited too long; ask until there is none.
    pub fn expired(&mut self, now: Moment) -> Option<T> {
        let ticket = *self.waiters.iter().find(|(_, waiter)| waiter.until <= now)?.0;
        self.leave(ticket)
    }

    /// When the first of them will have waited too long.
    pub fn wake_at(&self) -> Option<Moment> {
        self.waiters.values().map(|waiter| waiter.until).min()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn priority_goes_first_then_age_and_the_late_are_not_woken() {
        let (mut queue, at) = (Queue::default(), Moment::from_millis);
        for (priority, until, name) in [(0, 50, "a"), (9, 5, "late"), (1, 50, "b"), (1, 50, "c")] {
            queue.join((priority, Order::Youth), (at(0), at(until)), name).unwrap();
        }
        assert_eq!(queue.wake_at(), Some(at(5)));
        let woken: Vec<_> = std::iter::from_fn(|| queue.freed(at(10))).collect();
        assert_eq!(woken, ["b", "c", "a"]);
        assert_eq!((queue.expired(at(10)), queue.expired(at(10))), (Some("late"), None));
    }

    #[test]
    fn where_the_queue_stands_the_youngest_of_a_rank_goes_first() {
        let (mut queue, at) = (Queue::default(), Moment::from_millis);
        for (priority, now, name) in
            [(1, 0, "a"), (1, 100, "b"), (1, 101, "c"), (0, 102, "low"), (2, 103, "high"), (1, 104, "d")]
        {
            queue.join((priority, Order::Youth), (at(now), at(1_000)), name).unwrap();
        }
        let woken: Vec<_> = std::iter::from_fn(|| queue.freed(at(200))).collect();
        assert_eq!(woken, ["high", "d", "c", "a", "b", "low"]);
        for (now, name) in [(300, "e"), (500, "f"), (510, "g")] {
            queue.join((1, Order::Youth), (at(now), at(1_000)), name).unwrap();
        }
        assert_eq!(queue.freed(at(510)), Some("g"));
        queue.leave(*queue.waiters.last_key_value().unwrap().0).unwrap();
        queue.join((1, Order::Youth), (at(511), at(1_000)), "h").unwrap();
        assert_eq!(queue.freed(at(511)), Some("f"), "whoever is left came a moment ago");
    }

    #[test]
    fn who_came_first_goes_first_however_long_the_queue_stands() {
        let (mut queue, at) = (Queue::default(), Moment::from_millis);
        for (now, name) in [(0, "a"), (500, "b"), (900, "c")] {
            queue.join((1, Order::Age), (at(now), at(9_000)), name).unwrap();
        }
        let woken: Vec<_> = std::iter::from_fn(|| queue.freed(at(900))).collect();
        assert_eq!(woken, ["a", "b", "c"]);
    }

    #[test]
    fn who_may_wait_longer_keeps_its_place() {
        let (mut queue, at) = (Queue::default(), Moment::from_millis);
        let first = queue.join((1, Order::Age), (at(0), at(20)), "first").unwrap();
        queue.join((1, Order::Age), (at(1), at(500)), "second").unwrap();
        assert_eq!(queue.first(at(30)), Some(&"second"));
        queue.stay(first, at(500));
        assert_eq!((queue.first(at(30)), queue.wake_at()), (Some(&"first"), Some(at(500))));
    }

    #[test]
    fn behind_who_is_patient_the_youngest_stands_again() {
        let (mut queue, at) = (Queue::default(), Moment::from_millis);
        for (now, name) in [(0, "a"), (500, "b"), (1_999, "c"), (2_000, "d"), (3_000, "e")] {
            queue.join((1, Order::Youth), (at(now), at(9_000)), name).unwrap();
        }
        let woken: Vec<_> = std::iter::from_fn(|| queue.freed(at(3_000))).collect();
        assert_eq!(woken, ["c", "b", "a", "d", "e"]);
    }

    #[test]
    fn what_is_critical_goes_first_and_may_wait_longer() {
        let of = |priority| Settings { priority, ..Settings::default() };
        let waits = |class| longest(&of(class)).as_millis();
        assert_eq!([Class::Background, Class::Ordinary, Class::Critical].map(waits), [20, 20, 100]);
        let mut queue = Queue::default();
        for class in [Class::Background, Class::Critical, Class::Ordinary] {
            let (order, until) = ((rank(class), Order::Age), (Moment::ZERO, Moment::from_millis(50)));
            queue.join(order, until, class).unwrap();
        }
        assert_eq!(queue.find_mut(|class| *class != Class::Critical), Some(&mut Class::Ordinary));
        let order: Vec<_> = std::iter::from_fn(|| queue.freed(Moment::ZERO)).collect();
        assert_eq!(order, [Class::Critical, Class::Ordinary, Class::Background]);
    }

    #[test]
    fn a_wait_is_bounded_by_its_own_time_and_by_the_deadline() {
        let at = Moment::from_millis;
        let check = |longest, deadline, then: u64, wanted: Result<u64, Reason>| {
            let (mut patience, longest) = (Patience::default(), Duration::from_millis(longest));
            let mut ask = |now| patience.ask::<()>(now, longest, deadline, WaitOn::Service);
            let _first = ask(at(0));
            let found = match ask(at(then)) {
                Verdict::Wait { until, .. } => Ok(until.as_millis()),
                Verdict::Refuse(refusal) => Err(refusal.reason),
                Verdict::Now(()) => panic!("no room"),
            };
            assert_eq!(found, wanted);
        };
        check(0, None, 0, Err(Reason::ConcurrencyLimited));
        check(20, None, 19, Ok(20));
        check(20, None, 20, Err(Reason::QueueTimeout));
        check(20, Some(at(10)), 9, Ok(10));
        check(20, Some(at(10)), 10, Err(Reason::DeadlineExceeded));
    }
}
