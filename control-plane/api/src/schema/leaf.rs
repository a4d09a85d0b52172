//! Shapes of single words, lists and maps.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::Value;

use super::node::join;
use super::{Kind, Node, Problems, Schema, Shape};
use crate::problem::Problem;

/// `off`, or on with a value: so that a more specific policy can switch off what a wider one switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch<T> {
    /// Not at all.
    #[default]
    Off,
    /// With this value.
    On(T),
}

impl<T: Copy> Switch<T> {
    /// The value, when on.
    pub fn on(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

impl<T: Shape> Shape for Switch<T> {
    fn schema() -> Schema {
        match T::schema() {
            Schema::Choice(mut words) => {
                words.push("off");
                Schema::Choice(words)
            }
            Schema::Scalar { what, .. } => Schema::Scalar { kind: "string", what },
            other => other,
        }
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        match node {
            // YAML 1.1 readers take a bare `off` for false; both spellings mean one thing here.
            Node::Scalar(Kind::Text, text) if text == "off" => Some(Self::Off),
            Node::Scalar(Kind::Flag, text) if text == "false" => Some(Self::Off),
            _ => T::read(node, path, problems).map(Self::On),
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Off => "off".into(),
            Self::On(value) => value.write(),
        }
    }
}

/// Reads one word with its type's own parser, whose message is the problem.
pub(crate) fn by_text<T: FromStr<Err = String>>(
    node: &Node,
    path: &str,
    problems: &mut Problems,
) -> Option<T> {
    let Node::Scalar(_, text) = node else {
        problems.push(Problem::at(path, format!("expected one word, found {}", node.what())));
        return None;
    };
    match text.parse() {
        Ok(value) => Some(value),
        Err(why) => {
            problems.push(Problem::at(path, why));
            None
        }
    }
}

/// A [`Shape`] by a type's own text.
macro_rules! text_shape {
    ($($Type:ty = $what:literal),+ $(,)?) => {$(
        impl $crate::schema::Shape for $Type {
            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::Scalar { kind: "string", what: $what }
            }
            fn read(
                node: &$crate::schema::Node,
                path: &str,
                problems: &mut $crate::schema::Problems,
            ) -> Option<Self> {
                $crate::schema::by_text(node, path, problems)
            }
            fn write(&self) -> serde_json::Value {
                self.to_string().into()
            }
        }
    )+};
}

pub(crate) use text_shape;

text_shape! {
    crate::Span = "a time with its unit: 250ms, 2s, 10m",
    crate::Size = "a size with its unit: 512B, 64KiB, 16MiB",
    crate::Share = "a share: 20% or 0.5%",
    crate::Percentile = "a percentile: p95 or p99.9",
    crate::Rate = "a rate: 100/s, 30/m, 10/h",
    crate::Namespace = "a namespace",
    crate::ServiceName = "a service's name",
    crate::ServiceKey = "a service: name, or name.namespace",
    crate::ServicePattern = "services: *, *.NAMESPACE, or a service's name",
    crate::Label = "a name",
    crate::NodeName = "a node's name",
}

/// A [`Shape`] for a closed set.
macro_rules! choice_shape {
    ($($Type:ty),+ $(,)?) => {$(
        impl $crate::schema::Shape for $Type {
            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::Choice(Self::ALL.iter().map(|word| word.as_str()).collect())
            }
            fn read(
                node: &$crate::schema::Node,
                path: &str,
                problems: &mut $crate::schema::Problems,
            ) -> Option<Self> {
                $crate::schema::by_text(node, path, problems)
            }
            fn write(&self) -> serde_json::Value {
                self.as_str().into()
            }
        }
    )+};
}

pub(crate) use choice_shape;

choice_shape!(crate::Protocol, crate::Readiness);

macro_rules! number_shape {
    ($($Type:ty = $kind:literal, $what:literal),+ $(,)?) => {$(
        impl Shape for $Type {
            fn schema() -> Schema {
                Schema::Scalar { kind: $kind, what: $what }
            }
            fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
                let found = match node {
                    Node::Scalar(_, text) => text.parse().ok(),
                    _ => None,
                };
                if found.is_none() {
                    problems.push(Problem::at(path, format!("expected {}, found {}", $what, node.what())));
                }
                found
            }
            fn write(&self) -> Value {
                (*self).into()
            }
        }
    )+};
}

number_shape! {
    bool = "boolean", "true or false",
    u8 = "integer", "a whole number from 0 to 255",
    u16 = "integer", "a whole number from 0 to 65535",
    u32 = "integer", "a whole number from 0 to 4294967295",
    u64 = "integer", "a whole number",
    f64 = "number", "a number",
}

impl Shape for String {
    fn schema() -> Schema {
        Schema::Scalar { kind: "string", what: "text" }
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        match node {
            Node::Scalar(_, text) if text.contains("${") => {
                let what = "${...} is not replaced in configuration";
                problems.push(Problem::at(path, what).hint("write the value, or a key that ends in _file"));
                None
            }
            Node::Scalar(_, text) => Some(text.clone()),
            other => {
                problems.push(Problem::at(path, format!("expected text, found {}", other.what())));
                None
            }
        }
    }

    fn write(&self) -> Value {
        self.as_str().into()
    }
}

impl Shape for PathBuf {
    fn schema() -> Schema {
        Schema::Scalar { kind: "string", what: "a path" }
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        String::read(node, path, problems).map(PathBuf::from)
    }

    fn write(&self) -> Value {
        self.display().to_string().into()
    }
}

fn address<T: FromStr>(node: &Node, path: &str, problems: &mut Problems, form: &str) -> Option<T> {
    let text = match node {
        Node::Scalar(_, text) => text.as_str(),
        // `10.0.0.1: 80` is a mapping to YAML: the commonest slip with addresses.
        Node::Map(entries) => match entries.as_slice() {
            [(host, Node::Scalar(_, port))] => {
                let what = format!("\"{host}: {port}\" was read by YAML as a mapping");
                problems.push(Problem::at(path, what).hint(format!("remove the space: {host}:{port}")));
                return None;
            }
            _ => "",
        },
        Node::List(_) => "",
    };
    let found = text.parse().ok();
    if found.is_none() {
        problems.push(Problem::at(path, format!("{} is not {form}", node.what())));
    }
    found
}

impl Shape for SocketAddr {
    fn schema() -> Schema {
        Schema::Scalar { kind: "string", what: "an address with a port: 127.0.0.1:8080" }
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        address(node, path, problems, "an address with a port (1-65535) such as 127.0.0.1:8080")
    }

    fn write(&self) -> Value {
        self.to_string().into()
    }
}

impl Shape for IpAddr {
    fn schema() -> Schema {
        Schema::Scalar { kind: "string", what: "an IP address" }
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        address(node, path, problems, "an IP address such as 10.0.0.5")
    }

    fn write(&self) -> Value {
        self.to_string().into()
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn schema() -> Schema {
        Schema::List(Box::new(T::schema()))
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let Node::List(items) = node else {
            problems.push(Problem::at(path, format!("expected a list, found {}", node.what())));
            return None;
        };
        // Every item is read, so that each one's problem is told.
        let read = |(at, item)| T::read(item, &format!("{path}[{at}]"), problems);
        let found: Vec<Option<T>> = items.iter().enumerate().map(read).collect();
        found.into_iter().collect()
    }

    fn write(&self) -> Value {
        self.iter().map(Shape::write).collect()
    }
}

impl<K, T> Shape for BTreeMap<K, T>
where
    K: FromStr<Err: std::fmt::Display> + Ord + ToString,
    T: Shape,
{
    fn schema() -> Schema {
        Schema::Map(Box::new(T::schema()))
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let Node::Map(entries) = node else {
            problems.push(Problem::at(path, format!("expected a mapping, found {}", node.what())));
            return None;
        };
        let mut found = Self::new();
        for (name, value) in entries {
            let at = join(path, name);
            let value = T::read(value, &at, problems);
            match name.parse() {
                Err(why) => problems.push(Problem::at(at, format!("{why}"))),
                Ok(key) if found.contains_key(&key) => {
                    let what = format!("key {name:?} stands twice");
                    let hint = "YAML would silently keep the last; merge them or take one out";
                    problems.push(Problem::at(format!("{at}#2"), what).hint(hint));
                }
                Ok(key) => {
                    if let Some(value) = value {
                        found.insert(key, value);
                    }
                }
            }
        }
        Some(found)
    }

    fn write(&self) -> Value {
        Value::Object(self.iter().map(|(name, value)| (name.to_string(), value.write())).collect())
    }
}
