//! Open-loop traffic: requests leave by the clock, whether or not earlier ones are answered, and
//! their time counts from when they were due. It keeps a tally of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use super::http::{Client, Failed};

#[derive(Debug, Clone)]
pub struct Load {
    /// `http://HOST:PORT`.
    pub url: String,
    /// Requests a second.
    pub rate: f64,
    pub duration: Duration,
    pub connections: usize,
    /// (method, path), taken in turn.
    pub requests: Vec<(String, String)>,
    /// Answers slower than this are counted as slow.
    pub slow: Duration,
}

/// What the load saw.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub sent: u64,
    pub statuses: BTreeMap<u16, u64>,
    /// No whole answer.
    pub failed: u64,
    pub slow: u64,
    /// Answered, slow and with a 5xx at once.
    pub slow_and_failed: u64,
    /// Microseconds from when each answered request was due, sorted.
    pub latencies_us: Vec<u64>,
}

impl Tally {
    /// The `share` quantile of latency, nearest rank.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let last = self.latencies_us.len().checked_sub(1)?;
        let rank = (share * self.latencies_us.len() as f64).ceil() as usize;
        Some(Duration::from_micros(self.latencies_us[rank.saturating_sub(1).min(last)]))
    }

    pub fn to_json(&self) -> Value {
        let ms = |share| self.quantile(share).map(|latency| latency.as_secs_f64() * 1e3);
        let statuses: serde_json::Map<String, Value> = self
            .statuses
            .iter()
            .map(|(status, count)| (status.to_string(), json!(count)))
            .collect();
        json!({
            "sent": self.sent,
            "statuses": statuses,
            "failed": self.failed,
            "slow": self.slow,
            "slow_and_failed": self.slow_and_failed,
            "latency_ms": { "p50": ms(0.5), "p99": ms(0.99), "max": ms(1.0) },
        })
    }
}

/// Sends it all and waits for every answer.
pub async fn run(load: Load) -> Result<Tally, Failed> {
    Client::new(&load.url)?;
    let total = (load.rate * load.duration.as_secs_f64()).round().max(0.0) as u64;
    let (due, queue) = mpsc::channel::<(u64, Instant)>(load.connections.max(1) * 64);
    let queue = Arc::new(Mutex::new(queue));
    let load = Arc::new(load);
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..load.connections.max(1) {
        senders.spawn(send(Arc::clone(&load), Arc::clone(&queue)));
    }
    let start = crate::clock::now();
    for number in 0..total {
        let at = start + Duration::try_from_secs_f64(number as f64 / load.rate).unwrap_or_default();
        tokio::time::sleep_until(at.into()).await;
        // A full queue makes the sender wait; the request's time counts from when it was due.
        if due.send((number, at)).await.is_err() {
            break;
        }
    }
    drop(due);
    let mut tally = Tally::default();
    while let Some(part) = senders.join_next().await {
        tally.add(part.map_err(|error| Failed(error.to_string()))??);
    }
    tally.latencies_us.sort_unstable();
    Ok(tally)
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.slow += other.slow;
        self.slow_and_failed += other.slow_and_failed;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.latencies_us.extend(other.latencies_us);
    }
}

async fn send(
    load: Arc<Load>,
    queue: Arc<Mutex<mpsc::Receiver<(u64, Instant)>>>,
) -> Result<Tally, Failed> {
    let mut tally = Tally::default();
    let mut client = Client::new(&load.url)?;
    loop {
        let next = queue.lock().await.recv().await;
        let Some((number, due)) = next else { return Ok(tally) };
        let turn = usize::try_from(number).unwrap_or_default() % load.requests.len().max(1);
        let Some((method, path)) = load.requests.get(turn) else { return Ok(tally) };
        let path = path.replace("{n}", &number.to_string());
        tally.sent += 1;
        match client.send(method, &path, &[], Bytes::new()).await {
            Ok(answer) => {
                let took = crate::clock::now().saturating_duration_since(due);
                let slow = took >= load.slow;
                *tally.statuses.entry(answer.status().as_u16()).or_default() += 1;
                tally.slow += u64::from(slow);
                tally.slow_and_failed += u64::from(slow && answer.status().is_server_error());
                tally.latencies_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            }
            Err(_) => tally.failed += 1,
        }
    }
}
