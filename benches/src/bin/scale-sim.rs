//! Fleets in simulated worlds: `scale-sim SEEDS HOSTS FOLLOWS [SVG]` runs the seeds from 1 to SEEDS on all cores, says
//! what did not hold, and draws the first five curves into SVG.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use outrigger_benches::scale::simulate::{Size, Told, World, plot};

/// A world that takes longer, in seconds, is told of when it ends: so many small ones need not be.
const TOLD_FROM: f64 = 10.0;

/// Curves in a picture.
const DRAWN: usize = 5;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result is what it prints")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = words.iter().map_while(|word| word.parse().ok()).collect();
    let [seeds, hosts, follows] = numbers[..] else {
        eprintln!("usage: scale-sim SEEDS HOSTS FOLLOWS [SVG]");
        return ExitCode::FAILURE;
    };
    let size = Size { hosts: hosts as usize, follows: follows as usize };
    let began = Instant::now();
    let mut told = run(seeds, size);
    told.sort_unstable_by_key(|(seed, _)| *seed);
    let broken: Vec<_> = told.iter().filter_map(|(seed, told)| Some((seed, told.broken.as_ref()?))).collect();
    for (seed, why) in &broken {
        println!("seed {seed}: {}", why.chars().take(600).collect::<String>());
    }
    let sum = |of: fn(&Told) -> u64| told.iter().map(|(_, told)| of(told)).sum::<u64>();
    println!(
        "{seeds} seeds of {hosts} hosts: {} broken, {} steps, {} resyncs, {} MB of news, {:.0} s",
        broken.len(),
        sum(|told| told.steps),
        sum(|told| told.resyncs),
        sum(|told| told.bytes) / 1_000_000,
        began.elapsed().as_secs_f64()
    );
    let curves = told
        .iter()
        .take(DRAWN)
        .map(|(seed, told)| (format!("seed {seed}, {hosts} hosts"), told.curve.clone()));
    let picture = plot(&curves.collect::<Vec<_>>());
    if let Some(path) = words.get(3)
        && let Err(why) = std::fs::write(path, picture)
    {
        eprintln!("scale-sim: cannot write {path}: {why}");
        return ExitCode::FAILURE;
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stderr, reason = "somebody waits for an hour")]
fn run(seeds: u64, size: Size) -> Vec<(u64, Told)> {
    let (next, told) = (AtomicU64::new(1), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed > seeds {
                break;
            }
            let began = Instant::now();
            let ended = World::of(seed, size).run();
            let took = began.elapsed().as_secs_f64();
            if took > TOLD_FROM {
                eprintln!("seed {seed}: {} steps, {took:.0} s", ended.steps);
            }
            if let Ok(mut told) = told.lock() {
                told.push((seed, ended));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    told.into_inner().unwrap_or_default()
}
