//! What the tasks of the control thread share: one thread, so cells and no locks.
//!
//! Tasks speak through here: what they know goes into the state and out to the workers in one step, and a
//! [`Notify`] wakes whoever has to do something about it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use api::config::SidecarConfig;
use api::message::{News, SharedChecks, Watch, WatchMode};
use api::{Instance, InstanceKey, Moment, Namespace, NodeName, ServiceKey, Span};
use sidecar_core::check::Checks;
use tokio::sync::Notify;

use super::cluster::Cluster;
use super::policies::Verdict;
use super::state::State;
use super::status::{SnapshotStatus, StatusView};
use crate::clock::{Clock, Dice};
use crate::gate::Gate;
use crate::local::{BoundApp, Drain};
use crate::publish::{Publisher, Update};

/// A long poll is held for this: inside the idle limits of what may stand between.
const HOLD: Span = Span::secs(30);

/// What is said of an app on the status page.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppLine {
    pub(crate) key: Option<InstanceKey>,
    pub(crate) waits_for: String,
}

/// Shared by all tasks of the control thread.
pub(crate) struct Hub {
    pub(crate) config: Arc<SidecarConfig>,
    pub(crate) node: NodeName,
    pub(crate) clock: Clock,
    pub(crate) dice: Rc<Dice>,
    pub(crate) gate: Gate,
    /// By their tellers; empty where the file names no control plane.
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) apps: Vec<BoundApp>,
    pub(crate) drain: Drain,
    pub(crate) state: RefCell<State>,
    pub(crate) kept: RefCell<Option<SnapshotStatus>>,
    pub(crate) view: StatusView,
    lines: RefCell<Vec<AppLine>>,
    /// The health checks of each service that has any.
    pub(crate) checks: RefCell<BTreeMap<ServiceKey, Checks>>,
    /// What the fleet shares of them; empty while no control plane says.
    pub(crate) shared: RefCell<BTreeMap<ServiceKey, SharedChecks>>,
    /// How many checks were bad and good.
    pub(crate) checked: RefCell<BTreeMap<ServiceKey, [u64; 2]>>,
    publisher: Publisher,
    /// The state changed: the snapshot is behind.
    pub(crate) dirty: Notify,
    /// Something the status page shows changed.
    pub(crate) touched: Notify,
}

/// What a hub is made of.
pub(crate) struct HubParts {
    pub(crate) config: Arc<SidecarConfig>,
    pub(crate) node: NodeName,
    pub(crate) clock: Clock,
    pub(crate) dice: Rc<Dice>,
    pub(crate) gate: Gate,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) apps: Vec<BoundApp>,
    pub(crate) drain: Drain,
    pub(crate) state: State,
    pub(crate) publisher: Publisher,
    pub(crate) view: StatusView,
}

impl Hub {
    pub(crate) fn new(parts: HubParts) -> Rc<Self> {
        let lines = parts.apps.iter().map(|_| AppLine::default()).collect();
        Rc::new(Self {
            config: parts.config,
            node: parts.node,
            clock: parts.clock,
            dice: parts.dice,
            gate: parts.gate,
            clusters: parts.clusters,
            apps: parts.apps,
            drain: parts.drain,
            state: RefCell::new(parts.state),
            kept: RefCell::default(),
            view: parts.view,
            lines: RefCell::new(lines),
            checks: RefCell::default(),
            shared: RefCell::default(),
            checked: RefCell::default(),
            publisher: parts.publisher,
            dirty: Notify::new(),
            touched: Notify::new(),
        })
    }

    /// Now, in milliseconds since 1970.
    pub(crate) fn wall(&self) -> u64 {
        self.clock.wall(self.clock.now())
    }

    /// Tells the workers.
    pub(crate) fn publish(&self, updates: &[Update]) {
        updates.iter().for_each(|update| self.publisher.tell(update));
        if !updates.is_empty() {
            self.touched.notify_one();
        }
    }

    /// Hears a piece of news from `cluster`: into the state, out to the workers.
    pub(crate) fn hear(&self, cluster: &Cluster, news: &News) {
        let now = self.clock.now();
        cluster.tell_heard(now, self.clock.wall(now));
        match news {
            News::Ping => return,
            News::List(delta) => {
                cluster.tell_store(&delta.store);
                let told = self.state.borrow_mut().tell_list(cluster.teller, delta, now);
                match told {
                    Ok(updates) => self.publish(&updates),
                    Err(_) => {
                        self.resync(cluster, &format!("a change of {} is of another list", delta.service))
                    }
                }
            }
            // Another cluster's policies count there.
            News::Policies(news) if self.state.borrow().lead(&news.namespace) != cluster.teller => {}
            News::Policies(news) => {
                cluster.tell_store(&news.store);
                let (verdict, updates) = self.state.borrow_mut().tell_policies(news, now);
                self.obey();
                self.publish(&updates);
                self.tell_verdict(cluster, &news.namespace, news.revision, &verdict);
            }
        }
        self.dirty.notify_one();
        self.touched.notify_one();
    }

    /// `cluster` told which checks are shared how; it is believed of the services it is asked about first.
    pub(crate) fn share_checks(&self, cluster: &Cluster, checks: BTreeMap<ServiceKey, SharedChecks>) {
        let state = self.state.borrow();
        let its = |service: &ServiceKey| state.tellers(service).first() == Some(&cluster.teller);
        let mut shared = self.shared.borrow_mut();
        shared.retain(|service, _| !its(service));
        shared.extend(checks.into_iter().filter(|(service, _)| its(service)));
    }

    /// What commands want of the instances of this host.
    pub(crate) fn obey(&self) {
        let state = self.state.borrow();
        let drains = |service: &ServiceKey| state.orders().drains(service, state.node());
        for cluster in &self.clusters {
            if cluster.asserted.borrow_mut().order(drains) {
                self.touched.notify_one();
                cluster.say.notify_one();
            }
        }
    }

    fn tell_verdict(&self, cluster: &Cluster, namespace: &Namespace, revision: u64, verdict: &Verdict) {
        match verdict {
            Verdict::Taken => {
                tracing::info!(%namespace, revision, "policies in force");
                // The next beat says so; a policy that was pushed should not look unheard for a third of a lease.
                cluster.say.notify_one();
            }
            Verdict::Refused(why) => {
                tracing::error!(%namespace, revision, why, "policies refused; the old ones stay in force");
                cluster.say.notify_one();
            }
            Verdict::Unadopted => {
                tracing::warn!(%namespace, revision, "policies of a store nobody adopted; the old ones stay in force");
            }
            Verdict::Same | Verdict::Old => {}
        }
    }

    /// What is held is not what there is: everything that differs is asked for again.
    pub(crate) fn resync(&self, cluster: &Cluster, why: &str) {
        tracing::warn!(cluster = cluster.name, why, "asking for everything that differs");
        cluster.control.borrow_mut().resyncs += 1;
        cluster.rewatch.notify_one();
    }

    /// What to watch at `cluster`, with what is held of it.
    pub(crate) fn watch(&self, cluster: &Cluster, mode: WatchMode) -> Watch {
        let state = self.state.borrow();
        let policies = match state.policies().fixed() {
            true => Default::default(),
            false => state.namespaces(cluster.teller, self.namespaces()),
        };
        Watch {
            node: Some(self.node.clone()),
            lists: state.lists(cluster.teller),
            policies,
            mode,
            hold: HOLD,
        }
    }

    /// Namespaces that matter here whatever is called.
    fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let apps = self.config.apps.iter().map(|app| &app.service.namespace);
        apps.chain([&self.config.namespace])
    }

    /// The connection to `cluster` works, or does not.
    pub(crate) fn connected(&self, cluster: &Cluster, connected: bool, mode: &'static str, trouble: &str) {
        if connected {
            cluster.tell_heard(self.clock.now(), self.wall());
        }
        let mut control = cluster.control.borrow_mut();
        // Who comes back may have lost its memory, and says so to who asks. It let this watch in, at the pace that it takes.
        if connected && !control.connected && control.since != 0 {
            cluster.doubted.notify_one();
        }
        if control.connected != connected || control.since == 0 {
            control.since = self.wall();
            let cluster = &cluster.name;
            match connected {
                true => tracing::info!(cluster, mode, "news arrive from the control plane"),
                false => tracing::warn!(
                    cluster,
                    trouble,
                    "no news from the control plane; what is known stays in use"
                ),
            }
        }
        (control.connected, control.mode) = (connected, mode);
        control.trouble = trouble.to_owned();
        self.touched.notify_one();
    }

    /// The clusters that tell the list of `service`, the first one first.
    pub(crate) fn clusters_of(&self, service: &ServiceKey) -> impl Iterator<Item = &Cluster> {
        let tellers = self.state.borrow().tellers(service);
        tellers.into_iter().filter_map(|teller| self.clusters.get(usize::from(teller.0)))
    }

    /// `instance` is to be listed as it is written here, by every cluster that serves it.
    pub(crate) fn assert(&self, instance: &Instance) {
        for cluster in self.clusters_of(&instance.key.service) {
            cluster.asserted.borrow_mut().want(instance.clone());
            cluster.say.notify_one();
        }
        self.touched.notify_one();
    }

    /// Whether the sidecar is on its way out.
    pub(crate) fn leaving(&self) -> bool {
        self.drain.progress().since > 0
    }

    /// What the app at `index` waits for.
    pub(crate) fn waits_for(&self, index: usize, what: String) {
        let mut lines = self.lines.borrow_mut();
        if lines[index].waits_for != what {
            tracing::debug!(service = %self.apps[index].config.service, waits_for = what, "the app's registration");
            lines[index].waits_for = what;
            self.touched.notify_one();
        }
    }

    /// The app at `index` is registered under `key`.
    pub(crate) fn named(&self, index: usize, key: &InstanceKey) {
        self.lines.borrow_mut()[index].key = Some(key.clone());
    }

    /// What is said of the app at `index`.
    pub(crate) fn line(&self, index: usize) -> AppLine {
        self.lines.borrow()[index].clone()
    }

    /// Sleeps until `at`.
    pub(crate) async fn sleep_until(&self, at: Moment) {
        tokio::time::sleep_until(self.clock.instant(at)).await;
    }

    /// Sleeps until the process's clock reaches a multiple of `every`: who looks as often looks together with others, and
    /// their thread wakes once for all.
    pub(crate) async fn beat(&self, every: Duration) {
        let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1);
        let beats = self.clock.now().as_nanos() / every + 1;
        self.sleep_until(Moment::from_nanos(beats.saturating_mul(every))).await;
    }

    /// `service` cannot be had.
    pub(crate) fn no_such_service(&self, service: ServiceKey) {
        self.publish(&[Update::Missing { service, reason: api::Reason::NoSuchService }]);
    }
}
