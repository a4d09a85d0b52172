//! What an operator wrote on an instance: few names with values, in as few bytes as they take.
//!
//! A registry keeps a hundred thousand of them, and most hold one name or two: a tree's node would be ten times what is
//! in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names with values, in the order of names, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// Every name with its value, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Writes `value` under `name`, in the place of what stood there.
    pub fn insert(&mut self, name: &str, value: &str) {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => self.0[at].1 = value.into(),
            Err(at) => {
                let mut labels = std::mem::take(&mut self.0).into_vec();
                labels.insert(at, (name.into(), value.into()));
                self.0 = labels.into_boxed_slice();
            }
        }
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Self(labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        BTreeMap::<String, String>::deserialize(from).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn labels_are_a_map_in_the_order_of_names() {
        let mut labels = Labels::default();
        for (name, value) in [("version", "1"), ("arch", "arm"), ("version", "2")] {
            labels.insert(name, value);
        }
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("arch", "arm"), ("version", "2")]);
        assert_eq!((labels.get("version"), labels.get("zone")), (Some("2"), None));
        let words = serde_json::to_string(&labels).unwrap();
        assert_eq!(words, r#"{"arch":"arm","version":"2"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&words).unwrap(), labels);
    }
}
