//! What each deciding stage costs: nanoseconds and allocations, as a Markdown table.
//!
//! `stages [ROUNDS]`, 200,000 rounds each by default; the median of five runs.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use outrigger_benches::stages::{RULES, SIZES, Stages};

/// Runs whose median is told: an odd number, and a disturbed run or two do not matter.
const RUNS: usize = 5;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result is what it prints")]
fn main() -> ExitCode {
    let rounds = match std::env::args().nth(1).map(|word| word.parse::<u32>()) {
        None => 200_000,
        Some(Ok(rounds)) if rounds > 0 => rounds,
        Some(_) => {
            eprintln!("usage: stages [ROUNDS]");
            return ExitCode::FAILURE;
        }
    };
    let sizes: Vec<String> = SIZES.iter().map(ToString::to_string).collect();
    println!("| stage | {} |\n|---|{}", sizes.join(" | "), "---|".repeat(sizes.len()));
    for (name, balance) in RULES {
        row(&format!("choose, {name}"), rounds, |size| Stages::of(balance, size), |s| drop(s.choose()));
    }
    let plain = |size| Stages::of("by: least-loaded", size);
    row("choose + classify", rounds, plain, Stages::classify);
    row("route", rounds, plain, |stages| drop(black_box(stages.route())));
    row("limit", rounds, plain, Stages::limit);
    row("record", rounds, plain, |stages| drop(black_box(stages.record())));
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "the result is what it prints")]
fn row(name: &str, rounds: u32, of: impl Fn(u16) -> Stages, mut stage: impl FnMut(&mut Stages)) {
    let mut cells = Vec::new();
    for size in SIZES {
        let mut stages = of(size);
        let mut runs = [0.0; RUNS];
        for run in &mut runs {
            let begin = Instant::now();
            (0..rounds).for_each(|_| stage(&mut stages));
            *run = begin.elapsed().as_nanos() as f64 / f64::from(rounds);
        }
        runs.sort_unstable_by(f64::total_cmp);
        let allocated = allocation_counter::measure(|| (0..1_000).for_each(|_| stage(&mut stages)));
        cells.push(format!("{:.0} ns, {}", runs[RUNS / 2], allocated.count_total as f64 / 1_000.0));
    }
    println!("| {name} | {} |", cells.join(" | "));
}
