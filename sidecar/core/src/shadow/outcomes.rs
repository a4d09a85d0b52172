//! What is counted in shadow of requests that are sent and answered is what would be done in force with the same answers.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::collections::BTreeMap;
use std::time::Duration;

use api::{Moment, Reason};

use crate::bench::{Bench, service};
use crate::classify::Next;
use crate::limit::limit;
use crate::outcome::{Answer, Body, Outcome};
use crate::queue::Verdict;
use crate::route::route;

/// One request of a recorded trace: when it came, for what, and what the first and any other attempt is answered.
struct Recorded {
    at: Moment,
    path: &'static str,
    answers: [u16; 2],
}

/// Four thousand requests from a seed; every second half second `failing` of a hundred fail at first.
fn trace(seed: u64, failing: u64) -> Vec<Recorded> {
    let (mut dice, mut at) = (seed, Moment::from_millis(20_000));
    let mut below = |most: u64| crate::dice::next(&mut dice) % most;
    let mut one = |_| {
        at = at + Duration::from_millis(1 + below(9));
        let ill = at.as_millis() / 500 % 2 == 0 && below(100) < failing;
        let path = ["/orders/7", "/orders", "/"][below(3) as usize];
        Recorded { at, path, answers: if ill { [503, 200] } else { [200, 200] } }
    };
    (0..4_000).map(&mut one).collect()
}

/// What became of them: requests that a breaker or a limit refused, attempts made again, requests by route.
#[derive(Debug, Default, PartialEq)]
struct Done {
    refused: u64,
    again: u64,
    routes: BTreeMap<String, u64>,
}

/// Runs the requests through policies, the second one in shadow: what was done, and what was counted.
fn run(force: &str, shadow: Option<&str>, trace: &[Recorded]) -> (Done, BTreeMap<String, u64>) {
    run_on(3, force, shadow, trace)
}

fn run_on(
    hosts: u16,
    force: &str,
    shadow: Option<&str>,
    trace: &[Recorded],
) -> (Done, BTreeMap<String, u64>) {
    let calm = "hedge: { after: off }\nhealth: { consecutive: 1000000, success_floor: 0% }\n";
    let mut bench = Bench::beside(hosts, &format!("{calm}{force}"), shadow);
    let mut done = Done::default();
    for recorded in trace {
        (bench.now, bench.target) = (recorded.at, recorded.path.into());
        send(&mut bench, recorded, &mut done);
    }
    let told = bench.plan.shadow.as_ref().map(|shadow| shadow.report(&service()).would);
    (done, told.unwrap_or_default())
}

fn send(bench: &mut Bench, recorded: &Recorded, done: &mut Done) {
    let exchange = bench.exchange(true);
    bench.scratch.begin();
    let route = route(&bench.plan, &exchange, "GET", &bench.target, |_| None);
    *done.routes.entry(route.name().map_or("default".into(), ToString::to_string)).or_default() += 1;
    let admission = match limit(route.clone(), &exchange, |_| None, &mut bench.scratch, bench.now) {
        Verdict::Now(admission) => admission,
        Verdict::Refuse(refusal) if refusal.reason == Reason::BreakerOpen => return done.refused += 1,
        other => panic!("{other:?}"),
    };
    for answer in recorded.answers {
        let mut attempt = match bench.choose(&exchange, &admission) {
            Verdict::Now(attempt) => attempt,
            Verdict::Refuse(refusal)
                if matches!(refusal.reason, Reason::BreakerOpen | Reason::RateLimited) =>
            {
                return done.refused += 1;
            }
            other => panic!("{other:?}"),
        };
        let outcome = Outcome::Answer(Answer { status: answer, ..Answer::default() });
        match bench.classify(&exchange, &admission, &mut attempt, &outcome, Body::Whole) {
            Next::Again { .. } => done.again += 1,
            Next::Done => return,
            Next::GiveUp(refusal) => panic!("{refusal:?}"),
        }
    }
}

/// What `figure` says of what is done with `base` and with `words` in force is counted as `leaf` where `base` is in force
/// and `words` are in shadow.
fn check(base: &str, words: &str, failing: u64, leaf: &str, figure: fn(&Done, &Done) -> u64) {
    check_on(3, (base, words), failing, leaf, figure);
}

fn check_on(
    hosts: u16,
    (base, words): (&str, &str),
    failing: u64,
    leaf: &str,
    figure: fn(&Done, &Done) -> u64,
) {
    for seed in 1..=3 {
        let trace = trace(seed, failing);
        let run = |force, shadow| run_on(hosts, force, shadow, &trace);
        let ((before, _), (acted, counted)) = (run(base, None), run(base, Some(words)));
        assert_eq!(acted, before, "seed {seed}: a shadow acts on nobody");
        let wanted = figure(&before, &run(words, None).0);
        assert!(wanted > 0, "seed {seed}: {words} does nothing");
        assert_eq!(counted.get(leaf), Some(&wanted), "seed {seed}: {words}: {counted:?}");
    }
}

const ONCE: &str = "retry: { attempts: 1 }\n";

#[test]
fn a_breaker_in_shadow_counts_whom_it_would_refuse() {
    let words = "retry: { attempts: 1 }\nroute_breaker: { failures: 5, window: 2s, open_for: 300ms }\n";
    check(ONCE, words, 60, "route_breaker", |_, forced| forced.refused);
}

#[test]
fn a_retry_in_shadow_counts_what_it_would_send_again_within_a_budget_of_its_own() {
    let words = "retry: { attempts: 2, budget: 2%, floor: 0/s }\n";
    check(ONCE, words, 12, "retry.again", |_, forced| forced.again);
    check("", ONCE, 12, "retry.not_again", |before, _| before.again);
    check("", words, 12, "retry.not_again", |before, forced| before.again - forced.again);
}

#[test]
fn statuses_in_shadow_count_what_would_be_sent_again_after_them() {
    let other = "retry: { attempts: 2, statuses: [502] }\n";
    let words = "retry: { attempts: 2, statuses: [503] }\n";
    check_on(1, (other, words), 12, "retry.again", |before, forced| forced.again - before.again);
    check_on(1, (words, other), 12, "retry.not_again", |before, forced| before.again - forced.again);
}

#[test]
fn an_endpoints_breaker_in_shadow_counts_whom_it_would_shut_out() {
    let words = "retry: { attempts: 1 }\nbreaker: { failures: 5, window: 2s, open_for: 300ms }\n";
    check_on(1, (ONCE, words), 60, "breaker.elsewhere", |_, forced| forced.refused);
}

#[test]
fn a_limit_of_endpoints_in_shadow_counts_whom_it_would_refuse() {
    let words = "retry: { attempts: 1 }\nlimits: [{ name: each, key: endpoint, rate: 60/s, burst: 9 }]\n";
    check_on(1, (ONCE, words), 0, "limits.each", |_, forced| forced.refused);
}

#[test]
fn routes_in_shadow_count_who_would_be_on_them() {
    let words = "routes:\n- { name: read, match: { path: \"/orders/*\" } }\n- { name: all, match: { path: /orders } }\n";
    let base = "routes: [{ name: all, match: { path: \"/*\" } }]\n";
    for seed in 1..=3 {
        let trace = trace(seed, 0);
        let (acted, counted) = run(base, Some(words), &trace);
        assert_eq!(acted.routes.keys().map(String::as_str).collect::<Vec<_>>(), ["all"]);
        let (forced, _) = run(words, None, &trace);
        // Who is on "all" either way is moved by nobody, and nobody else comes there.
        let moved = |name: &str| if name == "all" { 0 } else { forced.routes[name] };
        let wanted = ["all", "default", "read"].map(|name| (format!("routes.{name}"), moved(name)));
        assert_eq!(counted, BTreeMap::from(wanted), "seed {seed}");
    }
}

#[test]
fn what_a_route_in_shadow_would_refuse_is_held_against_who_would_be_on_it() {
    let words = "routes: [{ name: read, match: { path: \"/orders/*\" }, limits: [{ name: few, rate: 1/h, burst: 3 }] }]\n";
    let trace = trace(1, 0);
    let (_, counted) = run("", Some(words), &trace);
    let read = trace.iter().filter(|one| one.path == "/orders/7").count() as u64;
    assert_eq!((counted["routes.read"], counted["limits.few"]), (read, read - 3));
}
