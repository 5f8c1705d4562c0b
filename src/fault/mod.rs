//! Fault kinds: one file a kind. A fault *decides*, pure and synchronous; the proxy *acts*.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::dice::Dice;

/// What one kind asks of the data path for one request. The proxy knows these verbs, never kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Wait before the service sees the request. Whole microseconds.
    Delay(Duration),
    /// Answer in the service's place.
    Respond(Answer),
    /// End the connection without an answer.
    Abort(Abort),
}

/// An injected answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// RST.
    Reset,
    /// FIN without an answer.
    Close,
    /// Nothing until the caller gives up, or `cap` is over; then FIN.
    Hang { cap: Duration },
}

/// A compiled kind.
pub trait Fault: fmt::Debug + Send + Sync {
    /// The kind's name as in `inject.NAME` and in the label `kind`.
    fn kind(&self) -> &'static str;
    /// What this request gets. Depends on nothing but the dice.
    fn decide(&self, dice: &mut Dice) -> Action;
}

/// One `inject.KIND` as written.
#[derive(Debug, Clone)]
pub enum Spec {}
