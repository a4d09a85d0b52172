//! What an operator wrote on an instance: few names with values, in as few bytes as they take.
//!
//! A registry keeps a hundred thousand of them, and most hold one name or two: a tree's node would be ten times what is
//! in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Stands between names and values. One in a name or value becomes U+FFFD.
const END: char = '\0';

/// Names with values, in the order of names, each once; behind each other in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<str>);

impl Labels {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Every name with its value, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut words = self.0.split_terminator(END);
        std::iter::from_fn(move || Some((words.next()?, words.next()?)))
    }

    /// Writes `value` under `name`, in the place of what stood there.
    pub fn insert(&mut self, name: &str, value: &str) {
        let all = self.iter().chain([(name, value)]);
        let all: BTreeMap<String, String> = all.map(|(name, value)| (name.into(), value.into())).collect();
        *self = all.into();
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        let tame = |word: String| word.replace(END, "\u{fffd}");
        let labels: BTreeMap<_, _> = labels.into_iter().map(|(n, v)| (tame(n), tame(v))).collect();
        let mut all = String::with_capacity(labels.iter().map(|(n, v)| n.len() + v.len() + 2).sum());
        for word in labels.iter().flat_map(|(name, value)| [name, value]) {
            all.push_str(word);
            all.push(END);
        }
        Self(all.into())
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
        assert_eq!((labels.get("version"), labels.get("zone"), labels.get("2")), (Some("2"), None, None));
        let words = serde_json::to_string(&labels).unwrap();
        assert_eq!(words, r#"{"arch":"arm","version":"2"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&words).unwrap(), labels);
        labels.insert("", "");
        labels.insert("a\0b", "c\0");
        let all: Vec<_> = labels.iter().collect();
        assert_eq!(all, [("", ""), ("arch", "arm"), ("a\u{fffd}b", "c\u{fffd}"), ("version", "2")]);
    }
}
