//! A body coming in, from a caller or from a service: watched for silence, its trailers sifted.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::admit::filter_trailers;
use super::conn::Presence;
use super::sweep::{Sweep, Watch};

/// Most of a body that is read when its answer is out already; the connection ends with more.
pub const LEFT_BYTES: usize = 64 * 1024 * 1024;

/// Why a body ended before its end.
#[derive(Debug)]
pub enum BodyError {
    /// Whoever sent it broke off, or sent what is no body.
    Sender(hyper::Error),
    /// Whoever sends it has said nothing for too long.
    Stalled,
    /// It said that it was longer.
    Short,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sender(error) => error.fmt(f),
            Self::Stalled => f.write_str("the body has stalled"),
            Self::Short => f.write_str("the body is shorter than it said"),
        }
    }
}

impl std::error::Error for BodyError {}

/// What is known of a caller's body while its answer is awaited.
#[derive(Debug)]
pub struct Upload {
    /// What the caller did wrong, as counted.
    broken: Cell<Option<&'static str>>,
    /// A fault changed what the service got, or how.
    pub altered: Cell<bool>,
    /// The wait for the answer's head: it begins when the body is out, and anew with every piece
    /// that the service takes.
    pub answer: Rc<Watch>,
}

impl Upload {
    pub fn broken(&self) -> Option<&'static str> {
        self.broken.get()
    }
}

#[derive(Debug)]
pub struct Inflow {
    incoming: Incoming,
    /// Read ahead; see [`Inflow::begins`].
    first: Option<Frame<Bytes>>,
    /// Its end was seen.
    ended: bool,
    /// Whoever it is for takes trailers.
    trailers: bool,
    stall: Stall,
    /// Of a caller's body.
    upload: Option<Rc<Upload>>,
    /// Of a caller's body: what comes on its connection is not the next request yet, whatever has
    /// become of the answer.
    presence: Option<Presence>,
    /// The caller sends nothing before it is told to, which the first look at the body does.
    waits_for_leave: bool,
}

/// A wait for the next piece of a body.
#[derive(Debug)]
enum Stall {
    /// This body may pause for as long as it likes.
    Endless,
    /// Nobody has waited yet.
    Idle(Rc<Sweep>, Duration),
    Watched(Rc<Watch>),
}

impl Stall {
    fn waits(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Self::Idle(sweep, limit) = self {
            *self = Self::Watched(Rc::new(sweep.watch(*limit)));
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

impl Inflow {
    /// A caller's body, which must not be empty. `expects_continue`: it waits to be told to send it;
    /// `answer`: the wait for the answer's head; `stall`: how long the caller may pause (`None`:
    /// for ever).
    pub fn of_caller(
        incoming: Incoming,
        (presence, expects_continue): (Presence, bool),
        sweep: &Rc<Sweep>,
        answer: &Rc<Watch>,
        stall: Option<Duration>,
    ) -> (Self, Rc<Upload>) {
        answer.rest();
        let upload = Rc::new(Upload {
            broken: Cell::new(None),
            altered: Cell::new(false),
            answer: Rc::clone(answer),
        });
        let stall = stall.map_or(Stall::Endless, |limit| Stall::Idle(Rc::clone(sweep), limit));
        let inflow = Self {
            incoming,
            first: None,
            ended: false,
            trailers: true,
            stall,
            upload: Some(Rc::clone(&upload)),
            presence: Some(presence),
            waits_for_leave: expects_continue,
        };
        (inflow, upload)
    }

    /// Reads on what of a caller's body nobody wants any more: the answer came before its end, and
    /// the caller has been told nothing of closing the connection. On HTTP/2 the stream alone is
    /// over; what of it is still on its way must not destroy the answer if the connection ends too.
    pub fn is_left(mut self) {
        let broken = self.upload.take().is_none_or(|upload| upload.broken().is_some());
        let Some(conn) = self.presence.as_ref().map(|presence| Rc::clone(presence.conn())) else {
            return;
        };
        if broken || self.waits_for_leave || self.is_end_stream() {
            return;
        }
        if conn.is_multiplexed() {
            return conn.linger_on_close();
        }
        let whose = Rc::clone(&conn);
        whose.read_on(async move {
            let mut left = LEFT_BYTES;
            while let Some(frame) = self.frame().await {
                let length = frame.ok().map(|frame| frame.data_ref().map_or(0, Bytes::len));
                let Some(rest) = length.and_then(|length| left.checked_sub(length)) else {
                    return conn.linger_on_close();
                };
                left = rest;
            }
        });
    }

    /// A service's answer. `stall`: the wait for its next piece (`None`: it may take for ever);
    /// `trailers`: the caller asked for them.
    pub fn of_service(incoming: Incoming, stall: Option<Rc<Watch>>, trailers: bool) -> Self {
        let stall = stall.map_or(Stall::Endless, Stall::Watched);
        Self {
            incoming,
            first: None,
            ended: false,
            trailers,
            stall,
            upload: None,
            presence: None,
            waits_for_leave: false,
        }
    }

    /// Waits for the first piece: a body that is malformed from its start need go no further. What
    /// the caller did wrong is in its [`Upload`].
    pub async fn begins(&mut self) -> Result<(), BodyError> {
        let first = std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context)).await;
        self.first = first.transpose()?;
        Ok(())
    }

    /// What has come of it so far is no error. Waits for nobody, but lets the connection's own task
    /// look at what it has read with the head.
    pub async fn is_sound(&mut self) -> bool {
        for again in [true, false] {
            match std::future::poll_fn(|context| {
                Poll::Ready(Pin::new(&mut *self).poll_frame(context))
            })
            .await
            {
                Poll::Ready(Some(Err(_))) => return false,
                Poll::Ready(frame) => {
                    self.first = frame.and_then(Result::ok);
                    return true;
                }
                Poll::Pending if again => tokio::task::yield_now().await,
                Poll::Pending => {}
            }
        }
        true
    }

    /// An HTTP/2 caller has reset its stream, or is gone. hyper takes some resets for the body's end.
    fn caller_left(&self, polled: &Poll<Option<Result<Frame<Bytes>, hyper::Error>>>) -> bool {
        let multiplexed = |presence: &Presence| presence.conn().is_multiplexed();
        self.presence.as_ref().is_some_and(multiplexed)
            && match polled {
                Poll::Ready(None) => !self.incoming.is_end_stream(),
                Poll::Ready(Some(Err(error))) => is_of_peer(error),
                _ => false,
            }
    }

    fn breaks(
        &self,
        reason: &'static str,
        error: BodyError,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(upload) = &self.upload {
            upload.broken.set(Some(reason));
        }
        Poll::Ready(Some(Err(error)))
    }
}

/// The peer's own doing, rather than what the codec makes of it.
fn is_of_peer(error: &hyper::Error) -> bool {
    use std::error::Error;
    let error = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| error.is_remote() || error.is_io())
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        this.waits_for_leave = false;
        let polled = Pin::new(&mut this.incoming).poll_frame(context);
        if this.caller_left(&polled) {
            // No mistake of its: whoever serves the stream is dropped with it, and counts that.
            return Poll::Pending;
        }
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.stall.moves();
                if let Some(trailers) = frame.trailers_mut() {
                    if !this.trailers {
                        this.ended = true;
                        return Poll::Ready(None);
                    }
                    filter_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.breaks("bad_request_body", BodyError::Sender(error))
            }
            Poll::Ready(None) if this.incoming.size_hint().exact().is_some_and(|left| left > 0) => {
                this.breaks("bad_request_body", BodyError::Short)
            }
            Poll::Ready(None) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if this.stall.waits(context).is_pending() {
                    return Poll::Pending;
                }
                this.breaks("body_stall", BodyError::Stalled)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && (self.ended || self.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
