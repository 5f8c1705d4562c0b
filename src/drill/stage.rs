//! What runs right now: one plan, its books, and the faults that are armed. A request takes the
//! stage once and keeps it; a change of state or plan swaps the whole stage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dice::Stream;
use crate::fault::Action;
use crate::plan::{FaultId, Plan, RouteId, Who};
use crate::sli::Books;
use crate::sli::ledger::Skip;

/// A counter on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Ordinal(pub AtomicU64);

impl Ordinal {
    fn take(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct Stage {
    pub plan: Arc<Plan>,
    pub books: Arc<Books>,
    /// The run's seed.
    pub seed: u64,
    /// False: nothing is injected, whatever is armed.
    pub injecting: bool,
    /// By fault; `None`: off.
    armed: Box<[Option<Armed>]>,
}

/// A fault that may fire, and its counters, which outlive the stage.
#[derive(Debug, Clone)]
struct Armed {
    stream: Stream,
    /// Place among the eligible; shared by the members of a group.
    ordinal: Arc<Ordinal>,
    /// How often it fired, for `limit`.
    fired: Arc<Ordinal>,
}

/// One fault's verdict on one request.
#[derive(Debug, PartialEq)]
pub struct Struck {
    pub fault: FaultId,
    /// The ordinal that decided.
    pub n: u64,
    /// By kind, in file order.
    pub actions: Vec<Action>,
}

impl Stage {
    /// Arms the plan's enabled faults. `kept`: the stage before, whose counters go on by name.
    pub fn new(
        plan: Arc<Plan>,
        books: Arc<Books>,
        seed: u64,
        injecting: bool,
        kept: Option<&Self>,
    ) -> Self {
        let mut armed: Vec<Option<Armed>> = Vec::with_capacity(plan.faults.len());
        for fault in &plan.faults {
            // Counters of a fault that is off are kept as well: it may come back.
            let ordinal = plan
                .faults
                .iter()
                .zip(&armed)
                .find(|(other, _)| other.stream == fault.stream)
                .and_then(|(_, armed)| armed.as_ref().map(|armed| Arc::clone(&armed.ordinal)));
            let before = |same: &dyn Fn(&crate::plan::Fault) -> bool| {
                let kept = kept?;
                let at = kept.plan.faults.iter().position(same)?;
                kept.armed[at].clone()
            };
            let ordinal = ordinal
                .or_else(|| {
                    before(&|other| other.stream == fault.stream).map(|armed| armed.ordinal)
                })
                .unwrap_or_default();
            let fired = before(&|other| other.name == fault.name)
                .map(|armed| armed.fired)
                .unwrap_or_default();
            armed.push(Some(Armed { stream: Stream::new(seed, &fault.stream), ordinal, fired }));
        }
        Self { plan, books, seed, injecting, armed: armed.into() }
    }

    /// Lets every enabled fault of the route decide, in file order. Allocates only for what hits.
    pub fn decide(&self, worker: usize, route: RouteId, struck: &mut Vec<Struck>) {
        if !self.injecting {
            return;
        }
        let faults = &self.plan.routes[route as usize].faults;
        for (at, id) in faults.iter().enumerate() {
            let fault = &self.plan.faults[usize::from(*id)];
            let Some(armed) = self.armed[usize::from(*id)].as_ref().filter(|_| fault.enabled)
            else {
                continue;
            };
            let n = match fault.who {
                // 0 % is the no-fault path.
                Who::Probability { share, .. } if share.billionths() == 0 => continue,
                Who::Probability { .. } if fault.stream != fault.name => {
                    // A group draws once: its first member that is on decides the ordinal.
                    let first =
                        faults[..at].iter().find(|other| self.draws_with(**other, &fault.stream));
                    if first.is_some() {
                        continue;
                    }
                    self.decide_group(worker, route, *id, struck);
                    continue;
                }
                _ => armed.ordinal.take(),
            };
            self.books.eligible(worker, route, *id);
            let hit = match fault.who {
                Who::All => true,
                Who::Probability { from, share } => falls(armed.stream.hit(n), from, share),
                Who::First(first) => n < first,
                Who::Every(every) => (n + 1) % every.max(1) == 0,
            };
            if hit {
                self.strike(worker, *id, n, struck);
            }
        }
        // A group decides at its first member's place; file order is what counts later.
        struck.sort_unstable_by_key(|struck| struck.fault);
    }

    /// The fault is on, above 0 %, and a member of the group with this stream.
    fn draws_with(&self, id: FaultId, stream: &str) -> bool {
        let fault = &self.plan.faults[usize::from(id)];
        fault.enabled
            && *fault.stream == *stream
            && matches!(fault.who, Who::Probability { share, .. } if share.billionths() > 0)
    }

    /// One draw for all members: each owns a fixed slice of it, so at most one is hit.
    fn decide_group(
        &self,
        worker: usize,
        route: RouteId,
        first: FaultId,
        struck: &mut Vec<Struck>,
    ) {
        let Some(armed) = &self.armed[usize::from(first)] else { return };
        let stream = &self.plan.faults[usize::from(first)].stream;
        let n = armed.ordinal.take();
        let draw = armed.stream.hit(n);
        for id in &self.plan.routes[route as usize].faults {
            if !self.draws_with(*id, stream) {
                continue;
            }
            self.books.eligible(worker, route, *id);
            if let Who::Probability { from, share } = self.plan.faults[usize::from(*id)].who
                && falls(draw, from, share)
            {
                self.strike(worker, *id, n, struck);
            }
        }
    }

    fn strike(&self, worker: usize, id: FaultId, n: u64, struck: &mut Vec<Struck>) {
        let fault = &self.plan.faults[usize::from(id)];
        let Some(armed) = &self.armed[usize::from(id)] else { return };
        if let Some(limit) = fault.limit
            && armed.fired.take() >= limit
        {
            self.books.skipped(worker, id, Skip::Limit);
            return;
        }
        let actions = fault
            .kinds
            .iter()
            .map(|kind| kind.decide(&mut armed.stream.dice(n, kind.kind())))
            .collect();
        struck.push(Struck { fault: id, n, actions });
    }
}

fn falls(draw: u32, from: u32, share: crate::units::Share) -> bool {
    draw.checked_sub(from).is_some_and(|above| above < share.billionths())
}
