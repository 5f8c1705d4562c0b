//! A worker: one thread, one runtime, its own timer, upstream pool and cells.

use std::cell::{Cell, RefCell};
use std::net::TcpStream as StdTcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::LocalSet;

use super::conn::{Conn, Order, Overdue};
use super::forwarded::Vias;
use super::open::Spoken;
use super::serve;
use super::sweep::{self, Sweep};
use super::timer::Timer;
use super::upstream::Pool;
use super::{OwnPort, Shared};
use crate::drill::Stage;
use crate::plan::ServiceId;
use crate::requests::Queue;
use crate::sli::End;
use crate::sli::ledger::Durations;

/// How long a connection that was accepted before the end may take to send its request.
const FIRST_REQUEST: Duration = Duration::from_millis(250);

/// A socket on its way from the acceptor to its worker.
#[derive(Debug)]
pub struct Accepted {
    pub stream: StdTcpStream,
    /// The service's own port it came in by.
    pub port: Option<OwnPort>,
    /// Its place under the limit on connections.
    pub permit: OwnedSemaphorePermit,
    pub counted: Counted,
}

/// A connection in its worker's load, until dropped.
#[derive(Debug)]
pub struct Counted {
    shared: Arc<Shared>,
    worker: usize,
    speaks: Cell<Spoken>,
}

impl Counted {
    /// Counted before the socket is handed over, so that a burst is spread.
    pub fn on(shared: &Arc<Shared>, worker: usize) -> Self {
        let speaks = Spoken::Unknown;
        shared.load[worker].come(speaks);
        Self { shared: Arc::clone(shared), worker, speaks: Cell::new(speaks) }
    }

    /// It is known now what it speaks, or it goes on in another way.
    pub fn speaks(&self, what: Spoken) {
        let load = &self.shared.load[self.worker];
        // In this order: never fewer than there are.
        load.come(what);
        load.go(self.speaks.replace(what));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.load[self.worker].go(self.speaks.get());
    }
}

/// The stage as requests hold it, with what a worker looks up once a stage. Shared within the
/// worker, so that taking the stage writes no reference count that cores share.
#[derive(Debug)]
pub struct Taken {
    stage: Arc<Stage>,
    /// By the service whose own port a connection came in by; `None`: a reload has removed it.
    own_ports: Box<[Option<ServiceId>]>,
    /// By service: it was reached at an address that must never be faulted.
    never: Box<[Arc<AtomicBool>]>,
}

impl Taken {
    fn new(stage: Arc<Stage>, shared: &Shared) -> Rc<Self> {
        let services = &stage.plan.services;
        let own_ports = shared.own_ports.iter().map(|name| {
            services.iter().position(|service| service.name == *name).map(|id| id as ServiceId)
        });
        let own_ports = own_ports.collect();
        let never = services.iter().map(|service| shared.never.of(service)).collect();
        Rc::new(Self { stage, own_ports, never })
    }

    /// The service of one of the own ports; `None`: a reload has removed it.
    pub fn own_port(&self, port: OwnPort) -> Option<ServiceId> {
        self.own_ports[usize::from(port)]
    }

    /// No fault may touch this service.
    pub fn is_never(&self, service: ServiceId) -> bool {
        self.never[usize::from(service)].load(Ordering::Relaxed)
    }

    /// As all workers have it.
    pub fn shared(&self) -> &Arc<Stage> {
        &self.stage
    }

    /// From now on, no fault may touch this service.
    pub fn mark_never(&self, service: ServiceId) {
        self.never[usize::from(service)].store(true, Ordering::Relaxed);
    }
}

impl std::ops::Deref for Taken {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

/// What the requests of one worker share.
#[derive(Debug)]
pub struct Worker {
    pub id: usize,
    pub shared: Arc<Shared>,
    pub timer: Rc<Timer>,
    pub sweep: Rc<Sweep>,
    pub pool: Rc<Pool>,
    pub vias: Vias,
    pub durations: RefCell<Durations>,
    /// Copies of requests that are on their way.
    pub copies: Cell<usize>,
    /// Bytes of bodies that are kept to be judged.
    pub kept: Cell<usize>,
    /// Where finished requests are written down, if anywhere.
    pub log: Option<Queue>,
    stage: RefCell<Rc<Taken>>,
    /// Why what is being dropped right now is dropped, when it is our doing.
    cutting: Cell<Option<End>>,
}

impl Worker {
    /// What runs right now.
    pub fn stage(&self) -> Rc<Taken> {
        let current = self.shared.stage.load();
        let mut kept = self.stage.borrow_mut();
        if !Arc::ptr_eq(&kept.stage, &current) {
            *kept = Taken::new(Arc::clone(&current), &self.shared);
        }
        Rc::clone(&kept)
    }

    /// Drops what has used up its patience; the requests in it are booked as refused, one by one.
    pub fn cut(&self, reason: &'static str, drop: impl FnOnce()) {
        self.cutting.set(Some(End::Refused(reason)));
        drop();
        self.cutting.set(None);
    }

    /// How what is being dropped right now ends, when it is our doing.
    pub fn cutting(&self) -> Option<End> {
        self.cutting.get()
    }

    /// The one-second cell an instant belongs to.
    pub fn second(&self, now: Instant) -> u64 {
        self.since(now).as_secs()
    }

    /// Time since counting began.
    pub fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.shared.epoch)
    }
}

/// Runs a worker on the calling thread until `sockets` is closed and every connection is done, or
/// `drain` has passed since draining began.
pub fn run(
    id: usize,
    shared: Arc<Shared>,
    sockets: mpsc::Receiver<Accepted>,
    durations: Durations,
    log: Option<Queue>,
    drain: Duration,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(id, shared, sockets, durations, log, drain))
}

async fn serve(
    id: usize,
    shared: Arc<Shared>,
    mut sockets: mpsc::Receiver<Accepted>,
    durations: Durations,
    log: Option<Queue>,
    drain: Duration,
) -> std::io::Result<()> {
    let timer = Rc::new(Timer::new()?);
    tokio::task::spawn_local(Rc::clone(&timer).drive());
    let sweep = Sweep::new();
    let pool = Rc::new(Pool::new(&sweep, &shared.own));
    let vias = Vias::new(shared.instance);
    let worker = Rc::new(Worker {
        id,
        stage: RefCell::new(Taken::new(shared.stage.load_full(), &shared)),
        shared,
        timer,
        sweep,
        pool,
        vias,
        durations: RefCell::new(durations),
        cutting: Cell::new(None),
        copies: Cell::new(0),
        kept: Cell::new(0),
        log,
    });
    tokio::task::spawn_local(release(Rc::clone(&worker)));
    tokio::task::spawn_local(look(Rc::clone(&worker)));
    tokio::task::spawn_local(finish(Rc::clone(&worker)));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = sockets.recv() => match accepted {
                Some(accepted) => {
                    connections.spawn_local(serve::connection(Rc::clone(&worker), accepted));
                }
                None => break,
            },
            // Takes the results of finished connections away.
            Some(_) = connections.join_next() => {}
        }
    }
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, all_done).await.is_err() {
        // Whatever is left was open when the run ended.
        worker.cutting.set(Some(End::Unfinished));
    }
    drop(connections);
    Ok(())
}

/// Looks for what has stopped moving.
async fn look(worker: Rc<Worker>) {
    let mut tick = tokio::time::interval(sweep::TICK);
    // After a pause of the whole machine nobody is cut for having been silent meanwhile.
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        worker.pool.look();
        let stage = worker.stage();
        let refused = |reason| stage.books.refused(worker.id, reason);
        worker.sweep.look(&stage.plan.proxy.timeouts, |conn, overdue| match overdue {
            Overdue::Idle => conn.order(Order::Finish),
            Overdue::Quiet => conn.order(Order::Rest),
            Overdue::FirstByte => {
                refused("first_byte");
                conn.order(Order::Cut("first_byte"));
            }
            Overdue::RequestHead => {
                refused("request_head");
                conn.say(TOO_SLOW);
                conn.order(Order::Cut("request_head"));
            }
            Overdue::WriteStall => {
                if conn.is_cut_alone() {
                    refused("write_stall");
                }
                conn.order(Order::Cut("write_stall"));
            }
        });
    }
}

/// What hyper cannot say to a head that does not end.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nx-backburn-error: request_head\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// Once draining has begun, tells every connection to finish.
async fn finish(worker: Rc<Worker>) {
    let mut draining = worker.shared.draining.clone();
    if draining.wait_for(|draining| *draining).await.is_err() {
        return;
    }
    let finish = |conn: &Conn| conn.order(Order::Finish);
    worker.sweep.each(|conn| {
        if conn.has_begun() {
            finish(conn);
        }
    });
    // What had been accepted is served: a first request may still be in the kernel, and hyper
    // would close a connection that has read nothing.
    let began = crate::clock::now();
    let mut tick = tokio::time::interval(FIRST_REQUEST / 5);
    loop {
        tick.tick().await;
        let late = crate::clock::now().saturating_duration_since(began) >= FIRST_REQUEST;
        // Also those that are still on their way here.
        worker.sweep.each(|conn| {
            if late || conn.has_begun() {
                finish(conn);
            }
        });
    }
}

/// Carries out orders to let held requests go: this worker's share of the pace.
async fn release(worker: Rc<Worker>) {
    let mut orders = worker.shared.release.clone();
    while orders.changed().await.is_ok() {
        let order = *orders.borrow_and_update();
        let here = worker.timer.waiting();
        let everywhere = worker.shared.held.load(Ordering::Relaxed).max(here).max(1);
        let pace = order.per_second * here as f64 / everywhere as f64;
        let gap = Duration::try_from_secs_f64(1.0 / pace).unwrap_or(Duration::ZERO);
        worker.timer.release(crate::clock::now(), gap);
    }
}
