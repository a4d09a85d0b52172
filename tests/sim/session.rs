//! A node's side of its session: opens, beats, asserts its instances, watches, compares digests.
//!
//! The decisions are the cores' (`Heart`, `Reconnect`, `Directory`); what is written here is the order of
//! calls that the sidecar's control thread makes, with each of its time-outs as a plain comparison.

mod hearing;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use api::config::ControlPlaneConfig;
use api::message::{Beat, Deregister, DigestCheck, News, OpenSession, Watch, WatchMode};
use api::policy::Policy;
use api::{Cause, Digest, Instance, InstanceKey, Moment, Readiness};
use sidecar_core::heart::{Heart, Reconnect};

use crate::control::{Ask, Reply, ToControl};
use crate::node::Held;
use crate::world::{Event, World};

/// The control thread looks around this often.
const LOOK: Duration = Duration::from_millis(50);
/// A call that was not answered for so long failed.
const CALL: Duration = Duration::from_secs(1);
/// A held stream that was silent for so long is broken: three pings.
const SILENT: Duration = Duration::from_secs(6);
/// Digests are compared this often, the safety net; a third of what a sidecar does, as all times here.
const COMPARE: Duration = Duration::from_secs(5);

/// A message on its way to a node.
#[derive(Clone, Debug)]
pub(crate) struct ToNode {
    pub(crate) node: usize,
    pub(crate) boot: u32,
    pub(crate) what: Told,
}

/// What a node is told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// The answer to a call.
    Reply { call: u64, reply: Reply },
    /// News of a watch.
    News { stream: u64, news: Vec<Arc<News>> },
}

/// What a call is about; one of a kind is out at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Session,
    Instance(InstanceKey),
    Watch,
    Digests,
}

/// The state of a node's session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: Option<String>,
    boot: u32,
    heart: Heart,
    lease: Duration,
    reconnect: Reconnect,
    retry_at: Moment,
    out: BTreeMap<Kind, (u64, Moment)>,
    calls: u64,
    /// What the control plane acknowledged of each instance in this session; `None` after a call that was
    /// not answered, because it may yet take effect.
    acknowledged: BTreeMap<InstanceKey, Option<Instance>>,
    stream: Option<(u64, Moment)>,
    compare_at: Moment,
    poll: bool,
    /// Instance calls keep their order, as they do on one connection.
    last_arrival: Moment,
}

impl Session {
    /// No session yet.
    pub(crate) fn new(node: usize, boot: u32, config: &ControlPlaneConfig) -> Self {
        let lease = config.lease.expiry.duration();
        Self {
            id: None,
            boot,
            heart: Heart::new(Moment::ZERO, lease),
            lease,
            reconnect: Reconnect::new(1),
            retry_at: Moment::ZERO,
            out: BTreeMap::new(),
            calls: 0,
            acknowledged: BTreeMap::new(),
            stream: None,
            compare_at: Moment::ZERO + COMPARE,
            poll: node % 2 == 1,
            last_arrival: Moment::ZERO,
        }
    }

    /// The watch that is heard now; zero before the first.
    pub(crate) fn stream_id(&self) -> u64 {
        self.stream.map_or(0, |(stream, _)| stream)
    }

    fn end(&mut self, now: Moment) {
        self.id = None;
        self.acknowledged.clear();
        self.heart = Heart::new(now, self.lease);
    }
}

impl World {
    /// What the sidecar on `node` wants listed: its apps as their checks find them.
    pub(crate) fn wanted(&self, node: usize) -> Vec<Instance> {
        let mine = self.apps.iter().filter(|app| app.node == node && app.wanted);
        let checked = mine.map(|app| Instance {
            readiness: if app.listens() { Readiness::Ready } else { Readiness::Unready },
            ..app.instance.clone()
        });
        checked.collect()
    }

    /// The control thread of a node looks around.
    pub(crate) fn wake(&mut self, at: usize, boot: u32) {
        if !self.nodes[at].up || self.nodes[at].boot != boot {
            return;
        }
        self.after(LOOK, Event::Wake { node: at, boot });
        let local = self.nodes[at].local(self.now);
        self.late_calls(at, local);
        self.keep_session(at, local);
        self.keep_instances(at);
        self.keep_watch(at, local);
        for service in 0..self.nodes[at].services.len() {
            let directory = &mut self.nodes[at].services[service].directory;
            if directory.wake_at().is_some_and(|due| due <= local)
                && let Some(changes) = directory.review(local)
            {
                self.changed(at, service, &changes);
            }
        }
        if self.dice.chance(50) {
            self.save(at);
        }
    }

    fn late_calls(&mut self, at: usize, local: Moment) {
        let session = &mut self.nodes[at].session;
        let late = |(_, (_, until)): &(&Kind, &(u64, Moment))| *until <= local;
        let kinds: Vec<Kind> = session.out.iter().filter(late).map(|(kind, _)| kind.clone()).collect();
        for kind in kinds {
            session.out.remove(&kind);
            if let Kind::Instance(key) = &kind {
                session.acknowledged.insert(key.clone(), None);
            }
            if kind == Kind::Session {
                let dice = self.dice.next();
                if session.id.is_some() {
                    session.heart.tell_missed(local, dice);
                }
                session.retry_at = session.reconnect.tell_failed(local, None, dice);
            }
        }
    }

    fn keep_session(&mut self, at: usize, local: Moment) {
        let session = &self.nodes[at].session;
        if session.out.contains_key(&Kind::Session) || local < session.retry_at {
            return;
        }
        match session.id.clone() {
            None => {
                let open = OpenSession {
                    node: format!("n{at}").parse().expect("a node's name"),
                    boot: format!("b{}", session.boot),
                    epoch: u64::from(session.boot) + 1,
                    capabilities: Policy::capabilities(),
                    instances: self.wanted(at),
                };
                self.call(at, Kind::Session, Ask::Open(open));
            }
            Some(id) if session.heart.ask(local) => {
                let digests =
                    |(namespace, held): (&api::Namespace, &Held)| (namespace.clone(), held.set.digest());
                let policies = self.nodes[at].policies.iter().map(digests).collect();
                self.call(at, Kind::Session, Ask::Beat(id, Beat { policies, ..Beat::default() }));
            }
            Some(_) => {}
        }
    }

    fn keep_instances(&mut self, at: usize) {
        let Some(id) = self.nodes[at].session.id.clone() else { return };
        let wanted = self.wanted(at);
        let acknowledged = &self.nodes[at].session.acknowledged;
        let stale = acknowledged.keys().filter(|key| !wanted.iter().any(|instance| instance.key == **key));
        let stale: Vec<InstanceKey> = stale.cloned().collect();
        let new =
            |instance: &Instance| acknowledged.get(&instance.key).and_then(Option::as_ref) != Some(instance);
        let new: Vec<Instance> = wanted.into_iter().filter(new).collect();
        for key in stale {
            let out = Deregister { key: key.clone(), cause: Cause::Drained };
            self.call(at, Kind::Instance(key), Ask::Deregister(id.clone(), out));
        }
        for instance in new {
            self.call(at, Kind::Instance(instance.key.clone()), Ask::Register(id.clone(), instance));
        }
    }

    fn keep_watch(&mut self, at: usize, local: Moment) {
        let node = &self.nodes[at];
        let session = &node.session;
        let silent = session.stream.is_none_or(|(_, heard)| local.since(heard) >= SILENT);
        if silent && !session.out.contains_key(&Kind::Watch) && session.id.is_some() {
            let held =
                |service: &crate::node::Service| (service.key.clone(), service.directory.told().digest);
            let digest = |service: &crate::node::Service| {
                let namespace = service.key.namespace.clone();
                let held = node.policies.get(&namespace);
                (namespace, held.map_or(Digest::EMPTY, |held| held.set.digest()))
            };
            let watch = Watch {
                lists: node.services.iter().map(held).collect(),
                policies: node.services.iter().map(digest).collect(),
                mode: if session.poll { WatchMode::Poll } else { WatchMode::Stream },
                ..Watch::default()
            };
            let stream = u64::from(node.boot) << 32 | (session.calls + 1);
            self.nodes[at].session.stream = Some((stream, local));
            self.call(at, Kind::Watch, Ask::Watch(stream, watch));
        }
        let session = &mut self.nodes[at].session;
        if local >= session.compare_at && session.id.is_some() {
            session.compare_at = local + COMPARE;
            let services = &self.nodes[at].services;
            let lists = services.iter().map(|service| service.key.clone()).collect();
            self.call(at, Kind::Digests, Ask::Digests(DigestCheck { lists, ..DigestCheck::default() }));
        }
    }

    /// Sends a call, unless one of its kind is out.
    fn call(&mut self, at: usize, kind: Kind, ask: Ask) {
        let node = &mut self.nodes[at];
        let (local, boot) = (node.local(self.now), node.boot);
        let session = &mut node.session;
        if session.out.contains_key(&kind) {
            return;
        }
        session.calls += 1;
        let call = session.calls;
        let ordered = matches!(ask, Ask::Open(_) | Ask::Register(..) | Ask::Deregister(..));
        session.out.insert(kind, (call, local + CALL));
        let ask = Rc::new(ask);
        for delay in self.network.control(at).carry(&mut self.dice) {
            let mut arrives = self.now + delay;
            if ordered {
                let last = &mut self.nodes[at].session.last_arrival;
                arrives = arrives.max(*last + Duration::from_micros(1));
                *last = arrives;
            }
            self.at(arrives, Event::ToControl(ToControl { node: at, boot, call, ask: ask.clone() }));
        }
    }
}
