//! What each outcome means for the request and for the endpoint.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::time::Duration;

use api::Instance;
use api::policy::Failing;
use proptest::prelude::*;

use super::*;
use crate::bench::{self, Bench};
use crate::evidence::Sign;
use crate::exchange::Exchange;
use crate::outcome::{Answer, End, Pushback};
use crate::queue;
use crate::scratch::How;

const REFUSED: Fault = fault(FaultKind::ConnectRefused, Sent::None, false);
const RESET: Fault = fault(FaultKind::ResetBeforeHead, Sent::All, false);
const STARVED: Fault = fault(FaultKind::NoSocket, Sent::None, false);
const STALE: Fault = fault(FaultKind::ResetBeforeHead, Sent::All, true);

const fn fault(kind: FaultKind, sent: Sent, reused: bool) -> Fault {
    Fault { kind, sent, reused, answer_byte: false }
}

fn answer(status: u16) -> Outcome {
    Outcome::Answer(Answer { status, ..Answer::default() })
}

/// How a request goes whose attempts end with `outcomes`, one after the other: what was decided last.
fn check(policy: &str, idempotent: bool, body: Body, outcomes: &[Outcome], wanted: &Next, then: Then) {
    check_as(policy, |exchange| exchange.idempotent = idempotent, body, outcomes, wanted, then);
}

fn check_as(
    policy: &str,
    how: impl Fn(&mut Exchange),
    body: Body,
    outcomes: &[Outcome],
    wanted: &Next,
    then: Then,
) {
    let instance =
        |port| Instance { sidecar: true, ..Instance::at(bench::service(), ([10, 0, 0, 1], port).into()) };
    let mut bench = Bench::of((1..=5).map(instance).collect(), policy);
    let mut exchange = bench.exchange(true);
    how(&mut exchange);
    let admission = bench.admission(&exchange);
    let mut next = Next::Done;
    for outcome in outcomes {
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        bench.after(5);
        next = bench.classify(&exchange, &admission, &mut attempt, outcome, body);
    }
    assert_eq!(bench.scratch.last_attempt().unwrap().then, then, "{policy} {outcomes:?}: {next:?}");
    match (&next, wanted) {
        (Next::GiveUp(found), Next::GiveUp(wanted)) => {
            assert_eq!(found.reason, wanted.reason, "{outcomes:?}")
        }
        (Next::Again { free, .. }, Next::Again { free: wanted, .. }) => assert_eq!(free, wanted),
        (found, wanted) => assert_eq!(found, wanted, "{outcomes:?}"),
    }
}

fn again(free: bool) -> Next {
    Next::Again { at: Moment::ZERO, free }
}

fn give_up(reason: Reason) -> Next {
    Next::GiveUp(Refusal::of(reason))
}

#[test]
fn a_request_runs_twice_only_where_that_is_safe() {
    let one = |fault: Fault| [Outcome::Fault(fault)];
    // Nothing was sent: any method, free.
    check("", false, Body::Whole, &one(REFUSED), &again(true), Then::AgainFree);
    // Closed at its reuse before any answer byte: free when idempotent, lost when not.
    check("", true, Body::Whole, &one(STALE), &again(true), Then::AgainFree);
    check("", false, Body::Whole, &one(STALE), &give_up(Reason::OutcomeUnknown), Then::NotSafe);
    // It may have run: only what may run twice, and on the budget.
    check("", true, Body::Whole, &one(RESET), &again(false), Then::Again);
    check("", false, Body::Whole, &one(RESET), &give_up(Reason::OutcomeUnknown), Then::NotSafe);
    check("", true, Body::Gone, &one(RESET), &give_up(Reason::ResetBeforeHead), Then::BodyGone);
    check("", true, Body::Whole, &[answer(503)], &again(false), Then::Again);
    check("", false, Body::Whole, &[answer(503)], &Next::Done, Then::NotSafe);
    check("", true, Body::Whole, &[answer(500)], &again(false), Then::Again);
    check("", false, Body::Whole, &[answer(500)], &Next::Done, Then::NotSafe);
    check("", true, Body::Whole, &[answer(404)], &Next::Done, Then::Answered);
    check("", true, Body::Whole, &[Outcome::Cancelled], &give_up(Reason::ClientGone), Then::Dropped);
}

#[test]
fn an_apps_own_error_is_tried_elsewhere_only_while_its_host_fails_alone() {
    let mut bench = Bench::new(5, "");
    let poisoned = |bench: &mut Bench| {
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        bench.after(5);
        bench.classify(&exchange, &admission, &mut attempt, &answer(500), Body::Whole)
    };
    for _ in 0..100 {
        bench.run(true, |_| 200);
    }
    assert!(matches!(poisoned(&mut bench), Next::Again { .. }), "its peers never fail");
    for request in 0..500_u32 {
        bench.run(true, |_| if request.is_multiple_of(5) { 500 } else { 200 });
    }
    assert_eq!(poisoned(&mut bench), Next::Done, "everybody fails now and then: it is the request");
}

#[test]
fn a_key_makes_a_post_repeatable_only_where_the_service_is_said_to_honour_it() {
    let keyed = |exchange: &mut Exchange| (exchange.idempotent, exchange.keyed) = (false, true);
    let (lost, trusted) = ([Outcome::Fault(RESET)], "retry: { trust_idempotency_key: true }");
    check_as("", keyed, Body::Whole, &lost, &give_up(Reason::OutcomeUnknown), Then::NotSafe);
    check_as(trusted, keyed, Body::Whole, &lost, &again(false), Then::Again);
}

#[test]
fn a_service_that_asks_to_be_left_alone_is() {
    let said = |pushback, retry_after| {
        let (status, grpc_status) = (200, Some(14));
        [Outcome::Answer(Answer { status, grpc_status, pushback, retry_after, ..Answer::default() })]
    };
    let after = |millis| Some(Pushback::After(Duration::from_millis(millis)));
    check("", true, Body::Whole, &said(None, None), &again(false), Then::Again);
    check("", true, Body::Whole, &said(after(100), None), &again(false), Then::Again);
    check("", true, Body::Whole, &said(after(20_000), None), &Next::Done, Then::NoTime);
    check("", true, Body::Whole, &said(Some(Pushback::Never), None), &Next::Done, Then::PushedBack);
}

#[test]
fn another_try_waits_for_what_the_answer_asks_for() {
    let wait = |hosts, answer: Answer| {
        let mut bench = Bench::new(hosts, "");
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        let outcome = Outcome::Answer(answer);
        match bench.classify(&exchange, &admission, &mut attempt, &outcome, Body::Whole) {
            Next::Again { at, .. } => at.since(bench.now).as_millis(),
            Next::Done => u128::MAX,
            other => panic!("{other:?}"),
        }
    };
    let busy = |seconds| Answer {
        status: 503,
        retry_after: Some(Duration::from_secs(seconds)),
        ..Answer::default()
    };
    assert_eq!(wait(2, busy(2)), 0, "one host's word about itself: the other is asked at once");
    assert_eq!(wait(1, busy(2)), 2_000);
    assert_eq!(wait(1, busy(60)), u128::MAX, "longer than the caller waits: the answer goes on");
    let pushback = Some(Pushback::After(Duration::from_millis(300)));
    let pushed = Answer { status: 200, grpc_status: Some(14), pushback, ..Answer::default() };
    assert_eq!(wait(2, pushed), 300, "the service's word: nobody is asked before");
}

#[test]
fn a_trial_that_fails_costs_its_caller_nothing() {
    let tried = |policy: &str, idempotent: bool, status: u16| {
        let mut bench = Bench::new(3, policy);
        let health = bench.plan.base().health.clone();
        bench.cell(0).health.eject(bench.now, false, &health, 0);
        bench.after(8_000);
        let exchange = bench.exchange(idempotent);
        let admission = bench.admission(&exchange);
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        assert_eq!(attempt.how(), How::Trial, "{policy}");
        let next = bench.classify(&exchange, &admission, &mut attempt, &answer(status), Body::Whole);
        (next != Next::Done, bench.cell(0).health.ask().is_out())
    };
    for once in ["retry: { attempts: 1 }", "retry: { statuses: [503] }"] {
        assert_eq!(tried(once, true, 500), (true, true), "{once}: it goes elsewhere");
    }
    assert_eq!(tried("", false, 500), (false, true), "a POST may have run");
    assert_eq!(tried("strategy: { kind: failfast }", true, 500), (false, true), "one try is one try");
    assert_eq!(tried("retry: { budget: 0%, floor: 0/s }", true, 500), (false, true), "the budget holds");
    assert_eq!(tried("", true, 429), (false, true), "no proof of health");
    assert_eq!(tried("", true, 404), (false, false), "it works");
}

#[test]
fn failures_are_told_apart_and_only_those_that_count_do() {
    let answered = |status, grpc_status| Outcome::Answer(Answer { status, grpc_status, ..Answer::default() });
    for (outcome, failing) in [
        (Outcome::Fault(RESET), Failing::Network),
        (answered(503, None), Failing::Gateway),
        (answered(500, None), Failing::App),
        (answered(200, Some(13)), Failing::Grpc),
        (Outcome::Fault(fault(FaultKind::AnswerCut, Sent::All, false)), Failing::Cut),
    ] {
        for (policy, wanted) in [("", 1), (&*format!("health: {{ counts: {:?} }}", others(failing)), 0)] {
            let mut bench = Bench::new(1, policy);
            let exchange = bench.exchange(true);
            let admission = bench.admission(&exchange);
            let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("?") };
            bench.classify(&exchange, &admission, &mut attempt, &outcome, Body::Whole);
            assert_eq!(bench.scratch.effects.failures[failing as usize], 1, "{outcome:?}");
            assert_eq!(bench.cell(0).health.in_a_row(), wanted, "{outcome:?} under {policy:?}");
        }
    }
}

/// Every kind but one, as YAML writes a list.
fn others(failing: Failing) -> Vec<&'static str> {
    Failing::ALL.iter().filter(|other| **other != failing).map(|other| other.as_str()).collect()
}

#[test]
fn attempts_are_bounded_and_free_ones_come_on_top_at_most_twice() {
    let lost = |n: usize| vec![Outcome::Fault(RESET); n];
    let refused = |n: usize| vec![Outcome::Fault(REFUSED); n];
    check("", true, Body::Whole, &lost(2), &again(false), Then::Again);
    check("", true, Body::Whole, &lost(3), &give_up(Reason::ResetBeforeHead), Then::NoAttemptLeft);
    check("", false, Body::Whole, &refused(2), &again(true), Then::AgainFree);
    check("", false, Body::Whole, &refused(3), &again(false), Then::Again);
    check("", false, Body::Whole, &refused(5), &give_up(Reason::ConnectRefused), Then::NoAttemptLeft);
    let failfast = "strategy: { kind: failfast }";
    check(failfast, true, Body::Whole, &lost(1), &give_up(Reason::ResetBeforeHead), Then::NoAttemptLeft);
    check(failfast, true, Body::Whole, &refused(1), &again(true), Then::AgainFree);
    let poor = "retry: { budget: 0%, floor: 0/s }";
    check(poor, true, Body::Whole, &lost(1), &give_up(Reason::ResetBeforeHead), Then::NoBudget);
    check(poor, true, Body::Whole, &refused(1), &again(true), Then::AgainFree);
}

#[test]
fn time_that_ran_out_says_so_and_a_slow_attempt_may_go_elsewhere() {
    let late = [Outcome::Fault(fault(FaultKind::AttemptTimeout, Sent::All, true))];
    let hurried = "timeout: { total: 5ms }";
    check(hurried, true, Body::Whole, &late, &give_up(Reason::DeadlineExceeded), Then::NoTime);
    check("", true, Body::Whole, &late, &again(false), Then::Again);
    check("", false, Body::Whole, &late, &give_up(Reason::AttemptTimeout), Then::NotSafe);
}

#[test]
fn a_sidecar_that_answers_in_its_apps_place_proves_that_the_app_saw_nothing() {
    let said =
        |status, reason| [Outcome::Answer(Answer { status, reason: Some(reason), ..Answer::default() })];
    check("", false, Body::Whole, &said(503, Reason::Draining), &again(true), Then::AgainFree);
    check("", false, Body::Whole, &said(503, Reason::QueueTimeout), &again(false), Then::Again);
    check("", false, Body::Whole, &said(502, Reason::ConnectRefused), &again(true), Then::AgainFree);
    check("", false, Body::Whole, &said(502, Reason::OutcomeUnknown), &Next::Done, Then::NotSafe);
}

#[test]
fn only_what_an_endpoint_did_counts_against_it() {
    let mut bench = Bench::new(1, "");
    let mut counted = |outcome: Outcome| {
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        bench.after(1);
        let cell = attempt.endpoint().cell.clone();
        cell.window.clear();
        bench.classify(&exchange, &admission, &mut attempt, &outcome, Body::Whole);
        let counts = cell.window.ask(bench.now, Duration::from_secs(1));
        (counts.good, counts.bad)
    };
    let grpc = |grpc| Outcome::Answer(Answer { status: 200, grpc_status: Some(grpc), ..Answer::default() });
    for (outcome, wanted) in [
        (answer(200), (1, 0)),
        (answer(404), (1, 0)),
        (answer(429), (0, 0)),
        (answer(500), (0, 1)),
        (answer(503), (0, 1)),
        (grpc(0), (1, 0)),
        (grpc(5), (1, 0)),
        (grpc(8), (0, 0)),
        (grpc(14), (0, 1)),
        (Outcome::Fault(STALE), (0, 0)),
        (Outcome::Fault(STARVED), (0, 0)),
        (Outcome::Fault(RESET), (0, 1)),
        (Outcome::Cancelled, (0, 0)),
    ] {
        assert_eq!(counted(outcome.clone()), wanted, "{outcome:?}");
    }
}

#[test]
fn who_has_no_socket_waits_for_one_instead_of_asking_everybody() {
    let mut bench = Bench::new(5, "");
    let exchange = bench.exchange(false);
    let admission = bench.admission(&exchange);
    let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
    let starved = Outcome::Fault(STARVED);
    let next = bench.classify(&exchange, &admission, &mut attempt, &starved, Body::Whole);
    assert!(matches!(next, Next::Again { at, free: true } if at > bench.now), "{next:?}");
    check(
        "",
        false,
        Body::Whole,
        &vec![Outcome::Fault(STARVED); 5],
        &give_up(Reason::NoSocket),
        Then::NoAttemptLeft,
    );
}

#[test]
fn a_refused_connection_is_out_at_once() {
    let mut bench = Bench::new(3, "");
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    for left in (0..3).rev() {
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        bench.classify(&exchange, &admission, &mut attempt, &Outcome::Fault(REFUSED), Body::Whole);
        assert_eq!(bench.scratch.effects.ejected, Some(Sign::Refused));
        assert_eq!(bench.list.endpoints.iter().filter(|e| !e.cell.health.ask().is_out()).count(), left);
    }
}

#[test]
fn a_host_that_cuts_every_answer_is_soon_out_although_every_head_was_good() {
    let mut bench = Bench::new(3, "balance: { by: round-robin }");
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let list = bench.list.clone();
    let call = Call { exchange: &exchange, admission: &admission, list: &list };
    let mut cut = 0;
    for _ in 0..90 {
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        bench.after(5);
        bench.classify(&exchange, &admission, &mut attempt, &answer(200), Body::Whole);
        let end = if attempt.endpoint().id == 0 { End::Cut } else { End::Whole };
        cut += usize::from(end == End::Cut);
        judge::conclude(&call, &mut attempt, end, bench.now, 0);
    }
    assert!(cut <= 4, "{cut} were cut");
    assert!(bench.cell(0).health.ask().is_out());
}

#[test]
fn a_cut_body_takes_the_good_word_back() {
    let mut bench = Bench::new(3, "balance: { by: random }");
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let list = bench.list.clone();
    let call = Call { exchange: &exchange, admission: &admission, list: &list };
    let mut ejected = 0;
    for _ in 0..300 {
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        bench.after(5);
        bench.classify(&exchange, &admission, &mut attempt, &answer(200), Body::Whole);
        let end = if attempt.endpoint().id == 0 { End::Cut } else { End::Whole };
        ejected += usize::from(
            judge::conclude(&call, &mut attempt, end, bench.now, 0)
                .is_some_and(|came| came.ejected.is_some()),
        );
    }
    assert_eq!(ejected, 1);
    assert!(bench.cell(0).health.ask().is_out());
}

#[test]
fn a_grpc_answer_is_judged_by_its_trailers() {
    let ends = [(Some(0), false), (Some(5), false), (Some(13), true), (Some(14), true), (None, true)];
    for (status, ejects) in ends {
        let mut bench = Bench::new(3, "balance: { by: random }");
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let list = bench.list.clone();
        let call = Call { exchange: &exchange, admission: &admission, list: &list };
        let head = Outcome::Answer(Answer { status: 200, later: true, ..Answer::default() });
        let mut ejected = 0;
        for _ in 0..300 {
            let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else {
                panic!("nobody")
            };
            bench.after(5);
            bench.classify(&exchange, &admission, &mut attempt, &head, Body::Whole);
            let said = if attempt.endpoint().id == 0 { status } else { Some(0) };
            said.into_iter().for_each(|status| attempt.said(status));
            ejected += usize::from(
                judge::conclude(&call, &mut attempt, End::Whole, bench.now, 0)
                    .is_some_and(|came| came.ejected.is_some()),
            );
        }
        assert_eq!(ejected > 0, ejects, "grpc-status {status:?}");
        assert_eq!(bench.cell(0).health.ask().is_out(), ejects, "grpc-status {status:?}");
    }
}

#[test]
fn an_attempt_that_is_dropped_gives_everything_back() {
    let mut bench = Bench::new(1, "");
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let queue::Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
    assert_eq!((bench.cell(0).in_flight(), bench.plan.cell.in_flight()), (1, 1));
    drop((attempt, admission));
    assert_eq!((bench.cell(0).in_flight(), bench.plan.cell.in_flight()), (0, 0));
    assert_eq!(bench.plan.cell.cancelled(), 1);
}

#[test]
fn the_time_that_a_client_takes_is_no_news_of_its_endpoint() {
    let mut bench = Bench::new(1, "");
    let mut run = |uploads: u64| {
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        attempt.connected(bench.now, true);
        attempt.sent(uploads == 0, || bench.now);
        let meanwhile = bench.cell(0).awaited();
        bench.after(uploads);
        attempt.sent(true, || bench.now);
        let whole = bench.cell(0).awaited();
        bench.after(20);
        bench.classify(&exchange, &admission, &mut attempt, &answer(200), Body::Whole);
        let unqueued = bench.cell(0).knee.unqueued().map(|unqueued| unqueued.as_millis());
        (meanwhile, whole, bench.cell(0).awaited(), bench.cell(0).in_flight(), unqueued)
    };
    assert_eq!(run(0), (1, 1, 0, 1, None), "the body of its answer may go on");
    for _ in 0..100 {
        run(3_000);
    }
    assert_eq!(run(3_000), (0, 1, 0, 1, Some(20)));
}

#[test]
fn what_may_be_tried_once_does_not_wait_for_a_host_that_refuses() {
    let mut bench = Bench::of(
        vec![Instance::at(bench::service(), ([10, 0, 0, 1], 1).into())],
        "strategy: { kind: failfast }",
    );
    let exchange = bench.exchange(false);
    let admission = bench.admission(&exchange);
    for (fault, wanted) in [(REFUSED, Then::NoAttemptLeft), (STALE, Then::NotSafe)] {
        let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        bench.classify(&exchange, &admission, &mut attempt, &Outcome::Fault(fault), Body::Whole);
        assert_eq!(bench.scratch.last_attempt().unwrap().then, wanted);
    }
}

/// Any way in which no answer may come.
fn any_fault() -> impl Strategy<Value = Fault> {
    let (kind, sent) = (prop::sample::select(FaultKind::ALL), prop::sample::select(Sent::ALL));
    (kind, sent, any::<bool>(), any::<bool>()).prop_map(|(kind, sent, reused, answer_byte)| Fault {
        kind,
        sent,
        reused,
        answer_byte,
    })
}

proptest! {
    #[test]
    fn what_may_have_run_is_sent_again_only_where_it_may_run_twice_and_never_without_its_body(
        faults in prop::collection::vec(any_fault(), 1..6), idempotent: bool, whole: bool,
    ) {
        let body = if whole { Body::Whole } else { Body::Gone };
        let mut bench = Bench::new(5, "");
        let exchange = bench.exchange(idempotent);
        let admission = bench.admission(&exchange);
        for fault in faults {
            let queue::Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { break };
            bench.after(5);
            let next = bench.classify(&exchange, &admission, &mut attempt, &Outcome::Fault(fault), body);
            let Next::Again { free, .. } = next else {
                prop_assert!(matches!(next, Next::GiveUp(_)), "{fault:?} is no answer");
                break;
            };
            prop_assert!(whole, "{fault:?}");
            prop_assert!(idempotent || fault.sent == Sent::None, "{fault:?}");
            let at_its_reuse = fault.reused || fault.kind == FaultKind::StaleConnection;
            prop_assert!(!free || fault.sent == Sent::None || at_its_reuse, "{fault:?}");
        }
    }
}
