//! What a watcher asks for, the news it hears, and the digests by which it knows that it missed nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::Command;
use crate::digest::Digest;
use crate::list::Delta;
use crate::name::{Namespace, NodeName, ServiceKey};
use crate::rollout::PolicyTrial;
use crate::unit::Span;

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
