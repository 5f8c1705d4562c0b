//! Adding the cells up: what was counted, by the names of a plan.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::judge::{Cause, Excluded};
use super::ledger::{Each, Ledger, Names, Skip, SloCells, lock};
use super::snapshot::{
    Buckets, Counts, FaultCounts, FaultPhase, PhaseCounts, Series, SloCounts, SloPhase, Snapshot,
};
use crate::fault::KINDS;
use crate::plan::{Fault, Plan, Unit, Who};
use crate::units::Share;

/// A sum over workers.
fn sum<T>(cells: &Each<T>, of: impl Fn(&T) -> &AtomicU64) -> u64 {
    cells.iter().map(|cells| of(cells).load(Ordering::Relaxed)).sum()
}

fn counts(cells: &Each<SloCells>) -> Counts {
    Counts {
        good: sum(cells, |cells| &cells.good),
        injected: sum(cells, |cells| &cells.bad[Cause::Injected as usize]),
        masked: sum(cells, |cells| &cells.bad[Cause::Masked as usize]),
        organic: sum(cells, |cells| &cells.bad[Cause::Organic as usize]),
    }
}

impl Ledger {
    /// Everything counted so far, by the names of this plan. Names are locked a fault at a time: who
    /// changes the drill waits for them, and a plan may have a million cells.
    pub fn snapshot(&self, plan: &Plan) -> Snapshot {
        let mut refused: BTreeMap<&'static str, u64> = BTreeMap::new();
        let (mut asked, mut actual) = (Buckets::default(), Buckets::default());
        for worker in self.workers.iter() {
            for (reason, count) in lock(&worker.refused).iter() {
                *refused.entry(reason).or_default() += count;
            }
            worker.asked.add_to(&mut asked);
            worker.actual.add_to(&mut actual);
        }
        let faults = plan.faults.iter().map(|fault| fault_counts(&lock(&self.names), fault));
        let faults = faults.collect();
        let removed = self.removed(plan);
        let names = lock(&self.names);
        let phases: Vec<PhaseCounts> = names
            .phases
            .iter()
            .map(|(phase, cells)| PhaseCounts {
                phase: Arc::clone(phase),
                requests: sum(cells, |cells| &cells.requests),
            })
            .collect();
        Snapshot {
            requests: phases.iter().map(|phase| phase.requests).sum(),
            interrupted: self
                .workers
                .iter()
                .map(|worker| worker.interrupted.load(Ordering::Relaxed))
                .sum(),
            active: self.workers.iter().map(|worker| worker.active.load(Ordering::Relaxed)).sum(),
            slos: slo_counts(&names, plan),
            faults,
            removed,
            phases,
            operations: plan
                .routes
                .iter()
                .filter(|route| route.operation.is_some())
                .filter_map(|route| {
                    let counts = names.operations.get(&route.name)?.counts();
                    Some((Arc::clone(&route.name), counts))
                })
                .collect(),
            refused: refused.into_iter().collect(),
            durations: self.series(&names),
            asked,
            actual,
        }
    }

    /// Faults that a reload has taken away. What they did, they did.
    fn removed(&self, plan: &Plan) -> Vec<FaultCounts> {
        let known: HashSet<&Arc<str>> = plan.faults.iter().map(|fault| &fault.name).collect();
        let gone = |name: &&Arc<str>| !known.contains(name);
        let gone: Vec<Arc<str>> =
            lock(&self.names).faults.keys().filter(gone).map(Arc::clone).collect();
        let counts = gone.iter().map(|name| {
            let removed = ("removed".to_owned(), None);
            counted(&lock(&self.names), name, &[], &HashSet::new(), removed)
        });
        counts.filter(|counts| counts.eligible > 0).collect()
    }

    /// All operations of each of a plan's SLOs so far, where it counts those; else all requests,
    /// whatever is counted of them.
    pub fn totals(&self, plan: &Plan) -> Vec<Counts> {
        let names = lock(&self.names);
        let of = |slo: &crate::plan::Slo| {
            let known = names.slos.get(&slo.name);
            let events = known.map(|known| match slo.unit() {
                Unit::Operations => &known.operations,
                Unit::Requests | Unit::Slices => &known.requests,
            });
            let cells = events.into_iter().flat_map(|events| &events.cells);
            cells.fold(Counts::default(), |sum, (_, cells)| sum + counts(cells))
        };
        plan.slos.iter().map(of).collect()
    }

    /// One SLO's events over the `seconds` whole seconds before `second`, at most 60.
    pub fn recent(&self, slo: &str, second: u64, seconds: u64) -> Counts {
        let names = lock(&self.names);
        let mut counts = Counts::default();
        let Some(known) = names.slos.get(slo) else { return counts };
        for ring in known.events().rings.iter() {
            for second in second.saturating_sub(seconds.min(60))..second {
                let seen = ring.read(second);
                counts.good += seen.good;
                counts.injected += seen.bad[Cause::Injected as usize];
                counts.masked += seen.bad[Cause::Masked as usize];
                counts.organic += seen.bad[Cause::Organic as usize];
            }
        }
        counts
    }

    fn series(&self, names: &Names) -> Vec<Series> {
        let mut seen = lock(&self.read.seen);
        for (key, histogram) in lock(&self.read.opened).try_iter() {
            seen.entry(key).or_default().push(histogram);
        }
        let series = seen.iter().map(|((route, method, status, error_type), histograms)| {
            let mut buckets = Buckets::default();
            for histogram in histograms {
                histogram.add_to(&mut buckets);
            }
            let route = names.routes.get(*route as usize).cloned().unwrap_or_else(|| "".into());
            Series { route, method, status: *status, error_type, buckets }
        });
        series.collect()
    }
}

fn slo_counts(names: &Names, plan: &Plan) -> Vec<SloCounts> {
    let none = Vec::new();
    let counted = plan.slos.iter().map(|slo| {
        let cells = names.slos.get(&slo.name).map_or(&none, |known| &known.events().cells);
        let phases: Vec<SloPhase> = cells
            .iter()
            .map(|(phase, cells)| SloPhase {
                phase: Arc::clone(phase),
                counts: counts(cells),
                excluded: Excluded::ALL
                    .map(|reason| {
                        (reason.label(), sum(cells, |cells| &cells.excluded[reason as usize]))
                    })
                    .into(),
            })
            .collect();
        SloCounts {
            name: Arc::clone(&slo.name),
            objective: slo.objective,
            window: slo.window,
            counts: phases.iter().fold(Counts::default(), |sum, phase| sum + phase.counts),
            excluded: Excluded::ALL
                .map(|reason| {
                    let of = |phase: &SloPhase| phase.excluded[reason as usize].1;
                    (reason.label(), phases.iter().map(of).sum())
                })
                .into(),
            phases,
        }
    });
    counted.collect()
}

fn fault_counts(names: &Names, fault: &Fault) -> FaultCounts {
    let kinds = fault.kinds.iter().map(|kind| kind.kind()).collect();
    let (who, asked) = (fault.who.to_string(), asked(fault.who));
    counted(names, &fault.name, &fault.covers, &kinds, (who, asked))
}

/// `covers`, `kinds`: the routes and kinds that are told without a count too.
fn counted(
    names: &Names,
    name: &Arc<str>,
    covers: &[Arc<str>],
    kinds: &HashSet<&'static str>,
    (who, asked): (String, Option<Share>),
) -> FaultCounts {
    let mut counts = FaultCounts {
        name: Arc::clone(name),
        asked,
        who,
        eligible: 0,
        hit: 0,
        skipped: Vec::new(),
        routes: Vec::new(),
        phases: Vec::new(),
    };
    let (none, nowhere) = (Vec::new(), BTreeMap::new());
    let seen = names.faults.get(name).unwrap_or(&nowhere);
    let on: HashSet<&Arc<str>> = covers.iter().collect();
    let told: Vec<bool> = KINDS.iter().map(|kind| kinds.contains(kind.key.name)).collect();
    // What it did on routes that it is not on any more has been done all the same.
    let before = seen.keys().filter(|route| !on.contains(route));
    for route in covers.iter().chain(before) {
        let cells = seen.get(route).unwrap_or(&none);
        let (mut eligible, mut injected) = (0, [0; KINDS.len()]);
        for (phase, cells) in cells {
            let here = sum(cells, |cells| &cells.eligible);
            let hit = sum(cells, |cells| &cells.hit);
            eligible += here;
            counts.hit += hit;
            // Most cells of a large plan are empty.
            if here > 0 || hit > 0 {
                for (kind, count) in injected.iter_mut().enumerate() {
                    *count += sum(cells, |cells| &cells.injected[kind]);
                }
            }
            if let Some(known) = counts.phases.iter_mut().find(|known| known.phase == *phase) {
                known.eligible += here;
                known.hit += hit;
            } else {
                let phase = Arc::clone(phase);
                counts.phases.push(FaultPhase { phase, eligible: here, hit });
            }
        }
        counts.eligible += eligible;
        let injected = KINDS.iter().zip(injected).zip(&told);
        let injected = injected.filter(|((_, count), told)| *count > 0 || **told);
        let injected = injected.map(|((kind, count), _)| (kind.key.name, count)).collect();
        counts.routes.push((Arc::clone(route), eligible, injected));
    }
    counts.skipped = Skip::ALL
        .map(|reason| {
            let cells = names.skipped.get(name);
            (reason.label(), cells.map_or(0, |cells| sum(cells, |cells| &cells[reason as usize])))
        })
        .into();
    counts
}

/// The share of eligible requests a fault asks for, where it asks for one.
fn asked(who: Who) -> Option<Share> {
    match who {
        Who::Probability { share, .. } => Some(share),
        Who::All => Some(Share::ONE),
        Who::Every(every) => {
            let part = 1_000_000_000 / every.max(1);
            Share::from_billionths(u32::try_from(part).unwrap_or(0))
        }
        Who::First(_) => None,
    }
}
