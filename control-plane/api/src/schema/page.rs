//! The reference page and the editor's JSON Schema, both written from a [`Schema`].

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{Field, Schema};

/// `schema` as JSON Schema (draft 2020-12), for editors.
pub fn json_schema(schema: &Schema) -> Value {
    match schema {
        Schema::Scalar { kind, what } => json!({ "type": kind, "description": what }),
        Schema::Choice(words) => json!({ "enum": words }),
        Schema::List(item) => json!({ "type": "array", "items": json_schema(item) }),
        Schema::Map(item) => json!({ "type": "object", "additionalProperties": json_schema(item) }),
        Schema::Either(one, other) => json!({ "anyOf": [json_schema(one), json_schema(other)] }),
        Schema::Record(fields) => {
            let properties: Map<String, Value> =
                fields.iter().map(|field| (field.name.to_owned(), field_schema(field))).collect();
            json!({ "type": "object", "additionalProperties": false, "properties": properties })
        }
    }
}

fn field_schema(field: &Field) -> Value {
    let mut schema = json_schema(&field.schema);
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".into(), field.doc.clone().into());
        if let Some(default) = &field.default {
            schema.insert("default".into(), default.clone());
        }
    }
    schema
}

/// The fields of `schema` as rows of a Markdown table: key, what may stand there, default, meaning and the
/// reason for the default.
pub fn markdown(schema: &Schema) -> String {
    let mut page = String::from("| key | what | default | meaning |\n|---|---|---|---|\n");
    rows(schema, "", &mut page);
    page
}

fn rows(schema: &Schema, path: &str, page: &mut String) {
    match schema {
        Schema::Record(fields) => fields.iter().for_each(|field| row(field, path, page)),
        Schema::List(item) => rows(item, &format!("{path}[]"), page),
        Schema::Map(item) => rows(item, &format!("{path}.NAME"), page),
        Schema::Either(one, other) => [one, other].into_iter().for_each(|schema| rows(schema, path, page)),
        Schema::Scalar { .. } | Schema::Choice(_) => {}
    }
}

fn row(field: &Field, path: &str, page: &mut String) {
    let key = super::join(path, field.name);
    let default = match &field.default {
        Some(Value::String(text)) if text.is_empty() => "empty".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(other) => format!("`{other}`"),
        None => String::new(),
    };
    let why = if field.why.is_empty() { String::new() } else { format!(" *Why: {}.*", field.why) };
    let what = what(&field.schema).replace('|', "\\|");
    // Writing to a String cannot fail.
    let _infallible = writeln!(page, "| `{key}` | {what} | {default} | {}{why} |", field.doc);
    rows(&field.schema, &key, page);
}

fn what(schema: &Schema) -> String {
    match schema {
        Schema::Scalar { what, .. } => (*what).to_owned(),
        Schema::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Schema::List(item) => format!("list of: {}", what(item)),
        Schema::Map(item) => format!("names, each with: {}", what(item)),
        Schema::Record(_) => "a mapping".to_owned(),
        Schema::Either(one, other) => format!("{}, or {}", what(one), what(other)),
    }
}
