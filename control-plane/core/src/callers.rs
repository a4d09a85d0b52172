//! How much is asked of each service from each zone: what a sidecar must know to send as much to its own zone
//! as that zone's hosts can carry.
//!
//! Sidecars say it with their digest checks; what one said is forgotten when it was silent for three of them.
//! After a restart with state nothing is answered until everybody had the time to say it again, because a few
//! callers are a wrong picture and an old one that sidecars hold is a better one. Zones and counts are taken
//! on trust: who lies moves traffic between hosts that may all take it, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::message::CallerReport;
use api::{Moment, NodeName, ServiceKey};

/// What a node said counts for this long: three digest checks.
const SAID_FOR: Duration = Duration::from_secs(90);
/// After a restart everybody has said it again by then: a digest check and half of one.
const SAID_AGAIN: Duration = Duration::from_secs(45);
/// Services that one node may speak of; beyond, the rest are left out. A sidecar watches as many.
const SERVICES_MAX: usize = 10_000;

/// Who calls what, and from where.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    nodes: BTreeMap<NodeName, (Moment, CallerReport)>,
    by_age: BTreeSet<(Moment, NodeName)>,
    /// What is asked of each service from each zone.
    sums: BTreeMap<ServiceKey, BTreeMap<String, u64>>,
    quiet_until: Moment,
}

impl Callers {
    /// Sidecars of an earlier life are still there and have not said anything to this one.
    pub(crate) fn restarted(&mut self, now: Moment) {
        self.quiet_until = now + SAID_AGAIN;
    }

    /// A node says what it asks for; this replaces what it said before.
    pub(crate) fn tell(&mut self, now: Moment, mut report: CallerReport) {
        self.forget(now);
        if let Some((at, before)) = self.nodes.remove(&report.node) {
            self.by_age.remove(&(at, before.node.clone()));
            self.count(&before, u64::saturating_sub);
        }
        while report.asked.len() > SERVICES_MAX {
            report.asked.pop_last();
        }
        self.count(&report, u64::saturating_add);
        self.by_age.insert((now, report.node.clone()));
        self.nodes.insert(report.node.clone(), (now, report));
    }

    /// What is asked of `service`, by zone; nothing while that is not known.
    pub(crate) fn ask(&self, now: Moment, service: &ServiceKey) -> BTreeMap<String, u64> {
        let known = self.sums.get(service).filter(|_| now >= self.quiet_until);
        known.cloned().unwrap_or_default()
    }

    fn forget(&mut self, now: Moment) {
        while let Some((at, node)) = self.by_age.first().cloned().filter(|(at, _)| now.since(*at) > SAID_FOR)
        {
            self.by_age.remove(&(at, node.clone()));
            if let Some((_, report)) = self.nodes.remove(&node) {
                self.count(&report, u64::saturating_sub);
            }
        }
    }

    fn count(&mut self, report: &CallerReport, change: fn(u64, u64) -> u64) {
        for (service, asked) in &report.asked {
            let zones = self.sums.entry(service.clone()).or_default();
            // Who asks for nothing yet may at any moment, and counts as one request.
            let sum = zones.entry(report.zone.clone()).or_default();
            *sum = change(*sum, asked.saturating_add(1));
            if *sum == 0 {
                zones.remove(&report.zone);
            }
            if zones.is_empty() {
                self.sums.remove(service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn report(node: u8, zone: u8, asked: &[(u8, u64)]) -> CallerReport {
        let service = |n: &u8| format!("s{n}").parse::<ServiceKey>().unwrap();
        CallerReport {
            node: format!("n{node}").parse().unwrap(),
            zone: format!("z{zone}"),
            asked: asked.iter().map(|(n, asked)| (service(n), *asked)).collect(),
        }
    }

    #[test]
    fn after_a_restart_nothing_is_answered_before_everybody_could_say_it_again() {
        let mut callers = Callers::default();
        let service = "s0".parse().unwrap();
        callers.restarted(Moment::ZERO);
        callers.tell(Moment::from_millis(10), report(1, 1, &[(0, 9)]));
        assert!(callers.ask(Moment::from_millis(44_999), &service).is_empty());
        let wanted = BTreeMap::from([("z1".to_owned(), 10)]);
        assert_eq!(callers.ask(Moment::from_millis(45_000), &service), wanted);
    }

    proptest! {
        /// Whatever is said and when: the sums are those of what each node said last within 90 s.
        #[test]
        fn the_sums_are_of_what_was_said_last(
            said in prop::collection::vec((0_u64..60_000, 0_u8..5, 0_u8..3, prop::collection::vec((0_u8..3, 0_u64..99), 0..3)), 1..40)
        ) {
            let mut callers = Callers::default();
            let (mut now, mut last) = (Moment::ZERO, BTreeMap::new());
            for (gap, node, zone, asked) in said {
                now = now + Duration::from_millis(gap);
                let report = report(node, zone, &asked);
                callers.tell(now, report.clone());
                last.insert(node, (now, report));
                last.retain(|_, (at, _)| now.since(*at) <= SAID_FOR);
                for n in 0..3 {
                    let service: ServiceKey = format!("s{n}").parse().unwrap();
                    let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
                    for (_, report) in last.values() {
                        if let Some(asked) = report.asked.get(&service) {
                            *wanted.entry(report.zone.clone()).or_default() += asked + 1;
                        }
                    }
                    prop_assert_eq!(callers.ask(now, &service), wanted);
                }
            }
        }
    }
}
