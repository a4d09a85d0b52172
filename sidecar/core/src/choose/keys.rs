//! Where keys lead: the same host for the same key, elsewhere for a reason, and never above the bound.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use api::policy::Choosing;
use api::{Instance, List, Moment};
use proptest::prelude::*;

use crate::attempt::Attempt;
use crate::bench::{self, Bench};
use crate::directory::Directory;
use crate::limit::Admission;
use crate::parts::{Standing, Wants};
use crate::queue::Verdict;
use crate::scratch::{How, Why};

/// Both rules, and what happens where a list has no tables yet.
const RULES: [(&str, bool); 4] = [("ring", true), ("maglev", true), ("ring", false), ("maglev", false)];
const BARE: &str = "health: { consecutive: 1000000, minimum: 1000000 }";

fn bench(n: u16, (by, tables): (&str, bool), more: &str) -> Bench {
    let mut bench = Bench::new(n, &format!("balance: {{ by: {by}, key: {{ query: k }} }}\n{more}"));
    if !tables {
        let list = crate::endpoint::EndpointList::clone(&bench.list);
        bench.list =
            std::sync::Arc::new(list.arranged(&Wants::default(), &Standing::default(), &bench.list.parts));
    }
    bench
}

fn begin(bench: &mut Bench, key: u64) -> (Attempt, Admission) {
    bench.target = format!("/?k={key}");
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
    (attempt, admission)
}

/// Whom each of `n` keys meets on an idle service.
fn met(bench: &mut Bench, n: u64) -> Vec<u32> {
    (0..n).map(|key| begin(bench, key).0.endpoint().id).collect()
}

#[test]
fn a_key_meets_the_same_host_again_and_all_hosts_are_met() {
    for rule in RULES {
        let mut bench = bench(5, rule, "");
        let first = met(&mut bench, 1_000);
        assert_eq!(met(&mut bench, 1_000), first, "{rule:?}");
        for id in 0..5 {
            let share = first.iter().filter(|met| **met == id).count();
            assert!((120..=290).contains(&share), "{rule:?}: {share} of 1000 keys at one of five");
        }
        assert_eq!(begin(&mut bench, 3).0.how(), How::Hashed);
    }
}

#[test]
fn who_has_no_key_goes_anywhere() {
    let mut bench = bench(4, ("maglev", true), "");
    let met: std::collections::BTreeSet<_> = (0..60).map(|_| bench.run(true, |_| 200)).collect();
    assert_eq!(met.len(), 4);
}

#[test]
fn another_try_goes_to_the_same_other_host_every_time() {
    for rule in RULES {
        let mut bench = bench(5, rule, "");
        let mut tries = |key: u64| {
            bench.target = format!("/?k={key}");
            let exchange = bench.exchange(true);
            let admission = bench.admission(&exchange);
            let mut met = Vec::new();
            for _ in 0..3 {
                let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
                met.push((attempt.endpoint().id, attempt.how()));
            }
            met
        };
        let mut others = BTreeMap::<u32, std::collections::BTreeSet<u32>>::new();
        for key in 0..100 {
            let first = tries(key);
            assert_eq!(tries(key), first, "{rule:?}");
            let [(a, How::Hashed), (b, How::Moved), (c, How::Moved)] = first[..] else { panic!("{first:?}") };
            assert!(a != b && b != c && a != c);
            others.entry(a).or_default().insert(b);
        }
        assert!(others.values().all(|others| others.len() == 4), "no single host takes what one loses");
    }
}

#[test]
fn keys_of_an_ejected_host_go_elsewhere_and_come_back_and_no_others_move() {
    for rule in RULES {
        let mut bench = bench(5, rule, "");
        let first = met(&mut bench, 500);
        let health = bench.plan.routes[0].everyone.settings.health.clone();
        bench.cell(2).health.eject(bench.now, false, &health, 0);
        let during = met(&mut bench, 500);
        assert!(first.iter().zip(&during).all(|(was, is)| *is != 2 && (*was == 2 || was == is)), "{rule:?}");
        assert!(bench.cell(2).health.take_back(bench.now));
        bench.after(60_000);
        assert_eq!(met(&mut bench, 500), first, "{rule:?}");
    }
}

#[test]
fn who_ramps_takes_its_part_of_its_keys_and_keeps_them_as_it_grows() {
    for rule in RULES {
        let mut bench = bench(5, rule, "");
        let whole = met(&mut bench, 2_000).iter().filter(|id| **id == 0).count();
        bench.cell(0).join(bench.now);
        let mut before: Vec<u64> = Vec::new();
        for percent in [25, 50, 75, 100] {
            bench.after(7_500);
            let keys = met(&mut bench, 2_000).into_iter().zip(0..).filter(|(id, _)| *id == 0);
            let keys: Vec<u64> = keys.map(|(_, key)| key).collect();
            let found = keys.len() * 100 / whole;
            assert!(found.abs_diff(percent) <= 10, "{rule:?}: {found} % at {percent} %");
            assert!(before.iter().all(|key| keys.contains(key)), "{rule:?}");
            before = keys;
        }
    }
}

#[test]
fn who_always_fails_keeps_next_to_no_keys_even_without_ejection() {
    for rule in RULES {
        let mut bench = bench(5, rule, BARE);
        let mut hits = 0;
        for key in 0..3_000 {
            bench.target = format!("/?k={key}");
            hits += usize::from(bench.run(true, |at| if at == 0 { 500 } else { 200 }) == 0);
        }
        assert!(hits <= 60, "{rule:?}: {hits} of 3000");
    }
}

#[test]
fn a_key_that_meets_too_much_load_is_told_why_it_moved() {
    let mut bench = bench(4, ("ring", true), "");
    let running: Vec<_> = (0..3).map(|_| begin(&mut bench, 1)).collect();
    let (last, _) = running.last().unwrap();
    assert_eq!(last.how(), How::Moved);
    assert!(bench.scratch.weighed().0.iter().any(|c| c.why == Why::OverBound));
}

#[test]
fn tables_stay_while_hosts_and_weights_are_the_same() {
    let at = |port: u16, weight| Instance {
        weight,
        ..Instance::at(bench::service(), ([10, 0, 0, 1], port).into())
    };
    let mut directory = Directory::new(bench::service(), Vec::new());
    directory.want(Wants::default().and(Choosing::Ring).and(Choosing::Maglev));
    let mut tables = |instances: Vec<Instance>| {
        directory.replace(Moment::ZERO, List::new(bench::service(), 1, instances));
        let list = directory.current();
        [Choosing::Ring, Choosing::Maglev]
            .map(|by| std::ptr::from_ref(list.parts.whole().tables.of(by).unwrap()))
    };
    let first = tables(vec![at(1, 100), at(2, 100)]);
    let mut labelled = at(2, 100);
    labelled.labels.insert("version", "2");
    assert_eq!(tables(vec![at(1, 100), labelled]), first);
    assert_ne!(tables(vec![at(1, 100), at(2, 200)]), first);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// However hot some keys are, nobody takes a request above its bound while another has room.
    #[test]
    fn the_bound_holds_while_another_has_room(
        rule in 0..RULES.len(), weights in prop::collection::vec(50_u16..300, 2..9),
        keys in prop::collection::vec((0_u64..6, any::<bool>()), 1..200)
    ) {
        let at = |(port, weight): (u16, &u16)| {
            Instance { weight: *weight, ..Instance::at(bench::service(), ([10, 0, 0, 1], port).into()) }
        };
        let (by, tables) = RULES[rule];
        let mut bench = Bench {
            list: Bench::of((1..).zip(&weights).map(at).collect(), &format!("balance: {{ by: {by} }}")).list,
            ..bench(1, RULES[rule], "")
        };
        if !tables {
            let list = crate::endpoint::EndpointList::clone(&bench.list);
            bench.list = std::sync::Arc::new(list.arranged(&Wants::default(), &Standing::default(), &bench.list.parts));
        }
        let whole: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        let mut running = Vec::new();
        for (key, ends) in keys {
            if ends {
                running.pop();
            }
            running.push(begin(&mut bench, key));
            let in_all = running.len() as f64;
            for (endpoint, weight) in bench.list.endpoints.iter().zip(&weights) {
                let bound = (1.25 * in_all * f64::from(*weight) / whole + 1e-4).ceil().max(1.0);
                // What was taken when more was in flight stays where it is.
                let taken = running.last().is_some_and(|(last, _)| last.endpoint().id == endpoint.id);
                prop_assert!(!taken || f64::from(endpoint.cell.in_flight()) <= bound, "{bound}");
            }
        }
    }
}
