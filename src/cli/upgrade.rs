//! `outrigger upgrade`: has a sidecar start its program anew and hand everything over to it, as SIGUSR2 does.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use super::explain::NO_SIDECAR;
use crate::failed::Failed;
use crate::peer::Peer;

/// Have a sidecar start its program anew, with its listeners: nothing is refused, what is in flight ends where it is.
#[derive(Args, Debug)]
pub(crate) struct Upgrade {
    /// Its admin socket (`admin.unix` in its file); the TCP listener is read-only.
    #[arg(long, value_name = "unix:/PATH")]
    admin: Peer,
}

#[derive(Deserialize)]
struct Upgraded {
    process: u32,
}

impl Upgrade {
    /// Gives the order and waits until the new process serves; where it does not, the old one still does.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let done: Upgraded = self.admin.ask(NO_SIDECAR, ("POST", "/v1/upgrade"), &[], "")?.json()?;
        super::say(&format!("process {} took over\n", done.process))?;
        Ok(ExitCode::SUCCESS)
    }
}
