//! What each sidecar counted of its requests: differences between reports, and how it was lately.
//!
//! Reports carry sums, so one that was lost or heard twice changes nothing. A sidecar that reports less than
//! before has started anew.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use api::traffic::{CLASSES, Traffic};
use api::{Label, ServiceKey};

/// What the past still weighs after another report: a rate over the last five of them or so.
const MEMORY: f64 = 0.8;
/// Callers and routes remembered of one sidecar at most; what is beyond is not reported on.
const KEYS_MAX: usize = 512;

/// Requests, those that failed, and how long all took.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    /// Requests.
    pub(crate) requests: f64,
    /// Those that failed or were refused.
    pub(crate) failed: f64,
    /// Requests by class of latency.
    pub(crate) took: [f64; CLASSES],
}

impl AddAssign<&Sums> for Sums {
    fn add_assign(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.took.iter_mut().zip(&other.took).for_each(|(own, more)| *own += more);
    }
}

impl Sums {
    /// What `now` counts more than `before`, which the same process reported.
    fn between(before: Option<&Traffic>, now: &Traffic) -> Self {
        let before = before.filter(|before| before.requests <= now.requests);
        let more = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let was = |class: usize| before.and_then(|before| before.took.get(class)).copied().unwrap_or(0);
        let is = |class: usize| now.took.get(class).copied().unwrap_or(0);
        Self {
            requests: more(now.requests, before.map_or(0, |before| before.requests)),
            failed: more(now.failed, before.map_or(0, |before| before.failed)),
            took: std::array::from_fn(|class| more(is(class), was(class))),
        }
    }

    fn fade(&mut self) {
        self.requests *= MEMORY;
        self.failed *= MEMORY;
        self.took.iter_mut().for_each(|count| *count *= MEMORY);
    }
}

/// Counts by service.
pub(crate) type ByService = BTreeMap<ServiceKey, Sums>;

type Key = (ServiceKey, Option<Label>, Option<Label>);

/// What one sidecar reported.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostTraffic {
    last: BTreeMap<Key, Traffic>,
    lately: ByService,
}

impl HostTraffic {
    /// A report; returns what happened since the one before.
    pub(crate) fn tell(&mut self, report: Vec<Traffic>) -> ByService {
        let mut since = ByService::new();
        for traffic in report {
            let key = (traffic.service.clone(), traffic.route.clone(), traffic.caller.clone());
            let before = self.last.get(&key);
            if before.is_none() && self.last.len() >= KEYS_MAX {
                continue;
            }
            *since.entry(traffic.service.clone()).or_default() += &Sums::between(before, &traffic);
            self.last.insert(key, traffic);
        }
        self.lately.values_mut().for_each(Sums::fade);
        for (service, sums) in &since {
            *self.lately.entry(service.clone()).or_default() += sums;
        }
        since
    }

    /// Everything it reported last.
    pub(crate) fn last(&self) -> impl Iterator<Item = &Traffic> {
        self.last.values()
    }

    /// How each service was lately, newer reports weighing more.
    pub(crate) fn lately(&self) -> &ByService {
        &self.lately
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn report(requests: u64, failed: u64) -> Vec<Traffic> {
        let (service, took) = ("s".parse().unwrap(), vec![requests]);
        let seconds = Vec::new();
        vec![Traffic { service, route: None, caller: None, requests, failed, took, second: 0, seconds }]
    }

    #[test]
    fn a_report_lost_or_heard_twice_changes_nothing() {
        let mut host = HostTraffic::default();
        let mut told = Vec::new();
        // The third is lost, the fourth heard twice; then the process starts anew.
        for (requests, failed) in [(10, 1), (30, 1), (60, 3), (60, 3), (5, 0)] {
            let since = host.tell(report(requests, failed)).into_values().next().unwrap();
            told.push((since.requests as u64, since.failed as u64, since.took[0] as u64));
        }
        assert_eq!(told, [(10, 1, 10), (20, 0, 20), (30, 2, 30), (0, 0, 0), (5, 0, 5)]);
    }
}
