//! What the control thread can say of itself: a plain value for the admin page.
//!
//! Written by the control thread after a change, read by anyone; never on the path of a request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::shadow::ShadowReport;
use api::{Digest, InstanceKey, Namespace, Readiness, ServiceKey};
use serde::Serialize;

mod service;

pub use service::{BreakerStatus, BulkheadStatus, LimitStatus, ServiceStatus};

use super::state::ServiceLine;
use crate::clock::Clock;
use crate::local::{Progress, Step};

/// Everything at one moment. Times are milliseconds since 1970, ages milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// The node.
    pub node: String,
    /// The control plane, the first cluster of those the file names; `None` where it names none.
    pub control: Option<ControlStatus>,
    /// The clusters beside it.
    pub also: Vec<ControlStatus>,
    /// The snapshot; `None` where none is kept.
    pub snapshot: Option<SnapshotStatus>,
    /// The policies of each namespace.
    pub policies: Vec<PolicyStatus>,
    /// What policies in shadow would have done.
    pub shadows: Vec<ShadowReport>,
    /// Each service known or asked for.
    pub services: Vec<ServiceStatus>,
    /// The instances this sidecar stands beside.
    pub instances: Vec<InstanceStatus>,
    /// Whether and how far it is on its way out.
    pub drain: Progress,
}

/// The connection to the control plane.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ControlStatus {
    /// What the cluster is called.
    pub cluster: String,
    /// The one spoken to.
    pub url: String,
    /// Whether news arrive.
    pub connected: bool,
    /// Since when that is so.
    pub since: u64,
    /// Whether it was silent for longer than `control.alert_after`.
    pub lost: bool,
    /// How news travel: `stream` or `poll`.
    pub mode: &'static str,
    /// The session's id; empty while there is none.
    pub session: String,
    /// The store behind it.
    pub store: String,
    /// When it was last heard, be it a ping.
    pub heard_at: Option<u64>,
    /// How long ago that was.
    pub age: Option<u64>,
    /// Whether the lease is `fresh`, `stale` or `lost`.
    pub lease: &'static str,
    /// Beats and sessions that were not answered.
    pub beats_missed: u64,
    /// How often everything was asked for again because digests differed.
    pub resyncs: u64,
    /// News nobody could read.
    pub unreadable: u64,
    /// What went wrong last; empty once it answers.
    pub trouble: String,
}

/// What is kept on disk.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SnapshotStatus {
    /// Where.
    pub path: String,
    /// When the one this process started from was saved.
    pub restored_from: Option<u64>,
    /// When it was last saved by this process.
    pub saved_at: Option<u64>,
    /// Why it could not be read or saved; empty when it could.
    pub trouble: String,
}

/// The policies of one namespace.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyStatus {
    /// The namespace.
    pub namespace: Namespace,
    /// What those in force say.
    pub digest: Digest,
    /// Their revision.
    pub revision: u64,
    /// Their store.
    pub store: String,
    /// Why newer ones are not in force; empty when these are the newest.
    pub rejected: String,
}

/// One instance of this host.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceStatus {
    /// Its service.
    pub service: ServiceKey,
    /// What identifies it; `None` before its address is known.
    pub key: Option<InstanceKey>,
    /// What it waits for, in words; empty once it is registered.
    pub waits_for: String,
    /// What its check says.
    pub readiness: Option<Readiness>,
    /// Whether the control plane lists it as it is.
    pub registered: bool,
}

impl Status {
    /// Whether what is to be known is known: from the control plane, from the snapshot, or from the file where
    /// there is no control plane.
    pub fn informed(&self) -> bool {
        self.control.is_none() || self.heard() || self.restored()
    }

    /// From where it is known, or why it is not.
    pub fn informed_by(&self) -> String {
        let connected = self.clusters().find(|control| control.connected);
        let heard = self.clusters().find(|control| control.heard_at.is_some());
        match connected.or(heard).or(self.control.as_ref()) {
            None => "by its file; there is no control plane".into(),
            Some(control) if control.connected => format!("by the control plane {}", control.url),
            Some(control) if control.heard_at.is_some() => {
                format!("by the control plane, which is away: {}", control.trouble)
            }
            Some(control) if self.restored() => format!("by the snapshot; {}", control.trouble),
            Some(control) => {
                format!("no control plane has answered and there is no snapshot: {}", control.trouble)
            }
        }
    }

    /// Every cluster of control planes, the first one first.
    pub fn clusters(&self) -> impl Iterator<Item = &ControlStatus> {
        self.control.iter().chain(&self.also)
    }

    /// Whether any control plane was ever heard.
    pub fn heard(&self) -> bool {
        self.clusters().any(|control| control.connected || control.heard_at.is_some())
    }

    /// Whether it is on its way out.
    pub fn leaving(&self) -> bool {
        self.drain.step != Step::Serving
    }

    fn restored(&self) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| snapshot.restored_from.is_some())
    }
}

/// What the control thread writes down: all but the services as they are shown, and each service as it was published.
/// What is shown of a service is looked at when somebody asks: there may be thousands, and mostly nobody does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) rest: Status,
    pub(crate) services: Vec<ServiceLine>,
    /// How many health checks of each were bad and good.
    pub(crate) checked: BTreeMap<ServiceKey, [u64; 2]>,
}

/// Reads the status from any thread.
#[derive(Clone, Debug)]
pub struct StatusView {
    // Locked for the time of a copy of handles; no request ever waits for it.
    shared: Arc<Mutex<Written>>,
    clock: Clock,
}

impl StatusView {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { shared: Arc::default(), clock }
    }

    /// The status, with ages as of now.
    pub fn get(&self) -> Status {
        let Written { rest, services, checked } = self.locked().clone();
        let counts = |line: &ServiceLine| checked.get(&line.service).copied().unwrap_or_default();
        let services =
            services.iter().map(|line| ServiceStatus::of(line, counts(line), self.clock)).collect();
        Status { services, ..self.aged(rest) }
    }

    /// The same without the services.
    pub fn brief(&self) -> Status {
        let rest = self.locked().rest.clone();
        self.aged(rest)
    }

    fn aged(&self, mut status: Status) -> Status {
        let now = self.clock.wall(self.clock.now());
        for control in status.control.iter_mut().chain(&mut status.also) {
            control.age = control.heard_at.map(|at| now.saturating_sub(at));
        }
        status
    }

    pub(crate) fn set(&self, written: Written) {
        *self.locked() = written;
    }

    fn locked(&self) -> MutexGuard<'_, Written> {
        // A reader that panicked left the value whole: it is only ever replaced.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
