//! A change of policies that reaches the fleet in steps, each judged before the next.
//!
//! | verb | method and path | body → answer |
//! |---|---|---|
//! | begin | `POST /v1/namespaces/{ns}/rollouts` | [`RolloutPlan`] → [`RolloutView`] |
//! | look | `GET /v1/namespaces/{ns}/rollouts` | → [`RolloutView`]; 404 when there never was one |
//! | give up | `DELETE /v1/namespaces/{ns}/rollouts` | → [`RolloutView`] |
//! | who runs what | `GET /v1/namespaces/{ns}/verdicts` | → [`Verdicts`] |
//!
//! Every sidecar of the namespace hears of the trial, in the same words; each knows from the rollout's number
//! and its own node's name whether it takes part. So a step is one number, and nobody needs a list of nodes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::choice::choice;
use crate::digest::Digest;
use crate::name::{Label, Namespace, NodeName, ServiceKey};
use crate::unit::{Share, Span};

/// Where a node stands among all for one rollout: equal on every host, another for each rollout, so that no
/// node is always the first to try.
pub fn place(rollout: u64, node: &NodeName) -> u32 {
    let hash = blake3::hash(format!("{rollout} {node}").as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The policies that a part of the fleet tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTrial {
    /// The rollout's number.
    pub rollout: u64,
    /// Nodes whose [`place`] is at most this take part.
    pub most: u32,
    /// What the documents say.
    pub digest: Digest,
    /// All documents of the namespace as those who take part run them.
    pub documents: Vec<Value>,
    /// Everyone of the namespace beats this often while the trial lasts.
    pub report_every: Span,
}

impl PolicyTrial {
    /// Whether `node` takes part.
    pub fn includes(&self, node: &NodeName) -> bool {
        place(self.rollout, node) <= self.most
    }

    /// What the trial adds to its namespace's digest.
    pub fn mark(&self) -> Digest {
        Digest::of(format!("trial {} {} {}", self.rollout, self.most, self.digest).as_bytes())
    }
}

/// What is to be rolled out, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutPlan {
    /// The documents that change, each whole; those that are not named stay.
    pub documents: Vec<Value>,
    /// The share of the namespace's sidecars at each step; at least one always takes part.
    #[serde(default = "steps")]
    pub steps: Vec<Share>,
    /// Each step is watched for this long at least.
    #[serde(default = "hold")]
    pub hold: Span,
    /// How often sidecars report while it lasts. A bad change is withdrawn after two reports.
    #[serde(default = "report_every")]
    pub report_every: Span,
    /// Who has not said within this that it runs the change is silent, and the step goes on without it.
    #[serde(default = "answer_within")]
    pub answer_within: Span,
}

/// The book's steps: one host, a few, half, all.
fn steps() -> Vec<Share> {
    [1, 10, 50, 100].map(Share::percent).to_vec()
}

/// Six reports of ten seconds: long enough to see a rate, short enough that four steps take minutes.
fn hold() -> Span {
    Span::secs(60)
}

/// A third of the ordinary interval: two of them bound the harm.
fn report_every() -> Span {
    Span::secs(10)
}

/// The ordinary interval of a heartbeat: a sidecar that is there has beaten once.
fn answer_within() -> Span {
    Span::secs(30)
}

choice! {
    /// How far a rollout is.
    #[derive(PartialOrd, Ord)]
    pub enum RolloutState {
        /// A step was pushed; its sidecars have not all said that they run it.
        Waiting = "waiting",
        /// A step runs and is judged.
        Watching = "watching",
        /// Every step went well; the documents are being kept.
        Keeping = "keeping",
        /// The documents are in force as ordinary policies.
        Done = "done",
        /// It was withdrawn by itself.
        RolledBack = "rolled-back",
        /// An operator gave it up.
        Abandoned = "abandoned",
    }
}

impl RolloutState {
    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Abandoned)
    }
}

/// A rollout as operators see it, and as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutView {
    /// Its number: the store's revision that began it.
    pub rollout: u64,
    /// Its namespace.
    pub namespace: Namespace,
    /// What is rolled out, and how.
    pub plan: RolloutPlan,
    /// Which of the steps runs, from 0.
    pub step: usize,
    /// Nodes whose [`place`] is at most this take part.
    pub most: u32,
    /// How far it is.
    pub state: RolloutState,
    /// Why it is where it is, in words.
    pub why: String,
    /// Who takes part, and what each says of it.
    pub verdicts: Verdicts,
    /// What was measured of both groups in the last whole round; empty before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Measured>,
}

/// One comparison of the group that tries with the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The service.
    pub service: String,
    /// What is compared: `failed`, or `slow` (above what 95 of 100 took before).
    pub what: String,
    /// Requests of those who try.
    pub requests: u64,
    /// Their share, in percent.
    pub tried: f64,
    /// What it would be without the change, in percent.
    pub expected: f64,
}

/// Who runs a set of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdicts {
    /// What the set says.
    pub digest: Digest,
    /// These run it.
    pub accepted: Vec<NodeName>,
    /// These cannot, and say why; they keep what they had.
    pub rejected: Vec<Rejection>,
    /// These are connected and have not said anything of it.
    pub silent: Vec<NodeName>,
}

/// What one limit would have refused of the last minute's requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// The service.
    pub service: ServiceKey,
    /// The limit.
    pub limit: Label,
    /// So many would have been refused,
    pub refused: u64,
    /// of so many.
    pub requests: u64,
}

/// A sidecar's no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// Which.
    pub node: NodeName,
    /// Its words.
    pub why: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn places_are_spread_and_differ_between_rollouts() {
        let nodes: Vec<NodeName> = (0..1_000).map(|n| format!("n{n}").parse().unwrap()).collect();
        let first = |rollout| nodes.iter().filter(|node| place(rollout, node) <= u32::MAX / 10).count();
        assert!((60..140).contains(&first(1)), "{} of 1000 in a tenth", first(1));
        let both = nodes.iter().filter(|node| place(1, node).max(place(2, node)) <= u32::MAX / 10).count();
        assert!(both < 30, "{both} are early twice");
    }
}
