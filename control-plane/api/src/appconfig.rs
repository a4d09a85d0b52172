//! Config values for apps: a text under a key of a namespace, other texts for those with certain labels.
//!
//! | verb | method and path | body → answer |
//! |---|---|---|
//! | write | `PUT /v1/namespaces/{ns}/config/{key}` | [`ConfigWords`] → [`ConfigKept`] |
//! | take out | `DELETE /v1/namespaces/{ns}/config/{key}` | → [`ConfigKept`] |
//! | read all of it | `GET /v1/namespaces/{ns}/config/{key}` | → [`ConfigWords`] |
//! | read one's own | `POST /v1/namespaces/{ns}/config/{key}` | [`ConfigAsk`] → [`ConfigValue`]; waits while nothing is new |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::unit::Span;

/// A value, and who gets another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigWords {
    /// What everybody gets who gets nothing else.
    pub value: String,
    /// A gray release: the first whose labels the asker has all of is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gray: Vec<Gray>,
}

/// A value for those with certain labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gray {
    /// Who: whoever has all of these.
    pub labels: BTreeMap<String, String>,
    /// What they get.
    pub value: String,
}

impl ConfigWords {
    /// What an asker with `labels` gets.
    pub fn of(&self, labels: &BTreeMap<String, String>) -> &str {
        let has = |gray: &&Gray| gray.labels.iter().all(|(name, value)| labels.get(name) == Some(value));
        self.gray.iter().find(has).map_or(&self.value, |gray| &gray.value)
    }
}

/// An app asks for its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigAsk {
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What it holds; the answer waits until there is something else, or `hold` is over.
    #[serde(default)]
    pub digest: Digest,
    /// How long to wait at most; the server bounds it to 60 s.
    #[serde(default)]
    pub hold: Span,
}

/// An app's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigValue {
    /// The value; `None` where there is none.
    pub value: Option<String>,
    /// What it says.
    pub digest: Digest,
    /// The revision that wrote it; zero where there is none.
    pub revision: u64,
}

/// A write was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigKept {
    /// The revision it made.
    pub revision: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gray_value_whose_labels_all_match_is_taken() {
        let labels = |text: &str| -> BTreeMap<String, String> {
            text.split_whitespace()
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.into(), v.into()))
                .collect()
        };
        let gray = |text: &str, value: &str| Gray { labels: labels(text), value: value.into() };
        let words = ConfigWords {
            value: "old".into(),
            gray: vec![
                gray("lane=blue zone=a", "both"),
                gray("lane=blue", "blue"),
                gray("lane=blue", "never"),
            ],
        };
        for (asker, wanted) in [
            ("", "old"),
            ("zone=a", "old"),
            ("lane=blue", "blue"),
            ("zone=a lane=blue x=y", "both"),
            ("lane=red", "old"),
        ] {
            assert_eq!(words.of(&labels(asker)), wanted, "{asker}");
        }
    }
}
