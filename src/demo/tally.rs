//! What a client saw: counts that owe nothing to the proxy's own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

/// Sub-buckets per power of two: a quantile is at most 1/64 (1.6 %) above the true value.
const FINE: u64 = 64;
const FINE_BITS: u32 = 6;

/// Answers and errors, counted by the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that ended, in an answer or an error.
    pub done: u64,
    /// Answers by status code.
    pub status: BTreeMap<u16, u64>,
    /// Requests without an answer, by reason: `connect`, `closed`, `broken`, `timeout`.
    pub errors: BTreeMap<&'static str, u64>,
    /// Requests that took longer than the threshold, answered or not.
    pub delayed: u64,
    /// Requests that took longer than the threshold and were answered 5xx.
    pub delayed_and_failed: u64,
    /// From the time a request was meant to be sent to the end of its answer.
    pub latency: Latency,
}

/// How a request ended, for the one who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// An answer with this status.
    Status(u16),
    /// No answer, and why.
    Error(&'static str),
}

impl Tally {
    /// Counts one request that took `took` since it was due; over `slow` it counts as delayed.
    pub fn count(&mut self, end: End, took: Duration, slow: Duration) {
        self.done += 1;
        self.latency.record(took);
        let delayed = took > slow;
        self.delayed += u64::from(delayed);
        match end {
            End::Status(status) => {
                *self.status.entry(status).or_default() += 1;
                self.delayed_and_failed += u64::from(delayed && status >= 500);
            }
            End::Error(reason) => *self.errors.entry(reason).or_default() += 1,
        }
    }

    /// Requests that were not answered at all.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Answers with a 5xx status.
    pub fn server_errors(&self) -> u64 {
        self.status.range(500..600).map(|(_, n)| n).sum()
    }

    /// For machines: counts as they are, times in milliseconds.
    pub fn to_json(&self) -> Value {
        json!({
            "done": self.done,
            "status": self.status.iter().map(|(k, v)| (k.to_string(), *v)).collect::<BTreeMap<_, _>>(),
            "errors": self.errors,
            "delayed": self.delayed,
            "delayed_and_failed": self.delayed_and_failed,
            "latency_ms": Quantiles::of(&self.latency),
        })
    }
}

/// A latency histogram of fixed size: exact to 1.6 %, the maximum exact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// By bucket of whole microseconds; grows to at most 64 × 59 cells.
    cells: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Latency {
    /// Adds one measurement.
    pub fn record(&mut self, took: Duration) {
        let cell = cell_of(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if self.cells.len() <= cell {
            self.cells.resize(cell + 1, 0);
        }
        self.cells[cell] += 1;
        self.total += 1;
        self.max = self.max.max(took);
    }

    /// The value that a share `q` of all measurements does not exceed; zero without any.
    pub fn quantile(&self, q: f64) -> Duration {
        let rank = ((q * self.total as f64).ceil() as u64).max(1);
        let mut below = 0;
        for (cell, n) in self.cells.iter().enumerate() {
            below += n;
            if below >= rank {
                return Duration::from_micros(upper_end(cell)).min(self.max);
            }
        }
        self.max
    }

    /// The longest, exactly.
    pub fn max(&self) -> Duration {
        self.max
    }
}

/// Below 64 µs one cell a microsecond; above, 64 cells for every doubling.
fn cell_of(micros: u64) -> usize {
    if micros < FINE {
        return micros as usize;
    }
    let doublings = micros.ilog2() - FINE_BITS;
    (u64::from(doublings) * FINE + (micros >> doublings)) as usize
}

/// The largest value in a cell, in microseconds.
fn upper_end(cell: usize) -> u64 {
    let cell = cell as u64;
    if cell < 2 * FINE {
        return cell;
    }
    let doublings = cell / FINE - 1;
    let mantissa = cell % FINE + FINE;
    ((mantissa + 1) << doublings).wrapping_sub(1)
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Quantiles {
    fn of(latency: &Latency) -> Self {
        Self {
            p50: millis(latency.quantile(0.5)),
            p90: millis(latency.quantile(0.9)),
            p99: millis(latency.quantile(0.99)),
            max: millis(latency.max()),
        }
    }
}

fn millis(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_cell() {
        for micros in (0..5_000).chain([1 << 20, (1 << 40) + 12_345, u64::MAX]) {
            let cell = cell_of(micros);
            let top = upper_end(cell);
            assert!(top >= micros, "{micros} above its cell's end {top}");
            assert!(top - micros <= micros / FINE, "{micros} far below {top}");
            assert_eq!(cell_of(top), cell, "the end of the cell of {micros} is in it");
        }
    }

    #[test]
    fn quantiles_and_counts() {
        let mut tally = Tally::default();
        for ms in 1..=100 {
            let end = if ms > 98 { End::Status(500) } else { End::Status(200) };
            tally.count(end, Duration::from_millis(ms), Duration::from_millis(90));
        }
        tally.count(End::Error("timeout"), Duration::from_secs(1), Duration::from_millis(90));
        assert_eq!((tally.done, tally.failed(), tally.server_errors()), (101, 1, 2));
        assert_eq!((tally.delayed, tally.delayed_and_failed), (11, 2));
        let p50 = tally.latency.quantile(0.5).as_millis();
        assert!((51..=52).contains(&p50), "{p50}");
        assert_eq!(tally.latency.max(), Duration::from_secs(1));
        assert_eq!(Latency::default().quantile(0.99), Duration::ZERO);
    }
}
