//! Ejection, its cap, trial requests and the way back.

#![allow(clippy::unwrap_used, reason = "tests")]
use proptest::prelude::*;

use super::*;

#[test]
fn a_run_of_failures_knows_what_others_did_meanwhile() {
    let (health, mut all) = (Health::default(), 0_u64);
    let mut tell = |good: bool, own: bool| {
        all = all.wrapping_add(Tally::one(good));
        if own { Some(health.tell_bad(Tally(all))) } else { None }
    };
    for _ in 0..5 {
        assert_eq!(tell(true, false), None);
    }
    assert_eq!(tell(false, true), Some((1, Counts::default())));
    tell(true, false);
    tell(false, false);
    assert_eq!(tell(false, true), Some((2, Counts { good: 1, bad: 1 })));
    for _ in 0..3 {
        assert_eq!(tell(true, false), None);
    }
    assert_eq!(tell(false, true), Some((3, Counts { good: 4, bad: 1 })));
    health.tell_good();
    assert_eq!(tell(false, true), Some((1, Counts::default())), "another run");
}

#[test]
fn trials_are_soon_at_first_and_then_rarer() {
    let settings = Settings::default();
    let millis = |times, dice| trial_delay(times, &settings, dice).as_millis();
    assert_eq!((millis(1, 0), millis(15, u64::MAX)), (4_000, 4_000));
    assert_eq!((millis(16, 0), millis(17, 0), millis(255, 0)), (8_000, 16_000, 60_000));
    assert!((45_000..60_000).contains(&millis(255, u64::MAX)));
}

#[test]
fn a_condition_survives_its_packing() {
    let at = Moment::from_millis(123_456_789);
    for condition in [
        Condition::Fit,
        Condition::Ramping { since: at, times: 255 },
        Condition::Ejected { until: at, times: 7, hard: true },
        Condition::OnTrial { due: at, times: 0, hard: false },
    ] {
        assert_eq!(Condition::unpack(condition.pack()), condition);
        let health = Health { word: condition.pack().into(), ..Health::default() };
        assert_eq!(health.is_out(), condition.is_out(), "{condition:?}");
    }
}

#[test]
fn a_failed_trial_ejects_again_and_a_passed_one_ramps() {
    let (cell, settings) = (EndpointCell::shared(), Settings::default());
    assert!(cell.health.eject(Moment::ZERO, false, &settings, 0));
    assert!(Health::claim_trial(&cell, Moment::from_millis(3_999)).is_none());
    let at = Moment::from_millis(4_000);
    Health::claim_trial(&cell, at).unwrap().failed(at, false, &settings, 0);
    assert_eq!(cell.health.ask().trial_at(), Some(Moment::from_millis(8_000)));
    let at = Moment::from_millis(8_000);
    Health::claim_trial(&cell, at).unwrap().passed(at);
    assert_eq!(cell.health.ramp(Moment::from_millis(9_000), &settings), 0.5);
    assert_eq!(cell.health.ramp(Moment::from_millis(10_000), &settings), 1.0);
}

proptest! {
    #[test]
    fn one_trial_at_a_time_and_no_permit_is_lost(moves in prop::collection::vec(0_u8..5, 1..200)) {
        let (cell, settings) = (EndpointCell::shared(), Settings::default());
        let (mut held, mut at) = (None, 0);
        for what in moves {
            at += 1_000;
            let now = Moment::from_millis(at);
            match what {
                0 => { cell.health.eject(now, false, &settings, at); }
                1 => {
                    let due = cell.health.ask().trial_at().is_some_and(|due| due <= now);
                    let permit = Health::claim_trial(&cell, now);
                    prop_assert_eq!(permit.is_some(), due);
                    prop_assert!(permit.is_none() || held.is_none(), "two trials at once");
                    held = held.or(permit);
                }
                2 => drop(held.take()),
                3 => if let Some(permit) = held.take() { permit.failed(now, false, &settings, at) },
                _ => if let Some(permit) = held.take() { permit.passed(now) },
            }
            let on_trial = matches!(cell.health.ask(), Condition::OnTrial { .. });
            prop_assert_eq!(on_trial, held.is_some());
        }
    }
}
