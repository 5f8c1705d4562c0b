//! Open-loop traffic: requests are due on a schedule that does not wait for answers.
//!
//! A closed loop (send, wait, send) slows down with the service and so hides what shoppers would
//! have felt. Here request `n` is due at `start + n / rate`; when all connections are busy it
//! queues, none is dropped, and its latency counts from when it was *due*.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::task::JoinSet;

use super::client::{BadUrl, Client};
use super::tally::{End, Tally};
use crate::clock;

/// What to send, where, how often.
#[derive(Debug, Clone)]
pub struct Load {
    /// Scheme, host and port; paths are in the requests.
    pub url: String,
    /// Requests due per second; above 0.
    pub rate_per_second: f64,
    /// For how long requests are due. The run ends when the last of them has ended.
    pub duration: Duration,
    /// How many may be in flight at once; the others queue.
    pub connections: usize,
    /// The mix; must not be empty.
    pub requests: Vec<Template>,
    /// Over this, a request counts as delayed.
    pub slow: Duration,
    /// A request without a whole answer after this is an error.
    pub timeout: Duration,
}

/// One kind of request in the mix: `GET /api/items`, `3 POST /api/checkout/{n}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// How many of this kind in a round of the mix, 1 to 1000.
    pub weight: u32,
    /// The method.
    pub method: Method,
    /// Path and query; `{n}` stands for the request's number.
    pub path: String,
}

/// A mix entry that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct BadTemplate;

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write `[WEIGHT] METHOD /path`, like `GET /api/items` or `3 POST /orders/{n}`")
    }
}

impl std::error::Error for BadTemplate {}

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, BadTemplate> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (weight, method, path) = match words[..] {
            [method, path] => (1, method, path),
            [weight, method, path] => (weight.parse().map_err(|_| BadTemplate)?, method, path),
            _ => return Err(BadTemplate),
        };
        let method = Method::from_str(method).map_err(|_| BadTemplate)?;
        let readable = path.replace("{n}", "1").parse::<http::uri::PathAndQuery>().is_ok();
        if !(1..=1000).contains(&weight) || !path.starts_with('/') || !readable {
            return Err(BadTemplate);
        }
        Ok(Self { weight, method, path: path.to_owned() })
    }
}

/// The tally of a run that may still be going on.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Tally>>);

impl Meter {
    /// The counts so far.
    pub fn read(&self) -> Tally {
        self.0.lock().map(|tally| tally.clone()).unwrap_or_default()
    }

    fn count(&self, end: End, took: Duration, slow: Duration) {
        if let Ok(mut tally) = self.0.lock() {
            tally.count(end, took, slow);
        }
    }
}

/// Sends the whole load. What came of it is in `meter`, which can be read meanwhile; dropping the
/// future stops the traffic.
pub async fn run(load: Load, meter: &Meter) -> Result<(), BadUrl> {
    let total = (load.rate_per_second * load.duration.as_secs_f64()).round() as u64;
    let shared = Arc::new(Shared {
        round: round_of(&load.requests),
        client: Client::new(&load.url)?,
        meter: meter.clone(),
        next: AtomicU64::new(0),
        total,
        start: clock::now(),
        load,
    });
    let mut connections = JoinSet::new();
    for _ in 0..shared.load.connections.max(1) {
        connections.spawn(Arc::clone(&shared).connection());
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

#[derive(Debug)]
struct Shared {
    load: Load,
    /// Indices into `load.requests`, in the order they are sent, over and over.
    round: Vec<usize>,
    client: Client,
    meter: Meter,
    next: AtomicU64,
    total: u64,
    start: Instant,
}

impl Shared {
    /// One connection's life: take the next request that is due, wait until it is, send it. While
    /// all connections are busy the numbers not yet taken *are* the queue, first come first served.
    async fn connection(self: Arc<Self>) {
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            if n >= self.total {
                return;
            }
            let offset = Duration::try_from_secs_f64(n as f64 / self.load.rate_per_second)
                .unwrap_or(Duration::MAX);
            let Some(due) = self.start.checked_add(offset) else { return };
            tokio::time::sleep_until(due.into()).await;
            let end = self.send(n).await;
            let took = clock::now().saturating_duration_since(due);
            self.meter.count(end, took, self.load.slow);
        }
    }

    async fn send(&self, n: u64) -> End {
        let place = (n % self.round.len().max(1) as u64) as usize;
        let Some(template) = self.round.get(place).and_then(|&i| self.load.requests.get(i)) else {
            return End::Error("empty");
        };
        let request = Request::builder()
            .method(template.method.clone())
            .uri(template.path.replace("{n}", &n.to_string()))
            .body(Full::new(Bytes::new()));
        let Ok(request) = request else { return End::Error("request") };
        match self.client.send(request, 0, self.load.timeout).await {
            Ok(reply) => End::Status(reply.status),
            Err(failure) => End::Error(failure.label()),
        }
    }
}

/// A round of the mix with each kind spread out evenly (smooth weighted round robin): weights
/// 3 and 1 give 0, 0, 1, 0.
fn round_of(requests: &[Template]) -> Vec<usize> {
    let total: i64 = requests.iter().map(|template| i64::from(template.weight)).sum();
    let mut credit = vec![0_i64; requests.len()];
    let mut round = Vec::new();
    for _ in 0..total {
        for (credit, template) in credit.iter_mut().zip(requests) {
            *credit += i64::from(template.weight);
        }
        // The first of the richest, so that equal weights go in the order given.
        let Some(&most) = credit.iter().max() else { break };
        let Some(chosen) = credit.iter().position(|&c| c == most) else { break };
        credit[chosen] -= total;
        round.push(chosen);
    }
    round
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mix_entries() {
        let template: Template =
            "3 POST /api/checkout/{n}?fallback=1".parse().expect("a mix entry");
        assert_eq!(template.weight, 3);
        assert_eq!(template.method, Method::POST);
        assert_eq!("GET /".parse::<Template>().map(|t| t.weight), Ok(1));
        for bad in ["", "GET", "/", "0 GET /", "1001 GET /", "x GET /", "GET items", "GET / b c"] {
            assert_eq!(bad.parse::<Template>(), Err(BadTemplate), "{bad}");
        }
    }

    #[test]
    fn a_round_spreads_each_kind() {
        let mix: Vec<Template> =
            ["3 GET /a", "GET /b"].iter().map(|t| t.parse().expect("a mix entry")).collect();
        assert_eq!(round_of(&mix), [0, 0, 1, 0]);
        assert_eq!(round_of(&[]), Vec::<usize>::new());
    }
}
