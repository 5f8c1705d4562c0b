//! The life of a request, top to bottom:
//! admit → route → decide → before the upstream → upstream → after its head → body and end.

use std::rc::Rc;

use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body, Incoming};

use super::OwnPort;
use super::act::{self, Place};
use super::body::{Payload, ResponseBody};
use super::conn::Conn;
use super::copies::Copies;
use super::exchange::Exchange;
use super::headers::{self, Refusal};
use super::prescription::Prescription;
use super::treatment::{
    Caller, GONE, Injected, Severed, after_head, answer_of_fault, changed_upload, inject, respond,
    upload,
};
use super::upstream::{Trouble, Unanswered};
use super::worker::Worker;
use crate::fault::{Answer, At, How};
use crate::plan::{Asked, HostHeader, Plan, RouteId, ServiceId};
use crate::sli::ledger::Skip;
use crate::sli::{End, Origin};

/// It came in by the own port of a service that a reload has taken out.
const SERVICE_REMOVED: Refusal =
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, reason: "service_removed" };

pub async fn handle(
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    port: Option<OwnPort>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Severed> {
    let arrived = crate::clock::now();
    conn.begin();
    // One stage for the request's whole life: a reload or a halt swaps it for those that follow.
    let stage = worker.stage();
    let plan = &*stage.plan;
    let (mut head, body) = request.into_parts();

    let refuse = |Refusal { status, reason }| {
        stage.books.refused(worker.id, reason);
        Ok(refusal(status, reason, Rc::clone(&conn)))
    };
    let host = match headers::admit(&head) {
        Ok(host) => host,
        Err(refused) => return refuse(refused),
    };
    let only = port.and_then(|port| stage.own_port(port));
    if port.is_some() && only.is_none() {
        return refuse(SERVICE_REMOVED);
    }
    let asked = Asked {
        only,
        method: &head.method,
        host,
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
        client: conn.peer.map(|peer| peer.ip()),
    };
    let route = route(plan, &asked);
    let operation = plan.routes[route as usize].operation.as_ref();
    let operation = operation.and_then(|operation| operation.key(&asked));
    let service_id = plan.routes[route as usize].service;
    let service = &plan.services[usize::from(service_id)];
    let method = head.method.clone();
    let mut exchange =
        Exchange::begin(Rc::clone(&worker), Rc::clone(&stage), arrived, method, route, operation);
    let caller = Caller::of(Rc::clone(&conn), &head);

    // Before the upstream: what the faults of this route decided.
    let mut faults = decide(&worker, &exchange, service_id, &asked);
    let mut body = Some(body);
    if let Some(struck) = &mut faults {
        match inject(&worker, &caller, &mut exchange, struck, &mut body).await {
            Injected::Passed => {}
            Injected::Ended(severed) => {
                exchange.finish(End::Complete);
                return Err(severed);
            }
            Injected::Gone => return Err(GONE),
            Injected::Answered(reply) => {
                return Ok(answer_of_fault(&worker, &caller, exchange, faults, reply));
            }
        }
    }

    // Upstream.
    let Some(body) = body else { return Err(GONE) };
    let host = (service.host_header == HostHeader::Upstream).then_some(service.authority.as_str());
    headers::towards_upstream(&mut head.headers, host);
    let mut body = match &mut faults {
        None => upload(&mut exchange, Payload::Stream(body), None),
        Some(faults) => {
            changed_upload(&worker, &caller, &mut exchange, faults, &mut head.headers, body).await
        }
    };
    if !body.is_end_stream() && !head.headers.contains_key(header::CONTENT_LENGTH) {
        // Said outright: for GET and HEAD hyper would otherwise send no body at all.
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    head.uri = origin_form(head.uri);
    head.version = Version::HTTP_11;
    if let Some(faults) = &mut faults
        && !faults.copies.is_empty()
    {
        let copies = std::mem::take(&mut faults.copies);
        body.copied(Copies::new(&exchange, service_id, copies, &head));
    }
    let sending = worker.pool.send(service_id, service, Request::from_parts(head, body));
    let sent = tokio::select! {
        biased;
        sent = sending => sent,
        // Recorded as abandoned by the guard.
        () = caller.conn.client_gone() => return Err(GONE),
    };
    let (response, lease) = match sent {
        Ok(answered) => answered,
        Err(_) if exchange.broken_by_caller() => {
            let answer = act::own_answer(StatusCode::BAD_REQUEST, "bad_request_body");
            exchange.answered(
                answer.status.as_u16(),
                Origin::Refused("bad_request_body"),
                crate::clock::now(),
            );
            exchange.finish(End::BadRequestBody);
            return Ok(own_answer(answer, exchange, &caller));
        }
        Err(Unanswered { trouble, unsent }) => {
            // So that a caller that is still sending sees the answer.
            if let Some(unsent) = unsent {
                act::drain(unsent.into_body(), false).await;
            }
            let status = match trouble {
                Trouble::ConnectTimeout => StatusCode::GATEWAY_TIMEOUT,
                Trouble::Connect(_) | Trouble::Exchange(_) => StatusCode::BAD_GATEWAY,
            };
            return Ok(unreachable(exchange, &caller, status, trouble.label(), faults.as_deref()));
        }
    };

    // After its head.
    let (mut head, body) = response.into_parts();
    if head.status.is_informational() {
        // Nobody asked for an upgrade: `Upgrade` was not passed on.
        let (status, label) = (StatusCode::BAD_GATEWAY, "unsolicited_upgrade");
        return Ok(unreachable(exchange, &caller, status, label, faults.as_deref()));
    }
    if lease.reached_never(&plan.safety) {
        stage.mark_never(service_id);
    }
    if let Some(struck) = &mut faults {
        match after_head(&worker, &caller, &mut exchange, struck, head.status).await {
            Injected::Passed => {}
            Injected::Ended(severed) => {
                exchange.finish(End::Complete);
                return Err(severed);
            }
            Injected::Gone => return Err(GONE),
            Injected::Answered(reply) => {
                act::discard(Payload::Stream(body), Some(lease));
                return Ok(answer_of_fault(&worker, &caller, exchange, faults, reply));
            }
        }
    }
    headers::strip_hop_by_hop(&mut head.headers);
    head.version = Version::HTTP_11;
    if let Some(faults) = &faults {
        faults.download.edit(&exchange, &mut head.headers);
        act::mark(&mut head.headers, &stage, &faults.faults);
    }
    exchange.answered(head.status.as_u16(), Origin::Service, crate::clock::now());

    // Body and end: the guard travels in the body.
    Ok(respond(&worker, &caller, exchange, faults, head, (Payload::Stream(body), Some(lease))))
}

/// The most specific route, or the `unmatched` one of the service the request goes to.
fn route(plan: &Plan, asked: &Asked<'_>) -> RouteId {
    plan.matcher.find(asked).unwrap_or_else(|| {
        let service = asked.only.unwrap_or_else(|| plan.default_service());
        plan.services[usize::from(service)].unmatched
    })
}

/// Lets the route's faults decide; `None`: none hits this request.
fn decide(
    worker: &Worker,
    exchange: &Exchange,
    service: ServiceId,
    asked: &Asked<'_>,
) -> Option<Box<Prescription>> {
    let stage = &exchange.stage;
    let route = exchange.outcome.route;
    if stage.is_quiet(route) {
        return None;
    }
    if !stage.plan.safety.fault_health && asked.is_health_check() {
        return None;
    }
    if stage.is_never(service) {
        for fault in stage.armed(route) {
            stage.books.skipped(worker.id, fault, Skip::Never);
        }
        return None;
    }
    let mut struck = Vec::new();
    stage.decide(worker.id, route, asked, exchange.arrived, &mut struck);
    if struck.is_empty() {
        return None;
    }
    // A halt may have come between taking the stage and here.
    if worker.shared.stage.load().releasing {
        stage.take_back(&struck);
        return None;
    }
    let mut place = None;
    if struck.iter().any(holds) {
        place = Place::take(&worker.shared.held, stage.plan.proxy.max_held);
        if place.is_none() {
            // Faults that would hold the request are skipped, whole.
            let (holding, rest): (Vec<_>, Vec<_>) = struck.into_iter().partition(holds);
            stage.take_back(&holding);
            act::skip(&holding, worker, exchange, Skip::MaxHeld);
            struck = rest;
            if struck.is_empty() {
                return None;
            }
        }
    }
    Some(Box::new(Prescription::of(struck, place, worker, exchange, asked)))
}

fn holds(struck: &crate::drill::stage::Struck) -> bool {
    use crate::fault::{Abort, Action, When};
    struck.actions.iter().any(|action| {
        matches!(
            action,
            Action::Delay { when: When::Request, .. }
                | Action::Serve(_)
                | Action::Abort(Abort { how: How::Hang { .. }, at: At::Request, .. })
        )
    })
}

/// Refused before routing: not an SLI event; the connection is closed, since the rest of it cannot
/// be trusted.
fn refusal(status: StatusCode, reason: &'static str, conn: Rc<Conn>) -> Response<ResponseBody> {
    let (head, payload) = act::head(act::own_answer(status, reason), false, false);
    Response::from_parts(head, ResponseBody::unrecorded(payload, conn))
}

/// The service could not be reached, or broke off before a usable head: its own failure.
fn unreachable(
    mut exchange: Exchange,
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
fn own_answer(answer: Answer, exchange: Exchange, caller: &Caller) -> Response<ResponseBody> {
    let bodiless = act::bodiless(&exchange.outcome.method, answer.status);
    let (head, payload) = act::head(answer, bodiless, false);
    let body = ResponseBody::new(payload, exchange, Rc::clone(&caller.conn)).ready(bodiless);
    Response::from_parts(head, body)
}

/// The target as an origin server expects it; the client's own bytes.
fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    let path = uri.into_parts().path_and_query;
    path.map_or_else(|| Uri::from_static("/"), Uri::from)
}
