//! `outrigger config get`, `put`, `watch`: config values for apps.

use std::collections::BTreeMap;
use std::process::ExitCode;

use api::appconfig::{ConfigAsk, ConfigKept, ConfigValue, ConfigWords};
use api::{Digest, Label, Namespace, Span};
use clap::{Args, Subcommand};

use super::by::By;
use crate::failed::{Failed, NO, USAGE};

/// So long one question of `watch` is held: less than a client waits for an answer.
const HOLD: Span = Span::secs(10);

/// What to do with a value.
#[derive(Debug, Subcommand)]
pub(super) enum Deed {
    /// Print the value that an app with these labels gets.
    Get(Asked),
    /// Write it; gray values that were there stay, unless `--drop-gray`.
    Put {
        /// The key.
        key: Label,
        /// The value; with `--gray`, for those with all of these labels alone.
        value: String,
        /// A label that an app must have to get this value.
        #[arg(long, value_name = "NAME=VALUE")]
        gray: Vec<String>,
        /// Everybody gets the same from now on.
        #[arg(long, conflicts_with = "gray")]
        drop_gray: bool,
        /// The namespace.
        #[arg(long, default_value_t = Namespace::default())]
        namespace: Namespace,
        #[command(flatten)]
        by: By,
    },
    /// Print it each time it changes, until the reader leaves.
    Watch(Asked),
}

/// Whose value.
#[derive(Args, Debug)]
pub(super) struct Asked {
    /// The key.
    key: Label,
    /// A label of the app.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// The namespace.
    #[arg(long, default_value_t = Namespace::default())]
    namespace: Namespace,
    #[command(flatten)]
    by: By,
}

impl Deed {
    /// Does it.
    pub(super) fn run(self) -> Result<ExitCode, Failed> {
        match self {
            Self::Get(asked) => {
                let found = asked.ask(Digest::of(b"nothing"), Span::default())?;
                let value = found.value.ok_or_else(|| {
                    Failed::new(NO, format!("namespace {} has no value {}", asked.namespace, asked.key))
                })?;
                super::say(&format!("{value}\n"))?;
            }
            Self::Watch(asked) => {
                let mut held = Digest::of(b"nothing");
                loop {
                    let found = asked.ask(held, HOLD)?;
                    if found.digest != held {
                        super::say(&format!("{}\n", found.value.unwrap_or_default()))?;
                        held = found.digest;
                    }
                }
            }
            Self::Put { key, value, gray, drop_gray, namespace, by } => {
                let path = path(&namespace, &key);
                let mut words: ConfigWords = by.read_if_any(&path)?.unwrap_or_default();
                if gray.is_empty() {
                    words.value = value;
                } else {
                    let labels = labels(&gray)?;
                    words.gray.retain(|other| other.labels != labels);
                    words.gray.push(api::appconfig::Gray { labels, value });
                }
                if drop_gray {
                    words.gray.clear();
                }
                let ConfigKept { revision } = by.write(("PUT", &path), &words)?.json()?;
                super::say(&format!("{namespace}/{key} is kept as revision {revision}\n"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Asked {
    fn ask(&self, digest: Digest, hold: Span) -> Result<ConfigValue, Failed> {
        let ask = ConfigAsk { labels: labels(&self.label)?, digest, hold };
        self.by.write(("POST", &path(&self.namespace, &self.key)), &ask)?.json()
    }
}

fn path(namespace: &Namespace, key: &Label) -> String {
    format!("/v1/namespaces/{namespace}/config/{key}")
}

fn labels(written: &[String]) -> Result<BTreeMap<String, String>, Failed> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    let read = |text| {
        pair(text).ok_or_else(|| Failed::new(USAGE, format!("{text:?} is no label: write NAME=VALUE")))
    };
    written.iter().map(read).collect()
}
