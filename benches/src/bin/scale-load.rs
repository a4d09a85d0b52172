//! The fleet of `benches/scale`: says figures as one JSON line.
//!
//! `scale-load leases LISTEN PID HOSTS SECONDS` opens sessions and renews their leases; `scale-load watches LISTEN PID
//! HOSTS WATCHERS SECONDS` holds watches through changes, a storm and a reconnect. PID is the control plane's.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use outrigger_benches::scale::process::resident;
use outrigger_benches::scale::watching::Watching;
use outrigger_benches::scale::{beats, fleet, reconnect};
use serde_json::{Value, json};

/// Changes a second in a storm.
const STORM: u64 = 500;

/// Everybody comes back within this.
const RECONNECT: Duration = Duration::from_secs(10);

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result is what it prints")]
fn main() -> ExitCode {
    let told = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let told = told.and_then(|runtime| tokio::task::LocalSet::new().block_on(&runtime, run()));
    match told {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("scale-load: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> std::io::Result<Value> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [phase, listen, numbers @ ..] = &words[..] else { return Err(usage()) };
    let to: SocketAddr = listen.parse().map_err(|_| usage())?;
    let numbers: Vec<u64> = numbers.iter().filter_map(|word| word.parse().ok()).collect();
    match (phase.as_str(), &numbers[..]) {
        ("leases", [pid, hosts, seconds]) => {
            leases(to, *pid as u32, *hosts as usize, Duration::from_secs(*seconds)).await
        }
        ("watches", [pid, hosts, watchers, seconds]) => {
            let counts = (*hosts as usize, *watchers as usize);
            watches(to, *pid as u32, counts, Duration::from_secs(*seconds)).await
        }
        _ => Err(usage()),
    }
}

fn usage() -> std::io::Error {
    std::io::Error::other("leases LISTEN PID HOSTS SECONDS | watches LISTEN PID HOSTS WATCHERS SECONDS")
}

async fn leases(to: SocketAddr, pid: u32, hosts: usize, span: Duration) -> std::io::Result<Value> {
    let (began, before) = (Instant::now(), resident(pid)?);
    let sessions = fleet::open(to, hosts).await?;
    let opened = began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let full = resident(pid)?;
    let beats = beats::run(to, pid, &sessions, span).await?;
    let after = resident(pid)?;
    let instances = hosts * fleet::PER_HOST;
    Ok(
        json!({ "instances": instances, "empty": before, "full": full, "after": after, "opened": opened, "beats": beats }),
    )
}

async fn watches(
    to: SocketAddr,
    pid: u32,
    (hosts, watchers): (usize, usize),
    span: Duration,
) -> std::io::Result<Value> {
    let sessions = fleet::open(to, hosts).await?;
    let mut watching = Watching::new(to, pid, sessions, watchers).await?;
    let held = watching.hold().await?;
    let bulk = watching.bulk().await?;
    let storm = watching.storm(STORM, span).await?;
    watching.leave();
    let back = reconnect::run(pid, &mut watching, RECONNECT).await?;
    Ok(json!({ "held": held, "bulk": bulk, "storm": storm, "reconnect": back }))
}
