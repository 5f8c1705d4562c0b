//! `drip`: a body comes in small pieces.
//!
//! `inject.drip = { chunk = "10B", pause = "200ms" }` sends ten bytes, waits 200 ms, sends ten
//! more. What a reader with a timeout for each read makes of it differs from what a throttle does.

use std::time::Duration;

use super::{Action, Fault, Kind, ON, Shape, Spec, Way, Written, way};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};
use crate::units::{Bytes, show_duration};

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("drip", Value::Table(&KEYS), "Let a body come in small pieces."),
    read,
    page: include_str!("drip.rs"),
};

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.drip",
    doc: "Let a body come in small pieces, with a pause after each.",
    keys: &[
        Key::new("chunk", Value::Bytes, "The size of a piece.").required(),
        Key::new("pause", Value::Duration, "The time from one to the next.").required(),
        Key::new("on", ON, "Whose body: the caller's or the service's.").default("\"response\""),
    ],
    short: None,
};

#[derive(Debug)]
struct AsWritten {
    chunk: Located<Bytes>,
    pause: Located<Duration>,
    on: Option<Located<&'static str>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    let mut table = node.table(notes)?;
    let (chunk, pause, on) = (table.bytes("chunk"), table.duration("pause"), table.word("on"));
    Some(Spec::new(AsWritten { chunk: chunk?, pause: pause?, on }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let mut notes = Diagnostics::new();
        if self.chunk.value.0 == 0 {
            let note = Diagnostic::error(self.chunk.at, "pieces of no bytes never end");
            notes.push(note.hint("to send nothing at all, `abort` with a hang"));
        }
        if self.pause.value.is_zero() {
            notes.push(Diagnostic::error(self.pause.at, "a pause of no time does nothing"));
        }
        if !notes.is_empty() {
            return Err(notes);
        }
        let (chunk, pause) = (self.chunk.value.0, self.pause.value);
        Ok(Box::new(Compiled { chunk, pause, on: way(self.on.as_ref()) }))
    }
}

#[derive(Debug, PartialEq)]
struct Compiled {
    chunk: u64,
    pause: Duration,
    on: Way,
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, _dice: &mut Dice) -> Action {
        let shape = Shape::Drip { chunk: self.chunk, pause: self.pause };
        Action::Shape { on: self.on, shape }
    }
    fn describe(&self) -> String {
        let (chunk, pause) = (Bytes(self.chunk), show_duration(self.pause));
        format!("lets the {} come by {chunk} each {pause}", self.on.body())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;

    #[test]
    fn pieces_and_pauses() {
        let spec = injected("drip = { chunk = \"10B\", pause = \"200ms\" }");
        let action = compile(&spec).unwrap().decide(&mut Dice::new(1, "a", 1, "test"));
        let shape = Shape::Drip { chunk: 10, pause: Duration::from_millis(200) };
        assert_eq!(action, Action::Shape { on: Way::Response, shape });
        let spec = injected("drip = { chunk = \"0B\", pause = \"0s\" }");
        assert_eq!(compile(&spec).unwrap_err().len(), 2);
    }
}
