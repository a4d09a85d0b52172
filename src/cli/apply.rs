//! `outrigger apply`: policies to the control plane.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use api::rollout::Verdicts;
use api::schema::Shape;
use api::{Namespace, Policy, Span};
use clap::Args;

use super::by::{By, Kept};
use super::rollout::{self, Staged};
use crate::documents;
use crate::failed::{Failed, NO, USAGE};

/// Write policies: checked here first, kept by the control plane, obeyed by the next requests.
///
/// Exits with 1 when a sidecar rejects them; it goes on with what it had.
#[derive(Args, Debug)]
pub(crate) struct Apply {
    /// A file of policy documents.
    #[arg(short, value_name = "FILE")]
    file: PathBuf,
    /// Wait so long for each sidecar's word; who has not answered by then is told as silent.
    #[arg(long, value_name = "SPAN", default_value = "10s")]
    wait: Span,
    #[command(flatten)]
    staged: Staged,
    #[command(flatten)]
    by: By,
}

/// Where a policy stands in the API.
pub(super) fn path(policy: &Policy) -> String {
    format!("/v1/namespaces/{}/policies/{}", policy.namespace, policy.name)
}

impl Apply {
    /// Writes each document in the order of the file; the first refusal ends it. Then tells who runs them.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let policies = documents::policies(&self.file)?;
        let namespaces: BTreeSet<Namespace> =
            policies.iter().map(|policy| policy.namespace.clone()).collect();
        if self.staged.staged {
            let mut namespaces = namespaces.iter();
            let (Some(namespace), None) = (namespaces.next(), namespaces.next()) else {
                return Err(Failed::new(USAGE, "one namespace is rolled out at a time: split the file"));
            };
            return self.staged.run(&self.by, namespace, policies.iter().map(Shape::write).collect());
        }
        for policy in policies {
            let answer = self.by.write(("PUT", &path(&policy)), &policy.write())?;
            let Kept { revision } = answer.json()?;
            super::say(&format!("applied {}/{} as revision {revision}\n", policy.namespace, policy.name))?;
        }
        let mut rejected = false;
        for namespace in namespaces {
            let verdicts = self.verdicts(&namespace)?;
            rejected |= !verdicts.rejected.is_empty();
            super::say(&rollout::verdicts(&verdicts))?;
        }
        Ok(if rejected { NO.into() } else { ExitCode::SUCCESS })
    }

    /// What each sidecar says, once all have said something or the time is over.
    fn verdicts(&self, namespace: &Namespace) -> Result<Verdicts, Failed> {
        let give_up = Instant::now() + self.wait.duration();
        let path = format!("/v1/namespaces/{namespace}/verdicts");
        loop {
            let verdicts: Verdicts = self.by.read(&path)?;
            if verdicts.silent.is_empty() || Instant::now() >= give_up {
                return Ok(verdicts);
            }
            super::pause(rollout::LOOK);
        }
    }
}
