//! What a policy means on either side: at the callers' hosts, and before the app itself.
//!
//! One document speaks for both. Before the app there is one endpoint and one attempt, because callers try
//! elsewhere, and nothing is ever ejected, because it is the last one; how long a caller waits is the caller's
//! business and travels with its request.

use api::Span;
use api::policy::{Concurrency, LimitScope, ServiceSettings, Settings, StrategyKind};

/// An hour: as good as for ever, and still an end.
const INBOUND_TOTAL: Span = Span::secs(3600);

/// What `settings` mean where requests are sent to a service.
#[must_use]
pub fn outbound(settings: ServiceSettings) -> ServiceSettings {
    each(settings, |settings| {
        settings.limits.retain(|limit| limit.scope != LimitScope::Instance);
        // Here no sidecar calls, but an app or whoever else.
        settings.trust_priority = false;
    })
}

/// What `settings` mean before an instance of the service: its routes and the limits that count there.
#[must_use]
pub fn inbound(settings: ServiceSettings) -> ServiceSettings {
    // Before the app nothing is in shadow: what can be counts at the callers' hosts.
    let settings = ServiceSettings { shadow: None, ..settings };
    each(settings, |settings| {
        let limits = std::mem::take(&mut settings.limits);
        let Settings { priority, trust_priority, .. } = *settings;
        let shed_by = settings.shed_by.clone();
        let mut own = Settings { limits, priority, shed_by, trust_priority, ..Settings::default() };
        own.limits.retain(|limit| limit.scope == LimitScope::Instance);
        own.strategy.kind = StrategyKind::Failfast;
        // The app is the one endpoint here. A guard is the callers': they see all instances.
        let (bound, wait) = (settings.concurrency.before_app, settings.concurrency.longest_wait);
        own.concurrency =
            Concurrency { per_endpoint: bound, longest_wait: wait, guard: false, ..own.concurrency };
        (own.timeout.total, own.timeout.idle) = (INBOUND_TOTAL, settings.timeout.idle);
        *settings = own;
    })
}

fn each(mut settings: ServiceSettings, mut change: impl FnMut(&mut Settings)) -> ServiceSettings {
    for route in &mut settings.routes {
        change(&mut route.settings);
        route.callers.values_mut().for_each(&mut change);
    }
    settings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use api::policy::{Cap, Class, Policy, PolicySet};

    use super::*;

    #[test]
    fn a_limit_counts_on_one_side_and_the_rest_of_a_policy_is_the_callers() {
        let text = "name: a\nmatch: { service: s }\nconcurrency: { per_endpoint: auto, before_app: 7, longest_wait: 30ms }\npriority: critical\nretry: { attempts: 5 }\ntimeout: { total: 2s, idle: 9s }\n\
                    limits: [{ name: each, rate: 1/s }, { name: all, rate: 2/s, scope: instance }]\n";
        let set = PolicySet::new(api::yaml::read_all::<Policy>(text).unwrap()).unwrap();
        let settled = set.settle(&"s".parse().unwrap());
        let names = |settings: &Settings| -> Vec<String> {
            settings.limits.iter().map(|limit| limit.name.to_string()).collect()
        };
        let [out, own] =
            [outbound(settled.clone()), inbound(settled)].map(|side| side.routes[0].settings.clone());
        assert_eq!(
            (names(&out), out.retry.attempts, out.timeout.total),
            (vec!["each".into()], 5, Span::secs(2))
        );
        assert_eq!((names(&own), own.strategy.kind), (vec!["all".into()], StrategyKind::Failfast));
        assert_eq!([out.priority, own.priority], [Class::Critical; 2]);
        assert_eq!([&out, &own].map(|side| side.concurrency.per_endpoint), [Cap::Auto, Cap::At(7)]);
        assert_eq!([&out, &own].map(|side| side.concurrency.longest_wait), [Span::millis(30); 2]);
        assert_eq!([&out, &own].map(|side| side.concurrency.guard), [true, false]);
        assert_eq!((own.timeout.total, own.timeout.idle), (INBOUND_TOTAL, Span::secs(9)));
    }
}
