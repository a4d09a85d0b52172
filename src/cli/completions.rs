//! `outrigger completions`: what a shell needs to complete our words.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failed::Failed;

/// Print the completions for a shell.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "outrigger", &mut script);
        super::say(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
