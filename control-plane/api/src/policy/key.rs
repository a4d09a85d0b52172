//! What a request is hashed by, where equal requests shall meet one host.

use serde_json::Value;

use crate::problem::Problem;
use crate::schema::{Field, Fields, Node, Problems, Schema, Shape};

/// What a request is hashed by. A request that has none of it goes anywhere, by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// Its path, without the query.
    Path,
    /// The address it comes from: one client's requests meet one host.
    Source,
    /// The value of this header, by its lower-case name.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// The value of this parameter of the query, as written.
    Query(String),
}

impl Shape for HashKey {
    fn schema() -> Schema {
        let field = |name, doc: &str, schema| Field::new(name, doc, schema, None);
        Schema::Record(vec![
            field("path", "Its path, without the query: write true.", bool::schema()),
            field(
                "source",
                "The address it comes from, so that one client meets one host: write true.",
                bool::schema(),
            ),
            field("header", "The value of this header.", String::schema()),
            field("cookie", "The value of this cookie.", String::schema()),
            field("query", "The value of this parameter of the query, as written.", String::schema()),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let mut said = |key, problems: &mut Problems| fields.optional::<bool>(key, problems) == Some(true);
        let by_path = said("path", problems).then_some(Self::Path);
        let by_source = said("source", problems).then_some(Self::Source);
        let mut named = |key, problems: &mut Problems| {
            fields.optional::<String>(key, problems).filter(|name| !name.is_empty())
        };
        let header = named("header", problems).map(|name| Self::Header(name.to_lowercase()));
        let cookie = named("cookie", problems).map(Self::Cookie);
        let query = named("query", problems).map(Self::Query);
        fields.finish(problems);
        let mut written = [by_path, by_source, header, cookie, query].into_iter().flatten();
        match (written.next(), written.next()) {
            (Some(key), None) => Some(key),
            (found, _) => {
                let count = if found.is_some() { "more than one thing" } else { "nothing" };
                let hint = "write one of path, source, header, cookie, query, such as { header: x-user }";
                problems.push(Problem::at(path, format!("{count} to hash by")).hint(hint));
                None
            }
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Path => serde_json::json!({ "path": true }),
            Self::Source => serde_json::json!({ "source": true }),
            Self::Header(name) => serde_json::json!({ "header": name }),
            Self::Cookie(name) => serde_json::json!({ "cookie": name }),
            Self::Query(name) => serde_json::json!({ "query": name }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::policy::Policy;
    use crate::schema::Words;
    use crate::yaml;

    fn read(key: &str) -> Option<HashKey> {
        let text = format!("name: a\nbalance: {{ by: ring, key: {key} }}\n");
        yaml::read_one::<Policy>(&text).ok().map(|policy| policy.words.settle().balance.key)
    }

    #[test]
    fn a_key_is_one_thing_and_reads_back() {
        for key in [
            HashKey::Path,
            HashKey::Source,
            HashKey::Header("x-user".into()),
            HashKey::Cookie("Session".into()),
            HashKey::Query("id".into()),
        ] {
            assert_eq!(read(&key.write().to_string()), Some(key));
        }
        assert_eq!(read("{ header: X-User }"), Some(HashKey::Header("x-user".into())));
        for wrong in ["{}", "{ path: false }", "{ header: a, cookie: b }", "{ header: '' }", "path"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
