//! `outrigger schema`: what a file may say, for editors and for people.

use std::process::ExitCode;

use api::schema::markdown;
use clap::Args;

use crate::documents::Kind;
use crate::failed::Failed;
use crate::pages;

/// Print what a file may say, as JSON Schema for editors or as a table.
#[derive(Args, Debug)]
pub(crate) struct Schema {
    /// Which file.
    kind: Kind,
    /// As a table, with every default and its reason.
    #[arg(long)]
    markdown: bool,
}

impl Schema {
    /// Prints it.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let text = if self.markdown { markdown(&self.kind.schema()) } else { pages::schema(self.kind) };
        super::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
