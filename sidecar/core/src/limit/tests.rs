//! Buckets and caps, alone and together.

use std::time::Duration;

use api::Reason;

use crate::bench::Bench;
use crate::limit::limit;
use crate::queue::{Verdict, WaitOn};
use crate::route::route;

/// What the service says to so many requests at once, all still running.
fn check(policy: &str, n: usize, wanted: Result<(), Reason>) {
    let mut bench = Bench::new(1, policy);
    let exchange = bench.exchange(true);
    let _running: Vec<_> = (1..n).map(|_| bench.admission(&exchange)).collect();
    let route = route(&bench.plan, &exchange, "GET", "/", |_| None);
    let found = match limit(route.clone(), &exchange, |_| None, &mut bench.scratch, bench.now) {
        Verdict::Now(_) => Ok(()),
        Verdict::Refuse(refusal) => Err(refusal.reason),
        Verdict::Wait { on, until } => {
            assert_eq!((on, until), (WaitOn::Service, bench.now + Duration::from_millis(20)));
            Err(Reason::QueueTimeout)
        }
    };
    assert_eq!(found, wanted, "{policy}");
}

#[test]
fn a_request_is_limited_by_rate_and_by_what_is_in_flight() {
    check("", 100, Ok(()));
    check("limits: [{ name: x, rate: 1/s, burst: 2 }]", 2, Ok(()));
    check("limits: [{ name: x, rate: 1/s, burst: 2 }]", 3, Err(Reason::RateLimited));
    check("limits: [{ name: x, key: route, rate: 1/s, burst: 2 }]", 3, Err(Reason::RateLimited));
    check("cost: 3\nlimits: [{ name: x, rate: 1/s, burst: 6 }]", 2, Ok(()));
    check("cost: 3\nlimits: [{ name: x, rate: 1/s, burst: 6 }]", 3, Err(Reason::RateLimited));
    check("cost: 9\nlimits: [{ name: x, rate: 1/s, burst: 6 }]", 1, Ok(()));
    check("limits: [{ name: x, kind: fixed-window, rate: 2/s, window: 1s }]", 2, Ok(()));
    check("limits: [{ name: x, kind: fixed-window, rate: 2/s, window: 1s }]", 3, Err(Reason::RateLimited));
    check("limits: [{ name: x, kind: sliding-window, rate: 2/s, window: 1s }]", 3, Err(Reason::RateLimited));
    check("limits: [{ name: x, kind: leaky-bucket, rate: 100/s, longest_wait: 20ms }]", 3, Ok(()));
    check(
        "limits: [{ name: x, kind: leaky-bucket, rate: 100/s, longest_wait: 20ms }]",
        4,
        Err(Reason::RateLimited),
    );
    check("limits: [{ name: x, key: caller, rate: 1/s, burst: 2 }]", 3, Err(Reason::RateLimited));
    check("concurrency: { per_service: 2 }", 2, Ok(()));
    check("concurrency: { per_service: 2 }", 3, Err(Reason::QueueTimeout));
    check("concurrency: { per_service: 2, longest_wait: 0s }", 3, Err(Reason::ConcurrencyLimited));
}

#[test]
fn what_one_bucket_refuses_costs_the_other_nothing() {
    let mut bench =
        Bench::new(1, "limits: [{ name: wide, rate: 1/s, burst: 9 }, { name: narrow, rate: 1/h, burst: 1 }]");
    let exchange = bench.exchange(true);
    let _first = bench.admission(&exchange);
    let route = route(&bench.plan, &exchange, "GET", "/", |_| None);
    for _ in 0..20 {
        let Verdict::Refuse(refusal) =
            limit(route.clone(), &exchange, |_| None, &mut bench.scratch, bench.now)
        else {
            panic!("let in")
        };
        assert!(refusal.detail.contains("narrow"), "{}", refusal.detail);
    }
}

#[test]
fn each_value_of_a_header_has_its_own_level_and_each_request_its_cost() {
    let mut bench = Bench::new(
        1,
        "cost: { header: x-units, at_most: 10 }\nlimits: [{ name: x, key: { header: x-user }, rate: 1/h, burst: 10 }]",
    );
    let exchange = bench.exchange(true);
    let route = route(&bench.plan, &exchange, "GET", "/", |_| None);
    let mut passes = |user: Option<&'static str>, units: &'static str| {
        let header = |name: &str| if name == "x-user" { user } else { Some(units) };
        matches!(limit(route.clone(), &exchange, header, &mut bench.scratch, bench.now), Verdict::Now(_))
    };
    assert!(passes(Some("ann"), "8") && !passes(Some("ann"), "3") && passes(Some("ann"), "2"));
    assert!(passes(Some("bob"), "99") && !passes(Some("bob"), "1"));
    assert!(passes(None, "10") && !passes(None, "1"), "who says nothing is one key");
}

#[test]
fn a_turn_is_waited_for_within_the_deadline() {
    let mut bench = Bench::new(
        1,
        "timeout: { total: 15ms }\nlimits: [{ name: x, kind: leaky-bucket, rate: 100/s, longest_wait: 1s }]",
    );
    let exchange = bench.exchange(true);
    let turns: Vec<_> = (0..2).map(|_| bench.admission(&exchange).turn()).collect();
    assert_eq!(turns, [None, Some(bench.now + Duration::from_millis(10))]);
    let route = route(&bench.plan, &exchange, "GET", "/", |_| None);
    let late = limit(route.clone(), &exchange, |_| None, &mut bench.scratch, bench.now);
    assert!(matches!(late, Verdict::Refuse(refusal) if refusal.reason == Reason::RateLimited));
}
