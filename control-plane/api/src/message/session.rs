//! A sidecar's session: who it is, its heartbeats, and the instances it keeps listed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::instance::{Instance, InstanceKey};
use crate::list::Cause;
use crate::name::{Namespace, NodeName, ServiceKey};
use crate::shadow::ShadowReport;
use crate::traffic::Traffic;
use crate::unit::Span;

/// A sidecar says who it is. Sent again with the same `boot` it resumes; a newer boot of the same node
/// takes over the older one's instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    /// The node the sidecar runs on.
    pub node: NodeName,
    /// Drawn at the process's start.
    pub boot: String,
    /// Rises with each start on this node (milliseconds since 1970 at boot): the newest boot wins.
    pub epoch: u64,
    /// What the sidecar can run; see [`Policy::needs`](crate::Policy::needs).
    pub capabilities: BTreeSet<String>,
    /// Every instance it stands beside: re-asserted on every new session.
    pub instances: Vec<Instance>,
}

/// The session is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionOpened {
    /// Its id.
    pub session: String,
    /// Beat this often; a third of the shortest expiry among its instances, longer under load.
    pub beat_every: Span,
    /// The store behind this control plane.
    pub store: String,
    /// Instances that were not registered; registering one says why.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub refused: BTreeSet<InstanceKey>,
}

/// A heartbeat: one for all instances of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    /// The digest of each namespace's policies that the sidecar runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<Namespace, Digest>,
    /// Policies it could not run, by namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<Namespace, Rejected>,
    /// Of the instances that the last answer doubted, those that answer this host's traffic.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub serve: BTreeSet<InstanceKey>,
    /// The services whose endpoints a policy has this sidecar check, and which of those that are its own pass.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<ServiceKey, BTreeMap<SocketAddr, bool>>,
    /// Instances that this host's traffic had ejected.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fail: BTreeSet<InstanceKey>,
    /// What it counted of the requests it carried, of each route and caller that had any since the last beat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// What policies in shadow would have done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ShadowReport>,
    /// What it says of each command it knows: nothing where it obeys, else why it cannot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<u64, String>,
}

/// Policies that a sidecar could not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    /// What they say.
    pub digest: Digest,
    /// Why not, in the sidecar's words.
    pub why: String,
}

/// The heartbeat was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeatHeard {
    /// Beat this often from now on.
    pub beat_every: Span,
    /// How many instances the session holds: fewer than the sidecar asserted means it must assert them again.
    pub instances: usize,
    /// Instances that have fallen silent: who has traffic to them says in [`Beat::serve`] that they answer it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub doubted: BTreeSet<InstanceKey>,
    /// For each service of [`Beat::checks`], what the sidecars that check it share.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<ServiceKey, SharedChecks>,
}

/// What the sidecars that check a service share: instances by their keys' addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedChecks {
    /// This sidecar's own to check.
    #[serde(default)]
    pub mine: BTreeSet<SocketAddr>,
    /// Failing, by the word of most who check them.
    #[serde(default)]
    pub failing: BTreeSet<SocketAddr>,
}

/// An instance is registered under the session's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// Gone when the session was silent for this long.
    pub expires_after: Span,
    /// Beat this often from now on.
    pub beat_every: Span,
}

/// Take an instance out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deregister {
    /// Which.
    pub key: InstanceKey,
    /// `deregistered` or `drained`.
    pub cause: Cause,
}
