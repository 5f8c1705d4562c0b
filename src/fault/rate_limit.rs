//! `rate_limit`: beyond a rate, requests are turned away.
//!
//! `inject.rate_limit = { rate = "50/s", burst = 10 }` lets ten through at once and fifty a second
//! in the long run; the rest get a 429 whose `retry-after` is true: whoever comes back then, and
//! nobody else, gets through. `per = "header:x-tenant"` gives each value a bucket of its own. What is
//! let through is untouched. Exact in count, in order of arrival, so not part of a replay.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::kept::{Kept, Memory};
use super::{Action, Answer, Buckets, Fault, Kind, Limit, Pace, Spec, Written};
use crate::diagnostic::{Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, Selector, TableKeys, Value};
use crate::units::Rate;

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("rate_limit", Value::Table(&KEYS), "Turn away what comes beyond a rate."),
    read,
    page: include_str!("rate_limit.rs"),
};

const STATUS: Value = Value::Integer { min: 200, max: 599 };

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.rate_limit",
    doc: "Turn away what comes beyond a rate, with a true `retry-after`.",
    keys: &[
        Key::new("rate", Value::Rate, "How many get through in the long run.").required(),
        Key::new(
            "burst",
            Value::Integer { min: 1, max: 1_000_000_000 },
            "How many get through at once after a quiet time.",
        )
        .default("a second's worth"),
        Key::new("per", Value::Selector, "A bucket for each value of this.").default("one for all"),
        Key::new("status", STATUS, "What the others get.").default("429"),
    ],
    short: Some(Value::Rate),
};

#[derive(Debug)]
struct AsWritten {
    rate: Located<Rate>,
    burst: Option<Located<u64>>,
    per: Option<Located<String>>,
    status: Option<Located<u16>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    if !node.is_table() {
        let rate = node.rate(notes)?;
        return Some(Spec::new(AsWritten { rate, burst: None, per: None, status: None }));
    }
    let mut table = node.table(notes)?;
    let (rate, burst) = (table.rate("rate"), table.integer("burst"));
    let (per, status) = (table.text("per"), table.integer("status"));
    Some(Spec::new(AsWritten { rate: rate?, burst, per, status }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let mut notes = Diagnostics::new();
        let per = self.per.as_ref().and_then(|text| Selector::read(text, &mut notes));
        if !notes.is_empty() {
            return Err(notes);
        }
        let rate = self.rate.value;
        // Whole from 1 to 10¹²: fits.
        let second = rate.per_second().ceil().max(1.0) as u64;
        let burst = self.burst.as_ref().map_or(second, |burst| burst.value);
        let status = self.status.as_ref().and_then(|it| StatusCode::from_u16(it.value).ok());
        Ok(Box::new(Compiled {
            rate,
            pace: Pace { interval: rate.interval(), burst },
            per: per.map(Arc::new),
            status: status.unwrap_or(StatusCode::TOO_MANY_REQUESTS),
            buckets: Kept::default(),
        }))
    }
}

#[derive(Debug, PartialEq)]
struct Compiled {
    rate: Rate,
    pace: Pace,
    per: Option<Arc<Selector>>,
    status: StatusCode,
    buckets: Kept<Buckets>,
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, _dice: &mut Dice) -> Action {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Action::Limit(Limit {
            buckets: Arc::clone(self.buckets.get()),
            pace: self.pace,
            per: self.per.clone(),
            answer: Answer { status: self.status, grpc: None, headers, body },
        })
    }
    fn describe(&self) -> String {
        let per = self.per.as_ref().map(|per| format!(" for each {per}")).unwrap_or_default();
        format!("answers {} beyond {}{per}", self.status.as_u16(), self.rate)
    }
    fn tells_values_apart(&self) -> bool {
        self.per.is_some()
    }
    fn recall(&self, memory: &mut Memory) {
        self.buckets.recall(self.kind(), memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::action::seconds;
    use crate::fault::compile;
    use crate::scenario::tests::injected;
    use std::time::Duration;

    fn decided(written: &str) -> Limit {
        let fault = compile(&injected(&format!("rate_limit = {written}"))).unwrap();
        match fault.decide(&mut Dice::new(1, "a", 1, "test")) {
            Action::Limit(limit) => limit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rates_bursts_and_whose() {
        let limit = decided("\"50/s\"");
        assert_eq!(limit.pace, Pace { interval: Duration::from_millis(20), burst: 50 });
        assert_eq!((limit.answer.status.as_u16(), limit.per), (429, None));
        let limit = decided("{ rate = \"6/m\", burst = 3, status = 503, per = \"client-ip\" }");
        assert_eq!(limit.pace, Pace { interval: Duration::from_secs(10), burst: 3 });
        assert_eq!(limit.answer.status.as_u16(), 503);
        assert_eq!(limit.per, Some(Arc::new(Selector::ClientIp)));
        assert_eq!(decided("\"6/m\"").pace.burst, 1);
        assert!(compile(&injected("rate_limit = { rate = \"1/s\", per = \"nobody\" }")).is_err());
    }

    #[test]
    fn waits_are_told_in_whole_seconds_and_never_too_few() {
        for (millis, told) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (61_500, 62)] {
            assert_eq!(seconds(Duration::from_millis(millis)), told);
        }
    }

    /// The fault of a new plan goes on with the bucket of the one before.
    #[test]
    fn the_bucket_outlives_a_reload() {
        let mut memory = Memory::default();
        let taken = |burst: u32, memory: &mut Memory| {
            let written = format!("rate_limit = {{ rate = \"1/m\", burst = {burst} }}");
            let fault = compile(&injected(&written)).unwrap();
            fault.recall(memory);
            let Action::Limit(limit) = fault.decide(&mut Dice::new(1, "a", 1, "test")) else {
                panic!()
            };
            let take = || limit.buckets.take(limit.pace, None, Duration::from_secs(5));
            (0..10).filter(|_| take().is_ok()).count()
        };
        assert_eq!((taken(3, &mut memory), taken(4, &mut memory)), (3, 1));
    }
}
