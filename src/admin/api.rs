//! `/api/v1`: JSON out, `application/problem+json` for errors.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::AdminState;
use crate::budget;
use crate::drill::state::{Change, Refusal};
use crate::sli::SloCounts;

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

pub(super) async fn status(State(state): Admin) -> Json<Value> {
    Json(describe(&state))
}

/// As RFC 3339 has it.
pub(super) fn time(at: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(at).map(|when| when.to_string()).unwrap_or_default()
}

/// The drill at a glance.
fn describe(state: &AdminState) -> Value {
    let control = &state.control;
    let now = crate::clock::now();
    let standing = control.standing(now);
    let stage = control.stage.load_full();
    let snapshot = control.ledger().snapshot(&stage.plan);
    let began = time(control.began());
    let reloads = state.reloads.standing();
    let overrides: Vec<Value> = reloads
        .overrides
        .iter()
        .map(|one| json!({ "key": one.path, "value": one.value }))
        .collect();
    json!({
        "name": stage.plan.name,
        "hypothesis": stage.plan.hypothesis,
        "drill": control.drill_id(),
        "seed": control.seed(),
        "dice_version": crate::dice::STREAM_VERSION,
        "state": standing.state.as_str(),
        "injecting": standing.injecting,
        "halted": standing.halt.is_some(),
        "halt": standing.halt.map(|halt| json!({ "by": halt.by, "reason": halt.reason })),
        "over": standing.over,
        "phase": stage.plan.is_phased().then(|| json!({
            "name": &*standing.booked,
            "index": standing.position.phase(),
            "of": stage.plan.phases.len(),
            "elapsed_seconds": standing.phase_elapsed.as_secs_f64(),
            "left_seconds": standing.phase_left.map(|left| left.as_secs_f64()),
        })),
        "generation": reloads.generation,
        "last_reload": reloads.last,
        "pending": reloads.pending,
        // The files have mistakes: what runs is not what they say.
        "scenario_wrong": reloads.wrong,
        "overrides": overrides,
        "watched": reloads.watched,
        "pass_through": control.pass_through(),
        "began": began,
        "elapsed_seconds": standing.elapsed.as_secs_f64(),
        "requests": snapshot.requests,
        "active": snapshot.active,
        "held": state.held.load(Ordering::Relaxed),
        "instance": state.instance,
        "slos": snapshot.slos.iter().map(|slo| slo_json(slo, standing.elapsed)).collect::<Vec<_>>(),
    })
}

fn slo_json(slo: &SloCounts, elapsed: std::time::Duration) -> Value {
    let (bad, total) = (slo.bad(), slo.total());
    let excluded: serde_json::Map<String, Value> =
        slo.excluded.iter().map(|(reason, count)| ((*reason).to_owned(), json!(count))).collect();
    json!({
        "name": &*slo.name,
        "objective": slo.objective.as_f64(),
        "window_seconds": slo.window.as_secs(),
        "window": format!("{}d", slo.window.as_secs() / 86_400),
        "total": total,
        "good": slo.good,
        "bad": bad,
        "injected": slo.injected,
        "masked": slo.masked,
        "organic": slo.organic,
        "excluded": excluded,
        "burn_rate": budget::burn_rate(bad, total, slo.objective),
        "budget_consumed": {
            "basis": "scaled",
            "ratio": budget::consumed_scaled(bad, total, slo.objective, elapsed, slo.window),
        },
    })
}

pub(super) async fn slos(State(state): Admin) -> Json<Value> {
    let elapsed = state.control.standing(crate::clock::now()).elapsed;
    let snapshot = state.control.snapshot();
    Json(snapshot.slos.iter().map(|slo| slo_json(slo, elapsed)).collect())
}

pub(super) async fn faults(State(state): Admin) -> Json<Value> {
    let snapshot = state.control.snapshot();
    let faults = snapshot.faults.iter().map(|fault| {
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
    let plan = Arc::clone(&state.control.stage.load().plan);
    let routes = plan.routes.iter().map(|route| {
        let faults: Vec<&str> =
            route.faults.iter().map(|fault| &*plan.faults[usize::from(*fault)].name).collect();
        let slos: Vec<&str> =
            route.slos.iter().map(|slo| &*plan.slos[usize::from(*slo)].name).collect();
        json!({
            "name": &*route.name,
            "service": &*plan.services[usize::from(route.service)].name,
            "protected": route.protected,
            "faults": faults,
            "slos": slos,
        })
    });
    Json(routes.collect())
}

/// `reason` of an optional JSON body.
fn reason(body: &Bytes) -> Result<String, Problem> {
    if body.is_empty() {
        return Ok(String::new());
    }
    let bad = |why: &str| {
        Problem::new(StatusCode::BAD_REQUEST, format!("{why}; the body is {{\"reason\": \"…\"}}"))
    };
    let value: Value = serde_json::from_slice(body).map_err(|error| bad(&error.to_string()))?;
    match value.get("reason") {
        None => Ok(String::new()),
        Some(Value::String(reason)) if reason.len() <= 1000 => Ok(reason.clone()),
        Some(_) => Err(bad("`reason` is a text of at most 1,000 bytes")),
    }
}

pub(super) fn answer(state: &AdminState, change: Change) -> Json<Value> {
    let mut body = describe(state);
    body["changed"] = json!(change == Change::Made);
    Json(body)
}

pub(super) async fn halt(State(state): Admin, body: Bytes) -> Json<Value> {
    // Stopping never fails, on a strange body least of all.
    let reason = reason(&body).unwrap_or_default();
    let made = state.control.halt(crate::clock::now(), "API", &reason);
    answer(&state, if made { Change::Made } else { Change::None })
}

pub(super) async fn rearm(State(state): Admin, body: Bytes) -> Result<Json<Value>, Problem> {
    let reason = reason(&body)?;
    let change = state.control.rearm(crate::clock::now(), &reason)?;
    Ok(answer(&state, change))
}

pub(super) async fn pause(State(state): Admin) -> Result<Json<Value>, Problem> {
    let change = state.control.pause(crate::clock::now())?;
    Ok(answer(&state, change))
}

pub(super) async fn resume(State(state): Admin) -> Result<Json<Value>, Problem> {
    let change = state.control.resume(crate::clock::now())?;
    Ok(answer(&state, change))
}

pub(super) async fn start(State(state): Admin) -> Result<Json<Value>, Problem> {
    let change = state.control.start(crate::clock::now())?;
    Ok(answer(&state, change))
}

pub(super) async fn finish(State(state): Admin) -> Json<Value> {
    state.control.finish(crate::clock::now());
    state.finish.notify_one();
    answer(&state, Change::Made)
}
