//! `throttle`: a body comes at so many bytes a second.
//!
//! `inject.throttle = "64KiB/s"` slows each answer that is hit down to 64 KiB a second of its own:
//! 1 MiB takes 16 s, and the head comes at once. `on = "request"` slows what the caller sends
//! instead. Nothing is buffered: who sends is kept waiting.

use super::{Action, Fault, Kind, ON, Shape, Spec, Way, Written, way};
use crate::diagnostic::{Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};
use crate::units::Bandwidth;

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("throttle", Value::Table(&KEYS), "Let a body come at so many bytes a second."),
    read,
    page: include_str!("throttle.rs"),
};

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.throttle",
    doc: "Let a body come at so many bytes a second. Each request has a rate of its own.",
    keys: &[
        Key::new("rate", Value::Bandwidth, "How much a second.").required(),
        Key::new("on", ON, "Whose body: the caller's or the service's.").default("\"response\""),
    ],
    short: Some(Value::Bandwidth),
};

#[derive(Debug)]
struct AsWritten {
    rate: Located<Bandwidth>,
    on: Option<Located<&'static str>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    if !node.is_table() {
        return Some(Spec::new(AsWritten { rate: node.bandwidth(notes)?, on: None }));
    }
    let mut table = node.table(notes)?;
    let (rate, on) = (table.bandwidth("rate"), table.word("on"));
    Some(Spec::new(AsWritten { rate: rate?, on }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        Ok(Box::new(Compiled { rate: self.rate.value, on: way(self.on.as_ref()) }))
    }
}

#[derive(Debug, PartialEq)]
struct Compiled {
    rate: Bandwidth,
    on: Way,
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, _dice: &mut Dice) -> Action {
        Action::Shape { on: self.on, shape: Shape::Throttle(self.rate) }
    }
    fn describe(&self) -> String {
        format!("lets the {} come at {}", self.on.body(), self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;

    #[test]
    fn rate_and_way() {
        for (written, bits, on, words) in [
            ("\"64KiB/s\"", 524_288, Way::Response, "lets the answer's body come at 64KiB/s"),
            (
                "{ rate = \"56kbit/s\", on = \"request\" }",
                56_000,
                Way::Request,
                "lets the request's body come at 7KB/s",
            ),
        ] {
            let fault = compile(&injected(&format!("throttle = {written}"))).unwrap();
            let action = fault.decide(&mut Dice::new(1, "a", 1, "test"));
            let Action::Shape { on: found, shape: Shape::Throttle(rate) } = action else {
                panic!()
            };
            assert_eq!((rate.bits_per_second(), found), (bits, on));
            assert_eq!(fault.describe(), words);
        }
    }
}
