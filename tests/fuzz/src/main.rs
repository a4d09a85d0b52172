//! `outrigger-fuzz`: runs the targets for a time or a number of executions and says what was found.
//!
//! Exit code 0: nothing; 1: something, kept under `finds/`; 2: the words on the command line are wrong.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that talks")]
#![allow(clippy::unwrap_used, reason = "a test tool")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_fuzz::campaign::{self, Report, Until};
use outrigger_fuzz::files;
use outrigger_fuzz::target::{self, Target};

const USAGE: &str = "outrigger-fuzz [--target NAME] [--for 60s | --execs N] [--seed S] [--jobs N] [--keep]
  --for    seconds for all targets together (60s)
  --execs  executions of each target instead
  --jobs   threads; each runs a target of its own seed (1)
  --keep   adds what was taken for something new to the corpus";

/// No input takes as long as this to read: it stands still.
const STANDSTILL: Duration = Duration::from_secs(20);

struct Wanted {
    targets: Vec<&'static Target>,
    time: Duration,
    execs: Option<u64>,
    seed: u64,
    jobs: u64,
    keep: bool,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("{:<10} {:>12} {:>7} {:>6} {:>8}", "target", "executions", "kinds", "finds", "seconds");
    let mut sums = (0, 0);
    let share = wanted.time / wanted.targets.len() as u32;
    for target in &wanted.targets {
        let began = Instant::now();
        let until = wanted.execs.map_or(Until::Time(began + share), |most| Until::Execs(most / wanted.jobs));
        let reports = all_jobs(target, until, &wanted);
        let (execs, found) = tell(target, &reports, wanted.keep);
        let kinds = reports.iter().map(|report| report.kinds).max().unwrap_or(0);
        println!("{:<10} {execs:>12} {kinds:>7} {found:>6} {:>8}", target.name, began.elapsed().as_secs());
        sums = (sums.0 + execs, sums.1 + found);
    }
    println!("{:<10} {:>12} {:>7} {:>6}   seed {}", "all", sums.0, "", sums.1, wanted.seed);
    if sums.1 == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all_jobs(target: &'static Target, until: Until, wanted: &Wanted) -> Vec<Report> {
    thread::scope(|scope| {
        let job = |at: u64| {
            scope.spawn(move || {
                let corpus = files::read("corpus", target.name).into_iter().map(|(_, input)| input);
                let (current, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
                watch(target, current.clone(), over.clone());
                let report = campaign::run(target, corpus.collect(), wanted.seed + at, until, &current);
                over.store(true, Relaxed);
                report
            })
        };
        let jobs: Vec<_> = (0..wanted.jobs).map(job).collect();
        jobs.into_iter().map(|job| job.join().unwrap()).collect()
    })
}

/// Ends the process when one input is read for too long; the input is kept.
fn watch(target: &'static Target, current: Arc<Mutex<Vec<u8>>>, over: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut before = (Vec::new(), Instant::now());
        while !over.load(Relaxed) {
            thread::park_timeout(Duration::from_secs(1));
            let now = current.lock().unwrap().clone();
            if now != before.0 {
                before = (now, Instant::now());
            } else if before.1.elapsed() > STANDSTILL && !over.load(Relaxed) {
                let path = files::keep("finds", target.name, &now).unwrap();
                eprintln!("{}: stands still over {}", target.name, path.display());
                std::process::abort();
            }
        }
    });
}

/// Says and keeps what was found; returns executions and finds.
fn tell(target: &Target, reports: &[Report], keep: bool) -> (u64, usize) {
    let finds: Vec<_> = reports.iter().flat_map(|report| &report.finds).collect();
    for find in &finds {
        let path = files::keep("finds", target.name, &find.input).unwrap();
        println!("\n{}, execution {}: {}", path.display(), find.at, find.story);
        println!("  {:?}\n", String::from_utf8_lossy(&find.input));
    }
    for input in reports.iter().flat_map(|report| &report.pool).filter(|_| keep) {
        files::keep("corpus", target.name, input).unwrap();
    }
    (reports.iter().map(|report| report.execs).sum(), finds.len())
}

fn wanted(mut words: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let all = target::ALL.iter().collect();
    let time = Duration::from_secs(60);
    let mut wanted = Wanted { targets: all, time, execs: None, seed: 1, jobs: 1, keep: false };
    while let Some(word) = words.next() {
        let mut number = |unit: &str| {
            let text = words.next().ok_or(format!("{word} needs a value"))?;
            let number = text.strip_suffix(unit).unwrap_or(&text).replace('_', "");
            number.parse::<u64>().map_err(|why| format!("{word} {text}: {why}"))
        };
        match word.as_str() {
            "--for" => wanted.time = Duration::from_secs(number("s")?),
            "--execs" => wanted.execs = Some(number("")?),
            "--seed" => wanted.seed = number("")?,
            "--jobs" => wanted.jobs = number("")?.max(1),
            "--keep" => wanted.keep = true,
            "--target" => {
                let name = words.next().unwrap_or_default();
                wanted.targets = vec![target::named(&name).ok_or(format!("no target {name:?}"))?];
            }
            other => return Err(format!("unknown word {other:?}")),
        }
    }
    Ok(wanted)
}
