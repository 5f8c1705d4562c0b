//! `truncate`: the answer's body ends early, and looks like it.
//!
//! `inject.truncate = { after = "10KiB" }` keeps the declared length, sends 10 KiB and closes;
//! without a declared length the last chunk never comes. `after = "50%"` is of the declared length
//! (without one the fault does nothing), `{ events = 3 }` counts server-sent events, `{ messages =
//! 3 }` those of gRPC, `{ time = "5s" }` runs from the head on. A body that is over before that is
//! left alone.
//!
//! A WebSocket, or what else HTTP was switched to, is cut off likewise: after so many bytes or
//! messages of the service, or a time. `close_code = 1012` says goodbye in a Close frame first, at
//! the end of the frame under way; without it there is none, which callers see as 1006.

use super::{Action, After, Codes, Fault, How, Kind, Shape, Spec, Way, Written, abort};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};
use crate::units::{self, Bytes, Misread, Share, show_duration};

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("truncate", Value::Table(&KEYS), "End the answer's body early."),
    read,
    page: include_str!("truncate.rs"),
};

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.truncate",
    doc: "End the answer's body early, so that it looks cut off.",
    keys: &[
        Key::new("after", AFTER, "How much comes first.").required(),
        Key::new("how", Value::Word(&["close", "reset"]), "`close`: FIN. `reset`: RST.")
            .default("\"close\""),
        Key::new("close_code", CLOSE_CODE, CLOSE_CODE_DOC).default("none is said"),
    ],
    short: None,
};

/// What `close_code` takes, here and in `abort` (RFC 6455 7.4).
pub(super) const CLOSE_CODE: Value = Value::Integer { min: 1000, max: 4999 };
pub(super) const CLOSE_CODE_DOC: &str = "WebSocket: closed with this code before the FIN.";

/// Notes a code that RFC 6455 lets nobody send, and one that goes with no FIN.
pub(super) fn check_close_code(
    code: Option<&Located<u16>>,
    how: How,
    notes: &mut Diagnostics,
) -> Option<u16> {
    let code = code?;
    if matches!(code.value, 1004..=1006 | 1015..=2999) {
        let message = format!("no endpoint may send the code {}", code.value);
        let hint = "1001 (going away), 1011 (an error) and 1012 (a restart) are what servers say";
        notes.push(Diagnostic::error(code.at, message).hint(hint));
    }
    if how != How::Close {
        let message = "`close_code` goes with `how = \"close\"` only";
        notes.push(Diagnostic::error(code.at, message));
    }
    Some(code.value)
}

/// What `after` takes, here and in `abort`.
pub(super) const AFTER: Value = Value::OneOf(&AFTER_KEYS);

const COUNT: Value = Value::Integer { min: 0, max: i64::MAX };

static AFTER_KEYS: TableKeys = TableKeys {
    name: "after",
    doc: "How much of an answer's body comes before it is cut.",
    keys: &[
        Key::new("messages", COUNT, "So many whole messages, of gRPC or a WebSocket."),
        Key::new("events", COUNT, "So many whole server-sent events."),
        Key::new("time", Value::Duration, "Whatever comes in so long from the head on."),
    ],
    short: Some(Value::BytesOrShare),
};

/// Reads an [`AFTER`].
pub(super) fn after(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Located<After>> {
    if !node.is_table() {
        return node.quantity(bytes_or_share, readings, notes);
    }
    let at = node.at();
    let mut read = None;
    for (name, node) in node.variants(notes) {
        let value = match name {
            "messages" => node.integer(notes).map(|count| After::Messages(count.value)),
            "events" => node.integer(notes).map(|count| After::Events(count.value)),
            _ => node.duration(notes).map(|time| After::Time(time.value)),
        };
        read = read.or(value.map(|value| Located { value, at }));
    }
    read
}

fn bytes_or_share(text: &str) -> Result<After, Misread> {
    if text.ends_with('%') {
        units::share(text).map(After::Share)
    } else {
        units::bytes(text).map(|Bytes(bytes)| After::Bytes(bytes))
    }
}

fn readings(number: &str) -> String {
    format!("write \"{number}B\", \"{number}KiB\" or \"{number}%\"")
}

/// In a person's words.
pub(super) fn shown(after: After) -> String {
    match after {
        After::Bytes(bytes) => Bytes(bytes).to_string(),
        After::Share(share) => format!("{share} of it"),
        After::Messages(count) => format!("{count} messages"),
        After::Events(count) => format!("{count} events"),
        After::Time(time) => show_duration(time),
    }
}

#[derive(Debug)]
struct AsWritten {
    after: Located<After>,
    how: Option<Located<&'static str>>,
    close_code: Option<Located<u16>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    let mut table = node.table(notes)?;
    let (how, close_code) = (table.word("how"), table.integer("close_code"));
    let after = table.node("after").and_then(|node| after(&node, notes));
    Some(Spec::new(AsWritten { after: after?, how, close_code }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let mut notes = Diagnostics::new();
        if self.after.value == After::Share(Share::ONE) {
            let note = Diagnostic::error(self.after.at, "the whole of it is not cut off");
            notes.push(note.hint("leave something out, as in \"90%\""));
        }
        let reset = self.how.as_ref().is_some_and(|how| how.value == "reset");
        let how = if reset { How::Reset } else { How::Close };
        let close = check_close_code(self.close_code.as_ref(), how, &mut notes);
        if !notes.is_empty() {
            return Err(notes);
        }
        let codes = Codes { reset: abort::INTERNAL_ERROR, close };
        Ok(Box::new(Compiled { after: self.after.value, how, codes }))
    }
}

#[derive(Debug, PartialEq)]
struct Compiled {
    after: After,
    how: How,
    codes: Codes,
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, _dice: &mut Dice) -> Action {
        let shape = Shape::Cut { after: self.after, how: self.how, codes: self.codes };
        Action::Shape { on: Way::Response, shape }
    }
    fn describe(&self) -> String {
        let end = if self.how == How::Reset { " by a reset" } else { "" };
        format!("cuts the answer off{end} after {}", shown(self.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;

    #[test]
    fn every_way_to_say_how_much() {
        for (written, after, how) in [
            ("{ after = \"10KiB\" }", After::Bytes(10_240), How::Close),
            ("{ after = \"0B\", how = \"reset\" }", After::Bytes(0), How::Reset),
            (
                "{ after = \"50%\", how = \"close\" }",
                After::Share(Share::from_billionths(500_000_000).unwrap()),
                How::Close,
            ),
            ("{ after = { messages = 3 } }", After::Messages(3), How::Close),
            ("{ after.events = 0 }", After::Events(0), How::Close),
            ("{ after.time = \"5s\" }", After::Time(std::time::Duration::from_secs(5)), How::Close),
        ] {
            let fault = compile(&injected(&format!("truncate = {written}"))).unwrap();
            let codes = Codes { reset: 2, close: None };
            let shape = Shape::Cut { after, how, codes };
            let action = fault.decide(&mut Dice::new(1, "a", 1, "test"));
            assert_eq!(action, Action::Shape { on: Way::Response, shape }, "{written}");
        }
        assert!(compile(&injected("truncate = { after = \"100%\" }")).is_err());
    }

    #[test]
    fn codes_that_a_server_may_send() {
        let made = |more: &str| {
            let fault = compile(&injected(&format!("truncate = {{ after.messages = 3, {more} }}")));
            fault.map(|fault| fault.decide(&mut Dice::new(1, "a", 1, "test")))
        };
        let codes = Codes { reset: 2, close: Some(1012) };
        let shape = Shape::Cut { after: After::Messages(3), how: How::Close, codes };
        let action = Action::Shape { on: Way::Response, shape };
        assert_eq!(made("close_code = 1012").unwrap(), action);
        for (more, mistakes) in [
            ("close_code = 1005", 1),
            ("close_code = 1006, how = \"reset\"", 2),
            ("close_code = 2999", 1),
        ] {
            assert_eq!(made(more).unwrap_err().len(), mistakes, "{more}");
        }
    }
}
