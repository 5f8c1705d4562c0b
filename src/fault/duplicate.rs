//! `duplicate`: the service sees the request again.
//!
//! `inject.duplicate = 1` sends each request that is hit once more when all of it has gone out, as a
//! network or a careless retry does; what the service answers to that is thrown away, and no SLI
//! counts it. The caller sees nothing. Bodies up to 64 KiB are copied; larger ones are not sent again.

use super::{Action, Fault, Kind, Spec, Written};
use crate::diagnostic::{Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("duplicate", Value::Table(&KEYS), "Send the request to the service again."),
    read,
    page: include_str!("duplicate.rs"),
};

const COPIES: Value = Value::Integer { min: 1, max: 10 };

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.duplicate",
    doc: "Send the request to the service again.",
    keys: &[Key::new("copies", COPIES, "How often, besides the request itself.").required()],
    short: Some(COPIES),
};

#[derive(Debug)]
struct AsWritten(Located<u32>);

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    let copies =
        if node.is_table() { node.table(notes)?.integer("copies") } else { node.integer(notes) };
    copies.map(|copies| Spec::new(AsWritten(copies)))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        Ok(Box::new(Compiled(self.0.value)))
    }
}

#[derive(Debug, PartialEq)]
struct Compiled(u32);

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, _dice: &mut Dice) -> Action {
        Action::Copy(self.0)
    }
    fn describe(&self) -> String {
        match self.0 {
            1 => "sends the request once more".to_owned(),
            copies => format!("sends the request {copies} times more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;

    #[test]
    fn so_many_copies() {
        for (written, copies) in [("2", 2), ("{ copies = 1 }", 1)] {
            let fault = compile(&injected(&format!("duplicate = {written}"))).unwrap();
            assert_eq!(fault.decide(&mut Dice::new(1, "a", 1, "t")), Action::Copy(copies));
        }
    }
}
