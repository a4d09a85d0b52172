//! `outrigger notify`: a change told to a share of its watchers at a time.

use std::process::ExitCode;

use api::{Label, NotifyShare, Share};
use clap::{Args, Subcommand};

use super::by::By;
use super::in_force::{Why, list};
use crate::failed::Failed;

const PATH: &str = "/v1/notify";

/// In an emergency: tell only a share of a list's watchers of a change at a time.
#[derive(Args, Debug)]
pub(crate) struct Notify {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put one in force; it is over by itself.
    Put {
        /// What it is called.
        #[arg(long)]
        name: Label,
        /// How many of them at a time.
        #[arg(long, default_value = "10%")]
        share: Share,
        #[command(flatten)]
        why: Why,
    },
    /// Show those in force.
    List,
    /// End one before its time.
    Remove {
        /// What it is called.
        name: Label,
    },
}

impl Notify {
    /// Puts, lists or ends.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        match self.what {
            What::Put { name, share, why } => {
                let (owner, reason, ttl) = why.of(&self.by);
                self.by.put(PATH, &name, &NotifyShare { share, owner, reason, ttl })?;
            }
            What::List => return list(&self.by, PATH, told),
            What::Remove { name } => self.by.remove(PATH, &name)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(said: &NotifyShare) -> (String, String, String) {
    (format!("{} at a time", said.share), said.owner.clone(), said.reason.clone())
}
