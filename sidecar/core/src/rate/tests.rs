//! Each rule against a plain reference.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// Its slices are 100 ms.
pub(super) const WINDOW: u64 = 1_600_000_000;

pub(super) fn rules(most: u32) -> [Rule; 4] {
    let window = Duration::from_nanos(WINDOW);
    let flow = Flow::with(WINDOW / u64::from(most), WINDOW / u64::from(most) * u64::from(most));
    let pace = Flow::with(WINDOW / u64::from(most), 0);
    // The last of those who fit waits one turn less than all of them take.
    let longest = window - Duration::from_nanos(WINDOW / u64::from(most));
    [
        Rule::Bucket(flow),
        Rule::Leaky(Leaky::new(pace, longest)),
        Rule::Fixed(Fixed::new(window, most.into())),
        Rule::Sliding(Sliding::new(window, most.into())),
    ]
}

pub(super) fn passes(grant: Grant) -> bool {
    !matches!(grant, Grant::RetryAfter(_))
}

/// What is given back can be had again, and nothing else.
#[test]
fn what_is_given_back_can_be_taken_again() {
    let now = Moment::from_millis(1);
    for rule in rules(5).into_iter().filter(|rule| !rule.paces()) {
        let level = Level::new(rule);
        assert_eq!((0..9).filter(|_| passes(level.ask(rule, now, 1))).count(), 5, "{rule:?}");
        level.give_back(rule, now, 2);
        assert_eq!((0..9).filter(|_| passes(level.ask(rule, now, 1))).count(), 2, "{rule:?}");
        assert!(!level.is_idle(rule, now) && level.taken(rule, now) > 0.99, "{rule:?}");
        let later = Moment::from_nanos(WINDOW * 3);
        assert!(level.is_idle(rule, later) && level.taken(rule, later) < 0.01, "{rule:?}");
    }
}

#[test]
fn who_is_refused_and_comes_back_when_it_was_told_passes() {
    for rule in rules(3) {
        let (level, mut now) = (Level::new(rule), Moment::from_millis(777));
        for _ in 0..50 {
            if let Grant::RetryAfter(after) = level.ask(rule, now, 1) {
                assert!(
                    after > Duration::ZERO && after <= Duration::from_nanos(2 * WINDOW),
                    "{rule:?} {after:?}"
                );
                now = now + after;
                assert!(passes(level.ask(rule, now, 1)), "{rule:?} after {after:?}");
            }
        }
    }
}

#[test]
fn a_leaky_bucket_hands_out_turns_and_refuses_who_would_wait_too_long() {
    let rule = Rule::Leaky(Leaky::new(Flow::with(10_000_000, 0), Duration::from_millis(25)));
    let (level, at) = (Level::new(rule), Moment::from_millis);
    let told: Vec<Grant> = (0..5).map(|_| level.ask(rule, at(100), 1)).collect();
    let late = Grant::RetryAfter(Duration::from_millis(5));
    assert_eq!(told, [Grant::Now { left: 2 }, Grant::At(at(110)), Grant::At(at(120)), late, late]);
    assert_eq!(
        level.ask(rule.within(Some(Duration::from_millis(3))), at(120), 1),
        Grant::RetryAfter(Duration::from_millis(7))
    );
    assert_eq!(level.ask(rule, at(120), 2), Grant::At(at(130)));
    assert_eq!(level.ask(rule, at(150), 1), Grant::Now { left: 2 });
}

proptest! {
    /// Each rule against what a list of all that passed says: never more than the rule's promise, and everything that
    /// the promise leaves room for.
    #[test]
    fn each_rule_agrees_with_a_list_of_all_that_passed(
        most in 1_u32..12, asks in prop::collection::vec((0_u64..600_000_000, 1_u32..4), 1..300)
    ) {
        for rule in rules(most) {
            let (level, mut now) = (Level::new(rule), 0_u64);
            let mut passed = VecDeque::<(u64, u64)>::new();
            for (gap, cost) in &asks {
                now += gap;
                let cost = (*cost).min(most);
                let grant = level.ask(rule, Moment::from_nanos(now), cost);
                let since = |from: u64| passed.iter().filter(|(at, _)| *at >= from).map(|(_, cost)| cost).sum::<u64>();
                let wanted = match rule {
                    Rule::Fixed(_) => since(now / WINDOW * WINDOW) + u64::from(cost) <= most.into(),
                    Rule::Sliding(_) => {
                        let first = (now / (WINDOW / 16)).saturating_sub(16) * (WINDOW / 16);
                        let room = since(first) + u64::from(cost) <= most.into();
                        prop_assert!(!room || since(now.saturating_sub(WINDOW - 1)) + u64::from(cost) <= most.into());
                        room
                    }
                    // The bucket has its own reference; turns are checked by their distance.
                    Rule::Bucket(_) => continue,
                    Rule::Leaky(_) => {
                        let turn = match grant {
                            Grant::Now { .. } => now,
                            Grant::At(at) => at.as_nanos(),
                            Grant::RetryAfter(_) => continue,
                        };
                        let free = passed.back().map_or(0, |(at, cost)| at + cost * (WINDOW / u64::from(most)));
                        prop_assert_eq!(turn, free.max(now));
                        passed.push_back((turn, cost.into()));
                        continue;
                    }
                };
                prop_assert_eq!(passes(grant), wanted, "{:?} at {}", rule, now);
                if wanted {
                    passed.push_back((now, cost.into()));
                }
            }
        }
    }
}
