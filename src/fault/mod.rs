//! Fault kinds: one file a kind. A fault *decides*, pure and synchronous; the proxy *acts*.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

pub mod abort;
mod action;
mod bucket;
pub mod corrupt;
pub mod drip;
pub mod duplicate;
pub mod error;
mod fields;
pub mod grpc;
pub mod headers;
mod kept;
pub mod latency;
pub mod rate_limit;
pub mod saturate;
mod station;
pub mod throttle;
pub mod truncate;

pub use action::{Abort, Action, After, Answer, At, Edit, How, Limit, Serve, Shape, Way, When};
pub use bucket::{Buckets, Pace};
pub use kept::Memory;
pub use station::{Slot, Turn};

/// Every kind, in the order the reference page shows them. A new kind is its file, its `mod` line
/// above, and its line here.
pub const KINDS: &[Kind] = &[
    latency::KIND,
    error::KIND,
    abort::KIND,
    throttle::KIND,
    drip::KIND,
    truncate::KIND,
    corrupt::KIND,
    headers::KIND,
    rate_limit::KIND,
    saturate::KIND,
    duplicate::KIND,
];

/// A kind's place in [`KINDS`]: what its counts go by, whatever stands beside it in its fault.
pub fn place(kind: &str) -> usize {
    KINDS.iter().position(|known| known.key.name == kind).unwrap_or(0)
}

/// What `on` takes.
const ON: Value = Value::Word(&["request", "response"]);

/// Which message `on` means; the answer where nothing is said.
fn way(on: Option<&Located<&'static str>>) -> Way {
    if on.is_some_and(|on| on.value == "request") { Way::Request } else { Way::Response }
}

/// One kind of the language.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// `inject.NAME` and what it takes.
    pub key: Key,
    /// Reads the value of `inject.NAME`; mistakes are noted.
    pub read: fn(&Node<'_>, &mut Diagnostics) -> Option<Spec>,
}

/// `[faults.NAME.inject]`: a key for every kind.
pub static INJECT: TableKeys = TableKeys {
    name: "faults.NAME.inject",
    doc: "What a fault does to the requests it hits. Several kinds act together, on one draw.",
    keys: &INJECT_KEYS,
    short: None,
};

static INJECT_KEYS: [Key; KINDS.len()] = {
    let mut keys = [KINDS[0].key; KINDS.len()];
    let mut i = 0;
    while i < keys.len() {
        keys[i] = KINDS[i].key;
        i += 1;
    }
    keys
};

/// A compiled kind. Two are equal when they do the same.
pub trait Fault: Same + fmt::Debug + Send + Sync {
    /// The kind's name as in `inject.NAME` and in the label `kind`.
    fn kind(&self) -> &'static str;
    /// What this request gets. Depends on nothing but the dice.
    fn decide(&self, dice: &mut Dice) -> Action;
    /// What it does, in a person's words: `waits 300ms`, `answers 503`.
    fn describe(&self) -> String;
    /// Takes over, before the first request, what the fault of this name has kept so far. For the
    /// kinds that keep something between requests.
    fn recall(&self, _memory: &mut Memory) {}
}

/// Equality behind `dyn Fault`; every kind that derives `PartialEq` has it.
pub trait Same: Any {
    fn same(&self, other: &dyn Any) -> bool;
}

impl<T: PartialEq + Any> Same for T {
    fn same(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }
}

impl PartialEq for dyn Fault {
    fn eq(&self, other: &Self) -> bool {
        self.same(other as &dyn Any)
    }
}

/// One kind as written: typed, with places, not yet checked against itself.
pub trait Written: fmt::Debug + Send + Sync {
    /// Checks what single values cannot show (a `min` above its `max`) and makes the fault.
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics>;
}

/// One `inject.KIND` as written.
#[derive(Debug, Clone)]
pub struct Spec(Arc<dyn Written>);

impl Spec {
    /// Wraps what a kind read.
    pub fn new(written: impl Written + 'static) -> Self {
        Self(Arc::new(written))
    }

    /// As [`compile`].
    pub fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        compile(self)
    }
}

/// Makes the fault of a spec, or says everything that is wrong with it.
pub fn compile(spec: &Spec) -> Result<Box<dyn Fault>, Vec<Diagnostic>> {
    spec.0.compile()
}
