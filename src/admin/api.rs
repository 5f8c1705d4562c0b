//! `/api/v1`: JSON out, `application/problem+json` for errors.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AdminState, LARGEST_BODY};
use crate::drill::state::{Change, Refusal};
use crate::plan::FaultId;
use crate::report::View;
use crate::report::view::Slo;

pub(super) type Admin = State<Arc<AdminState>>;

/// An error as RFC 9457 has it.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let json = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, json, body.to_string()).into_response()
    }
}

/// What the framework refuses by itself (a query, a path, a body that cannot be read) it says in
/// plain text; here it becomes a problem like the others.
pub(super) async fn problems(answer: Response) -> Response {
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let plain = kind.is_none_or(|kind| kind.starts_with("text/plain"));
    if !plain || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let text = axum::body::to_bytes(answer.into_body(), LARGEST_BODY).await.unwrap_or_default();
    Problem::new(status, String::from_utf8_lossy(&text)).into_response()
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(StatusCode::CONFLICT, refusal.0)
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such path; GET /api/v1/status is a good start")
}

pub(super) async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method; see Allow")
}

pub(super) async fn readyz(State(state): Admin) -> Response {
    if state.ready.load(Ordering::Relaxed) {
        "ready".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response()
    }
}

/// The drill at a glance.
pub(super) async fn status(State(state): Admin) -> Json<View> {
    Json(state.live.view(crate::clock::now()))
}

pub(super) async fn slos(State(state): Admin) -> Json<Vec<Slo>> {
    Json(state.live.view(crate::clock::now()).slos)
}

pub(super) async fn faults(State(state): Admin) -> Json<Value> {
    let snapshot = state.control.snapshot();
    let (stage, now) = (state.control.stage.load_full(), crate::clock::now());
    let injecting = state.control.standing(now).injecting;
    let in_burst = |name: &str| {
        let id = stage.plan.faults.iter().position(|fault| *fault.name == *name)?;
        stage.is_in_burst(id as FaultId, now).filter(|_| injecting)
    };
    let faults = snapshot.all_faults().map(|fault| {
        let routes: Vec<Value> = fault
            .routes
            .iter()
            .map(|(route, eligible, kinds)| {
                let injected: serde_json::Map<String, Value> =
                    kinds.iter().map(|(kind, count)| ((*kind).to_owned(), json!(count))).collect();
                json!({ "route": &**route, "eligible": eligible, "injected": injected })
            })
            .collect();
        let skipped: serde_json::Map<String, Value> = fault
            .skipped
            .iter()
            .map(|(reason, count)| ((*reason).to_owned(), json!(count)))
            .collect();
        json!({
            "name": &*fault.name,
            "who": fault.who,
            "in_burst": in_burst(&fault.name),
            "asked": fault.asked.map(crate::units::Share::as_f64),
            "eligible": fault.eligible,
            "hit": fault.hit,
            "applied": (fault.eligible > 0).then(|| fault.hit as f64 / fault.eligible as f64),
            "skipped": skipped,
            "routes": routes,
        })
    });
    Json(faults.collect())
}

pub(super) async fn routes(State(state): Admin) -> Json<Value> {
    let plan = state.control.plan();
    let snapshot = state.control.ledger().snapshot(&plan);
    let routes = plan.routes.iter().map(|route| {
        let faults: Vec<&str> =
            route.faults.iter().map(|fault| &*plan.faults[usize::from(*fault)].name).collect();
        let slos: Vec<&str> =
            route.slos.iter().map(|slo| &*plan.slos[usize::from(*slo)].name).collect();
        let operations = snapshot.operations.iter().find(|(name, _)| *name == route.name);
        let operations = operations.map(|(_, counts)| {
            json!({
                "attempts": counts.attempts,
                "operations": counts.operations,
                "recovered": counts.recovered,
                "early": counts.early,
            })
        });
        json!({
            "name": &*route.name,
            "service": &*plan.services[usize::from(route.service)].name,
            "protected": route.protected,
            "faults": faults,
            "slos": slos,
            "operations": operations,
        })
    });
    Json(routes.collect())
}

/// The requests last written down, the newest first.
pub(super) async fn requests(State(state): Admin) -> Result<Json<Value>, Problem> {
    let none = "no request is written down: the scenario has no [sampling]";
    let log = state.requests.as_ref().ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, none))?;
    Ok(Json(Value::Array(log.recent())))
}

/// Reads an optional JSON body; `example` is what it should look like.
pub(super) fn read<T: Default + for<'d> Deserialize<'d>>(
    body: &Bytes,
    example: &str,
) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("{error}; the body is {example}"))
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    #[serde(default)]
    reason: String,
}

/// The longest reason, in bytes.
const REASON: usize = 1000;

/// `reason` of an optional JSON body.
fn reason(body: &Bytes) -> Result<String, Problem> {
    let Why { reason } = read(body, "{\"reason\": \"…\"}")?;
    if reason.len() > REASON {
        let why = format!("`reason` is a text of at most {REASON} bytes");
        return Err(Problem::new(StatusCode::BAD_REQUEST, why));
    }
    Ok(reason)
}

/// The drill after a change, and whether there was anything to change.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    #[serde(flatten)]
    view: View,
    changed: bool,
}

pub(super) fn answer(state: &AdminState, change: Change) -> Json<Changed> {
    let view = state.live.view(crate::clock::now());
    Json(Changed { view, changed: change == Change::Made })
}

/// How long a halt's reason has to come; the halt does not wait for it.
const REASON_TIME: Duration = Duration::from_millis(500);

pub(super) async fn halt(State(state): Admin, request: Request) -> Json<Changed> {
    // Stopping never fails and never waits, for a body least of all.
    let made = state.control.halt(crate::clock::now(), "API", "");
    let body = Limited::new(request.into_body(), LARGEST_BODY).collect();
    if made && let Ok(Ok(body)) = tokio::time::timeout(REASON_TIME, body).await {
        let reason = reason(&body.to_bytes()).unwrap_or_default();
        if !reason.is_empty() {
            state.control.halted_because(&reason);
        }
    }
    answer(&state, if made { Change::Made } else { Change::None })
}

pub(super) async fn rearm(State(state): Admin, body: Bytes) -> Result<Json<Changed>, Problem> {
    let reason = reason(&body)?;
    let change = state.control.rearm(crate::clock::now(), &reason)?;
    Ok(answer(&state, change))
}

pub(super) async fn pause(State(state): Admin) -> Result<Json<Changed>, Problem> {
    let change = state.control.pause(crate::clock::now())?;
    Ok(answer(&state, change))
}

pub(super) async fn resume(State(state): Admin) -> Result<Json<Changed>, Problem> {
    let change = state.control.resume(crate::clock::now())?;
    Ok(answer(&state, change))
}

pub(super) async fn start(State(state): Admin) -> Result<Json<Changed>, Problem> {
    let change = state.control.start(crate::clock::now())?;
    Ok(answer(&state, change))
}

pub(super) async fn finish(State(state): Admin) -> Json<Changed> {
    state.control.finish(crate::clock::now());
    state.finish.notify_one();
    answer(&state, Change::Made)
}
