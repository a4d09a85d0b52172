//! When a second attempt is begun, and which of two is taken.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use super::*;
use crate::bench::Bench;
use crate::classify::Next;
use crate::outcome::{Answer, Fault, FaultKind, Sent};
use crate::queue::Verdict;
use crate::scratch::How;

const HEDGED: &str = "hedge: { after: p90 }";

/// A service whose last hundred answers took 20 ms each.
fn warm(hosts: u16, policy: &str) -> Bench {
    let mut bench = Bench::new(hosts, policy);
    call(&mut bench, 20);
    bench
}

/// A hundred answers that take so many milliseconds each.
fn call(bench: &mut Bench, millis: u64) {
    for _ in 0..100 {
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        bench.after(millis);
        let outcome = answer(200);
        bench.classify(&exchange, &admission, &mut attempt, &outcome, Body::Whole);
    }
}

fn answer(status: u16) -> Outcome {
    Outcome::Answer(Answer { status, ..Answer::default() })
}

#[test]
fn no_late_answer_is_hedged_at_a_host_of_whose_load_nothing_is_known() {
    let mut bench = warm(20, "");
    let memory = Memory { span: Duration::from_secs(10), peaks: false };
    for at in 0..20 {
        bench.cell(at).ewma.tell(bench.now, Duration::from_millis(20 + 5 * at as u64), memory);
    }
    bench.after(30);
    let (mut running, mut begun) = (Vec::new(), 0);
    for _ in 0..8 {
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let Verdict::Now(first) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        let list = bench.list.clone();
        let call = Call { exchange: &exchange, admission: &admission, list: &list };
        let second = begin(&call, &mut bench.scratch, &first, Body::Whole, bench.now, 0);
        let own = bench.plan.cell.medians().own;
        assert!(own < 1.0, "some are preferred");
        begun += usize::from(second.is_some());
        assert!(second.as_ref().is_none_or(|second| second.endpoint().cell.lot.ask() <= own));
        running.push((first, second, admission));
    }
    assert!((1..8).contains(&begun), "{begun} while its own had room, and none after");
}

/// After how many milliseconds a request's answer is late, and whether another attempt is begun then.
fn late(bench: &mut Bench, idempotent: bool, body: Body) -> (Option<u128>, bool) {
    let exchange = bench.exchange(idempotent);
    let admission = bench.admission(&exchange);
    let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
    let after = late_at(&exchange, &admission, &attempt, bench.now).map(|at| at.since(bench.now));
    bench.after(25);
    let list = bench.list.clone();
    let call = Call { exchange: &exchange, admission: &admission, list: &list };
    let another = begin(&call, &mut bench.scratch, &attempt, body, bench.now, 0);
    (after.map(|after| after.as_millis()), another.is_some())
}

#[test]
fn an_answer_is_late_by_the_routes_own_percentile_and_only_where_it_may_run_twice() {
    let (after, another) = late(&mut warm(3, HEDGED), true, Body::Whole);
    assert!(after.is_some_and(|after| (20..23).contains(&after)) && another, "{after:?}");
    assert_eq!(late(&mut Bench::new(3, HEDGED), true, Body::Whole).0, None, "nothing is known yet");
    assert!(late(&mut warm(3, ""), true, Body::Whole).1, "by default");
    assert_eq!(late(&mut warm(3, "hedge: { after: off }"), true, Body::Whole).0, None, "nobody wants it");
    assert_eq!(late(&mut warm(3, HEDGED), false, Body::Whole).0, None, "a POST");
    let failfast = format!("{HEDGED}\nstrategy: {{ kind: failfast }}");
    assert_eq!(late(&mut warm(3, &failfast), true, Body::Whole).0, None, "one try is one try");
    let floor = late(&mut warm(3, "hedge: { after: p90, at_least: 1s }"), true, Body::Whole).0;
    assert_eq!(floor, Some(1_000));
    assert!(!late(&mut warm(3, HEDGED), true, Body::Gone).1, "its body is gone");
    assert!(!late(&mut warm(1, HEDGED), true, Body::Whole).1, "there is nobody else");
    let once = format!("{HEDGED}\nretry: {{ attempts: 1 }}");
    assert!(!late(&mut warm(3, &once), true, Body::Whole).1, "no attempt is left");
    let poor = "hedge: { after: p90, share: 0% }";
    assert!(!late(&mut warm(3, poor), true, Body::Whole).1, "no share is left");
}

#[test]
fn what_changes_something_runs_beside_itself_only_where_it_was_said() {
    let may = |policy: &str| {
        let mut bench = warm(3, policy);
        let exchange = Exchange { safe: false, ..bench.exchange(true) };
        let admission = bench.admission(&exchange);
        let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        late_at(&exchange, &admission, &attempt, bench.now).is_some()
    };
    assert_eq!([may(""), may("hedge: { of: repeatable }")], [false, true], "a PUT");
}

#[test]
fn where_all_answers_take_longer_none_is_hedged() {
    let mut bench = warm(3, "");
    call(&mut bench, 60);
    assert!(!late(&mut bench, true, Body::Whole).1);
    bench.after(30_000);
    call(&mut bench, 60);
    assert!(late(&mut bench, true, Body::Whole).1, "that is usual by now");
}

#[test]
fn no_late_answer_is_hedged_where_every_other_host_has_more_to_do_than_usual() {
    let mut bench = warm(3, "");
    let (exchange, mut held) = (bench.exchange(true), Vec::new());
    let admission = bench.admission(&exchange);
    for _ in 0..6 {
        let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        held.push(attempt);
    }
    assert!(!late(&mut bench, true, Body::Whole).1, "two at each, where one is usual");
    held.clear();
    assert!(late(&mut bench, true, Body::Whole).1);
}

/// Two attempts run; the one at `place` of them ends with `outcome`. Whether it is taken, and how each is noted.
fn race(place: usize, outcome: &Outcome) -> (bool, Vec<Then>, Bench) {
    let mut bench = warm(3, HEDGED);
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let mut both = Vec::new();
    for _ in 0..2 {
        let Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        attempt.connected(bench.now, true);
        both.push(attempt);
        bench.after(30);
    }
    assert_ne!(both[0].endpoint().id, both[1].endpoint().id, "another host");
    let list = bench.list.clone();
    let call = Call { exchange: &exchange, admission: &admission, list: &list };
    let (now, taken) =
        (bench.now, is_taken(&call, &mut bench.scratch, &mut both[place], outcome, bench.now, 0));
    if taken {
        overtaken(&call, &mut bench.scratch, &mut both[1 - place], now, 0);
    }
    let last = if taken { place } else { 1 - place };
    let next = bench.classify(&exchange, &admission, &mut both[last], &answer(200), Body::Whole);
    assert_eq!(next, Next::Done);
    (taken, bench.scratch.attempts.iter().map(|note| note.then).collect(), bench)
}

#[test]
fn the_first_good_answer_is_taken_and_a_failure_waits_for_the_other() {
    let reset = Outcome::Fault(Fault {
        kind: FaultKind::ResetBeforeHead,
        sent: Sent::All,
        reused: false,
        answer_byte: false,
    });
    for (place, outcome, taken, thens) in [
        (0, answer(200), true, [Then::Answered, Then::Overtaken]),
        (1, answer(200), true, [Then::Overtaken, Then::Answered]),
        (1, answer(404), true, [Then::Overtaken, Then::Answered]),
        (0, answer(503), false, [Then::Beside, Then::Answered]),
        (1, reset.clone(), false, [Then::Answered, Then::Beside]),
    ] {
        let (found, noted, bench) = race(place, &outcome);
        assert_eq!((found, noted.as_slice()), (taken, &thens[..]), "{place} {outcome:?}");
        let failed = bench.list.endpoints.iter().filter(|e| e.cell.health.in_a_row() > 0).count();
        assert_eq!(failed, usize::from(!taken), "who was overtaken did not fail");
    }
}

#[test]
fn who_is_overtaken_is_known_to_be_slow_from_then_on() {
    let (_, _, bench) = race(1, &answer(200));
    let memory = Duration::from_secs(10);
    let beside = |e: &std::sync::Arc<Endpoint>| e.cell.ewma.beside(bench.now, memory, 20_000.0);
    let slowest = bench.list.endpoints.iter().filter_map(beside).fold(0.0, f32::max);
    assert!(slowest > 20_100.0, "it kept us waiting for 60 ms and the others take 20: {slowest} µs");
}

#[test]
fn a_trial_that_is_overtaken_has_failed() {
    let mut bench = warm(3, HEDGED);
    let health = bench.plan.base().health.clone();
    bench.cell(0).health.eject(bench.now, false, &health, 0);
    bench.after(4_000);
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
    assert_eq!(attempt.how(), How::Trial);
    let list = bench.list.clone();
    let call = Call { exchange: &exchange, admission: &admission, list: &list };
    overtaken(&call, &mut bench.scratch, &mut attempt, bench.now, 0);
    assert_eq!(bench.cell(0).health.ask().trial_at(), Some(bench.now + Duration::from_secs(4)));
    assert_eq!(bench.scratch.attempts[0].then, Then::Overtaken);
}

#[test]
fn what_was_overtaken_still_keeps_its_host_busy() {
    let (taken, _, bench) = race(1, &answer(200));
    assert!(taken);
    let sum = |of: fn(&crate::endpoint::EndpointCell, Moment) -> u32| -> u32 {
        bench.list.endpoints.iter().map(|endpoint| of(&endpoint.cell, bench.now)).sum()
    };
    assert_eq!(sum(|cell, _| cell.in_flight()), 0);
    assert_eq!(sum(|cell, now| cell.occupied(now)), 1);
}
