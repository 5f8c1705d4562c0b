//! The language as a JSON Schema (2020-12), for editors: the same key tables, told to a machine.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

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
        let mut description = key.doc.to_owned();
        match literal(key.default) {
            Some(default) => {
                fields.insert("default".to_owned(), default);
            }
            None if key.default.is_empty() => {}
            None => description.push_str(&format!(" Default: {}.", key.default)),
        }
        let samples: Vec<Json> = key.value.samples().iter().copied().filter_map(literal).collect();
        if !samples.is_empty() {
            fields.insert("examples".to_owned(), Json::Array(samples));
        }
        fields.insert("description".to_owned(), json!(description));
    }
    schema
}

/// A TOML value as JSON; `None` for words about a value.
fn literal(text: &str) -> Option<Json> {
    fn convert(value: &DeValue<'_>) -> Option<Json> {
        Some(match value {
            DeValue::String(text) => json!(text),
            DeValue::Integer(number) => json!(number.as_str().parse::<i64>().ok()?),
            DeValue::Float(number) => json!(number.as_str().parse::<f64>().ok()?),
            DeValue::Boolean(yes) => json!(yes),
            DeValue::Array(items) => {
                items.iter().map(|item| convert(item.get_ref())).collect::<Option<Json>>()?
            }
            DeValue::Table(table) => {
                let fields = table.iter().map(|(key, value)| {
                    Some((key.get_ref().to_string(), convert(value.get_ref())?))
                });
                Json::Object(fields.collect::<Option<_>>()?)
            }
            DeValue::Datetime(_) => return None,
        })
    }
    convert(DeValue::parse(text).ok()?.get_ref())
}

fn value(of: Value) -> Json {
    match of {
        Value::Text => json!({ "type": "string" }),
        Value::Url => text(r"(http|https|h2c)://[^/?#@]+/?"),
        Value::Address => text(r".+:[0-9]+"),
        Value::Selector => text("client-ip|(header|cookie|query):.+"),
        Value::Name => text(NAME),
        Value::Bool => or_filled_in(json!({ "type": "boolean" })),
        Value::Integer { min, max: i64::MAX } => {
            or_filled_in(json!({ "type": "integer", "minimum": min }))
        }
        Value::Integer { min, max } => {
            or_filled_in(json!({ "type": "integer", "minimum": min, "maximum": max }))
        }
        Value::Number { min, max } => {
            or_filled_in(json!({ "type": "number", "minimum": min, "maximum": max }))
        }
        Value::Duration => text(DURATION),
        Value::DurationOrNone => text(&format!("none|{DURATION}")),
        Value::Share | Value::Spent => text(&format!("{NUMBER} *%")),
        Value::Rate => text(&format!("{NUMBER}[kKM]?/[smhd]")),
        Value::Bytes => text(&format!("{NUMBER}{SIZE}")),
        Value::Bandwidth => text(&format!("{NUMBER}({SIZE}|[kMG]?bit)/s")),
        Value::BytesOrShare => text(&format!("{NUMBER}({SIZE}| *%)")),
        Value::Coded(words) => json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": words.len() - 1 },
            { "type": "string", "anyOf": [{ "enum": words }, { "pattern": FILLED_IN }] },
        ] }),
        Value::Quantiles => json!({
            "type": "object",
            "patternProperties": { format!("^p{NUMBER}$"): text(DURATION) },
            "additionalProperties": false,
            "minProperties": 1,
        }),
        Value::Word(words) => json!({
            "type": "string",
            "anyOf": [{ "enum": words }, { "pattern": FILLED_IN }],
        }),
        Value::Status => json!({ "anyOf": [
            { "type": "integer", "minimum": 100, "maximum": 599 },
            text("[1-5]([0-9][0-9]|xx)"),
        ] }),
        Value::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Value::List(of) => json!({ "type": "array", "items": value(*of) }),
        Value::Texts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Value::Each(of) => json!({ "type": "object", "additionalProperties": value(*of) }),
        Value::Tables(keys) => json!({ "type": "array", "items": table(keys) }),
        Value::Named(keys) => json!({
            "type": "object",
            "propertyNames": { "pattern": format!("^{NAME}$") },
            "additionalProperties": table(keys),
        }),
        Value::Table(keys) => or_short(keys, table(keys)),
        Value::OneOf(keys) => or_short(keys, counted(keys, Some(1))),
        Value::SomeOf(keys) => or_short(keys, counted(keys, None)),
    }
}

const NUMBER: &str = r"[0-9]+(\.[0-9]+)?";
const DURATION: &str = r"([0-9]+(\.[0-9]+)?(d|h|ms|m|s|us|µs|μs|ns))+";
const SIZE: &str = "(B|kB|[KMGT]i?B)";
const NAME: &str = "[A-Za-z0-9_-]{1,63}";
/// What the environment fills in may be anything.
const FILLED_IN: &str = r"\$\{";

/// A string of this form, as a whole.
fn text(form: &str) -> Json {
    json!({ "type": "string", "pattern": format!("^({form})$|{FILLED_IN}") })
}

/// A number or a boolean, or a string that is filled in.
fn or_filled_in(mut plain: Json) -> Json {
    if let Json::Object(fields) = &mut plain
        && let Some(kind) = fields.remove("type")
    {
        fields.insert("type".to_owned(), json!([kind, "string"]));
        fields.insert("pattern".to_owned(), json!(FILLED_IN));
    }
    plain
}

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
    let Some(short) = keys.short else { return table };
    let mut short = value(short);
    // Flat, one kind of value each: of a nest a tool complains about every branch.
    let kinds = short.get("type").and_then(Json::as_array).cloned();
    let mut branches = Vec::new();
    for kind in kinds.unwrap_or_else(|| vec![short["type"].clone()]) {
        short["type"] = kind;
        branches.push(short.clone());
    }
    branches.push(table);
    json!({ "anyOf": branches })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units;

    fn accepts(of: Value, text: &str) -> bool {
        let schema = value(of);
        let pattern = regex::Regex::new(schema["pattern"].as_str().unwrap()).unwrap();
        pattern.is_match(text)
    }

    type Reads = fn(&str) -> bool;

    /// What the reader takes, the schema does; and a slip it sees, a tool sees, but for sums.
    #[test]
    fn patterns_are_those_of_the_reader() {
        let kinds: [(Value, Reads, &[&str]); 7] = [
            (
                Value::Duration,
                |text| units::duration(text).is_ok(),
                &[
                    "250ms", "1h30m", "1.5s", "28d", "10µs", "10μs", "3ns", "", "300", "-3s",
                    "3 s", "3sec", "1..5s", ".5s", "5.s",
                ],
            ),
            (
                Value::DurationOrNone,
                |text| text == "none" || units::duration(text).is_ok(),
                &["none", "1h", "None", "nones", "1"],
            ),
            (
                Value::Share,
                |text| units::share(text).is_ok(),
                &["5%", "99.95%", "100%", "5 %", "5", "%", "5%%", "-5%", "5.%"],
            ),
            (
                Value::Spent,
                |text| units::spent(text).is_ok(),
                &["18%", "99.95%", "130%", "130 %", "130", "%", "1.3", "-5%", "5.%"],
            ),
            (
                Value::Rate,
                |text| units::rate(text).is_ok(),
                &["200/s", "1.2M/d", "0.5k/h", "3K/m", "200", "200/w", "/s", "2G/s"],
            ),
            (
                Value::Bytes,
                |text| units::bytes(text).is_ok(),
                &["10KiB", "1.5MB", "512B", "2kB", "1TiB", "10", "10K", "10kib", "1PB", "5KB"],
            ),
            (
                Value::Bandwidth,
                |text| units::bandwidth(text).is_ok(),
                &[
                    "1MB/s",
                    "64KiB/s",
                    "56kbit/s",
                    "1.5Mbit/s",
                    "1Gbit/s",
                    "80bit/s",
                    "2kB/s",
                    "1MB",
                    "1Kbit/s",
                    "1MB/m",
                    "1TB/s",
                ],
            ),
        ];
        for (value, reads, texts) in kinds {
            for text in texts {
                assert_eq!(accepts(value, text), reads(text), "{value:?} {text:?}");
            }
            assert!(accepts(value, "${SOME}") && accepts(value, "x${SOME:-y}"));
            for sample in value.samples() {
                let sample = literal(sample).unwrap();
                assert!(accepts(value, sample.as_str().unwrap()), "{value:?} {sample}");
            }
        }
    }

    #[test]
    fn a_default_is_a_value_where_it_is_one() {
        assert_eq!(literal("\"60s\""), Some(json!("60s")));
        assert_eq!(literal("10000"), Some(json!(10_000)));
        assert_eq!(literal("[\"5xx\", 429]"), Some(json!(["5xx", 429])));
        assert_eq!(literal("{ p50 = \"1s\" }"), Some(json!({ "p50": "1s" })));
        for words in ["cores", "random, and printed", "any", "none", "the only service", ""] {
            assert_eq!(literal(words), None, "{words}");
        }
    }
}
