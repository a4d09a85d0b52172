//! Who owns an instance, what a list says after each change, and what a receiver is told of it.
#![allow(clippy::unwrap_used, reason = "tests")]

use api::Removal;

use super::*;

fn at(port: u16) -> Instance {
    Instance::at("s".parse().unwrap(), ([10, 0, 0, 1], port).into())
}

fn owner(epoch: u64) -> Owner {
    Owner { epoch, lease: LeaseId::of_session("n", "b", epoch) }
}

fn stands(turn: Turn, before: Option<u64>) -> Registration {
    Registration::Stands { turn, before: before.map(|epoch| owner(epoch).lease) }
}

const NEW: Turn = Turn::Shows { added: true };
const CHANGED: Turn = Turn::Shows { added: false };

fn put(registry: &mut Registry, instance: Instance, epoch: u64) {
    registry.register(instance, owner(epoch), Over::default(), |_| true);
}

/// Registers each (epoch, weight) in turn on one key and compares what became of it and the revision.
fn check(steps: &[(u64, u16, bool, Registration, u64)]) {
    let mut registry = Registry::default();
    for (epoch, weight, alive, wanted, revision) in steps {
        let said = Instance { weight: *weight, ..at(1) };
        let told = registry.register(said, owner(*epoch), Over::default(), |_| *alive);
        assert_eq!((told, registry.revision(&at(1).key.service)), (*wanted, *revision), "{epoch} {weight}");
        assert_eq!(registry.broken(|_, _| true), Vec::<String>::new());
    }
}

#[test]
fn the_same_words_change_nothing_and_the_newest_boot_wins() {
    check(&[
        (5, 100, true, stands(NEW, None), 1),
        (5, 100, true, stands(Turn::Same, None), 1),
        (5, 50, true, stands(CHANGED, None), 2),
        (4, 100, true, Registration::OlderBoot, 2),
        (6, 50, true, stands(Turn::Same, Some(5)), 2),
        (4, 100, false, stands(CHANGED, Some(6)), 3),
    ]);
}

#[test]
fn an_older_owner_cannot_take_out_what_a_newer_one_has() {
    let mut registry = Registry::default();
    put(&mut registry, at(1), 1);
    put(&mut registry, at(1), 2);
    let remove = |registry: &mut Registry, by| registry.remove(&at(1).key, by, Cause::Deregistered);
    assert_eq!(remove(&mut registry, Some(owner(1).lease)), None);
    assert_eq!(remove(&mut registry, Some(owner(2).lease)), Some((owner(2), true)));
    assert_eq!(remove(&mut registry, None), None);
    assert!(registry.knows(&at(1).key.service), "a service without instances is still known");
    assert_eq!(registry.digest(&at(1).key.service), Digest::EMPTY);
}

#[test]
fn a_change_since_a_remembered_base_holds_the_difference_alone() {
    let mut registry = Registry::default();
    let service = at(1).key.service;
    put(&mut registry, at(1), 1);
    put(&mut registry, at(2), 1);
    let base = registry.digest(&service);
    put(&mut registry, at(3), 1);
    registry.remove(&at(1).key, None, Cause::Drained);
    let gone = vec![Removal { key: at(1).key, cause: Cause::Drained }];
    let wanted = Change { upsert: vec![at(3)], remove: gone.clone() };
    assert_eq!(registry.change_since(&service, base), Some(wanted));
    assert_eq!(registry.change_since(&service, Digest::of(b"never")), None);
    assert_eq!(registry.whole(&service), Change { upsert: vec![at(2), at(3)], remove: gone });
}

#[test]
fn who_flaps_and_is_back_as_it_was_is_no_news() {
    let mut registry = Registry::default();
    let service = at(1).key.service;
    for port in 1..=1_000 {
        put(&mut registry, at(port), 1);
    }
    let base = registry.digest(&service);
    for port in 1..=900 {
        registry.remove(&at(port).key, None, Cause::Deregistered);
        put(&mut registry, at(port), 1);
    }
    put(&mut registry, Instance { weight: 7, ..at(1) }, 1);
    let changed = Change { upsert: vec![Instance { weight: 7, ..at(1) }], remove: Vec::new() };
    assert_eq!(registry.change_since(&service, base), Some(changed), "1,801 changes later");
}

#[test]
fn what_stands_over_an_instance_changes_what_is_shown_and_nothing_that_was_said() {
    let mut registry = Registry::default();
    let key = at(1).key;
    put(&mut registry, at(1), 1);
    let as_said = registry.digest(&key.service);
    let masked = Over { hide: Some(Cause::Masked), ..Over::default() };
    assert_eq!(registry.put_over(&key, masked), Turn::Lost(Cause::Masked));
    assert_eq!((registry.count(&key.service), registry.digest(&key.service)), (0, Digest::EMPTY));
    let gone = vec![Removal { key: key.clone(), cause: Cause::Masked }];
    assert_eq!(registry.change_since(&key.service, as_said).unwrap().remove, gone);
    // Its owner goes on speaking; nobody hears of it.
    let told = registry.register(Instance { weight: 7, ..at(1) }, owner(1), masked, |_| true);
    assert_eq!(told, stands(Turn::Same, None));
    let light = Over { weight: Some(1), drain: true, ..Over::default() };
    assert_eq!(registry.put_over(&key, light), NEW);
    let shown = registry.shown(&key).unwrap();
    assert_eq!((shown.weight, shown.readiness), (1, api::Readiness::Draining));
    assert_eq!(registry.put_over(&key, Over::default()), CHANGED);
    assert_eq!(registry.shown(&key).unwrap().weight, 7);
    assert_eq!(registry.put_over(&key, Over::default()), Turn::Same);
    registry.put_over(&key, masked);
    assert_eq!(registry.remove(&key, None, Cause::Expired), Some((owner(1), false)));
    assert_eq!(registry.broken(|_, _| true), Vec::<String>::new());
}
