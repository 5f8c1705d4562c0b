//! Answers of backburn's own: to what it refuses, and for a service that gave none.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::act;
use super::body::ResponseBody;
use super::conn::Conn;
use super::connect::Trouble;
use super::exchange::Exchange;
use super::prescription::Prescription;
use super::treatment::Caller;
use crate::fault::Answer;
use crate::sli::{End, Origin};

/// Refused before routing: not an SLI event; the connection is closed, since the rest of it cannot
/// be trusted.
pub fn refusal(status: StatusCode, reason: &'static str, conn: Rc<Conn>) -> Response<ResponseBody> {
    conn.linger_on_close();
    let (head, payload) = act::head(act::own_answer(status, reason), false, false);
    Response::from_parts(head, ResponseBody::unrecorded(payload, conn))
}

/// `OPTIONS *`: the proxy itself is asked, and can do what HTTP can.
pub fn for_us(keep_alive: bool, conn: Rc<Conn>) -> Response<ResponseBody> {
    if !keep_alive {
        conn.linger_on_close();
    }
    let (status, headers, body) = (StatusCode::NO_CONTENT, HeaderMap::new(), Bytes::new());
    let answer = Answer { status, grpc: None, headers, body };
    let (head, payload) = act::head(answer, true, keep_alive);
    Response::from_parts(head, ResponseBody::unrecorded(payload, conn))
}

/// The caller's own body was no body, or stopped coming.
pub fn broken_by_caller(
    mut exchange: Box<Exchange>,
    caller: &Caller,
    reason: &'static str,
) -> Response<ResponseBody> {
    let status = match reason {
        "body_stall" => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    };
    exchange.refused(reason);
    exchange.answered(status.as_u16(), Origin::Refused(reason), crate::clock::now());
    exchange.finish(End::BadRequestBody);
    own_answer(act::own_answer(status, reason), exchange, caller)
}

/// No answer from the service: its own failure, unless it was ours.
pub fn unanswered(
    mut exchange: Box<Exchange>,
    caller: &Caller,
    trouble: &Trouble,
    faults: Option<&Prescription>,
) -> Response<ResponseBody> {
    let label = trouble.label();
    let status = match trouble {
        Trouble::ConnectTimeout | Trouble::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        Trouble::Itself => StatusCode::LOOP_DETECTED,
        Trouble::Exhausted => {
            exchange.refused(label);
            let status = StatusCode::SERVICE_UNAVAILABLE;
            exchange.answered(status.as_u16(), Origin::Refused(label), crate::clock::now());
            return own_answer(act::own_answer(status, label), exchange, caller);
        }
        _ => StatusCode::BAD_GATEWAY,
    };
    unreachable(exchange, caller, status, label, faults)
}

/// The service could not be reached, or broke off before a usable head: its own failure.
pub fn unreachable(
    mut exchange: Box<Exchange>,
    caller: &Caller,
    status: StatusCode,
    label: &'static str,
    faults: Option<&Prescription>,
) -> Response<ResponseBody> {
    let mut answer = act::own_answer(status, label);
    if let Some(faults) = faults {
        act::mark(&mut answer.headers, &exchange.stage, &faults.faults);
    }
    exchange.answered(status.as_u16(), Origin::Unreachable(label), crate::clock::now());
    own_answer(answer, exchange, caller)
}

/// An answer of backburn's own. The caller's body may be unread, so the connection ends with it.
fn own_answer(answer: Answer, exchange: Box<Exchange>, caller: &Caller) -> Response<ResponseBody> {
    caller.conn.linger_on_close();
    let bodiless = act::bodiless(&exchange.outcome.method, answer.status);
    let (head, payload) = act::head(answer, bodiless, false);
    let body = ResponseBody::new(payload, exchange, Rc::clone(&caller.conn)).ready(bodiless);
    Response::from_parts(head, body)
}
