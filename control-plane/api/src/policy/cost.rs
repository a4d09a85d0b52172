//! What a request takes from each limit that counts it.

use serde_json::{Value, json};

use crate::problem::Problem;
use crate::schema::{Field, Fields, Kind, Node, Problems, Schema, Shape};

/// How much a request takes from each limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// So much.
    Units(u32),
    /// What this header says, by its lower-case name; 1 without it.
    Header {
        /// The header.
        header: String,
        /// Never more than this, whatever it says.
        at_most: u32,
    },
}

impl Cost {
    /// What a request costs where nobody says otherwise.
    pub const ONE: Self = Self::Units(1);

    /// What a request costs; `header` gives a header's value by its lower-case name.
    pub fn of<'h>(&self, header: impl Fn(&str) -> Option<&'h str>) -> u32 {
        match self {
            Self::Units(units) => *units,
            Self::Header { header: name, at_most } => header(name)
                .and_then(|value| value.trim().parse().ok())
                .map_or(1, |units: u32| units.clamp(1, *at_most)),
        }
    }
}

impl Shape for Cost {
    fn schema() -> Schema {
        let by_header = Schema::Record(vec![
            Field::new(
                "header",
                "What this header says; 1 without it. Only where callers are trusted with it.",
                String::schema(),
                None,
            ),
            Field::new(
                "at_most",
                "Never more than this, whatever it says; must be written.",
                u32::schema(),
                None,
            ),
        ]);
        Schema::Either(Box::new(u32::schema()), Box::new(by_header))
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let cost = if matches!(node, Node::Scalar(Kind::Number, _)) {
            Self::Units(u32::read(node, path, problems)?)
        } else {
            let mut fields = Fields::of(node, path, problems)?;
            let header: Option<String> = fields.required("header", problems);
            let at_most = fields.required("at_most", problems);
            fields.finish(problems);
            Self::Header { header: header?.to_lowercase(), at_most: at_most? }
        };
        if let Self::Units(0) | Self::Header { at_most: 0, .. } = cost {
            problems.push(
                Problem::at(path, "a request costs something").hint("write limits: [] where nothing counts"),
            );
            return None;
        }
        Some(cost)
    }

    fn write(&self) -> Value {
        match self {
            Self::Units(units) => (*units).into(),
            Self::Header { header, at_most } => json!({ "header": header, "at_most": at_most }),
        }
    }
}
