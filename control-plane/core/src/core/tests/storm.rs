//! A list that never rests, and more watchers than the budget can tell at once: nobody starves, nobody else waits.

use std::collections::BTreeMap;

use api::message::{Deregister, News, Watch};
use api::{Cause, Digest, Instance, List, Moment, ServiceKey};

use super::World;
use crate::WatcherId;

/// Bytes a second: a round of the restless list takes some seconds.
const BUDGET: u64 = 200_000;

const WATCHERS: usize = 200;

/// Instances of the restless list; one leaves or comes back each [`EVERY`].
const RESTLESS: u16 = 60;

/// Milliseconds.
const EVERY: u64 = 50;

fn at(service: &str, port: u16) -> Instance {
    Instance::at(service.parse().unwrap(), ([10, 0, 0, 1], port).into())
}

/// What each watcher holds, and since when it was not told of a change of each list.
struct Storm {
    world: World,
    copies: BTreeMap<WatcherId, BTreeMap<ServiceKey, List>>,
    changed: BTreeMap<ServiceKey, Vec<u64>>,
    /// The longest that anybody waited, in milliseconds, by service.
    oldest: BTreeMap<ServiceKey, u64>,
    sent: Vec<(u64, usize)>,
    whole: usize,
}

impl Storm {
    fn hear(&mut self, millis: u64) {
        for (id, news) in self.world.core.news(Moment::from_millis(millis)) {
            for news in &news {
                self.sent.push((millis, news.wire_bytes()));
                let News::List(delta) = &**news else { panic!("{news:?}") };
                self.whole += usize::from(delta.base == Digest::EMPTY);
                let copy = self.copies.get_mut(&id).unwrap().get_mut(&delta.service).unwrap();
                let changes = self.changed.get(&delta.service).map_or(&[][..], |at| at);
                if let Some(first) = changes.get(copy.revision as usize) {
                    let oldest = self.oldest.entry(delta.service.clone()).or_default();
                    *oldest = (*oldest).max(millis - first);
                }
                *copy = delta.apply(copy).unwrap();
            }
        }
    }

    /// Puts `instance` in or takes it out.
    fn change(&mut self, session: &str, instance: Instance, there: bool, millis: u64) {
        let now = Moment::from_millis(millis);
        self.changed.entry(instance.key.service.clone()).or_default().push(millis);
        if there {
            self.world.core.register(session, instance, now).unwrap();
        } else {
            let out = Deregister { key: instance.key, cause: Cause::Deregistered };
            self.world.core.deregister(session, &out, now).unwrap();
        }
    }
}

#[test]
fn a_list_that_never_rests_starves_nobody_and_holds_up_no_removal() {
    let mut config = api::config::ControlPlaneConfig::default();
    config.push.budget = api::schema::Switch::On(api::Size::bytes(BUDGET));
    let mut core = crate::ControlCore::new(&config, "store", Moment::ZERO);
    core.load(crate::Loaded::default(), Moment::ZERO).unwrap();
    let mut world = World { core, now: 0, events: Vec::new() };
    let instances = (1..=RESTLESS).map(|port| at("restless", port)).chain([at("leaves", 1), at("leaves", 2)]);
    let session = world.open_at(1, 1, instances.collect());
    world.pass(31, std::slice::from_ref(&session));
    let services: Vec<ServiceKey> =
        ["restless", "leaves", "comes"].iter().map(|name| name.parse().unwrap()).collect();
    let lists: BTreeMap<ServiceKey, List> = services
        .iter()
        .map(|key| (key.clone(), world.core.query(key).unwrap_or_else(|_| List::empty(key.clone()))))
        .collect();
    let asked: BTreeMap<ServiceKey, Digest> =
        lists.iter().map(|(key, list)| (key.clone(), list.digest)).collect();
    let mut copies = BTreeMap::new();
    for _ in 0..WATCHERS {
        let watch = Watch { lists: asked.clone(), ..Watch::default() };
        let (id, _) = world.core.subscribe(&watch, world.now()).unwrap();
        copies.insert(id, lists.clone());
    }
    let first = |key: &ServiceKey| vec![0; lists[key].revision as usize];
    let changed = services.iter().map(|key| (key.clone(), first(key))).collect();
    let mut storm = Storm { world, copies, changed, oldest: BTreeMap::new(), sent: Vec::new(), whole: 0 };
    let start = storm.world.now * 1_000;
    for millis in (start..start + 20_000).step_by(10) {
        if millis % 1_000 == 0 {
            storm.world.pass(1, std::slice::from_ref(&session));
        }
        if millis % EVERY == 0 {
            let turn = (millis / EVERY) as u16;
            // Who left comes back as the ninth after it leaves.
            let (port, there) = (turn / 2 % RESTLESS + 1, turn % 2 == 1);
            let port = if there { (port + RESTLESS - 10) % RESTLESS + 1 } else { port };
            storm.change(&session, at("restless", port), there, millis);
        }
        if millis == start + 10_000 {
            storm.change(&session, at("comes", 1), true, millis);
            storm.change(&session, at("leaves", 1), false, millis);
        }
        storm.hear(millis);
    }
    (start + 20_000..start + 30_000).step_by(10).for_each(|millis| storm.hear(millis));

    for second in (start..start + 20_000).step_by(100) {
        let within = storm.sent.iter().filter(|(at, _)| (second..second + 1_000).contains(at));
        let bytes: usize = within.map(|(_, bytes)| bytes).sum();
        assert!(bytes <= 1_120_000 * BUDGET as usize / 1_000_000, "{bytes} within a second from {second} ms");
    }
    let all: usize = storm.sent.iter().map(|(_, bytes)| bytes).sum();
    assert!(all > 15 * BUDGET as usize, "and the budget is short: {all} bytes");
    assert_eq!(storm.whole, WATCHERS, "whole is only the list that nobody was in");
    let oldest: Vec<u64> = services.iter().map(|key| storm.oldest[key]).collect();
    let [restless, leaves, comes] = oldest[..] else { panic!("{oldest:?}") };
    assert!(restless < 10_000, "{oldest:?}");
    assert!(leaves < 1_500 && leaves <= comes && comes < 7_000, "{oldest:?}");
    for (key, list) in &lists {
        let now = storm.world.core.query(key).unwrap_or_else(|_| list.clone());
        assert!(storm.copies.values().all(|held| held[key].digest == now.digest), "{key}");
    }
}
