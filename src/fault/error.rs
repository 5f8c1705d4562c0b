//! `error`: an answer in the service's place.
//!
//! `inject.error = 503` answers at once and the service never sees the request; `status`, `body`
//! and `headers` say more: `inject.error = { status = 429, headers = { retry-after = "2" } }`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{Action, Answer, Fault, Kind, Spec, Written};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind =
    Kind { key: Key::new("error", Value::Table(&KEYS), "Answer in the service's place."), read };

/// No 1xx: an interim answer is followed by another.
const STATUS: Value = Value::Integer { min: 200, max: 599 };

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.error",
    doc: "Answer in the service's place.",
    keys: &[
        Key::new("status", STATUS, "The status of the answer.").required(),
        Key::new("body", Value::Text, "Its body; text unless `headers` say otherwise."),
        Key::new("headers", Value::Texts, "Its headers; not those that frame the message."),
    ],
    short: Some(STATUS),
};

/// Headers that the proxy itself answers for: written by hand they would break the framing.
const FRAMING: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[derive(Debug)]
struct AsWritten {
    status: Located<u16>,
    body: Option<Located<String>>,
    headers: Vec<(Located<String>, Located<String>)>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    if !node.is_table() {
        let status = node.integer(notes)?;
        return Some(Spec::new(AsWritten { status, body: None, headers: Vec::new() }));
    }
    let mut table = node.table(notes)?;
    let (status, body) = (table.integer("status"), table.text("body"));
    let headers = table.texts("headers");
    Some(Spec::new(AsWritten { status: status?, body, headers }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let mut notes = Diagnostics::new();
        let status = StatusCode::from_u16(self.status.value).ok();
        if status.is_none() {
            notes.push(Diagnostic::error(self.status.at, "this is not a status"));
        }
        if let (204 | 304, Some(body)) = (self.status.value, &self.body) {
            let message = format!("an answer with status {} has no body", self.status.value);
            let note = Diagnostic::error(body.at, message).also(self.status.at, "because of this");
            notes.push(note.hint("leave `body` out, or give another status"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            if let Some((name, value)) = pair(name, value, &mut notes) {
                headers.append(name, value);
            }
        }
        if self.body.is_some() && !headers.contains_key(header::CONTENT_TYPE) {
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, text);
        }
        let body = self.body.as_ref().map_or_else(Bytes::new, |b| Bytes::from(b.value.clone()));
        match status {
            Some(status) if notes.is_empty() => {
                Ok(Box::new(Compiled(Answer { status, headers, body })))
            }
            _ => Err(notes),
        }
    }
}

fn pair(
    name: &Located<String>,
    value: &Located<String>,
    notes: &mut Diagnostics,
) -> Option<(HeaderName, HeaderValue)> {
    let Ok(header) = HeaderName::try_from(name.value.as_str()) else {
        let message = format!("\"{}\" is not a header name", name.value.escape_debug());
        notes.push(Diagnostic::error(name.at, message));
        return None;
    };
    let hop = matches!(header.as_str(), "keep-alive" | "proxy-connection");
    if hop || FRAMING.contains(&header) {
        let note = Diagnostic::error(name.at, format!("`{header}` cannot be set"));
        notes.push(note.hint("it belongs to the connection, not to the answer; leave it out"));
        return None;
    }
    if header.as_str().starts_with("x-backburn-") {
        let note = Diagnostic::error(name.at, format!("`{header}` cannot be set"));
        notes.push(note.hint("x-backburn-… is how backburn says what it did itself"));
        return None;
    }
    let Ok(value) = HeaderValue::try_from(value.value.as_str()) else {
        let note = Diagnostic::error(value.at, "a header cannot carry this value");
        notes.push(note.hint("line ends and control characters are not allowed"));
        return None;
    };
    Some((header, value))
}

#[derive(Debug, PartialEq)]
struct Compiled(Answer);

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, _dice: &mut Dice) -> Action {
        Action::Respond(self.0.clone())
    }
    fn describe(&self) -> String {
        format!("answers {}", self.0.status.as_u16())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;

    #[test]
    fn an_answer_is_what_was_written() {
        let spec = injected(
            "error = { status = 429, body = \"later\", headers = { retry-after = \"2\" } }",
        );
        let action = compile(&spec).unwrap().decide(&mut Dice::new(1, "a", 1, "test"));
        let Action::Respond(answer) = action else { panic!("not an answer") };
        assert_eq!(answer.status, 429);
        assert_eq!(answer.headers["retry-after"], "2");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.body, "later");
    }

    #[test]
    fn answers_that_would_break_the_message_are_refused() {
        for (written, mistakes) in [
            ("error = { status = 204, body = \"x\" }", 1),
            ("error = { status = 304, body = \"x\", headers = { host = \"a\" } }", 2),
            ("error = { status = 500, headers = { Content-Length = \"3\" } }", 1),
            (
                "error = { status = 500, headers = { \"a b\" = \"3\", x-backburn-fault = \"n\" } }",
                2,
            ),
            ("error = { status = 500, headers = { a = \"b\\r\\nc: d\" } }", 1),
        ] {
            assert_eq!(compile(&injected(written)).unwrap_err().len(), mistakes, "{written}");
        }
    }
}
