//! Random operations against a model that is too simple to be wrong.
//!
//! The model keeps a map of who owns which instance and when each session was heard. It learns of expiry from
//! the events alone and asks of each: was its owner silent for 90 s, is a live lease's instance left alone, is
//! the cap per 60 s kept, is it not the last one? A watcher that applies every delta must hold the same lists.

use std::collections::BTreeMap;

use api::message::{Deregister, News, Watch};
use api::{Cause, Digest, Instance, InstanceKey, List, ServiceKey};
use proptest::prelude::*;

use super::{World, opening};
use crate::event::Event;
use crate::watch::WatcherId;

#[derive(Clone, Debug)]
enum Op {
    Open { node: u8, epoch: u64, ports: Vec<u16> },
    Register { node: u8, port: u16, weight: u16 },
    Deregister { node: u8, port: u16 },
    Close { node: u8 },
    Beat { nodes: Vec<u8> },
    Pass { secs: u64 },
}

/// What the model knows of a node's latest session.
#[derive(Clone, Debug)]
struct Known {
    epoch: u64,
    session: String,
}

struct Model {
    world: World,
    sessions: BTreeMap<u8, Known>,
    /// Each instance with its owner's (epoch, session); when each session, also a replaced one, was heard.
    listed: BTreeMap<InstanceKey, (Instance, u64, String)>,
    heard: BTreeMap<String, u64>,
    swept: BTreeMap<ServiceKey, Vec<(u64, u64)>>,
    revisions: BTreeMap<ServiceKey, u64>,
    watcher: WatcherId,
    copies: BTreeMap<ServiceKey, List>,
}

fn services() -> [ServiceKey; 2] {
    ["a", "b"].map(|name| name.parse().unwrap())
}

/// Two nodes may name one address: the port says which service, the node only whose words they are.
fn instance(port: u16, weight: u16) -> Instance {
    let [a, b] = services();
    let service = if port.is_multiple_of(2) { a } else { b };
    Instance { weight, ..Instance::at(service, ([10, 0, 0, 1], port).into()) }
}

impl Model {
    fn new() -> Self {
        let mut world = World::ready();
        let lists = services().map(|service| (service, Digest::EMPTY)).into();
        let (watcher, _) = world.core.subscribe(&Watch { lists, ..Watch::default() }, world.now()).unwrap();
        Self {
            world,
            sessions: BTreeMap::new(),
            listed: BTreeMap::new(),
            heard: BTreeMap::new(),
            swept: BTreeMap::new(),
            revisions: BTreeMap::new(),
            watcher,
            copies: services().map(|service| (service.clone(), List::empty(service))).into(),
        }
    }

    fn says(&mut self, known: &Known, instance: Instance) {
        let now = self.world.now;
        let there = self.listed.get(&instance.key);
        let newer = there.is_some_and(|(_, epoch, session)| {
            let dead = self.heard.get(session).is_none_or(|heard| now - heard >= 90);
            (*epoch, session) > (known.epoch, &known.session) && !dead
        });
        if !newer {
            self.listed.insert(instance.key.clone(), (instance, known.epoch, known.session.clone()));
        }
    }

    fn hears(&mut self, node: u8) -> Option<Known> {
        let known = self.sessions.get(&node)?.clone();
        self.heard.insert(known.session.clone(), self.world.now);
        Some(known)
    }

    fn run(&mut self, op: Op) {
        let now = self.world.now();
        match op {
            Op::Open { node, epoch, mut ports } => {
                ports.sort_unstable();
                ports.dedup();
                let instances: Vec<Instance> = ports.iter().map(|port| instance(*port, 100)).collect();
                let opened = self.world.core.open_session(opening(node, epoch, instances.clone()), now);
                let known = Known { epoch, session: opened.unwrap().session };
                self.sessions.insert(node, known);
                let known = self.hears(node).unwrap();
                let said = |key: &InstanceKey| instances.iter().any(|instance| instance.key == *key);
                self.listed.retain(|key, (_, _, session)| *session != known.session || said(key));
                instances.into_iter().for_each(|instance| self.says(&known, instance));
            }
            Op::Register { node, port, weight } => {
                let Some(known) = self.hears_if_there(node) else { return };
                let _newer_boot = self.world.core.register(&known.session, instance(port, weight), now);
                self.says(&known, instance(port, weight));
            }
            Op::Deregister { node, port } => {
                let Some(known) = self.hears_if_there(node) else { return };
                let key = instance(port, 100).key;
                let out = Deregister { key: key.clone(), cause: Cause::Deregistered };
                self.world.core.deregister(&known.session, &out, now).unwrap();
                if self.listed.get(&key).is_some_and(|(_, _, session)| *session == known.session) {
                    self.listed.remove(&key);
                }
            }
            Op::Close { node } => {
                let Some(known) = self.hears_if_there(node) else { return };
                self.world.core.close_session(&known.session, now).unwrap();
                self.sessions.remove(&node);
                self.heard.remove(&known.session);
                self.listed.retain(|_, (_, _, session)| *session != known.session);
            }
            Op::Beat { nodes } => {
                for node in nodes {
                    if let Some(known) = self.hears_if_there(node) {
                        self.world.beat(&known.session);
                    }
                }
            }
            Op::Pass { secs } => (0..secs).for_each(|_| self.second()),
        }
        self.compare();
    }

    /// As [`Model::hears`], for a session that the core still has.
    fn hears_if_there(&mut self, node: u8) -> Option<Known> {
        let session = self.sessions.get(&node)?.session.clone();
        let there = self.world.core.sessions(self.world.now()).unwrap();
        if there.iter().any(|view| view.session == session) {
            return self.hears(node);
        }
        self.sessions.remove(&node);
        None
    }

    fn second(&mut self) {
        self.world.core.take_events();
        self.world.now += 1;
        let counts: BTreeMap<ServiceKey, u64> =
            services().map(|service| (service.clone(), self.count(&service))).into();
        self.world.events.clear();
        self.world.tick();
        for event in std::mem::take(&mut self.world.events) {
            match event {
                Event::Removed { key, cause } => self.expired(&key, cause, counts[&key.service]),
                Event::SessionExpired { session } => {
                    self.heard.remove(&session.to_string());
                }
                _ => {}
            }
        }
        self.listen();
    }

    fn expired(&mut self, key: &InstanceKey, cause: Cause, count: u64) {
        let now = self.world.now;
        let (_, _, owner) = self.listed.remove(key).expect("only what is listed leaves");
        let silent = now - self.heard[&owner];
        assert_eq!(cause, Cause::Expired);
        assert!(silent >= 90, "{key} was heard {silent} s ago");
        assert!(self.count(&key.service) > 0 || silent >= 3_600, "{key} was the last one");
        let swept = self.swept.entry(key.service.clone()).or_default();
        swept.push((now, count));
        let lately: Vec<_> = swept.iter().filter(|(at, _)| now - at < 60).collect();
        let most = lately.iter().map(|(_, count)| (count * 15 / 100).max(1)).max().unwrap();
        assert!(lately.len() as u64 <= most, "{} left of {count} within 60 s", lately.len());
    }

    fn count(&self, service: &ServiceKey) -> u64 {
        self.listed.keys().filter(|key| key.service == *service).count() as u64
    }

    fn listen(&mut self) {
        for (watcher, news) in self.world.core.news(self.world.now()) {
            assert_eq!(watcher, self.watcher);
            for news in news {
                let News::List(delta) = &*news else { panic!("{news:?}") };
                let copy = self.copies.get_mut(&delta.service).unwrap();
                *copy = delta.apply(copy).expect("each change fits the one before");
            }
        }
    }

    fn compare(&mut self) {
        for service in services() {
            let wanted = self.listed.values().filter(|(i, ..)| i.key.service == service);
            let wanted = List::new(service.clone(), 0, wanted.map(|(i, ..)| i.clone()).collect());
            let Ok(list) = self.world.core.query(&service) else { continue };
            assert_eq!(list.instances, wanted.instances);
            assert_eq!(list.digest, wanted.digest);
            let before = self.revisions.insert(service, list.revision).unwrap_or(0);
            assert!(before <= list.revision, "revisions only rise");
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (node, port) = (0..6_u8, 1..24_u16);
    let op = prop_oneof![
        3 => (node.clone(), 1..4_u64, prop::collection::vec(port.clone(), 0..8))
            .prop_map(|(node, epoch, ports)| Op::Open { node, epoch, ports }),
        4 => (node.clone(), port.clone(), 1..3_u16)
            .prop_map(|(node, port, weight)| Op::Register { node, port, weight }),
        2 => (node.clone(), port).prop_map(|(node, port)| Op::Deregister { node, port }),
        1 => node.clone().prop_map(|node| Op::Close { node }),
        6 => prop::collection::vec(node, 0..6).prop_map(|nodes| Op::Beat { nodes }),
        6 => (1..70_u64).prop_map(|secs| Op::Pass { secs }),
    ];
    prop::collection::vec(op, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_agree_with_the_naive_model(ops in ops()) {
        let mut model = Model::new();
        for op in ops {
            model.run(op);
        }
        // Whatever is pending travels within the longest gap.
        model.second();
        model.second();
        model.compare();
        for (service, copy) in &model.copies {
            let digest = model.world.core.query(service).map_or(Digest::EMPTY, |list| list.digest);
            prop_assert_eq!(copy.digest, digest);
        }
    }
}
