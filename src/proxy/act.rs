//! Acting on what faults decided: waiting, answering in the service's place, cutting off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, response};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::body::Payload;
use super::conn::Conn;
use super::content::Aside;
use super::exchange::Exchange;
use super::headers;
use super::prescription::Late;
use super::timer::Wake;
use super::upstream::Lease;
use super::worker::Worker;
use crate::drill::Stage;
use crate::drill::stage::Struck;
use crate::fault::Answer;
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
    let held = silence(worker, conn, now.checked_add(delay).unwrap_or(now)).await;
    if held != Held::Gone {
        let actual = exchange.let_go(crate::clock::now());
        // What was let go before its time was not carried out.
        if held == Held::Elapsed {
            exchange.stage.books.delayed(worker.id, delay, actual);
        }
    }
    held
}

/// Says nothing until `deadline`, or until injection ends or the caller has left.
pub async fn silence(worker: &Worker, conn: &Conn, deadline: Instant) -> Held {
    // The order to let go what waits has come before this wait, and does not come again.
    if worker.shared.stage.load().releasing {
        return Held::Released;
    }
    let wait = worker.timer.wait_until(deadline);
    tokio::select! {
        biased;
        wake = wait => match wake {
            // Halted, but its time was up before its turn to be let go came.
            Wake::Elapsed if worker.shared.stage.load().releasing => Held::Released,
            Wake::Elapsed => Held::Elapsed,
            Wake::Released => Held::Released,
        },
        () = conn.client_gone() => Held::Gone,
    }
}

/// Holds the answer, whose head is in, as `late` asks: delays add; the longest floor is what the
/// request takes in all at least.
pub async fn hold_answer(
    worker: &Worker,
    conn: &Conn,
    exchange: &mut Exchange,
    late: &[Late],
) -> Held {
    if worker.shared.stage.load().releasing {
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
        due.for_each(|wait| stage.books.skipped(worker.id, wait.deed.fault, Skip::MaxHeld));
        return Held::Elapsed;
    };
    due.for_each(|wait| exchange.injected(wait.deed));
    hold(worker, conn, exchange, asked).await
}

/// Reads the caller's body to its end, within bounds. True: all of it was read, so that the
/// connection can go on.
pub async fn drain<B: Body<Data = Bytes> + Unpin>(body: B, expects_continue: bool) -> bool {
    read(body, expects_continue, |_| ()).await
}

/// The same; `saw` is given each piece.
async fn read<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    expects_continue: bool,
    mut saw: impl FnMut(&[u8]),
) -> bool {
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
            let data = frame.data_ref().map_or(&[][..], |data| data);
            saw(data);
            let length = data.len();
            if length > left {
                return false;
            }
            left -= length;
        }
        true
    };
    tokio::time::timeout(DRAINED_FOR, all).await.unwrap_or(false)
}

/// Reads an answer that nobody will see to its end, within the same bounds, so that the service
/// can say it all and its connection can go on. `aside`: who asks what it says.
pub fn discard(payload: Payload, lease: Option<Lease>, mut aside: Option<Aside>) {
    if let Payload::Stream(body) = payload {
        tokio::task::spawn_local(async move {
            let saw = |data: &[u8]| {
                if let Some(aside) = &mut aside {
                    aside.saw(data);
                }
            };
            let whole = read(body, false, saw).await;
            if let Some(aside) = aside {
                aside.over(whole);
            }
            if whole && let Some(lease) = lease {
                lease.give_back();
            }
        });
    }
}

/// The head of an answer made here, and its body.
pub fn head(answer: Answer, bodiless: bool, keep_alive: bool) -> (response::Parts, Payload) {
    let payload = if bodiless { Payload::Empty } else { Payload::Full(Some(answer.body)) };
    let (mut head, ()) = Response::new(()).into_parts();
    (head.status, head.headers) = (answer.status, answer.headers);
    if !bodiless && !head.headers.contains_key(header::CONTENT_TYPE) {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        head.headers.insert(header::CONTENT_TYPE, text);
    }
    if !keep_alive {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    (head, payload)
}

/// An answer by backburn itself: what went wrong, in words and in `x-backburn-error`.
pub fn own_answer(status: StatusCode, reason: &'static str) -> Answer {
    let mut fields = http::HeaderMap::new();
    fields.insert(headers::ERROR, HeaderValue::from_static(reason));
    Answer {
        status,
        grpc: None,
        headers: fields,
        body: Bytes::from(format!("backburn: {reason}\n")),
    }
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
