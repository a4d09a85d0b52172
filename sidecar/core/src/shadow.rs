//! Policies in shadow: the same requests, no effect, counted.
//!
//! Held against each request that the service had room for, whatever its limits say: which route it would be on, what it
//! would have been refused by, whether it would have gone to its endpoint or been tried again, and whether its answer came later than would
//! have been waited for. A service without such a policy has none of this, and its requests look at one empty place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::policy::{Breaker, Health, Matching, ShadowEndpoints, ShadowRoute, ShadowSettings};
use api::{Caller, Digest, Label};

use crate::budget::Budget;
use crate::bulkhead;
use crate::flight::{Counted, Gauge, Held};
use crate::keyed;
use crate::limits::{Asker, EndpointLimit, LimitWords};

mod beside;
mod ill;
mod kept;
mod place;
mod report;
mod terms;

pub(crate) use ill::Ill;
pub(crate) use kept::Kept;
pub(crate) use place::{InShadow, ShadowPlace};
use terms::{Terms, Watched};

/// What the documents in shadow would do for one service.
#[derive(Debug)]
pub struct ShadowPlan {
    words: Digest,
    /// What the routes would match, where they are not those in force.
    routing: Vec<Matching>,
    /// How many routes are in force.
    width: usize,
    routes: Vec<Way>,
    endpoints: Endpoints,
    /// The words in short: what endpoints' machines were told under others they forget.
    id: u64,
    counts: Arc<Counts>,
}

/// What would be otherwise for each endpoint.
#[derive(Debug)]
struct Endpoints {
    /// When it would be left out.
    health: Option<Health>,
    breaker: Option<Breaker>,
    /// It counts itself what it would have refused.
    limit: Option<Arc<EndpointLimit>>,
}

/// What would hold for requests on one route.
#[derive(Debug)]
struct Way {
    everyone: Terms,
    /// For callers with words of their own, by name.
    callers: Vec<(Label, Terms)>,
    name: Option<Label>,
    /// How many requests would have been on this route and were on another one.
    moved: Option<Arc<AtomicU64>>,
}

/// What was counted, whatever the limits counted themselves.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    in_flight: Gauge,
    budget: Budget,
    requests: AtomicU64,
    full: AtomicU64,
    late: AtomicU64,
    again: AtomicU64,
    not_again: AtomicU64,
    ill: ill::Tallied,
}

impl Counted for Counts {
    fn gauge(&self) -> &Gauge {
        &self.in_flight
    }
}

impl ShadowPlan {
    /// Compiles `settings`, which were held against so many routes in force. The same words go on counting where they
    /// were in `before`.
    pub(crate) fn compile(settings: &ShadowSettings, width: usize, before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.words == settings.words);
        let mut known = before.map(Self::known).unwrap_or_default();
        let mut moved: Vec<(Option<Label>, Arc<AtomicU64>)> =
            before.into_iter().flat_map(|old| &old.routes).filter_map(Way::counter).collect();
        let mut way = |route: &ShadowRoute| {
            let name = route.name.as_ref();
            let callers = route.callers.iter();
            let counter = route.moved.then(|| {
                let found =
                    moved.iter().find(|(own, _)| own.as_ref() == name).map(|(_, count)| count.clone());
                let count = found.unwrap_or_default();
                moved.push((name.cloned(), count.clone()));
                count
            });
            Way {
                everyone: known.compile(&route.everyone, name),
                callers: callers.map(|(caller, own)| (caller.clone(), known.compile(own, name))).collect(),
                name: name.cloned(),
                moved: counter,
            }
        };
        let routes = settings.routes.iter().map(&mut way).collect();
        let counts = before.map(|old| old.counts.clone()).unwrap_or_default();
        let routing = settings.routing.iter().map(|(_, matching)| matching.clone()).collect();
        let words = settings.words;
        let endpoints = Endpoints::compile(&settings.endpoints, before.map(|old| &old.endpoints));
        Self { words, routing, width, routes, endpoints, id: keyed::key(words), counts }
    }

    /// Where a request on the route at `at` stands here.
    pub(crate) fn place(&self, at: usize, matches: impl Fn(&Matching) -> bool) -> usize {
        if self.routing.is_empty() {
            return at;
        }
        let would = self.routing.iter().position(matches).unwrap_or(self.routing.len() - 1);
        would * self.width + at
    }

    /// Holds them against a request that stands at `at`; the place it would have, where it would not be refused.
    pub(crate) fn ask<'h>(
        &self,
        at: usize,
        asker: Asker<'_>,
        header: impl Fn(&str) -> Option<&'h str>,
    ) -> Option<ShadowPlace> {
        let caller = self.caller(at, &asker.exchange.caller);
        let terms = self.terms(at, caller);
        self.counts.requests.fetch_add(1, Relaxed);
        if let Some(moved) = &self.routes[at].moved {
            moved.fetch_add(1, Relaxed);
        }
        if let Some((watched, settings)) = &terms.breaker
            && !watched.breaker.would_pass(asker.now, settings)
        {
            watched.tell_refused();
            return None;
        }
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
        if !terms.limits.is_empty() && asker.take_all(&terms.limits, header).is_err() {
            return None;
        }
        if terms.retry.is_some() || terms.hedge.is_some() {
            self.counts.budget.tell_request(asker.now);
        }
        Some(ShadowPlace::new((at, caller), (place, bulkheads)))
    }

    /// The head of the answer to a request that stands at `at` took so long, or nothing came in that time.
    pub fn tell_head(&self, at: usize, caller: &Caller, took: Duration) {
        let caller = self.caller(at, caller);
        if self.terms(at, caller).total.is_some_and(|total| took > total) {
            self.counts.late.fetch_add(1, Relaxed);
        }
    }

    /// The limits of which this host has a part to count by, each once.
    pub(crate) fn fleet_limits(&self) -> Vec<Arc<LimitWords>> {
        let limits = self.every().flat_map(|terms| &terms.limits).filter(|limit| limit.is_fleets());
        report::each(limits.cloned().collect(), Arc::ptr_eq)
    }

    /// Where `caller`'s own terms stand among those of the route at `at`.
    fn caller(&self, at: usize, caller: &Caller) -> Option<usize> {
        let name = caller.name.as_ref()?;
        self.routes[at].callers.iter().position(|(own, _)| own == name)
    }

    fn terms(&self, at: usize, caller: Option<usize>) -> &Terms {
        let route = &self.routes[at];
        caller.map_or(&route.everyone, |caller| &route.callers[caller].1)
    }

    fn every(&self) -> impl Iterator<Item = &Terms> {
        self.routes.iter().flat_map(|Way { everyone, callers, .. }| {
            std::iter::once(everyone).chain(callers.iter().map(|(_, terms)| terms))
        })
    }
}

impl Endpoints {
    fn compile(settings: &ShadowEndpoints, before: Option<&Self>) -> Self {
        let limit = settings.limit.as_ref().map(|words| {
            let known = before.and_then(|before| before.limit.clone());
            known.unwrap_or_else(|| Arc::new(EndpointLimit::new(words)))
        });
        Self { health: settings.health.clone(), breaker: settings.breaker.clone(), limit }
    }
}

impl Way {
    fn counter(&self) -> Option<(Option<Label>, Arc<AtomicU64>)> {
        Some((self.name.clone(), self.moved.clone()?))
    }

    fn breaker(&self) -> Option<(Option<Label>, Arc<Watched>)> {
        Some((self.name.clone(), self.everyone.breaker.as_ref()?.0.clone()))
    }

    fn hedges(&self) -> impl Iterator<Item = (Option<Label>, Arc<beside::Hedged>)> {
        let terms = std::iter::once(&self.everyone).chain(self.callers.iter().map(|(_, terms)| terms));
        terms.filter_map(|terms| Some((self.name.clone(), terms.hedge.as_ref()?.0.clone())))
    }
}

#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod tests;
