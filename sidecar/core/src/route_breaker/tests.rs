//! A route's breaker on the line: who is refused, who tries, and what becomes of trials.

use api::Reason;
use api::policy::{Policy, PolicySet};

use crate::bench::Bench;
use crate::classify::Next;
use crate::limit::limit;
use crate::outcome::{Answer, Body, Outcome};
use crate::queue::Verdict;
use crate::route::route;

const POLICY: &str = "retry: { attempts: 1 }\nhealth: { consecutive: 1000, success_floor: 0% }\n\
                      route_breaker: { failures: 3, open_for: 1s }\nroutes:\n- name: other\n  match: { path: /other }\n";

/// Why the next request goes no further, before anything is taken.
fn refused(bench: &mut Bench) -> Option<Reason> {
    let exchange = bench.exchange(true);
    let route = route(&bench.plan, &exchange, "GET", &bench.target, |_| None);
    match limit(route.clone(), &exchange, |_| None, &mut bench.scratch, bench.now) {
        Verdict::Now(_) => None,
        Verdict::Refuse(refusal) => Some(refusal.reason),
        Verdict::Wait { .. } => panic!("nothing to wait for"),
    }
}

fn opened(policy: &str) -> Bench {
    let mut bench = Bench::new(2, policy);
    (0..3).for_each(|_| _ = bench.run(true, |_| 500));
    bench
}

#[test]
fn a_route_opens_by_itself_and_closes_by_a_good_trial() {
    let mut bench = opened(POLICY);
    assert_eq!(refused(&mut bench), Some(Reason::BreakerOpen));
    bench.target = "/other".into();
    assert_eq!(refused(&mut bench), None, "each route has its own");
    bench.target = "/".into();
    bench.after(1_200);
    assert_eq!(refused(&mut bench), None, "it may be a trial");
    bench.run(true, |_| 200);
    assert!((0..5).all(|_| refused(&mut bench).is_none()), "closed");
}

#[test]
fn failures_that_another_host_made_good_do_not_count() {
    let policy = POLICY.replace("attempts: 1", "attempts: 3, budget: 100%");
    let mut bench = Bench::new(2, &policy);
    for _ in 0..3 {
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        for status in [503, 200] {
            let Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
            let answer = Outcome::Answer(Answer { status, ..Answer::default() });
            let next = bench.classify(&exchange, &admission, &mut attempt, &answer, Body::Whole);
            assert_eq!(next == Next::Done, status == 200, "{next:?}");
        }
    }
    assert_eq!(refused(&mut bench), None);
}

/// Three requests pass the first look; the trial goes to whoever is sent first, and is not lost with those who are not
/// (Sentinel#1638).
#[test]
fn a_trial_that_a_later_rule_refuses_is_not_taken() {
    let mut bench = opened(POLICY);
    bench.after(1_200);
    let exchange = bench.exchange(true);
    let (first, second) = (bench.admission(&exchange), bench.admission(&exchange));
    let third = bench.admission(&exchange);
    let Verdict::Now(mut trial) = bench.choose(&exchange, &first) else { panic!("no trial") };
    let refused_later = bench.choose(&exchange, &second);
    assert!(
        matches!(refused_later, Verdict::Refuse(refusal) if refusal.reason == Reason::BreakerOpen),
        "one trial at a time"
    );
    let answer = Outcome::Answer(Answer { status: 200, ..Answer::default() });
    bench.classify(&exchange, &first, &mut trial, &answer, Body::Whole);
    assert!(matches!(bench.choose(&exchange, &third), Verdict::Now(_)), "closed by the trial");
}

#[test]
fn a_trial_that_is_cancelled_opens_it_anew_and_the_next_one_closes_it() {
    let mut bench = opened(POLICY);
    bench.after(1_200);
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let attempt = bench.choose(&exchange, &admission);
    drop((attempt, admission));
    assert_eq!(refused(&mut bench), Some(Reason::BreakerOpen));
    bench.after(900);
    assert_eq!(refused(&mut bench), Some(Reason::BreakerOpen), "a new timer");
    bench.after(301);
    bench.run(true, |_| 200);
    assert_eq!(refused(&mut bench), None);
}

#[test]
fn slow_requests_open_it_and_a_new_plan_leaves_it_open() {
    let text = "name: a\nmatch: { service: checkout }\nroute_breaker: { slow_share: 50%, slow_after: 10ms, minimum: 2 }\n";
    let mut bench = Bench::new(1, "route_breaker: { slow_share: 50%, slow_after: 10ms, minimum: 2 }");
    for _ in 0..2 {
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        bench.after(11);
        let answer = Outcome::Answer(Answer { status: 200, ..Answer::default() });
        bench.classify(&exchange, &admission, &mut attempt, &answer, Body::Whole);
    }
    assert_eq!(refused(&mut bench), Some(Reason::BreakerOpen));
    let mut again = |text: &str| {
        let set =
            PolicySet::new([api::yaml::read_one::<Policy>(text).unwrap_or_else(|why| panic!("{why:?}"))]);
        let settled = set.unwrap_or_else(|why| panic!("{why:?}")).settle(&crate::bench::service());
        let plan = crate::plan::ServicePlan::compile(
            &crate::bench::service(),
            &settled,
            bench.plan.cell.clone(),
            Some(&bench.plan),
        );
        bench.plan = plan.into();
        refused(&mut bench)
    };
    assert_eq!(again(&format!("{text}timeout: {{ total: 3s }}\n")), Some(Reason::BreakerOpen));
    assert_eq!(again("name: a\nmatch: { service: checkout }\n"), None, "switched off");
    assert_eq!(again(text), None, "and on again: it begins anew");
}
