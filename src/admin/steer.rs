//! `/api/v1`: what changes the scenario and the drill's course, and what comes of it.

use std::net::IpAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminState;
use super::api::{Admin, Changed, Problem, answer, read};
use crate::diagnostic::without_passwords;
use crate::drill::reload::{Order, Outcome, Report};
use crate::plan::Plan;
use crate::plan::explain::{Explanation, Question};
use crate::scenario::{Override, merges};
use crate::sli::Snapshot;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    to: Option<String>,
}

pub(super) async fn next(State(state): Admin, bytes: Bytes) -> Result<Json<Changed>, Problem> {
    let Next { to } = read(&bytes, "{\"to\": \"PHASE\"}")?;
    let change = state.control.next(crate::clock::now(), to.as_deref())?;
    Ok(answer(&state, change))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    #[serde(default)]
    text: String,
    team: Option<String>,
    toil_minutes: Option<u32>,
}

/// The longest note, in bytes.
const NOTE: usize = 4000;
/// The longest name of a team, in bytes.
const TEAM: usize = 200;

pub(super) async fn note(State(state): Admin, bytes: Bytes) -> Result<Response, Problem> {
    let example = "{\"text\": \"…\", \"team\": \"…\", \"toil_minutes\": 5}";
    let NewNote { text, team, toil_minutes } = read(&bytes, example)?;
    let text = text.trim();
    let wrong = |why: String| Err(Problem::new(StatusCode::BAD_REQUEST, why));
    if text.is_empty() {
        return wrong(format!("a note says something; the body is {example}"));
    }
    if text.len() > NOTE || team.as_ref().is_some_and(|team| team.len() > TEAM) {
        return wrong(format!("a note's text has at most {NOTE} bytes, its team {TEAM}"));
    }
    let note = state.control.note(text.to_owned(), team, toil_minutes);
    Ok((StatusCode::CREATED, Json(note_json(&note))).into_response())
}

pub(super) async fn notes(State(state): Admin) -> Json<Value> {
    Json(state.control.notes().iter().map(note_json).collect())
}

fn note_json(note: &crate::drill::control::Note) -> Value {
    json!({
        "at": crate::clock::rfc3339(note.at),
        "phase": &*note.phase,
        "text": note.text,
        "team": note.team,
        "toil_minutes": note.toil_minutes,
    })
}

/// The script, where it stands, and what was counted in each phase.
pub(super) async fn phases(State(state): Admin) -> Json<Value> {
    let control = &state.control;
    let standing = control.standing(crate::clock::now());
    let plan = &standing.stage.plan;
    let snapshot = control.ledger().snapshot(plan);
    let at = standing.position.phase();
    let mut told = Vec::new();
    for (id, phase) in plan.phases.iter().enumerate() {
        let running = at.is_some_and(|at| usize::from(at) == id);
        let mut one = counted(&snapshot, &phase.name);
        one["index"] = json!(id);
        one["for_seconds"] = json!(phase.length.map(|length| length.as_secs_f64()));
        one["until_next"] = json!(phase.until_next);
        one["ramp_seconds"] = json!(phase.ramp.map(|ramp| ramp.as_secs_f64()));
        one["running"] = json!(running);
        if running {
            one["elapsed_seconds"] = json!(standing.phase_elapsed.as_secs_f64());
            one["left_seconds"] = json!(standing.phase_left.map(|left| left.as_secs_f64()));
        }
        let faults = phase.faults.iter().map(|(_, fault)| {
            json!({ "name": &*fault.name, "who": fault.who.to_string(), "enabled": fault.enabled })
        });
        one["faults"] = faults.collect();
        told.push(one);
    }
    // Requests outside all phases, and in phases that are gone.
    for counts in &snapshot.phases {
        if !plan.phases.iter().any(|phase| phase.name == counts.phase) {
            told.push(counted(&snapshot, &counts.phase));
        }
    }
    Json(Value::Array(told))
}

/// What was counted in one phase.
fn counted(snapshot: &Snapshot, phase: &str) -> Value {
    let requests = snapshot.phases.iter().find(|counts| &*counts.phase == phase);
    let slos = snapshot.slos.iter().filter_map(|slo| {
        let seen = slo.phases.iter().find(|seen| &*seen.phase == phase)?;
        let counts = seen.counts;
        let excluded: serde_json::Map<String, Value> =
            seen.excluded.iter().map(|(why, count)| ((*why).to_owned(), json!(count))).collect();
        Some(json!({
            "name": &*slo.name,
            "total": counts.total(),
            "good": counts.good,
            "bad": counts.bad(),
            "injected": counts.injected,
            "masked": counts.masked,
            "organic": counts.organic,
            "excluded": excluded,
        }))
    });
    let hits = snapshot.all_faults().filter_map(|fault| {
        let seen = fault.phases.iter().find(|seen| &*seen.phase == phase)?;
        Some(json!({ "name": &*fault.name, "eligible": seen.eligible, "hit": seen.hit }))
    });
    json!({
        "name": phase,
        "requests": requests.map_or(0, |counts| counts.requests),
        "slos": slos.collect::<Vec<_>>(),
        "hits": hits.collect::<Vec<_>>(),
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reload {
    #[serde(default)]
    accept: bool,
}

pub(super) async fn reload(State(state): Admin, bytes: Bytes) -> Result<Response, Problem> {
    let Reload { accept } = read(&bytes, "{\"accept\": true}")?;
    order(&state, Order::Reload { accept }).await
}

/// Puts keys of one fault over the files: `{"probability": "25%", "inject.latency": "1s"}`.
pub(super) async fn set(
    State(state): Admin,
    Path(fault): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let example = "{\"probability\": \"25%\"}";
    let keys: serde_json::Map<String, Value> = read(&bytes, example)?;
    known(&state.control.plan(), &fault)?;
    let mut overrides = Vec::new();
    for (key, value) in &keys {
        flatten(&format!("faults.{fault}."), key, value, &mut overrides);
    }
    if overrides.is_empty() {
        let why = format!("nothing to set; the body is {example}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, why));
    }
    order(&state, Order::Set(overrides)).await
}

/// JSON → dotted keys with TOML values; where only one key of a table can be, it stays whole.
fn flatten(fault: &str, key: &str, value: &Value, overrides: &mut Vec<Override>) {
    match value {
        Value::Object(keys) if merges(key) => {
            for (name, value) in keys {
                flatten(fault, &format!("{key}.{name}"), value, overrides);
            }
        }
        other => overrides.push(Override { path: format!("{fault}{key}"), value: toml(other) }),
    }
}

/// All but tables are written alike.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(keys) => {
            let pairs = keys.iter().map(|(key, value)| format!("{} = {}", json!(key), toml(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

pub(super) async fn clear(
    State(state): Admin,
    Path(fault): Path<String>,
) -> Result<Response, Problem> {
    known(&state.control.plan(), &fault)?;
    order(&state, Order::Clear(fault)).await
}

/// What is in force, as it was written: `${NAME}` stays what it is, and no URL shows its password.
pub(super) async fn scenario(State(state): Admin) -> Json<Value> {
    let standing = state.reloads.standing();
    let texts = standing.scenario.iter().map(|(name, text)| {
        let text = without_passwords(text).unwrap_or_else(|| text.clone());
        json!({ "name": name, "text": text })
    });
    let files = state.files.iter().map(|path| path.display().to_string());
    let overrides = standing.overrides.iter();
    let overrides = overrides.map(|set| json!({ "key": set.path, "value": set.value }));
    Json(json!({
        "generation": standing.generation,
        "files": files.collect::<Vec<_>>(),
        "texts": texts.collect::<Vec<_>>(),
        "overrides": overrides.collect::<Vec<_>>(),
    }))
}

/// Takes a scenario (TOML) in place of the one in force, which is in no file.
pub(super) async fn replace(State(state): Admin, bytes: Bytes) -> Result<Response, Problem> {
    if !state.files.is_empty() {
        let files: Vec<String> =
            state.files.iter().map(|path| format!("`{}`", path.display())).collect();
        let why =
            format!("the scenario is in {}: change it there, it is watched", files.join(", "));
        return Err(Problem::new(StatusCode::CONFLICT, why));
    }
    let text = String::from_utf8(bytes.to_vec());
    let text = text.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "not UTF-8"))?;
    order(&state, Order::Replace(text)).await
}

fn known(plan: &Plan, fault: &str) -> Result<(), Problem> {
    let names = || plan.faults.iter().map(|fault| &*fault.name);
    if names().any(|name| name == fault) {
        return Ok(());
    }
    let hint = crate::document::instead(fault, names());
    Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no fault `{fault}`; {hint}")))
}

async fn order(state: &AdminState, order: Order) -> Result<Response, Problem> {
    let Some(report) = state.reloads.order(order, "API").await else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the process is ending"));
    };
    Ok(told(&report))
}

fn told(report: &Report) -> Response {
    let mut value = json!(report);
    value["summary"] = json!(report.headline());
    let status = match report.result {
        Outcome::Applied | Outcome::Unchanged => StatusCode::OK,
        // Understood, and not done until somebody accepts it.
        Outcome::Held => StatusCode::ACCEPTED,
        Outcome::Rejected => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            value["type"] = json!("about:blank");
            value["title"] = json!("the scenario has mistakes");
            value["status"] = json!(status.as_u16());
            value["detail"] = json!(report.text);
            let json = [(header::CONTENT_TYPE, "application/problem+json")];
            return (status, json, value.to_string()).into_response();
        }
    };
    (status, Json(value)).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Explain {
    /// `POST /api/checkout/42`.
    request: String,
    /// `name: value`, one a line.
    #[serde(default)]
    headers: String,
    client: Option<IpAddr>,
    phase: Option<String>,
    /// As if it came in by this service's own port.
    service: Option<String>,
}

/// Which route and which faults a request would meet, in the plan in force.
pub(super) async fn explained(
    State(state): Admin,
    Query(asks): Query<Explain>,
) -> Result<Json<Explanation>, Problem> {
    let bad = |why: String| Problem::new(StatusCode::BAD_REQUEST, why);
    let headers: Vec<&str> = asks.headers.lines().collect();
    let question = Question::parse(&asks.request, &headers, asks.client).map_err(bad)?;
    let plan = state.control.plan();
    let answer = question.explain(&plan, asks.service.as_deref(), asks.phase.as_deref());
    answer.map(Json).map_err(bad)
}
