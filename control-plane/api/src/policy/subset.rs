//! Which of a service's instances a request may meet: those that carry a label.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::choice::choice;
use crate::problem::Problem;
use crate::schema::{Field, Fields, Node, Problems, Schema, Shape};

/// The word that stands for an instance's lane where labels are named.
pub const LANE: &str = "lane";

/// A part of a service's instances, told by one label and the value a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// The label; [`LANE`] stands for the lane.
    pub label: String,
    /// Where the value comes from.
    pub value: SubsetValue,
}

/// Where a request's value of the label comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubsetValue {
    /// Always this one.
    Is(String),
    /// The request's header of this lower-case name; without it the request asks for no value.
    Header(String),
    /// One of these, drawn for each request in proportion to its number; a request that is tried again keeps
    /// its value.
    Split(BTreeMap<String, u32>),
}

choice! {
    /// Whom a request meets when its subset is empty, or when nobody in it is well.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Outside {
        /// Instances that do not carry the label; anybody where all carry it.
        #[default]
        Base = "base",
        /// Anybody.
        Any = "any",
        /// Nobody: it is refused.
        Nobody = "nobody",
    }
}

crate::schema::choice_shape!(Outside);

impl Shape for Subset {
    fn schema() -> Schema {
        let field = |name, doc: &str, default: Option<&str>, schema| {
            Field::new(name, doc, schema, default.map(Value::from))
        };
        Schema::Record(vec![
            field("label", "The label; `lane` stands for an instance's lane.", Some(LANE), String::schema()),
            field("is", "Instances whose label has this value.", None, String::schema()),
            field("header", "Instances whose label has the value of this header.", None, String::schema()),
            field(
                "split",
                "Instances whose label has one of these values, each drawn in proportion to its number.",
                None,
                BTreeMap::<String, u32>::schema(),
            ),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let mut word = |key, problems: &mut Problems| {
            fields.optional::<String>(key, problems).filter(|word| !word.is_empty())
        };
        let label = word("label", problems).unwrap_or_else(|| LANE.into());
        let is = word("is", problems).map(SubsetValue::Is);
        let header = word("header", problems).map(|name| SubsetValue::Header(name.to_lowercase()));
        let split = fields.optional::<BTreeMap<String, u32>>("split", problems);
        let split = split.filter(|split| split.values().any(|n| *n > 0)).map(SubsetValue::Split);
        fields.finish(problems);
        let mut written = [is, header, split].into_iter().flatten();
        match (written.next(), written.next()) {
            (Some(value), None) => Some(Self { label, value }),
            (found, _) => {
                let count = if found.is_some() { "more than one value" } else { "no value" };
                let hint =
                    "write one of is, header, split, such as { label: version, split: { v1: 95, v2: 5 } }";
                problems.push(Problem::at(path, format!("{count} for label {label:?}")).hint(hint));
                None
            }
        }
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        map.insert("label".into(), self.label.as_str().into());
        let (key, value) = match &self.value {
            SubsetValue::Is(value) => ("is", value.as_str().into()),
            SubsetValue::Header(name) => ("header", name.as_str().into()),
            SubsetValue::Split(split) => ("split", split.write()),
        };
        map.insert(key.into(), value);
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::policy::Policy;
    use crate::schema::{Switch, Words};
    use crate::yaml;

    fn read(subset: &str) -> Option<Switch<Subset>> {
        let text = format!("name: a\nbalance: {{ subset: {subset} }}\n");
        yaml::read_one::<Policy>(&text).ok().map(|policy| policy.words.settle().balance.subset)
    }

    #[test]
    fn a_subset_is_a_label_and_one_value_and_reads_back() {
        let split = BTreeMap::from([("v1".to_owned(), 95), ("v2".to_owned(), 5)]);
        for value in
            [SubsetValue::Is("v2".into()), SubsetValue::Header("x-version".into()), SubsetValue::Split(split)]
        {
            let subset = Subset { label: "version".into(), value };
            assert_eq!(read(&subset.write().to_string()), Some(Switch::On(subset)));
        }
        let lane = Subset { label: LANE.into(), value: SubsetValue::Header("x-lane".into()) };
        assert_eq!(read("{ header: X-Lane }"), Some(Switch::On(lane)));
        assert_eq!(read("off"), Some(Switch::Off));
        for wrong in ["{}", "{ is: a, header: b }", "{ label: version }", "{ split: { v1: 0 } }", "v1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
