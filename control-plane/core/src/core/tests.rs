//! The whole core under plain values: scenarios, news, and random operations against a naive model.
#![allow(clippy::unwrap_used, reason = "tests")]

mod exceptions;
mod explains;
mod model;
mod news;
mod quotas;
mod scenarios;
mod storm;
mod witnesses;

use std::collections::BTreeSet;

use api::config::ControlPlaneConfig;
use api::message::{Beat, OpenSession};
use api::{Instance, InstanceKey, Moment, ServiceKey};

use super::{ControlCore, Loaded};
use crate::event::Event;
use crate::snapshot::Snapshot;

/// A core and its clock; ticks every second as a shell does.
struct World {
    core: ControlCore,
    now: u64,
    events: Vec<Event>,
}

impl World {
    /// A control plane that loaded `snapshot` at second zero.
    fn restarted(snapshot: Option<Snapshot>) -> Self {
        let mut core = ControlCore::new(&ControlPlaneConfig::default(), "store", Moment::ZERO);
        core.load(Loaded { snapshot, ..Loaded::default() }, Moment::ZERO).unwrap();
        Self { core, now: 0, events: Vec::new() }
    }

    /// One that has long been ready.
    fn ready() -> Self {
        let mut world = Self::restarted(None);
        world.pass(31, &[]);
        world
    }

    fn now(&self) -> Moment {
        Moment::from_millis(self.now * 1_000)
    }

    /// Opens the session of node `n` with one instance of `s` on its own address.
    fn open(&mut self, n: u8) -> String {
        self.open_at(n, 1, vec![instance(n, 80)])
    }

    fn open_at(&mut self, n: u8, epoch: u64, instances: Vec<Instance>) -> String {
        let now = self.now();
        self.core.open_session(opening(n, epoch, instances), now).unwrap().session
    }

    fn beat(&mut self, session: &str) {
        let now = self.now();
        self.core.beat(session, Beat::default(), now).unwrap();
    }

    /// Lets `secs` seconds pass; `beating` sessions beat every 30 s.
    fn pass(&mut self, secs: u64, beating: &[String]) {
        for _ in 0..secs {
            self.now += 1;
            if self.now.is_multiple_of(30) {
                beating.iter().for_each(|session| self.beat(session));
            }
            self.tick();
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        self.core.tick(now, self.now);
        self.events.extend(self.core.take_events());
        assert!(self.core.wake_at() <= Some(Moment::from_millis(self.now * 1_000 + 1_000)));
    }

    /// Ports, or last address bytes, of what is listed of `s`.
    fn listed(&self) -> Vec<u8> {
        let list = self.core.query(&service()).unwrap();
        list.instances.iter().map(|i| last_byte(&i.key)).collect()
    }

    /// Words of the events since the start that are `word`.
    fn count(&self, word: &str) -> usize {
        self.events.iter().filter(|event| event.word() == word).count()
    }
}

fn service() -> ServiceKey {
    "s".parse().unwrap()
}

fn instance(n: u8, port: u16) -> Instance {
    Instance::at(service(), ([10, 0, 0, n], port).into())
}

fn opening(n: u8, epoch: u64, instances: Vec<Instance>) -> OpenSession {
    OpenSession {
        node: format!("n{n}").parse().unwrap(),
        boot: format!("boot-{epoch}"),
        epoch,
        capabilities: BTreeSet::new(),
        instances,
    }
}

fn last_byte(key: &InstanceKey) -> u8 {
    match key.ip {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    }
}
