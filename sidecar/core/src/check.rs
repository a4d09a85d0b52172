//! Health checks of endpoints: what an operator asked for beside what traffic shows.
//!
//! Which endpoints are due for a check, and what a row of good and bad ones means (rise and fall). An endpoint that
//! traffic has just found well is not asked: that counts as a good check. A failing check moves an endpoint behind all
//! that pass, and a passing one never takes back whom traffic ejected: liveness (its lease), readiness (its owner's
//! word), this, and traffic health are four words that nobody mixes. It belongs to the control thread, asks nobody
//! itself and holds no clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use api::message::SharedChecks;
use api::policy::HealthCheck as Settings;

use crate::dice;
use crate::endpoint::{Endpoint, EndpointList};

/// Checks under way at a time, of all services of a host: a list of thousands is not asked in one breath.
pub const CHECKS_MAX: usize = 32;

/// What a row of checks says of an endpoint; it passes until enough speak against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    failing: bool,
    /// Checks in a row that spoke against that.
    against: u32,
}

impl Row {
    /// A check ended; returns whether the endpoint passes from now on, when that changed.
    pub fn tell(&mut self, good: bool, settings: &Settings) -> Option<bool> {
        let enough = if self.failing { settings.rise } else { settings.fall };
        self.against = if good == self.failing { self.against + 1 } else { 0 };
        if self.against < enough.max(1) {
            return None;
        }
        *self = Self { failing: !self.failing, against: 0 };
        Some(!self.failing)
    }

    /// Whether it fails.
    pub fn fails(self) -> bool {
        self.failing
    }
}

#[derive(Debug)]
struct Entry {
    row: Row,
    due: Moment,
    running: bool,
}

/// The checks of one service's endpoints, by their keys' addresses.
#[derive(Debug, Default)]
pub struct Checks {
    entries: BTreeMap<SocketAddr, Entry>,
}

fn name(endpoint: &Endpoint) -> SocketAddr {
    let key = &endpoint.instance.key;
    SocketAddr::new(key.ip, key.port)
}

impl Checks {
    /// The endpoints to check now, `room` at most; each is told of by [`Checks::tell`]. Without `shared` all are this
    /// sidecar's to check.
    pub fn ask(
        &mut self,
        now: Moment,
        list: &EndpointList,
        settings: &Settings,
        shared: Option<&SharedChecks>,
        room: usize,
        dice: &mut u64,
    ) -> Vec<Arc<Endpoint>> {
        let every = settings.every.duration();
        self.entries.retain(|key, entry| entry.running || list.endpoints.iter().any(|e| name(e) == *key));
        let mut due = Vec::new();
        for endpoint in &list.endpoints {
            let key = name(endpoint);
            if let Some(shared) = shared.filter(|shared| !shared.mine.contains(&key)) {
                self.entries.remove(&key);
                endpoint.cell.tell_check(shared.failing.contains(&key) && !serves(endpoint, now, every));
                continue;
            }
            // The first checks of a list are spread over one interval.
            let mut first = || now + every.mul_f64(dice::unit(dice::next(dice)));
            let entry = self.entries.entry(key).or_insert_with(|| Entry {
                row: Row::default(),
                due: first(),
                running: false,
            });
            if entry.running || entry.due > now {
                continue;
            }
            if serves(endpoint, now, every) {
                entry.tell(endpoint, true, settings);
                entry.due = now + spread(every, dice);
            } else if due.len() < room {
                entry.running = true;
                due.push(endpoint.clone());
            }
        }
        due
    }

    /// The check of `endpoint` ended. Returns whether it passes from now on, when that changed.
    pub fn tell(
        &mut self,
        now: Moment,
        endpoint: &Endpoint,
        good: bool,
        settings: &Settings,
        dice: &mut u64,
    ) -> Option<bool> {
        let entry = self.entries.get_mut(&name(endpoint))?;
        (entry.running, entry.due) = (false, now + spread(settings.every.duration(), dice));
        entry.tell(endpoint, good, settings)
    }

    /// Nobody asks for checks any more: what they said is forgotten.
    pub fn stop(&mut self, list: &EndpointList) {
        if !self.entries.is_empty() {
            self.entries.clear();
        }
        list.endpoints.iter().for_each(|endpoint| endpoint.cell.tell_check(false));
    }

    /// What this sidecar's own checks say of each endpoint: whether it passes.
    pub fn verdicts(&self) -> BTreeMap<SocketAddr, bool> {
        self.entries.iter().map(|(key, entry)| (*key, !entry.row.fails())).collect()
    }

    /// When somebody is due.
    pub fn wake_at(&self) -> Option<Moment> {
        self.entries.values().filter(|entry| !entry.running).map(|entry| entry.due).min()
    }
}

impl Entry {
    fn tell(&mut self, endpoint: &Endpoint, good: bool, settings: &Settings) -> Option<bool> {
        let changed = self.row.tell(good, settings);
        endpoint.cell.tell_check(self.row.fails());
        changed
    }
}

/// Whether traffic has just found it well.
fn serves(endpoint: &Endpoint, now: Moment, within: Duration) -> bool {
    let cell = &endpoint.cell;
    cell.health.in_a_row() == 0
        && !cell.health.ask().is_out()
        && cell.ewma.age(now).is_some_and(|age| age < within)
}

/// A tenth earlier or later, so that many sidecars do not ask in step.
fn spread(every: Duration, dice: &mut u64) -> Duration {
    every.mul_f64(0.9 + dice::unit(dice::next(dice)) / 5.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::bench::Bench;

    const SECOND: Moment = Moment::from_millis(1_000);

    fn settings() -> Settings {
        Settings::default()
    }

    fn at(seconds: u64) -> Moment {
        SECOND + Duration::from_secs(seconds)
    }

    #[test]
    fn it_takes_as_many_bad_checks_as_fall_says_and_as_many_good_ones_as_rise() {
        let mut row = Row::default();
        let told: Vec<_> = "--+---+-++".chars().map(|check| row.tell(check == '+', &settings())).collect();
        let mut wanted = vec![None; 10];
        (wanted[5], wanted[9]) = (Some(false), Some(true));
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_failing_check_moves_an_endpoint_behind_the_others_and_never_takes_back_an_ejected_one() {
        let mut bench = Bench::new(3, "");
        let (list, mut checks, mut dice) = (bench.list.clone(), Checks::default(), 7);
        for round in 1..=3 {
            let due = checks.ask(at(round * 20), &list, &settings(), None, 9, &mut dice);
            let due =
                if round == 1 { checks.ask(at(40), &list, &settings(), None, 9, &mut dice) } else { due };
            assert_eq!(due.len(), 3, "round {round}");
            for endpoint in due {
                let good = endpoint.id != 0;
                checks.tell(at(round * 20), &endpoint, good, &settings(), &mut dice);
            }
        }
        let hits = (0..60).filter(|_| bench.run(true, |_| 200) == 0).count();
        assert_eq!(hits, 0, "it is behind all that pass");
        let health = bench.plan.base().health.clone();
        bench.cell(1).health.eject(bench.now, true, &health, 0);
        let ejected = list.endpoints[1].clone();
        for _ in 0..5 {
            checks.tell(at(90), &ejected, true, &settings(), &mut dice);
        }
        assert!(bench.cell(1).health.ask().is_out(), "a passing check takes nobody back");
        checks.stop(&list);
        assert!(!bench.cell(0).check_fails(), "nobody asks any more");
    }

    #[test]
    fn who_serves_is_not_asked_and_who_is_not_mine_neither() {
        let mut bench = Bench::new(3, "balance: { by: random }");
        let (list, mut checks, mut dice) = (bench.list.clone(), Checks::default(), 7);
        assert!(checks.ask(bench.now, &list, &settings(), None, 9, &mut dice).is_empty(), "spread at first");
        bench.after(20_000);
        for _ in 0..30 {
            bench.run(true, |_| 200);
        }
        assert!(checks.ask(bench.now, &list, &settings(), None, 9, &mut dice).is_empty(), "all serve");
        bench.after(30_000);
        assert_eq!(checks.ask(bench.now, &list, &settings(), None, 2, &mut dice).len(), 2, "within the room");
        let key = |at: usize| name(&list.endpoints[at]);
        let shared = SharedChecks { mine: [key(0)].into(), failing: [key(1)].into() };
        checks.ask(bench.now, &list, &settings(), Some(&shared), 9, &mut dice);
        assert_eq!(
            [0, 1, 2].map(|at| bench.cell(at).check_fails()),
            [false, true, false],
            "the fleet's word"
        );
        assert_eq!(checks.verdicts().len(), 1);
    }

    proptest! {
        /// Whatever checks say and traffic does, at most one check of an endpoint runs at a time, none sooner than
        /// nine tenths of the interval after the last, and the cell says what the row says.
        #[test]
        fn checks_keep_their_pace(moves in prop::collection::vec((0_u64..4_000, any::<bool>()), 1..200)) {
            let bench = Bench::new(2, "");
            let (list, mut checks, mut dice, mut now) = (bench.list.clone(), Checks::default(), 1, SECOND);
            let mut running: Vec<Arc<Endpoint>> = Vec::new();
            let mut last: BTreeMap<u32, Moment> = BTreeMap::new();
            for (gap, good) in moves {
                now = now + Duration::from_millis(gap);
                for endpoint in checks.ask(now, &list, &settings(), None, 1, &mut dice) {
                    prop_assert!(running.iter().all(|other| other.id != endpoint.id), "twice at a time");
                    if let Some(before) = last.get(&endpoint.id) {
                        prop_assert!(now.since(*before) >= Duration::from_secs(9), "too soon");
                    }
                    running.push(endpoint);
                }
                if let Some(endpoint) = running.pop() {
                    checks.tell(now, &endpoint, good, &settings(), &mut dice);
                    last.insert(endpoint.id, now);
                    let passes = checks.verdicts()[&name(&endpoint)];
                    prop_assert_eq!(endpoint.cell.check_fails(), !passes);
                }
            }
        }
    }
}
