//! What runs right now: one plan, its books, and the faults that are armed. A request takes the
//! stage once and keeps it; a change of state or plan swaps the whole stage.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::plan::{FaultId, Plan, RouteId};
use crate::sli::Books;

/// A counter on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Ordinal(pub AtomicU64);

#[derive(Debug)]
pub struct Stage {
    pub plan: Arc<Plan>,
    pub books: Arc<Books>,
    /// The run's seed.
    pub seed: u64,
    /// False: nothing is injected, whatever `armed` says.
    pub injecting: bool,
    /// By [`FaultId`]; `None`: off.
    pub armed: Box<[Option<Armed>]>,
}

/// A fault that may fire, and its counters, which live as long as the phase (`ordinal`, shared by
/// a group) or the drill (`hits`, for `limit`).
#[derive(Debug, Clone)]
pub struct Armed {
    pub ordinal: Arc<Ordinal>,
    pub hits: Arc<Ordinal>,
}

/// One fault's verdict on one request.
#[derive(Debug, PartialEq)]
pub struct Struck {
    pub fault: FaultId,
    /// The ordinal that decided.
    pub n: u64,
    pub actions: Vec<crate::fault::Action>,
}

impl Stage {
    /// Lets every armed fault of the route decide, in file order.
    pub fn decide(&self, _worker: usize, _route: RouteId, _struck: &mut Vec<Struck>) {}
}
