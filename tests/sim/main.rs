//! N real sidecar cores and the real control core in one simulated world, one seed replayed byte for byte.
//!
//! `OUTRIGGER_SIM_SEEDS=N` runs more seeds, `OUTRIGGER_SIM_SEED=K` one of them; docs/simulation.md says what
//! is simulated and what is not. Nothing here opens a socket, reads a clock or sleeps.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test: what cannot be is a failure")]
#![allow(clippy::print_stderr, reason = "a test says how far it went")]

mod app;
mod check;
mod client;
mod control;
mod dice;
mod faults;
mod line;
mod network;
mod node;
mod planted;
mod quota;
mod scenario;
mod session;
mod trace;
mod world;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use check::Violation;
use world::World;

/// Enough that each planted bug of `tests/mutants` is found, and no more than a minute or two.
const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Runs `seed`. A failure is run again with words, so that its last lines can be read.
fn run(seed: u64, words: bool) -> Result<(u64, u64), String> {
    let mut world = World::of(seed, words);
    // What a core panics at is a failure of the seed like any other.
    let ran = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    let ran = ran.unwrap_or_else(|_| Err(world.panicked()));
    match ran {
        Ok(steps) => Ok((steps, world.trace.hash())),
        Err(_) if !words => run(seed, true),
        Err(Violation { invariant, detail, step, at }) => Err(format!(
            "seed {seed}, step {step}, at {at}: {invariant}\n{detail}\n{:?}\n{}\nreplay: OUTRIGGER_SIM_SEED={seed} \
             cargo test -p outrigger-tests --test sim a_thousand_seeds\n",
            world.scenario.kind,
            world.trace.last()
        )),
    }
}

/// Runs `seeds` on all cores; the lowest failing seed that was found is told.
fn run_all(seeds: std::ops::Range<u64>) -> Result<u64, String> {
    let (next, steps, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        while !failed.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            match run(seed, false) {
                Ok((taken, _)) => steps.fetch_add(taken, Relaxed),
                Err(story) => {
                    failed.store(true, Relaxed);
                    return Some((seed, story));
                }
            };
        }
        None
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    let found = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("no panic")).min()
    });
    found.map_or(Ok(steps.into_inner()), |(_, story)| Err(story))
}

#[test]
fn a_thousand_seeds() {
    let seeds = match (number("OUTRIGGER_SIM_SEED"), number("OUTRIGGER_SIM_SEEDS")) {
        (Some(one), _) => one..one + 1,
        (None, many) => 0..many.unwrap_or(SEEDS),
    };
    match run_all(seeds.clone()) {
        Ok(steps) => eprintln!("{} seeds, {steps} steps", seeds.end - seeds.start),
        Err(story) => panic!("{story}"),
    }
}

#[test]
fn one_seed_replays_byte_for_byte() {
    for seed in [3, 141, 592] {
        assert_eq!(run(seed, true).unwrap(), run(seed, true).unwrap(), "seed {seed}");
    }
}

#[test]
fn a_world_that_is_broken_is_found_out() {
    let mut world = World::of(1, false);
    world.broken_on_purpose();
    let violation = world.run().expect_err("a place is taken that no request holds");
    assert_eq!(violation.invariant, "in flight given = held + returned");
}
