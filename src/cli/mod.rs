//! The command line: one verb, one file.

mod demo;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// One sidecar beside each app, one small control plane, one binary.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Demo),
    #[command(hide = true)]
    DemoApp(demo::DemoApp),
    #[command(hide = true)]
    DemoClient(demo::DemoClient),
}

impl Cli {
    /// Runs the verb; what went wrong is told on standard error and exits with 1.
    pub(crate) fn run(self) -> ExitCode {
        let done = match self.verb {
            Verb::Demo(verb) => verb.run(),
            Verb::DemoApp(verb) => verb.run(),
            Verb::DemoClient(verb) => verb.run(),
        };
        done.unwrap_or_else(tell)
    }
}

fn tell(why: io::Error) -> ExitCode {
    // Where not even standard error takes words, the exit code has to do.
    match writeln!(io::stderr(), "outrigger: {why}") {
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}
