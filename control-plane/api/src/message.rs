//! What sidecars and the control plane say to each other: JSON bodies of the native API.
//!
//! | verb | method and path | body → answer |
//! |---|---|---|
//! | open a session | `POST /v1/sessions` | [`OpenSession`] → [`SessionOpened`] |
//! | heartbeat | `PUT /v1/sessions/{id}` | [`Beat`] → [`BeatHeard`]; 404 says: open a new one |
//! | close | `DELETE /v1/sessions/{id}` | → 204; its instances leave as deregistered |
//! | register | `PUT /v1/sessions/{id}/instances` | [`Instance`] → [`Registered`] |
//! | deregister | `DELETE /v1/sessions/{id}/instances` | [`Deregister`] → 204 |
//! | query | `GET /v1/namespaces/{ns}/services/{name}/instances` | → [`List`](crate::List) |
//! | watch | `POST /v1/watch` | [`Watch`] → JSON lines of [`News`], or one array of them |
//! | digests | `POST /v1/digests` | [`DigestCheck`] → [`Digests`] |

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::Command;
use crate::digest::Digest;
use crate::instance::{Instance, InstanceKey};
use crate::list::{Cause, Delta};
use crate::name::{Namespace, NodeName, ServiceKey};
use crate::rollout::PolicyTrial;
use crate::shadow::ShadowReport;
use crate::traffic::Traffic;
use crate::unit::Span;

/// The version of these messages, sent in `x-outrigger-api`.
pub const API_VERSION: &str = "1";

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

/// What one watcher wants to hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Which node watches; left out by readers that are no sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// Services, each with the digest of the list already held.
    #[serde(default)]
    pub lists: BTreeMap<ServiceKey, Digest>,
    /// Namespaces, each with the digest of the policies already held.
    #[serde(default)]
    pub policies: BTreeMap<Namespace, Digest>,
    /// How the news travels.
    #[serde(default)]
    pub mode: WatchMode,
    /// A long poll is answered after this at the latest; the server bounds it to 1 s to 60 s.
    #[serde(default = "default_hold")]
    pub hold: Span,
}

/// 30 s: inside the idle limits of everything that may stand between.
fn default_hold() -> Span {
    Span::secs(30)
}

/// How news travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchMode {
    /// JSON lines over a held answer, a [`News::Ping`] every 10 s.
    #[default]
    Stream,
    /// One JSON array, as soon as there is any news.
    Poll,
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum News {
    /// A list changed.
    List(Delta),
    /// A namespace's policies changed.
    Policies(PolicyNews),
    /// Nothing changed; the stream lives.
    Ping,
}

impl News {
    /// How many bytes it takes as a line of JSON.
    pub fn wire_bytes(&self) -> usize {
        let mut counted = Counted(0);
        // News are maps with words for keys, and counting takes every byte: encoding cannot fail.
        let encoded = serde_json::to_writer(&mut counted, self);
        counted.0 + usize::from(encoded.is_ok())
    }
}

/// Counts what is written to it.
struct Counted(usize);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The policies of one namespace, whole: they are kilobytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyNews {
    /// The namespace.
    pub namespace: Namespace,
    /// What all of this says.
    pub digest: Digest,
    /// The store's revision.
    pub revision: u64,
    /// The store's id: policies of a new store wait until an operator adopts it.
    pub store: String,
    /// Whether an operator said that this store replaces others.
    pub adopted: bool,
    /// The documents, as [`Policy`](crate::Policy) writes them.
    pub documents: Vec<Value>,
    /// What a part of the namespace's sidecars runs in their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<PolicyTrial>,
    /// The commands of the namespace that are not over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
}

impl PolicyNews {
    /// What the documents say: the digest without what is only for a time.
    pub fn base(&self) -> Digest {
        let mut base = self.digest;
        if let Some(trial) = &self.trial {
            base -= trial.mark();
        }
        self.commands.iter().for_each(|command| base -= command.digest());
        base
    }

    /// The part that outlives a restart: a trial and its like are told again or are over.
    #[must_use]
    pub fn lasting(&self) -> Self {
        Self { digest: self.base(), trial: None, commands: Vec::new(), ..self.clone() }
    }
}

/// Ask whether what is held is what there is, without moving anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestCheck {
    /// Services to compare.
    #[serde(default)]
    pub lists: BTreeSet<ServiceKey>,
    /// Namespaces whose policies to compare.
    #[serde(default)]
    pub policies: BTreeSet<Namespace>,
    /// What the asker itself asks for, where it knows its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerReport>,
}

/// What one sidecar asks for, and from where: the answer tells what all do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerReport {
    /// The node it runs on.
    pub node: NodeName,
    /// Its zone.
    pub zone: String,
    /// The requests it sent to each service within the last 10 s.
    pub asked: BTreeMap<ServiceKey, u64>,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// The digest of each service asked for; none where nobody ever was in its list, as far as is known there: that says
    /// nothing against who holds one.
    pub lists: BTreeMap<ServiceKey, Digest>,
    /// The digest of each namespace's policies.
    pub policies: BTreeMap<Namespace, Digest>,
    /// How much is asked of each service from each zone, to who said what it asks for; only ratios mean
    /// something. A service of which that is not known is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub callers: BTreeMap<ServiceKey, BTreeMap<String, u64>>,
}

/// A service as the control plane's operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceView {
    /// The service.
    pub service: ServiceKey,
    /// How many instances are listed.
    pub instances: usize,
    /// How many of them want traffic.
    pub ready: usize,
    /// What its list says.
    pub digest: Digest,
    /// Its settings in force.
    pub settings: ServiceEdit,
    /// Why instances that should be gone are still listed; empty when nothing is held.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub held: String,
}

/// What an operator may set on a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEdit {
    /// An instance is gone when its session was silent for this long; the control plane's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Span>,
    /// Who owns it; words for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
}

/// One revision of a policy document in its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRevision {
    /// The store's revision.
    pub revision: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Who, as the request said.
    pub author: String,
    /// Why, as the request said.
    pub message: String,
    /// The document; `None` where it was taken out.
    pub document: Option<Value>,
}

/// `application/problem+json` (RFC 9457) as both listeners and the data path answer it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProblemBody {
    /// The page that explains it.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The reason's word, where one applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<crate::Reason>,
    /// The request's id, where one applies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Each wrong field, where words were wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<crate::Problem>,
}

/// Asked of a sidecar's inbound listener, this is answered by the sidecar and tells its load (`x-outrigger-load`).
pub const LOAD_PATH: &str = "/.well-known/outrigger/load";

/// Headers of ours.
pub mod header {
    /// The request's id, kept or minted, in the request and its answer.
    pub const REQUEST_ID: &str = "x-request-id";
    /// Names the service where the host cannot.
    pub const SERVICE: &str = "x-outrigger-service";
    /// Between sidecars, with the request: `attempt=<n>;deadline=<ms left>;level=<class>-<user>`, the level where the route
    /// has a class or names users.
    pub const CALL: &str = "x-outrigger-call";
    /// Between sidecars, with the answer: `inflight=<n>;latency=<µs>;level=<class>-<user>`, the level while less urgent
    /// requests are refused.
    pub const LOAD: &str = "x-outrigger-load";
    /// What remains of the caller's patience in milliseconds; relative, so that no clocks must agree.
    pub const TIMEOUT: &str = "x-request-timeout-ms";
    /// Why we answered in an endpoint's place.
    pub const REASON: &str = "x-outrigger-reason";
    /// The version of the messages of this module.
    pub const API: &str = "x-outrigger-api";
}
