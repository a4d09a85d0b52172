//! The registry as a plain value, to be kept on disk and read back.
//!
//! It is disposable: without it sidecars assert their instances again within a beat. Reading and writing it,
//! its checksum and its file are the shell's.

use std::collections::BTreeSet;

use api::{Instance, InstanceKey, NodeName, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::leases::Source;
use crate::shared::Shared;

/// What a restart needs so as not to begin with nothing. No times: after a load every lease counts as just
/// heard (alibaba/nacos#7697: beats that were refused during a load expired a whole fleet).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Services somebody registered for or declared, also those without instances.
    pub services: Vec<ServiceKey>,
    /// Each set of capabilities that a holder of a lease has.
    pub capabilities: Vec<Shared<BTreeSet<String>>>,
    /// Leases with what they keep listed.
    pub leases: Vec<SavedLease>,
    /// Who was taken out by its owner's will, and may not be brought back by an older boot.
    #[serde(default)]
    pub tombstones: Vec<SavedTombstone>,
}

/// One tombstone. After a load it lasts its whole time again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedTombstone {
    /// Who was taken out.
    pub key: InstanceKey,
    /// By which boot.
    pub epoch: u64,
}

/// One lease and what points to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedLease {
    /// What renews it.
    pub source: Source,
    /// The node its holder runs on.
    pub node: NodeName,
    /// Drawn at the holder's start.
    pub boot: Shared<str>,
    /// Rises with each start on the node.
    pub epoch: u64,
    /// What the holder can run, as its place among [`Snapshot::capabilities`].
    pub capabilities: usize,
    /// The instances it keeps listed.
    pub instances: Vec<Shared<Instance>>,
}
