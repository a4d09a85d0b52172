//! What would be begun beside others is what is begun in force, on the same answers.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::time::Duration;

use api::Moment;

use crate::also;
use crate::bench::{Bench, service};
use crate::choose::Call;
use crate::outcome::{Answer, Body, Outcome};
use crate::queue::Verdict;

/// Four thousand requests, one every 150 ms, of which three of a hundred would be answered after 120 ms and the others
/// within ten: how many got a second attempt, and how many were counted in shadow.
fn run(force: &str, shadow: Option<&str>, seed: u64) -> (u64, Option<u64>) {
    let (mut bench, mut dice, mut begun) = (Bench::beside(4, force, shadow), seed, 0);
    for number in 0..4_000 {
        let took = match crate::dice::next(&mut dice) % 100 {
            roll @ 3.. => 5 + roll % 5,
            _ => 120,
        };
        bench.now = Moment::from_millis(10_000 + 150 * number);
        begun += u64::from(send(&mut bench, Duration::from_millis(took)));
    }
    let told = bench.plan.shadow.as_ref().map(|shadow| shadow.report(&service()).would);
    (begun, told.and_then(|would| would.get("hedge.beside").copied()))
}

/// One request; whether it got a second attempt.
fn send(bench: &mut Bench, took: Duration) -> bool {
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let Verdict::Now(mut first) = bench.choose(&exchange, &admission) else { panic!("nobody") };
    let outcome = Outcome::Answer(Answer { status: 200, ..Answer::default() });
    let (list, ends) = (bench.list.clone(), bench.now + took);
    let call = Call { exchange: &exchange, admission: &admission, list: &list };
    let late = also::late_at(&exchange, &admission, &first, bench.now).filter(|late| *late < ends);
    if let Some(late) = late
        && let Some(mut second) = also::begin(&call, &mut bench.scratch, &first, Body::Whole, late, 7)
    {
        bench.now = late + Duration::from_millis(5);
        also::overtaken(&call, &mut bench.scratch, &mut first, bench.now, 7);
        bench.classify(&exchange, &admission, &mut second, &outcome, Body::Whole);
        return true;
    }
    bench.now = ends;
    bench.classify(&exchange, &admission, &mut first, &outcome, Body::Whole);
    false
}

fn check(words: &str, some: std::ops::RangeInclusive<u64>) {
    for seed in 1..=3 {
        let (forced, none) = run(words, None, seed);
        assert!(none.is_none() && some.contains(&forced), "seed {seed}: {forced}");
        let (acted, counted) = run("hedge: { after: off }\n", Some(words), seed);
        assert_eq!(acted, 0, "seed {seed}: a shadow acts on nobody");
        let counted = counted.unwrap();
        assert!(counted.abs_diff(forced) <= forced / 50, "seed {seed}: {counted} counted, {forced} begun");
    }
}

#[test]
fn what_would_be_begun_beside_a_late_answer_is_counted_as_it_is_begun_in_force() {
    check("hedge: { after: p95 }\n", 80..=160);
    check("hedge: { after: p95, at_least: 125ms }\n", 0..=0);
    check("hedge: { after: p95 }\nretry: { attempts: 1 }\n", 0..=0);
}
