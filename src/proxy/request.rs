//! The life of a request, top to bottom:
//! admit → route → decide → before the upstream → upstream → after its head → body and end.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body, Incoming};

use super::act::{self, Held, Place, Prescription, Verb};
use super::admit::{self, Refusal};
use super::body::{Payload, RequestBody, ResponseBody, Source};
use super::conn::Conn;
use super::connect::Trouble;
use super::exchange::Exchange;
use super::forwarded;
use super::headers;
use super::inflow::Inflow;
use super::serve::Caller;
use super::upgrade::{self, Tunnel};
use super::upstream::{Unanswered, Way};
use super::worker::Worker;
use crate::fault::Abort;
use crate::plan::{Asked, HostHeader, Plan, Protocol, RouteId, Service, ServiceId};
use crate::sli::ledger::Skip;
use crate::sli::{End, Hit, Origin};

/// It came in by the own port of a service that a reload has taken out.
const SERVICE_REMOVED: Refusal =
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, reason: "service_removed" };

/// It has been to this service already.
const VIA_LOOP: Refusal = Refusal::new(StatusCode::LOOP_DETECTED, "via_loop");

/// The connection is to be closed without an answer (or has lost its client).
#[derive(Debug)]
pub struct Severed;

impl std::fmt::Display for Severed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("severed")
    }
}

impl std::error::Error for Severed {}

pub async fn handle(
    worker: Rc<Worker>,
    caller: Caller,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Severed> {
    let arrived = crate::clock::now();
    let conn = &caller.conn;
    conn.begin();
    // One stage for the request's whole life: a reload or a halt swaps it for those that follow.
    let stage = worker.stage();
    let plan = &*stage.plan;
    let (mut head, body) = request.into_parts();

    let refuse = |Refusal { status, reason }| {
        stage.books.refused(worker.id, reason);
        conn.linger_on_close();
        Ok(refusal(status, reason))
    };
    let host = match admit::admit(&head, conn.is_secure()) {
        Ok(host) => host,
        Err(refused) => return refuse(refused),
    };
    if admit::is_for_us(&head) {
        return Ok(for_us());
    }
    let only = caller.port.and_then(|port| stage.own_port(port));
    if caller.port.is_some() && only.is_none() {
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
    if worker.vias.is_loop(&head.headers, service_id, service) {
        return refuse(VIA_LOOP);
    }
    let method = head.method.clone();
    let (worker_too, taken) = (Rc::clone(&worker), Rc::clone(&stage));
    let mut exchange =
        Exchange::begin(worker_too, conn.enter(), taken, arrived, method, route, operation);

    // Before the upstream: what the faults of this route decided.
    let (mut faults, mut late, mut active) = (Vec::new(), Vec::new(), Vec::new());
    let mut body = Some(body);
    if let Some(mut prescription) = decide(&worker, &exchange, service_id, &asked) {
        exchange.outcome.hit = Hit::Yes;
        let injected = inject(&worker, conn, &mut exchange, &mut prescription, &mut body, &head);
        // Rare, and large: every request's future would carry the room for it.
        match Box::pin(injected).await {
            Injected::Passed => {
                faults = prescription.faults;
                (late, active) = (prescription.late, prescription.active);
            }
            Injected::Spared => faults = prescription.faults,
            Injected::Ended(fault) => {
                exchange.outcome.origin = Origin::Fault(fault);
                exchange.finish(End::Complete);
                return Err(Severed);
            }
            Injected::Gone => return Err(Severed),
            Injected::Answered(fault, mut answer, keep_alive) => {
                if !keep_alive {
                    conn.linger_on_close();
                }
                act::mark(&mut answer.headers, &stage, &prescription.faults);
                exchange.answered(
                    answer.status.as_u16(),
                    Origin::Fault(fault),
                    crate::clock::now(),
                );
                return Ok(act::answer(answer, exchange, keep_alive));
            }
        }
    }

    // Upstream.
    let Some(body) = body else { return Err(Severed) };
    let timeouts = &plan.proxy.timeouts;
    let grpc = headers::is_grpc(&head.headers);
    let way = Way { connect: timeouts.connect, h2: goes_by_h2(service, &head, grpc) };
    let upgrade = upgrade::wanted(&head).filter(|_| !way.h2);
    let trailers = grpc || headers::te_trailers(&head.headers);
    let watch = Rc::new(worker.sweep.watch(timeouts.response_head));
    // A gRPC caller may stream, and pause for as long as it likes.
    let stall = (!grpc).then_some(timeouts.body_stall);
    let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
    let (payload, upload) = if body.is_end_stream() {
        (Payload::Empty, None)
    } else {
        let (mut inflow, upload) = Inflow::of_caller(body, &worker.sweep, &watch, stall);
        if chunked && inflow.begins().await.is_err() {
            conn.linger_on_close();
            return Ok(broken_by_caller(exchange, upload.broken().unwrap_or("bad_request_body")));
        }
        (Payload::Stream(Box::new(inflow)), Some(upload))
    };
    let body = RequestBody::new(payload);
    forwarded::tell(&mut head.headers, &plan.proxy, conn);
    admit::count_down(&mut head);
    worker.vias.sign(&mut head.headers, head.version, service_id, service);
    address(&mut head, service, way.h2, body.is_end_stream());
    if let Some(protocol) = &upgrade {
        upgrade::ask(&mut head.headers, protocol.clone());
    }
    let sending = worker.pool.send((service_id, service), way, Request::from_parts(head, body));
    let sent = tokio::select! {
        biased;
        sent = sending => sent,
        // Recorded as abandoned by the guard.
        () = conn.client_gone() => return Err(Severed),
        () = watch.over() => Err(Unanswered { trouble: Trouble::ResponseTimeout, unsent: None }),
    };
    let (mut response, lease) = match sent {
        Ok(answered) => answered,
        Err(Unanswered { trouble, unsent }) => {
            if let Some(reason) = upload.as_ref().and_then(|upload| upload.broken()) {
                conn.linger_on_close();
                return Ok(broken_by_caller(exchange, reason));
            }
            // So that a caller that is still sending sees the answer.
            if let Some(unsent) = unsent {
                Box::pin(act::drain(unsent.into_body(), false)).await;
            }
            conn.linger_on_close();
            return Ok(unanswered(exchange, &trouble, &faults));
        }
    };

    // After its head.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let granted = upgrade.and_then(|wanted| upgrade::granted(response.headers(), &wanted));
        let Some(protocol) = granted else {
            let status = StatusCode::BAD_GATEWAY;
            return Ok(unreachable(exchange, status, "unsolicited_upgrade", &faults));
        };
        let upstream = hyper::upgrade::on(&mut response);
        let (mut head, _) = response.into_parts();
        headers::towards_caller(&mut head.headers, false);
        upgrade::ask(&mut head.headers, protocol);
        act::mark(&mut head.headers, &stage, &faults);
        exchange.answered(head.status.as_u16(), Origin::Service, crate::clock::now());
        exchange.is_stream();
        conn.tunnels();
        *caller.tunnel.borrow_mut() = Some(Tunnel { upstream, exchange, lease });
        head.extensions.clear();
        return Ok(Response::from_parts(head, ResponseBody::unrecorded(Bytes::new())));
    }
    let (mut head, body) = response.into_parts();
    let framed = head.headers.contains_key(header::TRANSFER_ENCODING);
    if lease.reached_never(&plan.safety) {
        stage.mark_never(service_id);
    }
    if head.status.is_informational() || !headers::towards_caller(&mut head.headers, trailers) {
        return Ok(unreachable(exchange, StatusCode::BAD_GATEWAY, "bad_answer", &faults));
    }
    let endless = headers::is_endless(&head.headers);
    watch.renew(timeouts.body_stall);
    watch.rest();
    let stall = (!grpc && !endless).then_some(watch);
    let mut inflow = Inflow::of_service(body, stall, trailers);
    // Chunks that came with the head and are none can still be told in a status.
    if framed && !inflow.is_sound().await {
        return Ok(unreachable(exchange, StatusCode::BAD_GATEWAY, "bad_answer", &faults));
    }
    if !late.is_empty()
        && Box::pin(act::hold_answer(&worker, conn, &mut exchange, &late)).await == Held::Gone
    {
        return Err(Severed);
    }
    drop(active);
    head.version = Version::HTTP_11;
    act::mark(&mut head.headers, &stage, &faults);
    exchange.answered(head.status.as_u16(), Origin::Service, crate::clock::now());

    // Body and end: the guard travels in the body.
    if endless {
        exchange.is_stream();
    }
    let bodiless = act::bodiless(&exchange.outcome.method, head.status);
    let payload = Payload::Stream(Box::new(inflow));
    let body = ResponseBody::new(payload, exchange, Some(Source { lease, upload }), bodiless);
    Ok(Response::from_parts(head, body))
}

/// HTTP/2 where the service is said to speak it, and for gRPC, which knows nothing else.
fn goes_by_h2(service: &Service, head: &http::request::Parts, grpc: bool) -> bool {
    match service.protocol {
        Protocol::Http1 => false,
        Protocol::H2 => true,
        Protocol::Auto => grpc && head.version == Version::HTTP_2,
    }
}

/// The head as the service gets it: for one hop, in the protocol it speaks.
fn address(head: &mut http::request::Parts, service: &Service, h2: bool, bodiless: bool) {
    let from_h2 = head.version == Version::HTTP_2;
    let upstream = service.host_header == HostHeader::Upstream;
    let authority = if upstream || !(from_h2 || head.headers.contains_key(header::HOST)) {
        HeaderValue::from_str(&service.authority).ok()
    } else if let Some(authority) = head.uri.authority().filter(|_| from_h2) {
        HeaderValue::from_str(authority.as_str()).ok()
    } else {
        None
    };
    if let Some(authority) = authority {
        head.headers.insert(header::HOST, authority);
    }
    headers::towards_upstream(&mut head.headers, h2);
    head.extensions.clear();
    let uri = std::mem::take(&mut head.uri);
    if h2 {
        let host = head.headers.remove(header::HOST);
        head.version = Version::HTTP_2;
        head.uri = absolute_form(uri, service, host.as_ref());
        return;
    }
    if from_h2 {
        headers::join_cookies(&mut head.headers);
    }
    if !bodiless && !head.headers.contains_key(header::CONTENT_LENGTH) {
        // Said outright: for GET and HEAD hyper would otherwise send no body at all.
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    head.version = Version::HTTP_11;
    head.uri = origin_form(uri);
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
) -> Option<Prescription> {
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
    Some(Prescription::of(struck, place, worker, exchange))
}

fn holds(struck: &crate::drill::stage::Struck) -> bool {
    use crate::fault::{Action, When};
    struck.actions.iter().any(|action| {
        matches!(
            action,
            Action::Delay { when: When::Request, .. } | Action::Abort(Abort::Hang { .. })
        )
    })
}

enum Injected {
    /// On to the upstream (after a wait, perhaps).
    Passed,
    /// The same, as if no fault had hit it: injection has ended while it waited.
    Spared,
    Answered(crate::plan::FaultId, crate::fault::Answer, bool),
    /// Aborted: close the connection.
    Ended(crate::plan::FaultId),
    Gone,
}

/// Carries a prescription out.
async fn inject(
    worker: &Worker,
    conn: &Conn,
    exchange: &mut Exchange,
    prescription: &mut Prescription,
    body: &mut Option<Incoming>,
    head: &http::request::Parts,
) -> Injected {
    let place = prescription.place.take();
    if prescription.delay > std::time::Duration::ZERO {
        match act::hold(worker, conn, exchange, prescription.delay).await {
            Held::Elapsed => {}
            Held::Released => return Injected::Spared,
            Held::Gone => return Injected::Gone,
        }
    }
    // Halted while it waited: nothing more is done to it.
    if prescription.delay > std::time::Duration::ZERO && worker.shared.stage.load().releasing {
        return Injected::Spared;
    }
    let Some(ending) = prescription.end.take() else { return Injected::Passed };
    let fault = ending.fault;
    exchange.stage.books.injected(worker.id, exchange.outcome.route, fault, ending.kind);
    let expects_continue = head.headers.contains_key(header::EXPECT);
    match ending.verb {
        Verb::Answer(answer) => {
            drop(place);
            let keep_alive = match body.take() {
                Some(body) => act::drain(body, expects_continue).await,
                None => true,
            };
            Injected::Answered(fault, answer, keep_alive)
        }
        Verb::Abort(Abort::Reset) => {
            if head.version != Version::HTTP_2 {
                conn.reset_on_close();
            }
            Injected::Ended(fault)
        }
        Verb::Abort(Abort::Close) => {
            // With unread bytes the kernel would send RST where FIN was asked for.
            if let Some(body) = body.take() {
                act::drain(body, expects_continue).await;
            }
            Injected::Ended(fault)
        }
        Verb::Abort(Abort::Hang { cap }) => match act::hold(worker, conn, exchange, cap).await {
            // Halted, but its time was up before its turn to be let go came.
            Held::Elapsed if worker.shared.stage.load().releasing => Injected::Spared,
            Held::Elapsed => {
                if let Some(body) = body.take() {
                    act::drain(body, expects_continue).await;
                }
                Injected::Ended(fault)
            }
            Held::Released => Injected::Spared,
            Held::Gone => Injected::Gone,
        },
    }
}

/// Refused before routing: not an SLI event; the connection is closed, since the rest of it cannot
/// be trusted.
fn refusal(status: StatusCode, reason: &'static str) -> Response<ResponseBody> {
    let answer = act::own_answer(status, reason);
    let mut response = Response::new(ResponseBody::unrecorded(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// `OPTIONS *`: the proxy itself is asked, and can do what HTTP can.
fn for_us() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::unrecorded(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The caller's own body was no body, or stopped coming.
fn broken_by_caller(mut exchange: Exchange, reason: &'static str) -> Response<ResponseBody> {
    let status = match reason {
        "body_stall" => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    };
    exchange.refused(reason);
    exchange.answered(status.as_u16(), Origin::Refused(reason), crate::clock::now());
    exchange.finish(End::BadRequestBody);
    act::answer(act::own_answer(status, reason), exchange, false)
}

/// No answer from the service: its own failure, unless it was ours.
fn unanswered(
    mut exchange: Exchange,
    trouble: &Trouble,
    faults: &[crate::plan::FaultId],
) -> Response<ResponseBody> {
    let label = trouble.label();
    let status = match trouble {
        Trouble::ConnectTimeout | Trouble::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        Trouble::Itself => StatusCode::LOOP_DETECTED,
        Trouble::Exhausted => {
            exchange.refused(label);
            let status = StatusCode::SERVICE_UNAVAILABLE;
            exchange.answered(status.as_u16(), Origin::Refused(label), crate::clock::now());
            return act::answer(act::own_answer(status, label), exchange, false);
        }
        _ => StatusCode::BAD_GATEWAY,
    };
    unreachable(exchange, status, label, faults)
}

/// The service could not be reached, or broke off before a usable head: its own failure.
fn unreachable(
    mut exchange: Exchange,
    status: StatusCode,
    label: &'static str,
    faults: &[crate::plan::FaultId],
) -> Response<ResponseBody> {
    let mut answer = act::own_answer(status, label);
    act::mark(&mut answer.headers, &exchange.stage, faults);
    exchange.answered(status.as_u16(), Origin::Unreachable(label), crate::clock::now());
    // The caller's body may be unread.
    act::answer(answer, exchange, false)
}

/// The target as an HTTP/1.1 server expects it; the client's own bytes.
fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    let path = uri.into_parts().path_and_query;
    path.map_or_else(|| Uri::from_static("/"), Uri::from)
}

/// The target as HTTP/2 takes it apart: scheme, authority, and the client's own bytes.
fn absolute_form(uri: Uri, service: &Service, host: Option<&HeaderValue>) -> Uri {
    let mut parts = uri.into_parts();
    let https = service.tls.is_some();
    parts.scheme = Some(if https { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or(&service.authority);
    parts.authority = host.parse().ok();
    parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_default()
}
