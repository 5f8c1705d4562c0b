//! Everything the faults that struck one request ask for, put together and in the order of the
//! request's life: delays add, the first answer or abort in file order wins, body effects stack.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::act::Place;
use super::exchange::Exchange;
use super::worker::Worker;
use crate::drill::counters::Active;
use crate::drill::stage::Struck;
use crate::fault::{self, Abort, Action, Answer, At, Edit, How, Limit, Serve, Shape, Way, When};
use crate::plan::{Asked, FaultId};
use crate::sli::ledger::Skip;

/// One kind of one fault, by its [`fault::place`]: what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    pub fault: FaultId,
    pub kind: usize,
}

#[derive(Debug, Default)]
pub struct Prescription {
    /// Before the upstream.
    pub delay: Duration,
    /// What may keep it or turn it away before the upstream, in file order.
    pub gates: Vec<(Deed, Gate)>,
    /// How often it is sent again.
    pub copies: Vec<(Deed, u32)>,
    /// The first answer or abort in file order, wherever it acts; an abort inside the body is
    /// among the `download`'s shapes.
    pub end: Option<Ending>,
    /// After the head of the service's answer.
    pub late: Vec<Late>,
    /// What becomes of the caller's message.
    pub upload: Changes,
    /// What becomes of the service's.
    pub download: Changes,
    /// The faults that take effect, for `x-backburn-fault`.
    pub faults: Vec<FaultId>,
    /// Set when it keeps the request waiting.
    pub place: Option<Place>,
    /// Places under `max_active`, kept for as long as the faults act.
    pub active: Vec<Active>,
}

#[derive(Debug)]
pub enum Gate {
    /// `value`: whose bucket.
    Limit {
        limit: Limit,
        value: Option<u64>,
    },
    Serve(Serve),
}

/// How a fault ends a request.
#[derive(Debug)]
pub struct Ending {
    pub deed: Deed,
    pub verb: Verb,
}

#[derive(Debug)]
pub enum Verb {
    Answer { answer: Answer, after_upstream: bool },
    Abort(Abort),
}

impl Ending {
    /// It ends the request before the service sees it.
    pub fn is_early(&self) -> bool {
        match &self.verb {
            Verb::Answer { after_upstream, .. } => !after_upstream,
            Verb::Abort(abort) => abort.at == At::Request,
        }
    }
}

/// A wait of the answer; counted when it is known how long it has to be.
#[derive(Debug)]
pub struct Late {
    pub deed: Deed,
    pub time: Duration,
    /// `time` runs from the request's arrival.
    pub floor: bool,
}

/// What becomes of one message.
#[derive(Debug, Default)]
pub struct Changes {
    edits: Vec<(Deed, Arc<Edit>)>,
    pub shapes: Vec<(Deed, Shape)>,
}

impl Changes {
    /// Changes the fields; true: something is different now.
    pub fn edit(&self, exchange: &Exchange, fields: &mut HeaderMap) -> bool {
        let mut changed = false;
        for (deed, edit) in &self.edits {
            if edit.apply(fields) {
                exchange.injected(*deed);
                changed = true;
            }
        }
        changed
    }

    /// Bytes will not be what they were.
    pub fn damages(&self) -> bool {
        self.shapes.iter().any(|(_, shape)| matches!(shape, Shape::Flip { .. }))
    }

    /// What comes instead of the body: the last to say so.
    pub fn replacement(&mut self, exchange: &Exchange) -> Option<Bytes> {
        let mut bytes = None;
        self.shapes.retain(|(deed, shape)| match shape {
            Shape::Replace(with) => {
                exchange.injected(*deed);
                bytes = Some(with.clone());
                false
            }
            _ => true,
        });
        bytes
    }
}

impl Prescription {
    /// Puts together what struck. Counts who was hit and the delays before the upstream; the rest is
    /// counted when it is carried out, since the caller may leave or a halt may come before.
    pub fn of(
        struck: Vec<Struck>,
        place: Option<Place>,
        worker: &Worker,
        exchange: &Exchange,
        asked: &Asked<'_>,
    ) -> Self {
        let mut all = Self { place, ..Self::default() };
        for Struck { fault: id, actions, active, .. } in struck {
            all.active.extend(active);
            let mut effective = false;
            let kinds = &exchange.stage.fault(id).kinds;
            for (kind, action) in kinds.iter().zip(actions) {
                let kind = fault::place(kind.kind());
                effective |= all.add(Deed { fault: id, kind }, action, exchange, asked);
            }
            if effective {
                exchange.stage.books.hit(worker.id, exchange.outcome.route, id);
                all.take_effect(id, exchange);
            }
        }
        all.abort_inside();
        all
    }

    /// False: what another ending has forestalled, and what may yet do nothing.
    fn add(&mut self, deed: Deed, action: Action, exchange: &Exchange, asked: &Asked<'_>) -> bool {
        let verb = match action {
            Action::Delay { time, when: When::Request } => {
                self.delay = self.delay.saturating_add(time);
                exchange.injected(deed);
                return true;
            }
            Action::Delay { time, when } => {
                self.late.push(Late { deed, time, floor: when == When::Floor });
                return true;
            }
            Action::Edit { on, edit } => {
                self.changes(on).edits.push((deed, edit));
                return true;
            }
            Action::Shape { on, shape } => {
                self.changes(on).shapes.push((deed, shape));
                return true;
            }
            Action::Copy(copies) => {
                self.copies.push((deed, copies));
                return true;
            }
            // Behind the first answer or abort there is nobody left to keep.
            Action::Limit(_) | Action::Serve(_) if self.end.is_some() => return false,
            Action::Limit(limit) => {
                let value = limit.per.as_ref().map(|per| per.key(asked));
                if value == Some(None) {
                    let worker = exchange.worker().id;
                    exchange.stage.books.skipped(worker, deed.fault, Skip::NoValue);
                } else {
                    self.gates.push((deed, Gate::Limit { limit, value: value.flatten() }));
                }
                return false;
            }
            Action::Serve(serve) => {
                self.gates.push((deed, Gate::Serve(serve)));
                return true;
            }
            Action::Respond { answer, after_upstream } => Verb::Answer { answer, after_upstream },
            Action::Abort(abort) => Verb::Abort(abort),
        };
        let first = self.end.is_none();
        if first {
            self.end = Some(Ending { deed, verb });
        }
        first
    }

    fn changes(&mut self, on: Way) -> &mut Changes {
        match on {
            Way::Request => &mut self.upload,
            Way::Response => &mut self.download,
        }
    }

    fn abort_inside(&mut self) {
        if let Some(Ending { deed, verb: Verb::Abort(Abort { how, at: At::Body(after), codes }) }) =
            self.end
        {
            self.end = None;
            self.download.shapes.push((deed, Shape::Cut { after, how, codes }));
        }
    }

    /// A gate turned it away: the fault has taken effect after all.
    pub fn took_effect(&mut self, fault: FaultId, exchange: &Exchange) {
        if !self.faults.contains(&fault) {
            let worker = exchange.worker().id;
            exchange.stage.books.hit(worker, exchange.outcome.route, fault);
            self.take_effect(fault, exchange);
        }
    }

    fn take_effect(&mut self, fault: FaultId, exchange: &Exchange) {
        self.faults.push(fault);
        if let Some(trace) = &exchange.trace {
            trace.applied.borrow_mut().push(fault);
        }
    }

    /// Injection has ended while it waited: it goes on as if no fault had hit it, but for what was
    /// done already.
    pub fn spare(&mut self) {
        let faults = std::mem::take(&mut self.faults);
        *self = Self { faults, ..Self::default() };
    }

    /// How late the answer is, besides floors.
    pub fn late_by(&self) -> Duration {
        let added = self.late.iter().filter(|late| !late.floor);
        added.fold(Duration::ZERO, |sum, late| sum.saturating_add(late.time))
    }

    /// It has to do with what comes after a handshake.
    pub fn reaches_tunnels(&self) -> bool {
        !self.delay.is_zero()
            || !self.late_by().is_zero()
            || !self.upload.shapes.is_empty()
            || !self.download.shapes.is_empty()
    }

    /// To callers that take the connection's end for the body's, a FIN would look like a whole
    /// answer: cut off with a RST.
    pub fn end_visibly(&mut self) {
        for (_, shape) in &mut self.download.shapes {
            if let Shape::Cut { how: how @ (How::Close | How::Garbage), .. } = shape {
                *how = How::Reset;
            }
        }
    }
}
