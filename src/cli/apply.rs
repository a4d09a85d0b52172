//! `outrigger apply`: policies to the control plane.

use std::path::PathBuf;
use std::process::ExitCode;

use api::Policy;
use api::schema::Shape;
use clap::Args;
use serde::Deserialize;

use crate::documents;
use crate::failed::Failed;
use crate::peer::Peer;

/// Write policies: checked here first, kept by the control plane, obeyed by the next requests.
#[derive(Args, Debug)]
pub(crate) struct Apply {
    /// A file of policy documents.
    #[arg(short, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    by: By,
}

/// Where policies are written, by whom and why.
#[derive(Args, Debug)]
pub(super) struct By {
    /// The control plane's listener for operators.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7401")]
    pub(super) control: Peer,
    /// Why, for the history.
    #[arg(long, short, value_name = "WORDS", default_value = "")]
    pub(super) message: String,
    /// Who, for the history.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "")]
    pub(super) author: String,
}

/// What to do when no control plane answers.
pub(super) const NO_CONTROL: (&str, &str) =
    ("control plane", "is it running there? `outrigger control-plane` starts one, --control names another");

/// A write that was kept.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    pub(super) revision: u64,
}

/// Where a policy stands in the API.
pub(super) fn path(policy: &Policy) -> String {
    format!("/v1/namespaces/{}/policies/{}", policy.namespace, policy.name)
}

impl By {
    /// The headers of a write.
    pub(super) fn headers(&self) -> [(&str, &str); 3] {
        [("content-type", "application/json"), ("x-author", &self.author), ("x-message", &self.message)]
    }
}

impl Apply {
    /// Writes each document in the order of the file; the first refusal ends it.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        for policy in documents::policies(&self.file)? {
            let body = policy.write().to_string();
            let answer =
                self.by.control.ask(NO_CONTROL, ("PUT", &path(&policy)), &self.by.headers(), &body)?;
            let Kept { revision } = answer.json()?;
            super::say(&format!("applied {}/{} as revision {revision}\n", policy.namespace, policy.name))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
