//! `sli.correctness`: an answer that says what it should, as the user wrote it.

use super::MatchSpec;
use super::keys::MATCHES;
use super::read::matches;
use crate::diagnostic::{Diagnostics, Located, Place};
use crate::document::{Content, Key, Node, Table, TableKeys, Value};
use crate::units::Bytes;

/// All that is written has to hold.
#[derive(Debug, Clone)]
pub struct CorrectnessSpec {
    /// Where `correctness` stands.
    pub at: Place,
    /// Something is asked, also where it could not be read, which has been noted.
    pub asks: bool,
    /// The same of the body.
    pub reads_body: bool,
    pub header: Vec<MatchSpec>,
    pub content_type: Option<Located<String>>,
    pub json_pointer: Option<PointerSpec>,
    /// Not yet known to be one.
    pub body_regex: Option<Located<String>>,
    pub read_up_to: Option<Located<Bytes>>,
}

/// Something in a JSON document.
#[derive(Debug, Clone)]
pub struct PointerSpec {
    pub pointer: Located<String>,
    /// `None`: anything but null.
    pub equals: Option<Scalar>,
}

/// What TOML and JSON both have, and is no list or table.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Text(String),
    Integer(i64),
    /// Finite.
    Float(f64),
    Bool(bool),
}

pub(super) fn read(at: Place, table: &mut Table<'_, '_>) -> CorrectnessSpec {
    let written = |key: &str| table.node(key).is_some();
    let fields = table.node("header").map(|node| node.entries());
    let reads_body = written("json_pointer") || written("body_regex");
    let header = fields.is_some_and(|fields| fields.is_none_or(|fields| !fields.is_empty()));
    CorrectnessSpec {
        at,
        asks: header || written("content_type") || reads_body,
        reads_body,
        header: matches(table, "header"),
        content_type: table.text("content_type"),
        json_pointer: table.node("json_pointer").and_then(|node| pointer(&node, table.notes)),
        body_regex: table.text("body_regex"),
        read_up_to: table.bytes("read_up_to"),
    }
}

fn pointer(node: &Node<'_>, notes: &mut Diagnostics) -> Option<PointerSpec> {
    if !node.is_table() {
        return Some(PointerSpec { pointer: node.text(notes)?, equals: None });
    }
    let mut table = node.table(notes)?;
    let pointer = table.text("at");
    let equals = match table.node("equals") {
        Some(node) => Some(scalar(&node, table.notes)?),
        None => None,
    };
    Some(PointerSpec { pointer: pointer?, equals })
}

fn scalar(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Scalar> {
    let scalar = match node.content() {
        Content::Text(text) => Some(Scalar::Text(text.clone())),
        Content::Integer(Some(number)) => i64::try_from(*number).ok().map(Scalar::Integer),
        // JSON has neither `inf` nor `nan`.
        Content::Float(number) => number
            .replace('_', "")
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map(Scalar::Float),
        Content::Bool(yes) => Some(Scalar::Bool(*yes)),
        _ => None,
    };
    scalar.or_else(|| node.wrong(notes))
}

pub(super) static CORRECTNESS: TableKeys = TableKeys {
    name: "slos.NAME.sli.correctness",
    doc: "Good is an answer that says what it should, of those that are no failure. All that is \
          written here has to hold.",
    keys: &[
        Key::new("header", MATCHES, "What header fields of the answer must say."),
        Key::new(
            "content_type",
            Value::Text,
            "As in `\"application/json\"` or `\"text/*\"`, whatever its parameters.",
        ),
        Key::new(
            "json_pointer",
            Value::Table(&POINTER),
            "The body is JSON, and has this in it (RFC 6901).",
        ),
        Key::new("body_regex", Value::Text, "What is somewhere in the body."),
        Key::new("read_up_to", Value::Bytes, "So much of a body is kept to be judged, at most.")
            .default("\"64KiB\""),
    ],
    short: None,
};

static POINTER: TableKeys = TableKeys {
    name: "slos.NAME.sli.correctness.json_pointer",
    doc: "Something in a JSON document.",
    keys: &[
        Key::new("at", Value::Text, "Where: `\"/items/0/id\"`; `\"\"` is the whole.").required(),
        Key::new("equals", Value::Scalar, "What it is.").default("anything but null"),
    ],
    short: Some(Value::Text),
};
