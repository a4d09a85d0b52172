//! Causes induced one by one, and what is told of each; the oracle over random operations is the model's.

use std::collections::BTreeSet;

use api::message::{Beat, Deregister, Watch};
use api::story::Why;
use api::{Cause, Digest, Effect, Instance, Override, Readiness, Span};

use super::{World, instance, service};

/// Why node 1's instance is not in the list, or takes no traffic, in the view of `viewer`.
fn why(world: &World, viewer: Option<&str>) -> Vec<Why> {
    let address = instance(1, 80).address;
    let viewer = viewer.map(|node| node.parse().unwrap());
    let story = world.core.explain_instance(&service(), address, viewer.as_ref(), world.now()).unwrap();
    story.reasons.iter().map(|because| because.why).collect()
}

fn over(effect: Effect, weight: Option<u16>) -> Override {
    Override {
        node: Some("n1".parse().unwrap()),
        instance: None,
        effect,
        weight,
        owner: "ann".into(),
        reason: "drill".into(),
        ttl: Span::secs(600),
    }
}

/// Three nodes with an instance each; the first one is looked at.
fn fleet() -> (World, Vec<String>) {
    let mut world = World::ready();
    let sessions = (1..=3).map(|n| world.open(n)).collect();
    (world, sessions)
}

#[test]
fn each_cause_is_named() {
    let world = World::ready();
    assert_eq!(why(&world, None), [Why::NoSuchService]);

    let (mut world, sessions) = fleet();
    assert!(why(&world, None).is_empty());
    for (cause, wanted) in [(Cause::Deregistered, Why::Deregistered), (Cause::Drained, Why::Drained)] {
        let out = Deregister { key: instance(1, 80).key, cause };
        world.core.deregister(&sessions[0], &out, world.now()).unwrap();
        assert_eq!(why(&world, None), [wanted]);
        world.core.register(&sessions[0], instance(1, 80), world.now()).unwrap();
        assert!(why(&world, None).is_empty());
    }
    world.pass(60, &sessions);
    world.open_at(1, 1, Vec::new());
    assert_eq!(why(&world, None), [Why::Absent]);

    let (mut world, sessions) = fleet();
    world.pass(240, &sessions[1..]);
    assert_eq!(why(&world, None), [Why::Expired]);

    let mut world = World::ready();
    world.open(2);
    assert_eq!(why(&world, None), [Why::NotRegistered]);
}

#[test]
fn what_stands_over_it_is_named_before_what_its_owner_says() {
    let (mut world, sessions) = fleet();
    for (at, (effect, weight, wanted)) in [
        (Effect::Mask, None, Why::Masked),
        (Effect::OutOfService, None, Why::OutOfService),
        (Effect::Weight, Some(0), Why::ZeroWeight),
    ]
    .into_iter()
    .enumerate()
    {
        world.pass(60, &sessions);
        let name: api::Label = format!("o{at}").parse().unwrap();
        world.core.put_exception(name.clone(), over(effect, weight), world.now()).unwrap();
        assert_eq!(why(&world, None), [wanted]);
        world.core.end_exception::<Override>(name, world.now()).unwrap();
    }
    for (change, wanted) in [
        (Instance { readiness: Readiness::Unready, ..instance(1, 80) }, vec![Why::Unready]),
        (Instance { readiness: Readiness::Draining, ..instance(1, 80) }, vec![Why::Draining]),
        (Instance { weight: 0, ..instance(1, 80) }, vec![Why::ZeroWeight]),
    ] {
        world.core.register(&sessions[0], change, world.now()).unwrap();
        assert_eq!(why(&world, None), wanted);
    }
    world.pass(60, &sessions);
    world.core.put_exception("m".parse().unwrap(), over(Effect::Mask, None), world.now()).unwrap();
    assert_eq!(why(&world, None), [Why::Masked, Why::ZeroWeight]);
}

#[test]
fn who_is_seen_hanging_is_said_to_be() {
    let (mut world, sessions) = fleet();
    let fail: BTreeSet<_> = [instance(1, 80).key].into();
    for _ in 0..60 {
        for session in &sessions[1..] {
            let beat = Beat { fail: fail.clone(), ..Beat::default() };
            world.core.beat(session, beat, world.now()).unwrap();
        }
        world.beat(&sessions[0]);
        world.pass(1, &[]);
    }
    assert_eq!(why(&world, None), [Why::SeenHanging]);
}

#[test]
fn the_viewers_part_is_named() {
    let (mut world, sessions) = fleet();
    assert_eq!(why(&world, Some("n9")), [Why::ViewerUnknown]);
    assert_eq!(why(&world, Some("n2")), [Why::ViewerNotWatching]);
    let watch = |service: &str, digest| Watch {
        node: Some("n2".parse().unwrap()),
        lists: [(service.parse().unwrap(), digest)].into(),
        ..Watch::default()
    };
    world.core.subscribe(&watch("other", Digest::EMPTY), world.now()).unwrap();
    assert_eq!(why(&world, Some("n2")), [Why::ViewerNotWatching]);
    world.core.subscribe(&watch("s", Digest::EMPTY), world.now()).unwrap();
    assert!(why(&world, Some("n2")).is_empty());
    // A change of it that was not told yet; a change of another says nothing of this one.
    world.core.register(&sessions[1], Instance { weight: 7, ..instance(2, 80) }, world.now()).unwrap();
    assert!(why(&world, Some("n2")).is_empty());
    world.core.register(&sessions[0], Instance { weight: 7, ..instance(1, 80) }, world.now()).unwrap();
    assert_eq!(why(&world, Some("n2")), [Why::ViewerBehind]);
    world.core.news(world.now());
    assert!(why(&world, Some("n2")).is_empty());
}
