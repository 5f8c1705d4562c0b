//! `latency`: the request waits, before the service sees it or before the caller sees the answer.
//!
//! `inject.latency = "300ms"` delays every request that is hit by the same time; `delay` can be a
//! distribution instead: `inject.latency = { delay = { lognormal = { median = "120ms", p99 = "2s" }
//! }, cap = "5s" }`. With `on = "response"` the service works at once and its answer waits; with
//! `floor = true` the answer waits only for what is missing: a service that took 100 ms of a floor
//! of 300 ms is held for 200 ms more. Delays are whole microseconds.

use std::time::Duration;

use super::{Action, Fault, Kind, Spec, When, Written};
use crate::delay::{self, Delay, Draw};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("latency", Value::Table(&KEYS), "Let the request, or its answer, wait."),
    read,
    page: include_str!("latency.rs"),
};

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency",
    doc: "Let the request wait before the service sees it, or its answer before the caller does.",
    keys: &[
        Key::new("delay", delay::VALUE, "How long: a duration, or a distribution.").required(),
        Key::new("cap", Value::Duration, "No delay is longer; samples above are drawn again.")
            .default("\"60s\""),
        Key::new("on", super::ON, "Which of the two waits.").default("\"request\""),
        Key::new(
            "floor",
            Value::Bool,
            "The answer takes at least `delay`, the service's own time included.",
        )
        .default("false"),
    ],
    short: Some(Value::Duration),
};

#[derive(Debug)]
struct AsWritten {
    delay: Delay,
    cap: Option<Located<Duration>>,
    on: Option<Located<&'static str>>,
    floor: Option<Located<bool>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    if !node.is_table() {
        let delay = Delay::fixed(node.duration(notes)?);
        return Some(Spec::new(AsWritten { delay, cap: None, on: None, floor: None }));
    }
    let mut table = node.table(notes)?;
    let (cap, on, floor) = (table.duration("cap"), table.word("on"), table.boolean("floor"));
    let delay = table.node("delay").and_then(|node| Delay::read(&node, notes));
    Some(Spec::new(AsWritten { delay: delay?, cap, on, floor }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let draw = self.delay.compile(self.cap.as_ref());
        let floor = self.floor.as_ref().filter(|floor| floor.value);
        let when = match (&self.on, floor) {
            (Some(on), Some(floor)) if on.value == "request" => {
                let message = "a floor is known only when the answer is there";
                let note = Diagnostic::error(on.at, message).also(floor.at, "the floor");
                let mut notes = vec![note.hint("leave `on` out, or write `on = \"response\"`")];
                notes.extend(draw.err().unwrap_or_default());
                return Err(notes);
            }
            (_, Some(_)) => When::Floor,
            (Some(on), None) if on.value == "response" => When::Response,
            _ => When::Request,
        };
        Ok(Box::new(Compiled { draw: draw?, when }))
    }
}

#[derive(Debug, PartialEq)]
struct Compiled {
    draw: Draw,
    when: When,
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, dice: &mut Dice) -> Action {
        Action::Delay { time: self.draw.sample(dice), when: self.when }
    }
    fn describe(&self) -> String {
        match self.when {
            When::Request => format!("waits {}", self.draw),
            When::Response => format!("holds the answer for {}", self.draw),
            When::Floor => format!("takes at least {}", self.draw),
        }
    }
}

#[cfg(test)]
#[path = "latency_tests.rs"]
mod tests;
