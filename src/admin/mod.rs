//! The control plane: health, metrics and the API, on a listener of its own that the traffic
//! ports never reach.

mod api;
mod budget;
mod budget_metrics;
mod guard;
mod metrics;
mod steer;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, patch, post};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::drill::Control;
use crate::drill::reload::Reloads;
use crate::proxy::open::Open;
use crate::report::Live;
use crate::requests::Log;
use crate::scenario::LARGEST_FILE;

/// Of a request, in bytes.
const LARGEST_BODY: usize = 64 * 1024;

/// What the handlers work on.
#[derive(Debug)]
pub struct AdminState {
    pub control: Arc<Control>,
    /// Where reloads and overrides are asked for.
    pub reloads: Arc<Reloads>,
    /// The drill as people see it.
    pub live: Arc<Live>,
    /// Traffic is accepted, and no end has begun.
    pub ready: Arc<AtomicBool>,
    /// Rung by `POST drill/finish`.
    pub finish: Arc<Notify>,
    pub bound: SocketAddr,
    /// Files and directories the scenario comes from; empty: from none.
    pub files: Vec<PathBuf>,
    /// The request log, where there is one.
    pub requests: Option<Arc<Log>>,
    /// Client connections, by worker.
    pub open: Arc<[Open]>,
}

/// Every path there is.
pub fn router(state: Arc<AdminState>) -> Router {
    let drill = Router::new()
        .route("/halt", post(api::halt))
        .route("/rearm", post(api::rearm))
        .route("/pause", post(api::pause))
        .route("/resume", post(api::resume))
        .route("/start", post(api::start))
        .route("/next", post(steer::next))
        .route("/finish", post(api::finish));
    let largest = DefaultBodyLimit::max(usize::try_from(LARGEST_FILE).unwrap_or(usize::MAX));
    let v1 = Router::new()
        .route("/status", get(api::status))
        .route("/slos", get(api::slos))
        .route("/slos/{name}", get(budget::slo))
        .route("/slos/{name}/verdict", get(budget::verdict))
        .route("/alerts", get(budget::alerts))
        .route("/record", get(budget::record))
        .route("/faults", get(api::faults))
        .route("/faults/{name}/override", patch(steer::set).delete(steer::clear))
        .route("/routes", get(api::routes))
        .route("/phases", get(steer::phases))
        .route("/notes", get(steer::notes).post(steer::note))
        .route("/reload", post(steer::reload))
        .route("/explain", get(steer::explained))
        .route("/requests", get(api::requests))
        .route("/scenario", get(steer::scenario).put(steer::replace).layer(largest))
        .nest("/drill", drill)
        .layer(axum::middleware::map_response(api::problems));
    Router::new()
        .nest("/api/v1", v1)
        .route("/metrics", get(metrics::metrics))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), guard::guard))
        // One word each, whoever asks.
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(api::readyz))
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::not_allowed)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(state)
}

/// Serves until `shutdown` is done.
pub async fn serve(
    listener: TcpListener,
    state: Arc<AdminState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(state)).with_graceful_shutdown(shutdown).await
}
