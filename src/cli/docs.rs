//! `outrigger docs`: writes the generated pages into the tree.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::failed::Failed;
use crate::pages::pages;

/// Write the generated pages below the current directory.
#[derive(Args, Debug)]
pub(crate) struct Docs {}

impl Docs {
    /// Writes them.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        for (path, text) in pages() {
            if let Some(folder) = Path::new(&path).parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&path, text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
