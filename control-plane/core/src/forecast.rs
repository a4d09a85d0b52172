//! What a policy would have refused: the last minute's requests, second by second, run through its limits.
//!
//! Answers for token buckets, because what they do follows from when requests came. What a time-out, a retry or a
//! cap would have done does not, and is not guessed at.

use std::collections::BTreeMap;

use api::policy::{Limit, LimitKey, LimitScope, ServiceSettings, Settings};
use api::rollout::Forecast;
use api::traffic::Traffic;
use api::{Label, ServiceKey};

/// Requests of each second, the last one last.
type Seconds = Vec<u64>;

/// One bucket: its limit, and the host and caller whose requests it counts where it counts them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    limit: Label,
    host: Option<usize>,
    caller: Option<Label>,
}

/// What `settings` would have refused of `hosts`' requests to `service`; each host's own counts.
pub(crate) fn forecast(
    service: &ServiceKey,
    settings: &ServiceSettings,
    hosts: &[Vec<&Traffic>],
) -> Vec<Forecast> {
    let mut buckets: BTreeMap<Counted, (Limit, Seconds)> = BTreeMap::new();
    for (host, counted) in hosts.iter().enumerate() {
        // Hosts count their own seconds; they are laid beside each other by their last ones.
        for traffic in counted.iter().filter(|traffic| traffic.service == *service) {
            for limit in &terms(settings, traffic).limits {
                let key = Counted {
                    limit: limit.name.clone(),
                    host: (limit.scope == LimitScope::Host).then_some(host),
                    caller: traffic.caller.clone().filter(|_| limit.key == LimitKey::Caller),
                };
                if limit.scope == LimitScope::Instance {
                    continue;
                }
                let (_, seconds) = buckets.entry(key).or_insert_with(|| (limit.clone(), Seconds::new()));
                add(seconds, &traffic.seconds);
            }
        }
    }
    let mut told: BTreeMap<Label, Forecast> = BTreeMap::new();
    for (Counted { limit: name, .. }, (limit, seconds)) in buckets {
        let (service, limit_name) = (service.clone(), name.clone());
        let empty = || Forecast { service, limit: limit_name, refused: 0, requests: 0 };
        let forecast = told.entry(name).or_insert_with(empty);
        forecast.refused += refused(&limit, &seconds);
        forecast.requests += seconds.iter().sum::<u64>();
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

fn add(seconds: &mut Seconds, more: &[u32]) {
    if seconds.len() < more.len() {
        let missing = more.len() - seconds.len();
        seconds.splice(0..0, std::iter::repeat_n(0, missing));
    }
    let from = seconds.len() - more.len();
    seconds[from..].iter_mut().zip(more).for_each(|(sum, count)| *sum += u64::from(*count));
}

/// What a bucket that was full refuses of requests that come evenly within each second.
fn refused(limit: &Limit, seconds: &[u64]) -> u64 {
    let (rate, burst) = (limit.rate.as_per_second(), f64::from(limit.burst.max(1)));
    let (mut tokens, mut refused) = (burst, 0);
    for count in seconds {
        let allowed = (*count).min((tokens + rate) as u64);
        tokens = (tokens + rate - allowed as f64).min(burst);
        refused += count - allowed;
    }
    refused
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
    }

    proptest! {
        /// Against the rule itself: a bucket refilled a thousand times a second, asked by the same requests spread
        /// evenly over their second.
        #[test]
        fn a_forecast_is_what_a_bucket_does(
            seconds in prop::collection::vec(0_u64..60, 1..40), rate in 1_u64..40, burst in 1_u32..80
        ) {
            let limit = Limit {
                name: "x".parse().unwrap(),
                key: LimitKey::Service,
                scope: LimitScope::Host,
                rate: api::Rate::per_second(rate),
                burst,
            };
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
            let told = refused(&limit, &seconds);
            // What does not fit into the bucket within a second is lost to it and not to the forecast.
            let slack = seconds.len() as u64 * rate.saturating_sub(u64::from(burst)).max(1) + 2;
            prop_assert!(told.abs_diff(wanted) <= slack, "{told} told, {wanted} done, {slack} allowed");
        }
    }
}
