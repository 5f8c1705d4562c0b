//! One outcome, one SLO → good, bad by cause, or excluded by reason.

use super::Outcome;
use crate::plan::Slo;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Good,
    Bad(Cause),
    Excluded(Excluded),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    Injected,
    Masked,
    Organic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Excluded {
    ClientGone,
    BadRequest,
    Refused,
    Status,
    /// A latency SLI of good answers only: this one was not good.
    NotGood,
}

pub fn judge(_slo: &Slo, _outcome: &Outcome) -> Event {
    Event::Good
}
