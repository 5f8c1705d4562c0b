//! A record as a line of JSON.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::Record;
use crate::plan::Sli;
use crate::sli::{End, Event, Origin, judge};

/// Tells wall-clock times from monotonic ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
}

impl Clocks {
    /// As RFC 3339 has it, to the microsecond.
    fn time(&self, at: Instant) -> String {
        let since = at.saturating_duration_since(self.at);
        jiff::Timestamp::try_from(self.wall + since)
            .map(|when| format!("{when:.6}"))
            .unwrap_or_default()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A draw in billionths as a number below 1.
fn drawn(billionths: u32) -> Value {
    json!(f64::from(billionths) / 1e9)
}

pub(super) fn line(record: &Record, clocks: Clocks) -> Value {
    let Record { stage, arrived, outcome, trace, weight } = record;
    let plan = &stage.plan;
    let route = &plan.routes[outcome.route as usize];
    let name = |fault| &*stage.fault(fault).name;
    let mut told = Map::new();
    let mut tell = |key: &str, value: Value| {
        told.insert(key.to_owned(), value);
    };
    tell("at", json!(clocks.time(*arrived)));
    tell("phase", json!(&*crate::drill::stage::booked(plan, stage.position)));
    tell("service", json!(&*plan.services[usize::from(route.service)].name));
    tell("route", json!(&*route.name));
    tell("method", json!(outcome.method.as_str()));
    // Not the query: what is secret in a request is often there.
    tell("path", json!(trace.target.path()));
    tell("status", json!((outcome.status != 0).then_some(outcome.status)));
    if let Some(grpc) = outcome.grpc {
        tell("grpc_status", json!(grpc));
    }
    tell("end", json!(end(outcome.end)));
    let origin = match outcome.origin {
        Origin::Service => "service",
        Origin::Fault(_) => "fault",
        Origin::Unreachable(label) | Origin::Refused(label) => label,
    };
    tell("origin", json!(origin));
    tell("total_us", json!(micros(outcome.total)));
    tell("first_byte_us", json!(outcome.first_byte.map(micros)));
    tell("held_us", json!(micros(outcome.added)));
    let slos = route.slos.iter().map(|id| {
        let slo = &plan.slos[usize::from(*id)];
        let event = match judge(slo, outcome) {
            Event::Good => "good",
            Event::Bad(cause) => cause.label(),
            Event::Excluded(reason) => reason.label(),
        };
        (slo.name.to_string(), json!(event))
    });
    tell("slos", Value::Object(slos.collect()));
    let failed = failed(record);
    if !failed.is_empty() {
        tell("failed", Value::Object(failed));
    }
    let draws = trace.draws.iter().map(|draw| {
        let fault = stage.fault(draw.fault);
        let mut told = json!({ "fault": &*fault.name, "n": draw.n, "hit": draw.hit });
        if let Some(billionths) = draw.drawn {
            told["drawn"] = drawn(billionths);
        }
        if fault.stream != fault.name {
            told["group"] = json!(&*fault.stream);
        }
        let asks = trace.asked.iter().filter(|asked| asked.fault == draw.fault);
        let asks: Vec<Value> = asks
            .map(|asked| match asked.delay {
                Some(delay) => json!({ "kind": asked.kind, "delay_us": micros(delay) }),
                None => json!({ "kind": asked.kind }),
            })
            .collect();
        if !asks.is_empty() {
            told["asks"] = Value::Array(asks);
        }
        told
    });
    tell("draws", draws.collect());
    tell("faults", trace.applied.borrow().iter().map(|fault| json!(name(*fault))).collect());
    tell("weight", json!(weight));
    Value::Object(told)
}

/// What of an answer is not as its correctness SLOs ask, by the keys that ask for it; nothing of
/// what the answer said.
fn failed(record: &Record) -> Map<String, Value> {
    let Record { stage, outcome, trace, .. } = record;
    let mut told = Map::new();
    if trace.failed.is_empty() {
        return told;
    }
    let plan = &stage.plan;
    for id in &plan.routes[outcome.route as usize].slos {
        let slo = &plan.slos[usize::from(*id)];
        if let Sli::Correctness(check) = &slo.sli
            && matches!(judge(slo, outcome), Event::Bad(_))
        {
            let here = trace.failed.iter().filter(|(place, _)| *place == check.place);
            told.insert(slo.name.to_string(), here.map(|(_, it)| check.describe(*it)).collect());
        }
    }
    told
}

fn end(end: End) -> &'static str {
    match end {
        End::Complete => "complete",
        End::Abandoned { while_held: true } => "client_gone_while_held",
        End::Abandoned { while_held: false } => "client_gone",
        End::Cut => "cut_by_service",
        End::Destroyed => "destroyed_by_fault",
        End::BadRequestBody => "bad_request_body",
        End::Refused(reason) => reason,
        End::Unfinished => "unfinished",
    }
}
