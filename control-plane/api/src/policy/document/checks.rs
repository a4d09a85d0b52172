//! What a document may not say although each of its words is right.

use super::{BULKHEADS, Mode, Policy, route_at};
use crate::policy::limit::LimitKey;
use crate::policy::matching::CallerPattern;
use crate::policy::settings::{Breaker, SettingsWords};
use crate::problem::Problem;
use crate::schema::{Problems, Words as _, join};

/// Leaves that speak of endpoints: what is true of an endpoint is true for every route and caller.
const OF_ENDPOINTS: &[&str] = &[
    "health.",
    "check.",
    "breaker.",
    "concurrency.per_endpoint",
    "concurrency.before_app",
    "concurrency.guard",
];

/// Leaves that speak of all of a route's requests.
const OF_ROUTES: &[&str] = &["route_breaker."];

impl Policy {
    /// What a document may not say although each of its words is right.
    pub(super) fn check(&self, path: &str, problems: &mut Problems) {
        if self.mode == Mode::Shadow {
            self.check_shadow(path, problems);
        }
        if self.target.service.is_none() && !self.routes.is_empty() {
            let what = "routes need a service";
            problems.push(Problem::at(join(path, "routes"), what).hint("write match: { service: NAME }"));
        }
        for (at, route) in self.routes.iter().enumerate() {
            if self.routes[..at].iter().any(|earlier| earlier.name == route.name) {
                let what = format!("route {:?} is defined twice", route.name.as_str());
                problems.push(Problem::at(route_at(path, at), what));
            }
        }
        if self.target.caller != CallerPattern::Any {
            deaf(&self.words, path, "for one caller", &[OF_ENDPOINTS, OF_ROUTES].concat(), problems);
        }
        for (at, route) in self.routes.iter().enumerate() {
            deaf(&route.words, &route_at(path, at), "on a route", OF_ENDPOINTS, problems);
        }
        endpoint_limits(&self.words, path, self.target.caller != CallerPattern::Any, problems);
        for (at, route) in self.routes.iter().enumerate() {
            endpoint_limits(&route.words, &route_at(path, at), true, problems);
        }
        twice_named(&self.words, path, problems);
        for (at, route) in self.routes.iter().enumerate() {
            twice_named(&route.words, &route_at(path, at), problems);
        }
        let settled = self.words.settle();
        if let Some(per_try) = settled.timeout.per_try.on()
            && per_try > settled.timeout.total
        {
            let what = format!("per_try {per_try} is longer than total {}", settled.timeout.total);
            problems.push(Problem::at(join(path, "timeout.per_try"), what).hint("it can never run out"));
        }
        if !settled.check.path.starts_with('/') {
            let what = format!("path {:?} does not start with /", settled.check.path);
            problems.push(Problem::at(join(path, "check.path"), what));
        }
        for (part, breaker) in [("breaker", &settled.breaker), ("route_breaker", &settled.route_breaker)] {
            if !(1..=Breaker::TRIALS_MAX).contains(&breaker.trials) {
                let what =
                    format!("{} trials cannot be told apart: 1 to {}", breaker.trials, Breaker::TRIALS_MAX);
                problems.push(Problem::at(join(path, &format!("{part}.trials")), what));
            }
        }
        if settled.retry.attempts == 0 {
            let hint = "1 means one try and no other";
            problems.push(Problem::at(join(path, "retry.attempts"), "0 attempts send nothing").hint(hint));
        }
    }
}

/// Tells of words that nobody would hear in that place.
fn deaf(words: &SettingsWords, path: &str, place: &str, of: &[&str], problems: &mut Problems) {
    let mut leaves = Vec::new();
    words.leaves(path, &mut leaves);
    for (leaf, _) in leaves {
        let bare = leaf.strip_prefix(path).unwrap_or(&leaf).trim_start_matches('.');
        if of.iter().any(|of| bare.starts_with(of)) {
            let what = format!("{bare} has no effect {place}");
            let hint = "an endpoint or a route is one for all who call it: write it for the whole service";
            problems.push(Problem::at(leaf, what).hint(hint));
        }
    }
}

/// What an endpoint is asked for is counted in its own cell: once, for everybody who calls it.
fn endpoint_limits(words: &SettingsWords, path: &str, narrow: bool, problems: &mut Problems) {
    let limits = words.limits.iter().flatten().enumerate();
    let of_endpoints = limits.filter(|(_, limit)| limit.key == LimitKey::Endpoint).map(|(at, _)| at);
    for at in of_endpoints.skip(usize::from(!narrow)) {
        let what = if narrow { "it has no effect here" } else { "endpoints have a limit already" };
        let hint = "write one limit with key: endpoint, for the whole service";
        problems.push(Problem::at(format!("{}[{at}]", join(path, "limits")), what).hint(hint));
    }
}

/// Tells of bulkheads that are named twice in one list: one of them would never act.
fn twice_named(words: &SettingsWords, path: &str, problems: &mut Problems) {
    let all: Vec<_> = words.concurrency.bulkheads.iter().flatten().collect();
    for (at, bulkhead) in all.iter().enumerate() {
        if all[..at].iter().any(|earlier| earlier.name == bulkhead.name) {
            let what = format!("bulkhead {:?} is named twice", bulkhead.name.as_str());
            problems.push(Problem::at(format!("{}[{at}]", join(path, BULKHEADS)), what));
        }
    }
}
