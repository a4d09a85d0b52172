//! What a document asks of whoever runs it, word by word, and what this version can run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{BULKHEADS, Mode, Policy};
use crate::policy::bulkhead::BulkheadKey;
use crate::policy::limit::{LimitKind, LimitScope};
use crate::policy::settings::{Choosing, StrategyKind};
use crate::schema::Words as _;

/// Leaves whose value is a word of a closed set that grows with versions.
const CLOSED: &[&str] = &["balance.by", "strategy.kind"];

/// Keys of limits that the first sidecars did not know.
const LATER_KEYS: &[&str] = &["route", "endpoint", "header"];

impl Policy {
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
}

/// What a sidecar must know to run a limit.
fn words_of_limit(limit: &Value) -> Vec<String> {
    let word = |key: &str| limit[key].as_str().map(|word| format!("limits.{key}={word}"));
    let key = if limit["key"].is_object() { "header" } else { limit["key"].as_str().unwrap_or_default() };
    let key = LATER_KEYS.contains(&key).then(|| format!("limits.key={key}"));
    [word("scope"), word("kind"), key].into_iter().flatten().collect()
}

/// What a sidecar must know to run a bulkhead.
fn word_of_bulkhead(bulkhead: &Value) -> String {
    let by = &bulkhead["by"];
    let named = by.as_object().and_then(|by| by.keys().next()).map(String::as_str);
    format!("{BULKHEADS}.by={}", named.or(by.as_str()).unwrap_or_default())
}
