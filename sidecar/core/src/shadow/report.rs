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
        for (_, hedged) in each(known.hedges, |a, b| Arc::ptr_eq(&a.1, &b.1)) {
            tell("hedge.beside".into(), hedged.begun.load(Relaxed));
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
        let of_endpoints = [
            (self.endpoints.health.is_some(), "health.ejected", &counts.ill.ejected),
            (self.endpoints.health.is_some(), "health.elsewhere", &counts.ill.elsewhere),
            (self.endpoints.breaker.is_some(), "breaker.opened", &counts.ill.opened),
            (self.endpoints.breaker.is_some(), "breaker.elsewhere", &counts.ill.shut_out),
        ];
        for (_, leaf, count) in of_endpoints.iter().filter(|(said, ..)| *said) {
            tell((*leaf).into(), count.load(Relaxed));
        }
        if let Some(limit) = &self.endpoints.limit {
            tell(format!("limits.{}", limit.limit.name), limit.refused());
        }
        let requests = counts.requests.load(Relaxed);
        ShadowReport { service: service.clone(), words: self.words, requests, would }
    }

    /// Everything that counts, as often as it stands in the terms.
    pub(super) fn known(&self) -> Known {
        let breakers = self.routes.iter().filter_map(Way::breaker).collect();
        let hedges = self.routes.iter().flat_map(Way::hedges).collect();
        let limits = self.every().flat_map(|terms| &terms.limits).cloned().collect();
        let bulkheads = self
            .every()
            .flat_map(|terms| terms.bulkheads.iter().chain(&terms.of_endpoints))
            .cloned()
            .collect();
        Known { limits, bulkheads, breakers, hedges }
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
