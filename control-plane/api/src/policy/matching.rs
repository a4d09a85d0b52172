//! What a route matches on.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::name::{Caller, Label};
use crate::schema::{Field, Fields, Node, Problems, Schema, Shape};

/// A method as a policy names it: a token in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodName(String);

impl MethodName {
    /// The method as it stands in a request.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MethodName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let token = !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        token.then(|| Self(text.into())).ok_or_else(|| format!("{text:?} is not a method such as GET"))
    }
}

/// A path with `*`: alone in the middle it stands for one segment, at the end for everything that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Whether `path` (without its query) matches.
    pub fn matches(&self, path: &str) -> bool {
        let mut wanted = self.0.split('/').peekable();
        let mut given = path.split('/');
        while let Some(want) = wanted.next() {
            match given.next() {
                // A trailing `*` needs at least an empty segment: `/orders/*` takes `/orders/` and not `/orders`.
                Some(_) if want == "*" && wanted.peek().is_none() => return true,
                Some(have) if want == "*" || want == have => {}
                _ => return false,
            }
        }
        given.next().is_none()
    }
}

impl FromStr for PathPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("path {text:?} does not start with /"));
        }
        if text.split('/').any(|segment| segment.len() > 1 && segment.contains('*')) {
            return Err(format!("path {text:?}: * stands for whole segments only"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Any caller, or one by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallerPattern {
    /// Everyone, also who has no name.
    #[default]
    Any,
    /// One.
    Named(Label),
}

impl CallerPattern {
    /// Whether `caller` is meant.
    pub fn matches(&self, caller: &Caller) -> bool {
        match self {
            Self::Any => true,
            Self::Named(name) => caller.name.as_ref() == Some(name),
        }
    }
}

impl FromStr for CallerPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" { Ok(Self::Any) } else { text.parse().map(Self::Named) }
    }
}

impl fmt::Display for CallerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Named(name) => write!(f, "{name}"),
        }
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::schema::text_shape! {
    MethodName = "a method: GET",
    PathPattern = "a path; * stands for one segment, at the end for all that follow",
    CallerPattern = "a caller's name, or * for everyone"
}

/// What a route matches: every condition written must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// One of these methods; empty for all.
    pub method: Vec<MethodName>,
    /// This path.
    pub path: Option<PathPattern>,
    /// These headers with exactly these values.
    pub header: BTreeMap<String, String>,
    /// This caller.
    pub caller: CallerPattern,
}

impl Matching {
    /// Whether a request matches; `header` gives a header's value by its lower-case name.
    pub fn matches<'h>(
        &self,
        method: &str,
        path: &str,
        caller: &Caller,
        header: impl Fn(&str) -> Option<&'h str>,
    ) -> bool {
        (self.method.is_empty() || self.method.iter().any(|m| m.as_str() == method))
            && self.path.as_ref().is_none_or(|p| p.matches(path))
            && self.caller.matches(caller)
            && self.header.iter().all(|(name, value)| header(name) == Some(value))
    }
}

impl Shape for Matching {
    fn schema() -> Schema {
        let field = |name, doc: &str, schema| Field::new(name, doc, schema, None);
        Schema::Record(vec![
            field("method", "One of these methods; all when left out.", Vec::<MethodName>::schema()),
            field("path", "This path.", PathPattern::schema()),
            field("header", "These headers with exactly these values.", BTreeMap::<String, String>::schema()),
            field("caller", "This caller.", CallerPattern::schema()),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let header: Option<BTreeMap<String, String>> = fields.optional("header", problems);
        let matching = Self {
            method: fields.optional("method", problems).unwrap_or_default(),
            path: fields.optional("path", problems),
            header: header.unwrap_or_default().into_iter().map(|(n, v)| (n.to_lowercase(), v)).collect(),
            caller: fields.optional("caller", problems).unwrap_or_default(),
        };
        fields.finish(problems);
        Some(matching)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        if !self.method.is_empty() {
            map.insert("method".into(), self.method.write());
        }
        if let Some(path) = &self.path {
            map.insert("path".into(), path.write());
        }
        if !self.header.is_empty() {
            map.insert("header".into(), self.header.write());
        }
        if self.caller != CallerPattern::Any {
            map.insert("caller".into(), self.caller.write());
        }
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_path_pattern_matches_whole_segments() {
        for (pattern, path, wanted) in [
            ("/orders", "/orders", true),
            ("/orders", "/orders/7", false),
            ("/orders/*", "/orders/7", true),
            ("/orders/*", "/orders/7/items", true),
            ("/orders/*", "/orders", false),
            ("/orders/*/items", "/orders/7/items", true),
            ("/orders/*/items", "/orders/7/8/items", false),
            ("/*", "/", true),
        ] {
            let pattern: PathPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(path), wanted, "{pattern} {path}");
        }
    }
}
