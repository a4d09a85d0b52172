//! What a document in shadow may say: what can be held against a request without acting on it.

use super::{BULKHEADS, Policy, route_at};
use crate::policy::limit::LimitScope;
use crate::policy::settings::SettingsWords;
use crate::problem::Problem;
use crate::schema::{Problems, Words as _, join};

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

impl Policy {
    /// Whether the leaf at `path` can be tried in shadow.
    pub fn can_be_in_shadow(path: &str) -> bool {
        IN_SHADOW
            .iter()
            .any(|leaf| leaf.strip_suffix('*').map_or(path == *leaf, |part| path.starts_with(part)))
    }

    /// What a document in shadow may say: what can be held against a request without acting on it.
    pub(super) fn check_shadow(&self, path: &str, problems: &mut Problems) {
        check_shadowed(&self.words, path, problems);
        for (at, route) in self.routes.iter().enumerate() {
            check_shadowed(&route.words, &route_at(path, at), problems);
        }
    }
}

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
