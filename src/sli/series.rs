//! Duration histograms, written by one worker each and read by anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::snapshot::Buckets;

/// Upper edges in seconds, inclusive, as OpenTelemetry advises for HTTP durations.
pub const EDGES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const EDGES_US: [u64; 14] = [
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// Adds without a lock or a locked instruction: each cell has one writer.
pub(super) fn add(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; 15],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Called by the one worker that owns it.
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        add(&self.counts[EDGES_US.partition_point(|edge| *edge < us)], 1);
        add(&self.sum_us, us);
    }

    pub fn add_to(&self, buckets: &mut Buckets) {
        buckets.counts.resize(self.counts.len(), 0);
        for (sum, count) in buckets.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        buckets.sum += Duration::from_micros(self.sum_us.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_inclusive() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_millis(5));
        histogram.record(Duration::from_micros(5_001));
        histogram.record(Duration::from_secs(99));
        let mut buckets = Buckets::default();
        histogram.add_to(&mut buckets);
        assert_eq!((buckets.counts[0], buckets.counts[1], buckets.counts[14]), (1, 1, 1));
        assert!(EDGES.iter().zip(EDGES_US).all(|(s, us)| (s * 1e6 - us as f64).abs() < 1e-6));
    }
}
