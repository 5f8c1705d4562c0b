//! The guard of one request: whatever happens, exactly one [`Outcome`] is recorded.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Method;

use super::prescription::Deed;
use super::worker::{Taken, Worker};
use crate::drill::counters::Active;
use crate::fault::Slot;
use crate::plan::RouteId;
use crate::sli::{End, Hit, Origin, Outcome};

/// What is to be known of the caller's body while somebody else reads it.
#[derive(Debug, Default)]
pub struct Upload {
    /// Reading it failed: malformed, cut short, or the caller is gone.
    pub failed: Cell<bool>,
    /// A fault changed what the service got, or how.
    pub altered: Cell<bool>,
}

/// One request from its head to its end. Dropped without [`Exchange::finish`], it counts as
/// abandoned by the caller: hyper drops the request when the connection dies.
#[derive(Debug)]
pub struct Exchange {
    worker: Rc<Worker>,
    pub stage: Rc<Taken>,
    pub arrived: Instant,
    pub outcome: Outcome,
    /// The caller's body on its way; `None`: it has none.
    pub upload: Option<Rc<Upload>>,
    /// Places under `max_active` of faults that act until the end.
    pub active: Vec<Active>,
    /// Slots it is served in.
    pub slots: Vec<Slot>,
    /// Since when a fault has held it; set only while it does.
    held_since: Option<Instant>,
    recorded: bool,
}

impl Exchange {
    pub fn begin(
        worker: Rc<Worker>,
        stage: Rc<Taken>,
        arrived: Instant,
        method: Method,
        route: RouteId,
        operation: Option<u64>,
    ) -> Self {
        stage.books.active(worker.id, 1);
        let outcome = Outcome {
            route,
            method,
            status: 0,
            origin: Origin::Service,
            end: End::Complete,
            hit: Hit::No,
            served: None,
            grpc: None,
            total: Duration::ZERO,
            first_byte: None,
            added: Duration::ZERO,
            operation,
        };
        Self {
            worker,
            stage,
            arrived,
            outcome,
            upload: None,
            active: Vec::new(),
            slots: Vec::new(),
            held_since: None,
            recorded: false,
        }
    }

    pub fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// A kind took effect.
    pub fn injected(&self, deed: Deed) {
        let Deed { fault, kind } = deed;
        self.stage.books.injected(self.worker.id, self.outcome.route, fault, kind);
    }

    pub fn hold(&mut self, since: Instant) {
        self.held_since = Some(since);
    }

    /// The hold is over; returns how long it was.
    pub fn let_go(&mut self, now: Instant) -> Duration {
        let held = self
            .held_since
            .take()
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.outcome.added += held;
        held
    }

    /// The caller broke off its own body.
    pub fn broken_by_caller(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.failed.get())
    }

    /// The head is on its way to the caller.
    pub fn answered(&mut self, status: u16, origin: Origin, now: Instant) {
        self.outcome.status = status;
        self.outcome.origin = origin;
        self.outcome.first_byte = Some(now.saturating_duration_since(self.arrived));
    }

    /// Records the outcome; only the first call counts.
    pub fn finish(&mut self, end: End) {
        if self.recorded {
            return;
        }
        self.recorded = true;
        let now = crate::clock::now();
        self.let_go(now);
        if self.upload.as_ref().is_some_and(|upload| upload.altered.get()) {
            self.outcome.hit = Hit::Altered;
        }
        self.outcome.end = end;
        self.outcome.total = now.saturating_duration_since(self.arrived);
        let second = self.worker.second(now);
        let durations = &mut *self.worker.durations.borrow_mut();
        self.stage.books.record(self.worker.id, durations, &self.outcome, second);
        self.stage.books.active(self.worker.id, -1);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish(End::Abandoned { while_held: self.held_since.is_some() });
    }
}
