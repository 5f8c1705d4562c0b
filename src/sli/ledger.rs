//! The sums: cells by name and phase, kept across plans; a [`Books`] is one plan's view of them in
//! one phase, by id. [`super::read`] adds them up.
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

use super::judge::{Event, Excluded, judge};
use super::operations::{Attempt, Operations, Verdict};
use super::ring::Ring;
use super::series::{Histogram, add};
use super::{Origin, Outcome};
use crate::fault::grpc::Status;
use crate::plan::{FaultId, Phase, Plan, RouteId, Unit};

/// Duration series a worker may open; beyond, requests are still counted, but not by duration.
const SERIES: usize = 16_384;

/// Why a fault that was due did not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    MaxHeld,
    Limit,
    /// The service's address is one that must never be faulted.
    Never,
    /// As many requests as it may hit at the same time are being hit.
    MaxActive,
    /// The request has no value to go by: a cohort's, or that of `per`.
    NoValue,
    /// A share of a body whose length nobody has declared.
    NoLength,
    /// A body too large to be copied.
    TooLarge,
    /// As many copies as may be are on their way.
    TooMany,
    /// The caller has opted out.
    Client,
    /// HTTP was switched to something that this has no meaning for.
    Tunnel,
}

impl Skip {
    pub const ALL: [Self; 10] = [
        Self::MaxHeld,
        Self::Limit,
        Self::Never,
        Self::MaxActive,
        Self::NoValue,
        Self::NoLength,
        Self::TooLarge,
        Self::TooMany,
        Self::Client,
        Self::Tunnel,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::MaxHeld => "max_held",
            Self::Limit => "limit",
            Self::Never => "never",
            Self::MaxActive => "max_active",
            Self::NoValue => "no_value",
            Self::NoLength => "no_length",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::Client => "client",
            Self::Tunnel => "tunnel",
        }
    }
}

/// One worker's cells for one SLO in one phase, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct SloCells {
    pub(super) good: AtomicU64,
    pub(super) bad: [AtomicU64; 3],
    pub(super) excluded: [AtomicU64; Excluded::ALL.len()],
}

impl SloCells {
    pub(super) fn count(&self, event: Event, by: u64) {
        match event {
            Event::Good => add(&self.good, by),
            Event::Bad(cause) => add(&self.bad[cause as usize], by),
            Event::Excluded(reason) => add(&self.excluded[reason as usize], by),
        }
    }
}

/// One worker's cells for one fault on one route in one phase.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct FaultCells {
    pub(super) eligible: AtomicU64,
    pub(super) hit: AtomicU64,
    /// By [`crate::fault::place`]: a reload may change what kinds a fault has, and in what order.
    pub(super) injected: [AtomicU64; crate::fault::KINDS.len()],
}

/// One worker's requests in one phase.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct PhaseCells {
    pub(super) requests: AtomicU64,
}

/// Cells by worker.
pub(super) type Each<T> = Arc<[T]>;
/// Cells by phase, in the order the phases were first met.
pub(super) type ByPhase<T> = Vec<(Arc<str>, Each<T>)>;
type Skipped = Each<[AtomicU64; Skip::ALL.len()]>;
type FaultsOfRoute = Box<[(FaultId, Each<FaultCells>)]>;

/// One worker's cells that belong to no plan.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct WorkerCells {
    pub(super) active: AtomicI64,
    pub(super) interrupted: AtomicU64,
    pub(super) ring: Ring,
    pub(super) asked: Histogram,
    pub(super) actual: Histogram,
    pub(super) refused: Mutex<BTreeMap<&'static str, u64>>,
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
    pub(super) workers: Each<WorkerCells>,
    pub(super) names: Mutex<Names>,
    opened: SyncSender<(SeriesKey, Arc<Histogram>)>,
    pub(super) read: SeriesRead,
}

#[derive(Debug, Default)]
pub(super) struct SloNames {
    /// Its place in [`Names::counted`].
    pub(super) place: u32,
    /// Requests, whatever is counted of them.
    pub(super) requests: SloEvents,
    /// Operations: those of one request by its worker, all others, in cells after the workers', by
    /// the control plane. No cells at all before they are asked for.
    pub(super) operations: SloEvents,
    /// Slices of time, written by the control plane.
    pub(super) slices: SloEvents,
    /// Which of them are the SLO's events, by the plan in force.
    pub(super) unit: Unit,
}

#[derive(Debug, Default)]
pub(super) struct SloEvents {
    pub(super) rings: Each<Ring>,
    pub(super) cells: ByPhase<SloCells>,
}

impl SloNames {
    pub(super) fn events(&self) -> &SloEvents {
        match self.unit {
            Unit::Requests => &self.requests,
            Unit::Operations => &self.operations,
            Unit::Slices => &self.slices,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) slos: HashMap<Arc<str>, SloNames>,
    /// Every SLO there ever was, in the order they were first met.
    pub(super) counted: Vec<Arc<str>>,
    /// By fault, then by route.
    pub(super) faults: HashMap<Arc<str>, BTreeMap<Arc<str>, ByPhase<FaultCells>>>,
    pub(super) skipped: HashMap<Arc<str>, Skipped>,
    pub(super) phases: ByPhase<PhaseCells>,
    /// By route.
    pub(super) operations: HashMap<Arc<str>, Arc<Operations>>,
    /// Every route name there ever was; a series key holds its place.
    pub(super) routes: Vec<Arc<str>>,
    places: HashMap<Arc<str>, u32>,
}

#[derive(Debug)]
pub(super) struct SeriesRead {
    pub(super) opened: Mutex<Receiver<(SeriesKey, Arc<Histogram>)>>,
    pub(super) seen: Mutex<BTreeMap<SeriesKey, Vec<Arc<Histogram>>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn each<T: Default>(workers: usize) -> Each<T> {
    (0..workers).map(|_| T::default()).collect()
}

/// The cells of a phase, new ones at zero.
fn in_phase<T: Default>(cells: &mut ByPhase<T>, phase: &Arc<str>, workers: usize) -> Each<T> {
    if let Some((_, known)) = cells.iter().find(|(name, _)| name == phase) {
        return Arc::clone(known);
    }
    let fresh = each(workers);
    cells.push((Arc::clone(phase), Arc::clone(&fresh)));
    fresh
}

impl Names {
    fn place(&mut self, route: &Arc<str>) -> u32 {
        let next = self.routes.len() as u32;
        let place = *self.places.entry(Arc::clone(route)).or_insert(next);
        if place == next {
            self.routes.push(Arc::clone(route));
        }
        place
    }
}

impl Ledger {
    pub fn new(workers: usize) -> Self {
        let (opened, receiver) = sync_channel(SERIES * workers);
        let read = SeriesRead { opened: Mutex::new(receiver), seen: Mutex::default() };
        Self { workers: each(workers), names: Mutex::default(), opened, read }
    }

    /// For one worker to keep.
    pub fn durations(&self) -> Durations {
        Durations { known: HashMap::new(), opened: self.opened.clone() }
    }

    /// The books of a plan while `booked` (a phase's name, or what stands for none) goes on:
    /// cells of names already known go on, new ones start at zero. `phase`: whose faults act.
    pub fn open(&self, plan: Arc<Plan>, booked: &Arc<str>, phase: Option<&Phase>) -> Books {
        let workers = self.workers.len();
        let mut names = lock(&self.names);
        let slos = plan.slos.iter().map(|slo| {
            let Names { slos, counted, .. } = &mut *names;
            let known = slos.entry(Arc::clone(&slo.name)).or_insert_with(|| {
                counted.push(Arc::clone(&slo.name));
                SloNames {
                    place: counted.len() as u32 - 1,
                    requests: SloEvents::of(workers),
                    operations: SloEvents::default(),
                    slices: SloEvents::of(1),
                    unit: Unit::Requests,
                }
            });
            known.unit = slo.unit();
            if known.unit == Unit::Slices {
                known.slices.open(booked);
            }
            let of_operations = known.unit == Unit::Operations;
            if of_operations && known.operations.rings.is_empty() {
                known.operations = SloEvents::of(workers + 1);
            }
            SloBook {
                place: known.place,
                requests: known.requests.open(booked),
                operations: of_operations.then(|| known.operations.open(booked)),
            }
        });
        let slos = slos.collect();
        let mut active = vec![false; plan.faults.len()];
        for (id, _) in phase.map_or(&[][..], |phase| &phase.faults) {
            active[usize::from(*id)] = true;
        }
        let faults = plan.routes.iter().map(|route| {
            let on_route = route.faults.iter().filter(|id| active[usize::from(**id)]);
            let cells = on_route.map(|id| {
                let fault = &plan.faults[usize::from(*id)].name;
                let routes = names.faults.entry(Arc::clone(fault)).or_default();
                let cells = routes.entry(Arc::clone(&route.name)).or_default();
                (*id, in_phase(cells, booked, workers))
            });
            cells.collect()
        });
        let faults = faults.collect();
        let skipped = plan.faults.iter().map(|fault| {
            let name = Arc::clone(&fault.name);
            Arc::clone(names.skipped.entry(name).or_insert_with(|| each(workers)))
        });
        let skipped = skipped.collect();
        let routes = plan.routes.iter().map(|route| names.place(&route.name)).collect();
        let operations = plan.routes.iter().map(|route| {
            route.operation.as_ref()?;
            Some(Arc::clone(names.operations.entry(Arc::clone(&route.name)).or_default()))
        });
        let operations = operations.collect();
        let requests = in_phase(&mut names.phases, booked, workers);
        let place = names.phases.iter().position(|(name, _)| name == booked);
        drop(names);
        let phase = place.unwrap_or_default() as u32;
        let workers = Arc::clone(&self.workers);
        Books { plan, workers, phase, requests, routes, slos, faults, skipped, operations }
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

/// An SLO's events in one phase.
#[derive(Debug)]
pub(super) struct Tally {
    cells: Each<SloCells>,
    rings: Each<Ring>,
}

impl Tally {
    /// Called by one thread at a time for each writer.
    pub(super) fn count(&self, writer: usize, event: Event, by: u64, second: u64) {
        self.cells[writer].count(event, by);
        self.rings[writer].record(second, event, by);
    }
}

impl SloEvents {
    fn of(writers: usize) -> Self {
        Self { rings: each(writers), cells: Vec::new() }
    }

    /// Those of a phase, new ones at zero.
    pub(super) fn open(&mut self, phase: &Arc<str>) -> Tally {
        let cells = in_phase(&mut self.cells, phase, self.rings.len());
        Tally { cells, rings: Arc::clone(&self.rings) }
    }
}

#[derive(Debug)]
struct SloBook {
    place: u32,
    requests: Tally,
    /// Where it is operations that count.
    operations: Option<Tally>,
}

/// One plan's view on the cells in one phase. Every method that takes a worker is called on the
/// data path by that worker alone: no lock it could wait for, no allocation in the steady state.
#[derive(Debug)]
pub struct Books {
    plan: Arc<Plan>,
    workers: Each<WorkerCells>,
    /// The phase's place among all there were.
    phase: u32,
    requests: Each<PhaseCells>,
    /// By route: its interned name.
    routes: Box<[u32]>,
    slos: Box<[SloBook]>,
    /// By route, in file order: the faults that are active.
    faults: Box<[FaultsOfRoute]>,
    skipped: Box<[Skipped]>,
    /// By route, where the scenario says what an operation is.
    operations: Box<[Option<Arc<Operations>>]>,
}

impl Books {
    /// Counts one request, once; true: it was bad for some SLO. `second`: whole seconds since the
    /// process began.
    pub fn record(
        &self,
        worker: usize,
        durations: &mut Durations,
        outcome: &Outcome,
        second: u64,
    ) -> bool {
        let route = &self.plan.routes[outcome.route as usize];
        let mut bad = false;
        let mut verdicts = Vec::new();
        for id in &route.slos {
            let event = judge(&self.plan.slos[usize::from(*id)], outcome);
            let SloBook { place, requests, operations } = &self.slos[usize::from(*id)];
            bad |= matches!(event, Event::Bad(_));
            requests.count(worker, event, 1, second);
            match operations {
                None => {}
                Some(_) if outcome.operation.is_some() => {
                    verdicts.push(Verdict { slo: *place, phase: self.phase, event });
                }
                Some(operations) => operations.count(worker, event, 1, second),
            }
        }
        add(&self.requests[worker].requests, 1);
        self.workers[worker].ring.record(second, Event::Good, 1);
        if let (Some(operations), Some(attempt)) =
            (&self.operations[outcome.route as usize], outcome.operation)
        {
            let good = super::judge::is_answered(outcome);
            operations.ends(attempt, attempt.arrived + outcome.total, good, verdicts);
        }
        self.record_duration(durations, outcome);
        bad
    }

    /// An attempt at an operation has come: [`Books::record`] tells its end.
    pub fn arrives(&self, route: RouteId, attempt: Attempt) {
        if let Some(operations) = &self.operations[route as usize] {
            operations.arrives(attempt);
        }
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

    /// A kind took effect; `kind` is its [`crate::fault::place`].
    pub fn injected(&self, worker: usize, route: RouteId, fault: FaultId, kind: usize) {
        if let Some(cells) = self.cells(route, fault) {
            add(&cells[worker].injected[kind], 1);
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

    /// A stream that was counted when its head was out has been cut by its service since.
    pub fn interrupted(&self, worker: usize) {
        add(&self.workers[worker].interrupted, 1);
    }

    /// A connection beyond the limit, closed before any worker had it.
    pub fn turned_away(&self) {
        // The first worker's: the lock lets any thread write there.
        self.refused(0, "connections");
    }

    pub fn active(&self, worker: usize, change: i64) {
        let active = &self.workers[worker].active;
        active.store(active.load(Ordering::Relaxed) + change, Ordering::Relaxed);
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

/// OpenTelemetry's `error.type`: empty when nothing went wrong. Of gRPC, whose status of HTTP says
/// nothing, the name of the status, whatever it is but OK.
fn error_type(outcome: &Outcome) -> &'static str {
    use super::End;
    let grpc = outcome.grpc.and_then(Status::new).filter(|status| status.number() != 0);
    match (outcome.end, outcome.origin) {
        (End::Abandoned { .. }, _) => "client_gone",
        (End::BadRequestBody, _) => "bad_request_body",
        (End::Cut, _) => "cut",
        (End::Refused(reason), _) => reason,
        (End::Unfinished, _) => "unfinished",
        (End::Destroyed, _) => "destroyed",
        (End::Complete, Origin::Unreachable(label)) => label,
        (End::Complete, Origin::Fault(_)) if outcome.status == 0 => "aborted",
        (End::Complete, _) => match grpc {
            Some(status) => status.name(),
            None if outcome.status >= 500 => "5xx",
            None => "",
        },
    }
}
