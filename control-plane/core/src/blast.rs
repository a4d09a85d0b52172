//! The blast radius: how much of a service may leave its list without its owner's word.
//!
//! Expiry, absence, masks and witnesses all take from one account per service: max(1, floor(share × n)) within
//! one interval, n being what was listed at its start. A planned drain gives another share; nothing else does.
//! The account is not kept over a restart: in the first interval after one, a single instance may leave.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use api::{Moment, ServiceKey, Share};

/// The accounts of all services.
#[derive(Debug)]
pub(crate) struct Blast {
    share: Share,
    every: Duration,
    /// Until then nobody knows what left just before the start.
    careful_until: Moment,
    taken: BTreeMap<ServiceKey, VecDeque<(Moment, u64)>>,
}

impl Blast {
    /// One interval, `every`, may take `share` of a service.
    pub(crate) fn new(share: Share, every: Duration) -> Self {
        Self { share, every, careful_until: Moment::ZERO, taken: BTreeMap::new() }
    }

    /// State was loaded: what left just before is not known.
    pub(crate) fn loaded(&mut self, now: Moment) {
        self.careful_until = now + self.every;
    }

    /// How many of `service`, whose list shows `listed` now, may still leave. `planned` is the share of a planned
    /// drain that covers it.
    pub(crate) fn room(
        &self,
        service: &ServiceKey,
        listed: usize,
        planned: Option<Share>,
        now: Moment,
    ) -> u64 {
        let taken = self.taken(service, now);
        let share = match planned {
            Some(planned) => planned.max(self.share),
            None if now < self.careful_until => Share::default(),
            None => self.share,
        };
        share.of(listed as u64 + taken).max(1).saturating_sub(taken)
    }

    /// `count` of `service` left.
    pub(crate) fn tell(&mut self, service: &ServiceKey, count: u64, now: Moment) {
        if count == 0 {
            return;
        }
        let every = self.every;
        let taken = self.taken.entry(service.clone()).or_default();
        while taken.front().is_some_and(|(at, _)| now.since(*at) >= every) {
            taken.pop_front();
        }
        match taken.back_mut() {
            Some((at, before)) if *at == now => *before += count,
            _ => taken.push_back((now, count)),
        }
    }

    /// Time passes: what left long ago is forgotten.
    pub(crate) fn tick(&mut self, now: Moment) {
        let every = self.every;
        self.taken.retain(|_, taken| taken.back().is_some_and(|(at, _)| now.since(*at) < every));
    }

    fn taken(&self, service: &ServiceKey, now: Moment) -> u64 {
        let recent = self.taken.get(service).into_iter().flatten();
        recent.filter(|(at, _)| now.since(*at) < self.every).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_millis(secs * 1_000)
    }

    #[test]
    fn one_interval_takes_its_share_on_all_ways_together() {
        let service: ServiceKey = "s".parse().unwrap();
        let mut blast = Blast::new(Share::percent(15), Duration::from_secs(60));
        assert_eq!(blast.room(&service, 100, None, at(0)), 15);
        blast.tell(&service, 10, at(0));
        assert_eq!(blast.room(&service, 90, None, at(1)), 5);
        blast.tell(&service, 5, at(30));
        assert_eq!(blast.room(&service, 85, None, at(59)), 0);
        assert_eq!(blast.room(&service, 85, Some(Share::percent(100)), at(59)), 85);
        assert_eq!(blast.room(&service, 85, None, at(60)), 8, "15 % of 90, less the five of 30 s ago");
        blast.tick(at(90));
        assert_eq!(blast.taken.len(), 0);
    }

    #[test]
    fn after_a_restart_one_may_leave_until_an_interval_has_passed() {
        let service: ServiceKey = "s".parse().unwrap();
        let mut blast = Blast::new(Share::percent(15), Duration::from_secs(60));
        blast.loaded(at(10));
        assert_eq!(blast.room(&service, 100, None, at(69)), 1);
        assert_eq!(blast.room(&service, 100, Some(Share::percent(30)), at(69)), 30);
        assert_eq!(blast.room(&service, 100, None, at(70)), 15);
    }

    #[test]
    fn one_may_always_leave_and_then_no_other() {
        let service: ServiceKey = "s".parse().unwrap();
        let mut blast = Blast::new(Share::percent(15), Duration::from_secs(60));
        assert_eq!(blast.room(&service, 3, None, at(0)), 1);
        blast.tell(&service, 1, at(0));
        assert_eq!(blast.room(&service, 2, None, at(0)), 0);
    }
}
