//! Leaving in five steps: tell, refuse, wait, stop, and forced at a time-out.
//!
//! Callers hear of it first and go elsewhere while everything is still served; only then are new requests
//! refused, and what is in flight may finish. Nothing in flight is cut before the time-out.

use std::rc::Rc;
use std::time::Duration;

use api::{Cause, Moment};
use serde::Serialize;
use tokio::sync::watch;

use super::asserted::Asserted;
use crate::control::cluster::Cluster;
use crate::control::hub::Hub;

/// How long telling may take: a control plane that does not answer must not hold up leaving.
const TELL_WITHIN: Duration = Duration::from_secs(2);
/// How long everything is still served once the control plane was told: callers hear within a push, which
/// leaves at once or after 100 ms.
const SETTLE: Duration = Duration::from_secs(1);
/// How long connections may stay with a process that was replaced: Envoy's value for a hot restart. Silent ones end
/// earlier, by `limits.idle`.
const OUTLASTS: Duration = Duration::from_secs(15 * 60);
/// How often the requests in flight are counted.
const LOOK: Duration = Duration::from_millis(20);

/// How far a sidecar is on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// It is not leaving.
    #[default]
    Serving,
    /// The control plane is told; everything is still served.
    Tell,
    /// New requests are refused.
    Refuse,
    /// Requests in flight finish.
    Wait,
    /// Everything finished.
    Stop,
    /// The time-out came first: what is left is cut.
    Forced,
}

/// The drain at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The step.
    pub step: Step,
    /// Requests in flight.
    pub in_flight: usize,
    /// When it was told to leave, in milliseconds since 1970; zero when it was not.
    pub since: u64,
}

/// What is wanted of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Serve,
    Leave,
    HandOver,
}

/// Starts the drain and watches it, from any thread.
#[derive(Clone, Debug)]
pub struct Drain {
    wanted: watch::Sender<Wanted>,
    progress: watch::Sender<Progress>,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self { wanted: watch::Sender::new(Wanted::Serve), progress: watch::Sender::new(Progress::default()) }
    }

    /// Starts it; a second time changes nothing.
    pub fn start(&self) {
        self.want(Wanted::Leave);
    }

    /// Leaves everything to the process that replaces this one, and ends once nothing is open here.
    pub(crate) fn hand_over(&self) {
        self.want(Wanted::HandOver);
    }

    fn want(&self, what: Wanted) {
        self.wanted.send_if_modified(|wanted| {
            let first = *wanted == Wanted::Serve;
            *wanted = if first { what } else { *wanted };
            first
        });
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until somebody starts it.
    pub(crate) async fn started(&self) {
        self.wanted(Wanted::Leave).await;
    }

    /// Waits until another process speaks for this host.
    pub(crate) async fn handed_over(&self) {
        self.wanted(Wanted::HandOver).await;
    }

    async fn wanted(&self, what: Wanted) {
        // The sender is this value's own: it outlives the wait.
        _ = self.wanted.subscribe().wait_for(|wanted| *wanted == what).await;
    }

    fn step(&self, hub: &Hub, step: Step, in_flight: usize) {
        let since = match self.progress().since {
            0 => hub.wall(),
            since => since,
        };
        if self.progress().step != step {
            tracing::info!(?step, in_flight, "leaving");
        }
        self.progress.send_replace(Progress { step, in_flight, since });
        hub.touched.notify_one();
    }
}

/// Runs the drain once it is started. Returns whether it was forced.
pub(crate) async fn run(hub: &Rc<Hub>, drain: &Drain, in_flight: &(dyn Fn() -> usize + Send)) -> bool {
    drain.started().await;
    let deadline = hub.clock.now() + hub.config.drain.duration();
    drain.step(hub, Step::Tell, in_flight());
    hub.gate.close();
    if tell(hub).await {
        let until = (hub.clock.now() + SETTLE).min(deadline);
        tokio::time::sleep_until(hub.clock.instant(until)).await;
    }
    drain.step(hub, Step::Refuse, in_flight());
    hub.gate.refuse();
    let whole = wait(hub, drain, in_flight, deadline).await;
    drain.step(hub, if whole { Step::Stop } else { Step::Forced }, in_flight());
    !whole
}

/// Waits until nothing is `open` here any more, for as long as long connections may outlast an upgrade. Returns whether
/// some were cut.
pub(crate) async fn outlast(hub: &Hub, drain: &Drain, open: &(dyn Fn() -> usize + Send)) -> bool {
    let whole = wait(hub, drain, open, hub.clock.now() + OUTLASTS).await;
    drain.step(hub, if whole { Step::Stop } else { Step::Forced }, open());
    !whole
}

/// Tells the control plane: first that what is listed takes nothing new, which also a control plane that warms
/// up passes on, then that it is gone. False when there was nobody to tell of.
async fn tell(hub: &Hub) -> bool {
    if hub.clusters.iter().all(|cluster| cluster.asserted.borrow().is_empty()) {
        return false;
    }
    let each = |deed: fn(&mut Asserted)| {
        hub.clusters.iter().for_each(|cluster| deed(&mut cluster.asserted.borrow_mut()));
    };
    let leave: fn(&mut Asserted) = |asserted| asserted.leave(Cause::Drained);
    let told = async {
        each(Asserted::drain);
        said(hub).await;
        each(leave);
        said(hub).await;
    };
    if tokio::time::timeout(TELL_WITHIN, told).await.is_err() {
        each(leave);
        tracing::warn!(
            "the control plane did not hear that this instance leaves; callers find out by refusals"
        );
    }
    true
}

/// Waits until there is nothing left to say to any cluster that listens; to those that do not it is said when they
/// do. Where none listens, all are waited for.
async fn said(hub: &Hub) {
    let listens = |cluster: &&Cluster| cluster.control.borrow().connected;
    let none = !hub.clusters.iter().any(|cluster| listens(&cluster));
    hub.clusters.iter().for_each(|cluster| cluster.say.notify_one());
    for cluster in hub.clusters.iter().filter(|cluster| none || listens(cluster)) {
        let mut confirmed = cluster.confirmed.subscribe();
        while cluster.asserted.borrow().next().is_some() {
            // The sender is the cluster's own: it outlives the wait.
            _ = confirmed.changed().await;
        }
    }
}

/// Waits for what is in flight. False when the time ran out.
async fn wait(hub: &Hub, drain: &Drain, in_flight: &(dyn Fn() -> usize + Send), deadline: Moment) -> bool {
    loop {
        let left = in_flight();
        drain.step(hub, Step::Wait, left);
        if left == 0 {
            return true;
        }
        if hub.clock.now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
}
