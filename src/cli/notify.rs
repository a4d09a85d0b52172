//! `outrigger notify`: a change told to a share of its watchers at a time.

use std::process::ExitCode;

use api::{Label, NotifyShare, Share};
use clap::Args;

use super::by::By;
use super::in_force::{Deed, Said, Why};
use crate::failed::Failed;

/// In an emergency: tell only a share of a list's watchers of a change at a time.
#[derive(Args, Debug)]
pub(crate) struct Notify {
    #[command(subcommand)]
    deed: Deed<Put>,
    #[command(flatten)]
    by: By,
}

#[derive(Args, Debug)]
struct Put {
    /// What it is called.
    #[arg(long)]
    name: Label,
    /// How many of them at a time.
    #[arg(long, default_value = "10%")]
    share: Share,
    #[command(flatten)]
    why: Why,
}

impl Notify {
    /// Puts, lists or ends.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        self.deed.run(&self.by)
    }
}

impl Said for Put {
    const PATH: &'static str = "/v1/notify";
    type Words = NotifyShare;

    fn words(self, by: &By) -> Result<(Label, NotifyShare), Failed> {
        let (owner, reason, ttl) = self.why.of(by);
        Ok((self.name, NotifyShare { share: self.share, owner, reason, ttl }))
    }

    fn told(words: &NotifyShare) -> (String, &str, &str) {
        (format!("{} at a time", words.share), &words.owner, &words.reason)
    }
}
