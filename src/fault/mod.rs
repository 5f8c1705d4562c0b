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

pub use action::{
    Abort, Action, After, Answer, At, Codes, Edit, How, Limit, Serve, Shape, Way, When,
};
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
    /// Its own file, whose first lines are its page.
    page: &'static str,
}

impl Kind {
    /// Its page of the reference, in Markdown: what stands first in its file.
    pub fn page(&self) -> String {
        let lines = self.page.lines().map_while(|line| line.strip_prefix("//!"));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        lines.join("\n")
    }
}

/// The page behind a table of the language, where it is a kind's.
pub fn page(table: &str) -> Option<String> {
    let name = table.strip_prefix(INJECT.name)?.strip_prefix('.')?;
    KINDS.iter().find(|kind| kind.key.name == name).map(Kind::page)
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
    /// It keeps something for each value of some part of the request.
    fn tells_values_apart(&self) -> bool {
        false
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::one;

    /// Every kind has a page with examples, and these are right.
    #[test]
    fn the_examples_of_the_pages_compile() {
        for kind in KINDS {
            let page = kind.page();
            let name = kind.key.name;
            assert!(page.starts_with(&format!("`{name}`: ")), "{page}");
            // What stands between backticks, also across the end of a line.
            let joined = page.replace('\n', " ");
            let begins = format!("inject.{name} = ");
            let examples: Vec<&str> =
                joined.split('`').skip(1).step_by(2).filter(|it| it.starts_with(&begins)).collect();
            assert!(!examples.is_empty(), "no example:\n{page}");
            for example in examples {
                let (scenario, notes) =
                    one(&format!("[faults.it]\nroutes = [\"*\"]\n{example}\n"), &[]);
                assert!(notes.is_empty(), "{example}: {notes:?}");
                compile(&scenario.faults[0].inject[0].value).unwrap_or_else(|notes| {
                    panic!("{example}: {notes:?}");
                });
            }
        }
    }

    /// Every key of every kind with every number at its limits, and with what is none: refused, or a
    /// fault that decides and can be told.
    #[test]
    fn no_value_panics() {
        let durations = ["0s", "1ns", "1us", "60s", "61s", "366d", "367d", "-1s", "x"];
        let sizes = ["0B", "1B", "1024TiB", "2000TiB", "0%", "50%", "100%", "101%", "1"];
        let rates = ["0.000001/d", "0/s", "1/s", "1000000M/s", "1/x"];
        let bandwidths = ["1B/s", "8bit/s", "7bit/s", "1024TiB/s", "0B/s"];
        let shares = ["0%", "0.0000001%", "100%"];
        let numbers =
            ["-1", "0", "1", "10", "599", "4999", "1000000", "9223372036854775807", "1e400", "nan"];
        let text = |words: &[&str]| words.iter().map(|word| format!("\"{word}\"")).collect();
        let plain = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let cases: [(&str, Vec<String>); 23] = [
            ("latency = { delay = V, cap = V }", text(&durations)),
            ("latency = { delay = V, floor = true }", text(&durations)),
            ("latency = { delay.normal = { mean = V, std_dev = V } }", text(&durations)),
            ("latency = { delay.gamma = { mean = \"1s\", shape = V } }", plain(&numbers)),
            ("error = V", plain(&numbers)),
            ("error = { grpc_status = V }", plain(&numbers)),
            ("abort = { how = \"hang\", cap = V }", text(&durations)),
            ("abort = { how = \"reset\", code = V }", plain(&numbers)),
            ("abort = { how = \"close\", at = \"body\", after = V }", text(&sizes)),
            ("truncate = { after = \"1B\", close_code = V }", plain(&numbers)),
            ("throttle = V", text(&bandwidths)),
            ("drip = { chunk = V, pause = \"1s\" }", text(&sizes)),
            ("drip = { chunk = \"1B\", pause = V }", text(&durations)),
            ("truncate = { after = V }", text(&sizes)),
            ("truncate = { after.time = V }", text(&durations)),
            ("truncate = { after.events = V }", plain(&numbers)),
            ("corrupt = { flip = V }", text(&shares)),
            ("rate_limit = V", text(&rates)),
            ("rate_limit = { rate = \"1/s\", burst = V }", plain(&numbers)),
            ("saturate = { concurrency = V, queue = V }", plain(&numbers)),
            ("saturate = { concurrency = 1, service_time = V }", text(&durations)),
            ("saturate = { concurrency = 1, status = V }", plain(&numbers)),
            ("duplicate = V", plain(&numbers)),
        ];
        for (written, values) in cases {
            let mut made = 0;
            for value in values {
                let inject = written.replace('V', &value);
                let (scenario, notes) =
                    one(&format!("[faults.it]\nroutes = [\"*\"]\ninject.{inject}\n"), &[]);
                let specs = scenario.faults.iter().flat_map(|fault| &fault.inject);
                for fault in specs.filter_map(|spec| compile(&spec.value).ok()) {
                    let actions =
                        [1, u64::MAX].map(|n| fault.decide(&mut Dice::new(n, "it", n, "t")));
                    assert!(!fault.describe().is_empty() && actions.len() == 2);
                    made += usize::from(notes.is_empty());
                }
            }
            assert!(made > 0, "{written}: nothing is right");
        }
    }
}
