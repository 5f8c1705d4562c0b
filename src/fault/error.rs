//! `error`: an answer in the service's place; the service never sees the request.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Action, Answer, Fault, Spec};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

const STATUS: Value = Value::Integer { min: 200, max: 599 };

pub(super) static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.error",
    doc: "Answers in the service's place.",
    keys: &[
        Key::new("status", STATUS, "The status.").required(),
        Key::new("body", Value::Text, "The body, as text/plain unless `headers` says otherwise."),
        Key::new("headers", Value::Texts, "Further header fields."),
    ],
    short: Some(STATUS),
};

/// Fields that frame a message or belong to one hop: the proxy's own business.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[derive(Debug, Clone)]
struct ErrorSpec(Answer);

#[derive(Debug)]
struct Answers(Answer);

pub(super) fn read(node: Node<'_>, notes: &mut Diagnostics) -> Option<Box<dyn Spec>> {
    let mut headers = HeaderMap::new();
    let mut body: Option<Located<String>> = None;
    let status: Located<u16> = if node.is_table() {
        let mut table = node.table(notes)?;
        let status = table.integer("status");
        body = table.text("body");
        for (name, value) in table.texts("headers") {
            match field(&name, &value) {
                Ok((name, value)) => {
                    headers.append(name, value);
                }
                Err(note) => table.notes.push(*note),
            }
        }
        status?
    } else {
        node.integer(notes)?
    };
    let code = StatusCode::from_u16(status.value).ok()?;
    let bodiless = code == StatusCode::NO_CONTENT || code == StatusCode::NOT_MODIFIED;
    if let Some(body) = body.as_ref().filter(|body| bodiless && !body.value.is_empty()) {
        notes.push(
            Diagnostic::error(body.at, format!("a {} has no body", status.value))
                .also(status.at, "the status"),
        );
        return None;
    }
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.value));
    Some(Box::new(ErrorSpec(Answer { status: code, headers, body })))
}

fn field(
    name: &Located<String>,
    value: &Located<String>,
) -> Result<(HeaderName, HeaderValue), Box<Diagnostic>> {
    let parsed = HeaderName::from_bytes(name.value.as_bytes())
        .map_err(|_| Box::new(Diagnostic::error(name.at, "not a header name")))?;
    if FRAMING.contains(&parsed.as_str()) {
        let message = format!("`{parsed}` frames the message and cannot be set");
        return Err(Box::new(Diagnostic::error(name.at, message)));
    }
    let content = HeaderValue::from_str(&value.value).map_err(|_| {
        Box::new(
            Diagnostic::error(value.at, "not a header value")
                .hint("visible characters and blanks, on one line"),
        )
    })?;
    Ok((parsed, content))
}

impl Spec for ErrorSpec {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        Ok(Box::new(Answers(self.0.clone())))
    }
    fn boxed(&self) -> Box<dyn Spec> {
        Box::new(self.clone())
    }
}

impl Fault for Answers {
    fn kind(&self) -> &'static str {
        "error"
    }
    fn decide(&self, _: &mut Dice) -> Action {
        Action::Respond(self.0.clone())
    }
}
