//! What one policy document says differently from another, leaf by leaf.

use std::collections::BTreeMap;

use api::Policy;
use api::schema::{Shape, Words};
use serde::Serialize;
use serde_json::Value;

/// One leaf that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LeafChange {
    /// The leaf, as `retry.attempts` or `routes.read.timeout.total`.
    pub(crate) path: String,
    /// What it says now; `None` where nobody wrote it.
    pub(crate) from: Option<Value>,
    /// What it would say; `None` where nobody writes it any more.
    pub(crate) to: Option<Value>,
}

/// Every leaf that differs between two revisions of a document; `None` is no document.
pub(crate) fn between(old: Option<&Policy>, new: Option<&Policy>) -> Vec<LeafChange> {
    let (mut old, mut new) = (old.map(leaves).unwrap_or_default(), new.map(leaves).unwrap_or_default());
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
