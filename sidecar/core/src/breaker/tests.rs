//! Every path of the breaker, and its permits under every order of drops.

use super::*;
use api::Share;
use api::schema::Switch;
use proptest::prelude::*;

fn settings(trials: u32) -> Settings {
    Settings { failure_share: Switch::On(Share::percent(50)), trials, ..Settings::default() }
}

fn opened(settings: &Settings) -> Arc<EndpointCell> {
    let cell = EndpointCell::shared();
    for _ in 0..20 {
        cell.breaker.tell(Moment::ZERO, false, settings);
    }
    cell
}

#[test]
fn it_opens_on_the_share_and_closes_after_a_good_trial() {
    let settings = settings(1);
    let cell = opened(&settings);
    assert_eq!(cell.breaker.state(), State::Open { until: Moment::from_millis(5_000) });
    assert!(matches!(Breaker::ask(&cell, Moment::from_millis(4_999), &settings), Pass::No));
    let now = Moment::from_millis(5_000);
    let Pass::Trial(permit) = Breaker::ask(&cell, now, &settings) else { panic!("no trial") };
    assert!(matches!(Breaker::ask(&cell, now, &settings), Pass::No), "one trial at a time");
    permit.passed(&settings);
    assert!(matches!(Breaker::ask(&cell, now, &settings), Pass::Free));
}

#[test]
fn off_means_off() {
    let settings = Settings::default();
    let cell = opened(&settings);
    assert!(matches!(Breaker::ask(&cell, Moment::ZERO, &settings), Pass::Free));
}

proptest! {
    #[test]
    fn permits_never_leak(trials in 1_u32..4, moves in prop::collection::vec((0_u8..5, any::<usize>()), 1..300)) {
        let settings = settings(trials);
        let cell = opened(&settings);
        let (mut held, mut at) = (Vec::<BreakerPermit>::new(), 5_000);
        for (what, which) in moves {
            at += 1_500;
            let now = Moment::from_millis(at);
            match (what, held.is_empty()) {
                (0 | 1, _) => if let Pass::Trial(permit) = Breaker::ask(&cell, now, &settings) { held.push(permit) },
                (_, true) => {}
                (2, _) => drop(held.swap_remove(which % held.len())),
                (3, _) => held.swap_remove(which % held.len()).failed(now, &settings),
                _ => held.swap_remove(which % held.len()).passed(&settings),
            }
            if let State::HalfOpen { since, out, .. } = cell.breaker.state() {
                let alive = held.iter().filter(|permit| permit.since == since).count();
                prop_assert_eq!(usize::from(out), alive);
                prop_assert!(u32::from(out) <= trials);
            }
        }
    }
}
