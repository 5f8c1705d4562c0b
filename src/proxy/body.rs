//! Bodies on their way: the caller's, watched for the caller's own mistakes; the answer's, which
//! carries the exchange to its end and the upstream connection back to its pool.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::admit::filter_trailers;
use super::exchange::Exchange;
use super::flow::Flow;
use super::sweep::{Sweep, Watch};
use super::upstream::Lease;
use crate::sli::End;

/// Why a body ended before its end.
#[derive(Debug)]
pub enum BodyError {
    /// Whoever sent it broke off, or sent what is no body.
    Sender(hyper::Error),
    /// Whoever sends it has said nothing for too long.
    Stalled,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sender(error) => error.fmt(f),
            Self::Stalled => f.write_str("the body has stalled"),
        }
    }
}

impl std::error::Error for BodyError {}

/// What is known of a caller's body while its answer is awaited.
#[derive(Debug)]
pub struct Upload {
    /// What the caller did wrong, as counted.
    broken: Cell<Option<&'static str>>,
    /// The wait for the answer's head: it begins when the body is out, and anew with every piece
    /// that the service takes.
    answer: Rc<Watch>,
}

impl Upload {
    pub fn broken(&self) -> Option<&'static str> {
        self.broken.get()
    }
}

/// The caller's body on its way to the upstream; `None`: it has none.
#[derive(Debug)]
pub struct RequestBody(Option<Box<Sending>>);

#[derive(Debug)]
struct Sending {
    inner: Incoming,
    upload: Rc<Upload>,
    stall: Stall,
    /// Read before the service was asked.
    first: Option<Frame<Bytes>>,
}

/// A wait for the next piece of a body.
#[derive(Debug)]
enum Stall {
    /// This body may pause for as long as it likes.
    Endless,
    /// Nobody has waited yet.
    Idle(Rc<Sweep>, Duration),
    Watched(Watch),
}

impl Stall {
    fn waits(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Self::Idle(sweep, limit) = self {
            *self = Self::Watched(sweep.watch(*limit));
        }
        match self {
            Self::Watched(watch) => {
                watch.start();
                watch.poll_over(context)
            }
            _ => Poll::Pending,
        }
    }

    fn moves(&self) {
        if let Self::Watched(watch) = self {
            watch.rest();
        }
    }
}

impl RequestBody {
    /// Without content; allocates nothing.
    pub fn empty() -> Self {
        Self(None)
    }

    /// The body, and what becomes of it. `answer`: the wait for the answer's head; `stall`: how
    /// long the caller may pause (`None`: for ever).
    pub fn watched(
        inner: Incoming,
        sweep: &Rc<Sweep>,
        answer: &Rc<Watch>,
        stall: Option<Duration>,
    ) -> (Self, Option<Rc<Upload>>) {
        if inner.is_end_stream() {
            return (Self::empty(), None);
        }
        answer.rest();
        let upload = Rc::new(Upload { broken: Cell::new(None), answer: Rc::clone(answer) });
        let stall = stall.map_or(Stall::Endless, |limit| Stall::Idle(Rc::clone(sweep), limit));
        let sending = Sending { inner, upload: Rc::clone(&upload), stall, first: None };
        (Self(Some(Box::new(sending))), Some(upload))
    }

    /// Waits for the first piece: a body that is malformed from its start never reaches the
    /// service. Its mistake is in the [`Upload`].
    pub async fn begins(&mut self) -> Result<(), BodyError> {
        let first = std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context)).await;
        if let Some(sending) = &mut self.0 {
            sending.first = first.transpose()?;
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(sending) = self.0.as_mut() else { return Poll::Ready(None) };
        if let Some(first) = sending.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        match Pin::new(&mut sending.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(mut frame))) => {
                sending.stall.moves();
                sending.upload.answer.restart();
                if let Some(trailers) = frame.trailers_mut() {
                    filter_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                sending.upload.broken.set(Some("bad_request_body"));
                Poll::Ready(Some(Err(BodyError::Sender(error))))
            }
            Poll::Ready(None) => {
                sending.upload.answer.start();
                Poll::Ready(None)
            }
            Poll::Pending => {
                // The service waits for the caller: its own time stands still.
                sending.upload.answer.rest();
                if sending.stall.waits(context).is_pending() {
                    return Poll::Pending;
                }
                sending.upload.broken.set(Some("body_stall"));
                Poll::Ready(Some(Err(BodyError::Stalled)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|sending| sending.first.is_none() && sending.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |sending| sending.inner.size_hint())
    }
}

/// What the caller gets.
#[derive(Debug)]
pub enum Payload {
    Empty,
    Full(Option<Bytes>),
    Stream(Incoming),
}

/// Where an answer's body comes from.
#[derive(Debug)]
pub struct Source {
    pub lease: Lease,
    /// The caller's own body, which may be on its way still, and break the exchange.
    pub upload: Option<Rc<Upload>>,
    /// The wait for its next piece; `None`: it may take for ever.
    pub stall: Option<Rc<Watch>>,
    /// The caller asked for trailers.
    pub trailers: bool,
}

/// The answer's body; it ends the exchange exactly once. hyper does not poll the last `None` when
/// the length is known, nor the body of a HEAD answer at all, so the end is taken as seen when
/// the last declared byte is handed over.
#[derive(Debug)]
pub struct ResponseBody {
    payload: Payload,
    exchange: Option<Exchange>,
    source: Option<Source>,
    /// The service broke off. Told one poll later, so that what came before is flushed.
    broken: Option<BodyError>,
    /// The HTTP/2 stream it goes out on.
    flow: Option<Rc<Flow>>,
}

impl ResponseBody {
    /// `bodiless`: HEAD, 204 or 304, whose body nobody will poll.
    pub fn new(
        payload: Payload,
        exchange: Exchange,
        source: Option<Source>,
        bodiless: bool,
    ) -> Self {
        let mut body = Self { payload, exchange: Some(exchange), source, broken: None, flow: None };
        if bodiless || body.is_end_stream() {
            body.end(End::Complete);
        }
        body
    }

    /// An answer that is no SLI event.
    pub fn unrecorded(bytes: Bytes) -> Self {
        let payload = Payload::Full(Some(bytes));
        Self { payload, exchange: None, source: None, broken: None, flow: None }
    }

    /// The same, on an HTTP/2 stream.
    #[must_use]
    pub fn on(mut self, flow: Rc<Flow>) -> Self {
        flow.given();
        self.flow = Some(flow);
        self
    }

    fn end(&mut self, end: End) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.finish(end);
        }
        if let Some(source) = self.source.take()
            && end == End::Complete
        {
            source.lease.give_back();
        }
    }

    fn breaks(&mut self, error: BodyError, context: &Context<'_>) {
        let upload = self.source.as_ref().and_then(|source| source.upload.as_ref());
        let by_caller = upload.is_some_and(|upload| upload.broken().is_some());
        self.end(if by_caller { End::BadRequestBody } else { End::Cut });
        self.broken = Some(error);
        context.waker().wake_by_ref();
    }

    fn poll_payload(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let incoming = match &mut self.payload {
            Payload::Empty => return Poll::Ready(None),
            Payload::Full(bytes) => {
                let bytes = bytes.take();
                self.end(End::Complete);
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Payload::Stream(incoming) => incoming,
        };
        let stall = self.source.as_ref().and_then(|source| source.stall.as_ref());
        match Pin::new(&mut *incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(stall) = stall {
                    stall.rest();
                }
                if let Some(trailers) = frame.trailers_mut() {
                    filter_trailers(trailers);
                    let asked = self.source.as_ref().is_some_and(|source| source.trailers);
                    // After trailers hyper drops the body without asking for more.
                    self.end(End::Complete);
                    return Poll::Ready(asked.then_some(Ok(frame)));
                }
                if incoming.is_end_stream() {
                    self.end(End::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.end(End::Complete);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.breaks(BodyError::Sender(error), context);
                Poll::Pending
            }
            Poll::Pending => {
                if let Some(stall) = stall {
                    stall.start();
                    if stall.poll_over(context).is_ready() {
                        self.breaks(BodyError::Stalled, context);
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_payload(context);
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
        match &self.payload {
            Payload::Empty | Payload::Full(None) => true,
            Payload::Full(Some(bytes)) => bytes.is_empty(),
            Payload::Stream(incoming) => self.broken.is_none() && incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.payload {
            Payload::Empty | Payload::Full(None) => SizeHint::with_exact(0),
            Payload::Full(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Stream(incoming) => incoming.size_hint(),
        }
    }
}
