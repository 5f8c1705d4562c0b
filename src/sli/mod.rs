//! Counting: every request ends in exactly one [`Outcome`]; [`judge()`] turns it into one
//! [`Event`] per SLO; cells per worker hold the sums without a lock.

use std::time::Duration;

use http::Method;

use crate::plan::{FaultId, RouteId};

pub mod estimate;
pub mod judge;
pub mod ledger;
pub mod operations;
pub mod read;
pub mod ring;
pub mod series;
mod settled;
pub mod snapshot;

pub use judge::{Cause, Event, Excluded, judge};
pub use ledger::{Books, Ledger};
pub use operations::Attempt;
pub use snapshot::{Counts, SloCounts, Snapshot};

/// How one request ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub route: RouteId,
    pub method: Method,
    /// What the caller was sent; 0: no head was sent.
    pub status: u16,
    /// Who made the answer (or, without one, ended the exchange).
    pub origin: Origin,
    pub end: End,
    pub hit: Hit,
    /// What the service had answered, when a fault answered or cut off in its place.
    pub served: Option<u16>,
    /// What a gRPC caller was sent.
    pub grpc: Option<u8>,
    /// From the head's arrival to the last byte handed on (or to the end, whatever it was).
    pub total: Duration,
    /// From the head's arrival to the response head.
    pub first_byte: Option<Duration>,
    /// Time the request was held by faults, part of both figures above.
    pub added: Duration,
    /// What operation it is an attempt at, where its route says what that is.
    pub operation: Option<Attempt>,
    /// It asks whether the service is well.
    pub health_check: bool,
    /// Which of its route's `exclude`s take it, one bit for each
    /// [`crate::plan::Exclusion::place`].
    pub excludes: u64,
    /// What it says, where a correctness SLO asks. `None`: it was not sent to its end, or is one
    /// that nobody asks about.
    pub checked: Option<Checked>,
}

/// What was found of an answer, one bit for each [`crate::plan::Check::place`]. One that is in none
/// of the first three asks about a body, and there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    pub right: u64,
    pub wrong: u64,
    /// What was read of it does not tell.
    pub unread: u64,
    /// Of the wrong ones, those that the service's own answer fails as well.
    pub own_wrong: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The service answered.
    Service,
    /// The service could not be reached or broke off before its head: 502 or 504 made here,
    /// charged to the service. The label is what `error_type` and `x-backburn-error` say.
    Unreachable(&'static str),
    /// A fault answered or aborted.
    Fault(FaultId),
    /// backburn refused it (admission, limits): never an SLI event; the label is the reason.
    Refused(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The caller was sent the whole answer, or a fault's abort was carried out.
    Complete,
    /// The caller left first.
    Abandoned { while_held: bool },
    /// The service broke off inside its body.
    Cut,
    /// A fault cut the service's body off or damaged it.
    Destroyed,
    /// The caller's own body was malformed or ended early: the caller's error.
    BadRequestBody,
    /// backburn cut it, for this limit of its own.
    Refused(&'static str),
    /// It was open when the run ended.
    Unfinished,
}

/// What faults did to the request on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hit {
    #[default]
    No,
    /// It was hit; a request that was delayed, answered or aborted.
    Yes,
    /// What the service got was not what the caller sent, or not as it was sent.
    Altered,
}

#[cfg(test)]
mod threshold_tests;
