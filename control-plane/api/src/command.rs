//! Commands: orders for a time, above every policy.
//!
//! | verb | method and path | body → answer |
//! |---|---|---|
//! | order | `POST /v1/namespaces/{ns}/commands` | [`CommandWords`] → [`CommandView`] |
//! | look | `GET /v1/namespaces/{ns}/commands` | → [`CommandView`]s |
//! | take back | `DELETE /v1/namespaces/{ns}/commands/{id}` | → [`CommandView`] |
//!
//! A command rides with its namespace's policies, whose digest it is part of: whoever missed it is told again
//! until it is over. Each sidecar counts its time itself, so no clocks must agree and a control plane that is
//! gone prolongs nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::choice::choice;
use crate::digest::Digest;
use crate::instance::InstanceKey;
use crate::name::{Label, Namespace, NodeName, ServiceName};
use crate::unit::{Rate, Span};

choice! {
    /// What is ordered.
    #[derive(PartialOrd, Ord)]
    pub enum CommandVerb {
        /// Nobody sends anything to the instances of a node.
        Mask = "mask",
        /// A node's instances take nothing new while others are there.
        Drain = "drain",
        /// A service, or one of its routes, is refused before it is asked, for what it can do without.
        Degrade = "degrade",
        /// As an open breaker: of a service, a route, or a node's instances.
        Break = "break",
        /// Breakers are closed and nobody is left out, of a service.
        Unbreak = "unbreak",
        /// At most so many requests, from each host, to a service or route.
        Limit = "limit",
        /// Another time-out, of a service or route.
        Timeout = "timeout",
    }
}

/// What an operator orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandWords {
    /// What.
    pub verb: CommandVerb,
    /// The service; all of the namespace's where a node is named instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// One route of its policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Label>,
    /// A node: whose instances are meant, or who alone shall obey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// With `limit`: how often requests may come, from each host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// With `timeout`: the total time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Span>,
    /// It is over after this.
    pub ttl: Span,
    /// Why, for whoever meets it.
    pub reason: String,
    /// Take the last instances of a service out too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// A command as sidecars hear it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Its number.
    pub id: u64,
    /// What is ordered.
    pub words: CommandWords,
    /// The instances that are meant, where the verb is about instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceKey>,
    /// It is over after this, counted from when it is heard.
    pub left: Span,
}

impl Command {
    /// What it adds to its namespace's digest; a number is given once.
    pub fn digest(&self) -> Digest {
        Self::digest_of(self.id)
    }

    /// The same of the command `id`.
    pub fn digest_of(id: u64) -> Digest {
        Digest::of(format!("command {id}").as_bytes())
    }

    /// Whether the sidecar on `node` shall obey.
    pub fn is_for(&self, node: &NodeName) -> bool {
        let about_instances = matches!(self.words.verb, CommandVerb::Mask | CommandVerb::Break);
        about_instances || self.words.node.as_ref().is_none_or(|named| named == node)
    }
}

choice! {
    /// How far a command is.
    #[derive(PartialOrd, Ord)]
    pub enum CommandState {
        /// It is told and obeyed.
        Active = "active",
        /// Its time is over.
        Expired = "expired",
        /// It was taken back.
        Revoked = "revoked",
    }
}

/// A command and its ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandView {
    /// Its number.
    pub id: u64,
    /// Its namespace.
    pub namespace: Namespace,
    /// What was ordered.
    pub words: CommandWords,
    /// Who ordered it.
    pub author: String,
    /// How far it is.
    pub state: CommandState,
    /// What is left of its time.
    pub left: Span,
    /// Who obeys it.
    pub done: Vec<NodeName>,
    /// Who cannot, with the reason.
    pub failed: BTreeMap<NodeName, String>,
    /// Who should and has not said.
    pub silent: Vec<NodeName>,
}
