//! What registers: an instance, where callers connect to it, and what they may know of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::choice::choice;
use crate::digest::Digest;
use crate::labels::Labels;
use crate::name::ServiceKey;

/// Labels of one instance together may take this many bytes: they travel in every list.
pub const LABELS_MAX: usize = 4 * 1024;

/// What identifies an instance: the service and the app's own address. Two registrations with one key
/// are one instance; the newest boot wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceKey {
    /// The service it belongs to.
    pub service: ServiceKey,
    /// The host's address as others reach it.
    pub ip: IpAddr,
    /// The app's port on that host.
    pub port: u16,
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.service, SocketAddr::new(self.ip, self.port))
    }
}

choice! {
    /// What an instance speaks.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Protocol {
        /// HTTP/1.1 in clear.
        #[default]
        H1 = "h1",
        /// HTTP/2 in clear with prior knowledge (RFC 9113 §3.3).
        H2c = "h2c",
        /// gRPC over HTTP/2: its status is the outcome.
        Grpc = "grpc",
        /// Bytes; nothing is known of them.
        Tcp = "tcp",
    }
}

choice! {
    /// What the owner of an instance says of it. Liveness is the lease's business and traffic health each
    /// caller's own; neither is written here.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Readiness {
        /// Wants traffic.
        #[default]
        Ready = "ready",
        /// Its check fails: listed, chosen by nobody while another is ready.
        Unready = "unready",
        /// On its way out: finishes what it has, takes nothing new.
        Draining = "draining",
    }
}

/// One instance as consumers see it. On the wire it says what is not ordinary: lists and their changes are most of what a
/// control plane sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// What identifies it.
    pub key: InstanceKey,
    /// Where callers connect: the inbound listener of its sidecar, or the app itself where there is none.
    pub address: SocketAddr,
    /// What it speaks.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub protocol: Protocol,
    /// Whether callers speak TLS to it.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub tls: bool,
    /// Its share of traffic relative to its peers'; 100 is the ordinary weight, 0 takes none.
    #[serde(default = "ordinary_weight", skip_serializing_if = "is_ordinary_weight")]
    pub weight: u16,
    /// Where it stands; empty when nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// The lane it belongs to; empty for the base.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lane: String,
    /// What its operator wrote on it; at most [`LABELS_MAX`] bytes together.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Its id in another system; empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub foreign_id: String,
    /// What its owner says of it.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub readiness: Readiness,
    /// Whether a sidecar stands before it, so that load reports ride on its answers.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub sidecar: bool,
}

/// 100: percent-like, so that "half as much" is 50 and a tenth needs no fraction.
pub const ORDINARY_WEIGHT: u16 = 100;

fn ordinary_weight() -> u16 {
    ORDINARY_WEIGHT
}

fn is_ordinary_weight(weight: &u16) -> bool {
    *weight == ORDINARY_WEIGHT
}

/// Whether `said` is what a reader takes where nothing is said.
fn is_ordinary<T: Default + PartialEq>(said: &T) -> bool {
    *said == T::default()
}

impl Instance {
    /// An ordinary instance of `service` whose app and connect address are one.
    pub fn at(service: ServiceKey, address: SocketAddr) -> Self {
        Self {
            key: InstanceKey { service, ip: address.ip(), port: address.port() },
            address,
            protocol: Protocol::default(),
            tls: false,
            weight: ORDINARY_WEIGHT,
            zone: String::new(),
            lane: String::new(),
            labels: Labels::default(),
            foreign_id: String::new(),
            readiness: Readiness::default(),
            sidecar: false,
        }
    }

    /// The part of a list's digest that this instance contributes: BLAKE3 over every consumer-visible
    /// field in a fixed order, each prefixed with its length. No times, owners or revisions, so that
    /// replicas which learned it on different ways agree.
    pub fn digest(&self) -> Digest {
        let mut hash = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        field(self.key.service.namespace.as_str().as_bytes());
        field(self.key.service.name.as_str().as_bytes());
        field(SocketAddr::new(self.key.ip, self.key.port).to_string().as_bytes());
        field(self.address.to_string().as_bytes());
        field(self.protocol.as_str().as_bytes());
        field(&[u8::from(self.tls), u8::from(self.sidecar)]);
        field(&self.weight.to_le_bytes());
        field(self.zone.as_bytes());
        field(self.lane.as_bytes());
        field(self.foreign_id.as_bytes());
        field(self.readiness.as_str().as_bytes());
        for (name, value) in self.labels.iter() {
            field(name.as_bytes());
            field(value.as_bytes());
        }
        Digest::of_hash(&hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn ordinary() -> Instance {
        Instance::at("checkout".parse().unwrap(), ([10, 0, 0, 1], 8001).into())
    }

    #[test]
    fn what_is_ordinary_is_not_said_and_what_is_said_is_read() {
        let key = r#""key":{"service":"checkout","ip":"10.0.0.1","port":8001}"#;
        let short = format!(r#"{{{key},"address":"10.0.0.1:8001"}}"#);
        assert_eq!(serde_json::to_string(&ordinary()).unwrap(), short);
        // As every version before wrote it.
        let rest = r#""protocol":"h1","tls":false,"weight":100,"readiness":"ready","sidecar":false"#;
        let long = format!(r#"{{{key},"address":"10.0.0.1:8001",{rest}}}"#);
        assert_eq!(serde_json::from_str::<Instance>(&short).unwrap(), ordinary());
        assert_eq!(serde_json::from_str::<Instance>(&long).unwrap(), ordinary());
        let unusual = Instance {
            protocol: Protocol::Grpc,
            tls: true,
            weight: 0,
            readiness: Readiness::Draining,
            sidecar: true,
            ..ordinary()
        };
        let said = serde_json::to_string(&unusual).unwrap();
        assert_eq!(serde_json::from_str::<Instance>(&said).unwrap(), unusual, "{said}");
    }
}
