//! `abort`: the connection ends and no answer ever comes.
//!
//! `inject.abort = "reset"` is what a crashed process looks like, `"close"` a proxy that gave up,
//! `"hang"` a peer that went silent: the caller's own timeout is what ends it, or `cap` (default
//! 60s), whichever is first.

use std::time::Duration;

use super::{Abort, Action, Fault, Kind, Spec, Written};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};
use crate::units::show_duration;

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("abort", Value::Table(&KEYS), "End the connection without an answer."),
    read,
};

const HOW: Value = Value::Word(&["reset", "close", "hang"]);

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.abort",
    doc: "End the connection without an answer.",
    keys: &[
        Key::new("how", HOW, "`reset`: RST. `close`: FIN. `hang`: silence, then FIN.").required(),
        Key::new("cap", Value::Duration, "How long a `hang` lasts at most.").default("\"60s\""),
    ],
    short: Some(HOW),
};

#[derive(Debug)]
struct AsWritten {
    how: Located<&'static str>,
    cap: Option<Located<Duration>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    if !node.is_table() {
        let how = node.word(notes)?;
        return Some(Spec::new(AsWritten { how, cap: None }));
    }
    let mut table = node.table(notes)?;
    let (how, cap) = (table.word("how"), table.duration("cap"));
    Some(Spec::new(AsWritten { how: how?, cap }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let how = match (self.how.value, &self.cap) {
            ("hang", Some(cap)) if cap.value.is_zero() => {
                let note = Diagnostic::error(cap.at, "a hang of no time is no hang");
                return Err(vec![note.hint("write `how = \"close\"`")]);
            }
            ("hang", cap) => {
                Abort::Hang { cap: cap.as_ref().map_or(Duration::from_mins(1), |cap| cap.value) }
            }
            (how, Some(cap)) => {
                let note = Diagnostic::error(cap.at, format!("`cap` has no meaning for `{how}`"));
                return Err(vec![note.also(self.how.at, "only a \"hang\" has a cap")]);
            }
            ("close", None) => Abort::Close,
            (_, None) => Abort::Reset,
        };
        Ok(Box::new(Compiled(how)))
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
        match self.0 {
            Abort::Reset => "resets the connection".to_owned(),
            Abort::Close => "closes the connection without an answer".to_owned(),
            Abort::Hang { cap } => format!("says nothing for {}, then closes", show_duration(cap)),
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
        for (written, how) in [
            ("abort = \"reset\"", Abort::Reset),
            ("abort = \"close\"", Abort::Close),
            ("abort = \"hang\"", Abort::Hang { cap: Duration::from_mins(1) }),
            (
                "abort = { how = \"hang\", cap = \"5s\" }",
                Abort::Hang { cap: Duration::from_secs(5) },
            ),
        ] {
            let fault = compile(&injected(written)).unwrap();
            assert_eq!(fault.decide(&mut Dice::new(1, "a", 1, "test")), Action::Abort(how));
        }
        assert!(compile(&injected("abort = { how = \"reset\", cap = \"5s\" }")).is_err());
        assert!(compile(&injected("abort = { how = \"hang\", cap = \"0s\" }")).is_err());
    }
}
