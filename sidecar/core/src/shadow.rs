//! Policies in shadow: the same requests, no effect, counted.
//!
//! Held against each request that the service had room for, whatever its limits say: what it would have been refused by,
//! and whether its answer's head came later than would have been waited for. A service without such a policy has none of
//! this, and its requests look at one empty place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::policy::{LimitKey, ShadowSettings, Shadowed};
use api::shadow::ShadowReport;
use api::{Caller, Digest, Label, ServiceKey};

use crate::bulkhead::{self, Bulkhead, Places};
use crate::flight::{Counted, Gauge, Held};
use crate::limits::{Asker, LimitWords};

/// What the documents in shadow would do for one service.
#[derive(Debug)]
pub struct ShadowPlan {
    words: Digest,
    /// For each route of the plan: for everyone, and for callers by name.
    routes: Vec<(Terms, Vec<(Label, Terms)>)>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Terms {
    limits: Vec<Arc<LimitWords>>,
    per_service: Option<u32>,
    bulkheads: Vec<Bulkhead>,
    total: Option<Duration>,
}

/// What was counted, whatever the limits counted themselves.
#[derive(Debug, Default)]
pub struct Counts {
    in_flight: Gauge,
    requests: AtomicU64,
    full: AtomicU64,
    late: AtomicU64,
}

impl Counted for Counts {
    fn gauge(&self) -> &Gauge {
        &self.in_flight
    }
}

/// The places that the request would have in flight, were this in force.
#[derive(Debug)]
pub struct ShadowPlace {
    _service: Held<Counts>,
    _bulkheads: Places,
}

impl ShadowPlan {
    /// Compiles `settings` for routes of these `names`. The same words go on counting where they were in `before`.
    pub(crate) fn compile(settings: &ShadowSettings, names: &[Option<Label>], before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.words == settings.words);
        let mut known: Vec<Arc<LimitWords>> = before.into_iter().flat_map(Self::limits).cloned().collect();
        let mut held: Vec<Bulkhead> = before.into_iter().flat_map(Self::bulkheads).cloned().collect();
        let mut terms = |shadowed: &Shadowed, route: &Option<Label>| Terms {
            limits: shadowed
                .limits
                .iter()
                .map(|limit| {
                    let route = route.as_ref().filter(|_| limit.key == LimitKey::Route);
                    let same = |old: &&Arc<LimitWords>| old.limit == *limit && old.route.as_ref() == route;
                    let found = known.iter().find(same).cloned();
                    let words = found.unwrap_or_else(|| Arc::new(LimitWords::new(limit, route, None)));
                    known.push(words.clone());
                    words
                })
                .collect(),
            per_service: shadowed.per_service,
            bulkheads: shadowed
                .bulkheads
                .iter()
                .map(|words| Bulkhead::compile(words, route.as_ref(), &mut held))
                .collect(),
            total: shadowed.total.map(|total| total.duration()),
        };
        let routes = settings.routes.iter().zip(names).map(|(route, name)| {
            let callers =
                route.callers.iter().map(|(caller, own)| (caller.clone(), terms(own, name))).collect();
            (terms(&route.everyone, name), callers)
        });
        let routes = routes.collect();
        Self {
            words: settings.words,
            routes,
            counts: before.map(|old| old.counts.clone()).unwrap_or_default(),
        }
    }

    /// Holds them against a request on the route at `at`; the place it would have, where it would not be refused.
    pub(crate) fn ask<'h>(
        &self,
        at: usize,
        asker: Asker<'_>,
        header: impl Fn(&str) -> Option<&'h str>,
    ) -> Option<ShadowPlace> {
        let terms = self.terms(at, &asker.exchange.caller);
        self.counts.requests.fetch_add(1, Relaxed);
        let Some(place) = Held::enter(&self.counts, terms.per_service) else {
            self.counts.full.fetch_add(1, Relaxed);
            return None;
        };
        let bulkheads = match bulkhead::enter_all(&terms.bulkheads, asker.exchange, &header) {
            Ok(places) => places,
            Err((full, _)) => {
                full.tell_refused();
                return None;
            }
        };
        // A limit counts itself what it refuses.
        let passes = terms.limits.is_empty() || asker.take_all(&terms.limits, header).is_ok();
        passes.then_some(ShadowPlace { _service: place, _bulkheads: bulkheads })
    }

    /// The head of a request's answer took so long, or nothing came in that time.
    pub fn tell_head(&self, at: usize, caller: &Caller, took: Duration) {
        if self.terms(at, caller).total.is_some_and(|total| took > total) {
            self.counts.late.fetch_add(1, Relaxed);
        }
    }

    /// What was counted since these words were first run.
    pub fn report(&self, service: &ServiceKey) -> ShadowReport {
        let mut would: BTreeMap<String, u64> = BTreeMap::new();
        let mut seen: Vec<*const LimitWords> = Vec::new();
        for limit in self.limits().filter(|limit| {
            let new = !seen.contains(&Arc::as_ptr(limit));
            seen.push(Arc::as_ptr(limit));
            new
        }) {
            *would.entry(format!("limits.{}", limit.limit.name)).or_default() += limit.refused();
        }
        let mut each: Vec<&Bulkhead> = Vec::new();
        for bulkhead in self.bulkheads() {
            if !each.iter().any(|known| known.is(bulkhead)) {
                each.push(bulkhead);
                let name = format!("concurrency.bulkheads.{}", bulkhead.words.name);
                *would.entry(name).or_default() += bulkhead.refused();
            }
        }
        if self.every().any(|terms| terms.per_service.is_some()) {
            would.insert("concurrency.per_service".into(), self.counts.full.load(Relaxed));
        }
        if self.every().any(|terms| terms.total.is_some()) {
            would.insert("timeout.total".into(), self.counts.late.load(Relaxed));
        }
        let requests = self.counts.requests.load(Relaxed);
        ShadowReport { service: service.clone(), words: self.words, requests, would }
    }

    fn terms(&self, at: usize, caller: &Caller) -> &Terms {
        let (everyone, callers) = &self.routes[at];
        let own = caller.name.as_ref().and_then(|name| callers.iter().find(|(own, _)| own == name));
        own.map_or(everyone, |(_, terms)| terms)
    }

    fn every(&self) -> impl Iterator<Item = &Terms> {
        self.routes.iter().flat_map(|(everyone, callers)| {
            std::iter::once(everyone).chain(callers.iter().map(|(_, terms)| terms))
        })
    }

    fn bulkheads(&self) -> impl Iterator<Item = &Bulkhead> {
        self.every().flat_map(|terms| &terms.bulkheads)
    }

    fn limits(&self) -> impl Iterator<Item = &Arc<LimitWords>> {
        self.every().flat_map(|terms| &terms.limits)
    }
}

#[cfg(test)]
mod tests;
