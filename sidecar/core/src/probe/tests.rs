//! Choosing by load reports: the pool, hot and cold, newcomers and sinkholes, fleets.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use api::Instance;
use proptest::prelude::*;

use super::*;
use crate::bench::{self, Bench};
use crate::queue::Verdict;
use crate::scratch::How;

fn bench(n: u16, more: &str) -> Bench {
    bench_by("prequal", n, more)
}

fn bench_by(rule: &str, n: u16, more: &str) -> Bench {
    let at = |port: u16| Instance {
        sidecar: true,
        ..Instance::at(bench::service(), ([10, 0, 0, 1], port).into())
    };
    Bench::of((1..=n).map(at).collect(), &format!("balance: {{ by: {rule} }}\n{more}"))
}

/// The endpoint at `at` says so.
fn report(bench: &mut Bench, at: usize, in_flight: u32, millis: u32) {
    let (endpoint, dice) = (bench.list.endpoints[at].clone(), dice::next(&mut bench.dice));
    let report = Report { in_flight, micros: Some(millis * 1_000), ..Report::default() };
    heard(&endpoint, (&bench.plan.cell, bench.list.endpoints.len()), report, bench.now, dice);
}

fn taken(bench: &mut Bench) -> (usize, How) {
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
    (bench.list.place(attempt.endpoint().id).unwrap(), attempt.how())
}

#[test]
fn the_pool_is_a_third_of_a_small_fleet_and_reports_of_few_are_used_longer() {
    for (endpoints, kept) in [(1, 2), (3, 2), (6, 2), (12, 4), (48, 16), (1_000, 16)] {
        assert_eq!(size(endpoints), kept, "{endpoints}");
    }
    assert_eq!((uses(3), uses(4)), (USES_MAX, USES_MAX));
    assert!((uses(100) - 1.316).abs() < 0.01 && (uses(12) - 2.0).abs() < 0.01);
}

#[test]
fn of_those_that_are_not_hot_the_fastest_is_taken_and_of_hot_ones_the_emptiest() {
    // In flight and milliseconds of each report, whom the rule takes.
    for (reports, wanted) in [
        (&[(1, 9), (2, 5), (90, 1)][..], 1),
        (&[(70, 5), (50, 9), (60, 1)], 1),
        (&[(0, 30), (3, 20), (9, 21)], 1),
    ] {
        let mut bench = bench(9, "");
        // What was seen before: most had less than ten in flight.
        (0..200).for_each(|n| bench.plan.cell.probes.tell_load((n % 10) as f32));
        for (at, (in_flight, millis)) in reports.iter().enumerate() {
            report(&mut bench, at, *in_flight, *millis);
        }
        assert_eq!(taken(&mut bench), (wanted, How::Reported), "{reports:?}");
    }
}

#[test]
fn the_bound_of_the_hot_follows_what_is_reported() {
    let probes = Probes::default();
    let mut dice = 7;
    for scale in [10.0, 100.0, 1.0] {
        for _ in 0..3_000 {
            probes.tell_load((dice::unit(dice::next(&mut dice)) * scale) as f32);
        }
        let hot = f64::from(probes.hot()) / scale;
        assert!((0.6..1.1).contains(&hot), "{hot} of {scale}");
    }
}

#[test]
fn a_report_is_forgotten_after_a_second_and_worn_by_use() {
    let mut bench = bench(100, "");
    (0..4).for_each(|at| report(&mut bench, at, 1, 10));
    let used: BTreeSet<usize> = (0..2).map(|_| taken(&mut bench).0).collect();
    assert!(used.iter().all(|at| *at < 4));
    bench.after(1_000);
    assert_eq!(bench.plan.cell.probes.ask(bench.now).count(), 0);
    assert_ne!(taken(&mut bench).1, How::Forced, "without reports two are drawn");
}

#[test]
fn probes_are_for_those_that_can_answer_and_never_more_than_the_limit() {
    let mut bench = bench(10, "");
    let mut asked = 0;
    for _ in 0..1_000 {
        bench.after(1);
        taken(&mut bench);
        asked += bench.scratch.probes.len();
    }
    assert!((80..=103).contains(&asked), "{asked} in a second, of 2,000 wanted and 100 allowed");
    let mut alone = Bench::new(10, "balance: { by: prequal }");
    (0..50).for_each(|_| {
        taken(&mut alone);
        assert!(alone.scratch.probes.is_empty(), "nobody there could answer");
    });
}

#[test]
fn by_default_those_are_asked_that_are_busy_with_others_and_told_nothing_lately() {
    let asked = |others: u32, millis: u64| {
        let mut bench = bench_by("least-loaded", 20, "");
        for _ in 0..3 {
            (0..20).for_each(|at| report(&mut bench, at, others, 10));
        }
        bench.after(millis);
        taken(&mut bench);
        bench.scratch.probes.len()
    };
    assert_eq!([asked(0, 500), asked(4, 19)], [0, 0]);
    assert!((1..=PER_REQUEST).contains(&asked(4, 500)));
    let mut silent = bench_by("least-loaded", 20, "");
    taken(&mut silent);
    assert!(silent.scratch.probes.is_empty(), "nobody told anything");
}

#[test]
fn by_default_who_is_busy_with_others_is_left_alone_while_that_is_news() {
    let share = |millis| {
        let mut bench = bench_by("least-loaded", 4, "");
        (0..400).for_each(|n| report(&mut bench, n % 4, if n % 4 == 0 { 6 } else { 1 }, 10));
        bench.after(millis);
        (0..400).filter(|_| taken(&mut bench).0 == 0).count()
    };
    assert_eq!(share(0), 0);
    assert!((60..140).contains(&share(5_000)), "{} of 400 once it is old", share(5_000));
}

#[test]
fn a_sinkhole_that_says_it_is_idle_and_fast_gets_next_to_nothing() {
    let mut bench = bench(20, "health: { consecutive: 1000000, minimum: 1000000 }");
    let mut hits = 0;
    for _ in 0..5_000 {
        for at in std::mem::take(&mut bench.scratch.probes) {
            let sink = at == 0;
            report(&mut bench, at as usize, u32::from(!sink) * 3, if sink { 1 } else { 20 });
        }
        hits += usize::from(bench.run(true, |at| if at == 0 { 500 } else { 200 }) == 0);
    }
    assert!(hits <= 50, "{hits} of 5000");
}

#[test]
fn a_newcomer_gets_its_part_of_the_ramp_and_not_what_its_idleness_would_win() {
    for n in [11, 60] {
        let mut bench = bench(n, "");
        bench.cell(0).join(bench.now);
        bench.cell(0).ewma.tell(
            bench.now,
            Duration::from_millis(10),
            crate::ewma::Memory::of(bench.plan.base()),
        );
        bench.after(15_000);
        let mut hits = 0;
        for _ in 0..20_000 {
            for at in 0..usize::from(n) {
                if dice::unit(dice::next(&mut bench.dice)) < 0.05 {
                    report(&mut bench, at, u32::from(at > 0) * 4, 10);
                }
            }
            hits += usize::from(taken(&mut bench).0 == 0);
        }
        let wanted = 10_000.0 / f64::from(n);
        assert!((hits as f64 / wanted - 1.0).abs() < 0.15, "{hits} of 20000 at half of the ramp of {n}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever comes when: no more reports than the pool holds, one of each endpoint, none older than a second.
    #[test]
    fn the_pool_holds_what_it_says(
        endpoints in 1_usize..80,
        moves in prop::collection::vec((0_u64..400, 0_u32..80, 0_u8..4, any::<u64>()), 1..200)
    ) {
        let probes = Probes::default();
        let (mut now, mut last) = (Moment::from_millis(5), std::collections::BTreeMap::new());
        for (gap, id, deed, dice) in moves {
            now = now + Duration::from_millis(gap);
            match deed {
                0 => probes.tell_used(id),
                1 => probes.forget_oldest(now),
                _ => {
                    probes.tell(now, id, endpoints, dice);
                    last.insert(id, now);
                }
            }
            let held: Vec<u32> = probes.ask(now).collect();
            prop_assert!(held.len() <= size(endpoints));
            prop_assert_eq!(held.iter().collect::<BTreeSet<_>>().len(), held.len());
            prop_assert!(held.iter().all(|id| now.since(last[id]) < FRESH));
        }
    }
}
