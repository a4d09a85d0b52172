//! What documents in shadow would change: held against what is in force, and counted without acting.

use std::collections::BTreeMap;

use super::bulkhead::Bulkhead;
use super::limit::Limit;
use super::set::RouteSettings;
use super::settings::Settings;
use crate::digest::Digest;
use crate::name::Label;
use crate::unit::Span;

/// What the documents in shadow would change for one service.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowSettings {
    /// What those documents say: what was counted under other words is not added to it.
    pub words: Digest,
    /// For each route of the service, in the order they are tried.
    pub routes: Vec<ShadowRoute>,
}

/// What they would change for one route.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowRoute {
    /// For everyone without words of their own.
    pub everyone: Shadowed,
    /// For callers with words of their own, in force or in shadow.
    pub callers: BTreeMap<Label, Shadowed>,
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
}

impl ShadowSettings {
    /// Holds what would be in force against what is; both have the same routes.
    pub(super) fn of(words: Digest, would: &[RouteSettings], is: &[RouteSettings]) -> Self {
        let route = |(would, is): (&RouteSettings, &RouteSettings)| {
            let names = would.callers.keys().chain(is.callers.keys());
            let caller = |name: &Label| (name.clone(), Shadowed::of(of(would, name), of(is, name)));
            let everyone = Shadowed::of(&would.settings, &is.settings);
            ShadowRoute { everyone, callers: names.map(caller).collect() }
        };
        Self { words, routes: would.iter().zip(is).map(route).collect() }
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
        Self {
            limits: if would.limits == is.limits { Vec::new() } else { would.limits.clone() },
            bulkheads: if bulkheads == &is.concurrency.bulkheads { Vec::new() } else { bulkheads.clone() },
            per_service: cap.on().filter(|_| cap != is.concurrency.per_service),
            total: (total != is.timeout.total).then_some(total),
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
            ("retry: { attempts: 5 }", "retry.attempts cannot be in shadow"),
            ("routes: [{ name: r, match: { path: /a } }]", "routes cannot be in shadow"),
            ("limits: [{ name: x, rate: 1/s, scope: fleet }]", "only a limit of each host"),
            ("limits: [{ name: x, rate: 1/s, key: endpoint }]", "only a limit of each host"),
            (
                "concurrency: { bulkheads: [{ name: x, in_flight: 1, by: { label: zone } }] }",
                "in shadow nobody is sent elsewhere",
            ),
        ] {
            let text = format!("name: a\nmatch: {{ service: s }}\nmode: shadow\n{words}\n");
            let told = yaml::read_one::<Policy>(&text).unwrap_err();
            assert_eq!(told.len(), 1, "{words}: {told:?}");
            assert!(told[0].to_string().contains(wanted), "{told:?}");
        }
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
