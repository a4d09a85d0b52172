//! All policies together: which documents speak for a service, and what they say once merged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::document::{Mode, Policy};
use super::matching::{CallerPattern, Matching};
use super::settings::{Settings, SettingsWords};
use super::shadow::ShadowSettings;
use crate::digest::Digest;
use crate::name::{Label, Namespace, ServiceKey};
use crate::problem::Problem;
use crate::schema::{Leaf, Words};

/// Policies that do not contradict each other.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    documents: BTreeMap<(Namespace, Label), Policy>,
    digest: Digest,
}

/// The settled settings of one service, in the order its routes are tried. The last route matches all.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    /// The routes.
    pub routes: Vec<RouteSettings>,
    /// What documents in shadow would change; `None` where none speaks for the service.
    pub shadow: Option<ShadowSettings>,
}

/// The settled settings of one route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSettings {
    /// Its name; `None` for what no route of the policy matches.
    pub name: Option<Label>,
    /// What belongs to it.
    pub matching: Matching,
    /// For everyone without words of their own.
    pub settings: Settings,
    /// For callers with words of their own.
    pub callers: BTreeMap<Label, Settings>,
    /// A command that refuses it for now; no policy ever does.
    pub stop: Option<Stop>,
}

/// A route is refused by the command of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its callers do without it.
    Degraded(u64),
    /// As if its breaker were open.
    Broken(u64),
}

/// Where a leaf's value comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafOrigin {
    /// The leaf, as `retry.attempts`.
    pub path: String,
    /// Its value.
    pub value: Value,
    /// The document that set it, as `policy NAME` or `policy NAME, route R`.
    pub source: String,
}

impl ServiceSettings {
    /// One route for everything, with `settings` for everyone.
    pub fn of(settings: Settings) -> Self {
        let matching = Matching::default();
        Self {
            routes: vec![RouteSettings {
                name: None,
                matching,
                settings,
                callers: BTreeMap::new(),
                stop: None,
            }],
            shadow: None,
        }
    }
}

impl PolicySet {
    /// Puts documents together.
    ///
    /// # Errors
    /// A problem for each leaf that two documents set at one scope, and each document that stands twice.
    pub fn new(documents: impl IntoIterator<Item = Policy>) -> Result<Self, Vec<Problem>> {
        let mut set = Self::default();
        let mut problems = Vec::new();
        for policy in documents {
            let key = (policy.namespace.clone(), policy.name.clone());
            if set.documents.contains_key(&key) {
                let what = format!("policy {:?} is defined twice in namespace {}", key.1.as_str(), key.0);
                problems.push(Problem::at("", what));
                continue;
            }
            problems.extend(set.conflicts(&policy));
            set.digest += policy.digest();
            set.documents.insert(key, policy);
        }
        if problems.is_empty() { Ok(set) } else { Err(problems) }
    }

    /// What the set says.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Every document, by namespace and name.
    pub fn documents(&self) -> impl Iterator<Item = &Policy> {
        self.documents.values()
    }

    /// The set with `policy` in the place of its namesake.
    ///
    /// # Errors
    /// As for [`PolicySet::new`].
    pub fn with(&self, policy: Policy) -> Result<Self, Vec<Problem>> {
        let others = self.without(&policy.namespace, &policy.name);
        Self::new(others.documents.into_values().chain([policy]))
    }

    /// The set without the document `name` of `namespace`.
    #[must_use]
    pub fn without(&self, namespace: &Namespace, name: &Label) -> Self {
        let mut set = self.clone();
        if let Some(gone) = set.documents.remove(&(namespace.clone(), name.clone())) {
            set.digest -= gone.digest();
        }
        set
    }

    /// Leaves that `policy` and a document of the set both set at one scope.
    fn conflicts(&self, policy: &Policy) -> Vec<Problem> {
        let same_scope = |other: &&Policy| {
            other.namespace == policy.namespace && other.target == policy.target && other.mode == policy.mode
        };
        let mut problems = Vec::new();
        for other in self.documents().filter(same_scope) {
            let theirs: BTreeSet<String> = scoped_leaves(other).into_iter().map(|(path, _)| path).collect();
            for (path, _) in scoped_leaves(policy) {
                if theirs.contains(&path) {
                    let what = format!("policies {:?} and {:?} both set it", other.name, policy.name);
                    problems
                        .push(Problem::at(path, what).hint("one scope has one owner: take it out of one"));
                }
            }
        }
        problems
    }

    /// The documents that speak for `service` and are in force, or in shadow too; widest first, and of one scope those
    /// in shadow last.
    fn layers(&self, service: &ServiceKey, shadow: bool) -> Vec<&Policy> {
        let mut layers: Vec<&Policy> = self
            .documents()
            .filter(|d| (shadow || d.mode == Mode::Enforce) && d.namespace == service.namespace)
            .filter(|d| d.target.service.as_ref().is_none_or(|name| *name == service.name))
            .collect();
        layers.sort_by_key(|d| (d.target.service.is_some(), d.mode));
        layers
    }

    /// What the policies say for `service`; total, also for a service nobody wrote a policy for.
    pub fn settle(&self, service: &ServiceKey) -> ServiceSettings {
        let routes = settle_routes(self.layers(service, false));
        let all = self.layers(service, true);
        let shadows = all.iter().filter(|d| d.mode == Mode::Shadow).map(|d| d.digest());
        let words = shadows.reduce(|mut sum, digest| {
            sum += digest;
            sum
        });
        let shadow = words.map(|words| ShadowSettings::of(words, &settle_routes(all), &routes));
        ServiceSettings { routes, shadow }
    }

    /// Every leaf somebody set for `route` of `service` and whose word won.
    pub fn origins(&self, service: &ServiceKey, route: Option<&Label>) -> Vec<LeafOrigin> {
        let mut won: BTreeMap<String, LeafOrigin> = BTreeMap::new();
        let mut lay = |leaves: Vec<Leaf>, source: String| {
            for (path, value) in leaves {
                won.insert(path.clone(), LeafOrigin { path, value, source: source.clone() });
            }
        };
        let everyone = |d: &&Policy| d.target.caller == CallerPattern::Any;
        for document in self.layers(service, false).into_iter().filter(everyone) {
            let mut leaves = Vec::new();
            document.words.leaves("", &mut leaves);
            lay(leaves, format!("policy {}", document.name));
            for own in document.routes.iter().filter(|r| Some(&r.name) == route) {
                let mut leaves = Vec::new();
                own.words.leaves("", &mut leaves);
                lay(leaves, format!("policy {}, route {}", document.name, own.name));
            }
        }
        won.into_values().collect()
    }
}

/// The leaves of a document, those of its routes under the route's name.
fn scoped_leaves(policy: &Policy) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    policy.words.leaves("", &mut leaves);
    for route in &policy.routes {
        route.words.leaves(&format!("routes.{}", route.name), &mut leaves);
    }
    leaves
}

/// What documents say together, route by route.
fn settle_routes(layers: Vec<&Policy>) -> Vec<RouteSettings> {
    let (callers, everyone): (Vec<_>, Vec<_>) =
        layers.into_iter().partition(|d| d.target.caller != CallerPattern::Any);
    let base = everyone.iter().fold(SettingsWords::default(), |wide, d| d.words.clone().over(&wide));
    // Routes of documents in shadow stand in the place of those in force, as lists do.
    let tried = |d: &&&Policy| d.mode == Mode::Shadow && !d.routes.is_empty();
    let shadows = everyone.iter().any(|d| tried(&d));
    let named = everyone.iter().filter(|d| !shadows || tried(d)).flat_map(|d| &d.routes);
    let mut routes: Vec<RouteSettings> = named
        .map(|route| RouteSettings {
            name: Some(route.name.clone()),
            matching: route.matching.clone(),
            settings: route.words.clone().over(&base).settle(),
            callers: settle_callers(&callers, &route.words.clone().over(&base)),
            stop: None,
        })
        .collect();
    routes.push(RouteSettings {
        name: None,
        matching: Matching::default(),
        settings: base.settle(),
        callers: settle_callers(&callers, &base),
        stop: None,
    });
    routes
}

fn settle_callers(documents: &[&Policy], base: &SettingsWords) -> BTreeMap<Label, Settings> {
    let mut words: BTreeMap<Label, SettingsWords> = BTreeMap::new();
    for document in documents {
        if let CallerPattern::Named(name) = &document.target.caller {
            let so_far = words.remove(name).unwrap_or_else(|| base.clone());
            words.insert(name.clone(), document.words.clone().over(&so_far));
        }
    }
    words.into_iter().map(|(name, words)| (name, words.settle())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::unit::Span;
    use crate::yaml;

    fn set(text: &str) -> Result<PolicySet, Vec<Problem>> {
        PolicySet::new(yaml::read_all::<Policy>(text).unwrap())
    }

    const LAYERS: &str = "
name: everyone
timeout: { total: 9s, connect: 500ms }
---
name: checkout
match: { service: checkout }
timeout: { total: 2s }
routes:
- name: read
  match: { method: [GET] }
  timeout: { per_try: 300ms }
---
name: batch
match: { service: checkout, caller: batch }
timeout: { total: 8s }
";

    #[test]
    fn the_narrower_scope_wins_leaf_by_leaf() {
        let settled = set(LAYERS).unwrap().settle(&"checkout".parse().unwrap());
        let [read, rest] = &settled.routes[..] else { panic!("two routes") };
        assert_eq!(rest.settings.timeout.total, Span::secs(2));
        assert_eq!(rest.settings.timeout.connect, Span::millis(500));
        assert_eq!(read.settings.timeout.per_try.on(), Some(Span::millis(300)));
        assert_eq!(read.settings.timeout.total, Span::secs(2));
        assert_eq!(read.callers[&"batch".parse().unwrap()].timeout.total, Span::secs(8));
        assert_eq!(read.callers[&"batch".parse().unwrap()].timeout.per_try.on(), Some(Span::millis(300)));
    }

    #[test]
    fn explain_names_the_document_that_won() {
        let set = set(LAYERS).unwrap();
        let read = "read".parse().unwrap();
        let origins = set.origins(&"checkout".parse().unwrap(), Some(&read));
        let shown: Vec<String> =
            origins.iter().map(|o| format!("{} = {} ({})", o.path, o.value, o.source)).collect();
        assert_eq!(
            shown,
            [
                "timeout.connect = \"500ms\" (policy everyone)",
                "timeout.per_try = \"300ms\" (policy checkout, route read)",
                "timeout.total = \"2s\" (policy checkout)",
            ]
        );
    }

    #[test]
    fn two_owners_of_one_leaf_are_refused() {
        let problems =
            set("name: a\nretry: { attempts: 2 }\n---\nname: b\nretry: { attempts: 3 }\n").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path, "retry.attempts");
    }

    #[test]
    fn a_policy_written_reads_back_the_same() {
        for policy in set(LAYERS).unwrap().documents() {
            assert_eq!(&yaml::read_one::<Policy>(&yaml::write(policy)).unwrap(), policy);
        }
    }

    #[test]
    fn the_digest_follows_every_change_and_its_undoing() {
        let set = set(LAYERS).unwrap();
        let other = yaml::read_one::<Policy>("name: more\nretry: { attempts: 2 }").unwrap();
        let more = set.with(other.clone()).unwrap();
        assert_ne!(more.digest(), set.digest());
        assert_eq!(more.without(&other.namespace, &other.name).digest(), set.digest());
    }
}
