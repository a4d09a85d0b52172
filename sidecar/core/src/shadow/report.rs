//! What was counted, by leaf.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use api::shadow::ShadowReport;
use api::{Label, ServiceKey};

use super::terms::{Known, Terms};
use super::{ShadowPlan, Way};
use crate::bulkhead::Bulkhead;

/// What a route is called that has no name.
const UNNAMED: &str = "default";

impl ShadowPlan {
    /// What was counted since these words were first run.
    pub fn report(&self, service: &ServiceKey) -> ShadowReport {
        let mut would: BTreeMap<String, u64> = BTreeMap::new();
        let mut tell = |leaf: String, count: u64| *would.entry(leaf).or_default() += count;
        let known = self.known();
        for limit in each(known.limits, Arc::ptr_eq) {
            tell(format!("limits.{}", limit.limit.name), limit.refused());
        }
        for bulkhead in each(known.bulkheads, Bulkhead::is) {
            tell(format!("concurrency.bulkheads.{}", bulkhead.words.name), bulkhead.refused());
        }
        for (_, watched) in each(known.breakers, |a, b| Arc::ptr_eq(&a.1, &b.1)) {
            tell("route_breaker".into(), watched.refused.load(Relaxed));
        }
        for (name, count) in each(self.routes.iter().filter_map(Way::counter).collect(), |a, b| a.0 == b.0) {
            let name = name.as_ref().map_or(UNNAMED, Label::as_str);
            tell(format!("routes.{name}"), count.load(Relaxed));
        }
        let counts = &self.counts;
        let mut if_said = |says: fn(&Terms) -> bool, leaf: &str, count: &AtomicU64| {
            if self.every().any(says) {
                tell(leaf.into(), count.load(Relaxed));
            }
        };
        if_said(|terms| terms.per_service.is_some(), "concurrency.per_service", &counts.full);
        if_said(|terms| terms.total.is_some(), "timeout.total", &counts.late);
        if_said(|terms| terms.retry.is_some(), "retry.again", &counts.again);
        if_said(|terms| terms.retry.is_some(), "retry.not_again", &counts.not_again);
        if self.health.is_some() {
            tell("health.ejected".into(), counts.ill.ejected.load(Relaxed));
            tell("health.elsewhere".into(), counts.ill.elsewhere.load(Relaxed));
        }
        let requests = counts.requests.load(Relaxed);
        ShadowReport { service: service.clone(), words: self.words, requests, would }
    }

    /// Everything that counts, as often as it stands in the terms.
    pub(super) fn known(&self) -> Known {
        let breakers = self.routes.iter().filter_map(Way::breaker).collect();
        let limits = self.every().flat_map(|terms| &terms.limits).cloned().collect();
        let bulkheads = self
            .every()
            .flat_map(|terms| terms.bulkheads.iter().chain(&terms.of_endpoints))
            .cloned()
            .collect();
        Known { limits, bulkheads, breakers }
    }
}

/// Each of `all` once.
pub(super) fn each<T>(all: Vec<T>, same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut each: Vec<T> = Vec::new();
    for one in all {
        if !each.iter().any(|known| same(known, &one)) {
            each.push(one);
        }
    }
    each
}
