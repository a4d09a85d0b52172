//! What is counted in shadow is what is refused in force, on the same requests.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::collections::BTreeMap;
use std::time::Duration;

use api::{Caller, Moment, Proof, Reason};

use crate::bench::Bench;
use crate::exchange::Exchange;
use crate::limit::{Admission, limit};
use crate::queue::Verdict;
use crate::route::route;

type Counted = BTreeMap<String, u64>;

/// One request of a recorded trace: when it came, from whom, and how long it was in flight.
struct Recorded {
    at: Moment,
    caller: String,
    held: Duration,
}

/// Five thousand requests of four callers in bursts, from a seed.
fn trace(seed: u64) -> Vec<Recorded> {
    let (mut dice, mut at) = (seed, Moment::from_millis(1_000));
    let mut below = |most: u64| crate::dice::next(&mut dice) % most;
    let mut one = |_| {
        at = at + Duration::from_millis(if below(4) == 0 { below(60) } else { below(3) });
        Recorded { at, caller: format!("c{}", below(4)), held: Duration::from_millis(below(40)) }
    };
    (0..5_000).map(&mut one).collect()
}

/// Runs the requests through `policy`: what was refused, by leaf, and what its shadow counted.
fn run(policy: &str, trace: &[Recorded]) -> (Counted, Option<Counted>) {
    let mut bench = Bench::new(3, policy);
    let mut refused = Counted::new();
    let mut running: Vec<(Moment, Admission)> = Vec::new();
    for recorded in trace {
        bench.now = recorded.at;
        running.retain(|(end, _)| *end > bench.now);
        let caller = Caller { name: recorded.caller.parse().ok(), proof: Proof::None };
        let exchange = Exchange { caller, ..bench.exchange(true) };
        bench.scratch.begin();
        let route = route(&bench.plan, &exchange, "GET", "/", |_| None);
        match limit(route.clone(), &exchange, |_| None, &mut bench.scratch, bench.now) {
            Verdict::Now(admission) => running.push((bench.now + recorded.held, admission)),
            Verdict::Refuse(refusal) => {
                *refused.entry(leaf(refusal.reason, &refusal.detail)).or_default() += 1
            }
            Verdict::Wait { .. } => panic!("nobody waits here"),
        }
    }
    let shadow = bench.plan.shadow.as_ref().map(|shadow| {
        let report = shadow.report(&bench.plan.service);
        assert_eq!(report.requests, trace.len() as u64);
        report.would
    });
    (refused, shadow)
}

fn leaf(reason: Reason, detail: &str) -> String {
    match reason {
        Reason::RateLimited => format!("limits.{}", detail.split(' ').nth(1).unwrap()),
        Reason::BulkheadFull => format!("concurrency.bulkheads.{}", detail.split(' ').nth(1).unwrap()),
        Reason::ConcurrencyLimited => "concurrency.per_service".into(),
        other => panic!("{other}"),
    }
}

/// `words` refuse in force what they count in shadow, and refuse nothing there.
fn check(words: &str, leaves: &[&str]) {
    for seed in 1..=3 {
        let trace = trace(seed);
        let (refused, none) = run(words, &trace);
        assert_eq!(none, None, "nothing is in shadow");
        assert_eq!(refused.keys().map(String::as_str).collect::<Vec<_>>(), leaves, "seed {seed}: {words}");
        let (acted, counted) = run(&format!("mode: shadow\n{words}"), &trace);
        assert_eq!(acted, Counted::new(), "seed {seed}: a shadow acts on nobody");
        assert_eq!(counted, Some(refused), "seed {seed}: {words}");
    }
}

#[test]
fn what_is_counted_in_shadow_is_what_is_refused_in_force() {
    check("limits: [{ name: all, rate: 60/s, burst: 9 }]\n", &["limits.all"]);
    check(
        "limits: [{ name: all, rate: 90/s, burst: 9 }, { name: each, key: caller, rate: 20/s, burst: 3 }]\n",
        &["limits.all", "limits.each"],
    );
    // The first part of a fleet's limit is a hundredth of it.
    check("limits: [{ name: all, rate: 6000/s, scope: fleet }]\n", &["limits.all"]);
    check("concurrency: { per_service: 2, longest_wait: 0s }\n", &["concurrency.per_service"]);
    check(
        "concurrency: { bulkheads: [{ name: few, in_flight: 2 }, { name: each, by: caller, in_flight: 1 }], longest_wait: 0s }\n",
        &["concurrency.bulkheads.each", "concurrency.bulkheads.few"],
    );
}

#[test]
fn only_what_differs_from_what_is_in_force_is_held_against_requests() {
    let text = "limits: [{ name: all, rate: 60/s, burst: 9 }]\ntimeout: { total: 2s }\n";
    let trace = trace(1);
    let (refused, counted) = run(text, &trace);
    assert!(refused["limits.all"] > 0 && counted.is_none());
}

#[test]
fn an_answer_that_comes_later_than_would_be_waited_for_is_counted() {
    let bench = Bench::new(1, "mode: shadow\ntimeout: { total: 2s }\n");
    let shadow = bench.plan.shadow.as_ref().unwrap();
    for millis in [1, 1_999, 2_000, 2_001, 9_000] {
        shadow.tell_head(0, &Caller::default(), Duration::from_millis(millis));
    }
    let would = shadow.report(&bench.plan.service).would;
    assert_eq!(would, Counted::from([("timeout.total".into(), 2)]));
}

#[test]
fn an_attempt_that_would_find_its_bulkhead_full_is_counted_there() {
    let words =
        "concurrency: { bulkheads: [{ name: few, in_flight: 2, by: { label: zone } }], longest_wait: 0s }\n";
    let run = |policy: &str| {
        let mut bench = Bench::new(3, policy);
        let exchange = bench.exchange(true);
        let admissions: Vec<Admission> = (0..5).map(|_| bench.admission(&exchange)).collect();
        let attempts: Vec<_> = admissions.iter().map(|own| bench.choose(&exchange, own)).collect();
        let refused = attempts.iter().filter(|attempt| !matches!(attempt, Verdict::Now(_))).count() as u64;
        let told = bench.plan.shadow.as_ref().map(|shadow| shadow.report(&bench.plan.service).would);
        (refused, told)
    };
    let (refused, none) = run(words);
    assert_eq!((refused, none), (3, None));
    let counted = Counted::from([("concurrency.bulkheads.few".into(), refused)]);
    assert_eq!(run(&format!("mode: shadow\n{words}")), (0, Some(counted)));
}

#[test]
fn the_same_words_go_on_counting_and_others_begin_anew() {
    let bench = Bench::new(1, "mode: shadow\nlimits: [{ name: all, rate: 1/h, burst: 1 }]\n");
    let compiled = |text: &str, before| {
        let text = format!("name: a\nmatch: {{ service: checkout }}\nmode: shadow\n{text}");
        let set = api::PolicySet::new([api::yaml::read_one::<api::Policy>(&text).unwrap()]).unwrap();
        let service = &bench.plan.service;
        crate::plan::ServicePlan::compile(
            service,
            &set.settle(service),
            bench.plan.cell.clone(),
            Some(before),
        )
    };
    let shadow = bench.plan.shadow.as_ref().unwrap();
    let exchange = bench.exchange(true);
    let asker = crate::limits::Asker { exchange: &exchange, cost: 1, patience: None, now: bench.now };
    let places = [shadow.ask(0, asker, |_| None), shadow.ask(0, asker, |_| None)];
    assert_eq!(places.map(|place| place.is_some()), [true, false]);
    let counted = |plan: &crate::plan::ServicePlan| {
        let report = plan.shadow.as_ref().unwrap().report(&plan.service);
        (report.requests, report.would.into_values().sum::<u64>())
    };
    let same = compiled("limits: [{ name: all, rate: 1/h, burst: 1 }]\n", &bench.plan);
    assert_eq!(counted(&same), (2, 1));
    let other = compiled("limits: [{ name: all, rate: 2/h, burst: 1 }]\n", &same);
    assert_eq!(counted(&other), (0, 0));
}
