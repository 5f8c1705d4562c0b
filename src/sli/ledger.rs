//! The sums: cells by name, kept across plans; a [`Books`] is the view of one plan by id.

use std::sync::Arc;
use std::time::Duration;

use super::Outcome;
use crate::plan::{FaultId, Plan, RouteId};

/// Every cell there is, by name. Control plane only.
#[derive(Debug, Default)]
pub struct Ledger {}

impl Ledger {
    pub fn new(_workers: usize) -> Self {
        Self {}
    }
    /// The books for a plan: cells of names already known go on, new ones start at zero.
    pub fn open(&self, plan: Arc<Plan>) -> Books {
        Books { plan }
    }
}

/// One plan's view on the cells. Every method is called on the data path by the worker it names:
/// no lock, no allocation in the steady state, relaxed single-writer stores.
#[derive(Debug)]
pub struct Books {
    plan: Arc<Plan>,
}

impl Books {
    /// Counts one request, once. `second`: whole seconds since the process began.
    pub fn record(&self, _worker: usize, _outcome: &Outcome, _second: u64) {
        let _ = &self.plan;
    }
    pub fn eligible(&self, _worker: usize, _route: RouteId, _fault: FaultId) {}
    /// A fault took effect; `kind` is the index into [`crate::plan::Fault::kinds`].
    pub fn injected(&self, _worker: usize, _route: RouteId, _fault: FaultId, _kind: usize) {}
    /// A request was hit (once, however many kinds act).
    pub fn hit(&self, _worker: usize, _route: RouteId, _fault: FaultId) {}
    pub fn skipped(&self, _worker: usize, _fault: FaultId, _reason: Skip) {}
    /// A delay was carried out.
    pub fn delayed(&self, _worker: usize, _asked: Duration, _actual: Duration) {}
    /// A request that has no route to be charged to: malformed, refused before routing.
    pub fn refused(&self, _worker: usize, _reason: &'static str) {}
    pub fn active(&self, _worker: usize, _change: i64) {}
}

/// Why a fault that was due did not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    MaxHeld,
    Limit,
    /// The caller's agent or path is a health check, or the service's address is `never`.
    Protected,
}
