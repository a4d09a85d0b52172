//! A document of any format, and the one pass that takes a record apart.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Shape;
use crate::problem::{Problem, nearest};

/// What a scalar looked like to its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Flag,
    /// A number.
    Number,
    /// Anything else.
    Text,
}

/// A document, with every key it repeats: what `serde_yaml` and `serde_json` would silently drop.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// One word, as text.
    Scalar(Kind, String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order written.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What it is, for an error.
    pub fn what(&self) -> String {
        match self {
            Self::Scalar(Kind::Null, _) => "nothing".into(),
            Self::Scalar(_, text) => format!("{text:?}"),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a mapping".into(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word, a list or a mapping")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Kind::Flag, flag.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Scalar(Kind::Number, number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Scalar(Kind::Number, number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Kind::Number, number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Kind::Text, text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Kind::Null, String::new()))
    }

    /// What `serde_yaml` makes of a text that holds only comments.
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Kind::Null, String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = from.next_entry::<Node, Node>()? {
            let Node::Scalar(_, key) = key else {
                return Err(serde::de::Error::custom("a key must be one word"));
            };
            entries.push((key, value));
        }
        Ok(Node::Map(entries))
    }
}

/// Every problem found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value` when there was no problem, else all of them.
    ///
    /// # Errors
    /// Every problem, in the order found.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

/// `path` with `key` behind it.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The fields of one mapping while they are being taken.
pub struct Fields<'a> {
    path: &'a str,
    left: Vec<(&'a str, &'a Node)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of `node` at `path`; `None`, with a problem, when it is no mapping. Keys that stand twice
    /// are told here, each with the path of the second.
    pub fn of(node: &'a Node, path: &'a str, problems: &mut Problems) -> Option<Self> {
        let entries = match node {
            Node::Map(entries) => entries.as_slice(),
            Node::Scalar(Kind::Null, _) => &[],
            other => {
                problems.push(Problem::at(path, format!("expected a mapping, found {}", other.what())));
                return None;
            }
        };
        let mut left: Vec<(&str, &Node)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if left.iter().any(|(seen, _)| seen == key) {
                let what = format!("key {key:?} stands twice");
                let hint = "YAML would silently keep the last; merge them or take one out";
                problems.push(Problem::at(format!("{}#2", join(path, key)), what).hint(hint));
            } else {
                left.push((key, value));
            }
        }
        Some(Self { path, left, known: Vec::new() })
    }

    /// Takes `key`, with its path. What is written as nothing (`key:`) counts as left out.
    pub fn take(&mut self, key: &'static str) -> Option<(&'a Node, String)> {
        self.known.push(key);
        let at = self.left.iter().position(|(name, _)| *name == key)?;
        let (_, node) = self.left.swap_remove(at);
        (!matches!(node, Node::Scalar(Kind::Null, _))).then(|| (node, join(self.path, key)))
    }

    /// Reads `key` when it is written.
    pub fn optional<T: Shape>(&mut self, key: &'static str, problems: &mut Problems) -> Option<T> {
        let (node, path) = self.take(key)?;
        T::read(node, &path, problems)
    }

    /// Reads `key`, which must be written.
    pub fn required<T: Shape>(&mut self, key: &'static str, problems: &mut Problems) -> Option<T> {
        match self.take(key) {
            Some((node, path)) => T::read(node, &path, problems),
            None => {
                problems.push(Problem::at(join(self.path, key), format!("{key} is missing")));
                None
            }
        }
    }

    /// Tells of each field nobody took.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _) in self.left {
            let problem = Problem::at(join(self.path, key), format!("unknown key {key:?}"));
            let hint = match nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("allowed here: {}", self.known.join(", ")),
            };
            problems.push(problem.hint(hint));
        }
    }
}
