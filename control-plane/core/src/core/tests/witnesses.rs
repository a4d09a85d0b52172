//! What sidecars see, against what leases say.

use std::collections::BTreeSet;

use api::message::{Beat, Watch};
use api::{Digest, InstanceKey};

use super::{World, instance, service};

/// `callers` that watch `s` and register nothing, and `apps` with an instance each.
struct Fleet {
    world: World,
    callers: Vec<String>,
    apps: Vec<String>,
}

impl Fleet {
    fn new(callers: u8, apps: u8) -> Self {
        let mut world = World::ready();
        let apps = (1..=apps).map(|n| world.open(n)).collect();
        let callers = (0..callers).map(|n| world.open_at(100 + n, 1, Vec::new())).collect();
        for _ in 0..world.core.sessions(world.now()).unwrap().len() {
            let lists = [(service(), Digest::EMPTY)].into();
            world.core.subscribe(&Watch { lists, ..Watch::default() }, world.now()).unwrap();
        }
        Self { world, callers, apps }
    }

    /// A minute passes; apps beat but those in `silent`, callers beat and say what they see of `key`: the first
    /// `liars` the opposite of what is true, the others whether it `serves`.
    fn minute(&mut self, silent: &[usize], key: &InstanceKey, (serves, liars): (bool, usize)) {
        for second in 0..60 {
            if second % 10 == 0 {
                let now = self.world.now();
                for (at, caller) in self.callers.iter().enumerate() {
                    let seen: BTreeSet<_> = [key.clone()].into();
                    let (serve, fail) = match serves != (at < liars) {
                        true => (seen, BTreeSet::new()),
                        false => (BTreeSet::new(), seen),
                    };
                    self.world.core.beat(caller, Beat { serve, fail, ..Beat::default() }, now).unwrap();
                }
                for (at, app) in self.apps.clone().iter().enumerate() {
                    if !silent.contains(&at) {
                        self.world.beat(app);
                    }
                }
            }
            self.world.pass(1, &[]);
        }
    }
}

#[test]
fn who_serves_but_cannot_beat_is_kept_and_leaves_once_nobody_sees_it_serve() {
    let mut fleet = Fleet::new(10, 4);
    let key = instance(1, 80).key;
    for _ in 0..70 {
        fleet.minute(&[0], &key, (true, 0));
    }
    assert_eq!(fleet.world.listed(), [1, 2, 3, 4], "also after the ceiling");
    assert!(fleet.world.core.service(&service()).unwrap().held.contains("witnesses"));
    (0..3).for_each(|_| fleet.minute(&[0], &key, (false, 0)));
    assert_eq!(fleet.world.listed(), [2, 3, 4]);
}

#[test]
fn who_beats_but_hangs_leaves_and_comes_back_when_its_time_is_over() {
    let mut fleet = Fleet::new(10, 4);
    let key = instance(1, 80).key;
    fleet.minute(&[], &key, (false, 0));
    assert_eq!(fleet.world.listed(), [2, 3, 4]);
    assert_eq!(fleet.world.count("seen-hanging"), 1);
    // Healed: it shows itself again and stays.
    (0..3).for_each(|_| fleet.minute(&[], &key, (true, 0)));
    assert_eq!(fleet.world.listed(), [1, 2, 3, 4]);
}

#[test]
fn a_lying_fifth_changes_nothing() {
    let key = instance(1, 80).key;
    for serves in [true, false] {
        for silent in [&[][..], &[0]] {
            let outcome = |liars| {
                let mut fleet = Fleet::new(10, 4);
                let mut listed = Vec::new();
                for _ in 0..6 {
                    fleet.minute(silent, &key, (serves, liars));
                    listed.push(fleet.world.listed());
                }
                listed
            };
            assert_eq!(outcome(0), outcome(2), "serves: {serves}, silent: {silent:?}");
        }
    }
}

#[test]
fn a_few_who_speak_while_most_say_nothing_decide_nothing() {
    let mut fleet = Fleet::new(10, 4);
    fleet.callers.truncate(2);
    let key = instance(1, 80).key;
    fleet.minute(&[], &key, (false, 0));
    assert_eq!(fleet.world.listed(), [1, 2, 3, 4]);
}

#[test]
fn the_last_one_is_never_taken_for_hanging_and_doubts_are_asked_about() {
    let mut fleet = Fleet::new(3, 1);
    let key = instance(1, 80).key;
    (0..3).for_each(|_| fleet.minute(&[], &key, (false, 0)));
    assert_eq!(fleet.world.listed(), [1]);
    let heard = fleet.world.core.beat(&fleet.callers[0], Beat::default(), fleet.world.now()).unwrap();
    assert_eq!(heard.doubted, [key].into());
}
