//! What documents in shadow would change: held against what is in force, and counted without acting.

use std::collections::BTreeMap;

use super::bulkhead::Bulkhead;
use super::limit::{Limit, LimitKey};
use super::matching::Matching;
use super::set::RouteSettings;
use super::settings::{Breaker, Health, Hedge, Retry, Settings};
use crate::digest::Digest;
use crate::name::Label;
use crate::unit::Span;

/// What the documents in shadow would change for one service.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowSettings {
    /// What those documents say: what was counted under other words is not added to it.
    pub words: Digest,
    /// The routes that there would be, in the order they would be tried; empty where they are those in force.
    pub routing: Vec<(Option<Label>, Matching)>,
    /// What would change for requests on each route: for each in force, in their order, or where there would be others
    /// for each of those and each in force, of one that would be after the other.
    pub routes: Vec<ShadowRoute>,
    /// What would hold for endpoints, which is the same for every route.
    pub endpoints: ShadowEndpoints,
}

/// What they would change for each endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShadowEndpoints {
    /// When it would be left out.
    pub health: Option<Health>,
    /// Its breaker.
    pub breaker: Option<Breaker>,
    /// How often it would be asked.
    pub limit: Option<Limit>,
}

/// What they would change for the requests of one route.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowRoute {
    /// For everyone without words of their own.
    pub everyone: Shadowed,
    /// For callers with words of their own, in force or in shadow.
    pub callers: BTreeMap<Label, Shadowed>,
    /// The route that they would be on; `None` for what no route would match.
    pub name: Option<Label>,
    /// Whether that is another one than the one in force.
    pub moved: bool,
}

/// Only what differs from what is in force; everything else would act as it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shadowed {
    /// Limits in the place of those in force.
    pub limits: Vec<Limit>,
    /// Requests in flight to the service.
    pub per_service: Option<u32>,
    /// Bulkheads in the place of those in force.
    pub bulkheads: Vec<Bulkhead>,
    /// Time until the head of the answer.
    pub total: Option<Span>,
    /// When it would be tried again: how often, and within which budget.
    pub retry: Option<Retry>,
    /// When a second attempt would be begun beside the first.
    pub hedge: Option<Hedge>,
    /// The route's breaker.
    pub route_breaker: Option<Breaker>,
}

impl ShadowSettings {
    /// Holds what would be in force against what is.
    pub(super) fn of(words: Digest, would: &[RouteSettings], is: &[RouteSettings]) -> Self {
        let same = |(would, is): (&RouteSettings, &RouteSettings)| {
            would.name == is.name && would.matching == is.matching
        };
        let rest = |routes: &'_ [RouteSettings]| routes.last().map(|rest| rest.settings.clone());
        let endpoints = rest(would).zip(rest(is));
        let endpoints = endpoints.map(|(would, is)| ShadowEndpoints::of(&would, &is)).unwrap_or_default();
        if would.len() == is.len() && would.iter().zip(is).all(same) {
            let routes = would.iter().zip(is).map(|(would, is)| ShadowRoute::of(would, is)).collect();
            return Self { words, routing: Vec::new(), routes, endpoints };
        }
        let routing = would.iter().map(|route| (route.name.clone(), route.matching.clone())).collect();
        let routes = would.iter().flat_map(|would| is.iter().map(|is| ShadowRoute::of(would, is))).collect();
        Self { words, routing, routes, endpoints }
    }
}

impl ShadowEndpoints {
    fn of(would: &Settings, is: &Settings) -> Self {
        let limit = |of: &Settings| of.limits.iter().find(|limit| limit.key == LimitKey::Endpoint).cloned();
        let breaker = Some(&would.breaker).filter(|own| own.is_on() && **own != is.breaker);
        Self {
            health: (would.health != is.health).then(|| would.health.clone()),
            breaker: breaker.cloned(),
            limit: limit(would).filter(|own| limit(is).as_ref() != Some(own)),
        }
    }
}

impl ShadowRoute {
    fn of(would: &RouteSettings, is: &RouteSettings) -> Self {
        let names = would.callers.keys().chain(is.callers.keys());
        let caller = |name: &Label| (name.clone(), Shadowed::of(of(would, name), of(is, name)));
        Self {
            everyone: Shadowed::of(&would.settings, &is.settings),
            callers: names.map(caller).collect(),
            name: would.name.clone(),
            moved: would.name != is.name,
        }
    }
}

/// What holds for the caller `name`.
fn of<'r>(route: &'r RouteSettings, name: &Label) -> &'r Settings {
    route.callers.get(name).unwrap_or(&route.settings)
}

impl Shadowed {
    fn of(would: &Settings, is: &Settings) -> Self {
        let cap = would.concurrency.per_service;
        let total = would.timeout.total;
        let bulkheads = &would.concurrency.bulkheads;
        let (retry, breaker) = (&would.retry, &would.route_breaker);
        let limits = |of: &Settings| -> Vec<Limit> {
            of.limits.iter().filter(|limit| limit.key != LimitKey::Endpoint).cloned().collect()
        };
        Self {
            limits: Some(limits(would)).filter(|own| *own != limits(is)).unwrap_or_default(),
            bulkheads: if bulkheads == &is.concurrency.bulkheads { Vec::new() } else { bulkheads.clone() },
            per_service: cap.on().filter(|_| cap != is.concurrency.per_service),
            total: (total != is.timeout.total).then_some(total),
            retry: (*retry != is.retry).then(|| retry.clone()),
            hedge: (would.hedge != is.hedge).then(|| would.hedge.clone()),
            route_breaker: Some(breaker).filter(|own| own.is_on() && **own != is.route_breaker).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::policy::{Policy, PolicySet};
    use crate::yaml;

    #[test]
    fn what_cannot_be_in_shadow_is_refused_and_said() {
        for (words, wanted) in [
            ("balance: { by: random }", "what another endpoint would have answered"),
            ("routes: [{ name: r, match: { path: /a }, priority: critical }]", "who stands beside it"),
            ("timeout: { per_try: 1s }", "timeout.per_try cannot be in shadow"),
            ("limits: [{ name: x, rate: 1/s, scope: instance }]", "a limit before an instance"),
        ] {
            let text = format!("name: a\nmatch: {{ service: s }}\nmode: shadow\n{words}\n");
            let told = yaml::read_one::<Policy>(&text).unwrap_err();
            assert_eq!(told.len(), 1, "{words}: {told:?}");
            assert!(told[0].to_string().contains(wanted), "{told:?}");
        }
    }

    #[test]
    fn routes_in_shadow_stand_in_the_place_of_those_in_force() {
        let route = |name: &str| {
            format!("routes: [{{ name: {name}, match: {{ path: /a }}, timeout: {{ total: 1s }} }}]\n")
        };
        let force = format!("name: a\nmatch: {{ service: s }}\n{}", route("old"));
        let shadow = format!("---\nname: b\nmatch: {{ service: s }}\nmode: shadow\n{}", route("new"));
        let set = PolicySet::new(yaml::read_all::<Policy>(&format!("{force}{shadow}")).unwrap()).unwrap();
        let settled = set.settle(&"s".parse().unwrap());
        let held = settled.shadow.unwrap();
        let names = |name: &Option<Label>| name.as_ref().map_or("-".to_owned(), ToString::to_string);
        assert_eq!(held.routing.iter().map(|(name, _)| names(name)).collect::<Vec<_>>(), ["new", "-"]);
        // Of each that would be after each that is: what would be longer is the shadow's, what is alike is nobody's.
        let told: Vec<_> =
            held.routes.iter().map(|r| (names(&r.name), r.moved, r.everyone.total.is_some())).collect();
        let would = |name: &str, moved, total| (name.to_owned(), moved, total);
        assert_eq!(
            told,
            [
                would("new", true, false),
                would("new", true, true),
                would("-", true, true),
                would("-", false, false)
            ]
        );
    }

    #[test]
    fn a_shadow_changes_nothing_in_force_and_keeps_what_differs() {
        let force =
            "name: a\nmatch: { service: s }\ntimeout: { total: 2s }\nlimits: [{ name: x, rate: 1/s }]\n";
        let shadow = "name: b\nmatch: { service: s }\nmode: shadow\ntimeout: { total: 1s }\n\
                      limits: [{ name: x, rate: 1/s }]\n";
        let service = "s".parse().unwrap();
        let set = |text: &str| PolicySet::new(yaml::read_all::<Policy>(text).unwrap()).unwrap();
        let both = set(&format!("{force}---\n{shadow}")).settle(&service);
        let alone = set(force).settle(&service);
        assert_eq!((&both.routes, &alone.shadow), (&alone.routes, &None));
        let held = &both.shadow.unwrap().routes[0].everyone;
        assert_eq!(*held, Shadowed { total: Some(Span::secs(1)), ..Shadowed::default() });
    }
}
