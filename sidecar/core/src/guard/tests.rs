//! The guard before a service that collapses, recovers, fails or is merely slow in places.
#![allow(clippy::unwrap_used, reason = "tests")]

use api::policy::Cap;
use proptest::prelude::*;

use super::rule::{Seen, Stand};
use super::*;
use crate::bench::Bench;
use crate::knee::Sample;
use crate::service::ServiceCell;

const USUAL: Duration = Duration::from_millis(40);
const LOST: Fact = Fact::Lost;
const GOOD: Fact = Fact::Good(USUAL);

fn at(millis: u64) -> Moment {
    Moment::from_millis(60_000 + millis)
}

/// A guard that saw a second of answers in time, up to the time that the others count from.
fn worked() -> Guard {
    let guard = Guard::default();
    for n in 0..100 {
        let now = Moment::from_millis(59_000 + u64::from(n) * 10);
        guard.tell(now, GOOD, (n % 4, || USUAL), || 4);
    }
    guard
}

/// Tells what each of `hosts` endpoints' attempts came to, 50 a second each, for `seconds` from second `from` on.
fn tell(guard: &Guard, hosts: u32, (from, seconds): (u64, u64), fact: impl Fn(u32) -> Fact) {
    for millis in (from * 1_000..(from + seconds) * 1_000).step_by(20) {
        for id in 0..hosts {
            guard.tell_offered();
            guard.tell(at(millis), fact(id), (id, || USUAL), || hosts);
        }
    }
}

fn state(guard: &Guard) -> State {
    guard.account(at(0)).state
}

#[test]
fn it_drains_where_nearly_all_is_waited_for_in_vain_and_reopens_by_doubling() {
    let guard = Guard::default();
    tell(&guard, 4, (0, 5), |_| GOOD);
    assert_eq!((state(&guard), guard.bound()), (State::Calm, None));
    tell(&guard, 4, (5, 1), |_| LOST);
    assert_eq!((state(&guard), guard.bound()), (State::Draining, Some(4)), "one for each host");
    assert_eq!(guard.acted(), 1);
    let mut bounds = Vec::new();
    for millis in (6_000..9_000).step_by(20) {
        guard.tell_offered();
        // Somebody meets the bound while it is below eighty.
        guard.bound().filter(|bound| *bound < 80).iter().for_each(|_| guard.tell_met());
        guard.tell(at(millis), GOOD, ((millis % 4) as u32, || USUAL), || 4);
        if guard.bound().is_some_and(|bound| bounds.last() != Some(&bound)) {
            bounds.extend(guard.bound());
        }
    }
    assert_eq!(bounds, [4, 8, 16, 32, 64, 128]);
    assert_eq!(state(&guard), State::Calm);
}

#[test]
fn what_hosts_finish_is_let_in_while_it_drains() {
    let guard = worked();
    // A third of 400 a second is still answered in time: 133 × 40 ms are five at a time.
    for n in 0..1_200_u64 {
        guard.tell_offered();
        guard.tell(at(n * 5 / 2), if n % 3 == 0 { GOOD } else { LOST }, ((n % 4) as u32, || USUAL), || 4);
    }
    assert_eq!(state(&guard), State::Draining);
    assert!((5..=6).contains(&guard.bound().unwrap()), "{:?}", guard.bound());
}

#[test]
fn it_drains_again_where_answers_are_late_again() {
    let guard = worked();
    tell(&guard, 4, (0, 2), |_| LOST);
    tell(&guard, 4, (2, 1), |_| GOOD);
    tell(&guard, 4, (3, 1), |_| LOST);
    assert_eq!(state(&guard), State::Draining);
}

#[test]
fn while_it_reopens_answers_that_had_to_wait_bring_the_bound_back_to_what_hosts_finish() {
    let stand = Stand { state: State::Reopening, row: 1, bound: 64, worked: true };
    let seen = Seen {
        shown: Shown { offered: 200, good: 50, lost: 0 },
        took: USUAL * 4,
        met: 150,
        asked: 4,
        lasted: WINDOW,
        usual: USUAL,
        hosts: 4,
        ..Seen::default()
    };
    assert_eq!(stand.after(seen), Stand { row: 0, bound: 8, ..stand }, "200 a second, 40 ms each");
    assert_eq!(stand.after(Seen { took: USUAL, ..seen }).bound, 128);
}

#[test]
fn where_nothing_ever_was_in_time_there_is_nothing_to_collapse() {
    let guard = Guard::default();
    // Long polls: most are left after long, some are answered.
    for n in 0..2_000_u64 {
        guard.tell(at(n * 10), if n % 4 == 0 { GOOD } else { LOST }, ((n % 4) as u32, || USUAL), || 4);
    }
    assert_eq!((state(&guard), guard.acted()), (State::Calm, 0));
}

#[test]
fn failures_without_a_queue_are_none_of_its_business() {
    let guard = worked();
    tell(&guard, 4, (0, 10), |_| Fact::Failed);
    assert_eq!(state(&guard), State::Calm);
}

#[test]
fn a_few_slow_hosts_are_healths_business() {
    for (ill, of) in [(1, 2), (1, 3), (2, 3), (3, 5)] {
        let guard = worked();
        // The well ones answer far less than the ill ones lose: it is not the share that keeps it calm.
        for n in 0..2_000 {
            let id = if n % 10 == 0 { ill + (n / 10) % (of - ill) } else { n % ill };
            guard.tell(at(u64::from(n) * 5), if id < ill { LOST } else { GOOD }, (id, || USUAL), || of);
        }
        assert_eq!(state(&guard), State::Calm, "{ill} of {of}");
    }
}

#[test]
fn one_pause_that_all_hosts_had_is_no_collapse() {
    let guard = Guard::default();
    tell(&guard, 4, (0, 1), |_| GOOD);
    (0..60).for_each(|id| guard.tell(at(1_100), LOST, (id % 4, || USUAL), || 4));
    tell(&guard, 4, (2, 5), |_| GOOD);
    assert_eq!((state(&guard), guard.acted()), (State::Calm, 0));
}

#[test]
fn a_quiet_service_is_not_judged_by_a_handful() {
    let guard = worked();
    (0..40).for_each(|second| guard.tell(at(second * 1_000), LOST, (0, || USUAL), || 1));
    assert_eq!(state(&guard), State::Calm);
}

#[test]
fn a_stand_that_nothing_was_told_about_is_forgotten() {
    let guard = worked();
    tell(&guard, 4, (0, 2), |_| LOST);
    assert_eq!((state(&guard), guard.bound_at(at(2_000))), (State::Draining, Some(4)));
    assert_eq!(guard.bound_at(at(60_000)), None);
    guard.tell(at(60_000), LOST, (0, || USUAL), || 4);
    assert_eq!(state(&guard), State::Calm);
}

#[test]
fn who_would_be_late_anyway_does_not_wait() {
    let guard = Guard::default();
    assert_eq!(guard.waits_until(Some(at(300))), Some(at(300)), "nothing is usual yet");
    guard.tell(at(0), LOST, (0, || USUAL), || 1);
    assert_eq!(guard.waits_until(Some(at(300))), Some(at(260)));
    assert_eq!(guard.waits_until(None), None);
}

/// Every stand with every window whose counts are of `few` values, whatever came before.
#[test]
fn in_all_stands_and_windows_the_rule_keeps_its_promises() {
    let few = [0_u32, 1, 8, 17, 100];
    let stands = State::ALL.iter().flat_map(|state| {
        let bounds: &[u32] = if *state == State::Calm { &[0] } else { &[1, 4, u32::MAX] };
        bounds
            .iter()
            .flat_map(move |bound| {
                [(0, false), (0, true), (1, true)].map(|(row, worked)| (row, worked, *bound))
            })
            .map(|(row, worked, bound)| Stand { state: *state, row, bound, worked })
    });
    for stand in stands {
        assert_eq!(Stand::unpack(stand.pack()), stand);
        for (good, failed, lost, met, losing) in windows(&few) {
            let seen = Seen {
                shown: Shown { offered: good + failed + lost, good, lost },
                failed,
                took: USUAL,
                met,
                asked: 4,
                losing,
                lasted: WINDOW,
                usual: USUAL,
                hosts: 4,
            };
            let after = stand.after(seen);
            assert_eq!(after.bound().is_none(), after.state == State::Calm, "{stand:?} {seen:?}");
            let acts = after.state != State::Calm;
            if stand.state == State::Calm && acts {
                assert!(
                    lost > good + failed && losing >= 3 && stand.row == 1 && stand.worked,
                    "{stand:?} {seen:?}"
                );
            }
            if lost == 0 {
                assert_ne!(after.state, State::Draining, "{stand:?} {seen:?}");
            }
            if after.state == State::Draining {
                assert!(after.bound >= 4, "one for each host");
            }
        }
    }
}

fn windows(few: &[u32]) -> Vec<(u32, u32, u32, u32, u32)> {
    let mut all = Vec::new();
    for good in few {
        for failed in few {
            for lost in few {
                for met in [0, 100] {
                    all.extend((0..=4).map(|losing| (*good, *failed, *lost, met, losing)));
                }
            }
        }
    }
    all
}

proptest! {
    /// Whatever happened before: who is answered in time is let in again within a few seconds, and nothing is held back.
    #[test]
    fn it_always_comes_back(moves in prop::collection::vec((0_u64..400, 0_u32..3, 0_u32..8), 0..400)) {
        let (guard, mut millis) = (Guard::default(), 0);
        for (gap, fact, id) in moves {
            millis += gap;
            guard.tell_offered();
            guard.tell(at(millis), [GOOD, Fact::Failed, LOST][fact as usize], (id, || USUAL), || 8);
        }
        for n in 0..400 {
            guard.tell_offered();
            guard.tell(at(millis + n * 10), GOOD, ((n % 8) as u32, || USUAL), || 8);
        }
        prop_assert_eq!(guard.bound(), None);
    }
}

#[test]
fn hosts_are_drained_down_to_the_caps_that_were_found_for_them() {
    let (cell, bench) = (ServiceCell::shared(), Bench::new(1, ""));
    let endpoint = &bench.list.endpoints[0];
    let tell = |from, fact| {
        for millis in (from..from + 1_000).step_by(10) {
            let places = || endpoint.cell.places(Cap::Auto) + 5;
            cell.tell_guard(at(millis), fact, endpoint, places);
        }
    };
    tell(0, GOOD);
    assert_eq!(cell.guard.bound(), None);
    tell(1_000, LOST);
    assert_eq!(cell.guard.bound(), Some(6), "no cap was found for it");
    let sample =
        |millis| Sample { sent: at(2_000), beside: 8, abandoned: 0, took: Duration::from_millis(millis) };
    (0..40).for_each(|_| endpoint.cell.knee.tell_good(at(2_100), sample(40), 8));
    (0..8).for_each(|_| endpoint.cell.knee.tell_lost(at(2_500), sample(500), 8));
    let places = [Cap::Auto, Cap::Off, Cap::At(9)].map(|cap| endpoint.cell.places(cap));
    assert_eq!(places, [4, 1, 1], "a number that somebody wrote says nothing of what hosts do");
    tell(3_000, LOST);
    assert_eq!(cell.guard.bound(), Some(9));
}
