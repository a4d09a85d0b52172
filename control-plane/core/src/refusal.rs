//! Why the control plane says no.

use std::fmt;
use std::time::Duration;

use api::{InstanceKey, Problem, ServiceKey};

use crate::whitelists::NotListed;

/// A "no" with its reason; the shell turns each into one status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// State is not loaded yet: nothing is answered before (503).
    NotLoaded,
    /// No such session: open a new one (404).
    NoSession,
    /// Nobody ever registered or declared it (404).
    NoSuchService(ServiceKey),
    /// No such document (404).
    NoSuchPolicy,
    /// A newer boot owns the instance (409).
    NewerBoot(InstanceKey),
    /// The document is not at the revision the writer expected (412).
    Conflict {
        /// Where it is; `None` when there is none.
        current: Option<u64>,
    },
    /// A rollout of the namespace runs, so its policies are not to be written (409).
    RolloutRuns(u64),
    /// No config value has that key (404).
    NoSuchConfig,
    /// No such token (404).
    NoSuchToken,
    /// No such command (404).
    NoSuchCommand,
    /// No rollout of the namespace is known (404).
    NoRollout,
    /// The words are wrong (422).
    Wrong(Vec<Problem>),
    /// A whitelist says no (403).
    NotListed(NotListed),
    /// No such whitelist (404).
    NoSuchWhitelist,
    /// No such override or planned drain (404).
    NoSuchException,
    /// More of a service would leave at once than may (409).
    BlastRadius {
        /// Which service.
        service: ServiceKey,
        /// How many would leave.
        asked: u64,
        /// How many may.
        room: u64,
    },
    /// Too many come at once: after how long to come back (503).
    ComeBack(Duration),
    /// A limit is reached; says which (503).
    Full(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoaded => f.write_str("state is not loaded yet"),
            Self::NoSession => f.write_str("no such session; open a new one"),
            Self::NoSuchService(service) => write!(f, "nobody ever registered or declared service {service}"),
            Self::NoSuchPolicy => f.write_str("no such policy"),
            Self::NewerBoot(key) => write!(f, "{key} belongs to a newer boot"),
            Self::Conflict { current: Some(current) } => write!(f, "the policy is at revision {current}"),
            Self::Conflict { current: None } => f.write_str("there is no such policy yet"),
            Self::RolloutRuns(id) => {
                write!(f, "rollout {id} of this namespace runs; wait for its end or give it up")
            }
            Self::NoSuchConfig => f.write_str("no config value has that key"),
            Self::NoSuchToken => f.write_str("no such token"),
            Self::NoSuchCommand => f.write_str("no such command"),
            Self::NoRollout => f.write_str("this namespace never had a rollout"),
            Self::Wrong(problems) => {
                let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join("; "))
            }
            Self::NotListed(why) => why.fmt(f),
            Self::NoSuchWhitelist => f.write_str("no whitelist has that name"),
            Self::NoSuchException => f.write_str("nothing of that name is in force"),
            Self::BlastRadius { service, asked, room } => write!(
                f,
                "{asked} of {service} would leave at once and {room} may; name the service in a planned drain \
                 (PUT /v1/drains/NAME), or wait for the next interval"
            ),
            Self::ComeBack(after) => write!(f, "many watches begin at once; come back in {after:.0?}"),
            Self::Full(limit) => write!(f, "the limit {limit} is reached"),
        }
    }
}

impl std::error::Error for Refusal {}
