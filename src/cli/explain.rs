//! `outrigger explain`: the story of one request, as its sidecar kept it.

use std::process::ExitCode;

use clap::Args;

use crate::failed::{Failed, USAGE};
use crate::peer::Peer;

/// Tell why a request went the way it did: candidates, attempts, timings, verdict.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The request's id (`x-request-id` of its answer), or `last`.
    #[arg(value_name = "ID|last")]
    which: String,
    /// With `last`: the last one that was tried more than once.
    #[arg(long)]
    retried: bool,
    /// The record as JSON.
    #[arg(long)]
    json: bool,
    /// The admin listener of the sidecar that carried the request.
    #[arg(long, value_name = "ADDR", default_value = "http://127.0.0.1:7411")]
    admin: Peer,
}

/// What to do when no sidecar answers.
pub(super) const NO_SIDECAR: (&str, &str) =
    ("sidecar", "is it running there? --admin names another: HOST:PORT or unix:/PATH");

impl Explain {
    /// Tells it.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let which = match (self.which.as_str(), self.retried) {
            ("last", true) => "last-retried",
            (_, true) => return Err(Failed::new(USAGE, "--retried goes with `last`")),
            (id, false) if id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => id,
            (id, false) => return Err(Failed::new(USAGE, format!("{id:?} is no request id"))),
        };
        let accept = if self.json { "application/json" } else { "text/plain" };
        let path = format!("/v1/records/{which}");
        let answer = self.admin.ask(NO_SIDECAR, ("GET", &path), &[("accept", accept)], "")?;
        super::say(&answer.good()?)?;
        Ok(ExitCode::SUCCESS)
    }
}
