//! Bodies on their way: the caller's, watched for the caller's own mistakes; the answer's, which
//! carries the exchange to its end and the upstream connection back to its pool.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::act::{self, Held, Place};
use super::conn::Conn;
use super::content;
use super::copies::Copies;
use super::exchange::Exchange;
use super::flow::Flow;
use super::inflow::{BodyError, Inflow, Upload};
use super::piped::Piped;
use super::prescription::Deed;
use super::shape::{Shaped, Shaper};
use super::upstream::Lease;
use crate::fault::How;
use crate::sli::End;
use crate::sli::ledger::Skip;

/// Where a body's bytes come from.
#[derive(Debug)]
pub enum Payload {
    Empty,
    Full(Option<Bytes>),
    Stream(Box<Inflow>),
    /// One end of a tunnel.
    Piped(Box<Piped>),
}

impl Payload {
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(inflow) => Pin::new(&mut **inflow).poll_frame(context),
            Self::Piped(piped) => piped.poll(context).map(|piece| Some(Ok(Frame::data(piece?)))),
        }
    }

    /// Nothing more comes.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Empty | Self::Full(None) => true,
            Self::Full(Some(bytes)) => bytes.is_empty(),
            Self::Stream(inflow) => inflow.is_end_stream(),
            Self::Piped(piped) => piped.is_end(),
        }
    }

    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Full(None) => SizeHint::with_exact(0),
            Self::Full(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(inflow) => inflow.size_hint(),
            Self::Piped(_) => SizeHint::default(),
        }
    }
}

/// The caller's body on its way to the upstream.
#[derive(Debug)]
pub struct RequestBody {
    payload: Payload,
    upload: Option<Rc<Upload>>,
    shaper: Option<Box<Shaper>>,
    copies: Option<Box<Copies>>,
}

impl RequestBody {
    /// `upload`: where it tells what became of it.
    pub fn new(payload: Payload, upload: Option<Rc<Upload>>, shaper: Option<Box<Shaper>>) -> Self {
        Self { payload, upload, shaper, copies: None }
    }

    /// The same request is sent again when all of it is out.
    pub fn copied(&mut self, copies: Box<Copies>) {
        if self.is_end_stream() {
            copies.send();
        } else {
            self.copies = Some(copies);
        }
    }

    /// Lets the copies see what goes out.
    fn copy(&mut self, polled: Option<&Result<Frame<Bytes>, BodyError>>) {
        match (polled, &mut self.copies) {
            (_, None) => return,
            (Some(Err(_)), _) => self.copies = None,
            (Some(Ok(frame)), Some(copies)) => {
                frame.data_ref().inspect(|data| copies.saw(data));
            }
            (None, Some(_)) => {}
        }
        // hyper asks for nothing more when the declared length is out.
        let over = polled.is_none() || self.is_end_stream();
        if over && let Some(copies) = self.copies.take() {
            copies.send();
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.upload.is_some()
            && let Payload::Stream(inflow) = std::mem::replace(&mut self.payload, Payload::Empty)
        {
            inflow.is_left();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.shaper {
            None => this.payload.poll(context),
            Some(shaper) => {
                let shaped = shaper.poll(context, &mut this.payload, None);
                if let Some(upload) = &this.upload
                    && shaper.touched
                {
                    upload.altered.set(true);
                }
                shaped.map(|shaped| match shaped {
                    Shaped::Frame(frame) => Some(Ok(frame)),
                    Shaped::Failed(error) => Some(Err(error)),
                    // Only answers are cut.
                    Shaped::End | Shaped::Cut { .. } => None,
                })
            }
        };
        if let Some(upload) = &this.upload {
            match &polled {
                // The service has taken all there was before.
                Poll::Ready(Some(_)) => upload.answer.restart(),
                Poll::Ready(None) => upload.answer.start(),
                // It waits for the caller, or a fault: its own time stands still.
                Poll::Pending => upload.answer.rest(),
            }
        }
        if let Poll::Ready(polled) = &polled {
            this.copy(polled.as_ref());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.payload.is_end() && self.shaper.as_ref().is_none_or(|shaper| shaper.is_idle())
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.payload.size_hint();
        self.shaper.as_ref().map_or(hint, |shaper| shaper.size_hint(&hint))
    }
}

/// Why an answer's body does not come to its end.
#[derive(Debug)]
pub enum Broken {
    /// The service broke off.
    Service(BodyError),
    /// A fault cut it; on HTTP/2 the stream is reset with this code.
    Cut { code: u32 },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(_) => f.write_str("the service broke off"),
            Self::Cut { code } => write!(f, "cut off by a fault (code {code})"),
        }
    }
}

impl Broken {
    /// What an HTTP/2 stream is reset with.
    pub fn code(&self) -> u32 {
        match self {
            Self::Service(_) => h2::Reason::INTERNAL_ERROR.into(),
            Self::Cut { code } => *code,
        }
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Service(error) => Some(error),
            Self::Cut { .. } => None,
        }
    }
}

/// How far a body is that does not come to its end.
enum Tail {
    /// It comes.
    None,
    /// What was handed over is on its way to the kernel; then it ends like this.
    Flush { ticket: Option<u64>, then: Then },
    /// Silence.
    Hang { silence: Pin<Box<dyn Future<Output = Held>>>, code: u32 },
}

enum Then {
    Break(Broken),
    Hang { deed: Deed, cap: Duration, code: u32 },
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Flush { .. } => "Flush",
            Self::Hang { .. } => "Hang",
        })
    }
}

/// The answer's body; it ends the exchange exactly once. hyper does not poll the last `None` when
/// the length is known, nor the body of a HEAD answer at all, so the end is taken as seen when
/// the last declared byte is handed over.
#[derive(Debug)]
pub struct ResponseBody {
    payload: Payload,
    exchange: Option<Box<Exchange>>,
    conn: Rc<Conn>,
    /// Other streams share the connection: only this one is cut.
    multiplexed: bool,
    lease: Option<Lease>,
    shaper: Option<Box<Shaper>>,
    /// A fault put it in the place of what the service said.
    replaced: bool,
    tail: Tail,
    /// It waits until the caller has taken what it was sent.
    room: Option<u64>,
    /// The HTTP/2 stream it goes out on.
    flow: Option<Rc<Flow>>,
}

impl ResponseBody {
    pub fn new(payload: Payload, exchange: Box<Exchange>, conn: Rc<Conn>) -> Self {
        Self { exchange: Some(exchange), ..Self::unrecorded(payload, conn) }
    }

    /// Of an answer that is no SLI event.
    pub fn unrecorded(payload: Payload, conn: Rc<Conn>) -> Self {
        Self {
            payload,
            exchange: None,
            conn,
            multiplexed: false,
            lease: None,
            shaper: None,
            replaced: false,
            tail: Tail::None,
            room: None,
            flow: None,
        }
    }

    /// Where it comes from; given back at its end.
    #[must_use]
    pub fn from(mut self, lease: Option<Lease>) -> Self {
        self.lease = lease;
        self
    }

    #[must_use]
    pub fn shaped(mut self, shaper: Option<Box<Shaper>>, replaced: bool) -> Self {
        (self.shaper, self.replaced) = (shaper, replaced);
        self
    }

    #[must_use]
    pub fn multiplexed(mut self, multiplexed: bool) -> Self {
        self.multiplexed = multiplexed;
        self
    }

    /// The same, on an HTTP/2 stream.
    #[must_use]
    pub fn on(mut self, flow: Rc<Flow>) -> Self {
        flow.given();
        self.flow = Some(flow);
        self
    }

    /// Ready to be sent. `bodiless`: HEAD, 204 or 304, whose body nobody will poll.
    #[must_use]
    pub fn ready(mut self, bodiless: bool) -> Self {
        if bodiless || self.is_end_stream() {
            self.end(End::Complete);
        }
        self
    }

    fn end(&mut self, end: End) {
        let damaged = self.replaced || self.shaper.as_ref().is_some_and(|shaper| shaper.damaged);
        if let Some(mut exchange) = self.exchange.take() {
            if end == End::Complete {
                let own = self.shaper.as_mut().filter(|shaper| shaper.damaged);
                let own = own.and_then(|shaper| shaper.own.take());
                content::finish(exchange, if damaged { End::Destroyed } else { end }, own);
            } else {
                exchange.finish(end);
            }
        }
        if let Some(lease) = self.lease.take()
            && end == End::Complete
        {
            lease.give_back();
        }
    }

    /// The next frame of a body that faults shape.
    fn poll_shaped(&mut self, context: &mut Context<'_>) -> Poll<Shaped> {
        match &mut self.shaper {
            Some(shaper) => shaper.poll(context, &mut self.payload, self.exchange.as_deref_mut()),
            None => self.payload.poll(context).map(|polled| match polled {
                Some(Ok(frame)) => Shaped::Frame(frame),
                Some(Err(error)) => Shaped::Failed(error),
                None => Shaped::End,
            }),
        }
    }

    /// A fault ends it, when what came before is out.
    fn cut(&mut self, deed: Deed, how: How, code: u32) {
        let then = if let How::Hang { cap } = how {
            Then::Hang { deed, cap, code }
        } else {
            if !self.multiplexed {
                self.conn.close_with(how);
            }
            if let Some(exchange) = &self.exchange {
                exchange.injected(deed);
            }
            self.end(End::Destroyed);
            Then::Break(Broken::Cut { code })
        };
        self.tail = Tail::Flush { ticket: None, then };
    }

    /// `Ready(None)`: it goes on.
    fn poll_tail(&mut self, context: &mut Context<'_>) -> Poll<Option<Broken>> {
        loop {
            match &mut self.tail {
                Tail::None => return Poll::Ready(None),
                Tail::Flush { ticket, .. } => {
                    ready!(self.conn.poll_flushed(ticket, context));
                    let Tail::Flush { then, .. } = std::mem::replace(&mut self.tail, Tail::None)
                    else {
                        continue;
                    };
                    match then {
                        Then::Break(broken) => return Poll::Ready(Some(broken)),
                        Then::Hang { deed, cap, code } => self.hang(deed, cap, code),
                    }
                }
                Tail::Hang { silence, code } => {
                    let (held, code) = (ready!(silence.as_mut().poll(context)), *code);
                    self.tail = Tail::None;
                    match held {
                        Held::Released => self.go_on(),
                        Held::Elapsed => {
                            self.end(End::Destroyed);
                            return Poll::Ready(Some(Broken::Cut { code }));
                        }
                        Held::Gone => return Poll::Ready(Some(Broken::Cut { code })),
                    }
                }
            }
        }
    }

    fn hang(&mut self, deed: Deed, cap: Duration, code: u32) {
        let Some(exchange) = &mut self.exchange else { return };
        let worker = Rc::clone(exchange.worker());
        let Some(place) = Place::take(&worker.shared.held, exchange.stage.plan.proxy.max_held)
        else {
            exchange.stage.books.skipped(worker.id, deed.fault, Skip::MaxHeld);
            self.go_on();
            return;
        };
        exchange.injected(deed);
        let now = crate::clock::now();
        exchange.hold(now);
        let conn = Rc::clone(&self.conn);
        let silence = async move {
            let _place = place;
            act::silence(&worker, &conn, now.checked_add(cap).unwrap_or(now)).await
        };
        self.tail = Tail::Hang { silence: Box::pin(silence), code };
    }

    /// As if no fault had hit it.
    fn go_on(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.let_go(crate::clock::now());
        }
        if let Some(shaper) = &mut self.shaper {
            shaper.open();
        }
    }

    /// A caller that takes nothing just now has enough before it in the kernel; what is read ahead
    /// of it here would only be memory, once for each slow reader.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.room.is_some() || self.conn.is_blocked() {
            ready!(self.conn.poll_flushed(&mut self.room, context));
            self.room = None;
        }
        Poll::Ready(())
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(broken) = ready!(self.poll_tail(context)) {
                return Poll::Ready(Some(Err(broken)));
            }
            ready!(self.poll_room(context));
            match ready!(self.poll_shaped(context)) {
                Shaped::Frame(frame) => {
                    if let Some(exchange) = &mut self.exchange {
                        if let (Some(content), Some(data)) =
                            (&mut exchange.content, frame.data_ref())
                        {
                            content.saw(data);
                        }
                        if let Some(trailers) = frame.trailers_ref() {
                            exchange.says(trailers);
                        }
                    }
                    // After trailers hyper drops the body without asking for more.
                    if frame.is_trailers() || self.is_end_stream() {
                        self.end(End::Complete);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Shaped::End => {
                    self.end(End::Complete);
                    return Poll::Ready(None);
                }
                Shaped::Cut { deed, how, codes } => self.cut(deed, how, codes.reset),
                Shaped::Failed(error) => {
                    let caller =
                        self.exchange.as_ref().and_then(|exchange| exchange.broken_by_caller());
                    if let (Some(reason), Some(exchange)) = (caller, &self.exchange) {
                        exchange.refused(reason);
                    }
                    self.end(if caller.is_some() { End::BadRequestBody } else { End::Cut });
                    // Told when what came before is out.
                    let then = Then::Break(Broken::Service(error));
                    self.tail = Tail::Flush { ticket: None, then };
                }
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(flow) = &self.flow {
            flow.has_room();
        }
        let polled = self.poll_next(context);
        if let Some(flow) = &self.flow {
            if polled.is_ready() {
                flow.given();
            } else {
                flow.taken();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.tail, Tail::None)
            && self.payload.is_end()
            && self.shaper.as_ref().is_none_or(|shaper| shaper.is_idle())
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.payload.size_hint();
        self.shaper.as_ref().map_or(hint, |shaper| shaper.size_hint(&hint))
    }
}
