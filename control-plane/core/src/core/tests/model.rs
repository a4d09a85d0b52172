//! Random operations against a model that is too simple to be wrong.
//!
//! The model keeps a map of who owns which instance and when each session was heard. It learns of expiry and
//! absence from the events alone and asks of each: was its owner silent for 90 s or did it leave the instance
//! out, is a live lease's instance left alone, is it not the last one? Whatever leaves without its owner's word,
//! by expiry, absence or a mask, before and after restarts, stays within the blast radius of its interval unless
//! a drain was planned. A watcher that applies every delta must hold the same lists.

use std::collections::{BTreeMap, BTreeSet};

use api::message::{Deregister, DigestCheck, News, Watch};
use api::story::Why;
use api::{
    Cause, Digest, Effect, Instance, InstanceKey, List, NodeName, Override, PlannedDrain, ServiceKey, Share,
    Span,
};
use proptest::prelude::*;

use super::{World, opening};
use crate::core::{ControlCore, Loaded};
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
    Mask { port: u16, secs: u64 },
    Drain { share: u32, secs: u64 },
    Restart,
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
    /// What its session left out when it last said everything.
    left_out: BTreeSet<InstanceKey>,
    /// Until when what is masked, by the name of the mask, which is the port.
    masked: BTreeMap<u16, u64>,
    /// Until when how much may leave by plan.
    drain: Option<(u64, u64)>,
    /// Who was taken out by which boot, and until when older ones may not bring it back.
    buried: BTreeMap<InstanceKey, (u64, u64)>,
    /// When something left without its owner's word, and how many were shown before.
    left: BTreeMap<ServiceKey, Vec<(u64, u64)>>,
    restarted: u64,
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

/// Who watches, and registers nothing.
fn viewer() -> NodeName {
    "viewer".parse().unwrap()
}

fn watch(lists: BTreeMap<ServiceKey, Digest>) -> Watch {
    Watch { node: Some(viewer()), lists, ..Watch::default() }
}

impl Model {
    fn new() -> Self {
        let mut world = World::ready();
        let lists = services().map(|service| (service, Digest::EMPTY)).into();
        let (watcher, _) = world.core.subscribe(&watch(lists), world.now()).unwrap();
        Self {
            world,
            sessions: BTreeMap::new(),
            listed: BTreeMap::new(),
            heard: BTreeMap::new(),
            left_out: BTreeSet::new(),
            masked: BTreeMap::new(),
            drain: None,
            buried: BTreeMap::new(),
            left: BTreeMap::new(),
            restarted: 0,
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
        let buried = self.buried.get(&instance.key);
        let buried = buried.is_some_and(|(epoch, until)| *epoch > known.epoch && now < *until);
        if !newer && !buried {
            self.left_out.remove(&instance.key);
            self.buried.remove(&instance.key);
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
                instances.iter().for_each(|instance| self.says(&known, instance.clone()));
                let said = |key: &InstanceKey| instances.iter().any(|instance| instance.key == *key);
                let unsaid =
                    self.listed.iter().filter(|(key, (_, _, of))| *of == known.session && !said(key));
                let unsaid: Vec<_> = unsaid.map(|(key, _)| key.clone()).collect();
                self.left_out.extend(unsaid);
                self.hear_events();
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
                    self.takes_out(&key);
                }
            }
            Op::Close { node } => {
                let Some(known) = self.hears_if_there(node) else { return };
                self.world.core.close_session(&known.session, now).unwrap();
                self.sessions.remove(&node);
                self.heard.remove(&known.session);
                let held = self.listed.iter().filter(|(_, (_, _, session))| *session == known.session);
                let held: Vec<_> = held.map(|(key, _)| key.clone()).collect();
                held.iter().for_each(|key| self.takes_out(key));
            }
            Op::Mask { port, secs } => self.mask(port, secs),
            Op::Drain { share, secs } => {
                let said = PlannedDrain {
                    services: services().into(),
                    nodes: [].into(),
                    share: Share::percent(share),
                    owner: "ann".into(),
                    reason: "model".into(),
                    ttl: Span::secs(secs),
                };
                self.world.core.put_exception("d".parse().unwrap(), said, now).unwrap();
                self.drain = Some((self.world.now + secs, u64::from(share)));
            }
            Op::Restart => self.restart(),
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

    fn takes_out(&mut self, key: &InstanceKey) {
        if let Some((_, epoch, _)) = self.listed.remove(key) {
            self.left_out.remove(key);
            self.buried.insert(key.clone(), (epoch, self.world.now + 180));
        }
    }

    fn mask(&mut self, port: u16, secs: u64) {
        let said = Override {
            node: None,
            instance: Some(instance(port, 100).key),
            effect: Effect::Mask,
            weight: None,
            owner: "ann".into(),
            reason: "model".into(),
            ttl: Span::secs(secs),
        };
        let key = instance(port, 100).key;
        let (shown, before) = (self.shows(&key), self.count(&key.service));
        let put = self.world.core.put_exception(format!("p{port}").parse().unwrap(), said, self.world.now());
        if put.is_ok() {
            self.masked.insert(port, self.world.now + secs);
            if shown {
                self.leaves(&key.service, before);
            }
        }
    }

    /// The process ends and starts from its snapshot; every sidecar has to open its session again.
    fn restart(&mut self) {
        let now = self.world.now();
        let snapshot = self.world.core.snapshot();
        let overrides = self.world.core.exceptions::<Override>(now).unwrap();
        let drains = self.world.core.exceptions::<PlannedDrain>(now).unwrap();
        let mut core = ControlCore::new(&api::config::ControlPlaneConfig::default(), "store", now);
        let loaded = Loaded {
            snapshot: Some(snapshot),
            overrides: overrides.into_iter().map(|o| (o.name, o.said, o.left.duration())).collect(),
            drains: drains.into_iter().map(|d| (d.name, d.said, d.left.duration())).collect(),
            ..Loaded::default()
        };
        core.load(loaded, now).unwrap();
        self.world.core = core;
        self.restarted = self.world.now;
        self.sessions.clear();
        // What a session left out is nobody's knowledge any more: it has to leave it out again.
        self.left_out.clear();
        self.left.clear();
        self.buried.values_mut().for_each(|(_, until)| *until = self.world.now + 180);
        self.heard.values_mut().for_each(|heard| *heard = self.world.now);
        self.revisions.clear();
        let lists = self.copies.iter().map(|(service, copy)| (service.clone(), copy.digest)).collect();
        let (watcher, first) = self.world.core.subscribe(&watch(lists), now).unwrap();
        self.watcher = watcher;
        first.iter().for_each(|news| self.apply(news));
        // Until warm-up is over answers only add, and copies are not compared.
        (0..31).for_each(|_| self.second());
    }

    fn second(&mut self) {
        self.world.core.take_events();
        self.world.now += 1;
        self.masked.retain(|_, until| *until > self.world.now);
        self.drain = self.drain.filter(|(until, _)| *until > self.world.now);
        self.buried.retain(|_, (_, until)| *until > self.world.now);
        self.world.events.clear();
        self.world.tick();
        let events = std::mem::take(&mut self.world.events);
        self.learn(events);
        self.listen();
    }

    /// Learns what the core made of an operation.
    fn hear_events(&mut self) {
        let events = self.world.core.take_events();
        self.learn(events);
    }

    fn learn(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Removed { cause: Cause::Deregistered | Cause::Drained | Cause::Masked, .. } => {}
                Event::Removed { key, cause } => self.went(&key, cause),
                Event::SessionExpired { session } => {
                    self.heard.remove(&session.to_string());
                }
                _ => {}
            }
        }
        // What nobody sees may leave without a word.
        let gone = |key: &InstanceKey| self.world.core.registered(key);
        self.listed.retain(|key, _| !self.masked.contains_key(&key.port) || gone(key));
        self.left_out.retain(|key| self.listed.contains_key(key));
    }

    fn went(&mut self, key: &InstanceKey, cause: Cause) {
        let (now, before) = (self.world.now, self.count(&key.service));
        let (_, _, owner) = self.listed.remove(key).expect("only what is listed leaves");
        let silent = now - self.heard[&owner];
        let planned = self.drain.is_some();
        if self.left_out.remove(key) {
            assert!(matches!(cause, Cause::Absent | Cause::Expired));
        } else {
            assert_eq!(cause, Cause::Expired);
            assert!(silent >= 90, "{key} was heard {silent} s ago");
            let allowed = silent >= 3_600 || self.drain.is_some_and(|(_, share)| share == 100);
            assert!(self.count(&key.service) > 0 || allowed, "{key} was the last one, planned: {planned}");
        }
        self.leaves(&key.service, before);
    }

    /// One of `service`, of which `before` were shown, left without its owner's word.
    fn leaves(&mut self, service: &ServiceKey, before: u64) {
        let now = self.world.now;
        let left = self.left.entry(service.clone()).or_default();
        left.push((now, before));
        left.retain(|(at, _)| now - at < 60);
        let careful = now < self.restarted + 60;
        let share = self.drain.map_or(if careful { 0 } else { 15 }, |(_, share)| share.max(15));
        // What was shown when the interval began, whatever its owners added or took out since.
        let shown = left.iter().map(|(_, before)| *before).max().unwrap() + left.len() as u64;
        let most = (shown * share / 100).max(1);
        assert!(left.len() as u64 <= most, "{} left of {shown} within 60 s, {most} may", left.len());
    }

    fn shows(&self, key: &InstanceKey) -> bool {
        self.listed.contains_key(key) && !self.masked.contains_key(&key.port)
    }

    fn count(&self, service: &ServiceKey) -> u64 {
        self.listed.keys().filter(|key| key.service == *service && self.shows(key)).count() as u64
    }

    fn listen(&mut self) {
        for (watcher, news) in self.world.core.news(self.world.now()) {
            assert_eq!(watcher, self.watcher);
            news.iter().for_each(|news| self.apply(news));
        }
    }

    fn apply(&mut self, news: &News) {
        let News::List(delta) = news else { panic!("{news:?}") };
        let copy = self.copies.get_mut(&delta.service).unwrap();
        *copy = delta.apply(copy).expect("each change fits the one before");
    }

    fn compare(&mut self) {
        for service in services() {
            let wanted =
                self.listed.values().filter(|(i, ..)| i.key.service == service && self.shows(&i.key));
            let wanted = List::new(service.clone(), 0, wanted.map(|(i, ..)| i.clone()).collect());
            let Ok(list) = self.world.core.query(&service) else { continue };
            assert_eq!(list.instances, wanted.instances);
            assert_eq!(list.digest, wanted.digest);
            let before = self.revisions.insert(service, list.revision).unwrap_or(0);
            assert!(before <= list.revision, "revisions only rise");
        }
        (0..24).for_each(|port| self.explain(&instance(port, 100).key));
    }

    /// Every reason that is told is true, who is absent has one, and who is there has none; and of the viewer's part it
    /// is told exactly where what it holds of the instance is not what its list says, or where that is not known.
    fn explain(&self, key: &InstanceKey) {
        let address = (key.ip, key.port).into();
        let now = self.world.now();
        let story = self.world.core.explain_instance(&key.service, address, None, now).unwrap();
        assert_eq!(story.listed, self.shows(key), "{story:?}");
        assert_eq!(story.reasons.is_empty(), story.listed, "{story:?}");
        let there = self.listed.contains_key(key);
        for because in &story.reasons {
            let true_of_it = match because.why {
                Why::NoSuchService => self.world.core.service(&key.service).is_err(),
                Why::NotRegistered | Why::Deregistered | Why::Expired | Why::Absent => !there,
                Why::Masked => there && self.masked.contains_key(&key.port),
                _ => false,
            };
            assert!(true_of_it, "{because:?} of {key}, there: {there}");
        }
        let taken_out = story.reasons.iter().any(|because| because.why == Why::Deregistered);
        assert!(taken_out || there || !self.buried.contains_key(key), "{story:?}");

        let core = &self.world.core;
        let mut seen = core.explain_instance(&key.service, address, Some(&viewer()), now).unwrap();
        let behind = seen.reasons.pop_if(|because| because.why == Why::ViewerBehind).is_some();
        let (copy, shown) = (&self.copies[&key.service], self.listed.get(key).filter(|_| self.shows(key)));
        let copied = copy.instances.iter().find(|instance| instance.key == *key);
        let lags = copy.digest != core.registry.digest(&key.service);
        // Of a list that nobody remembers it is not known what has changed since.
        let remembered = core.registry.differs_since(key, copy.digest).is_some();
        let wanted = lags && (!remembered || copied != shown.map(|(instance, ..)| instance));
        assert_eq!(behind, wanted, "{seen:?}");
        assert_eq!(seen.reasons, story.reasons, "a viewer changes nothing else");
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
        3 => (1..24_u16, 1..200_u64).prop_map(|(port, secs)| Op::Mask { port, secs }),
        1 => (0..101_u32, 1..200_u64).prop_map(|(share, secs)| Op::Drain { share, secs }),
        1 => Just(Op::Restart),
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
        let check = DigestCheck { lists: services().into(), ..DigestCheck::default() };
        let said = model.world.core.digests(&check, model.world.now()).unwrap().lists;
        for (service, copy) in &model.copies {
            // Of a list in which it saw nobody a control plane that restarted says nothing: who holds one knows more.
            let digest = said.get(service).copied().unwrap_or(copy.digest);
            prop_assert_eq!(copy.digest, digest);
        }
    }
}
