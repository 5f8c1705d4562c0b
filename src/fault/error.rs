//! `error`: an answer in the service's place.
//!
//! `inject.error = 503` answers at once and the service never sees the request; `status`, `body`
//! and `headers` say more: `inject.error = { status = 429, headers = { retry-after = "2" } }`.
//! `grpc_status = "UNAVAILABLE"` (or 14) is what gRPC callers get, as an answer of trailers only;
//! others get the HTTP status that stands for it, or `status` where both are given. With
//! `after_upstream = true` the service does its work and its answer is lost.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Action, Answer, Fault, Kind, Spec, Written, fields, grpc};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("error", Value::Table(&KEYS), "Answer in the service's place."),
    read,
    page: include_str!("error.rs"),
};

/// No 1xx: an interim answer is followed by another.
const STATUS: Value = Value::Integer { min: 200, max: 599 };

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.error",
    doc: "Answer in the service's place. `status`, `grpc_status`, or both.",
    keys: &[
        Key::new("status", STATUS, "The status of the answer.").default("as `grpc_status`"),
        Key::new("grpc_status", Value::Coded(grpc::STATUSES), "What gRPC callers get."),
        Key::new(
            "body",
            Value::Text,
            "Its body; text unless `headers` say otherwise. For gRPC, the message.",
        ),
        Key::new("headers", Value::Texts, "Its headers; not those that frame the message."),
        Key::new(
            "after_upstream",
            Value::Bool,
            "The service does its work, and its answer is lost.",
        )
        .default("false"),
    ],
    short: Some(STATUS),
};

#[derive(Debug)]
struct AsWritten {
    at: Place,
    status: Option<Located<u16>>,
    grpc: Option<Located<u8>>,
    body: Option<Located<String>>,
    headers: Vec<(Located<String>, Located<String>)>,
    after_upstream: bool,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    if !node.is_table() {
        let status = Some(node.integer(notes)?);
        let (grpc, body, headers) = (None, None, Vec::new());
        let at = node.at();
        return Some(Spec::new(AsWritten {
            at,
            status,
            grpc,
            body,
            headers,
            after_upstream: false,
        }));
    }
    let mut table = node.table(notes)?;
    let (status, grpc) = (table.integer("status"), table.coded("grpc_status"));
    let (body, headers) = (table.text("body"), table.texts("headers"));
    let after_upstream = table.boolean("after_upstream").is_some_and(|after| after.value);
    // What is there but cannot be read has been noted.
    if (table.node("status").is_some() && status.is_none())
        || (table.node("grpc_status").is_some() && grpc.is_none())
    {
        return None;
    }
    Some(Spec::new(AsWritten { at: table.at, status, grpc, body, headers, after_upstream }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let mut notes = Diagnostics::new();
        let grpc = self.grpc.as_ref().and_then(|grpc| grpc::Status::new(grpc.value));
        let status = match (&self.status, grpc) {
            (Some(status), _) => StatusCode::from_u16(status.value).ok(),
            (None, grpc) => grpc.map(grpc::Status::http),
        };
        if status.is_none() {
            let note = Diagnostic::error(self.at, "neither `status` nor `grpc_status` is given");
            notes.push(note.hint("as in `error = 503`"));
        }
        if let (Some(status), Some(body)) = (&self.status, &self.body)
            && matches!(status.value, 204 | 304)
        {
            let message = format!("an answer with status {} has no body", status.value);
            let note = Diagnostic::error(body.at, message).also(status.at, "because of this");
            notes.push(note.hint("leave `body` out, or give another status"));
        }
        let mut headers = HeaderMap::new();
        for field in &self.headers {
            if let Some((name, value)) = fields::pair(field, &mut notes) {
                headers.append(name, value);
            }
        }
        if self.body.is_some() && !headers.contains_key(header::CONTENT_TYPE) {
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, text);
        }
        let body = self.body.as_ref().map_or_else(Bytes::new, |b| Bytes::from(b.value.clone()));
        match status {
            Some(status) if notes.is_empty() => Ok(Box::new(Compiled {
                answer: Answer { status, grpc, headers, body },
                after_upstream: self.after_upstream,
            })),
            _ => Err(notes),
        }
    }
}

#[derive(Debug, PartialEq)]
struct Compiled {
    answer: Answer,
    after_upstream: bool,
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, _dice: &mut Dice) -> Action {
        Action::Respond { answer: self.answer.clone(), after_upstream: self.after_upstream }
    }
    fn describe(&self) -> String {
        let grpc = self.answer.grpc.map(|grpc| format!(", gRPC {}", grpc.name()));
        let after = if self.after_upstream { " when the service has done its work" } else { "" };
        format!("answers {}{}{after}", self.answer.status.as_u16(), grpc.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;

    fn decided(written: &str) -> (Answer, bool) {
        let fault = compile(&injected(&format!("error = {written}"))).unwrap();
        match fault.decide(&mut Dice::new(1, "a", 1, "test")) {
            Action::Respond { answer, after_upstream } => (answer, after_upstream),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_is_what_was_written() {
        let (answer, after) =
            decided("{ status = 429, body = \"later\", headers = { retry-after = \"2\" } }");
        assert_eq!((answer.status.as_u16(), after, answer.grpc), (429, false, None));
        assert_eq!(answer.headers["retry-after"], "2");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.body, "later");
        assert!(decided("{ status = 500, after_upstream = true }").1);
    }

    #[test]
    fn grpc_statuses_by_name_and_number() {
        for (written, http, number) in [
            ("{ grpc_status = \"UNAVAILABLE\" }", 503, 14),
            ("{ grpc_status = 14 }", 503, 14),
            ("{ grpc_status = 0 }", 200, 0),
            ("{ grpc_status = \"RESOURCE_EXHAUSTED\", status = 503 }", 503, 8),
        ] {
            let (answer, _) = decided(written);
            let grpc = answer.grpc.map(grpc::Status::number);
            assert_eq!((answer.status.as_u16(), grpc), (http, Some(number)), "{written}");
        }
    }

    #[test]
    fn answers_that_would_break_the_message_are_refused() {
        for (written, mistakes) in [
            ("{ status = 204, body = \"x\" }", 1),
            ("{ status = 304, body = \"x\", headers = { host = \"a\" } }", 2),
            ("{ status = 500, headers = { Content-Length = \"3\" } }", 1),
            ("{ status = 500, headers = { \"a b\" = \"3\", x-backburn-fault = \"n\" } }", 2),
            ("{ status = 500, headers = { a = \"b\\r\\nc: d\" } }", 1),
            ("{ body = \"x\" }", 1),
            ("{}", 1),
        ] {
            let spec = injected(&format!("error = {written}"));
            assert_eq!(compile(&spec).unwrap_err().len(), mistakes, "{written}");
        }
    }
}
