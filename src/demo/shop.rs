//! A shop of two services: checkout, which shoppers call, and payments, which checkout calls.
//!
//! It behaves as services do: checkout gives payments a deadline, tries once more, and can fall
//! back to "pay later". So a fault at payments is not the same fault at checkout, and the
//! difference is what a drill shows. Where a scenario has more services, checkout stands in for
//! those that shoppers look things up in and that send them mail.
//!
//! What is sent to it is read before it answers, wanted or not: a connection whose request is not
//! read to its end would be closed behind the answer, under the next request.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::client::{Client, Failure};

/// Payments remembers this many idempotency keys; the oldest go first.
const REMEMBERED_KEYS: usize = 10_000;
/// `/bytes/{n}` sends at most this many bytes: 1 GiB.
const MAX_BYTES: u64 = 1 << 30;
/// `/slow?ms=` waits at most this long.
const MAX_SLOW: Duration = Duration::from_mins(10);
/// Every how many answers `/flaky` fails.
const FLAKY_EVERY: u64 = 20;

/// How the shop behaves.
#[derive(Debug, Clone)]
pub struct Shop {
    /// Where checkout finds payments: payments itself, or the proxy in front of it.
    pub payments_url: String,
    /// How long checkout waits for one attempt at payments.
    pub payments_timeout: Duration,
    /// How long payments takes for a charge.
    pub charge_takes: Duration,
}

impl Shop {
    /// 800 ms a try, 5 ms a charge.
    pub fn new(payments_url: impl Into<String>) -> Self {
        Self {
            payments_url: payments_url.into(),
            payments_timeout: Duration::from_millis(800),
            charge_takes: Duration::from_millis(5),
        }
    }
}

/// Serves both services until the future is dropped or a listener fails.
pub async fn serve(checkout: TcpListener, payments: TcpListener, shop: Shop) -> io::Result<()> {
    let client = Client::new(&shop.payments_url)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let front = Arc::new(Checkout {
        payments: client,
        timeout: shop.payments_timeout,
        orders: AtomicU64::new(0),
        flaky: AtomicU64::new(0),
    });
    let back = Arc::new(Payments { takes: shop.charge_takes, charges: Mutex::default() });
    // Its large bodies would lie in the kernel's memory, megabytes for each caller that is slow.
    let little = |stream: &mut tokio::net::TcpStream| crate::os::hold_little_unsent(stream);
    let (checkout, payments) = (checkout.tap_io(little), payments.tap_io(little));
    tokio::try_join!(async { axum::serve(checkout, checkout_router(front)).await }, async {
        axum::serve(payments, payments_router(back)).await
    },)?;
    Ok(())
}

#[derive(Debug)]
struct Checkout {
    payments: Client,
    timeout: Duration,
    orders: AtomicU64,
    flaky: AtomicU64,
}

fn checkout_router(state: Arc<Checkout>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/api/items", get(items))
        .route("/api/search", get(items))
        .route("/api/suggestions/{item}", get(items))
        .route("/api/checkout/{cart}", post(pay))
        .route("/flaky", any(flaky))
        .route("/slow", any(slow))
        .route("/echo", post(echo))
        .route("/v1/messages", post(echo))
        .route("/bytes/{n}", get(bytes))
        .with_state(state)
}

async fn items() -> Response {
    let body = r#"[{"id":1,"name":"tea","cents":420},{"id":2,"name":"cup","cents":1250}]"#;
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// One order: at most two attempts at payments under one idempotency key, so that a retry after
/// a lost answer does not charge twice.
async fn pay(
    State(shop): State<Arc<Checkout>>,
    Path(cart): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    _: Bytes,
) -> Response {
    let order = shop.orders.fetch_add(1, Ordering::Relaxed) + 1;
    let key = format!("order-{order}");
    let mut last = StatusCode::BAD_GATEWAY;
    for attempt in 1..=2_u8 {
        match charge(&shop, &key, &cart).await {
            Ok(status) if status < 500 => {
                // Paid; or payments refuses, and would again.
                let refused = StatusCode::from_u16(status).ok().filter(|_| status >= 400);
                return (
                    refused.unwrap_or(StatusCode::OK),
                    Json(json!({"order": order, "cart": cart, "attempts": attempt})),
                )
                    .into_response();
            }
            Err(Lost::TooSlow) => last = StatusCode::GATEWAY_TIMEOUT,
            Ok(_) | Err(Lost::Broken) => last = StatusCode::BAD_GATEWAY,
        }
    }
    if query.get("fallback").is_some_and(|value| value != "0") {
        let later = json!({"order": order, "cart": cart, "attempts": 2, "paid": "later"});
        return (StatusCode::ACCEPTED, Json(later)).into_response();
    }
    (last, Json(json!({"order": order, "cart": cart, "attempts": 2}))).into_response()
}

/// An attempt without an answer.
enum Lost {
    TooSlow,
    Broken,
}

/// One attempt: the status payments answered.
async fn charge(shop: &Checkout, key: &str, cart: &str) -> Result<u16, Lost> {
    let body = json!({"cart": cart, "cents": 1670}).to_string();
    let request = Request::post("/v2/charges")
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| Lost::Broken)?;
    match shop.payments.send(request, 0, shop.timeout).await {
        Ok(reply) => Ok(reply.status),
        Err(Failure::TimedOut(_)) => Err(Lost::TooSlow),
        Err(Failure::Connect(_) | Failure::Broken(_)) => Err(Lost::Broken),
    }
}

/// The service's own failures: every 20th answer is a 500, by a counter, so that a test can count
/// on them.
async fn flaky(State(shop): State<Arc<Checkout>>, _: Bytes) -> Response {
    let n = shop.flaky.fetch_add(1, Ordering::Relaxed) + 1;
    if n.is_multiple_of(FLAKY_EVERY) {
        (StatusCode::INTERNAL_SERVER_ERROR, "the service's own failure\n").into_response()
    } else {
        "fine\n".into_response()
    }
}

#[derive(Debug, Deserialize)]
struct SlowQuery {
    ms: Option<u64>,
}

async fn slow(Query(query): Query<SlowQuery>, _: Bytes) -> &'static str {
    let wait = Duration::from_millis(query.ms.unwrap_or(1000)).min(MAX_SLOW);
    tokio::time::sleep(wait).await;
    "at last\n"
}

/// Sends the body back as it comes, without waiting for its end.
async fn echo(headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
}

async fn bytes(Path(n): Path<u64>) -> Response {
    if n > MAX_BYTES {
        return (StatusCode::BAD_REQUEST, "at most 1073741824 bytes\n").into_response();
    }
    Response::new(Body::new(Letters { left: n }))
}

/// `n` times the letter `x`, in pieces, with a known length.
#[derive(Debug)]
struct Letters {
    left: u64,
}

static LETTERS: [u8; 16 * 1024] = [b'x'; 16 * 1024];

impl http_body::Body for Letters {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = self.left.min(LETTERS.len() as u64) as usize;
        self.left -= piece as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&LETTERS[..piece])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[derive(Debug)]
struct Payments {
    takes: Duration,
    charges: Mutex<Charges>,
}

/// Charges made, by idempotency key.
#[derive(Debug, Default)]
struct Charges {
    by_key: HashMap<String, u64>,
    oldest_first: VecDeque<String>,
    made: u64,
}

impl Charges {
    /// The charge's number, and whether this key had been charged before.
    fn charge(&mut self, key: Option<&str>) -> (u64, bool) {
        if let Some(known) = key.and_then(|key| self.by_key.get(key)) {
            return (*known, true);
        }
        self.made += 1;
        if let Some(key) = key {
            if self.oldest_first.len() == REMEMBERED_KEYS
                && let Some(oldest) = self.oldest_first.pop_front()
            {
                self.by_key.remove(&oldest);
            }
            self.by_key.insert(key.to_owned(), self.made);
            self.oldest_first.push_back(key.to_owned());
        }
        (self.made, false)
    }
}

fn payments_router(state: Arc<Payments>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/v2/charges", post(charges))
        .with_state(state)
}

async fn charges(State(payments): State<Arc<Payments>>, headers: HeaderMap, _: Bytes) -> Response {
    tokio::time::sleep(payments.takes).await;
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let Ok((charge, repeated)) = payments.charges.lock().map(|mut all| all.charge(key)) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let status = if repeated { StatusCode::OK } else { StatusCode::CREATED };
    (status, Json(json!({"charge": charge, "repeated": repeated}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_charged_once_and_forgotten_last() {
        let mut charges = Charges::default();
        assert_eq!(charges.charge(Some("a")), (1, false));
        assert_eq!(charges.charge(Some("a")), (1, true));
        assert_eq!(charges.charge(None), (2, false));
        assert_eq!(charges.charge(None), (3, false));
        for n in 0..REMEMBERED_KEYS {
            charges.charge(Some(&format!("k{n}")));
        }
        assert_eq!(charges.by_key.len(), REMEMBERED_KEYS);
        assert!(!charges.charge(Some("a")).1, "the oldest key made room");
    }
}
