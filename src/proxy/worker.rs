//! A worker: one thread, one runtime, its own timer, upstream pool and cells.

use std::cell::{Cell, RefCell};
use std::net::TcpStream as StdTcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::LocalSet;

use super::conn::Conn;
use super::request;
use super::timer::Timer;
use super::upstream::Pool;
use super::{OwnPort, Shared};
use crate::drill::Stage;
use crate::plan::ServiceId;
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
}

impl Counted {
    /// Counted before the socket is handed over, so that a burst is spread.
    pub fn on(shared: &Arc<Shared>, worker: usize) -> Self {
        shared.load[worker].fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), worker }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.load[self.worker].fetch_sub(1, Ordering::Relaxed);
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
    pub pool: Rc<Pool>,
    pub durations: RefCell<Durations>,
    /// Copies of requests that are on their way.
    pub copies: Cell<usize>,
    stage: RefCell<Rc<Taken>>,
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

    /// The one-second cell an instant belongs to.
    pub fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.shared.epoch).as_secs()
    }
}

/// Runs a worker on the calling thread until `sockets` is closed and every connection is done, or
/// `drain` has passed since draining began.
pub fn run(
    id: usize,
    shared: Arc<Shared>,
    sockets: mpsc::Receiver<Accepted>,
    durations: Durations,
    drain: Duration,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(id, shared, sockets, durations, drain))
}

async fn serve(
    id: usize,
    shared: Arc<Shared>,
    mut sockets: mpsc::Receiver<Accepted>,
    durations: Durations,
    drain: Duration,
) -> std::io::Result<()> {
    let timer = Rc::new(Timer::new()?);
    tokio::task::spawn_local(Rc::clone(&timer).drive());
    let pool = Rc::new(Pool::default());
    let worker = Rc::new(Worker {
        id,
        stage: RefCell::new(Taken::new(shared.stage.load_full(), &shared)),
        shared,
        timer,
        pool,
        durations: RefCell::new(durations),
        copies: Cell::new(0),
    });
    tokio::task::spawn_local(release(Rc::clone(&worker)));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = sockets.recv() => match accepted {
                Some(accepted) => {
                    connections.spawn_local(connection(Rc::clone(&worker), accepted));
                }
                None => break,
            },
            // Takes the results of finished connections away.
            Some(_) = connections.join_next() => {}
        }
    }
    let all_done = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(drain, all_done).await;
    Ok(())
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

async fn connection(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted { stream, port, permit: _permit, counted: _counted } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let _ = stream.set_nodelay(true);
    let (conn, socket) = Conn::open(stream);
    let service =
        service_fn(|request| request::handle(Rc::clone(&worker), Rc::clone(&conn), port, request));
    let mut serving = std::pin::pin!(
        http1::Builder::new()
            // A client that closes its side is gone; see `Conn::client_gone`.
            .half_close(false)
            .header_read_timeout(None)
            .max_buf_size(64 * 1024)
            .max_header_size(32 * 1024)
            .serve_connection(TokioIo::new(socket), service)
    );
    let mut draining = worker.shared.draining.clone();
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => ended,
        _ = draining.wait_for(|draining| *draining) => {
            // What had been accepted is served: a first request may still be in the kernel, and
            // hyper would close a connection that has read nothing.
            let early = if conn.has_begun() {
                None
            } else {
                tokio::time::timeout(FIRST_REQUEST, serving.as_mut()).await.ok()
            };
            if let Some(ended) = early {
                ended
            } else {
                serving.as_mut().graceful_shutdown();
                serving.as_mut().await
            }
        }
    };
    if let Err(error) = ended
        && error.is_parse()
    {
        worker.shared.stage.load().books.refused(worker.id, "malformed");
    }
}
