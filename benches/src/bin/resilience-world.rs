//! The hosts and the callers of `benches/resilience`, in one process beside the proxy that is measured.
//!
//! `resilience-world FILE` opens the hosts of the scenario in FILE, waits for a line on its input (the proxy is up),
//! calls, and prints the story as one JSON line. `resilience-world --simulate FILE` tells the story of the same
//! scenario where the sidecar's core decides and nothing is real.

use std::io::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use outrigger_benches::resilience::hosts::Run;
use outrigger_benches::resilience::scenario::Scenario;
use outrigger_benches::resilience::story::Story;
use outrigger_benches::resilience::{callers, hosts, simulate};

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result is what it prints")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let told = match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--simulate", file] => {
            read(file).and_then(|scenario| simulate::run(&scenario).map_err(Error::other))
        }
        [file] => read(file).and_then(|scenario| run(&scenario)),
        _ => Err(Error::other("usage: resilience-world [--simulate] FILE")),
    };
    match told.and_then(|story| Ok(serde_json::to_string(&story)?)) {
        Ok(story) => {
            println!("{story}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("resilience-world: {why}");
            ExitCode::FAILURE
        }
    }
}

fn read(file: &str) -> std::io::Result<Scenario> {
    Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?)
}

fn run(scenario: &Scenario) -> std::io::Result<Story> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let run = Rc::new(Run::default());
        let open = hosts::open(scenario, &run)?;
        word().await;
        let lines = callers::connect(scenario, &run).await?;
        let start = Instant::now();
        run.start.set(Some(start));
        for host in open {
            tokio::task::spawn_local(hosts::turn(host));
        }
        callers::call(scenario, &lines, start).await;
        Ok(run.story.take())
    })
}

/// Waits for a line on the input; the hosts answer meanwhile.
async fn word() {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An input that ends is a word too.
        _ = std::io::stdin().read_line(&mut String::new());
        tell.send(())
    });
    _ = told.await;
}
