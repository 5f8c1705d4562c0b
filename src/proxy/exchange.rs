//! The guard of one request: whatever happens, exactly one [`Outcome`] is recorded.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};

use super::conn::Presence;
use super::content::Content;
use super::inflow::Upload;
use super::prescription::Deed;
use super::worker::{Taken, Worker};
use crate::drill::counters::Active;
use crate::fault::{Slot, grpc};
use crate::plan::RouteId;
use crate::requests::Trace;
use crate::sli::{Attempt, End, Hit, Origin, Outcome};

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
    /// Counted when its head was out; its end is no event any more.
    is_stream: bool,
    /// Until its end.
    presence: Option<Presence>,
    /// For the request log, where there is one.
    pub trace: Option<Box<Trace>>,
    /// What its answer says, where somebody asks.
    pub content: Option<Box<Content>>,
}

impl Exchange {
    pub fn begin(
        worker: Rc<Worker>,
        presence: Presence,
        stage: Rc<Taken>,
        arrived: Instant,
        method: Method,
        route: RouteId,
        operation: Option<Attempt>,
    ) -> Box<Self> {
        stage.books.active(worker.id, 1);
        if let Some(attempt) = operation {
            stage.books.arrives(route, attempt);
        }
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
            health_check: false,
            excludes: 0,
            checked: None,
        };
        // Boxed: it goes through many hands.
        Box::new(Self {
            worker,
            stage,
            arrived,
            outcome,
            upload: None,
            active: Vec::new(),
            slots: Vec::new(),
            held_since: None,
            recorded: false,
            is_stream: false,
            presence: Some(presence),
            trace: None,
            content: None,
        })
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

    /// What the caller did wrong with its own body.
    pub fn broken_by_caller(&self) -> Option<&'static str> {
        self.upload.as_ref().and_then(|upload| upload.broken())
    }

    /// The head is on its way to the caller.
    pub fn answered(&mut self, status: u16, origin: Origin, now: Instant) {
        self.outcome.status = status;
        self.outcome.origin = origin;
        self.outcome.first_byte = Some(now.saturating_duration_since(self.arrived));
    }

    /// What a gRPC service says came of it: in its trailers, or in a head that is all there is.
    pub fn says(&mut self, fields: &HeaderMap) {
        if let Some(status) = grpc::Status::said(fields) {
            self.outcome.grpc = Some(status.number());
        }
    }

    /// Counts that backburn refused it, or something on its way.
    pub fn refused(&self, reason: &'static str) {
        self.stage.books.refused(self.worker.id, reason);
    }

    /// It has no end of its own (an event stream, a tunnel): it counts as of now, with its head
    /// out, whoever ends it. That its service or a fault
    /// does is a second fact, `interrupted`.
    pub fn is_stream(&mut self) {
        let now = crate::clock::now();
        self.record(End::Complete, now, now);
        self.is_stream = true;
    }

    /// The end; only the first call counts.
    pub fn finish(&mut self, end: End) {
        if !self.leave() {
            return;
        }
        if self.is_stream && matches!(end, End::Cut | End::Destroyed) {
            self.stage.books.interrupted(self.worker.id);
        }
        let now = crate::clock::now();
        self.record(end, now, now);
    }

    /// It is under way no more; false: it was not.
    pub fn leave(&mut self) -> bool {
        let presence = self.presence.take();
        if presence.is_some() {
            self.stage.books.active(self.worker.id, -1);
        }
        presence.is_some()
    }

    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Records the outcome of what ended at `at`; only the first call counts.
    pub fn record(&mut self, end: End, at: Instant, now: Instant) {
        if self.recorded {
            return;
        }
        self.recorded = true;
        self.let_go(at);
        if self.upload.as_ref().is_some_and(|upload| upload.altered.get()) {
            self.outcome.hit = Hit::Altered;
        }
        self.outcome.end = end;
        self.outcome.total = at.saturating_duration_since(self.arrived);
        let second = self.worker.second(now);
        let durations = &mut *self.worker.durations.borrow_mut();
        let bad = self.stage.books.record(self.worker.id, durations, &self.outcome, second);
        if let (Some(trace), Some(log)) = (self.trace.take(), &self.worker.log) {
            log.offer(self.stage.shared(), self.arrived, &self.outcome, trace, bad);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(presence) = &self.presence else { return };
        // Streams of a connection that was cut are dropped after it.
        let cut = || presence.conn().cut().map(End::Refused);
        let abandoned = End::Abandoned { while_held: self.held_since.is_some() };
        let end = self.worker.cutting().or_else(cut).unwrap_or(abandoned);
        if let End::Refused(reason) = end {
            self.refused(reason);
        }
        self.finish(end);
    }
}
