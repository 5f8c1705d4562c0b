//! `corrupt`: a damaged body in an intact frame.
//!
//! `inject.corrupt = { flip = "0.1%" }` turns over one bit in one byte of a thousand; the length
//! stays what it was. `replace = "<html>oops</html>"` puts other bytes in the body's place, and
//! declares their length. Which bytes are hit depends on the draw and their place in the body, not
//! on how the network cut it up.

use bytes::Bytes;

use super::{Action, Fault, Kind, ON, Shape, Spec, Way, Written, way};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};
use crate::units::Share;

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("corrupt", Value::Table(&KEYS), "Damage a body, not its framing."),
    read,
    page: include_str!("corrupt.rs"),
};

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.corrupt",
    doc: "Damage a body, not its framing. One of `flip` and `replace`.",
    keys: &[
        Key::new("flip", Value::Share, "The share of bytes in which a bit is turned over."),
        Key::new("replace", Value::Text, "What comes instead of the body."),
        Key::new("on", ON, "Whose body: the caller's or the service's.").default("\"response\""),
    ],
    short: None,
};

#[derive(Debug)]
struct AsWritten {
    at: Place,
    flip: Option<Located<Share>>,
    replace: Option<Located<String>>,
    on: Option<Located<&'static str>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    let mut table = node.table(notes)?;
    let (flip, replace, on) = (table.share("flip"), table.text("replace"), table.word("on"));
    Some(Spec::new(AsWritten { at: table.at, flip, replace, on }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let refuse = |note: Diagnostic| Err(vec![note]);
        let damage = match (&self.flip, &self.replace) {
            (Some(flip), Some(replace)) => {
                let message = "`flip` and `replace` both say what becomes of the body";
                return refuse(Diagnostic::error(replace.at, message).also(flip.at, "the other"));
            }
            (None, None) => {
                let note = Diagnostic::error(self.at, "neither `flip` nor `replace` is given");
                return refuse(note.hint("as in `corrupt = { flip = \"0.1%\" }`"));
            }
            (Some(flip), None) if flip.value == Share::ZERO => {
                return refuse(Diagnostic::error(flip.at, "no byte at all is no damage"));
            }
            (Some(flip), None) => Damage::Flip(flip.value),
            (None, Some(replace)) => Damage::Replace(Bytes::from(replace.value.clone())),
        };
        Ok(Box::new(Compiled { damage, on: way(self.on.as_ref()) }))
    }
}

#[derive(Debug, PartialEq)]
enum Damage {
    Flip(Share),
    Replace(Bytes),
}

#[derive(Debug, PartialEq)]
struct Compiled {
    damage: Damage,
    on: Way,
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, dice: &mut Dice) -> Action {
        let shape = match &self.damage {
            Damage::Flip(share) => Shape::Flip { share: *share, dice: dice.clone() },
            Damage::Replace(bytes) => Shape::Replace(bytes.clone()),
        };
        Action::Shape { on: self.on, shape }
    }
    fn describe(&self) -> String {
        match &self.damage {
            Damage::Flip(share) => {
                format!("turns over a bit in {share} of the bytes of the {}", self.on.body())
            }
            Damage::Replace(bytes) => {
                format!("sends {} other bytes as the {}", bytes.len(), self.on.body())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;

    #[test]
    fn one_kind_of_damage() {
        let fault = compile(&injected("corrupt = { replace = \"x\", on = \"request\" }")).unwrap();
        let action = fault.decide(&mut Dice::new(1, "a", 1, "test"));
        let shape = Shape::Replace(Bytes::from_static(b"x"));
        assert_eq!(action, Action::Shape { on: Way::Request, shape });
        for written in [
            "corrupt = {}",
            "corrupt = { flip = \"0%\" }",
            "corrupt = { flip = \"1%\", replace = \"x\" }",
            "corrupt = { on = \"request\" }",
        ] {
            assert_eq!(compile(&injected(written)).unwrap_err().len(), 1, "{written}");
        }
    }
}
