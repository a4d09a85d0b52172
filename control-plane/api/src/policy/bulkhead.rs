//! Bulkheads: how many requests of one kind may be in flight, so that the others find room whatever becomes of it.

use serde_json::{Map, Value, json};

use crate::name::Label;
use crate::problem::Problem;
use crate::schema::{Field, Fields, Node, Problems, Schema, Shape};

/// What a bulkhead counts apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BulkheadKey {
    /// Nothing: everyone who names it shares it.
    #[default]
    Together,
    /// Each route.
    Route,
    /// Each caller.
    Caller,
    /// Each value of this header, by its lower-case name; requests without it together.
    Header(String),
    /// Each value of this label of the endpoints; `zone` and `lane` stand for an instance's own. A full one is passed over
    /// for endpoints of another value.
    Label(String),
}

/// A bulkhead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulkhead {
    /// Its name; routes of a service that name the same one share it.
    pub name: Label,
    /// What it counts apart.
    pub by: BulkheadKey,
    /// So many may be in flight at a time from this host, of each that is counted apart.
    pub in_flight: u32,
}

impl BulkheadKey {
    /// The key's word, which a sidecar must know to run it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Route => "route",
            Self::Caller => "caller",
            Self::Header(_) => "header",
            Self::Label(_) => "label",
        }
    }

    /// Every word.
    pub const WORDS: [&'static str; 5] = ["together", "route", "caller", "header", "label"];
}

impl Shape for BulkheadKey {
    fn schema() -> Schema {
        let words = Schema::Choice(vec!["together", "route", "caller"]);
        let named = Schema::Record(vec![
            Field::new(
                "header",
                "Each value of this header; requests without it together.",
                String::schema(),
                None,
            ),
            Field::new(
                "label",
                "Each value of this label of the endpoints; `zone` and `lane` stand for an instance's own.",
                String::schema(),
                None,
            ),
        ]);
        Schema::Either(Box::new(words), Box::new(named))
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let hint = "write together, route, caller, { header: NAME } or { label: NAME }";
        if matches!(node, Node::Map(_)) {
            let mut fields = Fields::of(node, path, problems)?;
            let mut word = |key| fields.optional::<String>(key, problems).filter(|word| !word.is_empty());
            let (header, label) = (word("header"), word("label"));
            fields.finish(problems);
            return match (header, label) {
                (Some(header), None) => Some(Self::Header(header.to_lowercase())),
                (None, Some(label)) => Some(Self::Label(label)),
                _ => {
                    problems
                        .push(Problem::at(path, "one of header and label says what to count by").hint(hint));
                    None
                }
            };
        }
        match node {
            Node::Scalar(_, word) if word == "together" => Some(Self::Together),
            Node::Scalar(_, word) if word == "route" => Some(Self::Route),
            Node::Scalar(_, word) if word == "caller" => Some(Self::Caller),
            other => {
                let what = format!("{} is nothing to count by", other.what());
                problems.push(Problem::at(path, what).hint(hint));
                None
            }
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Header(name) => json!({ "header": name }),
            Self::Label(name) => json!({ "label": name }),
            word => word.as_str().into(),
        }
    }
}

impl Shape for Bulkhead {
    fn schema() -> Schema {
        Schema::Record(vec![
            Field::new(
                "name",
                "Its name, in answers and metrics; routes that name the same one share it. Must be written.",
                Label::schema(),
                None,
            ),
            Field::new("by", "What it counts apart.", BulkheadKey::schema(), Some("together".into())),
            Field::new(
                "in_flight",
                "So many may be in flight at a time from this host, of each that is counted apart; must be written.",
                u32::schema(),
                None,
            ),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let name = fields.required("name", problems);
        let by = fields.optional("by", problems).unwrap_or_default();
        let in_flight: Option<u32> = fields.required("in_flight", problems);
        fields.finish(problems);
        if in_flight == Some(0) {
            let hint = "write 1 at least, or refuse them by outrigger command degrade";
            problems.push(Problem::at(format!("{path}.in_flight"), "0 lets nothing through").hint(hint));
            return None;
        }
        Some(Self { name: name?, by, in_flight: in_flight? })
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), self.name.write());
        map.insert("by".into(), self.by.write());
        map.insert("in_flight".into(), self.in_flight.write());
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::policy::Policy;
    use crate::yaml;

    fn read(words: &str) -> Result<Policy, Vec<Problem>> {
        yaml::read_one(&format!(
            "name: a\nmatch: {{ service: s }}\nconcurrency: {{ bulkheads: [{{ {words} }}] }}\n"
        ))
    }

    #[test]
    fn a_bulkhead_reads_back_and_says_what_a_sidecar_must_know() {
        for (words, wanted) in [
            ("name: x, in_flight: 2", "together"),
            ("name: x, in_flight: 2, by: route", "route"),
            ("name: x, in_flight: 2, by: caller", "caller"),
            ("name: x, in_flight: 2, by: { header: X-Tier }", "header"),
            ("name: x, in_flight: 2, by: { label: zone }", "label"),
        ] {
            let policy = read(words).unwrap();
            assert_eq!(yaml::read_one::<Policy>(&yaml::write(&policy)).unwrap(), policy, "{words}");
            assert!(policy.needs().contains(&format!("concurrency.bulkheads.by={wanted}")), "{words}");
            assert!(policy.needs().is_subset(&Policy::capabilities()), "{words}");
        }
    }

    #[test]
    fn what_is_no_bulkhead_is_told_with_its_place() {
        for (words, path, what) in [
            ("name: x", "concurrency.bulkheads[0].in_flight", "missing"),
            ("name: x, in_flight: 0", "concurrency.bulkheads[0].in_flight", "0 lets nothing through"),
            ("name: x, in_flight: 1, by: endpoint", "concurrency.bulkheads[0].by", "nothing to count by"),
            ("name: x, in_flight: 1, by: { header: a, label: b }", "concurrency.bulkheads[0].by", "one of"),
        ] {
            let told = read(words).unwrap_err();
            assert_eq!((told.len(), told[0].path.as_str()), (1, path), "{told:?}");
            assert!(told[0].to_string().contains(what), "{told:?}");
        }
        let twice =
            "name: a\nconcurrency: { bulkheads: [{ name: x, in_flight: 1 }, { name: x, in_flight: 2 }] }\n";
        let told = yaml::read_one::<Policy>(twice).unwrap_err();
        assert_eq!(told[0].path, "concurrency.bulkheads[1]");
    }
}
