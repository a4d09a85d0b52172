//! All interleavings: every order of asks, verdicts, drops, hangs, time and plan changes, to a bounded depth, on the real
//! machine with real permits. What is broken is told with the moves that lead there.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use api::Span;
use api::schema::Switch;

/// So many moves in a row. Worlds that are alike are gone on from once.
const DEPTH: usize = 9;
const OPEN_FOR: u64 = 1_000;
const WITHIN: u64 = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// A request comes.
    Ask,
    /// What passed freely fails: it opens.
    Fail,
    /// The oldest trial, or the newest, ends so.
    Good(bool),
    Bad(bool),
    /// Its request is cancelled, or refused by a later rule (Sentinel#1638).
    Drop(bool),
    /// It was never sent.
    Unused,
    /// Its request hangs for ever and never says a word (resilience4j#903).
    Hang,
    /// Time: less than what it is open for, more, and more than a trial may take.
    Short,
    Long,
    Later,
    /// A plan with another number of trials, one without a breaker, and back.
    Plan,
    Off,
}

const MOVES: [Move; 16] = [
    Move::Ask,
    Move::Fail,
    Move::Good(false),
    Move::Good(true),
    Move::Bad(false),
    Move::Bad(true),
    Move::Drop(false),
    Move::Drop(true),
    Move::Unused,
    Move::Hang,
    Move::Short,
    Move::Long,
    Move::Later,
    Move::Plan,
    Move::Off,
    Move::Ask,
];

#[derive(Default)]
struct Cell(Breaker);

impl Breaks for Cell {
    fn breaker(&self) -> &Breaker {
        &self.0
    }
}

struct World {
    cell: Arc<Cell>,
    held: VecDeque<Permit<Cell>>,
    hung: Vec<Permit<Cell>>,
    settings: Settings,
    now: u64,
}

fn settings(trials: u32) -> Settings {
    let [open_for, trial_within] = [OPEN_FOR, WITHIN].map(Span::millis);
    Settings { failures: Switch::On(1), trials, open_for, trial_within, ..Settings::default() }
}

impl World {
    fn new() -> Self {
        let (cell, held, hung) = Default::default();
        Self { cell, held, hung, settings: settings(1), now: 1 }
    }

    fn at(&self) -> Moment {
        Moment::from_millis(self.now)
    }

    fn of_this_period(&self) -> usize {
        let period = self.cell.0.read().period;
        self.held.iter().chain(&self.hung).filter(|permit| permit.period == period).count()
    }

    fn take(&mut self, newest: bool) -> Option<Permit<Cell>> {
        if newest { self.held.pop_back() } else { self.held.pop_front() }
    }

    /// Makes a move; what it broke.
    fn make(&mut self, step: Move) -> Result<(), String> {
        let (before, at, settings) = (self.cell.0.read(), self.at(), self.settings.clone());
        let good = Ending { failed: false, slow: false };
        let mut stale = false;
        let mut ends = |permit: &Permit<Cell>| {
            stale = permit.period != before.period || !matches!(before.state, State::HalfOpen { .. })
        };
        match step {
            Move::Ask => {
                let would = self.cell.0.would_pass(at, &settings);
                let passes = match Breaker::ask(&self.cell, at, &settings) {
                    Pass::Free => true,
                    Pass::Trial(permit) => {
                        self.held.push_back(permit);
                        true
                    }
                    Pass::No => false,
                };
                if would != passes {
                    return Err(format!("it said {would} and did {passes}"));
                }
                if passes && settings.is_on() && matches!(before.state, State::Dropped) {
                    return Err("a trial without a verdict did not open it".into());
                }
                if passes && settings.is_on() && matches!(before.state, State::Open { until } if at < until) {
                    return Err("it was open".into());
                }
            }
            Move::Fail => _ = self.cell.0.tell(at, Ending { failed: true, slow: false }, &settings),
            Move::Good(newest) => {
                if let Some(permit) = self.take(newest) {
                    ends(&permit);
                    permit.ended(good, at, &settings);
                }
            }
            Move::Bad(newest) => {
                if let Some(permit) = self.take(newest) {
                    ends(&permit);
                    permit.ended(Ending { failed: true, slow: false }, at, &settings);
                    if !stale && !matches!(self.cell.0.state(), State::Open { until } if until > at) {
                        return Err("a failed trial did not open it".into());
                    }
                }
            }
            Move::Drop(newest) => {
                if let Some(permit) = self.take(newest) {
                    ends(&permit);
                    drop(permit);
                    if !stale && self.cell.0.state() != State::Dropped {
                        return Err("a trial without a verdict did not open it".into());
                    }
                }
            }
            Move::Unused => {
                if let Some(permit) = self.take(true) {
                    ends(&permit);
                    permit.unused();
                }
            }
            Move::Hang => {
                if let Some(permit) = self.take(true) {
                    self.hung.push(permit);
                }
            }
            Move::Short => self.now += OPEN_FOR / 3,
            Move::Long => self.now += OPEN_FOR * 6 / 5 + 1,
            Move::Later => self.now += WITHIN,
            Move::Plan => self.settings.trials = 4 - settings.trials,
            Move::Off => match settings.is_on() {
                true => self.settings.switch_off(),
                false => self.settings.failures = Switch::On(1),
            },
        }
        if stale && self.cell.0.read() != before {
            return Err("a permit of another period changed something".into());
        }
        self.holds()
    }

    fn holds(&self) -> Result<(), String> {
        if let State::HalfOpen { out, passed, .. } = self.cell.0.state() {
            let held = self.of_this_period();
            if usize::from(out) != held {
                return Err(format!("{out} permits are out, {held} are held"));
            }
            if u32::from(out + passed) > 3 {
                return Err(format!("{out} out and {passed} passed, of at most 3"));
            }
        }
        Ok(())
    }

    /// Whoever keeps asking gets through in the end, though every permit that is out hangs for ever.
    fn is_stuck(&mut self) -> bool {
        let passes = |_| {
            self.now += WITHIN.max(OPEN_FOR * 6 / 5 + 1);
            // The way that endpoints are asked: who would not pass is passed over.
            self.cell.0.would_pass(Moment::from_millis(self.now), &self.settings)
        };
        !(0..3).any(passes)
    }

    fn is_like(&self) -> impl Eq + std::hash::Hash + use<> {
        let periods = |permits: &mut dyn Iterator<Item = &Permit<Cell>>| {
            permits.map(|permit| permit.period).collect::<Vec<_>>()
        };
        let word = self.cell.0.word.load(Relaxed);
        (
            word,
            periods(&mut self.held.iter()),
            periods(&mut self.hung.iter()),
            self.now,
            self.settings.trials,
            self.settings.is_on(),
        )
    }
}

/// The world after `moves`, and what the last of them broke.
fn replay(moves: &[Move]) -> (World, Result<(), String>) {
    let mut world = World::new();
    let mut last = Ok(());
    moves.iter().for_each(|step| last = world.make(*step));
    (world, last)
}

/// How many different worlds there are within `depth` moves.
fn explore(depth: usize) -> usize {
    let (mut seen, mut front) = (HashSet::new(), vec![Vec::new()]);
    for _ in 0..depth {
        let mut next = Vec::new();
        for moves in front {
            for step in &MOVES[..MOVES.len() - 1] {
                let longer: Vec<Move> = [&moves[..], &[*step]].concat();
                let (mut world, broken) = replay(&longer);
                assert_eq!(broken, Ok(()), "after {longer:?}");
                if seen.insert(world.is_like()) {
                    assert!(!world.is_stuck(), "stuck after {longer:?}");
                    next.push(longer);
                }
            }
        }
        front = next;
    }
    seen.len()
}

#[test]
fn no_interleaving_leaks_a_permit_or_leaves_it_stuck() {
    let worlds = explore(DEPTH);
    assert!(worlds > 10_000, "only {worlds} worlds");
}

#[test]
fn resilience4j_903_a_permitted_call_that_never_reports_does_not_hold_it_half_open() {
    let moves = [
        Move::Fail,
        Move::Long,
        Move::Ask,
        Move::Hang,
        Move::Ask,
        Move::Later,
        Move::Ask,
        Move::Long,
        Move::Ask,
    ];
    let (world, broken) = replay(&moves);
    assert_eq!(broken, Ok(()));
    assert_eq!(
        (world.held.len(), world.hung.len()),
        (1, 1),
        "another one tries, while the first still hangs"
    );
}

#[test]
fn sentinel_1638_a_later_rule_that_refuses_the_probe_does_not_leave_it_half_open() {
    let (world, broken) = replay(&[Move::Fail, Move::Long, Move::Ask, Move::Drop(true), Move::Ask]);
    assert_eq!(broken, Ok(()));
    assert!(matches!(world.cell.0.state(), State::Open { .. }), "open, with a new timer");
    let (mut world, _) =
        replay(&[Move::Fail, Move::Long, Move::Ask, Move::Drop(true), Move::Ask, Move::Long, Move::Ask]);
    let trial = world
        .held
        .pop_front()
        .map(|trial| trial.ended(Ending { failed: false, slow: false }, world.at(), &world.settings));
    assert_eq!((trial, world.cell.0.state()), (Some(false), State::Closed));
}

#[test]
fn open_times_differ_by_a_fifth_at_most() {
    let opens = |millis: u64| {
        let word = Word::default().open(Moment::from_nanos(millis * 1_000_003), &settings(1));
        let State::Open { until } = word.state else { panic!("{word:?}") };
        until.since(Moment::from_nanos(millis * 1_000_003))
    };
    let times: Vec<Duration> = (0..200).map(opens).collect();
    assert!(times.iter().all(|time| (1_000..=1_200).contains(&time.as_millis())), "{times:?}");
    assert!(
        times.iter().max() > times.iter().min().map(|least| *least + Duration::from_millis(150)).as_ref()
    );
}
