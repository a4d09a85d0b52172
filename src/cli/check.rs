//! `outrigger check`: start minus bind.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::policy::{Policy, PolicySet};
use clap::Args;

use crate::documents::{self, Kind};
use crate::failed::{BAD_CONFIG, Failed};

/// Tell every mistake of files without starting or changing anything.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Files of sidecars, control planes and policies; which is which is recognised by what they say.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    /// Checks each file, then all policies together.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let mut wrong = String::new();
        let mut policies = Vec::new();
        for file in &self.files {
            match checked(file) {
                Ok((kind, found)) => {
                    super::say(&format!("{}: ok ({})\n", file.display(), kind.name()))?;
                    policies.extend(found);
                }
                Err(failed) => wrong.push_str(&failed.text),
            }
        }
        if let Err(problems) = PolicySet::new(policies) {
            for problem in problems {
                wrong.push_str(&format!("error: the files together: {problem}\n"));
            }
        }
        if wrong.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(Failed::rendered(wrong)) }
    }
}

/// The file's kind, and its policies if that is what it holds.
fn checked(file: &Path) -> Result<(Kind, Vec<Policy>), Failed> {
    let kind = Kind::of(&documents::text(file)?);
    let config = Some(file.to_owned());
    let policies = match kind {
        Kind::Sidecar => {
            let options = sidecar::run::Options { config, ..Default::default() };
            let checked = sidecar::run::check(&options).map_err(|bad| Failed::rendered(bad.0))?;
            let wrong = sidecar::run::will_fail(&checked);
            if !wrong.is_empty() {
                let each = wrong.iter().map(|what| format!("error: {}: {what}\n", file.display()));
                return Err(Failed::rendered(each.collect()));
            }
            Vec::new()
        }
        Kind::ControlPlane => {
            let options = control_plane::Options { config, ..Default::default() };
            control_plane::check(&options).map_err(|bad| Failed { exit: BAD_CONFIG, text: bad.text })?;
            Vec::new()
        }
        Kind::Policy => documents::policies(file)?,
    };
    Ok((kind, policies))
}
