//! The sums: cells by name, kept across plans; a [`Books`] is the view of one plan by id.
//!
//! Each worker writes cells of its own, with relaxed loads and stores instead of locked
//! instructions; readers add the workers up. Totals are derived from the parts, so that they
//! always agree.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;

use super::judge::{Cause, Event, Excluded, judge};
use super::ring::Ring;
use super::series::{Histogram, add};
use super::snapshot::{Buckets, FaultCounts, Series, SloCounts, Snapshot};
use super::{Origin, Outcome};
use crate::plan::{FaultId, Plan, RouteId, Who};

/// Duration series a worker may open; beyond, requests are still counted, but not by duration.
const SERIES: usize = 16_384;

/// Why a fault that was due did not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    MaxHeld,
    Limit,
    /// The service's address is one that must never be faulted.
    Never,
}

impl Skip {
    pub const ALL: [Self; 3] = [Self::MaxHeld, Self::Limit, Self::Never];

    pub fn label(self) -> &'static str {
        match self {
            Self::MaxHeld => "max_held",
            Self::Limit => "limit",
            Self::Never => "never",
        }
    }
}

/// One worker's cells for one SLO, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct SloCells {
    good: AtomicU64,
    bad: [AtomicU64; 3],
    excluded: [AtomicU64; 5],
    ring: Ring,
}

/// One worker's cells for one fault on one route.
#[derive(Debug, Default)]
#[repr(align(128))]
struct FaultCells {
    eligible: AtomicU64,
    hit: AtomicU64,
    /// By the fault's kinds; more than these share the last.
    injected: [AtomicU64; 8],
}

/// By worker.
type FaultOnRoute = Arc<[FaultCells]>;
type FaultsOfRoute = Box<[(FaultId, FaultOnRoute)]>;

/// One worker's cells that belong to no plan.
#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkerCells {
    requests: AtomicU64,
    active: AtomicI64,
    ring: Ring,
    asked: Histogram,
    actual: Histogram,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// Route (interned by name), method, status, error type.
type SeriesKey = (u32, &'static str, u16, &'static str);

/// A worker's own duration histograms: it alone looks them up and opens new ones; readers learn
/// of them through a bounded queue.
#[derive(Debug)]
pub struct Durations {
    known: HashMap<SeriesKey, Arc<Histogram>>,
    opened: SyncSender<(SeriesKey, Arc<Histogram>)>,
}

/// Every cell there is, by name. Control plane only.
#[derive(Debug)]
pub struct Ledger {
    workers: Arc<[WorkerCells]>,
    names: Mutex<Names>,
    opened: SyncSender<(SeriesKey, Arc<Histogram>)>,
    read: Arc<SeriesRead>,
}

#[derive(Debug, Default)]
struct Names {
    slos: HashMap<Arc<str>, Arc<[SloCells]>>,
    /// By fault and route.
    faults: HashMap<(Arc<str>, Arc<str>), FaultOnRoute>,
    skipped: HashMap<Arc<str>, Arc<[[AtomicU64; 3]]>>,
    /// Every route name there ever was; a series key holds its place.
    routes: Vec<Arc<str>>,
}

#[derive(Debug)]
struct SeriesRead {
    opened: Mutex<Receiver<(SeriesKey, Arc<Histogram>)>>,
    seen: Mutex<BTreeMap<SeriesKey, Vec<Arc<Histogram>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn each<T: Default>(workers: usize) -> Arc<[T]> {
    (0..workers).map(|_| T::default()).collect()
}

impl Ledger {
    pub fn new(workers: usize) -> Self {
        let (opened, receiver) = sync_channel(SERIES * workers);
        let read = SeriesRead { opened: Mutex::new(receiver), seen: Mutex::default() };
        Self { workers: each(workers), names: Mutex::default(), opened, read: Arc::new(read) }
    }

    /// For one worker to keep.
    pub fn durations(&self) -> Durations {
        Durations { known: HashMap::new(), opened: self.opened.clone() }
    }

    /// The books for a plan: cells of names already known go on, new ones start at zero.
    pub fn open(&self, plan: Arc<Plan>) -> Books {
        let workers = self.workers.len();
        let mut names = lock(&self.names);
        let slos = plan
            .slos
            .iter()
            .map(|slo| {
                let cells =
                    names.slos.entry(Arc::clone(&slo.name)).or_insert_with(|| each(workers));
                Arc::clone(cells)
            })
            .collect();
        let faults = plan
            .routes
            .iter()
            .map(|route| {
                let cells = route.faults.iter().map(|id| {
                    let fault = &plan.faults[usize::from(*id)];
                    let key = (Arc::clone(&fault.name), Arc::clone(&route.name));
                    let cells = names.faults.entry(key).or_insert_with(|| each(workers));
                    (*id, Arc::clone(cells))
                });
                cells.collect()
            })
            .collect();
        let skipped = plan
            .faults
            .iter()
            .map(|fault| {
                let cells =
                    names.skipped.entry(Arc::clone(&fault.name)).or_insert_with(|| each(workers));
                Arc::clone(cells)
            })
            .collect();
        let routes: Box<[u32]> = plan
            .routes
            .iter()
            .map(|route| {
                let known = names.routes.iter().position(|name| *name == route.name);
                let place = known.unwrap_or_else(|| {
                    names.routes.push(Arc::clone(&route.name));
                    names.routes.len() - 1
                });
                place as u32
            })
            .collect();
        let route_names = names.routes.clone().into();
        drop(names);
        Books {
            routes,
            route_names,
            plan,
            workers: Arc::clone(&self.workers),
            read: Arc::clone(&self.read),
            slos,
            faults,
            skipped,
        }
    }

    /// Requests a second over the five whole seconds before `second`.
    pub fn recent_rate(&self, second: u64) -> f64 {
        let from = second.saturating_sub(5);
        let sum: u64 = (from..second)
            .flat_map(|second| self.workers.iter().map(move |worker| worker.ring.read(second).good))
            .sum();
        sum as f64 / (second - from).max(1) as f64
    }
}

/// One plan's view on the cells. Every method that takes a worker is called on the data path by
/// that worker alone: no lock it could wait for, no allocation in the steady state.
#[derive(Debug)]
pub struct Books {
    plan: Arc<Plan>,
    workers: Arc<[WorkerCells]>,
    read: Arc<SeriesRead>,
    /// By route: its interned name.
    routes: Box<[u32]>,
    route_names: Box<[Arc<str>]>,
    slos: Box<[Arc<[SloCells]>]>,
    /// By route, then as in `Route::faults`.
    faults: Box<[FaultsOfRoute]>,
    skipped: Box<[Arc<[[AtomicU64; 3]]>]>,
}

impl Books {
    /// Counts one request, once. `second`: whole seconds since the process began.
    pub fn record(&self, worker: usize, durations: &mut Durations, outcome: &Outcome, second: u64) {
        let route = &self.plan.routes[outcome.route as usize];
        for id in &route.slos {
            let event = judge(&self.plan.slos[usize::from(*id)], outcome);
            let cells = &self.slos[usize::from(*id)][worker];
            match event {
                Event::Good => add(&cells.good, 1),
                Event::Bad(cause) => add(&cells.bad[cause as usize], 1),
                Event::Excluded(reason) => add(&cells.excluded[reason as usize], 1),
            }
            cells.ring.record(second, event);
        }
        let cells = &self.workers[worker];
        add(&cells.requests, 1);
        cells.ring.record(second, Event::Good);
        self.record_duration(durations, outcome);
    }

    fn record_duration(&self, durations: &mut Durations, outcome: &Outcome) {
        let route = self.routes[outcome.route as usize];
        let key = (route, method_label(&outcome.method), outcome.status, error_type(outcome));
        if let Some(histogram) = durations.known.get(&key) {
            histogram.record(outcome.total);
        } else if durations.known.len() < SERIES {
            let histogram = Arc::new(Histogram::default());
            histogram.record(outcome.total);
            // The queue has room for all that all workers may open.
            let _ = durations.opened.try_send((key, Arc::clone(&histogram)));
            durations.known.insert(key, histogram);
        }
    }

    fn cells(&self, route: RouteId, fault: FaultId) -> Option<&[FaultCells]> {
        let cells = self.faults[route as usize].iter().find(|(id, _)| *id == fault);
        cells.map(|(_, cells)| &**cells)
    }

    /// The fault could have hit this request.
    pub fn eligible(&self, worker: usize, route: RouteId, fault: FaultId) {
        if let Some(cells) = self.cells(route, fault) {
            add(&cells[worker].eligible, 1);
        }
    }

    /// A kind took effect; `kind` is the index into [`crate::plan::Fault::kinds`].
    pub fn injected(&self, worker: usize, route: RouteId, fault: FaultId, kind: usize) {
        if let Some(cells) = self.cells(route, fault) {
            let injected = &cells[worker].injected;
            add(&injected[kind.min(injected.len() - 1)], 1);
        }
    }

    /// A request was hit (once, however many kinds act).
    pub fn hit(&self, worker: usize, route: RouteId, fault: FaultId) {
        if let Some(cells) = self.cells(route, fault) {
            add(&cells[worker].hit, 1);
        }
    }

    pub fn skipped(&self, worker: usize, fault: FaultId, reason: Skip) {
        add(&self.skipped[usize::from(fault)][worker][reason as usize], 1);
    }

    /// A delay was carried out.
    pub fn delayed(&self, worker: usize, asked: Duration, actual: Duration) {
        self.workers[worker].asked.record(asked);
        self.workers[worker].actual.record(actual);
    }

    /// A request that has no route to be charged to: malformed, or refused before routing. Rare,
    /// so its lock is never on an ordinary request's way.
    pub fn refused(&self, worker: usize, reason: &'static str) {
        *lock(&self.workers[worker].refused).entry(reason).or_default() += 1;
    }

    pub fn active(&self, worker: usize, change: i64) {
        let active = &self.workers[worker].active;
        active.store(active.load(Ordering::Relaxed) + change, Ordering::Relaxed);
    }

    /// Everything counted so far.
    pub fn snapshot(&self) -> Snapshot {
        let mut refused: BTreeMap<&'static str, u64> = BTreeMap::new();
        let (mut asked, mut actual) = (Buckets::default(), Buckets::default());
        for worker in self.workers.iter() {
            for (reason, count) in lock(&worker.refused).iter() {
                *refused.entry(reason).or_default() += count;
            }
            worker.asked.add_to(&mut asked);
            worker.actual.add_to(&mut actual);
        }
        Snapshot {
            requests: self
                .workers
                .iter()
                .map(|worker| worker.requests.load(Ordering::Relaxed))
                .sum(),
            active: self.workers.iter().map(|worker| worker.active.load(Ordering::Relaxed)).sum(),
            slos: self.slo_counts(),
            faults: self.fault_counts(),
            refused: refused.into_iter().collect(),
            durations: self.durations(),
            asked,
            actual,
        }
    }

    fn slo_counts(&self) -> Vec<SloCounts> {
        let counts = self.plan.slos.iter().zip(&self.slos).map(|(slo, cells)| {
            let sum = |of: &dyn Fn(&SloCells) -> &AtomicU64| -> u64 {
                cells.iter().map(|cells| of(cells).load(Ordering::Relaxed)).sum()
            };
            SloCounts {
                name: Arc::clone(&slo.name),
                objective: slo.objective,
                window: slo.window,
                good: sum(&|cells| &cells.good),
                injected: sum(&|cells| &cells.bad[Cause::Injected as usize]),
                masked: sum(&|cells| &cells.bad[Cause::Masked as usize]),
                organic: sum(&|cells| &cells.bad[Cause::Organic as usize]),
                excluded: Excluded::ALL
                    .map(|reason| (reason.label(), sum(&|cells| &cells.excluded[reason as usize])))
                    .into(),
            }
        });
        counts.collect()
    }

    fn fault_counts(&self) -> Vec<FaultCounts> {
        let counts = self.plan.faults.iter().enumerate().map(|(at, fault)| {
            let mut counts = FaultCounts {
                name: Arc::clone(&fault.name),
                asked: asked(fault.who),
                who: who(fault.who),
                eligible: 0,
                hit: 0,
                skipped: Vec::new(),
                routes: Vec::new(),
            };
            for (route, cells) in self.plan.routes.iter().zip(&self.faults) {
                let Some((_, cells)) = cells.iter().find(|(id, _)| usize::from(*id) == at) else {
                    continue;
                };
                let sum = |of: &dyn Fn(&FaultCells) -> &AtomicU64| -> u64 {
                    cells.iter().map(|cells| of(cells).load(Ordering::Relaxed)).sum()
                };
                let eligible = sum(&|cells| &cells.eligible);
                counts.eligible += eligible;
                counts.hit += sum(&|cells| &cells.hit);
                let kinds = fault.kinds.iter().enumerate().map(|(kind, fault)| {
                    (
                        fault.kind(),
                        sum(&|cells| &cells.injected[kind.min(cells.injected.len() - 1)]),
                    )
                });
                counts.routes.push((Arc::clone(&route.name), eligible, kinds.collect()));
            }
            counts.skipped = Skip::ALL
                .map(|reason| {
                    let sum = self.skipped[at]
                        .iter()
                        .map(|cells| cells[reason as usize].load(Ordering::Relaxed))
                        .sum();
                    (reason.label(), sum)
                })
                .into();
            counts
        });
        counts.collect()
    }

    fn durations(&self) -> Vec<Series> {
        let mut seen = lock(&self.read.seen);
        for (key, histogram) in lock(&self.read.opened).try_iter() {
            seen.entry(key).or_default().push(histogram);
        }
        let series = seen.iter().map(|((route, method, status, error_type), histograms)| {
            let mut buckets = Buckets::default();
            for histogram in histograms {
                histogram.add_to(&mut buckets);
            }
            let route = self.route_names.get(*route as usize).cloned().unwrap_or_else(|| "".into());
            Series { route, method, status: *status, error_type, buckets }
        });
        series.collect()
    }
}

/// The share of eligible requests a fault asks for, where it asks for one.
fn asked(who: Who) -> Option<crate::units::Share> {
    match who {
        Who::Probability { share, .. } => Some(share),
        Who::All => Some(crate::units::Share::ONE),
        Who::Every(every) => {
            let part = 1_000_000_000 / every.max(1);
            crate::units::Share::from_billionths(u32::try_from(part).unwrap_or(0))
        }
        Who::First(_) => None,
    }
}

fn who(who: Who) -> String {
    match who {
        Who::All => "all".to_owned(),
        Who::Probability { share, .. } => format!("{}%", share.as_f64() * 100.0),
        Who::First(first) => format!("first {first}"),
        Who::Every(every) => format!("every {every}"),
    }
}

/// Known methods by name, the rest as `_OTHER`: labels stay bounded.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}

/// OpenTelemetry's `error.type`: empty when nothing went wrong.
fn error_type(outcome: &Outcome) -> &'static str {
    use super::End;
    match (outcome.end, outcome.origin) {
        (End::Abandoned { .. }, _) => "client_gone",
        (End::BadRequestBody, _) => "bad_request_body",
        (End::Cut, _) => "cut",
        (End::Complete, Origin::Unreachable(label)) => label,
        (End::Complete, Origin::Fault(_)) if outcome.status == 0 => "aborted",
        (End::Complete, _) if outcome.status >= 500 => "5xx",
        (End::Complete, _) => "",
    }
}
