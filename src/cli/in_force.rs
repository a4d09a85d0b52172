//! What operators say for a time over the registry's own judgement: put, listed and ended alike, with an owner, a reason
//! and an end.

use std::process::ExitCode;

use api::{InForce, Label, Span};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::by::By;
use crate::failed::Failed;

/// What is said so, by the options that say it.
pub(super) trait Said: Args {
    /// Where the control plane keeps all of them.
    const PATH: &'static str;
    /// How it is written there.
    type Words: Serialize + DeserializeOwned;

    /// Its name and its words.
    fn words(self, by: &By) -> Result<(Label, Self::Words), Failed>;

    /// What it says, by whom, why.
    fn told(words: &Self::Words) -> (String, &str, &str);
}

/// What to do with it.
#[derive(Debug, Subcommand)]
pub(super) enum Deed<S: Said> {
    /// Put one in force; it is over by itself.
    Put(S),
    /// Show those in force.
    List,
    /// End one before its time.
    Remove {
        /// What it is called.
        name: Label,
    },
}

impl<S: Said> Deed<S> {
    /// Puts, lists or ends.
    pub(super) fn run(self, by: &By) -> Result<ExitCode, Failed> {
        match self {
            Self::Put(said) => {
                let (name, words) = said.words(by)?;
                by.put(S::PATH, &name, &words)?;
            }
            Self::List => {
                let all: Vec<InForce<S::Words>> = by.read(S::PATH)?;
                for InForce { name, left, said } in &all {
                    let (what, owner, reason) = S::told(said);
                    super::say(&format!("{name} {left} left: {what}, by {owner}: {reason}\n"))?;
                }
            }
            Self::Remove { name } => by.remove(S::PATH, &name)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

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
