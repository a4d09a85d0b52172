//! The compiled policies of one service.
//!
//! Compiling is total: settings were validated where they were read. What a plan counts (its buckets)
//! survives the next compilation when the limit says the same, so that a push never refills a bucket.

use std::ops::Deref;
use std::sync::Arc;

use api::policy::{
    Limit, LimitKey, Matching, Mode, RouteSettings, ServiceSettings, Settings, Stop, StrategyKind,
};
use api::schema::Switch;
use api::traffic::Traffic;
use api::{Caller, Label, Moment, ServiceKey};

use crate::bulkhead::Bulkhead;
use crate::latency::Latencies;
use crate::limits::LimitWords;
use crate::parts::Wants;
use crate::route_breaker::{self, RouteBreaker};
use crate::service::ServiceCell;
use crate::shadow::ShadowPlan;
use crate::traffic::Tally;

mod common;

pub use common::Common;

/// What a worker runs for one service; shared as an `Arc`, swapped whole.
#[derive(Debug)]
pub struct ServicePlan {
    /// The routes in the order they are tried; the last one matches everything.
    pub routes: Vec<Arc<RoutePlan>>,
    common: Arc<Common>,
}

impl Deref for ServicePlan {
    type Target = Common;
    fn deref(&self) -> &Common {
        &self.common
    }
}

/// A part of a service with its own settings.
#[derive(Debug)]
pub struct RoutePlan {
    /// Its name; `None` for what no route of the policy matches.
    pub name: Option<Label>,
    /// What belongs to it.
    pub matching: Matching,
    /// For everyone without words of their own.
    pub everyone: Terms,
    /// For callers with words of their own, by name.
    pub callers: Vec<(Label, Terms)>,
    /// What is counted of its requests, whatever the plan says.
    pub tally: Arc<Tally>,
    /// A command that refuses all of them for now.
    pub stop: Option<Stop>,
    /// Its breaker, where anything opens it.
    pub breaker: Option<Arc<RouteBreaker>>,
    /// How long its answers take; only where somebody hedges.
    pub latencies: Option<Arc<Latencies>>,
    /// What holds on its service's other routes as well.
    pub common: Arc<Common>,
}

/// Settings and the limits they name.
#[derive(Debug)]
pub struct Terms {
    /// The settings.
    pub settings: Settings,
    /// Their limits, with what they count.
    pub limits: Vec<Arc<LimitWords>>,
    /// Their bulkheads that hold requests.
    pub bulkheads: Vec<Bulkhead>,
    /// And those that hold attempts, by a label of the endpoint.
    pub of_endpoints: Vec<Bulkhead>,
}

impl ServicePlan {
    /// Compiles `settings`. Limits that say what they said in `before` go on counting where they were.
    pub fn compile(
        service: &ServiceKey,
        settings: &ServiceSettings,
        cell: Arc<ServiceCell>,
        before: Option<&Self>,
    ) -> Self {
        let common = Arc::new(Common::compile(service, settings, cell, before.map(Deref::deref)));
        let mut known: Vec<Arc<LimitWords>> = before.into_iter().flat_map(Self::limits).cloned().collect();
        let mut held: Vec<Bulkhead> = before.into_iter().flat_map(Self::bulkheads).cloned().collect();
        let mut terms = |settings: &Settings, route: &Option<Label>| {
            let counted = settings.limits.iter().filter(|limit| limit.key != LimitKey::Endpoint);
            let mut limits: Vec<Arc<LimitWords>> =
                counted.map(|limit| known_or_new(&mut known, limit, route)).collect();
            // Turns last: one that was taken cannot be given back.
            limits.sort_by_key(|limit| limit.paces());
            let bulkheads = settings.concurrency.bulkheads.iter();
            let bulkheads = bulkheads.map(|words| Bulkhead::compile(words, route.as_ref(), &mut held));
            let (of_endpoints, bulkheads) = bulkheads.partition(Bulkhead::is_of_endpoints);
            Terms { settings: settings.clone(), limits, bulkheads, of_endpoints }
        };
        let tally = |name: &Option<Label>| {
            let known = before.and_then(|plan| plan.routes.iter().find(|route| route.name == *name));
            known.map(|route| route.tally.clone()).unwrap_or_default()
        };
        let routes: Vec<Arc<RoutePlan>> = settings
            .routes
            .iter()
            .map(|route| RoutePlan {
                name: route.name.clone(),
                matching: route.matching.clone(),
                everyone: terms(&route.settings, &route.name),
                callers: route
                    .callers
                    .iter()
                    .map(|(name, own)| (name.clone(), terms(own, &route.name)))
                    .collect(),
                tally: tally(&route.name),
                stop: route.stop,
                breaker: breaker(route, before),
                latencies: latencies(route, before),
                common: common.clone(),
            })
            .map(Arc::new)
            .collect();
        Self { routes, common }
    }

    /// What was counted of its requests since the process's start, by route and caller.
    pub fn traffic(&self, now: Moment) -> impl Iterator<Item = Traffic> + '_ {
        self.routes.iter().flat_map(move |route| route.tally.read(&self.service, route.name.as_ref(), now))
    }

    /// What its rules ask of every list.
    pub fn wants(&self) -> Wants {
        let balances = self.terms().map(|terms| &terms.settings.balance);
        balances.fold(Wants::default(), |mut wants, balance| {
            if let Switch::On(subset) = &balance.subset {
                wants.labels.insert(subset.label.clone());
            }
            wants.and(balance.by)
        })
    }

    /// The limits of which this host has a part, each once, with whether they act.
    pub fn fleet_limits(&self) -> Vec<(Mode, Arc<LimitWords>)> {
        let own = self.each_limit().into_iter().filter(|limit| limit.is_fleets());
        let shadows = self.shadow.iter().flat_map(ShadowPlan::fleet_limits);
        own.map(|limit| (Mode::Enforce, limit)).chain(shadows.map(|limit| (Mode::Shadow, limit))).collect()
    }

    /// Every limit, each once.
    pub fn each_limit(&self) -> Vec<Arc<LimitWords>> {
        let mut limits: Vec<Arc<LimitWords>> = Vec::new();
        for limit in self.limits() {
            if !limits.iter().any(|known| Arc::ptr_eq(known, limit)) {
                limits.push(limit.clone());
            }
        }
        limits
    }

    /// Every bulkhead, each once.
    pub fn each_bulkhead(&self) -> Vec<&Bulkhead> {
        let mut each: Vec<&Bulkhead> = Vec::new();
        for bulkhead in self.bulkheads() {
            if !each.iter().any(|known| known.is(bulkhead)) {
                each.push(bulkhead);
            }
        }
        each
    }

    fn bulkheads(&self) -> impl Iterator<Item = &Bulkhead> {
        self.terms().flat_map(|terms| terms.bulkheads.iter().chain(&terms.of_endpoints))
    }

    /// Every limit of every route; a shared one comes once for each.
    fn limits(&self) -> impl Iterator<Item = &Arc<LimitWords>> {
        self.terms().flat_map(|terms| &terms.limits)
    }

    fn terms(&self) -> impl Iterator<Item = &Terms> {
        self.routes.iter().flat_map(|route| route.terms())
    }
}

impl RoutePlan {
    fn terms(&self) -> impl Iterator<Item = &Terms> {
        std::iter::once(&self.everyone).chain(self.callers.iter().map(|(_, terms)| terms))
    }

    /// Where `caller`'s own terms stand in `callers`; `None` for a caller without words of its own.
    pub fn position(&self, caller: &Caller) -> Option<usize> {
        let name = caller.name.as_ref()?;
        self.callers.binary_search_by(|(own, _)| own.cmp(name)).ok()
    }
}

/// A route's breaker survives every plan in which anything opens it.
fn breaker(route: &RouteSettings, before: Option<&ServicePlan>) -> Option<Arc<RouteBreaker>> {
    let known =
        before.and_then(|plan| plan.routes.iter().find(|old| old.name == route.name)?.breaker.clone());
    route_breaker::kept(&route.settings.route_breaker, known)
}

/// What is known of a route's answers survives every plan in which it hedges.
fn latencies(route: &RouteSettings, before: Option<&ServicePlan>) -> Option<Arc<Latencies>> {
    let hedges = |settings: &Settings| {
        settings.hedge.after.on().is_some() && settings.strategy.kind == StrategyKind::Failover
    };
    if !hedges(&route.settings) && !route.callers.values().any(hedges) {
        return None;
    }
    let namesake = |old: &&Arc<RoutePlan>| old.name == route.name;
    let known = before.and_then(|before| before.routes.iter().find(namesake)?.latencies.clone());
    Some(known.unwrap_or_default())
}

fn known_or_new(known: &mut Vec<Arc<LimitWords>>, limit: &Limit, route: &Option<Label>) -> Arc<LimitWords> {
    let of_route = route.as_ref().filter(|_| limit.key == LimitKey::Route);
    if let Some(words) = known.iter().find(|words| words.limit == *limit && words.route.as_ref() == of_route)
    {
        return words.clone();
    }
    let namesake = known.iter().find(|words| words.limit.name == limit.name && words.is_fleets());
    let before = namesake.map(|words| words.granted() / words.limit.rate.as_per_second());
    let words = Arc::new(LimitWords::new(limit, of_route, before));
    known.push(words.clone());
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use api::policy::{Policy, PolicySet};
    use api::yaml;

    use super::*;

    fn compiled(text: &str, before: Option<&ServicePlan>) -> ServicePlan {
        let set = PolicySet::new(yaml::read_all::<Policy>(text).unwrap()).unwrap();
        let service = "checkout".parse().unwrap();
        ServicePlan::compile(&service, &set.settle(&service), ServiceCell::shared(), before)
    }

    fn word(plan: &ServicePlan, route: usize) -> *const LimitWords {
        Arc::as_ptr(&plan.routes[route].everyone.limits[0])
    }

    #[test]
    fn a_limit_goes_on_counting_while_it_says_the_same() {
        let text = "name: a\nmatch: { service: checkout }\nlimits: [{ name: x, rate: 10/s }]\n\
                    routes: [{ name: r, match: { path: /a } }]\n";
        let first = compiled(text, None);
        assert_eq!(word(&first, 0), word(&first, 1), "routes share what the service said");
        let same = compiled(&format!("{text}timeout: {{ total: 2s }}\n"), Some(&first));
        assert_eq!(word(&same, 0), word(&first, 0));
        let other = compiled(&text.replace("10/s", "11/s"), Some(&first));
        assert_ne!(word(&other, 0), word(&first, 0));
        let each = compiled(&text.replace("name: x", "name: x, key: route"), Some(&first));
        assert_ne!(word(&each, 0), word(&each, 1), "each route counts apart");
        let again = compiled(&text.replace("name: x", "name: x, key: route"), Some(&each));
        assert_eq!([word(&again, 0), word(&again, 1)], [word(&each, 0), word(&each, 1)]);
    }

    #[test]
    fn turns_are_taken_last_and_endpoints_count_in_their_own_cells() {
        let text = "name: a\nmatch: { service: checkout }\nlimits:\n- { name: turns, kind: leaky-bucket, rate: 1/s }\n\
                    - { name: each, key: endpoint, rate: 5/s }\n- { name: all, rate: 9/s }\n";
        let plan = compiled(text, None);
        let names: Vec<&str> = plan.routes[0].everyone.limits.iter().map(|l| l.limit.name.as_str()).collect();
        assert_eq!(names, ["all", "turns"]);
        assert_eq!(plan.per_endpoint.as_ref().map(|own| own.limit.name.to_string()).as_deref(), Some("each"));
    }

    #[test]
    fn what_is_counted_of_a_route_survives_its_words() {
        let text = "name: a\nmatch: { service: checkout }\nroutes: [{ name: r, match: { path: /a } }]\n";
        let first = compiled(text, None);
        let now = Moment::from_millis(5_000);
        first.routes[0].tally.tell(now, &Caller::default(), true, std::time::Duration::ZERO);
        let later = compiled(&text.replace("/a", "/b"), Some(&first));
        let told: Vec<_> = later.traffic(now).map(|t| (t.route, t.requests, t.failed)).collect();
        assert_eq!(told, [(Some("r".parse().unwrap()), 1, 1)]);
    }

    #[test]
    fn what_is_known_of_answers_survives_while_the_route_hedges() {
        let text = "name: a\nmatch: { service: checkout }\nhedge: { after: off }\n\
                    routes: [{ name: r, hedge: { after: p95 } }]\n";
        let first = compiled(text, None);
        assert!(first.routes[1].latencies.is_none(), "nobody hedges there");
        let same = compiled(&format!("{text}timeout: {{ total: 2s }}\n"), Some(&first));
        let known = |plan: &ServicePlan| plan.routes[0].latencies.as_ref().map(Arc::as_ptr);
        assert_eq!(known(&same), known(&first));
        assert!(compiled(&text.replace("p95", "off"), Some(&first)).routes[0].latencies.is_none());
    }
}
