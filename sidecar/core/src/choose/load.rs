//! The choice under an open-loop load: requests overlap, so that what is in flight matters.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use api::Instance;

use crate::attempt::Attempt;
use crate::bench::{Bench, service};
use crate::limit::Admission;
use crate::outcome::{Answer, Body, Outcome};
use crate::queue::Verdict;
use crate::record::{Finish, Record};

/// Sends `n` requests at `rate` per second to hosts that answer `behave(place, request)` = (status, µs)
/// whatever their load; each host's share in percent.
fn shares(
    bench: &mut Bench,
    n: usize,
    rate: u64,
    mut behave: impl FnMut(usize, usize) -> (u16, u64),
) -> Vec<f64> {
    let exchange = bench.exchange(true);
    let mut hits = vec![0; bench.list.endpoints.len()];
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut running: Vec<Option<(Attempt, Admission, u16)>> = Vec::new();
    let mut micros = bench.now.as_nanos() / 1_000;
    for request in 0..n {
        micros += 1_000_000 / rate;
        while let Some(Reverse((at, ended))) = ends.peek().copied().filter(|Reverse((at, _))| *at <= micros) {
            ends.pop();
            bench.now = api::Moment::from_nanos(at * 1_000);
            let (mut attempt, admission, status) = running[ended].take().unwrap();
            let outcome = Outcome::Answer(Answer { status, ..Answer::default() });
            bench.classify(&exchange, &admission, &mut attempt, &outcome, Body::Gone);
        }
        bench.now = api::Moment::from_nanos(micros * 1_000);
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        let place = bench.list.endpoints.iter().position(|e| e.id == attempt.endpoint().id).unwrap();
        hits[place] += 1;
        let (status, takes) = behave(place, request);
        running.push(Some((attempt, admission, status)));
        ends.push(Reverse((micros + takes, request)));
    }
    hits.iter().map(|hits| f64::from(*hits) * 100.0 / n as f64).collect()
}

const BARE: &str = "health: { consecutive: 1000000, minimum: 1000000 }";

#[test]
fn a_sinkhole_gets_next_to_nothing_although_it_is_always_idle() {
    for seed in 1..4 {
        let mut bench = Bench { dice: seed, ..Bench::new(5, BARE) };
        let found =
            shares(&mut bench, 8_000, 400, |at, _| if at == 0 { (500, 1_000) } else { (200, 20_000) });
        assert!(found[0] <= 1.0, "{found:?}");
    }
}

#[test]
fn a_host_that_is_three_times_slower_gets_a_part_and_not_nothing() {
    let mut bench = Bench::new(4, "");
    let found = shares(&mut bench, 8_000, 400, |at, _| (200, if at == 0 { 60_000 } else { 20_000 }));
    assert!((1.0..15.0).contains(&found[0]), "{found:?}");
}

/// 0.7 ÷ 2.7 are 26 %; the quieter, the longer the window remembers it beside fewer good answers.
#[test]
fn one_failure_costs_the_same_part_of_the_traffic_at_any_load() {
    for rate in [25, 100, 400] {
        let share = |dice| {
            let mut bench = Bench { dice, ..Bench::new(3, "") };
            let failed = std::cell::Cell::new(false);
            let once = |at: usize, _| match at == 0 && !failed.replace(failed.get() || at == 0) {
                true => (500, 1_000),
                false => (200, 20_000),
            };
            shares(&mut bench, 5 * rate as usize, rate, once)[0]
        };
        let mean = (1..=16).map(share).sum::<f64>() / 16.0;
        assert!((20.0..32.0).contains(&mean), "at {rate}/s: {mean} %");
    }
}

#[test]
fn where_everything_fails_a_little_nobody_is_starved() {
    let mut bench = Bench::new(5, "");
    let found = shares(&mut bench, 20_000, 400, |_, n| {
        let mut dice = n as u64;
        if crate::dice::next(&mut dice) % 10 < 3 { (500, 1_000) } else { (200, 20_000) }
    });
    assert!(found.iter().all(|share| (12.0..28.0).contains(share)), "{found:?}");
}

/// A good answer after 40 ms in the mean, as chance has it (exponentially).
fn by_chance(_: usize, request: usize) -> (u16, u64) {
    let mut dice = request as u64;
    (200, (-40_000.0 * (1.0 - crate::dice::unit(crate::dice::next(&mut dice))).ln()) as u64)
}

/// The shares of those that were met most, in percent, most first.
fn most(mut shares: Vec<f64>) -> Vec<f64> {
    shares.sort_unstable_by(|a, b| b.total_cmp(a));
    shares
}

#[test]
fn a_caller_that_sees_little_keeps_to_a_few_hosts_and_never_to_one() {
    for dice in 1..4 {
        let mut bench = Bench { dice, ..Bench::new(20, "") };
        let found = most(shares(&mut bench, 6_000, 50, by_chance));
        let own: f64 = found[..4].iter().sum();
        assert!(own > 50.0 && found[0] < 35.0, "{own} % to four, {found:?}");
        let says_so = (0..100).any(|_| {
            shares(&mut bench, 20, 50, by_chance);
            let told = Record::of(&bench.exchange(true), None, &bench.scratch, Finish::default()).to_string();
            told.contains("0 in flight, taken for 0.") && told.contains(" with those of others, success")
        });
        assert!(says_so);
    }
}

#[test]
fn nobody_is_preferred_where_hosts_answer_alike_are_few_or_tell_what_they_have_to_do() {
    let instance = |port: u16| Instance::at(service(), ([10, 0, 0, 1], port).into());
    let with_sidecars = (1..=20).map(|port| Instance { sidecar: true, ..instance(port) }).collect();
    for (mut bench, alike, most_of_one) in [
        (Bench::new(20, ""), true, 7.0),
        (Bench::new(4, ""), false, 40.0),
        (Bench::of(with_sidecars, ""), false, 20.0),
    ] {
        let found =
            shares(&mut bench, 6_000, 50, |at, n| if alike { (200, 20_000) } else { by_chance(at, n) });
        assert_eq!(bench.plan.cell.medians().own, f32::INFINITY);
        assert!(most(found)[0] < most_of_one);
    }
}

#[test]
fn with_the_defaults_a_failing_host_is_hit_a_few_times() {
    for hosts in [3, 5, 10] {
        let mut bench = Bench::new(hosts, "");
        let failing = |at: usize, _| if at == 0 { (500, 1_000) } else { (200, 20_000) };
        let found = shares(&mut bench, 8_000, 400, failing);
        let hits = found[0] * 80.0;
        assert!(hits <= 9.5, "{hits} hits in 20 s with {hosts} hosts: 4 at most and a trial each 4 s");
    }
}

/// How far newcomers are from their ramp, in percent of a fair share: over each second of the ramp, on average;
/// and when the first of them was met, in milliseconds.
fn distance(hosts: u16, newcomers: usize, by: &str, rate: u64, seed: u64) -> (f64, u64) {
    const RAMP: u64 = 30;
    let mut bench = Bench { dice: seed, ..Bench::new(hosts, &format!("balance: {{ by: {by} }}")) };
    let warm = |_, n: usize| (200, 20_000 + n as u64 % 7 * 3_000);
    shares(&mut bench, 2_000, rate, warm);
    (0..newcomers).for_each(|at| bench.cell(at).join(bench.now));
    let joined = bench.now;
    let fair = newcomers as f64 * rate as f64 / f64::from(hosts);
    let (mut sum, mut first) = (0.0, None);
    for second in 0..RAMP {
        let found = shares(&mut bench, rate as usize, rate, |at, n| {
            if at < newcomers && first.is_none() {
                first = Some(second * 1_000 + n as u64 * 1_000 / rate);
            }
            warm(at, n)
        });
        let hits: f64 = found[..newcomers].iter().sum::<f64>() * rate as f64 / 100.0;
        let wanted = fair * (second as f64 + 0.5) / RAMP as f64;
        sum += (hits - wanted).abs() / fair;
    }
    assert!(bench.now.since(joined).as_secs() >= RAMP - 1);
    (100.0 * sum / RAMP as f64, first.unwrap_or(u64::MAX))
}

#[test]
fn newcomers_follow_their_ramp_closely_and_are_met_within_a_second() {
    for by in ["least-loaded", "random", "round-robin", "least-active", "p2c", "latency", "prequal"] {
        for (hosts, newcomers) in [(11, 1), (62, 2)] {
            let (distance, first) = distance(hosts, newcomers, by, 500, u64::from(hosts));
            assert!(
                distance <= 6.0 && first <= 1_000,
                "{by}, {newcomers} of {hosts}: {distance} %, {first} ms"
            );
        }
    }
}
