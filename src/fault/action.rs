//! What kinds ask for: the closed verbs that the data path knows. It knows no kind.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::bucket::{Buckets, Pace};
use super::grpc;
use super::station::{Capacity, Pool};
use crate::dice::Dice;
use crate::document::Selector;
use crate::units::{Bandwidth, Share};

/// What one kind asks of the data path for one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Wait. Whole microseconds.
    Delay { time: Duration, when: When },
    /// Answer in the service's place; `after_upstream`: when it has done its work.
    Respond { answer: Answer, after_upstream: bool },
    /// End the exchange without an answer, or inside it.
    Abort(Abort),
    /// Change header fields.
    Edit { on: Way, edit: Arc<Edit> },
    /// Change how a body comes, or what it says.
    Shape { on: Way, shape: Shape },
    /// Answer, unless a token is left.
    Limit(Limit),
    /// Wait for a slot, then for a time; answer where no more may wait.
    Serve(Serve),
    /// Send it to the service so many times more.
    Copy(u32),
}

/// A bounded rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    pub buckets: Arc<Buckets>,
    pub pace: Pace,
    /// Each value of this has a bucket of its own.
    pub per: Option<Arc<Selector>>,
    /// `retry-after` is added.
    pub answer: Answer,
}

impl Limit {
    /// What is answered when there is no token for so long.
    pub fn turned_away(self, wait: Duration) -> Answer {
        let mut answer = self.answer;
        answer.headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        answer
    }
}

/// A wait in whole seconds, never too few.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// A bounded capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct Serve {
    pub pool: Arc<Pool>,
    pub capacity: Capacity,
    /// How long it takes, besides the service itself.
    pub time: Duration,
    pub answer: Answer,
}

/// Where a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the service sees it.
    Request,
    /// Before the caller sees the head of the service's answer.
    Response,
    /// There too, but only until so much has passed since the request came.
    Floor,
}

/// Which of the two messages of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the service gets.
    Request,
    /// What the caller gets.
    Response,
}

impl Way {
    /// In words: whose body.
    pub fn body(self) -> &'static str {
        match self {
            Self::Request => "request's body",
            Self::Response => "answer's body",
        }
    }
}

/// An injected answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// From 200 to 599. What HTTP callers get.
    pub status: StatusCode,
    /// What gRPC callers get instead.
    pub grpc: Option<grpc::Status>,
    /// Never a header that frames the message.
    pub headers: HeaderMap,
    /// Empty for 204 and 304.
    pub body: Bytes,
}

/// How an exchange ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    pub how: How,
    pub at: At,
    pub codes: Codes,
}

/// What is said when an exchange is cut off, in protocols that have words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// HTTP/2: of the stream's reset.
    pub reset: u32,
    /// WebSocket: of the Close frame that comes first; `None`: none comes.
    pub close: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// Nothing until the caller gives up, or `cap` is over; then FIN.
    Hang { cap: Duration },
    /// Bytes that are no HTTP, then FIN.
    Garbage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Before the service sees the request.
    Request,
    /// When it has answered; nothing of that goes out.
    Headers,
    /// Inside the body.
    Body(After),
}

/// How much of a body goes out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Bytes(u64),
    /// Of the declared length.
    Share(Share),
    /// Whole messages: of gRPC, or of a WebSocket.
    Messages(u64),
    /// Whole server-sent events.
    Events(u64),
    /// From the head on.
    Time(Duration),
}

/// Changed header fields: first `remove`, then `set`, then `add`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl Edit {
    /// True: something is different now.
    pub fn apply(&self, fields: &mut HeaderMap) -> bool {
        let mut changed = !self.add.is_empty();
        for name in &self.remove {
            changed |= fields.remove(name).is_some();
        }
        for (name, value) in &self.set {
            let same = fields.get_all(name).iter().eq([value]);
            if !same {
                fields.insert(name, value.clone());
                changed = true;
            }
        }
        for (name, value) in &self.add {
            fields.append(name, value.clone());
        }
        changed
    }
}

/// What becomes of a body, or of what a tunnel carries one way.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// So many bits a second.
    Throttle(Bandwidth),
    /// Pieces of so many bytes, with a pause after each.
    Drip { chunk: u64, pause: Duration },
    /// It ends before its time.
    Cut { after: After, how: How, codes: Codes },
    /// So many of its bytes have one bit turned over. Which, depends on the dice and on their place
    /// in the body alone.
    Flip { share: Share, dice: Dice },
    /// Other bytes in its place; they decide the declared length.
    Replace(Bytes),
}
