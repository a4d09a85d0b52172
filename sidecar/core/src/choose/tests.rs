//! Picks told as tables: who is taken, and why the others are not.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::time::Duration;

use api::{Instance, Readiness};
use proptest::prelude::*;

use super::*;
use crate::bench::{self, Bench};
use crate::scratch::{How, Why};

/// How many of `n` requests each endpoint got, in percent, when `status` answers.
fn shares(bench: &mut Bench, n: usize, status: impl Fn(usize) -> u16) -> Vec<usize> {
    let mut hits = vec![0; bench.list.endpoints.len()];
    for _ in 0..n {
        hits[bench.run(true, &status)] += 1;
    }
    hits.iter().map(|hits| hits * 100 / n).collect()
}

fn pick(bench: &mut Bench) -> Attempt {
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    match bench.choose(&exchange, &admission) {
        Verdict::Now(attempt) => attempt,
        other => panic!("{other:?}"),
    }
}

fn weighted(weights: &[u16]) -> Vec<Instance> {
    let at = |(port, weight): (usize, &u16)| {
        let port = u16::try_from(port).unwrap() + 1;
        Instance { weight: *weight, ..Instance::at(bench::service(), ([10, 0, 0, 1], port).into()) }
    };
    weights.iter().enumerate().map(at).collect()
}

#[test]
fn equal_endpoints_share_alike_and_others_by_weight() {
    let mut even = Bench::new(3, "");
    assert!(shares(&mut even, 3_000, |_| 200).iter().all(|share| (30..=36).contains(share)));
    let mut uneven = Bench::of(weighted(&[100, 50, 50, 0]), "");
    let found = shares(&mut uneven, 4_000, |_| 200);
    assert!((46..=54).contains(&found[0]) && (22..=28).contains(&found[1]) && found[3] == 0, "{found:?}");
}

#[test]
fn a_large_set_is_sampled_and_shared_alike() {
    let mut bench = Bench::new(50, "");
    let found = shares(&mut bench, 10_000, |_| 200);
    assert!(found.iter().all(|share| (1..=3).contains(share)), "{found:?}");
}

#[test]
fn a_host_that_always_fails_gets_next_to_nothing_even_without_ejection() {
    let mut bench = Bench::new(5, "health: { consecutive: 1000000, minimum: 1000000 }");
    let found = shares(&mut bench, 5_000, |at| if at == 0 { 500 } else { 200 });
    assert!(found[0] <= 1, "{found:?}");
}

#[test]
fn one_of_three_that_fails_is_out_after_three_and_back_after_one_trial() {
    let mut hits = Vec::new();
    for seed in 1..=9 {
        let mut bench = Bench { dice: seed, ..Bench::new(3, "balance: { by: random }") };
        let failing = |at: usize| if at == 0 { 500 } else { 200 };
        hits.push((0..600).filter(|_| bench.run(true, failing) == 0).count());
        bench.after(4_000);
        let bad = (0..400).filter(|_| bench.run(true, failing) == 0).count();
        assert_eq!(bad, 1, "one trial, and it failed; seed {seed}");
        bench.after(4_000);
        assert!(shares(&mut bench, 2_000, |_| 200)[0] >= 25, "healed; seed {seed}");
    }
    hits.sort_unstable();
    // Where chance sends the first requests to the ill one alone, there is nobody yet to judge it against.
    assert!(hits[4] == 3 && hits[8] <= 7, "hits in 3 s: {hits:?}");
}

#[test]
fn when_all_fail_nobody_is_left_out_and_the_first_good_answer_brings_one_back() {
    let mut bench = Bench::new(3, "");
    shares(&mut bench, 300, |_| 500);
    let out = bench.list.endpoints.iter().filter(|e| e.cell.health.ask().is_out()).count();
    assert!(out <= 1, "{out} of 3 out");
    let health = bench.plan.routes[0].everyone.settings.health.clone();
    (0..3).for_each(|at| {
        bench.cell(at).health.eject(bench.now, true, &health, 0);
    });
    let chosen = bench.run(true, |_| 200);
    assert!(!bench.cell(chosen).health.ask().is_out());
}

#[test]
fn a_trial_is_never_a_post_while_something_safer_may_come() {
    let mut bench = Bench::new(2, "");
    let health = bench.plan.routes[0].everyone.settings.health.clone();
    bench.cell(0).health.eject(bench.now, false, &health, 0);
    bench.after(4_000);
    assert!((0..20).all(|_| bench.run(false, |_| 200) == 1));
    let attempt = pick(&mut bench);
    assert_eq!((attempt.how(), attempt.endpoint().id), (How::Trial, 0));
    drop(attempt);
    assert_eq!(pick(&mut bench).how(), How::Trial, "given back by dropping");
    bench.after(4_000);
    assert_eq!(bench.run(false, |_| 200), 0, "only POSTs came for a while");
}

#[test]
fn while_others_wait_for_room_whoever_refused_a_connection_is_tried_soon() {
    let tried = |hard, crowd, after| {
        let mut bench = Bench::new(2, "concurrency: { per_endpoint: 1 }");
        let health = bench.plan.routes[0].everyone.settings.health.clone();
        bench.cell(0).health.eject(bench.now, hard, &health, 0);
        bench.plan.cell.tell_trial(bench.cell(0).health.ask().trial_at().unwrap());
        let _held = pick(&mut bench);
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        if crowd {
            assert!(matches!(bench.choose(&exchange, &admission), Verdict::Wait { .. }));
        }
        bench.after(after);
        matches!(bench.choose(&exchange, &admission), Verdict::Now(attempt) if attempt.how() == How::Trial)
    };
    assert_eq!([999, 1_000].map(|after| tried(true, true, after)), [false, true]);
    assert_eq!([1_000, 4_000].map(|after| tried(true, false, after)), [false, true]);
    assert_eq!([1_000, 4_000].map(|after| tried(false, true, after)), [false, true]);
}

#[test]
fn the_unready_and_the_draining_serve_when_nobody_else_is_left() {
    let mut instances = weighted(&[100, 100, 100]);
    instances[0].readiness = Readiness::Draining;
    instances[1].readiness = Readiness::Unready;
    let mut bench = Bench::of(instances.clone(), "");
    assert_eq!(shares(&mut bench, 50, |_| 200), [0, 0, 100]);
    let mut bench = Bench::of(instances[..2].to_vec(), "");
    assert_eq!(shares(&mut bench, 50, |_| 200), [0, 100]);
    let mut bench = Bench::of(instances[..1].to_vec(), "");
    assert_eq!(pick(&mut bench).how(), How::Forced);
}

#[test]
fn a_newcomer_takes_its_share_slowly_and_exactly() {
    let mut bench = Bench::new(5, "");
    shares(&mut bench, 100, |_| 200);
    bench.cell(0).join(bench.now);
    bench.after(7_500);
    // Under load the others are never idle; judged by cost the newcomer would win every request.
    let exchange = bench.exchange(true);
    let mut hits = 0;
    for _ in 0..4_000 {
        let admission = bench.admission(&exchange);
        let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        hits += usize::from(attempt.endpoint().id == 0);
    }
    assert!((160..=240).contains(&hits), "{hits} of 4000 at a quarter of the ramp; its share is 200");
}

#[test]
fn a_full_set_waits_and_then_refuses() {
    let mut bench = Bench::new(2, "concurrency: { per_endpoint: 1, longest_wait: 20ms }");
    let held = (pick(&mut bench), pick(&mut bench));
    assert_ne!(held.0.endpoint().id, held.1.endpoint().id);
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let until = bench.now + Duration::from_millis(20);
    assert!(matches!(bench.choose(&exchange, &admission), Verdict::Wait { until: at, .. } if at == until));
    bench.after(20);
    let Verdict::Refuse(refusal) = bench.choose(&exchange, &admission) else { panic!("room?") };
    assert_eq!(refusal.reason, Reason::QueueTimeout);
    drop(held.0);
    assert!(matches!(bench.choose(&exchange, &admission), Verdict::Now(_)));
}

#[test]
fn an_endpoint_at_its_limit_is_passed_over_and_all_of_them_refuse() {
    let mut bench = Bench::new(2, "limits: [{ name: each, key: endpoint, rate: 10/s, burst: 3 }]");
    let mut met = [0, 0];
    for _ in 0..6 {
        met[(pick(&mut bench).endpoint().instance.address.port() - 1) as usize] += 1;
    }
    assert_eq!(met, [3, 3], "whoever is at its limit is not asked");
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let Verdict::Refuse(refusal) = bench.choose(&exchange, &admission) else { panic!("over the limit") };
    assert_eq!(refusal.reason, Reason::RateLimited);
    assert_eq!(refusal.retry_after, Some(Duration::from_millis(100)));
    assert!(refusal.quota.is_some_and(|quota| quota.name.as_str() == "each"));
    bench.after(100);
    assert!(matches!(bench.choose(&exchange, &admission), Verdict::Now(_)));
}

#[test]
fn an_empty_list_and_open_breakers_are_told_apart() {
    let check = |bench: &mut Bench, wanted| {
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let Verdict::Refuse(refusal) = bench.choose(&exchange, &admission) else { panic!("chosen") };
        assert_eq!(refusal.reason, wanted);
    };
    check(&mut Bench::new(0, ""), Reason::NoEndpoint);
    check(&mut Bench::of(weighted(&[0]), ""), Reason::NoEndpoint);
    let mut bench = Bench::new(1, "breaker: { failure_share: 50%, minimum: 5 }");
    (0..5).for_each(|_| {
        bench.run(true, |_| 500);
    });
    check(&mut bench, Reason::BreakerOpen);
    bench.after(6_000);
    assert_eq!(bench.run(true, |_| 200), 0, "half-open");
    assert_eq!(bench.run(true, |_| 200), 0, "closed");
}

#[test]
fn the_drawn_candidates_are_noted_with_why() {
    let mut instances = weighted(&[100, 100, 0]);
    instances[1].readiness = Readiness::Draining;
    let mut bench = Bench::of(instances, "");
    let _attempt = pick(&mut bench);
    let (candidates, counts) = bench.scratch.weighed();
    let whys: Vec<Why> = candidates.iter().map(|c| c.why).collect();
    assert_eq!(whys, [Why::Chosen, Why::Draining, Why::WeightZero]);
    assert_eq!(counts.iter().sum::<u16>(), 3);
}

proptest! {
    /// Random answers, time and readiness: nobody chooses an ejected endpoint while another is usable, and
    /// soft evidence never takes the last usable one.
    #[test]
    fn the_last_usable_endpoint_is_never_ejected(
        n in 1_u16..6, moves in prop::collection::vec((any::<u8>(), 0_u64..3_000), 1..200)
    ) {
        let mut bench = Bench::new(n, "");
        for (bits, gap) in moves {
            bench.after(gap);
            let list = bench.list.clone();
            let usable = |at: usize| !list.endpoints[at].cell.health.ask().is_out();
            let before: Vec<bool> = (0..usize::from(n)).map(usable).collect();
            let at = bench.run(true, |at| if bits >> at & 1 == 1 { 500 } else { 200 });
            let trial = bench.scratch.attempts[0].how == How::Trial;
            prop_assert!(before[at] || trial || !before.contains(&true), "chose an ejected one");
            prop_assert!((0..usize::from(n)).any(usable), "nobody is usable");
            let in_flight: u32 = list.endpoints.iter().map(|e| e.cell.in_flight()).sum();
            prop_assert_eq!(in_flight, 0);
        }
    }

    #[test]
    fn the_same_inputs_choose_the_same_endpoint(seed: u64) {
        let run = || {
            let mut bench = Bench::new(20, "");
            bench.dice = seed;
            (0..50).map(|_| bench.run(true, |at| if at == 3 { 500 } else { 200 })).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}
