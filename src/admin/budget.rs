//! `/api/v1`: what budgets and alerts come to.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::api::{Admin, Problem};
use crate::budget::{self, Confidence, Happened, Interval};
use crate::clock::rfc3339;
use crate::exchange::record::Record;
use crate::report::view::Slo;

fn find(slos: Vec<Slo>, name: &str) -> Result<Slo, Problem> {
    let known: Vec<String> = slos.iter().map(|slo| slo.name.clone()).collect();
    slos.into_iter().find(|slo| slo.name == name).ok_or_else(|| {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let detail = format!("there is no SLO `{name}`; there is {known}");
        Problem::new(StatusCode::NOT_FOUND, detail)
    })
}

pub(super) async fn slo(
    State(state): Admin,
    Path(name): Path<String>,
) -> Result<Json<Slo>, Problem> {
    find(state.live.view(crate::clock::now()).slos, &name).map(Json)
}

/// What a one-line probe of another tool asks.
#[derive(Debug, Serialize)]
struct Judged {
    slo: String,
    /// `pass`, `fail` or `inconclusive`.
    verdict: String,
    objective: f64,
    total: u64,
    bad: u64,
    /// That prove the objective kept, if no more are bad than now.
    needed_events: Option<u64>,
    /// Between what the share of bad events lies, at 95 %, by method.
    intervals: Vec<Between>,
}

#[derive(Debug, Serialize)]
struct Between {
    /// `wilson`, `clopper-pearson` or `jeffreys`.
    method: &'static str,
    low_ratio: f64,
    high_ratio: f64,
}

/// They differ where it matters: at few bad events. The verdict is by none of them.
fn intervals(bad: u64, n: u64) -> Vec<Between> {
    let sure = Confidence::P95;
    let methods = [
        ("wilson", budget::wilson(bad, n, sure)),
        ("clopper-pearson", budget::clopper_pearson(bad, n, sure)),
        ("jeffreys", budget::jeffreys(bad, n, sure)),
    ];
    let between = methods.into_iter().filter_map(|(method, interval)| {
        let Interval { low, high } = interval?;
        Some(Between { method, low_ratio: low, high_ratio: high })
    });
    between.collect()
}

/// 200 pass, 409 fail, 425 inconclusive.
pub(super) async fn verdict(
    State(state): Admin,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let slo = find(state.live.view(crate::clock::now()).slos, &name)?;
    let status = match slo.confidence.verdict.as_str() {
        "pass" => StatusCode::OK,
        "fail" => StatusCode::CONFLICT,
        _ => StatusCode::TOO_EARLY,
    };
    let judged = Judged {
        slo: slo.name,
        verdict: slo.confidence.verdict,
        objective: slo.objective,
        total: slo.total,
        bad: slo.bad,
        needed_events: slo.confidence.needed_events,
        intervals: intervals(slo.bad, slo.total),
    };
    Ok((status, Json(judged)).into_response())
}

/// Every alert there would be, and what happened so far, oldest first.
pub(super) async fn alerts(State(state): Admin) -> Json<Value> {
    let slos = state.live.view(crate::clock::now()).slos;
    let began = state.control.began();
    let happened = state.control.alerts().into_iter().map(|alert| {
        json!({
            "slo": &*alert.slo,
            "tier": alert.tier.name,
            "severity": alert.tier.severity.label(),
            "dialect": alert.dialect.name(),
            "happened": match alert.happened {
                Happened::Fired => "fired",
                Happened::Resolved => "resolved",
            },
            "at": rfc3339(began + std::time::Duration::from_secs(alert.after)),
            "after_seconds": alert.after,
            "phase": &*alert.phase,
        })
    });
    let happened: Vec<Value> = happened.collect();
    let alerts: Vec<Value> =
        slos.iter().map(|slo| json!({ "slo": slo.name, "alerts": slo.alerts })).collect();
    Json(json!({ "slos": alerts, "happened": happened }))
}

/// The drill's events over time: what `export alert-proof` takes.
pub(super) async fn record(State(state): Admin) -> Json<Record> {
    Json(state.live.record(crate::clock::now()))
}
