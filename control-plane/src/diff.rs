//! What one document says differently from another, leaf by leaf.

use std::collections::BTreeMap;

use api::Policy;
use api::schema::{Shape, Words};
use serde::Serialize;
use serde_json::Value;

/// One leaf that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeafChange {
    /// The leaf, as `retry.attempts` or `routes.read.timeout.total`.
    pub path: String,
    /// What it says now; `None` where nobody wrote it.
    pub from: Option<Value>,
    /// What it would say; `None` where nobody writes it any more.
    pub to: Option<Value>,
}

/// Every leaf that differs between two revisions of a document; `None` is no document.
pub(crate) fn between(old: Option<&Policy>, new: Option<&Policy>) -> Vec<LeafChange> {
    differing(old.map(leaves).unwrap_or_default(), new.map(leaves).unwrap_or_default())
}

/// The same of documents of any kind as the store keeps them: JSON, in which a list is a leaf.
pub(crate) fn of_bodies(old: Option<&str>, new: Option<&str>) -> Vec<LeafChange> {
    let leaves = |body: Option<&str>| {
        let mut leaves = BTreeMap::new();
        if let Some(body) = body {
            gather("", serde_json::from_str(body).unwrap_or_else(|_| body.into()), &mut leaves);
        }
        leaves
    };
    differing(leaves(old), leaves(new))
}

fn gather(path: &str, value: Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                gather(&path, value, leaves);
            }
        }
        leaf => drop(leaves.insert(path.to_owned(), leaf)),
    }
}

fn differing(mut old: BTreeMap<String, Value>, mut new: BTreeMap<String, Value>) -> Vec<LeafChange> {
    let paths: Vec<String> =
        old.keys().chain(new.keys().filter(|path| !old.contains_key(*path))).cloned().collect();
    let mut changes: Vec<_> = paths
        .into_iter()
        .map(|path| LeafChange { from: old.remove(&path), to: new.remove(&path), path })
        .filter(|change| change.from != change.to)
        .collect();
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn leaves(policy: &Policy) -> BTreeMap<String, Value> {
    let mut leaves =
        vec![("match".to_owned(), policy.target.write()), ("mode".to_owned(), policy.mode.write())];
    policy.words.leaves("", &mut leaves);
    for route in &policy.routes {
        let path = format!("routes.{}", route.name);
        leaves.push((format!("{path}.match"), route.matching.write()));
        route.words.leaves(&path, &mut leaves);
    }
    leaves.into_iter().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(old: &str, new: &str, wanted: &[&str]) {
        let read = |text: &str| api::yaml::read_all::<Policy>(text).unwrap().pop();
        let shown = |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
        let changes = between(read(old).as_ref(), read(new).as_ref()).into_iter();
        let changes: Vec<_> =
            changes.map(|c| format!("{}: {} -> {}", c.path, shown(c.from), shown(c.to))).collect();
        assert_eq!(changes, wanted);
    }

    #[test]
    fn bodies_of_any_kind_are_compared_by_their_leaves() {
        let told = |old, new| {
            let changes = of_bodies(old, new).into_iter();
            changes.map(|c| format!("{} {:?} {:?}", c.path, c.from, c.to)).collect::<Vec<_>>()
        };
        let (old, new) = (r#"{"a":{"b":1,"c":[1]},"d":2}"#, r#"{"a":{"b":1,"c":[2]},"d":2}"#);
        assert_eq!(told(Some(old), Some(new)), ["a.c Some(Array [Number(1)]) Some(Array [Number(2)])"]);
        assert_eq!(told(None, Some(r#"{"d":2}"#)), ["d None Some(Number(2))"]);
        assert_eq!(told(Some("no JSON"), None), [" Some(String(\"no JSON\")) None"]);
        assert_eq!(told(Some(old), Some(old)), Vec::<String>::new());
    }

    #[test]
    fn only_what_differs_is_told() {
        let old = "name: a\nmatch: { service: s }\nretry: { attempts: 2 }\ntimeout: { total: 2s }\n";
        let new = "name: a\nmatch: { service: s }\nretry: { attempts: 2 }\ntimeout: { connect: 1s }\n\
                   routes:\n- name: r\n  match: { method: [GET] }\n";
        check(
            old,
            new,
            &[
                "routes.r.match: - -> {\"method\":[\"GET\"]}",
                "timeout.connect: - -> \"1s\"",
                "timeout.total: \"2s\" -> -",
            ],
        );
        check(old, old, &[]);
    }
}
