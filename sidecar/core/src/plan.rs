//! The compiled policies of one service.
//!
//! Compiling is total: settings were validated where they were read. What a plan counts (its buckets)
//! survives the next compilation when the limit says the same, so that a push never refills a bucket.

use std::sync::Arc;

use api::policy::{
    HashKey, Limit, LimitKey, LimitScope, Matching, RouteSettings, ServiceSettings, Settings, Stop,
};
use api::schema::Switch;
use api::traffic::Traffic;
use api::{Caller, Label, Moment, ServiceKey};

use crate::bucket::{Bucket, Flow};
use crate::callers::CallerBuckets;
use crate::grant::Grant;
use crate::latency::Latencies;
use crate::parts::Wants;
use crate::service::ServiceCell;
use crate::traffic::Tally;

/// What a worker runs for one service; shared as an `Arc`, swapped whole.
#[derive(Debug)]
pub struct ServicePlan {
    /// Whose.
    pub service: ServiceKey,
    /// What is counted of the service, whatever the plan.
    pub cell: Arc<ServiceCell>,
    /// Whether a rule asks where requests come from.
    pub needs_peer: bool,
    /// The routes in the order they are tried; the last one matches everything.
    pub routes: Vec<RoutePlan>,
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
    /// How long its answers take; only where somebody hedges.
    pub latencies: Option<Arc<Latencies>>,
}

/// Settings and the limits they name.
#[derive(Debug)]
pub struct Terms {
    /// The settings.
    pub settings: Settings,
    /// Their limits, with what they count.
    pub limits: Vec<Arc<LimitWords>>,
}

/// One limit with its words. Routes of a service that say the same limit share it.
#[derive(Debug)]
pub struct LimitWords {
    /// The limit as written.
    pub limit: Limit,
    /// What it counts.
    pub words: Words,
    flow: Flow,
    /// This host's part, where the limit is the whole fleet's.
    grant: Option<Grant>,
}

/// What a limit counts apart.
#[derive(Debug)]
pub enum Words {
    /// Everyone together.
    One(Bucket),
    /// Each caller.
    PerCaller(Box<CallerBuckets>),
}

impl LimitWords {
    /// `before` is this host's share of a fleet-wide limit of the same name, where it had one.
    fn new(limit: &Limit, before: Option<f64>) -> Self {
        let words = match limit.key {
            LimitKey::Service => Words::One(Bucket::default()),
            LimitKey::Caller => Words::PerCaller(Box::default()),
        };
        let grant = (limit.scope == LimitScope::Fleet).then(|| Grant::first(limit, before));
        Self { limit: limit.clone(), words, flow: Flow::of(limit), grant }
    }

    /// Its rate and depth, for who asks for a token.
    pub fn flow(&self) -> Flow {
        self.grant.as_ref().map_or(self.flow, Grant::flow)
    }

    /// Its rate and depth, for who gives a token back.
    pub fn flow_back(&self) -> Flow {
        self.grant.as_ref().map_or(self.flow, Grant::now)
    }

    /// How often this host's part was asked for a token; zero where the limit is not the fleet's.
    pub fn asked(&self) -> u64 {
        self.grant.as_ref().map_or(0, Grant::asked)
    }

    /// What this host allows, per second.
    pub fn granted(&self) -> f64 {
        self.grant.as_ref().map_or_else(|| self.limit.rate.as_per_second(), Grant::rate)
    }

    /// This host's part is so much per second from now on.
    pub fn grant_told(&self, rate: f64) {
        if let Some(grant) = &self.grant {
            grant.tell(rate);
        }
    }
}

impl ServicePlan {
    /// Compiles `settings`. Limits that say what they said in `before` go on counting where they were.
    pub fn compile(
        service: &ServiceKey,
        settings: &ServiceSettings,
        cell: Arc<ServiceCell>,
        before: Option<&Self>,
    ) -> Self {
        let mut known: Vec<Arc<LimitWords>> = before.into_iter().flat_map(Self::limits).cloned().collect();
        let mut terms = |settings: &Settings| Terms {
            settings: settings.clone(),
            limits: settings.limits.iter().map(|limit| known_or_new(&mut known, limit)).collect(),
        };
        let tally = |name: &Option<Label>| {
            let known = before.and_then(|plan| plan.routes.iter().find(|route| route.name == *name));
            known.map(|route| route.tally.clone()).unwrap_or_default()
        };
        let routes: Vec<RoutePlan> = settings
            .routes
            .iter()
            .map(|route| RoutePlan {
                name: route.name.clone(),
                matching: route.matching.clone(),
                everyone: terms(&route.settings),
                callers: route.callers.iter().map(|(name, own)| (name.clone(), terms(own))).collect(),
                tally: tally(&route.name),
                stop: route.stop,
                latencies: latencies(route, before),
            })
            .collect();
        let by_source = |terms: &Terms| {
            let balance = &terms.settings.balance;
            balance.by.hashes() && balance.key == HashKey::Source
        };
        let needs_peer = routes.iter().flat_map(RoutePlan::terms).any(by_source);
        Self { service: service.clone(), cell, needs_peer, routes }
    }

    /// What the policies say for the whole service. An endpoint's machines (health, breaker, averages, its cap)
    /// run on it, because what is true of an endpoint is true for every route and caller.
    pub fn base(&self) -> &Settings {
        // Settling always ends with the route that matches everything, so there is a last one.
        &self.routes[self.routes.len() - 1].everyone.settings
    }

    /// What was counted of its requests since the process's start, by route and caller.
    pub fn traffic(&self, now: Moment) -> impl Iterator<Item = Traffic> + '_ {
        self.routes.iter().flat_map(move |route| route.tally.read(&self.service, route.name.as_ref(), now))
    }

    /// What its rules ask of every list.
    pub fn wants(&self) -> Wants {
        let balances = self.routes.iter().flat_map(RoutePlan::terms).map(|terms| &terms.settings.balance);
        balances.fold(Wants::default(), |mut wants, balance| {
            if let Switch::On(subset) = &balance.subset {
                wants.labels.insert(subset.label.clone());
            }
            wants.and(balance.by)
        })
    }

    /// The limits of which this host spends a part, each once.
    pub fn fleet_limits(&self) -> Vec<Arc<LimitWords>> {
        let mut limits: Vec<Arc<LimitWords>> = Vec::new();
        for limit in self.limits().filter(|limit| limit.grant.is_some()) {
            if !limits.iter().any(|known| Arc::ptr_eq(known, limit)) {
                limits.push(limit.clone());
            }
        }
        limits
    }

    /// Every limit of every route; a shared one comes once for each.
    fn limits(&self) -> impl Iterator<Item = &Arc<LimitWords>> {
        self.routes.iter().flat_map(RoutePlan::terms).flat_map(|terms| &terms.limits)
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

/// What is known of a route's answers survives every plan in which it hedges.
fn latencies(route: &RouteSettings, before: Option<&ServicePlan>) -> Option<Arc<Latencies>> {
    let hedges = |settings: &Settings| settings.hedge.after.on().is_some();
    if !hedges(&route.settings) && !route.callers.values().any(hedges) {
        return None;
    }
    let namesake = |old: &&RoutePlan| old.name == route.name;
    let known = before.and_then(|before| before.routes.iter().find(namesake)?.latencies.clone());
    Some(known.unwrap_or_default())
}

fn known_or_new(known: &mut Vec<Arc<LimitWords>>, limit: &Limit) -> Arc<LimitWords> {
    if let Some(words) = known.iter().find(|words| words.limit == *limit) {
        return words.clone();
    }
    let namesake = known.iter().find(|words| words.limit.name == limit.name && words.grant.is_some());
    let before = namesake.map(|words| words.granted() / words.limit.rate.as_per_second());
    let words = Arc::new(LimitWords::new(limit, before));
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
        let text = "name: a\nmatch: { service: checkout }\nroutes: [{ name: r, hedge: { after: p95 } }]\n";
        let first = compiled(text, None);
        assert!(first.routes[1].latencies.is_none(), "nobody hedges there");
        let same = compiled(&format!("{text}timeout: {{ total: 2s }}\n"), Some(&first));
        let known = |plan: &ServicePlan| plan.routes[0].latencies.as_ref().map(Arc::as_ptr);
        assert_eq!(known(&same), known(&first));
        assert!(compiled(&text.replace("p95", "off"), Some(&first)).routes[0].latencies.is_none());
    }
}
