//! What runs right now: one plan, its books, and the faults that are armed. A request takes the
//! stage once and keeps it; a change of state or plan swaps the whole stage.

use std::collections::HashMap;
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

    /// Counts one more unless `limit` has been reached; never beyond it, so that a limit raised
    /// later lets through exactly the difference.
    fn take_below(&self, limit: u64) -> bool {
        let more = |n| (n < limit).then_some(n + 1);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// A plan on stage. Who may fire on which route is worked out once, so that a request meets ids
/// only: neither names nor faults that are off.
#[derive(Debug)]
pub struct Stage {
    pub plan: Arc<Plan>,
    pub books: Arc<Books>,
    /// The run's seed.
    pub seed: u64,
    /// False: nothing is injected, whatever is armed.
    pub injecting: bool,
    draws: Box<[Draw]>,
    /// By route: its draws, in file order of their first members.
    by_route: Box<[Box<[usize]>]>,
    counters: Counters,
}

/// One draw a request: one fault's, or that of all members of a group.
#[derive(Debug)]
struct Draw {
    stream: Stream,
    ordinal: Arc<Ordinal>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    fault: FaultId,
    who: Who,
    limit: Option<u64>,
    fired: Arc<Ordinal>,
}

/// What outlives a stage, by fault: also of faults that are off, which may come back.
#[derive(Debug, Default)]
struct Counters {
    /// How many requests were eligible; the members of a group have one in common.
    ordinals: Vec<Arc<Ordinal>>,
    /// How often it fired.
    fired: Vec<Arc<Ordinal>>,
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
        let counters = Counters::of(&plan, kept);
        let mut draws: Vec<Draw> = Vec::new();
        let mut by_stream: HashMap<&str, usize> = HashMap::new();
        let mut by_fault: Vec<Option<usize>> = Vec::with_capacity(plan.faults.len());
        for (id, fault) in plan.faults.iter().enumerate() {
            // 0 % is the no-fault path: no ordinal is taken. A member of a group that is off
            // leaves its slice of the draw empty, because the others keep their `from`.
            let idle =
                matches!(fault.who, Who::Probability { share, .. } if share.billionths() == 0);
            if idle || !fault.enabled {
                by_fault.push(None);
                continue;
            }
            let at = *by_stream.entry(&fault.stream).or_insert_with(|| {
                draws.push(Draw {
                    stream: Stream::new(seed, &fault.stream),
                    ordinal: Arc::clone(&counters.ordinals[id]),
                    members: Vec::new(),
                });
                draws.len() - 1
            });
            draws[at].members.push(Member {
                fault: id as FaultId,
                who: fault.who,
                limit: fault.limit,
                fired: Arc::clone(&counters.fired[id]),
            });
            by_fault.push(Some(at));
        }
        let by_route = plan.routes.iter().map(|route| {
            let mut ats: Vec<usize> = Vec::new();
            for at in route.faults.iter().filter_map(|id| by_fault[usize::from(*id)]) {
                if !ats.contains(&at) {
                    ats.push(at);
                }
            }
            ats.into()
        });
        let by_route = by_route.collect();
        Self { plan, books, seed, injecting, draws: draws.into(), by_route, counters }
    }

    /// Lets every armed fault of the route decide; adds those that strike to `struck`, in file
    /// order. Allocates only for what hits.
    pub fn decide(&self, worker: usize, route: RouteId, struck: &mut Vec<Struck>) {
        if !self.injecting {
            return;
        }
        let before = struck.len();
        for &at in &self.by_route[route as usize] {
            let draw = &self.draws[at];
            let n = draw.ordinal.take();
            let mut drawn = None;
            for member in &draw.members {
                self.books.eligible(worker, route, member.fault);
                let hit = match member.who {
                    Who::All => true,
                    Who::Probability { from, share } => {
                        let drawn: u32 = *drawn.get_or_insert_with(|| draw.stream.hit(n));
                        drawn.checked_sub(from).is_some_and(|above| above < share.billionths())
                    }
                    Who::First(first) => n < first,
                    Who::Every(every) => (n + 1).is_multiple_of(every),
                };
                if hit {
                    self.strike(worker, draw.stream, member, n, struck);
                }
            }
        }
        if struck.len() > before + 1 {
            // A group decides at its first member's place; file order is what counts later.
            struck[before..].sort_unstable_by_key(|struck| struck.fault);
        }
    }

    /// Verdicts that are not carried out do not count towards `limit`.
    pub fn take_back(&self, struck: &[Struck]) {
        for struck in struck {
            let fired = &self.counters.fired[usize::from(struck.fault)];
            fired.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn strike(
        &self,
        worker: usize,
        stream: Stream,
        member: &Member,
        n: u64,
        struck: &mut Vec<Struck>,
    ) {
        // Counted without a limit too: a reload may bring one, and the count is the drill's.
        if !member.fired.take_below(member.limit.unwrap_or(u64::MAX)) {
            self.books.skipped(worker, member.fault, Skip::Limit);
            return;
        }
        let kinds = &self.plan.faults[usize::from(member.fault)].kinds;
        let actions =
            kinds.iter().map(|kind| kind.decide(&mut stream.dice(n, kind.kind()))).collect();
        struck.push(Struck { fault: member.fault, n, actions });
    }
}

impl Counters {
    /// Those of the stage before go on by name; a name nobody had starts at zero.
    fn of(plan: &Plan, kept: Option<&Stage>) -> Self {
        let mut ordinals: HashMap<&str, Arc<Ordinal>> = HashMap::new();
        let mut fired: HashMap<&str, Arc<Ordinal>> = HashMap::new();
        if let Some(kept) = kept {
            for (id, fault) in kept.plan.faults.iter().enumerate() {
                ordinals.insert(&fault.stream, Arc::clone(&kept.counters.ordinals[id]));
                fired.insert(&fault.name, Arc::clone(&kept.counters.fired[id]));
            }
        }
        let mut counters = Self::default();
        for fault in &plan.faults {
            counters.ordinals.push(Arc::clone(ordinals.entry(&fault.stream).or_default()));
            counters.fired.push(Arc::clone(fired.entry(&fault.name).or_default()));
        }
        counters
    }
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

    /// How many of `n` requests are hit on the stage that follows `kept`.
    fn goes_on(kept: Option<&Stage>, faults: &str, n: usize) -> (Stage, usize) {
        let fresh = stage(faults, 7);
        let next = Stage::new(fresh.plan, fresh.books, 7, true, kept);
        let hit = hits(&next, n).iter().filter(|hit| !hit.is_empty()).count();
        (next, hit)
    }

    /// Also through a reload that switches the fault off, or brings it a limit.
    #[test]
    fn a_limit_raised_lets_through_the_difference() {
        let (first, hit) = goes_on(None, &fault("a", "limit = 4"), 100);
        assert_eq!(hit, 4);
        let (off, hit) = goes_on(Some(&first), &fault("a", "limit = 6\nenabled = false"), 100);
        assert_eq!(hit, 0);
        let (second, hit) = goes_on(Some(&off), &fault("a", "limit = 6"), 100);
        assert_eq!(hit, 2);
        let (_, hit) = goes_on(Some(&second), &fault("renamed", "limit = 6"), 100);
        assert_eq!(hit, 6, "a new name is a new fault");
        let (unlimited, _) = goes_on(None, &fault("c", ""), 10);
        let (limited, hit) = goes_on(Some(&unlimited), &fault("c", "limit = 12"), 100);
        assert_eq!(hit, 2);
        limited.take_back(&[Struck { fault: 0, n: 0, actions: Vec::new() }]);
        assert_eq!(hits(&limited, 10).concat(), [0], "what was taken back is free again");
    }

    #[test]
    fn no_ordinal_is_taken_at_zero_or_while_nothing_is_injected() {
        let (zero, hit) = goes_on(None, &fault("a", "probability = \"0%\""), 100);
        assert_eq!((hit, zero.counters.ordinals[0].take()), (0, 0));
        let mut paused = stage(&fault("a", ""), 7);
        paused.injecting = false;
        assert_eq!(hits(&paused, 100).concat(), [0; 0]);
        assert_eq!(paused.counters.ordinals[0].take(), 0);
    }

    #[test]
    fn verdicts_are_in_file_order_though_a_group_draws_at_its_first_member() {
        let text = fault("a", "group = \"g\"\nprobability = \"0.1%\"")
            + &fault("alone", "")
            + &fault("b", "group = \"g\"\nprobability = \"99.9%\"");
        let seen = hits(&stage(&text, 7), 1_000);
        assert!(seen.iter().all(|hit| hit.len() == 2 && hit.is_sorted()), "{seen:?}");
    }
}
