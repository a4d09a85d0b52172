//! Bulkheads: every order of coming, going and plan changes to a bounded depth, many threads, and through the stages.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, HashSet};

use api::Instance;
use proptest::prelude::*;

use super::*;
use crate::bench::{Bench, service};
use crate::limit::limit;
use crate::route::route;
use crate::scratch::Why;

fn words(in_flight: u32, by: BulkheadKey) -> Words {
    Words { name: "few".parse().unwrap(), by, in_flight }
}

fn compile(in_flight: u32, by: BulkheadKey, before: Option<&Bulkhead>) -> Bulkhead {
    Bulkhead::compile(&words(in_flight, by), None, &mut before.into_iter().cloned().collect())
}

/// So many moves in a row; worlds that are alike are gone on from once.
const DEPTH: usize = 9;
/// Two keys whose slots are the same ones, and a third beside them.
const KEYS: [u64; 3] = [7, 7 + SLOTS as u64, 8];

#[derive(Clone, Copy, Debug)]
enum Move {
    Enter(usize),
    /// The oldest, or the newest, of a key ends, is cancelled or refused by a later rule: all drop its place.
    Drop(usize, bool),
    /// A plan with this number.
    Plan(u32),
}

const MOVES: [Move; 12] = [
    Move::Enter(0),
    Move::Enter(1),
    Move::Enter(2),
    Move::Drop(0, false),
    Move::Drop(0, true),
    Move::Drop(1, false),
    Move::Drop(1, true),
    Move::Drop(2, false),
    Move::Drop(2, true),
    Move::Plan(1),
    Move::Plan(2),
    Move::Plan(3),
];

#[derive(Default)]
struct World {
    bulkhead: Option<Bulkhead>,
    held: [Vec<Place>; KEYS.len()],
}

impl World {
    /// Makes a move; what it broke.
    fn make(&mut self, step: Move) -> Result<(), String> {
        let bulkhead = self.bulkhead.take().unwrap_or_else(|| compile(2, BulkheadKey::Caller, None));
        let bulkhead = match step {
            Move::Plan(number) => compile(number, BulkheadKey::Caller, Some(&bulkhead)),
            Move::Enter(key) => {
                let (room, found) = (bulkhead.most(), bulkhead.enter(KEYS[key]));
                if found.is_ok() != ((self.held[key].len() as u64) < room) {
                    return Err(format!("{} of {room} were in, and it said {found:?}", self.held[key].len()));
                }
                self.held[key].extend(found);
                bulkhead
            }
            Move::Drop(key, newest) => {
                let held = &mut self.held[key];
                let at = if newest { held.len().checked_sub(1) } else { (!held.is_empty()).then_some(0) };
                drop(at.map(|at| held.remove(at)));
                bulkhead
            }
        };
        let counted = KEYS.map(|key| bulkhead.counts.of(key) as usize);
        let held = [0, 1, 2].map(|key| self.held[key].len());
        self.bulkhead = Some(bulkhead);
        if counted == held { Ok(()) } else { Err(format!("counted {counted:?}, held {held:?}")) }
    }

    fn state(&self) -> (Option<u32>, Vec<Vec<usize>>, Vec<u64>) {
        let slots = self.bulkhead.iter().flat_map(|own| own.counts.slots.iter());
        let places = self.held.iter().map(|held| held.iter().map(|place| place.slot).collect()).collect();
        let number = self.bulkhead.as_ref().map(|own| own.words.in_flight);
        (number, places, slots.map(|slot| slot.load(SeqCst)).filter(|word| *word > 0).collect())
    }
}

#[test]
fn what_is_counted_is_what_is_held_whatever_happens_in_whatever_order() {
    let mut known = HashSet::new();
    let mut fresh: Vec<Vec<Move>> = vec![Vec::new()];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for moves in &fresh {
            for step in MOVES {
                let mut world = World::default();
                let all: Vec<Move> = moves.iter().copied().chain([step]).collect();
                for (at, step) in all.iter().enumerate() {
                    if let Err(broken) = world.make(*step) {
                        panic!("{broken} after {:?}", &all[..=at]);
                    }
                }
                if known.insert(world.state()) {
                    next.push(all);
                }
            }
        }
        fresh = next;
    }
    assert!(known.len() > 1_000, "only {} worlds", known.len());
}

proptest! {
    #[test]
    fn each_key_holds_what_it_may_and_empty_ones_make_room(
        most in 1_u32..5, moves in prop::collection::vec((any::<bool>(), 0_u64..40), 0..300)
    ) {
        let bulkhead = compile(most, BulkheadKey::Caller, None);
        let mut held: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
        for (enters, which) in moves {
            let own = held.entry(which).or_default();
            if enters {
                let place = bulkhead.enter(shorten(keyed::key(which)));
                prop_assert_eq!(place.is_ok(), own.len() < most as usize);
                own.extend(place);
            } else {
                own.pop();
            }
            let all: usize = held.values().map(Vec::len).sum();
            prop_assert_eq!(bulkhead.in_flight().0, all as u64);
        }
    }
}

#[test]
fn keys_are_bounded_and_those_who_find_no_slot_share_one() {
    let bulkhead = compile(1, BulkheadKey::Caller, None);
    let enter = |from: u64| (from..from + 1_000).filter_map(|n| bulkhead.enter(shorten(keyed::key(n))).ok());
    let crowd: Vec<Place> = enter(0).collect();
    assert!((200..=SLOTS + 1).contains(&crowd.len()), "{}", crowd.len());
    assert_eq!(crowd.iter().filter(|place| place.slot == SLOTS).count(), 1);
    drop(crowd);
    assert_eq!(bulkhead.in_flight(), (0, 0));
    assert!(enter(5_000).count() >= 1_000, "slots of those who left go to others");
}

/// What each request, told by path and headers, is told while all earlier ones run.
fn told(policy: &str, asks: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut bench = Bench::new(1, policy);
    let exchange = bench.exchange(true);
    let mut running = Vec::new();
    let mut ask = |path: &str, user: &'static str| {
        let header = |name: &str| (name == "x-user").then_some(user);
        let route = route(&bench.plan, &exchange, "GET", path, header);
        match limit(route.clone(), &exchange, header, &mut bench.scratch, bench.now) {
            Verdict::Now(admission) => {
                running.push(admission);
                "in"
            }
            Verdict::Wait { on: WaitOn::Bulkhead(_), .. } => "waits",
            Verdict::Wait { .. } => "waits for another",
            Verdict::Refuse(refusal) => refusal.reason.as_str(),
        }
    };
    asks.iter().map(|(path, user)| ask(path, user)).collect()
}

#[test]
fn routes_share_a_bulkhead_by_its_name_or_have_one_each() {
    let routes = |own: &str| {
        let one = |name: &str| {
            format!(
                "{{ name: {name}, match: {{ path: /{name} }}, concurrency: {{ bulkheads: [{own}], longest_wait: 0s }} }}"
            )
        };
        format!("routes: [{}, {}]\n", one("a"), one("b"))
    };
    let asks = [("/a", ""), ("/b", ""), ("/a", ""), ("/b", ""), ("/", "")];
    let of = |own: &str| told(&routes(own), &asks);
    assert_eq!(of("{ name: x, in_flight: 2 }"), ["in", "in", "bulkhead_full", "bulkhead_full", "in"]);
    assert_eq!(
        of("{ name: x, in_flight: 1, by: route }"),
        ["in", "in", "bulkhead_full", "bulkhead_full", "in"],
        "each route has one"
    );
    let users = [("/a", "ann"), ("/b", "bob"), ("/a", "bob"), ("/", "bob")];
    let by_user = routes("{ name: x, in_flight: 1, by: { header: x-user } }");
    assert_eq!(told(&by_user, &users), ["in", "in", "bulkhead_full", "in"]);
    let waits = "concurrency: { bulkheads: [{ name: x, in_flight: 1 }] }\n";
    assert_eq!(told(waits, &[("/", ""), ("/", "")]), ["in", "waits"]);
}

#[test]
fn who_is_refused_hears_by_which_and_gives_back_what_others_gave() {
    let policy = "concurrency: { bulkheads: [{ name: wide, in_flight: 9 }, { name: narrow, in_flight: 1 }], longest_wait: 0s }\n\
                  limits: [{ name: once, rate: 1/h, burst: 1 }]\n";
    let mut bench = Bench::new(1, policy);
    let exchange = bench.exchange(true);
    let first = bench.admission(&exchange);
    let route = route(&bench.plan, &exchange, "GET", "/", |_| None);
    let mut ask = || match limit(route.clone(), &exchange, |_| None, &mut bench.scratch, bench.now) {
        Verdict::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let refusal = ask();
    assert_eq!((refusal.reason, refusal.detail.as_ref()), (Reason::BulkheadFull, "bulkhead narrow holds 1"));
    assert_eq!(refusal.retry_after, Some(COME_BACK));
    drop(first);
    assert_eq!(ask().reason, Reason::RateLimited, "the bulkheads had room again");
    let each = bench.plan.each_bulkhead();
    assert_eq!(
        each.iter().map(|own| (own.in_flight().0, own.refused())).collect::<Vec<_>>(),
        [(0, 0), (0, 1)]
    );
}

fn zoned(zones: &[&str]) -> Vec<Instance> {
    let at = |port: u16| Instance::at(service(), ([10, 0, 0, 1], port).into());
    let made = (1..).zip(zones).map(|(port, zone)| Instance { zone: (*zone).to_owned(), ..at(port) });
    made.collect()
}

#[test]
fn a_label_that_is_full_is_passed_over_for_others_and_then_waited_for() {
    let policy = "concurrency: { bulkheads: [{ name: zones, in_flight: 2, by: { label: zone } }] }\n";
    let mut bench = Bench::of(zoned(&["a", "a", "b"]), policy);
    let exchange = bench.exchange(true);
    let mut running = Vec::new();
    for _ in 0..4 {
        let admission = bench.admission(&exchange);
        let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        running.push((attempt, admission));
    }
    let zone = |at: &usize| running[*at].0.endpoint().instance.zone.clone();
    let mut zones: Vec<String> = (0..4).collect::<Vec<_>>().iter().map(zone).collect();
    zones.sort();
    assert_eq!(zones, ["a", "a", "b", "b"]);
    let admission = bench.admission(&exchange);
    let Verdict::Wait { on: WaitOn::Bulkhead(on), .. } = bench.choose(&exchange, &admission) else {
        panic!("both zones are full")
    };
    assert!(bench.scratch.weighed().1[Why::BulkheadFull as usize] > 0);
    assert!(running[0].0.holds().eq([on]), "its end wakes who waits");
    bench.after(21);
    let Verdict::Refuse(refusal) = bench.choose(&exchange, &admission) else { panic!("for too long") };
    assert_eq!(refusal.reason, Reason::BulkheadFull);
    running.remove(0);
    assert!(matches!(bench.choose(&exchange, &admission), Verdict::Now(_)));
}

#[test]
fn a_plan_that_goes_on_naming_it_keeps_who_is_in() {
    let before = compile(2, BulkheadKey::Together, None);
    let held: Vec<Place> = (0..2).map(|_| before.enter(1).unwrap()).collect();
    let fewer = compile(1, BulkheadKey::Together, Some(&before));
    assert!(fewer.is(&before) && fewer.enter(1).is_err());
    drop(held);
    assert!(fewer.enter(1).is_ok());
    let other = compile(1, BulkheadKey::Caller, Some(&before));
    assert!(!other.is(&before), "what counts otherwise is another one");
}
