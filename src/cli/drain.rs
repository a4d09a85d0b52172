//! `outrigger drain`: has a sidecar leave in five steps, as SIGTERM does.

use std::process::ExitCode;

use clap::Args;

use super::explain::NO_SIDECAR;
use crate::failed::Failed;
use crate::peer::Peer;

/// Have a sidecar leave: tell the control plane, refuse, wait, stop, forced at its time-out.
#[derive(Args, Debug)]
pub(crate) struct Drain {
    /// Its admin socket (`admin.unix` in its file); the TCP listener is read-only.
    #[arg(long, value_name = "unix:/PATH")]
    admin: Peer,
}

impl Drain {
    /// Gives the order; the sidecar ends by itself once it has left.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        self.admin.ask(NO_SIDECAR, ("POST", "/v1/drain"), &[], "")?.good()?;
        super::say(&format!("draining; {}/v1/status says how far it is\n", self.admin))?;
        Ok(ExitCode::SUCCESS)
    }
}
