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

    /// Counts one more, unless there are `limit` already.
    fn take_below(&self, limit: u64) -> bool {
        let more = |count: u64| (count < limit).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
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

    /// Verdicts that are not carried out do not count towards `limit`.
    pub fn take_back(&self, struck: &[Struck]) {
        for struck in struck {
            let fault = usize::from(struck.fault);
            if let (Some(_), Some(armed)) = (self.plan.faults[fault].limit, &self.armed[fault]) {
                armed.fired.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
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
            && !armed.fired.take_below(limit)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sli::Ledger;

    fn stage(faults: &str, seed: u64) -> Stage {
        let text = format!("[proxy]\nupstream = \"http://127.0.0.1:9000\"\n{faults}");
        let (scenario, notes) = crate::scenario::read(vec![("test".to_owned(), text)], &[]);
        assert!(notes.is_empty(), "{notes:?}");
        let (plan, notes) = crate::plan::compile(&scenario);
        let plan = Arc::new(plan.unwrap_or_else(|| panic!("{notes:?}")));
        let books = Arc::new(Ledger::new(8).open(Arc::clone(&plan)));
        Stage::new(plan, books, seed, true, None)
    }

    /// For each of `n` requests, which faults hit it.
    fn hits(stage: &Stage, n: usize) -> Vec<Vec<FaultId>> {
        let decide = |_| {
            let mut struck = Vec::new();
            stage.decide(0, 0, &mut struck);
            struck.iter().map(|struck| struck.fault).collect()
        };
        (0..n).map(decide).collect()
    }

    fn fault(name: &str, who: &str) -> String {
        format!("[faults.{name}]\nroutes = [\"*\"]\n{who}\ninject.error = 500\n")
    }

    /// Within four standard deviations of `n · p`.
    fn close(hit: usize, n: f64, p: f64) {
        let sigma = (n * p * (1.0 - p)).sqrt();
        assert!((hit as f64 - n * p).abs() < 4.0 * sigma, "{hit}, want {} ± {sigma}", n * p);
    }

    #[test]
    fn the_same_seed_decides_the_same() {
        let faults = fault("a", "probability = \"20%\"");
        assert_eq!(hits(&stage(&faults, 7), 1000), hits(&stage(&faults, 7), 1000));
        assert_ne!(hits(&stage(&faults, 7), 1000), hits(&stage(&faults, 8), 1000));
    }

    #[test]
    fn raising_a_share_keeps_those_already_hit() {
        let low = hits(&stage(&fault("a", "probability = \"5%\""), 7), 10_000);
        let high = hits(&stage(&fault("a", "probability = \"25%\""), 7), 10_000);
        assert!(low.iter().zip(&high).all(|(low, high)| low.is_empty() || !high.is_empty()));
    }

    #[test]
    fn members_of_a_group_never_meet() {
        let group = |name, share| fault(name, &format!("group = \"g\"\nprobability = \"{share}\""));
        let seen = hits(&stage(&(group("a", "10%") + &group("b", "5%")), 7), 100_000);
        assert!(seen.iter().all(|hit| hit.len() < 2));
        close(seen.iter().filter(|hit| **hit == [0]).count(), 1e5, 0.10);
        close(seen.iter().filter(|hit| **hit == [1]).count(), 1e5, 0.05);
        // A member at 0 % leaves its slice empty: nobody else's victims change.
        let without =
            hits(&stage(&(group("a", "10%") + &group("b", "5%") + &group("c", "0%")), 7), 100_000);
        assert_eq!(seen, without);
    }

    #[test]
    fn independent_faults_combine() {
        let both = fault("a", "probability = \"20%\"") + &fault("b", "probability = \"5%\"");
        let seen = hits(&stage(&both, 7), 100_000);
        close(seen.iter().filter(|hit| !hit.is_empty()).count(), 1e5, 0.24);
        close(seen.iter().filter(|hit| hit.len() == 2).count(), 1e5, 0.01);
    }

    #[test]
    fn first_every_limit_and_nothing() {
        let which = |who: &str| -> Vec<usize> {
            let seen = hits(&stage(&fault("a", who), 7), 20);
            (0..20).filter(|n| !seen[*n].is_empty()).collect()
        };
        assert_eq!(which("first = 3"), [0, 1, 2]);
        assert_eq!(which("every = 7"), [6, 13]);
        assert_eq!(which("limit = 2"), [0, 1]);
        assert_eq!(which("every = 3\nlimit = 2"), [2, 5]);
        assert_eq!(which("probability = \"0%\""), [0usize; 0]);
        assert_eq!(which("enabled = false"), [0usize; 0]);
    }

    /// Counters outlive the stage: pausing and resuming shifts nothing.
    #[test]
    fn counters_go_on() {
        let whole = hits(&stage(&fault("a", "every = 7"), 7), 40);
        let first = stage(&fault("a", "every = 7"), 7);
        let mut parts = hits(&first, 10);
        let (plan, books) = (Arc::clone(&first.plan), Arc::clone(&first.books));
        let second = Stage::new(plan, books, 7, true, Some(&first));
        parts.extend(hits(&second, 30));
        assert_eq!(whole, parts);
    }

    /// Threads together hit exactly as many as one alone: every ordinal is taken once.
    #[test]
    fn threads_share_the_ordinals() {
        let faults = fault("a", "probability = \"30%\"") + &fault("b", "limit = 100");
        let count = |seen: &[Vec<FaultId>], id| seen.iter().filter(|hit| hit.contains(&id)).count();
        let alone = hits(&stage(&faults, 7), 40_000);
        let shared = Arc::new(stage(&faults, 7));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let stage = Arc::clone(&shared);
                std::thread::spawn(move || hits(&stage, 10_000))
            })
            .collect();
        let together: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect();
        assert_eq!(together.len(), 40_000);
        assert_eq!(count(&together, 0), count(&alone, 0));
        assert_eq!(count(&together, 1), 100);
    }
}
