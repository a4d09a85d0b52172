//! `outrigger config`: every setting in force, and where it comes from.

use std::path::PathBuf;
use std::process::ExitCode;

use api::schema::{Schema, join};
use clap::{ArgGroup, Args};
use serde_json::Value;

use super::config_value::Deed;
use crate::documents::{self, Kind};
use crate::failed::Failed;

/// Print every setting in force, defaults with their reasons; or get, put and watch config values for apps.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("how").required(true)))]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Config {
    #[command(subcommand)]
    value: Option<Deed>,
    /// As a file that would say everything.
    #[arg(long, group = "how")]
    effective: bool,
    /// One setting a line, each with where it comes from.
    #[arg(long, group = "how")]
    origin: bool,
    /// The file; only defaults without one.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Whose file; recognised by what it says when left out.
    #[arg(long)]
    kind: Option<Kind>,
}

impl Config {
    /// Prints it.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        if let Some(deed) = self.value {
            return deed.run();
        }
        let kind = match (self.kind, &self.file) {
            (Some(kind), _) => kind,
            (None, Some(file)) => Kind::of(&documents::text(file)?),
            (None, None) => Kind::Sidecar,
        };
        let written = documents::words(kind, self.file.as_deref())?;
        let file = self.file.map(|file| file.display().to_string()).unwrap_or_default();
        let mut text = String::new();
        match self.origin {
            true => origins(&kind.schema(), &written, "", &file, &mut text),
            false => effective(&kind.schema(), &written, 0, &mut text),
        }
        super::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The settings as YAML, each default with its reason behind it.
fn effective(schema: &Schema, written: &Value, depth: usize, text: &mut String) {
    let Schema::Record(fields) = schema else { return };
    let indent = "  ".repeat(depth);
    for field in fields {
        let own = written.get(field.name);
        if let Schema::Record(_) = field.schema {
            text.push_str(&format!("{indent}{}:\n", field.name));
            effective(&field.schema, own.unwrap_or(&Value::Null), depth + 1, text);
            continue;
        }
        // JSON is YAML.
        let line = match (own, &field.default) {
            (Some(value), _) => format!("{indent}{}: {value}", field.name),
            (None, Some(value)) => format!("{indent}{}: {value}  # default: {}", field.name, field.why),
            (None, None) => format!("{indent}# {}: {}", field.name, field.doc),
        };
        text.push_str(&line);
        text.push('\n');
    }
}

/// One setting a line.
fn origins(schema: &Schema, written: &Value, path: &str, file: &str, text: &mut String) {
    let Schema::Record(fields) = schema else { return };
    for field in fields {
        let path = join(path, field.name);
        let own = written.get(field.name);
        if let Schema::Record(_) = field.schema {
            origins(&field.schema, own.unwrap_or(&Value::Null), &path, file, text);
            continue;
        }
        match (own, &field.default) {
            (Some(value), _) => text.push_str(&format!("{path} = {value}  ({file})\n")),
            (None, Some(value)) => text.push_str(&format!("{path} = {value}  (default: {})\n", field.why)),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use api::config::{ControlPlaneConfigWords, SidecarConfigWords};
    use api::schema::{Shape, Words};

    /// What is printed reads back as the defaults, so it can be saved and edited.
    fn check<T: Words>()
    where
        T::Settled: PartialEq + std::fmt::Debug,
    {
        let mut text = String::new();
        effective(&T::schema(), &Value::Null, 0, &mut text);
        let read: T = api::yaml::read_one(&text).unwrap();
        assert_eq!(read.settle(), T::default().settle(), "{text}");
    }

    #[test]
    fn the_effective_configuration_is_a_file() {
        check::<SidecarConfigWords>();
        check::<ControlPlaneConfigWords>();
    }

    #[test]
    fn an_origin_is_named_for_every_setting() {
        let written = serde_json::json!({ "limits": { "requests": 7 } });
        let mut text = String::new();
        origins(&SidecarConfigWords::schema(), &written, "", "s.yaml", &mut text);
        assert!(text.contains("limits.requests = 7  (s.yaml)\n"), "{text}");
        assert!(
            text.contains("drain = \"30s\"  (default: Kubernetes waits as long before it kills)\n"),
            "{text}"
        );
    }
}
