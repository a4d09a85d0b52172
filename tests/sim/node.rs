//! A node: one sidecar process of real cores, its workers, and what it keeps on disk.
//!
//! The host's cell and the services' cells are shared by the workers; lists and plans reach each worker a
//! little later than the control thread knew them. Every time here is the process's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::policy::PolicySet;
use api::{Delta, InstanceKey, List, Moment, Namespace, ServiceKey};
use sidecar_core::directory::{Changes, Directory, Teller};
use sidecar_core::endpoint::EndpointList;
use sidecar_core::flight::HostCell;
use sidecar_core::parts::Standing;
use sidecar_core::plan::ServicePlan;
use sidecar_core::queue::Queue;
use sidecar_core::service::ServiceCell;

use crate::app;
use crate::line::Asks;
use crate::session::Session;
use crate::world::{Event, World};

/// The sidecar's own limit for idle connections.
const LONGEST_IDLE: Duration = Duration::from_secs(30);

/// An idle connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// Which life of the app it leads to.
    pub(crate) life: u32,
    pub(crate) since: Moment,
}

/// Idle connections of one worker, by app.
#[derive(Debug, Default)]
pub(crate) struct Pool(BTreeMap<usize, Vec<Idle>>);

impl Pool {
    /// The youngest connection to `app` that is not idle for too long.
    pub(crate) fn take(&mut self, app: usize, limit: Option<Duration>, now: Moment) -> Option<Idle> {
        let longest = limit.map_or(LONGEST_IDLE, |limit| limit.min(LONGEST_IDLE));
        self.0.get_mut(&app)?.pop().filter(|idle| now.since(idle.since) <= longest)
    }

    /// Takes a connection back.
    pub(crate) fn give(&mut self, app: usize, life: u32, now: Moment) {
        self.0.entry(app).or_default().push(Idle { life, since: now });
    }
}

/// What a worker knows of a service.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) list: Arc<EndpointList>,
    /// `None` until the service is known.
    pub(crate) plan: Option<Arc<ServicePlan>>,
    /// Keys that somebody's will took out of this view.
    pub(crate) gone: BTreeSet<InstanceKey>,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) views: Vec<View>,
    pub(crate) pool: Pool,
}

/// What the control thread knows of a service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) key: ServiceKey,
    pub(crate) cell: Arc<ServiceCell>,
    pub(crate) directory: Directory,
    pub(crate) plan: Arc<ServicePlan>,
    /// Whether anything was ever told of it.
    pub(crate) known: bool,
    /// Keys taken out by somebody's will and not listed again since.
    pub(crate) gone: BTreeSet<InstanceKey>,
}

/// Policies of one namespace as this host runs them.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) store: String,
    pub(crate) revision: u64,
    pub(crate) set: PolicySet,
}

/// What survives a restart of the sidecar.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    lists: Vec<List>,
    policies: BTreeMap<Namespace, Held>,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) up: bool,
    pub(crate) boot: u32,
    pub(crate) host: Arc<HostCell>,
    pub(crate) services: Vec<Service>,
    /// Who waits, by service.
    pub(crate) rooms: Vec<Queue<(u64, Asks)>>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) policies: BTreeMap<Namespace, Held>,
    pub(crate) session: Session,
    pub(crate) disk: Disk,
    born: Moment,
}

impl Node {
    /// The sidecar of node `at` in its `boot`th process, knowing nothing.
    pub(crate) fn boot(at: usize, world: &World, boot: u32) -> Self {
        let scenario = &world.scenario;
        let callers = [0, 1].map(|zone| (app::zone(zone), 1.0)).into();
        let standing = Standing { zone: app::zone(at), callers };
        let service = |key: &ServiceKey| {
            let (cell, settings) = (ServiceCell::shared(), PolicySet::default().settle(key));
            let mut directory = Directory::new(key.clone(), vec![([10, 0, 0, at as u8 + 1], 7_410).into()]);
            directory.stand(standing.clone());
            Service {
                key: key.clone(),
                cell: cell.clone(),
                directory,
                plan: Arc::new(ServicePlan::compile(key, &settings, cell, None)),
                known: false,
                gone: BTreeSet::new(),
            }
        };
        let view = |key: &ServiceKey| View {
            list: Arc::new(EndpointList::empty(key.clone())),
            plan: None,
            gone: BTreeSet::new(),
        };
        let worker =
            |_| Worker { views: scenario.services.iter().map(view).collect(), pool: Pool::default() };
        Self {
            up: true,
            boot,
            host: HostCell::new(scenario.host_limit),
            services: scenario.services.iter().map(service).collect(),
            rooms: scenario.services.iter().map(|_| Queue::default()).collect(),
            workers: (0..scenario.workers).map(worker).collect(),
            policies: BTreeMap::new(),
            session: Session::new(at, boot, &scenario.config),
            disk: Disk::default(),
            born: world.now,
        }
    }

    /// What its process's clock says at `now`.
    pub(crate) fn local(&self, now: Moment) -> Moment {
        Moment::ZERO + now.since(self.born)
    }

    /// When its clock says `local`.
    pub(crate) fn global(&self, local: Moment) -> Moment {
        self.born + local.since(Moment::ZERO)
    }
}

impl World {
    /// The sidecar's process ends with everything it held; no request is told.
    pub(crate) fn kill_node(&mut self, at: usize) {
        self.nodes[at].up = false;
        self.requests.retain(|_, request| request.node != at);
        self.save(at);
        self.say(format_args!("n{at} dies"));
    }

    /// A new sidecar process starts, with or without what its predecessor had on disk.
    pub(crate) fn revive_node(&mut self, at: usize, with_disk: bool) {
        let boot = self.nodes[at].boot + 1;
        let disk = std::mem::take(&mut self.nodes[at].disk);
        self.nodes[at] = Node::boot(at, self, boot);
        self.checks.node_started(at);
        self.say(format_args!("n{at} starts its boot {boot}, disk {with_disk}"));
        if with_disk {
            let local = self.nodes[at].local(self.now);
            self.nodes[at].policies = disk.policies.clone();
            for (service, list) in disk.lists.iter().enumerate() {
                self.compile(at, service);
                let changes = self.nodes[at].services[service].directory.replace(local, list.clone());
                self.changed(at, service, &changes);
            }
            // It listens once its workers know what the disk knew.
            for (worker, service) in
                (0..self.scenario.workers).flat_map(|w| (0..disk.lists.len()).map(move |s| (w, s)))
            {
                self.view(at, boot, worker, service);
            }
            self.nodes[at].disk = disk;
        }
        self.after(Duration::from_millis(1), Event::Wake { node: at, boot });
    }

    /// Writes lists and policies to disk.
    pub(crate) fn save(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.services.iter().all(|service| service.known) {
            let lists = node.services.iter().map(|service| service.directory.told().clone()).collect();
            node.disk = Disk { lists, policies: node.policies.clone() };
        }
    }

    /// A list changed. Returns false when it is a change of another list and everything must be asked for.
    pub(crate) fn list_news(&mut self, at: usize, service: usize, delta: &Delta) -> bool {
        let local = self.nodes[at].local(self.now);
        let entry = &mut self.nodes[at].services[service];
        if !delta.known {
            return true;
        }
        let Ok(changes) = entry.directory.tell(local, Teller::FIRST, delta) else { return false };
        for removal in delta.remove.iter().filter(|removal| removal.cause.willed()) {
            entry.gone.insert(removal.key.clone());
        }
        for instance in &delta.upsert {
            entry.gone.remove(&instance.key);
        }
        self.list_told(at, service);
        self.changed(at, service, &changes);
        true
    }

    /// The endpoints of a service changed: the workers hear of it one after the other.
    pub(crate) fn changed(&mut self, at: usize, service: usize, changes: &Changes) {
        let node = &mut self.nodes[at];
        node.services[service].known = true;
        let (boot, workers) = (node.boot, node.workers.len());
        self.list_changed(at, service, changes);
        for worker in 0..workers {
            let delay = self.dice.micros(0, 2_000);
            self.after(delay, Event::View { node: at, boot, worker, service });
        }
    }

    /// A worker hears how a service is now.
    pub(crate) fn view(&mut self, at: usize, boot: u32, worker: usize, service: usize) {
        let node = &mut self.nodes[at];
        if node.boot != boot || !node.up {
            return;
        }
        let known = &node.services[service];
        let (list, plan, gone) = (known.directory.current(), known.plan.clone(), known.gone.clone());
        node.workers[worker].views[service] = View { list, plan: Some(plan), gone };
    }

    /// Compiles a service's plan from the policies in force here.
    pub(crate) fn compile(&mut self, at: usize, service: usize) {
        let node = &mut self.nodes[at];
        let entry = &mut node.services[service];
        let held = node.policies.get(&entry.key.namespace);
        let settings = held.map(|held| held.set.clone()).unwrap_or_default().settle(&entry.key);
        let plan = ServicePlan::compile(&entry.key, &settings, entry.cell.clone(), Some(&entry.plan));
        entry.directory.want(plan.wants());
        entry.plan = Arc::new(plan);
    }
}
