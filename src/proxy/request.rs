//! The life of a request, top to bottom:
//! admit → route → decide → before the upstream → upstream → after its head → body and end.

use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::rc::Rc;

use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body, Incoming};

use super::act::{self, Place};
use super::admit::{self, Refusal};
use super::body::{Payload, ResponseBody};
use super::conn::Conn;
use super::connect::Trouble;
use super::content;
use super::copies::Copies;
use super::exchange::Exchange;
use super::forwarded;
use super::headers::{self, Framing, Glance};
use super::inflow::Inflow;
use super::own;
use super::prescription::Prescription;
use super::serve::Entrance;
use super::treatment::{
    Caller, GONE, Injected, Severed, after_head, answer_of_fault, changed_upload, inject, respond,
    upload,
};
use super::tunnel::Tunnel;
use super::upgrade;
use super::upstream::{Unanswered, Way};
use super::worker::Worker;
use crate::drill::Stage;
use crate::drill::stage::Struck;
use crate::fault::{Abort, Action, At, How, When};
use crate::plan::matcher::canonical;
use crate::plan::proxy::Proxy;
use crate::plan::{Asked, HostHeader, Plan, Protocol, RouteId, SKIP, Service, ServiceId};
use crate::requests::{self, Trace};
use crate::sli::ledger::Skip;
use crate::sli::{Attempt, End, Origin};

/// It came in by the own port of a service that a reload has taken out.
const SERVICE_REMOVED: Refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "service_removed");
/// Over HTTP/1.1 the parser counts them.
const MANY_FIELDS: Refusal = Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers");
/// It has been to this service already.
const VIA_LOOP: Refusal = Refusal::new(StatusCode::LOOP_DETECTED, "via_loop");

type Answered = Result<Response<ResponseBody>, Severed>;

/// Takes a request in at once, before the future is asked for its answer: a head that came together
/// with its client's end never has its answer asked for, and counts all the same.
pub fn handle(
    worker: Rc<Worker>,
    entrance: Entrance,
    request: Request<Incoming>,
) -> Pin<Box<impl Future<Output = Answered>>> {
    entrance.conn.begin();
    let (head, body) = request.into_parts();
    let begun = begin(&worker, &entrance, &head);
    // Boxed here, and one future for all that may come of it: to move it is not for nothing.
    Box::pin(serve(worker, entrance, begun, head, body))
}

/// A request that was let in: where it goes, and what the faults of its route decided.
struct Begun {
    exchange: Box<Exchange>,
    service: ServiceId,
    caller: Caller,
    seen: Glance,
    faults: Option<Box<Prescription>>,
}

/// A request that goes no further, and is no event.
enum NotLetIn {
    /// Counted as such.
    Refused(Refusal),
    /// It asks backburn itself.
    ForUs,
}

/// Admits, routes, decides.
fn begin(
    worker: &Rc<Worker>,
    entrance: &Entrance,
    head: &http::request::Parts,
) -> Result<Begun, NotLetIn> {
    let arrived = crate::clock::now();
    let conn = &entrance.conn;
    // One stage for the request's whole life: a reload or a halt swaps it for those that follow.
    let stage = worker.stage();
    let plan = &*stage.plan;

    let refuse = |refused: Refusal| {
        stage.books.refused(worker.id, refused.reason);
        NotLetIn::Refused(refused)
    };
    let host = admit::admit(head, conn.is_secure()).map_err(refuse)?;
    if let Some(refused) = conn.refuses()
        && head.headers.contains_key(header::TRANSFER_ENCODING)
    {
        return Err(refuse(refused));
    }
    if head.version == Version::HTTP_2
        && head.headers.len() > usize::from(plan.proxy.limits.headers)
    {
        return Err(refuse(MANY_FIELDS));
    }
    if admit::is_for_us(head) {
        return Err(NotLetIn::ForUs);
    }
    let only = entrance.port.and_then(|port| stage.own_port(port));
    if entrance.port.is_some() && only.is_none() {
        return Err(refuse(SERVICE_REMOVED));
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
    let path = canonical(asked.path);
    let route = route(plan, &asked, &path);
    let operation = plan.routes[route as usize].operation.as_ref();
    let key = operation.and_then(|operation| operation.key(&asked));
    let operation = key.map(|key| Attempt { key, arrived: worker.since(arrived) });
    let service = plan.routes[route as usize].service;
    let seen = Glance::at(&head.headers);
    if seen.has(Glance::VIA)
        && worker.vias.is_loop(&head.headers, service, &plan.services[usize::from(service)])
    {
        return Err(refuse(VIA_LOOP));
    }
    let method = head.method.clone();
    let (worker_too, taken) = (Rc::clone(worker), Rc::clone(&stage));
    let mut exchange =
        Exchange::begin(worker_too, conn.enter(), taken, arrived, method, route, operation);
    exchange.outcome.health_check = asked.is_health_check_at(&path);
    exchange.outcome.excludes = plan.routes[route as usize].excluded_by(&asked);
    let caller = Caller::of(Rc::clone(conn), head, seen);
    if worker.log.is_some() {
        exchange.trace = Some(Trace::of(&head.uri));
    }
    let faults = decide(worker, &mut exchange, service, &asked);
    Ok(Begun { exchange, service, caller, seen, faults })
}

async fn serve(
    worker: Rc<Worker>,
    entrance: Entrance,
    begun: Result<Begun, NotLetIn>,
    mut head: http::request::Parts,
    body: Incoming,
) -> Answered {
    let Begun { mut exchange, service: service_id, caller, seen, mut faults } = match begun {
        Ok(begun) => begun,
        Err(NotLetIn::Refused(Refusal { status, reason })) => {
            return Ok(own::refusal(status, reason, Rc::clone(&entrance.conn)));
        }
        Err(NotLetIn::ForUs) => {
            let _here = entrance.conn.enter();
            let expects_continue = head.headers.contains_key(header::EXPECT);
            let keep_alive = Box::pin(act::drain(body, expects_continue)).await;
            return Ok(own::for_us(keep_alive, Rc::clone(&entrance.conn)));
        }
    };
    let conn = &entrance.conn;
    let stage = Rc::clone(&exchange.stage);
    let plan = &*stage.plan;
    let service = &plan.services[usize::from(service_id)];

    // Before the upstream: what the faults of this route decided.
    let mut body = Some(body);
    if let Some(struck) = &mut faults {
        // Rare, and large: every request's future would carry the room for it.
        let injected = Box::pin(inject(&worker, &caller, &mut exchange, struck, &mut body)).await;
        (exchange, faults) = match concluded(&worker, &caller, exchange, faults, injected) {
            ControlFlow::Continue(goes_on) => goes_on,
            ControlFlow::Break(answered) => return answered,
        };
    }

    // Upstream.
    let Some(body) = body else { return Err(GONE) };
    let timeouts = &plan.proxy.timeouts;
    let grpc = headers::is_grpc(&head.headers);
    let way = Way { connect: timeouts.connect, h2: goes_by_h2(service, &head, grpc) };
    let hop = seen.has(Glance::HOP);
    let upgrade = if hop && !way.h2 { upgrade::wanted(&head) } else { None };
    let trailers = grpc || hop && headers::te_trailers(&head.headers);
    let chunked = hop && head.headers.contains_key(header::TRANSFER_ENCODING);
    let watch = Rc::new(worker.sweep.watch(timeouts.response_head));
    let incoming = if body.is_end_stream() {
        (Payload::Empty, None)
    } else {
        // A gRPC caller may stream, and pause for as long as it likes.
        let stall = (!grpc).then_some(timeouts.body_stall);
        let from = (conn.enter(), seen.has(Glance::EXPECT));
        let (mut inflow, upload) = Inflow::of_caller(body, from, &worker.sweep, &watch, stall);
        if chunked && inflow.begins().await.is_err() {
            let reason = upload.broken().unwrap_or("bad_request_body");
            return Ok(own::broken_by_caller(exchange, &caller, reason));
        }
        (Payload::Stream(Box::new(inflow)), Some(upload))
    };
    // First of all: what `Connection` names must not be what is said here.
    headers::towards_upstream(&mut head.headers, seen, way.h2);
    worker.vias.sign(&mut head.headers, head.version, service_id, service);
    address(&mut head, seen, (service, way.h2), &plan.proxy, conn);
    if let Some(protocol) = &upgrade {
        upgrade::ask(&mut head.headers, protocol.clone());
    }
    let mut body = match &mut faults {
        None => upload(&mut exchange, incoming, None),
        Some(faults) => {
            let fields = &mut head.headers;
            let changed = changed_upload(&worker, &caller, &mut exchange, faults, fields, incoming);
            Box::pin(changed).await
        }
    };
    if !way.h2 && !body.is_end_stream() && !head.headers.contains_key(header::CONTENT_LENGTH) {
        // Said outright: for GET and HEAD hyper would otherwise send no body at all.
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(faults) = &mut faults
        && !faults.copies.is_empty()
    {
        let copies = std::mem::take(&mut faults.copies);
        body.copied(Copies::new(&exchange, service_id, copies, &head));
    }
    let sent = {
        let request = Request::from_parts(head, body);
        let mut sending = pin!(worker.pool.send((service_id, service), way, request));
        tokio::select! {
            biased;
            sent = &mut sending => sent,
            // Recorded as abandoned by the guard.
            () = conn.client_gone() => return Err(GONE),
            () = watch.over() => {
                Err(Unanswered { trouble: Trouble::ResponseTimeout, unsent: None })
            }
        }
    };
    let (mut response, lease) = match sent {
        Ok(answered) => answered,
        Err(Unanswered { trouble, unsent }) => {
            if let Some(reason) = exchange.broken_by_caller() {
                return Ok(own::broken_by_caller(exchange, &caller, reason));
            }
            // So that a caller that is still sending sees the answer.
            if let Some(unsent) = unsent {
                let expects_continue = seen.has(Glance::EXPECT);
                Box::pin(act::drain(unsent.into_body(), expects_continue)).await;
            }
            return Ok(own::unanswered(exchange, &caller, &trouble, faults.as_deref()));
        }
    };

    // After its head.
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let granted = upgrade.and_then(|wanted| upgrade::granted(response.headers(), &wanted));
    let granted = granted.filter(|_| switched);
    if response.status().is_informational() && granted.is_none() {
        let (status, label) = (StatusCode::BAD_GATEWAY, "unsolicited_upgrade");
        return Ok(own::unreachable(exchange, &caller, status, label, faults.as_deref()));
    }
    let framing = headers::towards_caller(response.headers_mut(), trailers);
    if framing == Framing::Unsound {
        let (status, label) = (StatusCode::BAD_GATEWAY, "bad_answer");
        return Ok(own::unreachable(exchange, &caller, status, label, faults.as_deref()));
    }
    let upstream = granted.is_some().then(|| hyper::upgrade::on(&mut response));
    let (mut head, body) = response.into_parts();
    let endless = headers::is_endless(&head.headers);
    watch.renew(timeouts.body_stall);
    watch.rest();
    let stall = (!grpc && !endless).then_some(watch);
    let mut inflow = Inflow::of_service(body, stall, trailers);
    // Chunks that came with the head and are none can still be told in a status.
    if framing == Framing::Chunked && !inflow.is_sound().await {
        let (status, label) = (StatusCode::BAD_GATEWAY, "bad_answer");
        return Ok(own::unreachable(exchange, &caller, status, label, faults.as_deref()));
    }
    let payload = Payload::Stream(Box::new(inflow));
    if lease.reached_never(&plan.safety) {
        stage.mark_never(service_id);
    }
    let is_checked = exchange.is_checked();
    if is_checked {
        content::served(&mut exchange, head.status, &head.headers);
    }
    if let Some(struck) = &mut faults {
        let status = head.status;
        let injected = Box::pin(after_head(&worker, &caller, &mut exchange, struck, status)).await;
        let aside = if matches!(injected, Injected::Answered(_)) {
            let bodiless = act::bodiless(&exchange.outcome.method, head.status);
            content::aside(&mut exchange, bodiless, payload.size_hint().exact())
        } else {
            None
        };
        (exchange, faults) = match concluded(&worker, &caller, exchange, faults, injected) {
            ControlFlow::Continue(goes_on) => goes_on,
            ControlFlow::Break(answered) => {
                if answered.is_ok() {
                    act::discard(payload, Some(lease), aside);
                }
                return answered;
            }
        };
    }
    head.version = Version::HTTP_11;
    if let Some(faults) = &faults {
        faults.download.edit(&exchange, &mut head.headers);
        act::mark(&mut head.headers, &stage, &faults.faults);
    }
    exchange.answered(head.status.as_u16(), Origin::Service, crate::clock::now());
    if grpc {
        exchange.says(&head.headers);
    }
    if let (Some(protocol), Some(upstream)) = (granted, upstream) {
        let is_websocket = upgrade::is_websocket(&protocol);
        upgrade::ask(&mut head.headers, protocol);
        exchange.is_stream();
        conn.tunnels();
        let tunnel = Tunnel { upstream, exchange: *exchange, lease, is_websocket, faults };
        *entrance.tunnel.borrow_mut() = Some(tunnel);
        head.extensions.clear();
        let body = ResponseBody::unrecorded(Payload::Empty, Rc::clone(conn));
        return Ok(Response::from_parts(head, body));
    }
    if endless {
        if is_checked {
            content::endless(&mut exchange, head.status, &head.headers);
        }
        exchange.is_stream();
    }

    // Body and end: the guard travels in the body.
    Ok(respond(&worker, &caller, exchange, faults, head, (payload, Some(lease))))
}

type Faulted = (Box<Exchange>, Option<Box<Prescription>>);

/// Where a fault has ended the request, what its caller gets.
fn concluded(
    worker: &Rc<Worker>,
    caller: &Caller,
    mut exchange: Box<Exchange>,
    faults: Option<Box<Prescription>>,
    injected: Injected,
) -> ControlFlow<Answered, Faulted> {
    match injected {
        Injected::Passed => ControlFlow::Continue((exchange, faults)),
        Injected::Ended(severed) => {
            exchange.finish(End::Complete);
            ControlFlow::Break(Err(severed))
        }
        Injected::Gone => ControlFlow::Break(Err(GONE)),
        Injected::Answered(reply) => {
            ControlFlow::Break(Ok(answer_of_fault(worker, caller, exchange, faults, reply)))
        }
    }
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
fn address(
    head: &mut http::request::Parts,
    seen: Glance,
    (service, h2): (&Service, bool),
    proxy: &Proxy,
    conn: &Conn,
) {
    admit::count_down(head);
    if proxy.client_control {
        // It was for us.
        head.headers.remove(SKIP);
    }
    let from_h2 = head.version == Version::HTTP_2;
    if from_h2
        && let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(header::HOST, host);
    }
    forwarded::tell(&mut head.headers, seen, proxy, conn);
    let nameless = !head.headers.contains_key(header::HOST);
    if (nameless || service.host_header == HostHeader::Upstream)
        && let Ok(host) = HeaderValue::from_str(&service.authority)
    {
        head.headers.insert(header::HOST, host);
    }
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
    head.version = Version::HTTP_11;
    head.uri = origin_form(uri);
}

/// The most specific route, or the `unmatched` one of the service the request goes to.
/// `path`: its own, in its canonical form.
fn route(plan: &Plan, asked: &Asked<'_>, path: &str) -> RouteId {
    plan.matcher.find_at(path, asked).unwrap_or_else(|| {
        let service = asked.only.unwrap_or_else(|| plan.default_service());
        plan.services[usize::from(service)].unmatched
    })
}

/// Lets the route's faults decide; `None`: none hits this request.
fn decide(
    worker: &Worker,
    exchange: &mut Exchange,
    service: ServiceId,
    asked: &Asked<'_>,
) -> Option<Box<Prescription>> {
    let stage = &exchange.stage;
    let route = exchange.outcome.route;
    if stage.is_quiet(route) {
        return None;
    }
    if exchange.outcome.health_check && !stage.plan.safety.fault_health {
        return None;
    }
    let spared = if stage.is_never(service) {
        Some(Skip::Never)
    } else if stage.plan.proxy.client_control && asked.opts_out() {
        Some(Skip::Client)
    } else {
        None
    };
    if let Some(reason) = spared {
        for fault in stage.armed(route) {
            stage.books.skipped(worker.id, fault, reason);
        }
        return None;
    }
    let mut struck = Vec::new();
    let arrived = exchange.arrived;
    match &mut exchange.trace {
        None => stage.decide(worker.id, route, asked, arrived, &mut struck, &mut ()),
        Some(trace) => {
            stage.decide(worker.id, route, asked, arrived, &mut struck, &mut trace.draws);
            trace.asked = struck.iter().flat_map(|struck| asks(stage, struck)).collect();
        }
    }
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

/// What a fault that struck asks for, for the request log.
fn asks<'a>(stage: &'a Stage, struck: &'a Struck) -> impl Iterator<Item = requests::Asked> + 'a {
    let kinds = stage.fault(struck.fault).kinds.iter().zip(&struck.actions);
    kinds.map(|(kind, action)| {
        let delay = match action {
            Action::Delay { time, .. } => Some(*time),
            Action::Serve(serve) => Some(serve.time),
            _ => None,
        };
        requests::Asked { fault: struck.fault, kind: kind.kind(), delay }
    })
}

fn holds(struck: &Struck) -> bool {
    struck.actions.iter().any(|action| {
        matches!(
            action,
            Action::Delay { when: When::Request, .. }
                | Action::Serve(_)
                | Action::Abort(Abort { how: How::Hang { .. }, at: At::Request, .. })
        )
    })
}

/// The target as an origin server expects it; the client's own bytes.
fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    // One of nothing, before a fragment, says that it is `/`, and is written as nothing.
    let path = uri.into_parts().path_and_query.filter(|path| path != "/");
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
