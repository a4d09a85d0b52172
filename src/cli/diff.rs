//! `outrigger diff`: what applying would change, computed where the policies live.

use std::path::PathBuf;
use std::process::ExitCode;

use api::rollout::Forecast;
use api::schema::Shape;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::apply::path;
use super::by::By;
use crate::documents;
use crate::failed::{Failed, NO};

/// Show what applying a file would change; exits with 1 when it would change anything.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// A file of policy documents.
    #[arg(short, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Deserialize)]
struct DryRun {
    changes: Vec<Change>,
    forecast: Vec<Forecast>,
    unforeseen: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Change {
    path: String,
    from: Option<Value>,
    to: Option<Value>,
}

impl Diff {
    /// Shows it.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let mut differs = false;
        for policy in documents::policies(&self.file)? {
            let path = format!("{}?dry_run=true", path(&policy));
            let answer = self.by.write(("PUT", &path), &policy.write())?;
            let DryRun { changes, forecast, unforeseen } = answer.json()?;
            let mut text = format!("policy {}/{}\n", policy.namespace, policy.name);
            for Change { path, from, to } in &changes {
                for (sign, value) in [('-', from), ('+', to)] {
                    if let Some(value) = value {
                        text.push_str(&format!("{sign}   {path}: {}\n", shown(value)));
                    }
                }
            }
            if changes.is_empty() {
                text.push_str("    no change\n");
            }
            for Forecast { service, limit, refused, requests } in forecast {
                let told =
                    format!("limit {limit} would have refused {refused} of the last {requests} requests");
                text.push_str(&format!("    {service}: {told}\n"));
            }
            for path in unforeseen {
                let how = match api::Policy::can_be_in_shadow(&path) {
                    true => "use mode: shadow",
                    false => "roll it out with --staged",
                };
                text.push_str(&format!("    {path}: the past says nothing of it; {how}\n"));
            }
            differs |= !changes.is_empty();
            super::say(&text)?;
        }
        Ok(if differs { NO.into() } else { ExitCode::SUCCESS })
    }
}

/// A value as a policy would write it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
