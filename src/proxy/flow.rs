//! One HTTP/2 stream towards a caller. hyper asks a body for more only while the stream's window
//! has room, so a body cannot know that its caller takes nothing. But it hands every stream's
//! future to the executor: that future, dropped, resets this one stream and leaves the connection
//! to the others.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use super::conn::Conn;
use super::sweep::Watch;
use super::worker::Worker;

/// Whether the caller takes what it is given.
#[derive(Debug)]
pub struct Flow {
    watch: Watch,
    /// Something lies ready that it has not taken.
    waits: Cell<bool>,
    /// All who take nothing just now.
    blocked: Arc<AtomicUsize>,
}

impl Flow {
    pub fn new(worker: &Worker) -> Rc<Self> {
        let limit = worker.stage().plan.proxy.timeouts.write_stall;
        let watch = worker.sweep.watch(limit);
        // There is nothing to take yet.
        watch.rest();
        let blocked = Arc::clone(worker.sweep.blocked());
        Rc::new(Self { watch, waits: Cell::new(false), blocked })
    }

    /// Something lies ready for the caller.
    pub fn given(&self) {
        self.watch.restart();
        if !self.waits.replace(true) {
            self.blocked.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The caller has room for more.
    pub fn has_room(&self) {
        if self.waits.replace(false) {
            self.blocked.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The caller has taken all there was.
    pub fn taken(&self) {
        self.watch.rest();
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.has_room();
    }
}

/// Runs a connection's streams; each is told its flow, which the service has left here just before
/// (hyper calls the service, then the executor, with nothing in between).
#[derive(Debug, Clone)]
pub struct Streams {
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    next: Rc<RefCell<Option<Rc<Flow>>>>,
}

impl Streams {
    pub fn of(worker: &Rc<Worker>, conn: &Rc<Conn>) -> Self {
        Self { worker: Rc::clone(worker), conn: Rc::clone(conn), next: Rc::default() }
    }

    /// The flow of the stream that is about to be run.
    pub fn open(&self) -> Rc<Flow> {
        let flow = Flow::new(&self.worker);
        *self.next.borrow_mut() = Some(Rc::clone(&flow));
        flow
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        let flow = self.next.borrow_mut().take();
        let (worker, conn) = (Rc::clone(&self.worker), Rc::clone(&self.conn));
        tokio::task::spawn_local(async move {
            let mut future = Box::pin(future);
            let stalled = poll_fn(|context| {
                if future.as_mut().poll(context).is_ready() {
                    return Poll::Ready(false);
                }
                match &flow {
                    Some(flow) => flow.watch.poll_over(context).map(|()| true),
                    None => Poll::Pending,
                }
            });
            if stalled.await {
                conn.has_stalled();
                let before = conn.active();
                worker.cut("write_stall", || drop(future));
                // What was no request any more nobody else counts.
                if conn.active() == before {
                    worker.stage().books.refused(worker.id, "write_stall");
                }
            }
        });
    }
}
