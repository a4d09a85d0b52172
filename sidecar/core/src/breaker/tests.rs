//! What opens it, and what closes it.

use std::time::Duration;

use super::*;
use crate::endpoint::EndpointCell;

const GOOD: Ending = Ending { failed: false, slow: false };
const FAILED: Ending = Ending { failed: true, slow: false };

fn settings(words: &str) -> Settings {
    let text = format!("name: a\nbreaker: {{ {words} }}\n");
    let policy =
        api::yaml::read_one::<api::policy::Policy>(&text).unwrap_or_else(|why| panic!("{text}: {why:?}"));
    api::schema::Words::settle(&policy.words).breaker
}

/// After how many of `endings`, a millisecond apart, it is open.
fn check(words: &str, endings: &[(Ending, usize)], wanted: Option<usize>) {
    let (settings, breaker) = (settings(words), Breaker::default());
    let all = endings.iter().flat_map(|(ending, times)| std::iter::repeat_n(*ending, *times));
    let opened =
        all.zip(1..).find(|(ending, n)| breaker.tell(Moment::from_millis(*n as u64), *ending, &settings));
    assert_eq!(opened.map(|(_, n)| n), wanted, "{words}");
    assert_eq!(breaker.opened(), u64::from(wanted.is_some()));
}

#[test]
fn it_opens_on_failures_by_share_or_number_and_on_slow_ones() {
    let slow = Ending::of(false, Duration::from_millis(1_001), &settings("slow_share: 50%"));
    assert!(slow.slow && !Ending::of(false, Duration::from_secs(9), &settings("")).slow);
    check("failure_share: 50%", &[(GOOD, 20), (FAILED, 30)], Some(40));
    check("failure_share: 50%, minimum: 5", &[(FAILED, 9)], Some(5));
    check("failure_share: 50%", &[(slow, 99)], None);
    check("slow_share: 50%", &[(GOOD, 20), (slow, 30)], Some(40));
    check("slow_share: 50%", &[(FAILED, 99)], None);
    check("failures: 3", &[(GOOD, 500), (FAILED, 2), (GOOD, 500), (FAILED, 1)], Some(1_003));
    check("failures: 3, window: 100ms", &[(FAILED, 2), (GOOD, 500), (FAILED, 2)], None);
    check("", &[(FAILED, 99)], None);
}

#[test]
fn it_closes_after_good_trials_and_forgets_what_was() {
    let settings = settings("failures: 2, trials: 2");
    let (cell, now) = (EndpointCell::shared(), Moment::from_millis(7_000));
    (0..2).for_each(|_| _ = cell.breaker.tell(Moment::ZERO, FAILED, &settings));
    assert!(matches!(Breaker::ask(&cell, Moment::from_millis(4_999), &settings), Pass::No));
    let trial = |wanted: bool| match Breaker::ask(&cell, now, &settings) {
        Pass::Trial(permit) if wanted => Some(permit),
        Pass::No if !wanted => None,
        other => panic!("{other:?}"),
    };
    let (first, second) = (trial(true), trial(true));
    assert!(trial(false).is_none(), "two at a time");
    assert_eq!(first.map(|permit| permit.ended(GOOD, now, &settings)), Some(false));
    assert!(trial(false).is_none(), "two in all");
    assert_eq!(second.map(|permit| permit.ended(GOOD, now, &settings)), Some(false));
    assert!(matches!(Breaker::ask(&cell, now, &settings), Pass::Free));
    assert!(!cell.breaker.tell(now, FAILED, &settings), "the two before are forgotten");
}

#[test]
fn a_slow_trial_is_no_good_one() {
    let settings = settings("slow_share: 50%, minimum: 1");
    let (cell, now) = (EndpointCell::shared(), Moment::from_millis(7_000));
    cell.breaker.tell(Moment::ZERO, Ending { failed: false, slow: true }, &settings);
    let Pass::Trial(permit) = Breaker::ask(&cell, now, &settings) else { panic!("no trial") };
    assert!(permit.ended(Ending { failed: false, slow: true }, now, &settings));
    assert!(matches!(cell.breaker.state(), State::Open { .. }));
}
