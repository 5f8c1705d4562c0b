//! Fault kinds: one file a kind. A fault *decides*, pure and synchronous; the proxy *acts*.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::diagnostic::Diagnostics;
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

/// What one kind asks of the data path for one request. The proxy knows these verbs, never kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Wait before the service sees the request. Whole microseconds.
    Delay(Duration),
    /// Answer in the service's place.
    Respond(Answer),
    /// End the connection without an answer.
    Abort(Abort),
}

/// An injected answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// RST.
    Reset,
    /// FIN without an answer.
    Close,
    /// Nothing until the caller gives up, or `cap` is over; then FIN.
    Hang { cap: Duration },
}

/// A compiled kind.
pub trait Fault: fmt::Debug + Send + Sync {
    /// The kind's name as in `inject.NAME` and in the label `kind`.
    fn kind(&self) -> &'static str;
    /// What this request gets. Depends on nothing but the dice.
    fn decide(&self, dice: &mut Dice) -> Action;
}

/// One kind of fault, for reading and for the reference.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    pub keys: &'static TableKeys,
    read: fn(Node<'_>, &mut Diagnostics) -> Option<Box<dyn Spec>>,
}

/// One `inject.KIND` as written.
pub trait Spec: fmt::Debug + Send + Sync {
    /// What runs, or all that is wrong with it.
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics>;
    fn boxed(&self) -> Box<dyn Spec>;
}

impl Clone for Box<dyn Spec> {
    fn clone(&self) -> Self {
        self.boxed()
    }
}

// Adding a kind: its file, its `mod` line, its line in `KINDS` (and in `INJECT`, which a constant
// cannot derive from it; a test compares the two).
mod abort;
mod error;
mod latency;

/// Every kind there is.
pub static KINDS: [Kind; 3] = [
    Kind { name: "latency", keys: &latency::KEYS, read: latency::read },
    Kind { name: "error", keys: &error::KEYS, read: error::read },
    Kind { name: "abort", keys: &abort::KEYS, read: abort::read },
];

/// `inject.*`.
pub static INJECT: TableKeys = TableKeys {
    name: "faults.NAME.inject",
    doc: "What happens to a request that is hit; several kinds act on the same requests.",
    keys: &[
        Key::new("latency", Value::Table(&latency::KEYS), "The request waits."),
        Key::new("error", Value::Table(&error::KEYS), "An answer in the service's place."),
        Key::new("abort", Value::Table(&abort::KEYS), "No answer."),
    ],
    short: None,
};

/// Reads `inject.KIND`.
pub fn read(kind: &str, node: Node<'_>, notes: &mut Diagnostics) -> Option<Box<dyn Spec>> {
    let kind = KINDS.iter().find(|known| known.name == kind)?;
    (kind.read)(node, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_can_be_written() {
        let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let keys: Vec<&str> = INJECT.keys.iter().map(|key| key.name).collect();
        assert_eq!(kinds, keys);
    }
}
