//! `outrigger rollback`: an old revision's words as a new revision.

use std::process::ExitCode;

use api::message::PolicyRevision;
use api::{Label, Namespace};
use clap::Args;
use serde_json::json;

use super::by::{By, Kept};
use crate::failed::{Failed, NO};

/// Put a policy back to what an earlier revision said; nothing is ever deleted by it.
#[derive(Args, Debug)]
pub(crate) struct Rollback {
    /// The policy's name.
    policy: Label,
    /// Its namespace.
    #[arg(long, default_value_t = Namespace::default())]
    namespace: Namespace,
    /// The revision whose words to take; the one before the current when left out.
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    #[command(flatten)]
    by: By,
}

impl Rollback {
    /// Puts it back.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let path = format!("/v1/namespaces/{}/policies/{}", self.namespace, self.policy);
        let to = match self.to {
            Some(to) => to,
            None => self.before(&path)?,
        };
        let answer = self.by.write(("POST", &format!("{path}/rollback")), &json!({ "to": to }))?;
        let Kept { revision } = answer.json()?;
        let Self { namespace, policy, .. } = &self;
        super::say(&format!(
            "{namespace}/{policy} says again what revision {to} said, as revision {revision}\n"
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    /// The last revision before the current one that holds a document.
    fn before(&self, path: &str) -> Result<u64, Failed> {
        let history: Vec<PolicyRevision> = self.by.read(&format!("{path}/history"))?;
        let earlier = history.iter().rev().skip(1).find(|revision| revision.document.is_some());
        let none = || Failed::new(NO, format!("{}/{} has no earlier revision", self.namespace, self.policy));
        earlier.map(|revision| revision.revision).ok_or_else(none)
    }
}
