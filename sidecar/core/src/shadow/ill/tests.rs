//! Whom a second machine would leave out is whom it leaves out in force.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::time::Duration;

use crate::bench::{Bench, service};
use crate::evidence::Sign;
use crate::outcome::{Answer, Body, Outcome};
use crate::queue::Verdict;

const ONCE: &str = "retry: { attempts: 1 }\nhedge: { after: off }\n";
/// Leaves nobody out, whatever happens.
const NEVER: &str = "health: { consecutive: 1000000, success_floor: 0% }\n";

/// What was done, and counted in shadow.
#[derive(Debug, Default, PartialEq)]
struct Left {
    out: u64,
    ejected: Option<u64>,
    elsewhere: Option<u64>,
}

/// Six thousand requests, one `every` so many milliseconds, to hosts of which the one at some place answers so, and after so
/// many milliseconds, at so many.
fn run(
    hosts: u16,
    words: (&str, Option<&str>),
    seed: u64,
    every: u64,
    answer: impl Fn(usize, u64) -> (u16, u64),
) -> Left {
    let mut bench = Bench::beside(hosts, &format!("{ONCE}{}", words.0), words.1);
    bench.dice = seed;
    let (begin, mut left) = (bench.now, Left::default());
    for number in 0..6_000 {
        bench.now = begin + Duration::from_millis(every * number);
        let exchange = bench.exchange(true);
        let admission = bench.admission(&exchange);
        let Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
        let id = attempt.endpoint().id;
        let place = bench.list.endpoints.iter().position(|endpoint| endpoint.id == id).unwrap();
        let (status, took) = answer(place, every * number);
        let answer = Answer { status, ..Answer::default() };
        bench.after(took);
        bench.classify(&exchange, &admission, &mut attempt, &Outcome::Answer(answer), Body::Whole);
        left.out += u64::from(bench.scratch.effects.ejected.is_some_and(|sign| sign != Sign::Trial));
    }
    let told = bench.plan.shadow.as_ref().map(|shadow| shadow.report(&service()).would);
    let of = |leaf: &str| told.as_ref().and_then(|would| would.get(leaf).copied());
    (left.ejected, left.elsewhere) = (of("health.ejected"), of("health.elsewhere"));
    left
}

/// With any of five seeds as many are left out in force and in shadow: `wanted`.
fn check(hosts: u16, wanted: u64, status: impl Fn(usize, u64) -> u16 + Copy) {
    let words = "health: { consecutive: 4 }\n";
    for seed in 1..=5 {
        let answer = |place, at| (status(place, at), 3);
        let forced = run(hosts, (words, None), seed, 5, answer);
        assert_eq!(forced, Left { out: wanted, ..Left::default() }, "seed {seed}");
        let shadow = run(hosts, (NEVER, Some(words)), seed, 5, answer);
        assert_eq!((shadow.out, shadow.ejected), (0, Some(wanted)), "seed {seed}");
        assert_eq!(shadow.elsewhere.unwrap() > 0, wanted > 0, "seed {seed}: {shadow:?}");
    }
}

#[test]
fn who_fails_is_left_out_in_thought_as_in_force() {
    check(4, 0, |_, _| 200);
    check(4, 1, |place, _| if place == 0 { 500 } else { 200 });
    check(4, 2, |place, _| if place < 2 { 500 } else { 200 });
    check(1, 0, |_, _| 500);
}

#[test]
fn who_passed_its_trial_is_back_and_may_be_left_out_again() {
    check(4, 2, |place, at| if place == 0 && !(6_000..=20_000).contains(&at) { 500 } else { 200 });
}

#[test]
fn who_is_slow_is_left_out_in_thought_as_in_force() {
    let turns = "balance: { by: round-robin }\n";
    let slow = |never: &str| never.replace(" }", ", slow_share: 60% }");
    let words = slow(NEVER);
    for seed in 1..=3 {
        let answer = |place, _| (200, if place == 0 { 90 } else { 3 });
        let forced = run(4, (&format!("{turns}{words}"), None), seed, 100, answer);
        assert_eq!(forced, Left { out: 1, ..Left::default() }, "seed {seed}");
        let shadow = run(4, (&format!("{turns}{NEVER}"), Some(&words)), seed, 100, answer);
        assert_eq!((shadow.out, shadow.ejected), (0, Some(1)), "seed {seed}");
        assert!(shadow.elsewhere > Some(100), "seed {seed}: {shadow:?}");
    }
}

#[test]
fn who_is_told_of_under_other_words_begins_anew() {
    let mut bench = Bench::beside(3, &format!("{ONCE}{NEVER}"), Some("health: { consecutive: 4 }\n"));
    (0..60).for_each(|_| _ = bench.run(true, |place| if place == 0 { 500 } else { 200 }));
    let ill = |bench: &Bench| {
        let plan = bench.plan.shadow.as_ref().unwrap();
        bench.cell(0).ill(plan.id).health.ask().is_out()
    };
    assert!(ill(&bench));
    let other = Bench::beside(3, &format!("{ONCE}{NEVER}"), Some("health: { consecutive: 5 }\n"));
    bench.plan = other.plan.clone();
    assert!(!ill(&bench), "nothing is known of it under these");
}
