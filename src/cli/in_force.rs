//! What operators say for a time over the registry's own judgement has an owner, a reason and an end.

use std::process::ExitCode;

use api::{InForce, Span};
use clap::Args;
use serde::de::DeserializeOwned;

use super::by::By;
use crate::failed::Failed;

/// Who answers for it, why, and until when.
#[derive(Args, Debug)]
pub(super) struct Why {
    /// Who answers for it; who asks when left out.
    #[arg(long, value_name = "NAME", default_value = "")]
    owner: String,
    /// Why.
    #[arg(long, value_name = "WORDS")]
    reason: String,
    /// It is over after this.
    #[arg(long, value_name = "SPAN")]
    ttl: Span,
}

impl Why {
    /// Owner, reason and time.
    pub(super) fn of(self, by: &By) -> (String, String, Span) {
        let owner = if self.owner.is_empty() { by.author.clone() } else { self.owner };
        (owner, self.reason, self.ttl)
    }
}

/// Shows one line each: what it says, by whom, why.
pub(super) fn list<T: DeserializeOwned>(
    by: &By,
    path: &str,
    told: impl Fn(&T) -> (String, String, String),
) -> Result<ExitCode, Failed> {
    let all: Vec<InForce<T>> = by.read(path)?;
    for InForce { name, left, said } in &all {
        let (what, owner, reason) = told(said);
        super::say(&format!("{name} {left} left: {what}, by {owner}: {reason}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
