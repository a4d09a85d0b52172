//! What must happen when things go wrong, each as a story of seconds.

use api::message::{Deregister, ServiceEdit};
use api::{Cause, Instance, Moment, Readiness, Span};

use super::{World, instance, opening, service};
use crate::refusal::Refusal;

fn fleet(world: &mut World, nodes: u8) -> Vec<String> {
    (1..=nodes).map(|n| world.open(n)).collect()
}

#[test]
fn when_everybody_falls_silent_nobody_leaves_before_the_ceiling() {
    for nodes in [1, 2, 3, 10] {
        let mut world = World::ready();
        let sessions = fleet(&mut world, nodes);
        world.pass(120, &sessions);
        world.pass(3_500, &[]);
        assert_eq!(world.listed().len(), usize::from(nodes));
        assert!(world.core.service(&service()).unwrap().held.contains("protection"));
        world.pass(300, &[]);
        assert!(world.listed().len() < usize::from(nodes), "the protection ends after an hour");
    }
}

#[test]
fn the_dead_one_leaves_after_its_expiry_and_the_next_sweep() {
    for nodes in [3, 10] {
        let mut world = World::ready();
        let sessions = fleet(&mut world, nodes);
        world.pass(89, &sessions);
        assert_eq!(world.now, 120);
        world.pass(89, &sessions[1..]);
        assert_eq!(world.listed().len(), usize::from(nodes), "it last beat at 120 s");
        world.pass(61, &sessions[1..]);
        assert_eq!(world.listed(), (2..=nodes).collect::<Vec<_>>());
        assert_eq!(world.count("removed"), 1);
        world.pass(61, &sessions[1..]);
        assert_eq!(world.count("session-expired"), 1);
    }
}

#[test]
fn a_sweep_takes_its_share_of_a_service_and_no_more() {
    let mut world = World::ready();
    let many = (1..=40).map(|port| instance(1, port)).collect();
    world.open_at(1, 1, many);
    let others: Vec<String> = (2..=20).map(|n| world.open_at(n, 1, Vec::new())).collect();
    world.pass(91, &others);
    let mut left = vec![world.listed().len()];
    for _ in 0..3 {
        world.pass(60, &others);
        left.push(world.listed().len());
    }
    assert_eq!(left, [40, 34, 29, 25]);
    world.pass(3_000, &others);
    assert_eq!(world.listed().len(), 1, "the last one known stays");
    assert!(world.core.service(&service()).unwrap().held.contains("last-known"));
}

#[test]
fn a_stall_of_ours_takes_nobody() {
    let mut world = World::ready();
    let sessions = fleet(&mut world, 5);
    world.pass(100, &sessions);
    world.now += 1_000;
    world.tick();
    world.pass(29, &[]);
    world.pass(60, &sessions);
    assert_eq!((world.listed().len(), world.count("stalled")), (5, 1));
}

#[test]
fn a_restart_with_a_snapshot_goes_on_where_it_was() {
    let mut world = World::ready();
    let sessions = fleet(&mut world, 3);
    let before = world.core.query(&service()).unwrap();
    let saved = serde_json::to_string(&world.core.snapshot()).unwrap();
    let mut world = World::restarted(Some(serde_json::from_str(&saved).unwrap()));
    assert_eq!(world.core.query(&service()).unwrap().digest, before.digest);
    let now = world.now();
    let beat = world.core.beat(&sessions[0], Default::default(), now);
    assert_eq!(beat, Err(Refusal::NoSession), "what was said after the snapshot has to be said again");
    assert_eq!(fleet(&mut world, 3), sessions);
    world.pass(200, &sessions);
    assert_eq!(world.core.query(&service()).unwrap().instances, before.instances);
    assert_eq!(world.core.beat("0123", Default::default(), world.now()), Err(Refusal::NoSession));
}

#[test]
fn what_a_snapshot_lists_and_its_owner_took_out_leaves_when_the_session_is_opened_again() {
    let mut world = World::ready();
    world.open_at(1, 1, vec![instance(1, 80), instance(1, 81)]);
    let mut world = World::restarted(Some(world.core.snapshot()));
    let session = world.open_at(1, 1, vec![instance(1, 80)]);
    assert_eq!(world.listed().len(), 1);
    world.tick();
    assert_eq!(world.count("removed"), 1);
    let now = world.now();
    assert_eq!(world.core.beat(&session, Default::default(), now).unwrap().instances, 1);
}

#[test]
fn an_unready_instance_is_listed_and_counted_as_not_ready() {
    let mut world = World::ready();
    let session = world.open(1);
    let now = world.now();
    let unready = Instance { readiness: Readiness::Unready, ..instance(1, 80) };
    let told = world.core.register(&session, unready, now).unwrap();
    assert_eq!((told.expires_after, told.beat_every), (Span::secs(90), Span::secs(30)));
    let view = world.core.service(&service()).unwrap();
    assert_eq!((view.instances, view.ready), (1, 0));
}

#[test]
fn the_newer_boot_takes_over_and_the_older_one_is_ignored() {
    let mut world = World::ready();
    let old = world.open_at(1, 1, vec![instance(1, 80), instance(1, 81)]);
    let new = world.open_at(1, 2, vec![instance(1, 80)]);
    let now = world.now();
    let out = Deregister { key: instance(1, 80).key, cause: Cause::Drained };
    assert_eq!(world.core.deregister(&old, &out, now), Ok(()));
    let refused = world.core.register(&old, instance(1, 80), now);
    assert_eq!(refused, Err(Refusal::NewerBoot(instance(1, 80).key)));
    assert_eq!(world.core.close_session(&old, now), Ok(()));
    let left = world.core.query(&service()).unwrap();
    assert_eq!(left.instances, [instance(1, 80)], "only what the older one still owned left with it");
    assert_eq!(world.core.deregister(&new, &out, now), Ok(()));
    assert_eq!(world.core.query(&service()).unwrap().instances, []);
}

#[test]
fn sidecars_that_all_restart_leave_nothing_behind_that_looks_like_an_outage() {
    let mut world = World::ready();
    fleet(&mut world, 10);
    world.open_at(11, 1, vec![instance(11, 80), instance(11, 81)]);
    let reopen = |n| world.open_at(n, 2, vec![instance(n, 80)]);
    let again: Vec<String> = (1..=11).map(reopen).collect();
    assert_eq!(world.core.sessions(world.now()).unwrap().len(), 12, "one old one still keeps an instance");
    // The last node dies for good, and what its old boot alone had runs out with the old lease.
    world.pass(200, &again[..10]);
    assert_eq!(world.listed(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn an_edited_expiry_shortens_the_beat_without_expiring_who_was_not_told() {
    let mut world = World::ready();
    let sessions = fleet(&mut world, 3);
    world.pass(89, &sessions);
    let edit = ServiceEdit { expiry: Some(Span::secs(6)), owner: "shop".into() };
    let now = world.now();
    assert_eq!(world.core.edit_service(service(), edit.clone(), now).unwrap().settings, edit);
    world.pass(29, &[]);
    let heard = world.core.beat(&sessions[0], Default::default(), world.now()).unwrap();
    assert_eq!((heard.beat_every, heard.instances), (Span::secs(2), 1));
    assert_eq!(world.listed().len(), 3);
}

#[test]
fn nothing_is_answered_before_state_is_loaded_and_wrong_words_change_nothing() {
    let config = api::config::ControlPlaneConfig::default();
    let mut core = super::ControlCore::new(&config, "store", Moment::ZERO);
    assert_eq!(core.open_session(opening(1, 1, vec![]), Moment::ZERO).unwrap_err(), Refusal::NotLoaded);
    assert_eq!(core.wake_at(), None);
    let mut world = World::ready();
    let now = world.now();
    let twice = vec![instance(1, 80), instance(1, 80), instance(1, 0)];
    let Err(Refusal::Wrong(problems)) = world.core.open_session(opening(1, 1, twice), now) else {
        panic!("refused");
    };
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["instances[1].key", "instances[2].key.port", "instances[2].address"]);
    assert_eq!(world.core.query(&service()), Err(Refusal::NoSuchService(service())));
}
