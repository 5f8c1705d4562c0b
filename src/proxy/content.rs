//! What an answer says, held against what correctness SLOs ask of its route: the answer that the
//! caller is sent, and, where a fault changes it, the service's own. It is judged once, when it has
//! been handed over to its end.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, StatusCode, header};

use super::exchange::Exchange;
use super::worker::Worker;
use crate::fault::grpc;
use crate::plan::{Check, Failed, Failures};
use crate::sli::{Checked, End};

/// What one worker keeps of bodies at the same time, at most: 512 of 64 KiB. What is beyond goes
/// unread, and is counted as that.
const KEPT: usize = 32 << 20;

/// Fields told of one check in the request log, at most.
const MOST_TOLD: usize = 8;

/// One answer under way.
#[derive(Debug)]
pub struct Content {
    /// The service's own head; `None`: it was not asked.
    own: Option<Head>,
    /// The caller's.
    sent: Head,
    body: Body,
    /// Another answer is sent than the service's own, which is read beside it.
    beside: Option<Rc<Beside>>,
    /// For the request log: what is wrong with the caller's head, by check.
    failed: Vec<(u8, Failed)>,
}

/// What is known of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    /// The checks it fails.
    wrong: u64,
    /// The body is not what it says: encoded, messages of gRPC, a part.
    opaque: bool,
}

impl Head {
    fn of(checks: &[Arc<Check>], status: StatusCode, fields: &HeaderMap) -> Self {
        let wrong = checks.iter().filter(|check| !check.takes_head(fields));
        let codings = fields.get_all(header::CONTENT_ENCODING).iter();
        let mut codings = codings.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
        let encoded = |coding: &[u8]| {
            let coding = coding.trim_ascii();
            !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
        };
        Self {
            wrong: wrong.fold(0, |wrong, check| wrong | 1 << check.place),
            opaque: status == StatusCode::PARTIAL_CONTENT
                || codings.any(encoded)
                || grpc::content_type(fields).is_some(),
        }
    }
}

/// What is known of a body.
#[derive(Debug)]
enum Body {
    /// There is none, or it has no end.
    None,
    /// Not enough to tell.
    Unread,
    Kept(Kept),
}

impl Body {
    /// One that comes, of `length` where that is declared. It is kept as far as any check reads
    /// that looks at bodies, and that no head has `settled`.
    fn coming(
        checks: &[Arc<Check>],
        settled: u64,
        length: Option<u64>,
        worker: &Rc<Worker>,
    ) -> Self {
        let asks = checks.iter().filter(|check| {
            let fits = length.is_none_or(|length| length <= check.read_up_to as u64);
            // The beginning of JSON tells nothing.
            check.reads_body() && settled & 1 << check.place == 0 && (fits || check.json.is_none())
        });
        let Some(most) = asks.map(|check| check.read_up_to).max() else { return Self::Unread };
        let first = length.map_or(0, |length| most.min(usize::try_from(length).unwrap_or(most)));
        let worker = Rc::clone(worker);
        Self::Kept(Kept { worker, bytes: Vec::new(), more: false, first, most })
    }

    /// The next piece.
    fn saw(&mut self, data: &[u8]) {
        if let Self::Kept(kept) = self
            && !kept.saw(data)
        {
            *self = Self::Unread;
        }
    }
}

/// The beginning of a body, copied: pieces as they come may hold much larger buffers.
#[derive(Debug)]
struct Kept {
    worker: Rc<Worker>,
    bytes: Vec<u8>,
    /// It goes on.
    more: bool,
    /// Room to begin with.
    first: usize,
    most: usize,
}

impl Kept {
    /// False: this worker has no room left for it.
    #[must_use]
    fn saw(&mut self, data: &[u8]) -> bool {
        let some = data.len().min(self.most - self.bytes.len());
        self.more |= some < data.len();
        let (size, room) = (self.bytes.len() + some, self.bytes.capacity());
        if size > room {
            let kept = &self.worker.kept;
            let grown = size.max(2 * room).max(self.first).min(self.most);
            if kept.get() + grown - room > KEPT {
                return false;
            }
            self.bytes.reserve_exact(grown - self.bytes.len());
            kept.set(kept.get() + self.bytes.capacity() - room);
        }
        self.bytes.extend_from_slice(&data[..some]);
        true
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let kept = &self.worker.kept;
        kept.set(kept.get() - self.bytes.capacity());
    }
}

/// Right, wrong and unread.
fn found(checks: &[Arc<Check>], head: Head, body: &Body) -> Checked {
    let mut found = Checked::default();
    for check in checks {
        let bit = 1 << check.place;
        let right = match body {
            _ if !check.reads_body() => Some(head.wrong & bit == 0),
            Body::None => continue,
            _ if head.wrong & bit != 0 => Some(false),
            Body::Kept(kept) if !head.opaque => check.takes_body(&kept.bytes, kept.more),
            Body::Unread | Body::Kept(_) => None,
        };
        match right {
            Some(true) => found.right |= bit,
            Some(false) => found.wrong |= bit,
            None => found.unread |= bit,
        }
    }
    found
}

impl Content {
    /// The next piece of the body as the caller gets it.
    pub fn saw(&mut self, data: &[u8]) {
        self.body.saw(data);
    }

    /// Notes for the request log what of the caller's answer is wrong: of its head, else its body.
    fn explain(&mut self, exchange: &mut Exchange) {
        if exchange.trace.is_none() {
            return;
        }
        let mut failed = std::mem::take(&mut self.failed);
        if let Body::Kept(kept) = &self.body
            && !self.sent.opaque
        {
            let asked = exchange.checks().iter().filter(|check| check.reads_body());
            for check in asked.filter(|check| self.sent.wrong & 1 << check.place == 0) {
                let wrong = check.fails_body(&kept.bytes, kept.more);
                failed.extend(wrong.map(|failed| (check.place, failed)));
            }
        }
        if let Some(trace) = &mut exchange.trace {
            trace.failed = failed;
        }
    }

    /// `own`: the service's own body, where it is not the one that was sent.
    fn checked(&self, checks: &[Arc<Check>], own: Option<&Body>) -> Checked {
        let sent = found(checks, self.sent, &self.body);
        let own_wrong = match self.own {
            // Whose fault it is is asked of what is wrong only.
            Some(_) if sent.wrong == 0 => 0,
            // The same answer: it needs no second look.
            Some(head) if head == self.sent && own.is_none() => sent.wrong,
            Some(head) => found(checks, head, own.unwrap_or(&self.body)).wrong,
            None => 0,
        };
        Checked { own_wrong: own_wrong & sent.wrong, ..sent }
    }
}

/// What is wrong with a head that is; nothing where nobody writes it down.
fn wrong_heads(exchange: &Exchange, head: Head, fields: &HeaderMap) -> Vec<(u8, Failed)> {
    if head.wrong == 0 || exchange.trace.is_none() {
        return Vec::new();
    }
    let wrong = exchange.checks().iter().filter(|check| head.wrong & 1 << check.place != 0);
    let failed = wrong.flat_map(|check| {
        check.fails_head(fields).take(MOST_TOLD).map(|failed| (check.place, failed))
    });
    failed.collect()
}

impl Exchange {
    /// What is asked of its answer.
    fn checks(&self) -> &[Arc<Check>] {
        &self.stage.plan.routes[self.outcome.route as usize].checks
    }

    /// Something is asked of its answer.
    pub fn is_checked(&self) -> bool {
        !self.checks().is_empty()
    }
}

/// By the common list: availability has charged it, and nothing is asked of it here.
fn is_bad(status: StatusCode) -> bool {
    Failures::COMMON.has(status.as_u16())
}

/// The service has answered: what it says itself, before any fault changes it.
pub fn served(exchange: &mut Exchange, status: StatusCode, fields: &HeaderMap) {
    if is_bad(status) {
        return;
    }
    let sent = Head::of(exchange.checks(), status, fields);
    let content =
        Content { own: Some(sent), sent, body: Body::None, beside: None, failed: Vec::new() };
    exchange.content = Some(Box::new(content));
}

/// The head is on its way to the caller, and what comes after it has no end.
pub fn endless(exchange: &mut Exchange, status: StatusCode, fields: &HeaderMap) {
    if let Some(mut content) = exchange.content.take() {
        content.sent = Head::of(exchange.checks(), status, fields);
        content.failed = wrong_heads(exchange, content.sent, fields);
        content.explain(exchange);
        exchange.outcome.checked = Some(content.checked(exchange.checks(), None));
    }
}

/// What is known of the body that comes after a head.
#[derive(Debug, Clone, Copy)]
pub struct Coming {
    /// None does, whatever the head says.
    pub bodiless: bool,
    /// Where it is declared.
    pub length: Option<u64>,
    /// Faults had their way with the head.
    pub edited: bool,
    /// Faults will damage the body.
    pub damaged: bool,
}

/// The head as the caller is sent it. Returns what is to see the body before faults damage it,
/// where that is the service's own.
pub fn sent(
    exchange: &mut Exchange,
    status: StatusCode,
    fields: &HeaderMap,
    coming: Coming,
) -> Option<Undamaged> {
    let content = exchange.content.take();
    // A stream was judged with its head.
    if exchange.is_recorded() || is_bad(status) {
        return None;
    }
    let checks = exchange.checks();
    let mut content = match content {
        Some(content) if !coming.edited => content,
        content => {
            let sent = Head::of(checks, status, fields);
            let (own, beside) = content.map_or((None, None), |known| (known.own, known.beside));
            Box::new(Content { own, sent, body: Body::None, beside, failed: Vec::new() })
        }
    };
    let own = content.own.filter(|_| content.beside.is_none());
    // What the service's own head has settled may be open for the caller's.
    let settled = content.sent.wrong & own.map_or(u64::MAX, |own| own.wrong);
    let body = || match coming {
        Coming { bodiless: true, .. } => Body::None,
        _ if content.sent.opaque => Body::Unread,
        Coming { length, .. } => Body::coming(checks, settled, length, exchange.worker()),
    };
    let undamaged = (coming.damaged && own.is_some()).then(|| Undamaged(body()));
    content.body = body();
    content.failed = wrong_heads(exchange, content.sent, fields);
    exchange.content = Some(content);
    undamaged
}

/// The service's own body, which a fault damages on its way.
#[derive(Debug)]
pub struct Undamaged(Body);

impl Undamaged {
    /// The next piece, as it came.
    pub fn saw(&mut self, data: &[u8]) {
        self.0.saw(data);
    }
}

/// The caller has been sent all of it: judges it, and ends the exchange. `undamaged`: where a
/// fault has damaged it.
pub fn finish(mut exchange: Box<Exchange>, end: End, undamaged: Option<Undamaged>) {
    let Some(mut content) = exchange.content.take() else { return exchange.finish(end) };
    let own = match &undamaged {
        // Not known yet.
        _ if content.beside.is_some() => Some(&Body::Unread),
        Some(Undamaged(body)) => Some(body),
        None => None,
    };
    let checked = content.checked(exchange.checks(), own);
    exchange.outcome.checked = Some(checked);
    if checked.wrong != 0 {
        content.explain(&mut exchange);
    }
    match (content.beside, content.own) {
        (Some(beside), Some(own)) if checked.wrong != 0 => beside.settle(exchange, own, end),
        _ => exchange.finish(end),
    }
}

/// A service's answer that its caller does not see, read to its end all the same: whether it was
/// wrong as well is part of what happened.
#[derive(Debug)]
struct Beside(RefCell<State>);

#[derive(Debug)]
enum State {
    Reading,
    Read(Body),
    /// The caller has all of what it was sent instead.
    Waits(Waiting),
}

/// An exchange that is over but for its cause. It is recorded when that is known, or when nobody is
/// left to tell.
#[derive(Debug)]
struct Waiting {
    exchange: Box<Exchange>,
    own: Head,
    end: End,
    at: Instant,
}

impl Waiting {
    fn told(&mut self, body: &Body) {
        let found = found(self.exchange.checks(), self.own, body);
        if let Some(checked) = &mut self.exchange.outcome.checked {
            checked.own_wrong = found.wrong & checked.wrong;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.exchange.record(self.end, self.at, crate::clock::now());
    }
}

impl Beside {
    /// The exchange is over: records it as soon as the service's own answer has been read.
    fn settle(self: Rc<Self>, mut exchange: Box<Exchange>, own: Head, end: End) {
        exchange.leave();
        // It takes up nobody's room meanwhile.
        exchange.active.clear();
        exchange.slots.clear();
        let mut waiting = Waiting { exchange, own, end, at: crate::clock::now() };
        let mut state = self.0.borrow_mut();
        if let State::Read(body) = &*state {
            waiting.told(body);
        } else {
            *state = State::Waits(waiting);
        }
    }
}

/// Whoever reads an answer that another one has taken the place of.
#[derive(Debug)]
pub struct Aside {
    beside: Rc<Beside>,
    body: Body,
}

/// Another answer takes the place of the service's own, which is `bodiless` or `length` long where
/// that is declared; `None`: nobody asks what it says.
pub fn aside(exchange: &mut Exchange, bodiless: bool, length: Option<u64>) -> Option<Aside> {
    let mut content = exchange.content.take()?;
    let mut aside = None;
    if let (Some(own), None) = (content.own, &content.beside) {
        let body = match (bodiless, own.opaque) {
            (true, _) => Body::None,
            (_, true) => Body::Unread,
            _ => Body::coming(exchange.checks(), own.wrong, length, exchange.worker()),
        };
        let beside = Rc::new(Beside(RefCell::new(State::Reading)));
        content.beside = Some(Rc::clone(&beside));
        aside = Some(Aside { beside, body });
    }
    exchange.content = Some(content);
    aside
}

impl Aside {
    /// The next piece.
    pub fn saw(&mut self, data: &[u8]) {
        self.body.saw(data);
    }

    /// No more of it is read; `whole`: that was its end.
    pub fn over(self, whole: bool) {
        let body = if whole { self.body } else { Body::Unread };
        let state = self.beside.0.replace(State::Reading);
        if let State::Waits(mut waiting) = state {
            waiting.told(&body);
        } else {
            self.beside.0.replace(State::Read(body));
        }
    }
}
