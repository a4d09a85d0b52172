//! What happened, declared once: log lines and counters hang on these facts.
//!
//! An event is told after the fact and changes nothing.

use std::fmt;
use std::time::Duration;

use api::rollout::RolloutState;
use api::{Cause, InstanceKey, Label, Namespace, NodeName, ServiceKey};

use crate::leases::LeaseId;
use crate::whitelists::NotListed;

api::choice::choice! {
    /// Why an instance whose lease ran out is still listed.
    #[derive(PartialOrd, Ord)]
    pub enum HeldBy {
        /// Too few of the expected heartbeats arrive: the fault is likely nearer to us.
        Protection = "protection",
        /// One sweep takes only its share of a service.
        SweepCap = "sweep-cap",
        /// It is the last one known of its service.
        LastKnown = "last-known",
        /// Sidecars see it serve.
        Witnesses = "witnesses",
    }
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// State came from disk; warm-up begins.
    Loaded {
        /// Instances in the snapshot.
        instances: usize,
    },
    /// Warm-up is over: answers are complete.
    Ready,
    /// A sidecar opened or resumed a session.
    SessionOpened {
        /// Which.
        session: LeaseId,
        /// Whose.
        node: NodeName,
        /// Whether it was known already.
        resumed: bool,
    },
    /// A session was closed by its sidecar.
    SessionClosed {
        /// Which.
        session: LeaseId,
    },
    /// A session without instances was silent for too long.
    SessionExpired {
        /// Which.
        session: LeaseId,
    },
    /// An instance is new or says something else than before.
    Upserted {
        /// Which.
        key: InstanceKey,
        /// Whether it was not listed before.
        added: bool,
        /// Whether it wants traffic.
        ready: bool,
    },
    /// An instance left.
    Removed {
        /// Which.
        key: InstanceKey,
        /// Why.
        cause: Cause,
    },
    /// An older boot spoke for an instance that a newer one owns; nothing changed.
    OlderBoot {
        /// Which.
        key: InstanceKey,
    },
    /// A sweep left instances listed although their leases ran out.
    Held {
        /// Of which service.
        service: ServiceKey,
        /// Why.
        why: HeldBy,
        /// How many.
        count: usize,
    },
    /// Sidecars see an instance hang whose lease lives: it is off its list for a time.
    SeenHanging {
        /// Which.
        key: InstanceKey,
        /// How many see it fail.
        fail: usize,
        /// How many see it serve.
        serve: usize,
        /// How many watch its service.
        watch: usize,
    },
    /// A push to many watchers has begun.
    PushBegan {
        /// Of which list.
        service: ServiceKey,
        /// How many are told.
        followers: usize,
        /// How many bytes that sends.
        bytes: usize,
        /// Until 99 % of them are told.
        forecast: Duration,
    },
    /// Our own loop did not run for this long; every lease was extended by it.
    Stalled {
        /// How long.
        gap: Duration,
    },
    /// A service's settings were edited.
    ServiceEdited {
        /// Which.
        service: ServiceKey,
    },
    /// An override or a planned drain is in force.
    ExceptionBegan {
        /// Its name.
        name: Label,
        /// What it says, in words.
        what: String,
    },
    /// An override or a planned drain is over.
    ExceptionOver {
        /// Its name.
        name: Label,
        /// Whether its time ran out; otherwise an operator ended it.
        ran_out: bool,
    },
    /// A policy document is in force, or gone.
    PolicyApplied {
        /// Its namespace.
        namespace: Namespace,
        /// Its name.
        name: Label,
        /// The store's revision.
        revision: u64,
    },
    /// A sidecar could not run a namespace's policies and keeps the ones it had.
    PolicyRejected {
        /// Which sidecar.
        node: NodeName,
        /// Whose policies.
        namespace: Namespace,
        /// The sidecar's words.
        why: String,
    },
    /// A whitelist did not let somebody do something.
    NotListed {
        /// Which sidecar.
        node: NodeName,
        /// Who asked for what, and which whitelist said no.
        why: NotListed,
    },
    /// An operator said that this store replaces others.
    Adopted,
    /// A command was given, taken back, or is over.
    CommandsChanged {
        /// Its namespace.
        namespace: Namespace,
    },
    /// A rollout began, went a step on, or ended.
    RolloutMoved {
        /// Its namespace.
        namespace: Namespace,
        /// Its number.
        rollout: u64,
        /// How far it is.
        state: RolloutState,
        /// Why, in words.
        why: String,
    },
}

impl Event {
    /// A stable word: the metric label.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Loaded { .. } => "loaded",
            Self::Ready => "ready",
            Self::SessionOpened { .. } => "session-opened",
            Self::SessionClosed { .. } => "session-closed",
            Self::SessionExpired { .. } => "session-expired",
            Self::Upserted { .. } => "upserted",
            Self::Removed { .. } => "removed",
            Self::OlderBoot { .. } => "older-boot",
            Self::Held { .. } => "held",
            Self::SeenHanging { .. } => "seen-hanging",
            Self::PushBegan { .. } => "push-began",
            Self::Stalled { .. } => "stalled",
            Self::ServiceEdited { .. } => "service-edited",
            Self::ExceptionBegan { .. } => "exception-began",
            Self::ExceptionOver { .. } => "exception-over",
            Self::PolicyApplied { .. } => "policy-applied",
            Self::PolicyRejected { .. } => "policy-rejected",
            Self::NotListed { .. } => "not-listed",
            Self::Adopted => "adopted",
            Self::RolloutMoved { state: RolloutState::RolledBack, .. } => "rollout-rolled-back",
            Self::RolloutMoved { .. } => "rollout-moved",
            Self::CommandsChanged { .. } => "commands-changed",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { instances } => write!(f, "state is loaded with {instances} instances; warming up"),
            Self::Ready => f.write_str("warm-up is over; answers are complete"),
            Self::SessionOpened { session, node, resumed: false } => {
                write!(f, "node {node} opened session {session}")
            }
            Self::SessionOpened { session, node, .. } => write!(f, "node {node} resumed session {session}"),
            Self::SessionClosed { session } => write!(f, "session {session} was closed"),
            Self::SessionExpired { session } => write!(f, "session {session} was silent for too long"),
            Self::Upserted { key, added: true, .. } => write!(f, "{key} is listed"),
            Self::Upserted { key, .. } => write!(f, "{key} changed"),
            Self::Removed { key, cause } => write!(f, "{key} left: {cause}"),
            Self::OlderBoot { key } => write!(f, "{key} belongs to a newer boot; an older one was ignored"),
            Self::Held { service, why, count } => write!(f, "{count} of {service} stay listed: {why}"),
            Self::SeenHanging { key, fail, serve, watch } => {
                write!(f, "{key} hangs: of {watch} who watch it {fail} see it fail and {serve} serve")
            }
            Self::PushBegan { service, followers, bytes, forecast } => write!(
                f,
                "{service} is pushed to {followers} watchers, {bytes} bytes; 99 % informed in {forecast:.1?}"
            ),
            Self::Stalled { gap } => write!(f, "stood still for {gap:?}; every lease is extended by it"),
            Self::ServiceEdited { service } => write!(f, "settings of {service} were edited"),
            Self::ExceptionBegan { name, what } => write!(f, "{name} is in force: {what}"),
            Self::ExceptionOver { name, ran_out: true } => write!(f, "{name} ran out"),
            Self::ExceptionOver { name, .. } => write!(f, "{name} was ended"),
            Self::PolicyApplied { namespace, name, revision } => {
                write!(f, "policy {name} of namespace {namespace} is at revision {revision}")
            }
            Self::PolicyRejected { node, namespace, why } => {
                write!(f, "node {node} cannot run the policies of namespace {namespace}: {why}")
            }
            Self::NotListed { node, why } => write!(f, "node {node}: {why}"),
            Self::Adopted => f.write_str("this store replaces others"),
            Self::CommandsChanged { namespace } => write!(f, "commands of namespace {namespace} changed"),
            Self::RolloutMoved { namespace, rollout, state, why } => {
                write!(f, "rollout {rollout} of namespace {namespace} is {state}: {why}")
            }
        }
    }
}
