//! Config values for apps: kept by the shell, told from memory.

use std::collections::BTreeMap;

use api::appconfig::{ConfigValue, ConfigWords};
use api::{Digest, Label, Namespace, Problem};

use super::ControlCore;
use crate::refusal::Refusal;

/// A value is a page of settings, not a file.
const VALUE_MAX: usize = 256 << 10;
/// Gray values of one key.
const GRAY_MAX: usize = 64;
/// Keys of all namespaces together.
const KEYS_MAX: usize = 10_000;

/// Every value with the revision that wrote it.
pub(super) type Configs = BTreeMap<(Namespace, Label), (ConfigWords, u64)>;

impl ControlCore {
    /// Whether `words` may be kept under `key`.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] with every problem, [`Refusal::Full`].
    pub fn check_config(
        &self,
        namespace: &Namespace,
        key: &Label,
        words: &ConfigWords,
    ) -> Result<(), Refusal> {
        self.loaded()?;
        let known = self.configs.contains_key(&(namespace.clone(), key.clone()));
        if self.configs.len() >= KEYS_MAX && !known {
            return Err(Refusal::Full("config keys"));
        }
        let values = std::iter::once(&words.value).chain(words.gray.iter().map(|gray| &gray.value));
        let mut problems = Vec::new();
        if values.into_iter().any(|value| value.len() > VALUE_MAX) {
            problems.push(Problem::at("value", format!("at most {VALUE_MAX} bytes")));
        }
        if words.gray.len() > GRAY_MAX {
            problems.push(Problem::at("gray", format!("at most {GRAY_MAX} gray values")));
        }
        for (at, _) in words.gray.iter().enumerate().filter(|(_, gray)| gray.labels.is_empty()) {
            let what = "no labels: everybody would get it";
            problems.push(Problem::at(format!("gray[{at}].labels"), what).hint("write it as the value"));
        }
        if problems.is_empty() { Ok(()) } else { Err(Refusal::Wrong(problems)) }
    }

    /// `words` are durable under `key` as `revision`; nothing is there any more when `None`.
    pub fn put_config(
        &mut self,
        namespace: Namespace,
        key: Label,
        words: Option<ConfigWords>,
        revision: u64,
    ) {
        match words {
            Some(words) => self.configs.insert((namespace, key), (words, revision)),
            None => self.configs.remove(&(namespace, key)),
        };
    }

    /// All that is kept under `key`.
    ///
    /// # Errors
    /// [`Refusal::NoSuchConfig`].
    pub fn config(&self, namespace: &Namespace, key: &Label) -> Result<ConfigWords, Refusal> {
        self.loaded()?;
        let found = self.configs.get(&(namespace.clone(), key.clone()));
        found.map(|(words, _)| words.clone()).ok_or(Refusal::NoSuchConfig)
    }

    /// What an asker with `labels` gets under `key`.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn config_value(
        &self,
        namespace: &Namespace,
        key: &Label,
        labels: &BTreeMap<String, String>,
    ) -> Result<ConfigValue, Refusal> {
        self.loaded()?;
        let Some((words, revision)) = self.configs.get(&(namespace.clone(), key.clone())) else {
            return Ok(ConfigValue { value: None, digest: Digest::EMPTY, revision: 0 });
        };
        let value = words.of(labels).to_owned();
        let digest = Digest::of(value.as_bytes());
        Ok(ConfigValue { value: Some(value), digest, revision: *revision })
    }
}
