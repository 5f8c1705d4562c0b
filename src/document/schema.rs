//! The key tables as JSON Schema (2020-12), for editors.

use serde_json::{Map, Value as Json, json};

use super::{TableKeys, Value};

/// The schema of a whole document.
pub fn json_schema(root: &TableKeys) -> Json {
    let mut schema = table(root);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("backburn scenario");
    schema
}

fn table(keys: &TableKeys) -> Json {
    let mut properties = Map::new();
    for key in keys.keys {
        let mut schema = value(key.value);
        schema["description"] = json!(key.doc);
        if !key.default.is_empty() {
            schema["description"] = json!(format!("{} Default: {}.", key.doc, key.default));
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let required: Vec<&str> =
        keys.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": keys.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn value(value: Value) -> Json {
    match value {
        Value::Text | Value::Url | Value::Address | Value::DurationOrNone => {
            json!({ "type": "string" })
        }
        Value::Name => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,63}$" }),
        Value::Bool => json!({ "type": "boolean" }),
        Value::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Value::Duration => {
            json!({ "type": "string", "pattern": "^([0-9.]+(ns|us|µs|ms|s|m|h|d|w))+$" })
        }
        Value::Share => json!({ "type": "string", "pattern": "^[0-9.]+%$" }),
        Value::Word(words) => json!({ "enum": words }),
        Value::Status => json!({ "type": ["integer", "string"] }),
        Value::List(of) => json!({ "type": "array", "items": self::value(*of) }),
        Value::Texts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Value::Named(keys) => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9_-]{1,63}$" },
            "additionalProperties": table(keys),
        }),
        Value::Table(keys) | Value::OneOf(keys) | Value::SomeOf(keys) => {
            let mut schema = table(keys);
            if matches!(value, Value::OneOf(_) | Value::SomeOf(_)) {
                schema["minProperties"] = json!(1);
            }
            if matches!(value, Value::OneOf(_)) {
                schema["maxProperties"] = json!(1);
            }
            match keys.short {
                Some(short) => json!({ "anyOf": [self::value(short), schema] }),
                None => schema,
            }
        }
    }
}
