//! Why an instance is or is not in a list: `outrigger explain instance`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::choice::choice;
use crate::name::{NodeName, ServiceKey};

choice! {
    /// Why an instance is not in a viewer's list, or takes no traffic there; from the nearest cause outwards.
    #[derive(PartialOrd, Ord)]
    pub enum Why {
        /// Nobody ever registered for or declared the service.
        NoSuchService = "no-such-service",
        /// A whitelist did not let it register.
        NotAllowed = "not-allowed",
        /// It never registered, or left so long ago that it is not remembered.
        NotRegistered = "not-registered",
        /// Its owner took it out.
        Deregistered = "deregistered",
        /// Its owner drained it.
        Drained = "drained",
        /// Its lease ran out.
        Expired = "expired",
        /// Its sidecar lives and left it out when it last said everything.
        Absent = "absent",
        /// An operator masked it.
        Masked = "masked",
        /// Sidecars see it hang although its lease lives.
        SeenHanging = "seen-hanging",
        /// An operator put it out of service.
        OutOfService = "out-of-service",
        /// Its owner drains it.
        Draining = "draining",
        /// Its check fails.
        Unready = "unready",
        /// Its weight is zero.
        ZeroWeight = "zero-weight",
        /// A whitelist does not let the viewer hear of the service.
        ViewerNotAllowed = "viewer-not-allowed",
        /// The viewer has no session here.
        ViewerUnknown = "viewer-unknown",
        /// The viewer does not watch the service.
        ViewerNotWatching = "viewer-not-watching",
        /// The change is on its way to the viewer.
        ViewerBehind = "viewer-behind",
    }
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// Which.
    pub why: Why,
    /// What is known of it.
    pub detail: String,
}

/// What is known of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceStory {
    /// Of which service.
    pub service: ServiceKey,
    /// Where it stands: the app's own address, or the one callers connect to.
    pub address: SocketAddr,
    /// Whose view was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewer: Option<NodeName>,
    /// Whether its list shows it.
    pub listed: bool,
    /// Why it is not there or takes no traffic; empty when it is there and does.
    pub reasons: Vec<Because>,
    /// What else is true of it: whose it is, what is said over its owner's words, why it is still there.
    pub notes: Vec<String>,
}
