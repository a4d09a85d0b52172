//! What operators read and set, and how anybody is told that something is wrong.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::name::ServiceKey;
use crate::unit::Span;

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
