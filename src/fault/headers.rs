//! `headers`: changed header fields.
//!
//! `inject.headers = { remove = ["cache-control"], set = { content-type = "text/plain" } }` changes
//! the answer; with `on = "request"` what the service gets, and whatever it then says is the
//! fault's doing. `add` keeps what is there. The fields that frame a message cannot be changed.

use std::sync::Arc;

use super::{Action, Edit, Fault, Kind, ON, Spec, Way, Written, fields, way};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("headers", Value::Table(&KEYS), "Change header fields."),
    read,
    page: include_str!("headers.rs"),
};

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.headers",
    doc: "Change header fields: first `remove`, then `set`, then `add`.",
    keys: &[
        Key::new("set", Value::Texts, "Fields that have this one value then."),
        Key::new("add", Value::Texts, "Values beside those there are."),
        Key::new("remove", Value::List(&Value::Text), "Fields that go, with all their values."),
        Key::new("on", ON, "Whose fields: the caller's or the service's.").default("\"response\""),
    ],
    short: None,
};

type Pairs = Vec<(Located<String>, Located<String>)>;

#[derive(Debug)]
struct AsWritten {
    at: Place,
    set: Pairs,
    add: Pairs,
    remove: Vec<Located<String>>,
    on: Option<Located<&'static str>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    let mut table = node.table(notes)?;
    let (set, add, on) = (table.texts("set"), table.texts("add"), table.word("on"));
    let remove = table.text_list("remove");
    Some(Spec::new(AsWritten { at: table.at, set, add, remove, on }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let mut notes = Diagnostics::new();
        let edit = Edit {
            remove: self.remove.iter().filter_map(|name| fields::name(name, &mut notes)).collect(),
            set: self.set.iter().filter_map(|field| fields::pair(field, &mut notes)).collect(),
            add: self.add.iter().filter_map(|field| fields::pair(field, &mut notes)).collect(),
        };
        if notes.is_empty() && edit == Edit::default() {
            let note = Diagnostic::error(self.at, "nothing is changed");
            notes.push(note.hint("say what to `set`, `add` or `remove`"));
        }
        if !notes.is_empty() {
            return Err(notes);
        }
        Ok(Box::new(Compiled { edit: Arc::new(edit), on: way(self.on.as_ref()) }))
    }
}

#[derive(Debug, PartialEq)]
struct Compiled {
    edit: Arc<Edit>,
    on: Way,
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, _dice: &mut Dice) -> Action {
        Action::Edit { on: self.on, edit: Arc::clone(&self.edit) }
    }
    fn describe(&self) -> String {
        let edit = &self.edit;
        let set = edit.set.iter().map(|(name, _)| format!("sets {name}"));
        let add = edit.add.iter().map(|(name, _)| format!("adds {name}"));
        let remove = edit.remove.iter().map(|name| format!("removes {name}"));
        let all: Vec<String> = remove.chain(set).chain(add).collect();
        let whose = if self.on == Way::Request { "request" } else { "answer" };
        format!("{} in the {whose}", all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn fields_go_are_set_and_added() {
        let spec = injected(
            "headers = { remove = [\"A\"], set = { b = \"2\" }, add = { c = \"3\" }, on = \"request\" }",
        );
        let fault = compile(&spec).unwrap();
        assert_eq!(fault.describe(), "removes a, sets b, adds c in the request");
        let Action::Edit { on: Way::Request, edit } =
            fault.decide(&mut Dice::new(1, "a", 1, "test"))
        else {
            panic!("no edit")
        };
        let mut map = HeaderMap::new();
        for (name, value) in [("a", "1"), ("b", "1"), ("b", "1b"), ("c", "1")] {
            map.append(name, HeaderValue::from_static(value));
        }
        assert!(edit.apply(&mut map));
        let all = |name| map.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("a"), all("b"), all("c")), (vec![], vec!["2"], vec!["1", "3"]));
    }

    #[test]
    fn nothing_to_change_is_no_change() {
        let edit = Edit {
            remove: vec![http::header::AGE],
            set: vec![(http::header::ETAG, HeaderValue::from_static("x"))],
            add: Vec::new(),
        };
        let mut map = HeaderMap::new();
        assert!(edit.apply(&mut map));
        assert!(!edit.apply(&mut map));
    }

    #[test]
    fn framing_is_refused() {
        for (written, mistakes) in [
            ("headers = {}", 1),
            ("headers = { set = { content-length = \"3\", \"a b\" = \"c\" } }", 2),
            ("headers = { remove = [\"transfer-encoding\", \"connection\"] }", 2),
            ("headers = { add = { x-backburn-fault = \"n\", a = \"b\\r\\nc: d\" } }", 2),
        ] {
            assert_eq!(compile(&injected(written)).unwrap_err().len(), mistakes, "{written}");
        }
    }
}
