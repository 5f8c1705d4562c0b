//! `abort`: no answer. `reset` is a real RST, `close` a FIN before any byte, `hang` silence until
//! the caller gives up or `cap` is over, and then FIN.

use std::time::Duration;

use super::{Abort, Action, Fault, Spec};
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

const HOW: Value = Value::Word(&["reset", "close", "hang"]);

pub(super) static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.abort",
    doc: "Ends the exchange without an answer.",
    keys: &[
        Key::new("how", HOW, "`reset`: RST; `close`: FIN without an answer; `hang`: nothing.")
            .required(),
        Key::new("cap", Value::Duration, "For `hang`: the longest silence.").default("\"60s\""),
    ],
    short: Some(HOW),
};

#[derive(Debug, Clone)]
struct AbortSpec {
    how: &'static str,
    cap: Duration,
}

#[derive(Debug)]
struct Aborts(Abort);

pub(super) fn read(node: Node<'_>, notes: &mut Diagnostics) -> Option<Box<dyn Spec>> {
    let cap = Duration::from_secs(60);
    if !node.is_table() {
        let how = node.word(notes)?.value;
        return Some(Box::new(AbortSpec { how, cap }));
    }
    let mut table = node.table(notes)?;
    let how = table.word("how");
    let written: Option<(Duration, Place)> = table.duration("cap").map(|cap| (cap.value, cap.at));
    let how = how?;
    if let Some((_, at)) = written
        && how.value != "hang"
    {
        notes.push(Diagnostic::error(
            at,
            format!("`cap` goes with `hang`; a {} takes no time", how.value),
        ));
        return None;
    }
    Some(Box::new(AbortSpec { how: how.value, cap: written.map_or(cap, |(cap, _)| cap) }))
}

impl Spec for AbortSpec {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        Ok(Box::new(Aborts(match self.how {
            "close" => Abort::Close,
            "hang" => Abort::Hang { cap: self.cap },
            _ => Abort::Reset,
        })))
    }
    fn boxed(&self) -> Box<dyn Spec> {
        Box::new(self.clone())
    }
}

impl Fault for Aborts {
    fn kind(&self) -> &'static str {
        "abort"
    }
    fn decide(&self, _: &mut Dice) -> Action {
        Action::Abort(self.0)
    }
}
