//! Acting on what faults decided: waiting, answering in the service's place, cutting off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::body::{Payload, ResponseBody};
use super::conn::Conn;
use super::exchange::Exchange;
use super::headers;
use super::timer::Wake;
use super::worker::Worker;
use crate::drill::Stage;
use crate::drill::counters::Active;
use crate::drill::stage::Struck;
use crate::fault::{self, Abort, Action, Answer, When};
use crate::plan::FaultId;
use crate::sli::ledger::Skip;

/// Most of an upload that is read before an injected answer, so that the caller sees the answer
/// instead of a broken pipe.
const DRAINED_BYTES: usize = 1024 * 1024;
const DRAINED_FOR: Duration = Duration::from_secs(2);

/// How a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Elapsed,
    /// A halt, pause or finish let it go: on to the service as if no fault had hit it.
    Released,
    /// The caller left.
    Gone,
}

/// Everything the faults that struck one request ask for, put together: delays add, the first
/// answer or abort in file order wins.
#[derive(Debug, Default)]
pub struct Prescription {
    /// Before the upstream.
    pub delay: Duration,
    pub end: Option<Ending>,
    /// After the head of its answer.
    pub late: Vec<Late>,
    /// The faults that take effect, for `x-backburn-fault`.
    pub faults: Vec<FaultId>,
    /// Set when it keeps the request waiting.
    pub place: Option<Place>,
    /// Places under `max_active`, kept for as long as the faults act.
    pub active: Vec<Active>,
}

/// A wait of the answer; counted when it is known how long it has to be.
#[derive(Debug)]
pub struct Late {
    pub fault: FaultId,
    pub kind: usize,
    pub time: Duration,
    /// `time` runs from the request's arrival.
    pub floor: bool,
}

/// How a fault ends a request; `kind` is its [`crate::fault::place`].
#[derive(Debug)]
pub struct Ending {
    pub fault: FaultId,
    pub kind: usize,
    pub verb: Verb,
}

#[derive(Debug)]
pub enum Verb {
    Answer(Answer),
    Abort(Abort),
}

impl Prescription {
    /// Puts together what struck. Counts the delays and who was hit; an ending is counted when it
    /// is carried out, since the caller may leave or a halt may come while the request is held.
    pub fn of(
        struck: Vec<Struck>,
        place: Option<Place>,
        worker: &Worker,
        exchange: &Exchange,
    ) -> Self {
        let mut prescription = Self { place, ..Self::default() };
        let books = &exchange.stage.books;
        let route = exchange.outcome.route;
        for Struck { fault, actions, active, .. } in struck {
            prescription.active.extend(active);
            let mut effective = false;
            let kinds = &exchange.stage.fault(fault).kinds;
            for (kind, action) in kinds.iter().zip(actions) {
                let kind = fault::place(kind.kind());
                let verb = match action {
                    Action::Delay { time, when: When::Request } => {
                        prescription.delay = prescription.delay.saturating_add(time);
                        books.injected(worker.id, route, fault, kind);
                        effective = true;
                        continue;
                    }
                    Action::Delay { time, when } => {
                        let floor = when == When::Floor;
                        prescription.late.push(Late { fault, kind, time, floor });
                        effective = true;
                        continue;
                    }
                    Action::Respond(answer) => Verb::Answer(answer),
                    Action::Abort(abort) => Verb::Abort(abort),
                };
                // The first in file order wins.
                if prescription.end.is_none() {
                    prescription.end = Some(Ending { fault, kind, verb });
                    effective = true;
                }
            }
            if effective {
                books.hit(worker.id, route, fault);
                prescription.faults.push(fault);
            }
        }
        prescription
    }
}

/// A place among the held requests, up to `max_held` exactly.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Place {
    /// `None`: all are taken. The *fault* is skipped then, never the request.
    pub fn take(held: &Arc<AtomicUsize>, max_held: u32) -> Option<Self> {
        if held.fetch_add(1, Ordering::Relaxed) >= max_held as usize {
            held.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(Arc::clone(held)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Faults that were due and do not act.
pub fn skip(struck: &[Struck], worker: &Worker, exchange: &Exchange, reason: Skip) {
    for fault in struck {
        exchange.stage.books.skipped(worker.id, fault.fault, reason);
    }
}

/// Holds the request for `delay`, or until it is let go or its caller has left.
pub async fn hold(worker: &Worker, conn: &Conn, exchange: &mut Exchange, delay: Duration) -> Held {
    let now = crate::clock::now();
    exchange.hold(now);
    // Faults cap their delays; a deadline past the clock's end would be a bug, so it waits not at all.
    let deadline = now.checked_add(delay).unwrap_or(now);
    let wait = worker.timer.wait_until(deadline);
    let held = tokio::select! {
        biased;
        wake = wait => match wake {
            Wake::Elapsed => Held::Elapsed,
            Wake::Released => Held::Released,
        },
        () = conn.client_gone() => Held::Gone,
    };
    if held != Held::Gone {
        let actual = exchange.let_go(crate::clock::now());
        exchange.stage.books.delayed(worker.id, delay, actual);
    }
    held
}

/// Holds the answer, whose head is in, as `late` asks: delays add; the longest floor is what the
/// request takes in all at least.
pub async fn hold_answer(
    worker: &Worker,
    conn: &Conn,
    exchange: &mut Exchange,
    late: &[Late],
) -> Held {
    if late.is_empty() || worker.shared.stage.load().releasing {
        return Held::Released;
    }
    let passed = crate::clock::now().saturating_duration_since(exchange.arrived);
    let mut added = Duration::ZERO;
    let mut missing = Duration::ZERO;
    for wait in late {
        if wait.floor {
            missing = missing.max(wait.time.saturating_sub(passed));
        } else {
            added = added.saturating_add(wait.time);
        }
    }
    let asked = added.max(missing);
    if asked.is_zero() {
        return Held::Elapsed;
    }
    let due = late.iter().filter(|wait| !wait.floor || wait.time > passed);
    let stage = &exchange.stage;
    let Some(_place) = Place::take(&worker.shared.held, stage.plan.proxy.max_held) else {
        due.for_each(|wait| stage.books.skipped(worker.id, wait.fault, Skip::MaxHeld));
        return Held::Elapsed;
    };
    let route = exchange.outcome.route;
    due.for_each(|wait| stage.books.injected(worker.id, route, wait.fault, wait.kind));
    hold(worker, conn, exchange, asked).await
}

/// Reads the caller's body to its end, within bounds. True: all of it was read, so that the
/// connection can go on.
pub async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B, expects_continue: bool) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if expects_continue {
        // The caller waits for leave to send; an answer without it tells it not to.
        return false;
    }
    let all = async {
        let mut left = DRAINED_BYTES;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, Bytes::len);
            if length > left {
                return false;
            }
            left -= length;
        }
        true
    };
    tokio::time::timeout(DRAINED_FOR, all).await.unwrap_or(false)
}

/// An answer made here, with its exchange in its body.
pub fn answer(answer: Answer, exchange: Exchange, keep_alive: bool) -> Response<ResponseBody> {
    let bodiless = bodiless(&exchange.outcome.method, answer.status);
    let payload = if bodiless { Payload::Empty } else { Payload::Full(Some(answer.body)) };
    let mut response = Response::new(ResponseBody::new(payload, exchange, None, bodiless));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    let fields = response.headers_mut();
    if !bodiless && !fields.contains_key(header::CONTENT_TYPE) {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    if !keep_alive {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An answer by backburn itself: what went wrong, in words and in `x-backburn-error`.
pub fn own_answer(status: StatusCode, reason: &'static str) -> Answer {
    let mut fields = http::HeaderMap::new();
    fields.insert(headers::ERROR, HeaderValue::from_static(reason));
    Answer { status, headers: fields, body: Bytes::from(format!("backburn: {reason}\n")) }
}

/// HEAD, 204 and 304 have no body, whatever their headers say.
pub fn bodiless(method: &http::Method, status: StatusCode) -> bool {
    *method == http::Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// Names the faults that hit the request, unless they want to stay hidden.
pub fn mark(fields: &mut http::HeaderMap, stage: &Stage, faults: &[FaultId]) {
    for fault in faults {
        let fault = stage.fault(*fault);
        if fault.mark
            && let Ok(name) = HeaderValue::from_str(&fault.name)
        {
            fields.append(headers::FAULT, name);
        }
    }
}
