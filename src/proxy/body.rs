//! Bodies on their way: the caller's, watched for the caller's own mistakes; the answer's, which
//! carries the exchange to its end and the upstream connection back to its pool.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::exchange::Exchange;
use super::flow::Flow;
use super::inflow::{BodyError, Inflow, Upload};
use super::upstream::Lease;
use crate::sli::End;

/// Where a body's bytes come from.
#[derive(Debug)]
pub enum Payload {
    Empty,
    Full(Option<Bytes>),
    Stream(Box<Inflow>),
}

impl Payload {
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(inflow) => inflow.poll_frame(context),
        }
    }

    /// Nothing more comes.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Empty | Self::Full(None) => true,
            Self::Full(Some(bytes)) => bytes.is_empty(),
            Self::Stream(inflow) => inflow.is_end_stream(),
        }
    }

    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Full(None) => SizeHint::with_exact(0),
            Self::Full(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(inflow) => inflow.size_hint(),
        }
    }
}

/// The caller's body on its way to the upstream.
#[derive(Debug)]
pub struct RequestBody {
    payload: Payload,
}

impl RequestBody {
    pub fn new(payload: Payload) -> Self {
        Self { payload }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.payload.poll(context)
    }

    fn is_end_stream(&self) -> bool {
        self.payload.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.payload.size_hint()
    }
}

/// Where an answer's body comes from.
#[derive(Debug)]
pub struct Source {
    pub lease: Lease,
    /// The caller's own body, which may be on its way still, and break the exchange.
    pub upload: Option<Rc<Upload>>,
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
        match self.payload.poll(context) {
            Poll::Ready(Some(Ok(frame))) => {
                // After trailers hyper drops the body without asking for more.
                if frame.is_trailers() || self.payload.is_end() {
                    self.end(End::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.end(End::Complete);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.breaks(error, context);
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
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
        self.broken.is_none() && self.payload.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.payload.size_hint()
    }
}
