//! Carrying a prescription out, in the order of the request's life: [`inject`] before the upstream,
//! [`changed_upload`] towards it, [`after_head`] when it has answered, [`respond`] on the way back.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use super::act::{self, Held, Place};
use super::body::{Payload, RequestBody, ResponseBody};
use super::conn::Conn;
use super::content::{self, Coming};
use super::cut::Carried;
use super::exchange::Exchange;
use super::headers::{self, Glance};
use super::inflow::Upload;
use super::prescription::{Deed, Ending, Gate, Prescription, Verb};
use super::shape::Shaper;
use super::upstream::Lease;
use super::worker::Worker;
use crate::fault::{Abort, Answer, How, Serve, grpc};
use crate::plan::FaultId;
use crate::sli::ledger::Skip;
use crate::sli::{Hit, Origin};
use crate::units::LONGEST;

/// The exchange ends without an answer (or has lost its client): the connection is closed, or on
/// HTTP/2 the stream is reset with this code.
#[derive(Debug)]
pub struct Severed {
    pub code: u32,
}

/// HTTP/2's CANCEL: nobody waits for it any more.
pub const GONE: Severed = Severed { code: 8 };

impl std::fmt::Display for Severed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "severed (code {})", self.code)
    }
}

impl std::error::Error for Severed {}

/// What has to be known of who asked until the end.
#[derive(Debug)]
pub struct Caller {
    pub conn: Rc<Conn>,
    version: Version,
    expects_continue: bool,
    /// It asks for nothing more on its connection.
    is_last: bool,
    /// The content type of a gRPC request.
    grpc: Option<HeaderValue>,
}

impl Caller {
    pub fn of(conn: Rc<Conn>, head: &http::request::Parts, seen: Glance) -> Self {
        Self {
            conn,
            version: head.version,
            expects_continue: seen.has(Glance::EXPECT),
            is_last: headers::is_last(head, seen),
            grpc: grpc::content_type(&head.headers).cloned(),
        }
    }

    /// The connection ends behind an answer of this length.
    fn ends_with(&self, length: Option<u64>) -> bool {
        self.is_last || length.is_none() && self.version == Version::HTTP_10
    }

    /// Other requests share the connection: only this one's stream may be ended.
    fn is_multiplexed(&self) -> bool {
        self.version == Version::HTTP_2
    }
}

/// A fault's answer.
#[derive(Debug)]
pub struct Reply {
    fault: FaultId,
    answer: Answer,
    /// The caller's body is out of the connection's way.
    keep_alive: bool,
}

/// What became of a request.
#[derive(Debug)]
pub enum Injected {
    /// It goes on (after a wait, perhaps).
    Passed,
    Answered(Reply),
    /// Aborted.
    Ended(Severed),
    Gone,
}

/// Carries out what comes before the upstream.
pub async fn inject(
    worker: &Worker,
    caller: &Caller,
    exchange: &mut Exchange,
    faults: &mut Prescription,
    body: &mut Option<Incoming>,
) -> Injected {
    if !faults.faults.is_empty() {
        exchange.outcome.hit = Hit::Yes;
    }
    let place = faults.place.take();
    if faults.delay > Duration::ZERO {
        match act::hold(worker, &caller.conn, exchange, faults.delay).await {
            // Halted while it waited: nothing more is done to it.
            Held::Elapsed if worker.shared.stage.load().releasing => faults.spare(),
            Held::Elapsed => {}
            Held::Released => faults.spare(),
            Held::Gone => return Injected::Gone,
        }
    }
    for (deed, gate) in std::mem::take(&mut faults.gates) {
        let turned_away = match gate {
            Gate::Limit { limit, value } => {
                let now = crate::clock::now().saturating_duration_since(worker.shared.epoch);
                match limit.buckets.take(limit.pace, value, now) {
                    Ok(()) => continue,
                    Err(wait) => limit.turned_away(wait),
                }
            }
            Gate::Serve(serve) => match in_line(worker, caller, exchange, &serve).await {
                Stood::Served => {
                    exchange.injected(deed);
                    continue;
                }
                Stood::Full => serve.answer,
                Stood::Released => {
                    exchange.slots.clear();
                    faults.spare();
                    return Injected::Passed;
                }
                Stood::Gone => return Injected::Gone,
            },
        };
        exchange.injected(deed);
        exchange.outcome.hit = Hit::Yes;
        faults.took_effect(deed.fault, exchange);
        drop(place);
        return answered(caller, deed, turned_away, body).await;
    }
    let Some(Ending { deed, verb }) = faults.end.take_if(|end| end.is_early()) else {
        return Injected::Passed;
    };
    exchange.injected(deed);
    match verb {
        Verb::Answer { answer, .. } => {
            drop(place);
            answered(caller, deed, answer, body).await
        }
        Verb::Abort(abort) => {
            if let How::Hang { cap } = abort.how {
                match act::hold(worker, &caller.conn, exchange, cap).await {
                    Held::Elapsed => {}
                    Held::Released => {
                        faults.spare();
                        return Injected::Passed;
                    }
                    Held::Gone => return Injected::Gone,
                }
            }
            // With unread bytes the kernel would send RST where FIN was asked for.
            if abort.how != How::Reset
                && let Some(body) = body.take()
            {
                act::drain(body, caller.expects_continue).await;
            }
            ended(caller, exchange, deed, abort)
        }
    }
}

/// A fault's answer, when the caller's body is out of its way.
async fn answered(
    caller: &Caller,
    deed: Deed,
    answer: Answer,
    body: &mut Option<Incoming>,
) -> Injected {
    let keep_alive = match body.take() {
        Some(body) => act::drain(body, caller.expects_continue).await,
        None => true,
    };
    Injected::Answered(Reply { fault: deed.fault, answer, keep_alive })
}

/// What became of a request in line.
enum Stood {
    Served,
    Full,
    Released,
    Gone,
}

/// Waits for a slot, which the exchange then keeps to its end, and for the service time.
async fn in_line(
    worker: &Worker,
    caller: &Caller,
    exchange: &mut Exchange,
    serve: &Serve,
) -> Stood {
    let Some(turn) = serve.pool.arrive(serve.capacity) else { return Stood::Full };
    let now = crate::clock::now();
    exchange.hold(now);
    // The line moves, or the caller goes; there is no other end to it.
    let never = now.checked_add(LONGEST).unwrap_or(now);
    let slot = tokio::select! {
        biased;
        slot = turn => slot,
        held = act::silence(worker, &caller.conn, never) => match held {
            Held::Released => {
                exchange.let_go(crate::clock::now());
                return Stood::Released;
            }
            Held::Gone => return Stood::Gone,
            Held::Elapsed => return Stood::Full,
        },
    };
    exchange.let_go(crate::clock::now());
    exchange.slots.push(slot);
    if serve.time.is_zero() {
        return Stood::Served;
    }
    match act::hold(worker, &caller.conn, exchange, serve.time).await {
        Held::Elapsed => Stood::Served,
        Held::Released => Stood::Released,
        Held::Gone => Stood::Gone,
    }
}

/// Carries out what comes when the service has answered, with `status`.
pub async fn after_head(
    worker: &Worker,
    caller: &Caller,
    exchange: &mut Exchange,
    faults: &mut Prescription,
    status: StatusCode,
) -> Injected {
    match act::hold_answer(worker, &caller.conn, exchange, &faults.late).await {
        Held::Elapsed => {}
        Held::Released => faults.spare(),
        Held::Gone => return Injected::Gone,
    }
    let Some(Ending { deed, verb }) = faults.end.take() else { return Injected::Passed };
    let abort = match verb {
        Verb::Answer { answer, .. } => {
            exchange.injected(deed);
            exchange.outcome.served = Some(status.as_u16());
            return Injected::Answered(Reply { fault: deed.fault, answer, keep_alive: true });
        }
        Verb::Abort(abort) => abort,
    };
    if let How::Hang { cap } = abort.how {
        let max_held = exchange.stage.plan.proxy.max_held;
        let Some(_place) = Place::take(&worker.shared.held, max_held) else {
            exchange.stage.books.skipped(worker.id, deed.fault, Skip::MaxHeld);
            return Injected::Passed;
        };
        exchange.injected(deed);
        match act::hold(worker, &caller.conn, exchange, cap).await {
            Held::Elapsed => {}
            Held::Released => {
                faults.spare();
                return Injected::Passed;
            }
            Held::Gone => return Injected::Gone,
        }
    } else {
        exchange.injected(deed);
    }
    exchange.outcome.served = Some(status.as_u16());
    ended(caller, exchange, deed, abort)
}

fn ended(caller: &Caller, exchange: &mut Exchange, deed: Deed, abort: Abort) -> Injected {
    if !caller.is_multiplexed() {
        caller.conn.close_with(abort.how);
    }
    exchange.outcome.origin = Origin::Fault(deed.fault);
    Injected::Ended(Severed { code: abort.codes.reset })
}

/// The caller's body on its way.
pub fn upload(
    exchange: &mut Exchange,
    (payload, upload): (Payload, Option<Rc<Upload>>),
    shaper: Option<Box<Shaper>>,
) -> RequestBody {
    if payload.is_end() {
        return RequestBody::new(Payload::Empty, None, None);
    }
    exchange.upload.clone_from(&upload);
    RequestBody::new(payload, upload, shaper)
}

/// The same, the message changed as faults ask.
pub async fn changed_upload(
    worker: &Rc<Worker>,
    caller: &Caller,
    exchange: &mut Exchange,
    faults: &mut Prescription,
    fields: &mut HeaderMap,
    (mut payload, watched): (Payload, Option<Rc<Upload>>),
) -> RequestBody {
    if faults.upload.edit(exchange, fields) {
        exchange.outcome.hit = Hit::Altered;
    }
    if payload.is_end() {
        return upload(exchange, (payload, watched), None);
    }
    if let Some(bytes) = faults.upload.replacement(exchange) {
        exchange.outcome.hit = Hit::Altered;
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        if let Payload::Stream(body) = std::mem::replace(&mut payload, Payload::Full(Some(bytes))) {
            // The service has its request, whenever the caller is done.
            if !act::drain(body, caller.expects_continue).await {
                caller.conn.linger_on_close();
            }
        }
    }
    let length = payload.size_hint().exact();
    let shaper = Shaper::new(worker, exchange, &faults.upload, Carried::Body { length });
    upload(exchange, (payload, watched), shaper)
}

/// The answer on its way, its body changed as faults ask; the guard travels in it.
pub fn respond(
    worker: &Rc<Worker>,
    caller: &Caller,
    mut exchange: Box<Exchange>,
    faults: Option<Box<Prescription>>,
    mut head: http::response::Parts,
    source: (Payload, Option<Lease>),
) -> Response<ResponseBody> {
    let (mut payload, mut lease) = source;
    let bodiless = act::bodiless(&exchange.outcome.method, head.status);
    let (mut shaper, mut replaced) = (None, false);
    let (edited, mut damaged) = (faults.is_some(), false);
    if let Some(mut faults) = faults
        && !bodiless
        && !faults.download.shapes.is_empty()
    {
        if let Some(bytes) = faults.download.replacement(&exchange) {
            replaced = true;
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            let own = std::mem::replace(&mut payload, Payload::Full(Some(bytes)));
            let aside = content::aside(&mut exchange, false, own.size_hint().exact());
            act::discard(own, lease.take(), aside);
        }
        let length = payload.size_hint().exact();
        if length.is_none() && caller.version < Version::HTTP_11 {
            faults.end_visibly();
        }
        damaged = faults.download.damages();
        shaper = Shaper::new(worker, &exchange, &faults.download, Carried::Body { length });
        exchange.active = std::mem::take(&mut faults.active);
    }
    let length = payload.size_hint().exact();
    if caller.ends_with(if bodiless { Some(0) } else { length }) {
        caller.conn.is_last();
    }
    if exchange.is_checked() {
        let coming = Coming { bodiless, length, edited, damaged };
        let own = content::sent(&mut exchange, head.status, &head.headers, coming);
        if let Some(shaper) = &mut shaper {
            shaper.own = own;
        }
    }
    let body = ResponseBody::new(payload, exchange, Rc::clone(&caller.conn))
        .multiplexed(caller.is_multiplexed())
        .from(lease)
        .shaped(shaper, replaced)
        .ready(bodiless);
    Response::from_parts(head, body)
}

/// A fault's answer; a gRPC caller gets it as an answer of trailers only.
pub fn answer_of_fault(
    worker: &Rc<Worker>,
    caller: &Caller,
    mut exchange: Box<Exchange>,
    faults: Option<Box<Prescription>>,
    reply: Reply,
) -> Response<ResponseBody> {
    let Reply { fault, mut answer, keep_alive } = reply;
    if !keep_alive {
        caller.conn.linger_on_close();
    }
    if let (Some(status), Some(content_type)) = (answer.grpc, &caller.grpc) {
        status.trailers_only(&answer.body, content_type, &mut answer.headers);
        (answer.status, answer.body) = (StatusCode::OK, Bytes::new());
        exchange.outcome.grpc = Some(status.number());
    }
    if let Some(faults) = &faults {
        faults.download.edit(&exchange, &mut answer.headers);
        act::mark(&mut answer.headers, &exchange.stage, &faults.faults);
    }
    exchange.answered(answer.status.as_u16(), Origin::Fault(fault), crate::clock::now());
    let bodiless = act::bodiless(&exchange.outcome.method, answer.status);
    let (head, payload) = act::head(answer, bodiless, keep_alive);
    respond(worker, caller, exchange, faults, head, (payload, None))
}
