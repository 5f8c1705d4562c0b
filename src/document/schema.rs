//! The language as a JSON Schema (2020-12), for editors: the same key tables, told to a machine.

use serde_json::{Map, Value as Json, json};

use super::{Key, TableKeys, Value};

/// The schema of a whole document.
pub fn json_schema(root: &'static TableKeys) -> Json {
    let mut schema = table(root);
    if let Json::Object(fields) = &mut schema {
        let dialect = json!("https://json-schema.org/draft/2020-12/schema");
        fields.insert("$schema".to_owned(), dialect);
        fields.insert("title".to_owned(), json!("backburn scenario"));
    }
    schema
}

fn table(keys: &'static TableKeys) -> Json {
    let properties: Map<String, Json> =
        keys.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> =
        keys.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": keys.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Json {
    let mut schema = value(key.value);
    if let Json::Object(fields) = &mut schema {
        let default = if key.default.is_empty() {
            String::new()
        } else {
            format!(" Default: {}.", key.default)
        };
        fields.insert("description".to_owned(), json!(format!("{}{default}", key.doc)));
    }
    schema
}

fn value(of: Value) -> Json {
    let duration = r"^([0-9]+(\.[0-9]+)?(d|h|ms|m|s|us|µs|ns))+$";
    match of {
        Value::Url => json!({ "type": "string", "format": "uri" }),
        Value::Text | Value::Address => json!({ "type": "string" }),
        Value::Selector => {
            json!({ "type": "string", "pattern": "^(client-ip|(header|cookie|query):.+)$" })
        }
        Value::Name => json!({ "type": "string", "pattern": NAME }),
        Value::Bool => json!({ "type": "boolean" }),
        Value::Integer { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Value::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Value::Duration => json!({ "type": "string", "pattern": duration }),
        Value::Rate => {
            json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?[kKM]?/[smhd]$" })
        }
        Value::Bytes => json!({ "type": "string", "pattern": format!("^{SIZE}$") }),
        Value::Bandwidth => {
            let pattern = format!(r"^({SIZE}|[0-9]+(\.[0-9]+)?[kMG]?bit)/s$");
            json!({ "type": "string", "pattern": pattern })
        }
        Value::Quantiles => json!({
            "type": "object",
            "patternProperties": {
                r"^p[0-9]+(\.[0-9]+)?$": { "type": "string", "pattern": duration },
            },
            "additionalProperties": false,
            "minProperties": 1,
        }),
        Value::DurationOrNone => {
            json!({ "anyOf": [{ "const": "none" }, { "type": "string", "pattern": duration }] })
        }
        Value::Share => json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$" }),
        Value::Word(words) => json!({ "enum": words }),
        Value::Status => json!({ "anyOf": [
            { "type": "integer", "minimum": 100, "maximum": 599 },
            { "type": "string", "pattern": "^[1-5]([0-9][0-9]|xx)$" },
        ] }),
        Value::List(of) => json!({ "type": "array", "items": value(*of) }),
        Value::Texts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Value::Each(of) => json!({ "type": "object", "additionalProperties": value(*of) }),
        Value::Tables(keys) => json!({ "type": "array", "items": table(keys) }),
        Value::Named(keys) => json!({
            "type": "object",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": table(keys),
        }),
        Value::Table(keys) => or_short(keys, table(keys)),
        Value::OneOf(keys) => or_short(keys, counted(keys, Some(1))),
        Value::SomeOf(keys) => or_short(keys, counted(keys, None)),
    }
}

const SIZE: &str = r"[0-9]+(\.[0-9]+)?(B|kB|[KMGT]i?B)";
const NAME: &str = "^[A-Za-z0-9_-]{1,63}$";

fn counted(keys: &'static TableKeys, most: Option<u32>) -> Json {
    let mut schema = table(keys);
    if let Json::Object(fields) = &mut schema {
        fields.insert("minProperties".to_owned(), json!(1));
        if let Some(most) = most {
            fields.insert("maxProperties".to_owned(), json!(most));
        }
    }
    schema
}

fn or_short(keys: &'static TableKeys, table: Json) -> Json {
    match keys.short {
        Some(short) => json!({ "anyOf": [value(short), table] }),
        None => table,
    }
}
