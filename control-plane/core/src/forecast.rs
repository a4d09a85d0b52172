//! What a policy would have refused: the last minute's requests, second by second, run through its limits.
//!
//! Answers for limits that count a host, a caller, a route or the fleet together, because what they do follows from when
//! requests came. What a header's value, an endpoint, a time-out, a retry or a cap would have done does not, and is not
//! guessed at; nor is what a request costs where its header says so.

use std::collections::BTreeMap;

use api::policy::{Cost, Limit, LimitKey, LimitKind, LimitRule, LimitScope, ServiceSettings, Settings};
use api::rollout::Forecast;
use api::traffic::Traffic;
use api::{Label, ServiceKey, Span};

/// Requests of each second and what they cost, the last one last.
type Seconds = Vec<(u64, u64)>;

/// One level: its limit, and the host, caller and route whose requests it counts where it counts them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    limit: Label,
    host: Option<usize>,
    caller: Option<Label>,
    route: Option<Label>,
}

/// What `settings` would have refused of `hosts`' requests to `service`; each host's own counts.
pub(crate) fn forecast(
    service: &ServiceKey,
    settings: &ServiceSettings,
    hosts: &[Vec<&Traffic>],
) -> Vec<Forecast> {
    let mut levels: BTreeMap<Counted, (Limit, Seconds)> = BTreeMap::new();
    for (host, counted) in hosts.iter().enumerate() {
        // Hosts count their own seconds; they are laid beside each other by their last ones.
        for traffic in counted.iter().filter(|traffic| traffic.service == *service) {
            let terms = terms(settings, traffic);
            let Cost::Units(cost) = terms.cost else { continue };
            for limit in &terms.limits {
                let key = Counted {
                    limit: limit.name.clone(),
                    host: (limit.scope == LimitScope::Host).then_some(host),
                    caller: traffic.caller.clone().filter(|_| limit.key == LimitKey::Caller),
                    route: traffic.route.clone().filter(|_| limit.key == LimitKey::Route),
                };
                let unseen = matches!(limit.key, LimitKey::Header(_) | LimitKey::Endpoint);
                if unseen || limit.scope == LimitScope::Instance {
                    continue;
                }
                let (_, seconds) = levels.entry(key).or_insert_with(|| (limit.clone(), Seconds::new()));
                add(seconds, &traffic.seconds, cost);
            }
        }
    }
    let mut told: BTreeMap<Label, Forecast> = BTreeMap::new();
    for (Counted { limit: name, .. }, (limit, seconds)) in levels {
        let (service, limit_name) = (service.clone(), name.clone());
        let empty = || Forecast { service, limit: limit_name, refused: 0, requests: 0 };
        let forecast = told.entry(name).or_insert_with(empty);
        forecast.refused += refused(&limit, &seconds);
        forecast.requests += seconds.iter().map(|(requests, _)| requests).sum::<u64>();
    }
    told.into_values().collect()
}

/// The settings for a request that was counted under its route's name.
fn terms<'s>(settings: &'s ServiceSettings, traffic: &Traffic) -> &'s Settings {
    let last = settings.routes.len() - 1;
    let at = settings.routes.iter().position(|route| route.name == traffic.route).unwrap_or(last);
    let route = &settings.routes[at];
    traffic.caller.as_ref().and_then(|caller| route.callers.get(caller)).unwrap_or(&route.settings)
}

fn add(seconds: &mut Seconds, more: &[u32], cost: u32) {
    if seconds.len() < more.len() {
        let missing = more.len() - seconds.len();
        seconds.splice(0..0, std::iter::repeat_n((0, 0), missing));
    }
    let from = seconds.len() - more.len();
    for ((requests, units), count) in seconds[from..].iter_mut().zip(more) {
        *requests += u64::from(*count);
        *units += u64::from(*count) * u64::from(cost);
    }
}

/// How many requests a limit that nobody had asked before refuses, where they come evenly within each second.
fn refused(limit: &Limit, seconds: &[(u64, u64)]) -> u64 {
    let mut allowed = Vec::with_capacity(seconds.len());
    for (at, (_, units)) in seconds.iter().enumerate() {
        allowed.push((*units).min(room(limit, seconds, &allowed, at)));
    }
    let share = |((requests, units), allowed): (&(u64, u64), u64)| match units {
        0 => 0,
        units => ((units - allowed) * requests).div_ceil(*units),
    };
    seconds.iter().zip(allowed).map(share).sum()
}

/// What `limit` has room for in the second `at`, of which it `allowed` the earlier ones so much.
fn room(limit: &Limit, seconds: &[(u64, u64)], allowed: &[u64], at: usize) -> u64 {
    let rate = limit.rate.as_per_second();
    let burst = match limit.rule {
        LimitRule::TokenBucket { burst } => f64::from(burst.max(1)),
        // Those who wait are a bucket's burst that is paid back.
        LimitRule::LeakyBucket { longest_wait } => rate * longest_wait.duration().as_secs_f64() + 1.0,
        LimitRule::FixedWindow { window } | LimitRule::SlidingWindow { window } => {
            let (most, length) = (limit.rate.within(window), window.duration().as_secs() as usize);
            let sliding = limit.rule.kind() == LimitKind::SlidingWindow;
            return match length {
                0 => limit.rate.within(Span::secs(1)),
                _ if sliding => most.saturating_sub(allowed[at.saturating_sub(length - 1)..].iter().sum()),
                _ => most.saturating_sub(allowed[at / length * length..].iter().sum()),
            };
        }
    };
    let left = |tokens: f64, (_, allowed): (&(u64, u64), &u64)| (tokens + rate - *allowed as f64).min(burst);
    (seconds.iter().zip(allowed).fold(burst, left) + rate) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use api::policy::{Policy, PolicySet};
    use proptest::prelude::*;

    use super::*;

    fn traffic(route: Option<&str>, caller: &str, seconds: &[u32]) -> Traffic {
        Traffic {
            service: "s".parse().unwrap(),
            route: route.map(|route| route.parse().unwrap()),
            caller: Some(caller.parse().unwrap()),
            requests: 0,
            failed: 0,
            took: Vec::new(),
            second: 99,
            seconds: seconds.to_vec(),
        }
    }

    fn check(limits: &str, hosts: &[Vec<Traffic>], wanted: &[(&str, u64, u64)]) {
        let text = format!(
            "name: a\nmatch: {{ service: s }}\nlimits: [{limits}]\nroutes:\n- name: free\n  limits: []\n"
        );
        let set = PolicySet::new(api::yaml::read_all::<Policy>(&text).unwrap()).unwrap();
        let service: ServiceKey = "s".parse().unwrap();
        let hosts: Vec<Vec<&Traffic>> = hosts.iter().map(|host| host.iter().collect()).collect();
        let told = forecast(&service, &set.settle(&service), &hosts);
        let told: Vec<_> = told.iter().map(|f| (f.limit.as_str(), f.refused, f.requests)).collect();
        assert_eq!(told, wanted, "{limits}");
    }

    #[test]
    fn a_bucket_counts_what_it_would_have_counted() {
        let host = || {
            vec![
                traffic(None, "a", &[10, 10]),
                traffic(None, "b", &[0, 10]),
                traffic(Some("free"), "a", &[99]),
            ]
        };
        check("{ name: x, rate: 5/s, burst: 5 }", &[host()], &[("x", 15, 30)]);
        check("{ name: x, rate: 5/s, burst: 5 }", &[host(), host()], &[("x", 30, 60)]);
        check("{ name: x, key: caller, rate: 5/s, burst: 5 }", &[host()], &[("x", 5, 30)]);
        check("{ name: x, rate: 5/s, burst: 5, scope: fleet }", &[host(), host()], &[("x", 45, 60)]);
        check("{ name: x, rate: 1/s, scope: instance }", &[host()], &[]);
        check("{ name: x, rate: 1/s, key: { header: a } }", &[host()], &[]);
    }

    #[test]
    fn each_kind_counts_as_it_does() {
        let host = || vec![traffic(None, "a", &[10, 0, 10, 10])];
        check("{ name: x, kind: fixed-window, rate: 6/s, window: 2s }", &[host()], &[("x", 8, 30)]);
        check("{ name: x, kind: sliding-window, rate: 6/s, window: 2s }", &[host()], &[("x", 8, 30)]);
        check("{ name: x, kind: sliding-window, rate: 4/s, window: 4s }", &[host()], &[("x", 14, 30)]);
        check("{ name: x, kind: leaky-bucket, rate: 5/s, longest_wait: 1s }", &[host()], &[("x", 4, 30)]);
        check("{ name: x, key: route, rate: 5/s, burst: 5 }", &[host()], &[("x", 5, 30)]);
    }

    proptest! {
        /// Against the rule itself: a bucket refilled a thousand times a second, asked by the same requests spread
        /// evenly over their second.
        #[test]
        fn a_forecast_is_what_a_bucket_does(
            seconds in prop::collection::vec(0_u64..60, 1..40), rate in 1_u64..40, burst in 1_u32..80
        ) {
            let mut limit = Limit::bucket("x".parse().unwrap(), api::Rate::per_second(rate));
            limit.rule = LimitRule::TokenBucket { burst };
            let (mut tokens, mut wanted) = (f64::from(burst), 0_u64);
            for count in &seconds {
                let mut asked = 0;
                for tick in 1..=1_000_u64 {
                    tokens = (tokens + rate as f64 / 1_000.0).min(f64::from(burst));
                    while asked < count * tick / 1_000 {
                        asked += 1;
                        if tokens >= 1.0 - 1e-9 { tokens -= 1.0 } else { wanted += 1 }
                    }
                }
            }
            let told = refused(&limit, &seconds.iter().map(|count| (*count, *count)).collect::<Vec<_>>());
            // What does not fit into the bucket within a second is lost to it and not to the forecast.
            let slack = seconds.len() as u64 * rate.saturating_sub(u64::from(burst)).max(1) + 2;
            prop_assert!(told.abs_diff(wanted) <= slack, "{told} told, {wanted} done, {slack} allowed");
        }
    }
}
