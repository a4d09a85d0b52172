//! How a limit and its key are written.

use serde_json::{Map, Value, json};

use super::{Limit, LimitKey, LimitKind, LimitRule, LimitScope};
use crate::name::Label;
use crate::problem::Problem;
use crate::schema::{Field, Fields, Node, Problems, Schema, Shape};
use crate::unit::{Rate, Span};

impl Shape for LimitKey {
    fn schema() -> Schema {
        let words = Schema::Choice(vec!["service", "route", "endpoint", "caller"]);
        let header = Field::new(
            "header",
            "Each value of this header; requests without it together.",
            String::schema(),
            None,
        );
        Schema::Either(Box::new(words), Box::new(Schema::Record(vec![header])))
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        if matches!(node, Node::Map(_)) {
            let mut fields = Fields::of(node, path, problems)?;
            let name: Option<String> = fields.required("header", problems);
            fields.finish(problems);
            return name.filter(|name| !name.is_empty()).map(|name| Self::Header(name.to_lowercase()));
        }
        match node {
            Node::Scalar(_, word) if word == "service" => Some(Self::Service),
            Node::Scalar(_, word) if word == "route" => Some(Self::Route),
            Node::Scalar(_, word) if word == "endpoint" => Some(Self::Endpoint),
            Node::Scalar(_, word) if word == "caller" => Some(Self::Caller),
            other => {
                let what = format!("{} is nothing to count by", other.what());
                let hint = "write service, route, endpoint, caller or { header: NAME }";
                problems.push(Problem::at(path, what).hint(hint));
                None
            }
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Service => "service".into(),
            Self::Route => "route".into(),
            Self::Endpoint => "endpoint".into(),
            Self::Caller => "caller".into(),
            Self::Header(name) => json!({ "header": name }),
        }
    }
}

impl Shape for Limit {
    fn schema() -> Schema {
        Schema::Record(vec![
            Field::new("name", "Its name, in answers and metrics; must be written.", Label::schema(), None),
            Field::new("kind", "How it counts.", LimitKind::schema(), Some("token-bucket".into())),
            Field::new("key", "What it counts apart.", LimitKey::schema(), Some("service".into())),
            Field::new(
                "scope",
                "Whose requests it counts together.",
                LimitScope::schema(),
                Some("host".into()),
            ),
            Field::new("rate", "The long-run rate; must be written.", Rate::schema(), None),
            Field::new(
                "burst",
                "`token-bucket`: how many may come at once; one second's worth by default.",
                u32::schema(),
                None,
            ),
            Field::new(
                "longest_wait",
                "`leaky-bucket`: how long a request may wait for its turn.",
                Span::schema(),
                Some("20ms".into()),
            ),
            Field::new(
                "window",
                "`fixed-window` and `sliding-window`: its length; must be written there.",
                Span::schema(),
                None,
            ),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let name = fields.required("name", problems);
        let kind: LimitKind = fields.optional("kind", problems).unwrap_or_default();
        let key = fields.optional("key", problems).unwrap_or_default();
        let scope = fields.optional("scope", problems).unwrap_or_default();
        let rate: Option<Rate> = fields.required("rate", problems);
        let (burst, longest_wait, window) = match kind {
            LimitKind::TokenBucket => (fields.optional::<u32>("burst", problems), None, None),
            LimitKind::LeakyBucket => (None, fields.optional("longest_wait", problems), None),
            LimitKind::FixedWindow | LimitKind::SlidingWindow => {
                (None, None, Some(fields.required::<Span>("window", problems)))
            }
        };
        fields.finish(problems);
        let mut limit = Self { key, scope, ..Self::bucket(name?, rate?) };
        limit.rule = match (kind, window) {
            (LimitKind::FixedWindow, Some(window)) => LimitRule::FixedWindow { window: window? },
            (LimitKind::SlidingWindow, Some(window)) => LimitRule::SlidingWindow { window: window? },
            (LimitKind::LeakyBucket, _) => {
                // As long as for room, and for the same reason: a longer queue is overload, not a burst.
                LimitRule::LeakyBucket { longest_wait: longest_wait.unwrap_or(Span::millis(20)) }
            }
            _ => burst.map_or(limit.rule, |burst| LimitRule::TokenBucket { burst: burst.max(1) }),
        };
        if let Some((what, hint)) = limit.wrong() {
            problems.push(Problem::at(path, what).hint(hint));
            return None;
        }
        Some(limit)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), self.name.write());
        // The first kind is left out, so that a sidecar that knows no other can read it.
        if self.rule.kind() != LimitKind::TokenBucket {
            map.insert("kind".into(), self.rule.kind().write());
        }
        map.insert("key".into(), self.key.write());
        map.insert("scope".into(), self.scope.write());
        map.insert("rate".into(), self.rate.write());
        let (word, value) = match self.rule {
            LimitRule::TokenBucket { burst } => ("burst", burst.into()),
            LimitRule::LeakyBucket { longest_wait } => ("longest_wait", longest_wait.write()),
            LimitRule::FixedWindow { window } | LimitRule::SlidingWindow { window } => {
                ("window", window.write())
            }
        };
        map.insert(word.into(), value);
        Value::Object(map)
    }
}
