//! The life of a request, top to bottom:
//! admit → route → decide → before the upstream → upstream → after its head → body and end.

use std::rc::Rc;

use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body, Incoming};

use super::OwnPort;
use super::act::{self, Held, Place, Prescription, Verb};
use super::body::{Payload, RequestBody, ResponseBody};
use super::conn::Conn;
use super::exchange::Exchange;
use super::headers::{self, Refusal};
use super::upstream::{Trouble, Unanswered};
use super::worker::Worker;
use crate::fault::Abort;
use crate::plan::{Asked, HostHeader, Plan, RouteId, ServiceId};
use crate::sli::ledger::Skip;
use crate::sli::{End, Hit, Origin};

/// It came in by the own port of a service that a reload has taken out.
const SERVICE_REMOVED: Refusal =
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, reason: "service_removed" };

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
        Ok(refusal(status, reason))
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

    // Before the upstream: what the faults of this route decided.
    let (mut faults, mut late, mut active) = (Vec::new(), Vec::new(), Vec::new());
    let mut body = Some(body);
    if let Some(mut prescription) = decide(&worker, &exchange, service_id, &asked) {
        exchange.outcome.hit = Hit::Yes;
        match inject(&worker, &conn, &mut exchange, &mut prescription, &mut body, &head).await {
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
    let (body, broken_by_caller) = RequestBody::watched(body);
    let host = (service.host_header == HostHeader::Upstream).then_some(service.authority.as_str());
    headers::towards_upstream(&mut head.headers, host);
    if !body.is_end_stream() && !head.headers.contains_key(header::CONTENT_LENGTH) {
        // Said outright: for GET and HEAD hyper would otherwise send no body at all.
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    head.uri = origin_form(head.uri);
    head.version = Version::HTTP_11;
    let sending = worker.pool.send(service_id, service, Request::from_parts(head, body));
    let sent = tokio::select! {
        biased;
        sent = sending => sent,
        // Recorded as abandoned by the guard.
        () = conn.client_gone() => return Err(Severed),
    };
    let (response, lease) = match sent {
        Ok(answered) => answered,
        Err(_) if broken_by_caller.as_ref().is_some_and(|broken| broken.get()) => {
            let answer = act::own_answer(StatusCode::BAD_REQUEST, "bad_request_body");
            exchange.answered(
                answer.status.as_u16(),
                Origin::Refused("bad_request_body"),
                crate::clock::now(),
            );
            exchange.finish(End::BadRequestBody);
            return Ok(act::answer(answer, exchange, false));
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
            return Ok(unreachable(exchange, status, trouble.label(), &faults));
        }
    };

    // After its head.
    let (mut head, body) = response.into_parts();
    if head.status.is_informational() {
        // Nobody asked for an upgrade: `Upgrade` was not passed on.
        return Ok(unreachable(exchange, StatusCode::BAD_GATEWAY, "unsolicited_upgrade", &faults));
    }
    if lease.reached_never(&plan.safety) {
        stage.mark_never(service_id);
    }
    if act::hold_answer(&worker, &conn, &mut exchange, &late).await == Held::Gone {
        return Err(Severed);
    }
    drop(active);
    headers::strip_hop_by_hop(&mut head.headers);
    head.version = Version::HTTP_11;
    act::mark(&mut head.headers, &stage, &faults);
    exchange.answered(head.status.as_u16(), Origin::Service, crate::clock::now());

    // Body and end: the guard travels in the body.
    let bodiless = act::bodiless(&exchange.outcome.method, head.status);
    let body = ResponseBody::new(
        Payload::Stream(body),
        exchange,
        Some((lease, broken_by_caller)),
        bodiless,
    );
    Ok(Response::from_parts(head, body))
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
            conn.reset_on_close();
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

/// The target as an origin server expects it; the client's own bytes.
fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    let path = uri.into_parts().path_and_query;
    path.map_or_else(|| Uri::from_static("/"), Uri::from)
}
