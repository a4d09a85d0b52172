//! Shares of fleet-wide limits: what sidecars would like to spend, and what they may.
//!
//! | verb | method and path | body → answer |
//! |---|---|---|
//! | report and be granted | `PUT /v1/sessions/{id}/quotas` | [`QuotaReport`]s → [`QuotaGrant`]s |
//! | look | `GET /v1/quotas` | → [`QuotaView`]s |
//!
//! No request ever waits for this. A sidecar spends its last grant for as long as it hears no other.

use serde::{Deserialize, Serialize};

use crate::name::{Label, ServiceKey};
use crate::policy::Mode;
use crate::unit::Span;

/// What one sidecar says of one limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaReport {
    /// The limit's service.
    pub service: ServiceKey,
    /// Its name.
    pub limit: Label,
    /// Whether it acts, or is only counted: parts of both are shared out apart.
    #[serde(default, skip_serializing_if = "Mode::acts")]
    pub mode: Mode,
    /// Requests that came since the last report, allowed or not, per second.
    pub wanted: f64,
    /// What it allows now, per second.
    pub holds: f64,
}

/// What one sidecar may allow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaGrant {
    /// The limit's service.
    pub service: ServiceKey,
    /// Its name.
    pub limit: Label,
    /// Whether it acts, or is only counted: parts of both are shared out apart.
    #[serde(default, skip_serializing_if = "Mode::acts")]
    pub mode: Mode,
    /// Requests per second from now on.
    pub rate: f64,
}

/// One limit as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaView {
    /// The limit's service.
    pub service: ServiceKey,
    /// Its name.
    pub limit: Label,
    /// Whether it acts, or is only counted: parts of both are shared out apart.
    #[serde(default, skip_serializing_if = "Mode::acts")]
    pub mode: Mode,
    /// What the policy allows all together, per second.
    pub rate: f64,
    /// What sidecars would like to send, per second.
    pub wanted: f64,
    /// What is granted, per second; never above `rate`.
    pub granted: f64,
    /// How many sidecars hold a part.
    pub holders: usize,
    /// By how much the limit may be exceeded, per second: parts of sidecars that fell silent and were given to others.
    /// They are dead, or cut off and spend on.
    pub doubt: f64,
    /// How long a silent sidecar keeps its part.
    pub kept_for: Span,
}
