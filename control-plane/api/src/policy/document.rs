//! One policy document: for whom, and what.

mod checks;
mod needs;
mod shadow;

use serde_json::{Map, Value, json};

use super::matching::{CallerPattern, Matching};
use super::settings::SettingsWords;
use crate::choice::choice;
use crate::digest::Digest;
use crate::name::{Label, Namespace, ServiceName};
use crate::problem::Problem;
use crate::schema::{Field, Fields, Node, Problems, Schema, Shape, Words, join};

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
}

/// Where the route that stands at `at` is written.
fn route_at(path: &str, at: usize) -> String {
    format!("{}[{at}]", join(path, "routes"))
}

/// The leaf that lists bulkheads.
const BULKHEADS: &str = "concurrency.bulkheads";

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
