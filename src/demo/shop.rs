//! A small shop of two services: checkout, which shoppers see, calls payments with a timeout, one
//! retry and a fallback. It has faults of its own (`/flaky`), so that organic errors are there to
//! be told from injected ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::http::{Client, Failed};

/// How long checkout waits for payments.
const PATIENCE: Duration = Duration::from_millis(800);
/// Connections to payments that checkout keeps.
const KEPT: usize = 64;

#[derive(Debug)]
struct Checkout {
    payments: String,
    idle: Mutex<Vec<Client>>,
    flaky: AtomicU64,
}

/// The payments service: `POST /v2/charges` in about 5 ms.
pub fn payments() -> Router {
    let charge = || async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        (StatusCode::CREATED, "charged\n")
    };
    Router::new().route("/v2/charges", post(charge)).route("/healthz", get(|| async { "ok\n" }))
}

/// The checkout service; `payments` is where it finds the other (`http://HOST:PORT`).
pub fn checkout(payments: &str) -> Result<Router, Failed> {
    Client::new(payments)?;
    let state = Arc::new(Checkout {
        payments: payments.to_owned(),
        idle: Mutex::new(Vec::new()),
        flaky: AtomicU64::new(0),
    });
    Ok(Router::new()
        .route("/api/checkout/{cart}", post(buy))
        .route("/api/items", get(|| async { "[\"kettle\",\"tea\"]\n" }))
        .route("/flaky", get(flaky))
        .route("/slow", get(slow))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/bytes/{n}", get(|Path(n): Path<usize>| async move { vec![b'x'; n.min(64 << 20)] }))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
        .with_state(state))
}

/// Charges, once more if that fails, and falls back to "pay later" for those who ask for it.
async fn buy(
    State(shop): State<Arc<Checkout>>,
    Path(cart): Path<String>,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> Response {
    for attempt in 1..=2 {
        match tokio::time::timeout(PATIENCE, charge(&shop, &cart, attempt)).await {
            Ok(Ok(status)) if status < 500 => return (StatusCode::OK, "paid\n").into_response(),
            _ => {}
        }
    }
    if query.contains_key("fallback") {
        return (StatusCode::ACCEPTED, "pay later\n").into_response();
    }
    (StatusCode::BAD_GATEWAY, "payments failed twice\n").into_response()
}

async fn charge(shop: &Checkout, cart: &str, attempt: u32) -> Result<u16, Failed> {
    let kept = shop.idle.lock().await.pop();
    let mut client = match kept {
        Some(client) => client,
        None => Client::new(&shop.payments)?,
    };
    let headers = [("idempotency-key", cart.to_owned()), ("x-attempt", attempt.to_string())];
    let answer = client.send("POST", "/v2/charges", &headers, Bytes::from_static(b"{}")).await?;
    let mut idle = shop.idle.lock().await;
    if idle.len() < KEPT {
        idle.push(client);
    }
    Ok(answer.status().as_u16())
}

/// Fails one request in twenty, of its own accord.
async fn flaky(State(shop): State<Arc<Checkout>>) -> Response {
    if shop.flaky.fetch_add(1, Ordering::Relaxed) % 20 == 19 {
        return (StatusCode::INTERNAL_SERVER_ERROR, "an organic failure\n").into_response();
    }
    "fine\n".into_response()
}

async fn slow(Query(query): Query<std::collections::HashMap<String, u64>>) -> &'static str {
    let ms = query.get("ms").copied().unwrap_or(100).min(60_000);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "at last\n"
}

/// Serves one of the routers until the task is dropped.
pub async fn serve(listener: TcpListener, router: Router) -> std::io::Result<()> {
    axum::serve(listener, router).await
}
