//! Files that people write: which kind one is, and the policies it holds.

use std::path::Path;

use api::config::{ControlPlaneConfigWords, SidecarConfigWords};
use api::policy::{Policy, PolicySet};
use api::problem::render;
use api::schema::{Node, Problems, Schema, Shape, Words};
use api::yaml;
use serde_json::Value;

use crate::failed::{BAD_CONFIG, Failed};

/// What a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A sidecar's file.
    Sidecar,
    /// A control plane's file.
    ControlPlane,
    /// Policy documents.
    Policy,
}

impl Kind {
    /// What such a file may say.
    pub(crate) fn schema(self) -> Schema {
        match self {
            Self::Sidecar => SidecarConfigWords::schema(),
            Self::ControlPlane => ControlPlaneConfigWords::schema(),
            Self::Policy => Policy::schema(),
        }
    }

    /// The kind as people say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::ControlPlane => "control-plane",
            Self::Policy => "policy",
        }
    }

    /// Recognised by content: the kind that knows most of the words written. A sidecar's when in doubt, because
    /// there are most of those.
    pub(crate) fn of(text: &str) -> Self {
        // What is no YAML has no kind; whoever reads it next says what is wrong with it.
        let documents = yaml::read_all::<Keys>(text).unwrap_or_default();
        let written: Vec<&str> = documents.iter().flat_map(|keys| &keys.0).map(String::as_str).collect();
        if written.contains(&"kind") {
            return Self::Policy;
        }
        let known = |kind: &Self| written.iter().filter(|key| kind.knows(key)).count();
        // Of equals the last is taken.
        [Self::Policy, Self::ControlPlane, Self::Sidecar]
            .into_iter()
            .max_by_key(known)
            .unwrap_or(Self::Sidecar)
    }

    fn knows(self, key: &str) -> bool {
        match self.schema() {
            Schema::Record(fields) => fields.iter().any(|field| field.name == key),
            _ => false,
        }
    }
}

/// The keys of a document, whatever it is.
struct Keys(Vec<String>);

impl Shape for Keys {
    fn schema() -> Schema {
        Schema::Record(Vec::new())
    }

    fn read(node: &Node, _: &str, _: &mut Problems) -> Option<Self> {
        match node {
            Node::Map(entries) => Some(Self(entries.iter().map(|(key, _)| key.clone()).collect())),
            Node::Scalar(..) | Node::List(_) => Some(Self(Vec::new())),
        }
    }

    fn write(&self) -> Value {
        Value::Null
    }
}

/// The text of the file at `path`.
pub(crate) fn text(path: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(path)
        .map_err(|why| Failed::new(BAD_CONFIG, format!("cannot read {}: {why}", path.display())))
}

/// The policies of the file at `path`, which do not contradict each other.
pub(crate) fn policies(path: &Path) -> Result<Vec<Policy>, Failed> {
    let (name, text) = (path.display().to_string(), text(path)?);
    let wrong = |problems: Vec<_>| Failed::rendered(render(&name, &text, &problems));
    let policies = yaml::read_all::<Policy>(&text).map_err(wrong)?;
    PolicySet::new(policies.clone()).map_err(wrong)?;
    if policies.is_empty() {
        return Err(Failed::new(BAD_CONFIG, format!("{name} holds no policy")));
    }
    Ok(policies)
}

/// The words of a sidecar's or control plane's file as JSON, defaults left out; of no file, nothing.
pub(crate) fn words(kind: Kind, path: Option<&Path>) -> Result<Value, Failed> {
    let Some(path) = path else { return Ok(Value::Null) };
    match kind {
        Kind::Sidecar => read::<SidecarConfigWords>(path),
        Kind::ControlPlane => read::<ControlPlaneConfigWords>(path),
        Kind::Policy => Err(Failed::new(BAD_CONFIG, format!("{} is a policy", path.display()))),
    }
}

fn read<T: Words>(path: &Path) -> Result<Value, Failed> {
    let (name, text) = (path.display().to_string(), text(path)?);
    match yaml::read_one::<T>(&text) {
        Ok(words) => Ok(words.write()),
        Err(problems) => Err(Failed::rendered(render(&name, &text, &problems))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, kind: Kind) {
        assert_eq!(Kind::of(text), kind, "{text}");
    }

    #[test]
    fn a_kind_is_recognised_by_its_words() {
        check("", Kind::Sidecar);
        check("kind: Policy\nname: a\n", Kind::Policy);
        check("name: a\nmatch: { service: s }\nretry: {}\n", Kind::Policy);
        check("lease: {}\nadmin: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", Kind::ControlPlane);
        check("services: {}\nadmin: {}\n", Kind::Sidecar);
        check("lisen: 127.0.0.1:2\npush: {}\n", Kind::ControlPlane);
        check("- not\n- a mapping\n", Kind::Sidecar);
    }
}
