//! `abort`: the exchange ends, and no whole answer ever comes.
//!
//! `inject.abort = "reset"` is what a crashed process looks like, `"close"` a proxy that gave up,
//! `"hang"` a peer that went silent (the caller's own timeout is what ends it, or `cap`, default
//! 60s, whichever is first), `"garbage"` a peer that speaks something else. `at = "headers"` lets the
//! service do its work first, `at = "body"` cuts its answer off, at once or after so much of it:
//! `inject.abort = { how = "hang", at = "body", after = "10KiB" }`. A tunnel is a body, too; see
//! `truncate`.

use std::time::Duration;

use super::{Abort, Action, After, At, Codes, Fault, How, Kind, Spec, Written, truncate};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};
use crate::units::{Share, show_duration};

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("abort", Value::Table(&KEYS), "End the exchange without a whole answer."),
    read,
    page: include_str!("abort.rs"),
};

const HOW: Value = Value::Word(&["reset", "close", "hang", "garbage"]);

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.abort",
    doc: "End the exchange without a whole answer.",
    keys: &[
        Key::new(
            "how",
            HOW,
            "`reset`: RST. `close`: FIN. `hang`: silence, then FIN. `garbage`: no HTTP, then FIN.",
        )
        .required(),
        Key::new(
            "at",
            Value::Word(&["request", "headers", "body"]),
            "Before the service works, when it has answered, or inside its answer.",
        )
        .default("\"request\""),
        Key::new("after", truncate::AFTER, "At the body: how much of it comes first.")
            .default("\"0B\""),
        Key::new("code", Value::Coded(CODES), "HTTP/2: the code of the stream's reset.")
            .default("\"INTERNAL_ERROR\""),
        Key::new("close_code", truncate::CLOSE_CODE, truncate::CLOSE_CODE_DOC)
            .default("none is said"),
        Key::new("cap", Value::Duration, "How long a `hang` lasts at most.").default("\"60s\""),
    ],
    short: Some(HOW),
};

/// HTTP/2's error codes, by number (RFC 9113 7).
const CODES: &[&str] = &[
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];
const PROTOCOL_ERROR: u32 = 1;
pub(super) const INTERNAL_ERROR: u32 = 2;

#[derive(Debug)]
struct AsWritten {
    how: Located<&'static str>,
    at: Option<Located<&'static str>>,
    after: Option<Located<After>>,
    code: Option<Located<u8>>,
    close_code: Option<Located<u16>>,
    cap: Option<Located<Duration>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    if !node.is_table() {
        let how = node.word(notes)?;
        let (at, after, code, close_code, cap) = (None, None, None, None, None);
        return Some(Spec::new(AsWritten { how, at, after, code, close_code, cap }));
    }
    let mut table = node.table(notes)?;
    let (how, at, code) = (table.word("how"), table.word("at"), table.coded("code"));
    let (close_code, cap) = (table.integer("close_code"), table.duration("cap"));
    let after = table.node("after").and_then(|node| truncate::after(&node, notes));
    Some(Spec::new(AsWritten { how: how?, at, after, code, close_code, cap }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let mut notes = Diagnostics::new();
        let how = match (self.how.value, &self.cap) {
            ("hang", Some(cap)) if cap.value.is_zero() => {
                let note = Diagnostic::error(cap.at, "a hang of no time is no hang");
                notes.push(note.hint("write `how = \"close\"`"));
                How::Close
            }
            ("hang", cap) => {
                How::Hang { cap: cap.as_ref().map_or(Duration::from_mins(1), |cap| cap.value) }
            }
            (how, Some(cap)) => {
                let note = Diagnostic::error(cap.at, format!("`cap` has no meaning for `{how}`"));
                notes.push(note.also(self.how.at, "only a \"hang\" has a cap"));
                How::Close
            }
            ("close", None) => How::Close,
            ("garbage", None) => How::Garbage,
            (_, None) => How::Reset,
        };
        let at = match self.at.as_ref().map(|at| at.value) {
            Some("body") => At::Body(self.after.as_ref().map_or(After::Bytes(0), |it| it.value)),
            Some("headers") => At::Headers,
            _ => At::Request,
        };
        match &self.after {
            Some(after) if !matches!(at, At::Body(_)) => {
                let message = "`after` says how much of the body comes first";
                notes.push(
                    Diagnostic::error(after.at, message).hint("write `at = \"body\"` with it"),
                );
            }
            Some(after) if after.value == After::Share(Share::ONE) => {
                notes.push(Diagnostic::error(after.at, "nothing is left to be cut off"));
            }
            _ => {}
        }
        if let (Some(code), "garbage" | "hang") = (&self.code, self.how.value) {
            let message = format!("`code` has no meaning for `{}`", self.how.value);
            notes.push(Diagnostic::error(code.at, message));
        }
        let close = truncate::check_close_code(self.close_code.as_ref(), how, &mut notes);
        if let (Some(code), false) = (&self.close_code, matches!(at, At::Body(_))) {
            let message = "a WebSocket is closed inside what it carries";
            notes.push(Diagnostic::error(code.at, message).hint("write `at = \"body\"` with it"));
        }
        if !notes.is_empty() {
            return Err(notes);
        }
        let default = if how == How::Garbage { PROTOCOL_ERROR } else { INTERNAL_ERROR };
        let reset = self.code.as_ref().map_or(default, |code| u32::from(code.value));
        Ok(Box::new(Compiled(Abort { how, at, codes: Codes { reset, close } })))
    }
}

#[derive(Debug, PartialEq)]
struct Compiled(Abort);

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, _dice: &mut Dice) -> Action {
        Action::Abort(self.0)
    }
    fn describe(&self) -> String {
        let how = match self.0.how {
            How::Reset => "resets the connection".to_owned(),
            How::Close => "closes the connection without an answer".to_owned(),
            How::Hang { cap } => format!("says nothing for {}, then closes", show_duration(cap)),
            How::Garbage => "sends what is no HTTP".to_owned(),
        };
        match self.0.at {
            At::Request => how,
            At::Headers => format!("{how} when the service has answered"),
            At::Body(after) => format!("{how} after {} of the body", truncate::shown(after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;

    #[test]
    fn every_way_to_end_is_told_apart() {
        let minute = Duration::from_mins(1);
        for (written, how, at, code) in [
            ("\"reset\"", How::Reset, At::Request, 2),
            ("\"close\"", How::Close, At::Request, 2),
            ("\"hang\"", How::Hang { cap: minute }, At::Request, 2),
            ("\"garbage\"", How::Garbage, At::Request, 1),
            (
                "{ how = \"hang\", cap = \"5s\" }",
                How::Hang { cap: Duration::from_secs(5) },
                At::Request,
                2,
            ),
            ("{ how = \"reset\", code = \"CANCEL\" }", How::Reset, At::Request, 8),
            ("{ how = \"reset\", at = \"headers\", code = 11 }", How::Reset, At::Headers, 11),
            ("{ how = \"close\", at = \"body\" }", How::Close, At::Body(After::Bytes(0)), 2),
            (
                "{ how = \"hang\", at = \"body\", after.events = 3 }",
                How::Hang { cap: minute },
                At::Body(After::Events(3)),
                2,
            ),
        ] {
            let fault = compile(&injected(&format!("abort = {written}"))).unwrap();
            let action = fault.decide(&mut Dice::new(1, "a", 1, "test"));
            let codes = Codes { reset: code, close: None };
            assert_eq!(action, Action::Abort(Abort { how, at, codes }), "{written}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (written, mistakes) in [
            ("{ how = \"reset\", cap = \"5s\" }", 1),
            ("{ how = \"hang\", cap = \"0s\" }", 1),
            ("{ how = \"hang\", after = \"5B\" }", 1),
            ("{ how = \"hang\", at = \"body\", after = \"100%\", code = 1 }", 2),
            ("{ how = \"close\", close_code = 1001 }", 1),
            ("{ how = \"reset\", at = \"body\", close_code = 1001 }", 1),
        ] {
            let spec = injected(&format!("abort = {written}"));
            assert_eq!(compile(&spec).unwrap_err().len(), mistakes, "{written}");
        }
    }
}
