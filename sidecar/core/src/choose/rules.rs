//! The rules of `balance.by`, each against weights, load, success, ramp and the hosts tried already.
#![allow(clippy::unwrap_used, reason = "tests")]

use api::Instance;
use proptest::prelude::*;

use crate::attempt::Attempt;
use crate::bench::{self, Bench};
use crate::limit::Admission;
use crate::queue::Verdict;
use crate::scratch::How;

const RULES: [&str; 7] =
    ["least-loaded", "random", "round-robin", "least-active", "p2c", "latency", "prequal"];

fn bench(weights: &[u16], by: &str) -> Bench {
    let at = |(port, weight): (usize, &u16)| {
        let port = u16::try_from(port).unwrap() + 1;
        Instance { weight: *weight, ..Instance::at(bench::service(), ([10, 0, 0, 1], port).into()) }
    };
    Bench::of(weights.iter().enumerate().map(at).collect(), &format!("balance: {{ by: {by} }}"))
}

/// Begins a request; it runs until the attempt is dropped.
fn begin(bench: &mut Bench) -> (Attempt, Admission) {
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
    (attempt, admission)
}

fn hits(bench: &mut Bench, n: usize, status: impl Fn(usize) -> u16) -> Vec<usize> {
    let mut hits = vec![0; bench.list.endpoints.len()];
    (0..n).for_each(|_| hits[bench.run(true, &status)] += 1);
    hits
}

#[test]
fn every_rule_shares_idle_hosts_by_weight() {
    for by in RULES {
        let found = hits(&mut bench(&[100, 300, 0], by), 4_000, |_| 200);
        // Two draws of two hosts are both of them: then load decides, and idle hosts are taken by chance.
        let wanted = if matches!(by, "p2c" | "latency" | "prequal") { 1_800..=2_200 } else { 850..=1_150 };
        assert!(wanted.contains(&found[0]) && found[2] == 0, "{by}: {found:?}");
    }
}

#[test]
fn every_rule_shuns_who_always_fails_even_without_ejection() {
    for by in RULES {
        let mut bench = Bench::new(
            5,
            &format!("balance: {{ by: {by} }}\nhealth: {{ consecutive: 1000000, minimum: 1000000 }}"),
        );
        let found = hits(&mut bench, 5_000, |at| if at == 0 { 500 } else { 200 });
        assert!(found[0] <= 100, "{by}: {found:?}");
    }
}

#[test]
fn every_rule_goes_elsewhere_when_it_tries_again() {
    for by in RULES {
        let mut bench = bench(&[100; 4], by);
        for _ in 0..50 {
            let exchange = bench.exchange(true);
            let admission = bench.admission(&exchange);
            let mut met = Vec::new();
            for _ in 0..4 {
                let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
                met.push(attempt.endpoint().id);
            }
            met.sort_unstable();
            assert_eq!(met, [0, 1, 2, 3], "{by}");
        }
    }
}

#[test]
fn every_rule_gives_a_newcomer_its_part_of_the_ramp() {
    for by in RULES {
        let mut bench = bench(&[100; 5], by);
        hits(&mut bench, 100, |_| 200);
        bench.cell(0).join(bench.now);
        bench.after(7_500);
        let found = (0..4_000).filter(|_| begin(&mut bench).0.endpoint().id == 0).count();
        assert!((160..=240).contains(&found), "{by}: {found} of 4000 at a quarter of the ramp");
    }
}

#[test]
fn turns_are_spread_evenly_and_do_not_begin_with_the_first() {
    let mut bench = bench(&[100, 100, 200], "round-robin");
    let met: Vec<u32> = (0..400).map(|_| begin(&mut bench).0.endpoint().id).collect();
    for round in met.chunks(4) {
        let count = |id| round.iter().filter(|met| **met == id).count();
        assert_eq!((count(0), count(1), count(2)), (1, 1, 2), "{round:?}");
    }
    let first = |dice| {
        let mut bench = Bench { dice, ..self::bench(&[100; 4], "round-robin") };
        begin(&mut bench).0.endpoint().id
    };
    let met: std::collections::BTreeSet<u32> = (0..40).map(first).collect();
    assert_eq!(met.len(), 4, "many sidecars begin everywhere");
}

#[test]
fn who_was_away_comes_back_without_a_debt_or_a_claim() {
    let mut bench = bench(&[100; 3], "round-robin");
    let health = bench.plan.routes[0].everyone.settings.health.clone();
    bench.cell(0).health.eject(bench.now, false, &health, 0);
    assert_eq!(hits(&mut bench, 100, |_| 200)[0], 0);
    bench.after(4_000);
    assert_eq!(bench.run(true, |_| 200), 0, "its trial");
    bench.after(2_000);
    let found = hits(&mut bench, 30, |_| 200);
    assert!(found.iter().all(|n| (9..=11).contains(n)), "{found:?}");
}

#[test]
fn the_least_active_is_the_one_with_most_room_for_its_weight() {
    let mut bench = bench(&[100, 200, 400], "least-active");
    let running: Vec<_> = (0..70).map(|_| begin(&mut bench)).collect();
    let in_flight: Vec<u32> = bench.list.endpoints.iter().map(|e| e.cell.in_flight()).collect();
    assert_eq!(in_flight.iter().sum::<u32>(), 70);
    for (found, wanted) in in_flight.iter().zip([10_u32, 20, 40]) {
        assert!(found.abs_diff(wanted) <= 4, "{in_flight:?}");
    }
    drop(running);
    assert_eq!(begin(&mut bench).0.how(), How::Least);
}

#[test]
fn two_draws_keep_the_fullest_near_the_mean() {
    let mut bench = bench(&[100; 40], "p2c");
    let _running: Vec<_> = (0..400).map(|_| begin(&mut bench)).collect();
    let fullest = bench.list.endpoints.iter().map(|e| e.cell.in_flight()).max();
    assert!(fullest <= Some(13), "{fullest:?} where the mean is 10");
}

proptest! {
    /// Whatever the weights, turns follow them exactly: after any number of requests nobody is more than one
    /// request per host from its share.
    #[test]
    fn turns_are_proportional_to_weight(weights in prop::collection::vec(1_u16..500, 1..8), seed: u64) {
        let mut bench = Bench { dice: seed, ..bench(&weights, "round-robin") };
        let whole: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        let mut met = vec![0.0; weights.len()];
        for n in 1..300 {
            met[begin(&mut bench).0.endpoint().id as usize] += 1.0;
            for (met, weight) in met.iter().zip(&weights) {
                let wanted = f64::from(n) * f64::from(*weight) / whole;
                prop_assert!((met - wanted).abs() <= weights.len() as f64, "{met} of {n}, wanted {wanted}");
            }
        }
    }
}
