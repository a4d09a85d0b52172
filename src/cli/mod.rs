//! The command line: one verb, one file.
//!
//! Exit codes: 0 done; 1 it differs, or was refused; 2 the command line is wrong; 69 somebody who is needed is
//! not there; 78 a file is wrong.

mod apply;
mod by;
mod check;
mod command;
mod completions;
mod config;
mod config_value;
mod control_plane;
mod demo;
mod diff;
mod docs;
mod drain;
mod drain_plan;
mod explain;
mod get;
mod in_force;
mod notify;
mod overrides;
mod reasons;
mod rollback;
mod rollout;
mod schema;
mod sidecar;
mod token;
mod top;
mod upgrade;
mod whitelist;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failed::Failed;

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
    Sidecar(sidecar::Sidecar),
    ControlPlane(control_plane::ControlPlane),
    Check(check::Check),
    Explain(explain::Explain),
    Top(top::Top),
    Get(get::Get),
    Diff(diff::Diff),
    Apply(apply::Apply),
    Rollback(rollback::Rollback),
    Rollout(rollout::Rollout),
    Command(command::Command),
    Token(token::Token),
    Whitelist(whitelist::Whitelist),
    Override(overrides::Override),
    DrainPlan(drain_plan::DrainPlan),
    Notify(notify::Notify),
    Drain(drain::Drain),
    Upgrade(upgrade::Upgrade),
    Config(config::Config),
    Schema(schema::Schema),
    Reasons(reasons::Reasons),
    Completions(completions::Completions),
    #[command(hide = true)]
    Docs(docs::Docs),
    #[command(hide = true)]
    DemoApp(demo::DemoApp),
    #[command(hide = true)]
    DemoClient(demo::DemoClient),
}

impl Cli {
    /// Runs the verb; what went wrong is told on standard error.
    pub(crate) fn run(self) -> ExitCode {
        let done = match self.verb {
            Verb::Demo(verb) => verb.run().map_err(Failed::from),
            Verb::Sidecar(verb) => verb.run().map_err(Failed::from),
            Verb::ControlPlane(verb) => verb.run(),
            Verb::Check(verb) => verb.run(),
            Verb::Explain(verb) => verb.run(),
            Verb::Top(verb) => verb.run(),
            Verb::Get(verb) => verb.run(),
            Verb::Diff(verb) => verb.run(),
            Verb::Apply(verb) => verb.run(),
            Verb::Rollback(verb) => verb.run(),
            Verb::Rollout(verb) => verb.run(),
            Verb::Command(verb) => verb.run(),
            Verb::Token(verb) => verb.run(),
            Verb::Whitelist(verb) => verb.run(),
            Verb::Override(verb) => verb.run(),
            Verb::DrainPlan(verb) => verb.run(),
            Verb::Notify(verb) => verb.run(),
            Verb::Drain(verb) => verb.run(),
            Verb::Upgrade(verb) => verb.run(),
            Verb::Config(verb) => verb.run(),
            Verb::Schema(verb) => verb.run(),
            Verb::Reasons(verb) => verb.run(),
            Verb::Completions(verb) => verb.run(),
            Verb::Docs(verb) => verb.run(),
            Verb::DemoApp(verb) => verb.run().map_err(Failed::from),
            Verb::DemoClient(verb) => verb.run().map_err(Failed::from),
        };
        done.unwrap_or_else(|failed| {
            complain(&failed.text);
            failed.exit.into()
        })
    }
}

/// Waits between two looks at something that takes its time.
#[expect(clippy::disallowed_methods, reason = "a verb does one thing: nothing else could run meanwhile")]
fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}

/// Says what a verb was asked for. A reader that has seen enough (`| head`) is no failure.
fn say(text: &str) -> Result<(), Failed> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(why.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Tells on standard error.
fn complain(text: &str) {
    // Where not even standard error takes words, the exit code has to do.
    match io::stderr().write_all(text.as_bytes()) {
        Ok(()) | Err(_) => {}
    }
}
