//! The one binary.
//!
//! Reads the command line and hands over: each verb is a file in `cli`. Holds no logic that a library could hold.

mod cli;
mod demo;
mod documents;
mod failed;
mod pages;
mod peer;
mod scrape;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
