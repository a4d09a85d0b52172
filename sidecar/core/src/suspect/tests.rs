//! Who is left out of a small service, under an open-loop load with seeded dice.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use api::Moment;

use crate::attempt::Attempt;
use crate::bench::Bench;
use crate::dice;
use crate::exchange::Exchange;
use crate::limit::Admission;
use crate::outcome::{Answer, Body, Outcome};
use crate::queue::Verdict;

const RATE: u64 = 200;
const MICROS: u64 = 20_000;

/// What a run came to.
#[derive(Debug, Default)]
struct Told {
    /// Failed requests by the second in which they came.
    errors: Vec<usize>,
    /// Time that endpoints were out, all together, in seconds.
    out: f64,
}

/// Random arrivals for `seconds`, each request with one attempt but for a failed trial's second one; `fails` says
/// by host, second and dice whether the answer is a 500.
fn run(bench: &mut Bench, seconds: u64, fails: impl Fn(usize, u64, f64) -> bool) -> Told {
    let mut told = Told { errors: vec![0; usize::try_from(seconds).unwrap()], out: 0.0 };
    let start = bench.now.as_nanos() / 1_000;
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut running: Vec<Option<(Exchange, Attempt, Admission)>> = Vec::new();
    let mut throw = bench.dice;
    let mut micros = start;
    while micros < start + seconds * 1_000_000 {
        let gap = -(1.0 - dice::unit(dice::next(&mut throw))).ln() * 1e6 / RATE as f64;
        let next = micros + gap as u64 + 1;
        while let Some(Reverse((at, ended))) = ends.peek().copied().filter(|Reverse((at, _))| *at <= next) {
            ends.pop();
            bench.now = Moment::from_nanos(at * 1_000);
            let (exchange, mut attempt, admission) = running[ended].take().unwrap();
            let second = (at - start) / 1_000_000;
            let place = bench.list.endpoints.iter().position(|e| e.id == attempt.endpoint().id).unwrap();
            let bad = fails(place, second, dice::unit(dice::next(&mut throw)));
            let status = if bad { 500 } else { 200 };
            let outcome = Outcome::Answer(Answer { status, ..Answer::default() });
            let trial = attempt.how() == crate::scratch::How::Trial;
            bench.classify(&exchange, &admission, &mut attempt, &outcome, Body::Whole);
            // A trial's failure is sent elsewhere, where somebody is well.
            if bad && !trial {
                told.errors[usize::try_from(second).unwrap().min(seconds as usize - 1)] += 1;
            }
        }
        let out = bench.list.endpoints.iter().filter(|e| e.cell.health.ask().is_out()).count();
        told.out += out as f64 * (next - micros) as f64 / 1e6;
        micros = next;
        bench.now = Moment::from_nanos(micros * 1_000);
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        ends.push(Reverse((micros + MICROS, running.len())));
        running.push(Some((exchange, attempt, admission)));
    }
    told
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

#[test]
fn a_small_service_loses_a_handful_of_requests_to_those_that_always_fail() {
    for (hosts, ill, most) in [(3, 1, 3.0), (5, 1, 3.0), (5, 2, 7.0), (10, 2, 7.0)] {
        let told: Vec<Told> = (1..=9)
            .map(|seed| {
                let mut bench = Bench { dice: seed, ..Bench::new(hosts, "retry: { attempts: 1 }") };
                run(&mut bench, 20, |at, _, _| at < ill)
            })
            .collect();
        let errors = median(told.iter().map(|told| told.errors.iter().sum::<usize>() as f64).collect());
        let late = told.iter().map(|told| told.errors[2..].iter().sum::<usize>()).max();
        assert!(errors <= most, "{hosts} hosts, {ill} ill: {errors} errors");
        assert_eq!(late, Some(0), "{hosts} hosts, {ill} ill: after 2 s");
    }
}

#[test]
fn where_all_begin_to_fail_a_little_nobody_is_left_out() {
    for hosts in [3, 5, 10] {
        let out = |seed| {
            let mut bench = Bench { dice: seed, ..Bench::new(hosts, "retry: { attempts: 1 }") };
            run(&mut bench, 40, |_, second, dice| second >= 12 && dice < 0.3).out
        };
        let out: Vec<f64> = (1..=15).map(out).collect();
        assert_eq!(median(out.clone()), 0.0, "{hosts} hosts: {out:?} host-seconds");
    }
}

#[test]
fn two_of_three_that_fail_from_the_start_are_found_although_the_median_is_ill() {
    for seed in 1..=5 {
        let mut bench = Bench { dice: seed, ..Bench::new(3, "retry: { attempts: 1 }") };
        let told = run(&mut bench, 20, |at, _, _| at < 2);
        let out = (0..3).filter(|at| bench.cell(*at).health.ask().is_out()).count();
        assert_eq!(out, 1, "the cap leaves one of three out on soft evidence");
        let late: usize = told.errors[5..].iter().sum();
        assert!(late * 100 <= 15 * RATE as usize, "{late} of the last 3,000 failed");
    }
}

#[test]
fn who_failed_twice_waits_until_a_third_failure_would_tell() {
    let mut bench = Bench::new(3, "");
    for _ in 0..2 {
        let all = bench.plan.cell.tell_attempt(bench.now, false);
        bench.cell(0).health.tell_bad(all);
    }
    let met: Vec<usize> = (0..4).map(|_| bench.run(true, |_| 200)).collect();
    assert!(!met.contains(&0), "{met:?}: four good answers of others make three failures a proof");
    assert!((0..20).any(|_| bench.run(true, |_| 200) == 0), "then it is asked again");
}

#[test]
fn who_answers_far_more_slowly_than_its_peers_is_left_out_where_that_was_asked_for() {
    for (policy, wanted) in [("", 0), ("health: { slow_share: 80%, slow_factor: 5 }", 1)] {
        let mut bench = Bench::new(4, &format!("balance: {{ by: random }}\n{policy}"));
        for _ in 0..200 {
            let exchange = bench.exchange(true);
            let admission = bench.admission(&exchange);
            let Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
            bench.after(if attempt.endpoint().id == 0 { 400 } else { 20 });
            let outcome = Outcome::Answer(Answer { status: 200, ..Answer::default() });
            bench.classify(&exchange, &admission, &mut attempt, &outcome, Body::Whole);
        }
        let out = bench.list.endpoints.iter().filter(|e| e.cell.health.ask().is_out()).count();
        assert_eq!(out, wanted, "{policy}");
        assert!(wanted == 0 || bench.cell(0).health.ask().is_out());
    }
}
