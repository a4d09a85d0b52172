//! What watchers hear: nothing twice, differences where possible, causes always, additions only in warm-up.

use std::sync::Arc;

use api::message::{Deregister, DigestCheck, News, PolicyNews, Watch, WatchMode};
use api::{Cause, Delta, Digest, List, Moment, Namespace};

use super::{World, instance, service};

fn watch(digest: Digest, mode: WatchMode) -> Watch {
    Watch { lists: [(service(), digest)].into(), mode, ..Watch::default() }
}

fn delta(news: &[Arc<News>]) -> Delta {
    match news {
        [one] => match &**one {
            News::List(delta) => delta.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// (base is nothing, complete, known, upserts, causes)
type Shown = (bool, bool, bool, usize, Vec<Cause>);

fn shown(delta: &Delta) -> Shown {
    let causes = delta.remove.iter().map(|removal| removal.cause).collect();
    (delta.base == Digest::EMPTY, delta.complete, delta.known, delta.upsert.len(), causes)
}

fn millis(world: &mut World, millis: u64) -> Vec<Shown> {
    let news = world.core.news(Moment::from_millis(world.now * 1_000 + millis));
    news.iter().map(|(_, news)| shown(&delta(news))).collect()
}

#[test]
fn the_first_change_goes_at_once_and_the_next_waits_its_gap() {
    let mut world = World::ready();
    world.open(1);
    let digest = world.core.query(&service()).unwrap().digest;
    let (_, first) = world.core.subscribe(&watch(digest, WatchMode::Stream), world.now()).unwrap();
    assert_eq!(first, [], "it holds what there is");
    let second = world.open(2);
    assert_eq!(millis(&mut world, 0), [(false, true, true, 1, vec![])]);
    world.open(3);
    assert_eq!(millis(&mut world, 999), [], "an addition waits a second");
    assert_eq!(millis(&mut world, 1_000), [(false, true, true, 1, vec![])]);
    world.now += 1;
    world.open(4);
    let out = Deregister { key: instance(2, 80).key, cause: Cause::Drained };
    let now = world.now();
    world.core.deregister(&second, &out, now).unwrap();
    assert_eq!(millis(&mut world, 99), []);
    assert_eq!(millis(&mut world, 100), [(false, true, true, 1, vec![Cause::Drained])], "one push for both");
    assert_eq!(millis(&mut world, 9_000), []);
}

#[test]
fn equal_news_are_one_value_and_a_stranger_gets_the_whole_list() {
    let mut world = World::ready();
    world.open(1);
    let stranger = watch(Digest::of(b"another history"), WatchMode::Stream);
    let (gone, first) = world.core.subscribe(&stranger, world.now()).unwrap();
    assert_eq!(shown(&delta(&first)), (true, true, true, 1, vec![]));
    world.core.subscribe(&stranger, world.now()).unwrap();
    world.core.subscribe(&stranger, world.now()).unwrap();
    world.core.unsubscribe(gone);
    world.open(2);
    let told = world.core.news(world.now());
    assert_eq!(told.len(), 2);
    assert!(Arc::ptr_eq(&told[0].1[0], &told[1].1[0]));
}

#[test]
fn an_unknown_service_is_said_to_be_unknown_at_once_or_to_a_poll_after_a_rest() {
    let mut world = World::ready();
    let (id, first) = world.core.subscribe(&watch(Digest::EMPTY, WatchMode::Stream), world.now()).unwrap();
    assert_eq!(shown(&delta(&first)), (true, true, false, 0, vec![]));
    world.core.unsubscribe(id);
    let (id, first) = world.core.subscribe(&watch(Digest::EMPTY, WatchMode::Poll), world.now()).unwrap();
    assert_eq!(first, []);
    assert_eq!(millis(&mut world, 499), []);
    assert_eq!(millis(&mut world, 500), [(true, true, false, 0, vec![])]);
    world.core.unsubscribe(id);
    world.core.subscribe(&watch(Digest::EMPTY, WatchMode::Poll), world.now()).unwrap();
    world.open(1);
    assert_eq!(
        millis(&mut world, 0),
        [(true, true, true, 1, vec![])],
        "a change wakes it before its rest ends"
    );
    assert_eq!(millis(&mut world, 600), []);
}

/// A watcher that holds nodes `held`; the control plane restarts with nothing; nodes `back` assert themselves
/// in warm-up. Compares every news it hears.
fn check_restart(held: &[u8], back: &[u8], leaves: Option<usize>, wanted: &[Shown], in_the_end: usize) {
    let instances = held.iter().map(|n| instance(*n, 80)).collect();
    let mut list = List::new(service(), 9, instances);
    let mut world = World::restarted(None);
    let (_, first) = world.core.subscribe(&watch(list.digest, WatchMode::Stream), world.now()).unwrap();
    let mut heard: Vec<Delta> = first.iter().map(|news| delta(std::slice::from_ref(news))).collect();
    let sessions: Vec<String> = back.iter().map(|n| world.open(*n)).collect();
    if let Some(leaves) = leaves {
        heard.extend(world.core.news(world.now()).iter().map(|(_, news)| delta(news)));
        let now = world.now();
        world.core.close_session(&sessions[leaves], now).unwrap();
    }
    for _ in 0..35 {
        world.pass(1, &[]);
        heard.extend(world.core.news(world.now()).iter().map(|(_, news)| delta(news)));
    }
    assert_eq!(heard.iter().map(shown).collect::<Vec<_>>(), wanted);
    for delta in &heard {
        list = delta.apply(&list).unwrap();
    }
    assert_eq!(list.instances.len(), in_the_end);
    let check = DigestCheck { lists: [service()].into(), ..DigestCheck::default() };
    let said = world.core.digests(&check, world.now()).unwrap();
    assert!(said.lists.values().all(|said| *said == list.digest), "{said:?}");
}

#[test]
fn a_restart_with_nothing_tells_nobody_a_removal() {
    let adds = |n| (true, false, true, n, vec![]);
    let whole = |n| (true, true, true, n, vec![]);
    // All come back, or one more: nothing is sent that is held already.
    check_restart(&[1, 2, 3], &[1, 2, 3], None, &[], 3);
    check_restart(&[1, 2, 3], &[1, 2, 3, 4], None, &[adds(1)], 4);
    check_restart(&[1, 2, 3], &[4, 1, 2, 3], None, &[adds(4), whole(4)], 4);
    // Some do: those who do not are merely absent, which the receiver weighs.
    check_restart(&[1, 2, 3], &[1], None, &[adds(1), whole(1)], 1);
    check_restart(&[], &[1, 2], None, &[adds(2)], 2);
    // None does: nobody is told that nobody is there.
    check_restart(&[1], &[], None, &[], 1);
}

#[test]
fn who_left_during_warm_up_is_told_with_its_cause_afterwards() {
    let adds = |n| (true, false, true, n, vec![]);
    let gone = vec![Cause::Deregistered];
    let (difference, whole) = ((false, true, true, 0, gone.clone()), (true, true, true, 1, gone));
    check_restart(&[1, 2], &[1, 2, 3], Some(2), &[adds(1), difference.clone()], 2);
    check_restart(&[], &[1, 2], Some(0), &[adds(2), difference], 1);
    check_restart(&[1, 2], &[1, 3], Some(1), &[adds(2), whole], 1);
}

#[test]
fn policies_travel_whole_with_their_store_and_again_when_it_is_adopted() {
    let mut world = World::ready();
    let space = Namespace::default();
    let watch = Watch { policies: [(space.clone(), Digest::EMPTY)].into(), ..Watch::default() };
    let (_, first) = world.core.subscribe(&watch, world.now()).unwrap();
    assert_eq!(first, []);
    let policy = api::yaml::read_one("name: a\ntimeout: { total: 2s }").unwrap();
    let change = world.core.propose_policy(policy, Some(0)).unwrap();
    let now = world.now();
    world.core.apply_policy(change, 4, now).unwrap();
    let heard = |world: &mut World| -> Vec<PolicyNews> {
        let news = world.core.news(world.now());
        let policies = news.iter().flat_map(|(_, news)| news).map(|news| match &**news {
            News::Policies(policies) => policies.clone(),
            other => panic!("{other:?}"),
        });
        policies.collect()
    };
    let told = heard(&mut world);
    let shown: Vec<_> =
        told.iter().map(|p| (p.revision, p.adopted, p.documents.len(), p.store.as_str())).collect();
    assert_eq!(shown, [(4, false, 1, "store")]);
    assert_eq!(told[0].digest, world.core.policies(&space).unwrap().digest);
    world.now += 1;
    let now = world.now();
    world.core.adopt(now).unwrap();
    world.core.adopt(now).unwrap();
    assert_eq!(heard(&mut world).iter().map(|p| p.adopted).collect::<Vec<_>>(), [true]);
}

// ---- pace --------------------------------------------------------------------------------------

/// A world whose pushes leave at `budget` bytes a second, with `watchers` of `s` and of `t` each.
fn paced(budget: u64, watchers: u64) -> World {
    let mut config = api::config::ControlPlaneConfig::default();
    config.push.budget = api::schema::Switch::On(api::Size::bytes(budget));
    let mut core = crate::ControlCore::new(&config, "store", Moment::ZERO);
    core.load(crate::Loaded::default(), Moment::ZERO).unwrap();
    let mut world = World { core, now: 0, events: Vec::new() };
    world.pass(31, &[]);
    for service in ["s", "t"] {
        for n in 0..watchers {
            // What they are told first is paid for, too.
            world.pass(u64::from(n % 250 == 0), &[]);
            let lists = [(service.parse().unwrap(), Digest::EMPTY)].into();
            world.core.subscribe(&Watch { lists, ..Watch::default() }, world.now()).unwrap();
        }
    }
    world.pass(60, &[]);
    world
}

/// Who is told of which service within the next `millis`, in order, with the bytes.
fn told(world: &mut World, millis: u64) -> Vec<(u64, String, usize)> {
    let mut told = Vec::new();
    for step in 0..millis {
        for (_, news) in world.core.news(Moment::from_millis(world.now * 1_000 + step)) {
            for news in &news {
                let News::List(delta) = &**news else { panic!("{news:?}") };
                told.push((step, delta.service.name.to_string(), news.wire_bytes()));
            }
        }
    }
    told
}

#[test]
fn pushes_stay_within_the_budget_and_everybody_is_told_in_the_forecast_time() {
    let mut world = paced(100_000, 1_000);
    world.open(1);
    let told = told(&mut world, 10_000);
    assert_eq!(told.len(), 1_000);
    for start in (0..9_000).step_by(100) {
        let within = told.iter().filter(|(at, ..)| (start..start + 1_000).contains(at));
        let bytes: usize = within.map(|(_, _, bytes)| bytes).sum();
        assert!(bytes <= 112_000, "{bytes} within a second from {start} ms");
    }
    let (took, _, _) = told[989];
    let events = world.core.take_events();
    let forecast = events.iter().find_map(|event| match event {
        crate::Event::PushBegan { forecast, .. } => Some(forecast.as_secs_f64()),
        _ => None,
    });
    let ratio = took as f64 / 1_000.0 / forecast.unwrap();
    assert!((0.8..1.2).contains(&ratio), "took {took} ms, forecast {forecast:?} s");
}

#[test]
fn who_comes_in_the_midst_of_a_push_takes_nobodys_turn() {
    let mut world = paced(100_000, 1_000);
    world.open(1);
    let before = told(&mut world, 1_000).len();
    assert!((100..900).contains(&before), "{before}");
    let now = Moment::from_millis(world.now * 1_000 + 1_000);
    let digest = world.core.query(&service()).unwrap().digest;
    (0..500).for_each(|_| drop(world.core.subscribe(&watch(digest, WatchMode::Stream), now).unwrap()));
    world.now += 1;
    assert_eq!(before + told(&mut world, 20_000).len(), 1_000, "who came knows already, all others hear");
}

#[test]
fn removals_go_before_additions_and_additions_do_not_starve() {
    let mut world = paced(100_000, 1_000);
    let mut other = instance(2, 80);
    other.key.service = "t".parse().unwrap();
    world.open_at(1, 1, vec![instance(1, 80), instance(1, 81)]);
    let session = world.open_at(2, 1, vec![other]);
    world.pass(60, std::slice::from_ref(&session));
    while world.core.news(world.now()).iter().any(|(_, news)| !news.is_empty()) {
        world.pass(1, std::slice::from_ref(&session));
    }
    // An addition to `s` first, then a removal from `t`: the removal is told first.
    world.open_at(3, 1, vec![instance(3, 80)]);
    world.core.news(world.now());
    world.core.close_session(&session, world.now()).unwrap();
    let order: Vec<String> = told(&mut world, 20_000).into_iter().map(|(_, service, _)| service).collect();
    let last_removal = order.iter().rposition(|service| service == "t").unwrap();
    let before = order[..last_removal].iter().filter(|service| *service == "s").count();
    assert!(before < 300, "{before} additions went before the last removal");
    assert!(order.iter().any(|service| service == "s"), "additions go on afterwards");
    assert_eq!(order.iter().filter(|service| *service == "t").count(), 1_000);
}

#[test]
fn under_a_notify_share_a_tenth_is_told_at_a_time_until_it_is_over() {
    let mut world = paced(100_000_000, 1_000);
    let share = api::NotifyShare {
        share: api::Share::percent(10),
        owner: "ann".into(),
        reason: "the network is full".into(),
        ttl: api::Span::secs(300),
    };
    world.core.put_exception("n".parse().unwrap(), share, world.now()).unwrap();
    world.open(1);
    let mut counts = Vec::new();
    for _ in 0..10 {
        counts.push(told(&mut world, 1).len());
        world.pass(10, &[]);
    }
    assert_eq!(counts, [100; 10]);
    world.pass(300, &[]);
    world.open(2);
    assert_eq!(told(&mut world, 1).len(), 1_000, "it is over by itself");
}

#[test]
fn a_storm_of_watches_is_told_when_to_come_back() {
    let mut world = World::ready();
    let now = world.now();
    let mut refused = 0;
    for _ in 0..10_000 {
        match world.core.subscribe(&watch(Digest::EMPTY, WatchMode::Stream), now) {
            Ok(_) => {}
            Err(crate::Refusal::ComeBack(after)) => {
                refused += 1;
                assert!(after.as_secs() <= 5, "{after:?}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(refused, 10_000 - 2_000);
}

#[test]
fn heartbeats_other_services_and_time_wake_nobody() {
    let mut world = World::ready();
    let session = world.open(1);
    let digest = world.core.query(&service()).unwrap().digest;
    world.core.subscribe(&watch(digest, WatchMode::Stream), world.now()).unwrap();
    // Another service comes, changes and goes.
    let at = |weight| api::Instance {
        weight,
        ..api::Instance::at("other".parse().unwrap(), ([10, 0, 0, 9], 80).into())
    };
    let other = world.open_at(9, 1, vec![at(1)]);
    world.core.register(&other, at(2), world.now()).unwrap();
    let now = world.now();
    world.core.deregister(&other, &Deregister { key: at(2).key, cause: Cause::Drained }, now).unwrap();
    assert_eq!(millis(&mut world, 999), []);
    // An hour of beats tells nobody anything: there is no full push by the clock.
    for _ in 0..3_600 {
        world.pass(1, &[session.clone(), other.clone()]);
        assert_eq!(millis(&mut world, 0), [], "second {}", world.now);
    }
}

#[test]
fn who_lost_its_disk_tells_nobody_that_nobody_is_there() {
    let mut world = World::ready();
    let held = Digest::of(b"three instances");
    for mode in [WatchMode::Stream, WatchMode::Poll] {
        let (_, first) = world.core.subscribe(&watch(held, mode), world.now()).unwrap();
        assert_eq!(first, [], "{mode:?}: who holds a list knows more");
    }
    let check = DigestCheck { lists: [service()].into(), ..DigestCheck::default() };
    assert_eq!(world.core.digests(&check, world.now()).unwrap().lists, [].into());
    let (_, first) =
        world.core.subscribe(&watch(Digest::never_told(), WatchMode::Stream), world.now()).unwrap();
    assert_eq!(shown(&delta(&first)), (true, true, false, 0, vec![]), "who holds nothing is told so");
    // Somebody comes: now there is a list, and it is told whole.
    world.open(1);
    assert_eq!(millis(&mut world, 0), vec![(true, true, true, 1, vec![]); 3]);
    let out = Deregister { key: instance(1, 80).key, cause: Cause::Deregistered };
    let session = world.open(1);
    world.core.deregister(&session, &out, world.now()).unwrap();
    let (_, first) = world.core.subscribe(&watch(held, WatchMode::Stream), world.now()).unwrap();
    let (_, complete, _, upserts, causes) = shown(&delta(&first));
    assert_eq!((complete, upserts, causes), (true, 0, vec![Cause::Deregistered]), "by its owner's will");
}
