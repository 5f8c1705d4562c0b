//! Plain data out: what was counted, as the control plane and reports see it.

use std::sync::Arc;
use std::time::Duration;

use super::operations::OperationCounts;
use crate::units::Share;

/// Everything counted so far, by the names of the plan in force.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Requests that ended, with or without a route.
    pub requests: u64,
    /// Requests under way.
    pub active: i64,
    /// Streams counted when their head was out, and cut by their service since.
    pub interrupted: u64,
    pub slos: Vec<SloCounts>,
    /// Those of the plan, by id.
    pub faults: Vec<FaultCounts>,
    /// Those that reloads have taken away, as far as they met a request.
    pub removed: Vec<FaultCounts>,
    /// In the order the phases were first met.
    pub phases: Vec<PhaseCounts>,
    /// By route, where the scenario says what an operation is.
    pub operations: Vec<(Arc<str>, OperationCounts)>,
    /// Refused by backburn before routing, by reason.
    pub refused: Vec<(&'static str, u64)>,
    pub durations: Vec<Series>,
    /// Delays asked for and carried out.
    pub asked: Buckets,
    pub actual: Buckets,
}

impl Snapshot {
    /// Every fault that was counted, those that are gone included.
    pub fn all_faults(&self) -> impl Iterator<Item = &FaultCounts> {
        self.faults.iter().chain(&self.removed)
    }
}

/// Counts by name.
pub type ByName = Vec<(&'static str, u64)>;

/// Events of one SLO. `total = good + injected + masked + organic`, by construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub good: u64,
    pub injected: u64,
    pub masked: u64,
    pub organic: u64,
}

impl Counts {
    pub fn bad(&self) -> u64 {
        self.injected + self.masked + self.organic
    }
    pub fn total(&self) -> u64 {
        self.good + self.bad()
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            good: self.good + other.good,
            injected: self.injected + other.injected,
            masked: self.masked + other.masked,
            organic: self.organic + other.organic,
        }
    }
}

/// One SLO's events over the whole drill, and phase by phase.
#[derive(Debug, Clone, PartialEq)]
pub struct SloCounts {
    pub name: Arc<str>,
    pub objective: Share,
    pub window: Duration,
    /// The sum over all phases.
    pub counts: Counts,
    pub excluded: ByName,
    /// In the order the phases were first met.
    pub phases: Vec<SloPhase>,
}

impl std::ops::Deref for SloCounts {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.counts
    }
}

/// One SLO's events in one phase: those of the requests that arrived in it.
#[derive(Debug, Clone, PartialEq)]
pub struct SloPhase {
    pub phase: Arc<str>,
    pub counts: Counts,
    pub excluded: ByName,
}

/// Requests that arrived in one phase and have ended.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseCounts {
    pub phase: Arc<str>,
    pub requests: u64,
}

/// One fault's figures in one phase.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPhase {
    pub phase: Arc<str>,
    pub eligible: u64,
    pub hit: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FaultCounts {
    pub name: Arc<str>,
    /// The share asked for, where the fault has one.
    pub asked: Option<Share>,
    /// The verb a person would use: `5%`, `first 3`, `every 10`, `all`.
    pub who: String,
    pub eligible: u64,
    /// Requests it took effect on.
    pub hit: u64,
    pub skipped: Vec<(&'static str, u64)>,
    /// Route, eligible, injected by kind.
    pub routes: Vec<(Arc<str>, u64, ByName)>,
    pub phases: Vec<FaultPhase>,
}

/// A duration histogram of one (route, method, status, error type).
#[derive(Debug, Clone)]
pub struct Series {
    pub route: Arc<str>,
    pub method: &'static str,
    /// 0: no head was sent.
    pub status: u16,
    pub error_type: &'static str,
    pub buckets: Buckets,
}

/// Counts per bucket of [`super::series::EDGES`] and one above, not cumulative.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    pub counts: Vec<u64>,
    pub sum: Duration,
}
