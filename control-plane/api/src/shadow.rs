//! What policies in shadow would have done, counted by sidecars and summed by the control plane.
//!
//! | verb | method and path | body → answer |
//! |---|---|---|
//! | look | `GET /v1/namespaces/{namespace}/shadows` | → [`ShadowView`]s |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::ServiceKey;

/// What one sidecar counted since it first ran these words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowReport {
    /// Of which service.
    pub service: ServiceKey,
    /// What the documents in shadow say.
    pub words: Digest,
    /// Requests they were held against.
    pub requests: u64,
    /// How many of them each leaf would have refused or cut: `limits.NAME`, `concurrency.per_service`,
    /// `concurrency.bulkheads.NAME`, `route_breaker`, `timeout.total`; tried again or not: `retry.again`,
    /// `retry.not_again`; sent a second time beside the first: `hedge.beside`; had on another route: `routes.NAME`; or at
    /// another endpoint, or nowhere: `health.elsewhere`, `breaker.elsewhere`, and `limits.NAME` of a limit of endpoints; and
    /// beside that how often an endpoint would have been left out, `health.ejected`, or its breaker opened, `breaker.opened`.
    pub would: BTreeMap<String, u64>,
}

/// What all connected sidecars counted under the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowView {
    /// The sums.
    pub sum: ShadowReport,
    /// How many sidecars counted.
    pub sidecars: usize,
}
