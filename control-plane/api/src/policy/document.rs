//! One policy document: for whom, and what.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::bulkhead::BulkheadKey;
use super::limit::{LimitKey, LimitScope};
use super::matching::{CallerPattern, Matching};
use super::settings::{Breaker, SettingsWords};
use crate::choice::choice;
use crate::digest::Digest;
use crate::name::{Label, Namespace, ServiceName};
use crate::problem::Problem;
use crate::schema::{Field, Fields, Node, Problems, Schema, Shape, Words};

choice! {
    /// Whether a policy acts.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Mode {
        /// It acts.
        #[default]
        Enforce = "enforce",
        /// It is held against the same requests without acting, and what it would have done is counted.
        Shadow = "shadow",
    }
}

crate::schema::choice_shape!(Mode);

impl Mode {
    /// Whether it acts.
    pub fn acts(&self) -> bool {
        *self == Self::Enforce
    }
}

/// For whom a document speaks: its whole namespace, or one service; everyone, or one caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// One service; the whole namespace when `None`.
    pub service: Option<ServiceName>,
    /// One caller, or everyone.
    pub caller: CallerPattern,
}

/// A part of a service with settings of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name, in metrics and `explain`.
    pub name: Label,
    /// What belongs to it.
    pub matching: Matching,
    /// What it sets.
    pub words: SettingsWords,
}

/// A policy document.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name within the namespace.
    pub name: Label,
    /// For whom it speaks.
    pub target: Target,
    /// Whether it acts.
    pub mode: Mode,
    /// What it sets for all of its target.
    pub words: SettingsWords,
    /// Parts of the service with settings of their own; the first that matches is taken.
    pub routes: Vec<Route>,
}

/// A policy as it is read: the same thing, under the name the reader gives it.
pub type PolicyWords = Policy;

impl Policy {
    /// The part of a policy set's digest that this document contributes.
    pub fn digest(&self) -> Digest {
        Digest::of(self.write().to_string().as_bytes())
    }

    /// What a sidecar must be able to do to run this document, as `leaf=word` for each word of a closed set
    /// it uses. A sidecar says which it knows; a policy that nobody can run is refused with their names.
    pub fn needs(&self) -> BTreeSet<String> {
        let mut leaves = Vec::new();
        self.words.leaves("", &mut leaves);
        self.routes.iter().for_each(|route| route.words.leaves("", &mut leaves));
        let word = |(path, value): &(String, Value)| Some(format!("{path}={}", value.as_str()?));
        let words = leaves.iter().filter(|(path, _)| CLOSED.contains(&path.as_str())).filter_map(word);
        let limits =
            leaves.iter().filter(|(path, _)| path == "limits").filter_map(|(_, value)| value.as_array());
        let bulkheads = leaves.iter().filter(|(path, _)| path == BULKHEADS);
        let bulkheads = bulkheads.filter_map(|(_, value)| value.as_array()).flatten().map(word_of_bulkhead);
        let mode = (self.mode != Mode::Enforce).then(|| format!("mode={}", self.mode));
        words.chain(limits.flatten().flat_map(words_of_limit)).chain(bulkheads).chain(mode).collect()
    }

    /// Everything a sidecar of this version can run, for [`Policy::needs`] of others to be checked against.
    pub fn capabilities() -> BTreeSet<String> {
        use super::limit::LimitKind;
        use super::settings::{Choosing, StrategyKind};
        let choosing = Choosing::ALL.iter().map(|word| format!("balance.by={word}"));
        let scopes = LimitScope::ALL.iter().map(|word| format!("limits.scope={word}"));
        let kinds = LimitKind::ALL.iter().map(|word| format!("limits.kind={word}"));
        let keys = LATER_KEYS.iter().map(|word| format!("limits.key={word}"));
        let strategies = StrategyKind::ALL.iter().map(|word| format!("strategy.kind={word}"));
        let bulkheads = BulkheadKey::WORDS.iter().map(|word| format!("{BULKHEADS}.by={word}"));
        let modes = Mode::ALL.iter().map(|word| format!("mode={word}"));
        let limits = scopes.chain(kinds).chain(keys);
        choosing.chain(limits).chain(bulkheads).chain(strategies).chain(modes).collect()
    }

    /// Whether the leaf at `path` can be tried in shadow.
    pub fn can_be_in_shadow(path: &str) -> bool {
        IN_SHADOW
            .iter()
            .any(|leaf| leaf.strip_suffix('*').map_or(path == *leaf, |part| path.starts_with(part)))
    }

    /// What a document in shadow may say: what can be held against a request without acting on it.
    fn check_shadow(&self, path: &str, problems: &mut Problems) {
        check_shadowed(&self.words, path, problems);
        for (at, route) in self.routes.iter().enumerate() {
            check_shadowed(&route.words, &format!("{}[{at}]", join(path, "routes")), problems);
        }
    }

    /// What a document may not say although each of its words is right.
    fn check(&self, path: &str, problems: &mut Problems) {
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
                problems.push(Problem::at(format!("{}[{at}]", join(path, "routes")), what));
            }
        }
        if self.target.caller != CallerPattern::Any {
            deaf(&self.words, path, "for one caller", &[OF_ENDPOINTS, OF_ROUTES].concat(), problems);
        }
        for (at, route) in self.routes.iter().enumerate() {
            deaf(
                &route.words,
                &format!("{}[{at}]", join(path, "routes")),
                "on a route",
                OF_ENDPOINTS,
                problems,
            );
        }
        endpoint_limits(&self.words, path, self.target.caller != CallerPattern::Any, problems);
        for (at, route) in self.routes.iter().enumerate() {
            endpoint_limits(&route.words, &format!("{}[{at}]", join(path, "routes")), true, problems);
        }
        twice_named(&self.words, path, problems);
        for (at, route) in self.routes.iter().enumerate() {
            twice_named(&route.words, &format!("{}[{at}]", join(path, "routes")), problems);
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

/// Leaves that can be held against a request without acting on it; a star stands for all that begins so.
const IN_SHADOW: &[&str] = &[
    "limits",
    "concurrency.per_service",
    BULKHEADS,
    "concurrency.longest_wait",
    "timeout.total",
    "retry.attempts",
    "retry.budget",
    "retry.floor",
    "retry.statuses",
    "hedge.*",
    "breaker.*",
    "route_breaker.*",
    "health.eject_share",
    "health.consecutive",
    "health.success_floor",
    "health.window",
    "health.minimum",
    "health.counts",
    "health.slow_share",
    "health.slow_factor",
    "health.trial_every",
    "health.trial_at_most",
    "health.ramp",
];

/// Why others cannot, by what they begin with, where it is none of our wants.
const NEVER_IN_SHADOW: &[(&str, &str)] = &[
    (
        "balance.",
        "what another endpoint would have answered, and what that had made of the next choice, nobody saw",
    ),
    ("priority", "who waits how long depends on who stands beside it, and those wait as they do in force"),
    ("shed_by", "who is let in depends on who stands beside it, and those come as they do in force"),
];

/// Tells of words that cannot be held against requests without acting on them.
fn check_shadowed(words: &SettingsWords, path: &str, problems: &mut Problems) {
    let mut leaves = Vec::new();
    words.leaves(path, &mut leaves);
    for (leaf, _) in leaves {
        let bare = leaf.strip_prefix(path).unwrap_or(&leaf).trim_start_matches('.');
        if !Policy::can_be_in_shadow(bare) {
            let what = format!("{bare} cannot be in shadow");
            let why = NEVER_IN_SHADOW.iter().find(|(part, _)| bare.starts_with(part));
            let what = why.map_or(what.clone(), |(_, why)| format!("{what}: {why}"));
            let hint = format!("{} can; try others by outrigger apply --staged", IN_SHADOW.join(", "));
            problems.push(Problem::at(leaf, what).hint(hint));
        }
    }
    let limits = words.limits.iter().flatten().enumerate();
    for (at, _) in limits.filter(|(_, limit)| limit.scope == LimitScope::Instance) {
        let what = "a limit before an instance cannot be in shadow";
        problems.push(Problem::at(format!("{}[{at}]", join(path, "limits")), what));
    }
}

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

/// Keys of limits that the first sidecars did not know.
const LATER_KEYS: &[&str] = &["route", "endpoint", "header"];

/// What a sidecar must know to run a limit.
fn words_of_limit(limit: &Value) -> Vec<String> {
    let word = |key: &str| limit[key].as_str().map(|word| format!("limits.{key}={word}"));
    let key = if limit["key"].is_object() { "header" } else { limit["key"].as_str().unwrap_or_default() };
    let key = LATER_KEYS.contains(&key).then(|| format!("limits.key={key}"));
    [word("scope"), word("kind"), key].into_iter().flatten().collect()
}

/// The leaf that lists bulkheads.
const BULKHEADS: &str = "concurrency.bulkheads";

/// What a sidecar must know to run a bulkhead.
fn word_of_bulkhead(bulkhead: &Value) -> String {
    let by = &bulkhead["by"];
    let named = by.as_object().and_then(|by| by.keys().next()).map(String::as_str);
    format!("{BULKHEADS}.by={}", named.or(by.as_str()).unwrap_or_default())
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

/// Leaves whose value is a word of a closed set that grows with versions.
const CLOSED: &[&str] = &["balance.by", "strategy.kind"];

fn join(path: &str, key: &str) -> String {
    crate::schema::join(path, key)
}

impl Shape for Target {
    fn schema() -> Schema {
        Schema::Record(vec![
            Field::new(
                "service",
                "One service; the whole namespace when left out.",
                ServiceName::schema(),
                None,
            ),
            Field::new("caller", "One caller, or * for everyone.", CallerPattern::schema(), Some("*".into())),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let target = Self {
            service: fields.optional("service", problems),
            caller: fields.optional("caller", problems).unwrap_or_default(),
        };
        fields.finish(problems);
        Some(target)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        if let Some(service) = &self.service {
            map.insert("service".into(), service.write());
        }
        if self.caller != CallerPattern::Any {
            map.insert("caller".into(), self.caller.write());
        }
        Value::Object(map)
    }
}

impl Shape for Route {
    fn schema() -> Schema {
        let mut fields = vec![
            Field::new("name", "Its name, in metrics and `explain`; must be written.", Label::schema(), None),
            Field::new("match", "What belongs to it.", Matching::schema(), None),
        ];
        fields.extend(SettingsWords::fields());
        Schema::Record(fields)
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let name = fields.required("name", problems);
        let matching = fields.optional("match", problems).unwrap_or_default();
        let words = SettingsWords::take(&mut fields, problems);
        fields.finish(problems);
        Some(Self { name: name?, matching, words })
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), self.name.write());
        map.insert("match".into(), self.matching.write());
        self.words.put(&mut map);
        Value::Object(map)
    }
}

impl Shape for Policy {
    fn schema() -> Schema {
        let kind = Schema::Choice(vec!["Policy"]);
        let mut fields = vec![
            Field::new("kind", "What the document is.", kind, Some("Policy".into())),
            Field::new("namespace", "Its namespace.", Namespace::schema(), Some("default".into())),
            Field::new("name", "Its name within the namespace; must be written.", Label::schema(), None),
            Field::new("match", "For whom it speaks.", Target::schema(), None),
            Field::new("mode", "Whether it acts.", Mode::schema(), Some("enforce".into())),
        ];
        fields.extend(SettingsWords::fields());
        let routes = "Parts of the service with settings of their own; the first that matches is taken.";
        fields.push(Field::new("routes", routes, Schema::List(Box::new(Route::schema())), None));
        Schema::Record(fields)
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let kind: Option<String> = fields.optional("kind", problems);
        if let Some(kind) = kind.filter(|kind| kind != "Policy") {
            let what = format!("kind {kind:?} is not known here");
            problems.push(Problem::at(join(path, "kind"), what).hint("write kind: Policy"));
        }
        let words = SettingsWords::take(&mut fields, problems);
        let namespace = fields.optional("namespace", problems).unwrap_or_default();
        let target = fields.optional("match", problems).unwrap_or_default();
        let mode = fields.optional("mode", problems).unwrap_or_default();
        let routes = fields.optional("routes", problems).unwrap_or_default();
        let name = fields.required("name", problems);
        fields.finish(problems);
        let policy = Self { namespace, name: name?, target, mode, words, routes };
        policy.check(path, problems);
        Some(policy)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        map.insert("kind".into(), "Policy".into());
        map.insert("namespace".into(), self.namespace.write());
        map.insert("name".into(), self.name.write());
        map.insert("match".into(), self.target.write());
        map.insert("mode".into(), self.mode.write());
        self.words.put(&mut map);
        if !self.routes.is_empty() {
            map.insert("routes".into(), json!(self.routes.iter().map(Shape::write).collect::<Vec<_>>()));
        }
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::yaml;

    #[test]
    fn words_of_endpoints_are_heard_for_a_whole_service_only() {
        let paths = |text: &str| -> Vec<String> {
            let read = yaml::read_one::<Policy>(&format!("name: a\n{text}"));
            read.err().into_iter().flatten().map(|problem| problem.path).collect()
        };
        let words = "breaker: { minimum: 5 }, concurrency: { per_endpoint: 8, per_service: 9 }";
        let whole =
            "match: { service: checkout }\nbreaker: { minimum: 5 }\nconcurrency: { per_endpoint: 8 }\n";
        assert!(paths(whole).is_empty());
        let route = format!("match: {{ service: checkout }}\nroutes: [{{ name: r, {words} }}]\n");
        assert_eq!(paths(&route), ["routes[0].breaker.minimum", "routes[0].concurrency.per_endpoint"]);
        let caller = "match: { service: checkout, caller: batch }\nhealth: { ramp: 1s }\n";
        assert_eq!(paths(caller), ["health.ramp"]);
        let limits = "limits: [{ name: e, key: endpoint, rate: 1/s }, { name: f, key: endpoint, rate: 1/s }]";
        assert_eq!(paths(&format!("match: {{ service: checkout }}\n{limits}\n")), ["limits[1]"]);
        let route = format!("match: {{ service: checkout }}\nroutes: [{{ name: r, {limits} }}]\n");
        assert_eq!(paths(&route), ["routes[0].limits[0]", "routes[0].limits[1]"]);
    }
}
