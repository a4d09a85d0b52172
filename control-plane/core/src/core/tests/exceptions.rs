//! Tombstones, overrides, planned drains, and the blast radius they are held to.

use api::message::Deregister;
use api::{Cause, Effect, Label, NodeName, Override, PlannedDrain, Readiness, Share, Span};

use super::{World, instance, service};
use crate::event::Event;
use crate::refusal::Refusal;

fn name(text: &str) -> Label {
    text.parse().unwrap()
}

fn mask(node: u8) -> Override {
    Override {
        node: Some(format!("n{node}").parse::<NodeName>().unwrap()),
        instance: None,
        effect: Effect::Mask,
        weight: None,
        owner: "ann".into(),
        reason: "disk".into(),
        ttl: Span::secs(60),
    }
}

fn drain(share: u32) -> PlannedDrain {
    PlannedDrain {
        services: [service()].into(),
        nodes: [].into(),
        share: Share::percent(share),
        owner: "ann".into(),
        reason: "rack 4 is switched off".into(),
        ttl: Span::secs(600),
    }
}

/// `count` nodes with an instance each.
fn fleet(count: u8) -> (World, Vec<String>) {
    let mut world = World::ready();
    let sessions = (1..=count).map(|n| world.open(n)).collect();
    (world, sessions)
}

fn removed(world: &World) -> Vec<Cause> {
    let cause = |event: &Event| match event {
        Event::Removed { cause, .. } => Some(*cause),
        _ => None,
    };
    world.events.iter().filter_map(cause).collect()
}

#[test]
fn an_older_boot_does_not_bring_back_what_a_newer_one_took_out() {
    let mut world = World::ready();
    let old = world.open_at(1, 1, vec![]);
    let new = world.open_at(1, 2, vec![instance(1, 80)]);
    let out = Deregister { key: instance(1, 80).key, cause: Cause::Deregistered };
    world.core.deregister(&new, &out, world.now()).unwrap();
    let late = world.core.register(&old, instance(1, 80), world.now());
    assert!(late.is_err(), "{late:?}");
    // Also not over a restart in between.
    let mut world = World::restarted(Some(world.core.snapshot()));
    let old = world.open_at(1, 1, vec![instance(1, 80)]);
    assert!(world.listed().is_empty());
    world.pass(179, std::slice::from_ref(&old));
    assert!(world.core.register(&old, instance(1, 80), world.now()).is_err());
    // Twice the expiry later nothing stands in its way, and the newest boot may always.
    world.pass(2, std::slice::from_ref(&old));
    world.core.register(&old, instance(1, 80), world.now()).unwrap();
    assert_eq!(world.listed(), [1]);
}

#[test]
fn a_mask_takes_a_node_off_its_lists_for_its_time() {
    let (mut world, sessions) = fleet(7);
    world.core.put_exception(name("m"), mask(3), world.now()).unwrap();
    assert_eq!(world.listed(), [1, 2, 4, 5, 6, 7]);
    world.pass(59, &sessions);
    assert_eq!((world.listed().len(), removed(&world)), (6, vec![Cause::Masked]));
    world.pass(1, &sessions);
    assert_eq!((world.listed().len(), world.count("exception-over")), (7, 1));
}

#[test]
fn an_override_changes_what_is_shown_and_survives_what_its_owner_says() {
    let (mut world, sessions) = fleet(2);
    let out = Override { effect: Effect::OutOfService, ..mask(1) };
    world.core.put_exception(name("o"), out, world.now()).unwrap();
    let light = Override { effect: Effect::Weight, weight: Some(5), ..mask(1) };
    world.core.put_exception(name("w"), light, world.now()).unwrap();
    let said = api::Instance { weight: 50, ..instance(1, 80) };
    world.core.register(&sessions[0], said, world.now()).unwrap();
    let shown = world.core.query(&service()).unwrap().instances.remove(0);
    assert_eq!((shown.weight, shown.readiness), (5, Readiness::Draining));
    world.core.end_exception::<Override>(name("o"), world.now()).unwrap();
    world.core.end_exception::<Override>(name("w"), world.now()).unwrap();
    let shown = world.core.query(&service()).unwrap().instances.remove(0);
    assert_eq!((shown.weight, shown.readiness), (50, Readiness::Ready));
    assert_eq!(world.core.end_exception::<Override>(name("w"), world.now()), Err(Refusal::NoSuchException));
}

#[test]
fn masks_stay_within_the_blast_radius_unless_a_drain_is_planned() {
    let (mut world, sessions) = fleet(10);
    world.pass(60, &sessions);
    world.core.put_exception(name("a"), mask(1), world.now()).unwrap();
    let refused = world.core.put_exception(name("b"), mask(2), world.now());
    let wanted = Refusal::BlastRadius { service: service(), asked: 1, room: 0 };
    assert_eq!(refused, Err(wanted));
    world.core.put_exception(name("d"), drain(30), world.now()).unwrap();
    world.core.put_exception(name("b"), mask(2), world.now()).unwrap();
    world.core.put_exception(name("c"), mask(3), world.now()).unwrap();
    assert!(world.core.put_exception(name("e"), mask(4), world.now()).is_err(), "three of ten are 30 %");
}

#[test]
fn a_planned_shutdown_ends_without_protection_and_an_unplanned_one_does_not() {
    let shut = |planned: Option<PlannedDrain>| {
        let (mut world, _) = fleet(20);
        if let Some(planned) = planned {
            world.core.put_exception(name("d"), planned, world.now()).unwrap();
        }
        world.pass(240, &[]);
        world.listed().len()
    };
    assert_eq!(shut(None), 20, "protection holds all");
    assert_eq!(shut(Some(drain(100))), 0, "also the last one, when all were planned to leave");
    let left = shut(Some(drain(50)));
    assert!((1..=10).contains(&left), "half per sweep, never the last one: {left}");
}

#[test]
fn what_a_session_leaves_out_goes_within_the_blast_radius() {
    let mut world = World::ready();
    let instances: Vec<_> = (1..=10).map(|port| instance(1, port)).collect();
    world.open_at(1, 1, instances.clone());
    let session = world.open_at(1, 1, instances[..2].to_vec());
    assert_eq!(world.listed().len(), 9, "one of ten at once");
    world.pass(120, std::slice::from_ref(&session));
    assert_eq!(world.listed().len(), 8);
    // Said again, it is no longer left out.
    world.core.register(&session, instances[9].clone(), world.now()).unwrap();
    world.pass(900, &[session]);
    assert_eq!(world.listed().len(), 3);
    assert!(removed(&world).iter().all(|cause| *cause == Cause::Absent));
}

#[test]
fn words_without_owner_reason_or_end_are_refused() {
    let world = World::ready();
    let check = |said: Override, wanted: &[&str]| {
        let Err(Refusal::Wrong(problems)) = world.core.check_exception(&name("o"), &said, world.now()) else {
            panic!("{said:?} is taken")
        };
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, wanted);
    };
    check(Override { owner: String::new(), reason: String::new(), ..mask(1) }, &["owner", "reason"]);
    check(Override { ttl: Span::secs(8 * 24 * 3_600), ..mask(1) }, &["ttl"]);
    check(Override { node: None, ..mask(1) }, &["node"]);
    check(Override { weight: Some(1), ..mask(1) }, &["weight"]);
    let nothing = PlannedDrain { services: [].into(), ..drain(50) };
    assert!(world.core.check_exception(&name("d"), &nothing, world.now()).is_err());
}
