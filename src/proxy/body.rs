//! Bodies on their way: the caller's, watched for the caller's own mistakes; the answer's, which
//! carries the exchange to its end and the upstream connection back to its pool.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::exchange::Exchange;
use super::upstream::Lease;
use crate::sli::End;

/// Set when reading the caller's body failed; `None`: it has none.
pub type BrokenByCaller = Option<Rc<Cell<bool>>>;

/// The caller's body on its way to the upstream.
#[derive(Debug)]
pub struct RequestBody {
    inner: Option<Incoming>,
    /// Set when reading from the caller failed: malformed, cut short, or the caller is gone.
    failed: BrokenByCaller,
}

impl RequestBody {
    /// Without content; allocates nothing.
    pub fn empty() -> Self {
        Self { inner: None, failed: None }
    }

    /// The body, and the mark that tells whether the caller broke it.
    pub fn watched(inner: Incoming) -> (Self, BrokenByCaller) {
        if inner.is_end_stream() {
            return (Self::empty(), None);
        }
        let failed = Rc::new(Cell::new(false));
        (Self { inner: Some(inner), failed: Some(Rc::clone(&failed)) }, Some(failed))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(inner).poll_frame(context);
        if let (Poll::Ready(Some(Err(_))), Some(failed)) = (&polled, &self.failed) {
            failed.set(true);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// What the caller gets.
#[derive(Debug)]
pub enum Payload {
    Empty,
    Full(Option<Bytes>),
    Stream(Incoming),
}

/// The answer's body; it ends the exchange exactly once. hyper does not poll the last `None` when
/// the length is known, nor the body of a HEAD answer at all, so the end is taken as seen when
/// the last declared byte is handed over.
#[derive(Debug)]
pub struct ResponseBody {
    payload: Payload,
    exchange: Option<Exchange>,
    lease: Option<Lease>,
    /// Whether the caller's own body, still on its way, broke the exchange.
    broken_by_caller: BrokenByCaller,
    /// The service broke off. Told one poll later, so that what came before is flushed.
    broken: Option<hyper::Error>,
}

impl ResponseBody {
    /// `bodiless`: HEAD, 204 or 304, whose body nobody will poll.
    pub fn new(
        payload: Payload,
        exchange: Exchange,
        source: Option<(Lease, BrokenByCaller)>,
        bodiless: bool,
    ) -> Self {
        let (lease, broken_by_caller) = match source {
            Some((lease, broken)) => (Some(lease), broken),
            None => (None, None),
        };
        let mut body =
            Self { payload, exchange: Some(exchange), lease, broken_by_caller, broken: None };
        if bodiless || body.is_end_stream() {
            body.end(End::Complete);
        }
        body
    }

    /// An answer that is no SLI event.
    pub fn unrecorded(bytes: Bytes) -> Self {
        Self {
            payload: Payload::Full(Some(bytes)),
            exchange: None,
            lease: None,
            broken_by_caller: None,
            broken: None,
        }
    }

    fn end(&mut self, end: End) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.finish(end);
        }
        if let Some(lease) = self.lease.take()
            && end == End::Complete
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match &mut this.payload {
            Payload::Empty => Poll::Ready(None),
            Payload::Full(bytes) => {
                let bytes = bytes.take();
                this.end(End::Complete);
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Payload::Stream(incoming) => match Pin::new(&mut *incoming).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    // After trailers hyper drops the body without asking for more.
                    if frame.is_trailers() || incoming.is_end_stream() {
                        this.end(End::Complete);
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Poll::Ready(None) => {
                    this.end(End::Complete);
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Err(error))) => {
                    let caller = this.broken_by_caller.as_ref().is_some_and(|broken| broken.get());
                    this.end(if caller { End::BadRequestBody } else { End::Cut });
                    this.broken = Some(error);
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            },
        }
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
