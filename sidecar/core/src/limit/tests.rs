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
    let found = match limit(&route, &exchange, &mut bench.scratch, bench.now) {
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
        let Verdict::Refuse(refusal) = limit(&route, &exchange, &mut bench.scratch, bench.now) else {
            panic!("let in")
        };
        assert!(refusal.detail.contains("narrow"), "{}", refusal.detail);
    }
}
