//! `saturate`: the service has only so much capacity.
//!
//! `inject.saturate = { concurrency = 4, queue = 50, service_time = { exponential = { mean = "20ms" }
//! } }` serves four at once, each for its service time and as long as the service itself takes; fifty
//! may wait, first come first served; the rest get a 503. So latency grows with load as queueing
//! theory says: at 140 requests a second (70 % of 4 / 20 ms) few wait, at 190 most do, and whoever
//! retries makes it worse. One pool per fault. Exact in count, in order of arrival.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::kept::{Kept, Memory};
use super::station::{Capacity, Pool};
use super::{Action, Answer, Fault, Kind, Serve, Spec, Written};
use crate::delay::{self, Delay, Draw};
use crate::diagnostic::{Diagnostics, Located};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new("saturate", Value::Table(&KEYS), "Give the service a bounded capacity."),
    read,
    page: include_str!("saturate.rs"),
};

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.saturate",
    doc: "Serve only so many at once; let some wait in line, and turn the rest away.",
    keys: &[
        Key::new(
            "concurrency",
            Value::Integer { min: 1, max: 1_000_000 },
            "How many are served at once.",
        )
        .required(),
        Key::new("queue", Value::Integer { min: 0, max: 1_000_000 }, "How many may wait.")
            .default("100"),
        Key::new("service_time", delay::VALUE, "How long each takes, besides the service itself."),
        Key::new("status", Value::Integer { min: 200, max: 599 }, "What the others get.")
            .default("503"),
    ],
    short: None,
};

#[derive(Debug)]
struct AsWritten {
    concurrency: Located<u32>,
    queue: Option<Located<u32>>,
    service_time: Option<Delay>,
    status: Option<Located<u16>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    let mut table = node.table(notes)?;
    let (concurrency, queue) = (table.integer("concurrency"), table.integer("queue"));
    let (status, time) = (table.integer("status"), table.node("service_time"));
    let service_time = match time {
        Some(node) => Some(Delay::read(&node, notes)?),
        None => None,
    };
    Some(Spec::new(AsWritten { concurrency: concurrency?, queue, service_time, status }))
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let service_time = match &self.service_time {
            Some(time) => Some(time.compile(None).map_err(|mut notes| {
                // A delay of its own has a `cap` to raise.
                for note in notes.iter_mut().filter(|note| note.hint.is_some()) {
                    note.hint = Some("a service time is at most 1m".to_owned());
                }
                notes
            })?),
            None => None,
        };
        let status = self.status.as_ref().and_then(|it| StatusCode::from_u16(it.value).ok());
        let capacity = Capacity {
            slots: self.concurrency.value,
            line: self.queue.as_ref().map_or(100, |queue| queue.value),
        };
        Ok(Box::new(Compiled {
            capacity,
            service_time,
            status: status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            pool: Kept::default(),
        }))
    }
}

#[derive(Debug, PartialEq)]
struct Compiled {
    capacity: Capacity,
    service_time: Option<Draw>,
    status: StatusCode,
    pool: Kept<Pool>,
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, dice: &mut Dice) -> Action {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Action::Serve(Serve {
            pool: Arc::clone(self.pool.get()),
            capacity: self.capacity,
            time: self.service_time.as_ref().map(|time| time.sample(dice)).unwrap_or_default(),
            answer: Answer { status: self.status, grpc: None, headers, body },
        })
    }
    fn describe(&self) -> String {
        let Capacity { slots, line } = self.capacity;
        let time = self.service_time.as_ref().map(|time| format!(" for {time} more"));
        format!(
            "serves {slots} at once{}, lets {line} wait, answers {} beyond",
            time.unwrap_or_default(),
            self.status.as_u16()
        )
    }
    fn recall(&self, memory: &mut Memory) {
        self.pool.recall(self.kind(), memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::compile;
    use crate::scenario::tests::injected;
    use std::time::Duration;

    #[test]
    fn capacity_and_service_time() {
        let decided = |written: &str| {
            let fault = compile(&injected(&format!("saturate = {written}"))).unwrap();
            match fault.decide(&mut Dice::new(1, "a", 1, "test")) {
                Action::Serve(serve) => (serve.capacity, serve.time, serve.answer.status.as_u16()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            decided("{ concurrency = 4, queue = 0, service_time = \"20ms\", status = 429 }"),
            (Capacity { slots: 4, line: 0 }, Duration::from_millis(20), 429)
        );
        assert_eq!(
            decided("{ concurrency = 1 }"),
            (Capacity { slots: 1, line: 100 }, Duration::ZERO, 503)
        );
        let none = injected("saturate = { concurrency = 1, service_time = \"0s\" }");
        assert!(compile(&none).is_err());
    }
}
