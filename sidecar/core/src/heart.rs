//! When to beat, how old what we know is, and when to knock again where nobody answered.

use std::time::Duration;

use api::Moment;

use crate::dice;

/// A beat comes up to this share early, so that sidecars started together do not beat together.
const EARLY: f64 = 0.1;
/// A beat that failed is sent again within this share of the interval: two more fit before the lease ends.
const AGAIN: f64 = 0.25;
/// A beat that asks whether the session is still known comes within this share of the interval: a second of thirty. Whoever
/// asks was let in again before, at the pace that a control plane takes; this spreads those whom it lets in at once, and
/// further where it lengthened the interval because it has much to do.
const SOON: f64 = 1.0 / 30.0;
/// The first and the longest wait before a control plane is knocked at again: full jitter (AWS Architecture
/// Blog, 2015), so that a fleet does not return in step.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How far what we know can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Heard of within the interval and its jitter.
    Fresh,
    /// A beat or two are missing.
    Stale,
    /// The lease has run out, or nobody was ever heard. What is known stays in use.
    Lost,
}

/// The heartbeat of one session.
#[derive(Clone, Debug)]
pub struct Heart {
    every: Duration,
    lease: Duration,
    next: Moment,
    heard: Option<Moment>,
}

impl Heart {
    /// A session that beats at a third of `lease`, for the first time at once.
    pub fn new(now: Moment, lease: Duration) -> Self {
        Self { every: lease / 3, lease, next: now, heard: None }
    }

    /// Whether a beat is due.
    pub fn ask(&self, now: Moment) -> bool {
        self.next <= now
    }

    /// When the next one is.
    pub fn wake_at(&self) -> Moment {
        self.next
    }

    /// The beat was heard; the control plane wants the next one after `every`.
    pub fn tell_heard(&mut self, now: Moment, every: Duration, dice: u64) {
        self.every = every.max(Duration::from_millis(1));
        self.lease = self.lease.max(self.every * 3);
        self.heard = Some(now);
        self.next = now + self.every.mul_f64(1.0 - EARLY * dice::unit(dice));
    }

    /// The beat was not heard.
    pub fn tell_missed(&mut self, now: Moment, dice: u64) {
        self.next = now + self.every.mul_f64(AGAIN * (0.5 + dice::unit(dice) / 2.0));
    }

    /// The control plane may not know this session any more, as one that restarted: the next beat asks, soon.
    pub fn tell_doubted(&mut self, now: Moment, dice: u64) {
        self.next = self.next.min(now + self.every.mul_f64(SOON * dice::unit(dice)));
    }

    /// How long ago the control plane was heard; `None` when never.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        self.heard.map(|heard| now.since(heard))
    }

    /// How far what we know can be trusted.
    pub fn freshness(&self, now: Moment) -> Freshness {
        match self.age(now) {
            Some(age) if age <= self.every + self.every / 2 => Freshness::Fresh,
            Some(age) if age < self.lease => Freshness::Stale,
            _ => Freshness::Lost,
        }
    }
}

/// Where to knock next, among several control planes, and when.
#[derive(Clone, Debug)]
pub struct Reconnect {
    doors: usize,
    at: usize,
    failures: u32,
}

impl Reconnect {
    /// `doors` control planes, at least one.
    pub fn new(doors: usize) -> Self {
        Self { doors: doors.max(1), at: 0, failures: 0 }
    }

    /// Which one to knock at.
    pub fn ask(&self) -> usize {
        self.at
    }

    /// It opened.
    pub fn tell_opened(&mut self) {
        self.failures = 0;
    }

    /// It did not, or closed again; it may have said to come back `after` some time. Returns when to knock
    /// at the next one: at once while there are some not yet tried, then after a growing wait.
    pub fn tell_failed(&mut self, now: Moment, after: Option<Duration>, dice: u64) -> Moment {
        self.at = (self.at + 1) % self.doors;
        self.failures = self.failures.saturating_add(1);
        let rounds = self.failures / u32::try_from(self.doors).unwrap_or(u32::MAX);
        if rounds == 0 {
            return now;
        }
        let most = (BACKOFF.0 * (1 << (rounds - 1).min(10))).min(BACKOFF.1);
        now + after.unwrap_or_default() + most.mul_f64(dice::unit(dice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(90);

    #[test]
    fn it_beats_at_a_third_of_the_lease_a_little_early() {
        let at = Moment::from_millis;
        let mut heart = Heart::new(Moment::ZERO, LEASE);
        assert!(heart.ask(Moment::ZERO), "the first beat is due at once");
        heart.tell_heard(at(0), LEASE / 3, u64::MAX);
        assert!((27_000..27_001).contains(&heart.wake_at().as_millis()));
        heart.tell_heard(at(0), LEASE / 3, 0);
        assert!(!heart.ask(at(29_999)) && heart.ask(at(30_000)));
        heart.tell_missed(at(30_000), 0);
        assert!(heart.wake_at() < at(38_000));
    }

    #[test]
    fn who_doubts_its_session_asks_soon_and_never_later_than_it_would() {
        let at = Moment::from_millis;
        let mut heart = Heart::new(Moment::ZERO, LEASE);
        heart.tell_heard(at(0), LEASE / 3, 0);
        heart.tell_doubted(at(10_000), u64::MAX);
        assert!((10_999..=11_000).contains(&heart.wake_at().as_millis()));
        heart.tell_doubted(at(10_500), u64::MAX);
        assert!((10_999..=11_000).contains(&heart.wake_at().as_millis()), "doubts in a row put nothing off");
        heart.tell_doubted(at(10_600), 0);
        assert!(heart.ask(at(10_600)));
        // Under load a control plane wants fewer beats, and these too are further apart.
        heart.tell_heard(at(20_000), LEASE, 0);
        heart.tell_doubted(at(20_000), u64::MAX);
        assert!((22_999..=23_000).contains(&heart.wake_at().as_millis()));
    }

    #[test]
    fn what_we_know_grows_old() {
        let mut heart = Heart::new(Moment::ZERO, LEASE);
        assert_eq!(heart.freshness(Moment::ZERO), Freshness::Lost);
        heart.tell_heard(Moment::ZERO, LEASE / 3, 0);
        for (secs, wanted) in [(45, Freshness::Fresh), (46, Freshness::Stale), (90, Freshness::Lost)] {
            assert_eq!(heart.freshness(Moment::from_millis(secs * 1_000)), wanted, "{secs} s");
        }
    }

    #[test]
    fn every_door_is_tried_before_anyone_waits() {
        let mut doors = Reconnect::new(2);
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push((doors.tell_failed(Moment::ZERO, None, u64::MAX).as_millis(), doors.ask()));
        }
        assert_eq!(waits, [(0, 1), (100, 0), (100, 1), (200, 0), (200, 1), (400, 0)]);
        doors.tell_opened();
        assert_eq!(doors.tell_failed(Moment::ZERO, None, 0), Moment::ZERO);
    }
}
