//! A collecting reader over TOML's spanned tree: every mistake is noted, none stops the reading.
//! Key tables are data: the same table feeds the reader, "did you mean", the JSON schema and docs.

use std::time::Duration;

use crate::diagnostic::{Diagnostics, Located, Place};
use crate::units::Share;

/// One table of the language.
#[derive(Debug)]
pub struct TableKeys {
    /// As in a heading: `faults.NAME`, `inject.latency`.
    pub name: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
    /// What may stand in place of the table (`inject.latency = "300ms"`).
    pub short: Option<Value>,
}

#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub value: Value,
    pub required: bool,
    /// As a user would write it; empty: none.
    pub default: &'static str,
    pub doc: &'static str,
}

/// What a key takes. Drives the schema and the reader's "expected …" messages.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    Text,
    Name,
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    Duration,
    DurationOrNone,
    Share,
    Address,
    Url,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Status pattern: `503`, `"5xx"`.
    Status,
    List(&'static Value),
    /// String to string.
    Texts,
    Table(&'static TableKeys),
    /// User-named tables.
    Named(&'static TableKeys),
    /// Exactly one key of the table (`sli.availability`, `delay.normal`), or its short form.
    OneOf(&'static TableKeys),
    /// One or more keys of the table (`inject.*`).
    SomeOf(&'static TableKeys),
}

/// A table being read: typed getters note what is wrong and go on; [`Table::finish`] reports keys
/// nobody asked for.
#[derive(Debug)]
pub struct Table<'a> {
    pub keys: &'static TableKeys,
    /// The table's name or key, for mistakes about the table as a whole.
    pub at: Place,
    pub notes: &'a mut Diagnostics,
}

/// A value not yet read: a key's right-hand side.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    pub at: Place,
    pub _tree: std::marker::PhantomData<&'a ()>,
}

#[allow(unused_variables, clippy::unused_self, reason = "signatures first")]
impl<'a> Table<'a> {
    pub fn text(&mut self, key: &str) -> Option<Located<String>> {
        None
    }
    pub fn boolean(&mut self, key: &str) -> Option<Located<bool>> {
        None
    }
    /// Within the bounds of the key's [`Value::Integer`].
    pub fn integer(&mut self, key: &str) -> Option<Located<i64>> {
        None
    }
    pub fn duration(&mut self, key: &str) -> Option<Located<Duration>> {
        None
    }
    pub fn share(&mut self, key: &str) -> Option<Located<Share>> {
        None
    }
    /// The word, as it stands in the key's [`Value::Word`] list.
    pub fn word(&mut self, key: &str) -> Option<Located<&'static str>> {
        None
    }
    pub fn texts(&mut self, key: &str) -> Vec<(Located<String>, Located<String>)> {
        Vec::new()
    }
    /// The one key of a [`Value::OneOf`] and its value, or the short form under the name `""`.
    pub fn one_of(&mut self, key: &str) -> Option<(Located<&'static str>, Node<'a>)> {
        None
    }
    /// Opens the value of `key` as a table of its own.
    pub fn table(&mut self, key: &str) -> Option<Table<'_>> {
        None
    }
    /// Missing required keys and keys nobody knows.
    pub fn finish(self) {}
}

#[allow(unused_variables, reason = "signatures first")]
impl<'a> Node<'a> {
    /// As a table, or `None` noted; when it has the table's short form, use the getters below.
    pub fn is_table(&self) -> bool {
        false
    }
    pub fn table<'n>(
        &self,
        keys: &'static TableKeys,
        notes: &'n mut Diagnostics,
    ) -> Option<Table<'n>> {
        None
    }
    pub fn duration(&self, notes: &mut Diagnostics) -> Option<Located<Duration>> {
        None
    }
    pub fn integer(&self, min: i64, max: i64, notes: &mut Diagnostics) -> Option<Located<i64>> {
        None
    }
    pub fn text(&self, notes: &mut Diagnostics) -> Option<Located<String>> {
        None
    }
}
