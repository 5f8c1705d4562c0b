//! One outcome, one SLO → good, bad by cause, or excluded by reason.

use std::time::Duration;

use super::{End, Hit, Origin, Outcome};
use crate::plan::{Failures, LeftOut, Member, Sli, Slo, Valid};
use crate::scenario::{Clock, Population, StatusPattern};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    Good,
    Bad(Cause),
    Excluded(Excluded),
}

/// Whose fault a bad event is. The three sum exactly to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// backburn made the bad answer, destroyed a good one, or its wait alone was too long.
    Injected,
    /// A fault hit it, and the service's own answer or time was bad as well.
    Masked,
    /// Bad, and no fault hit it.
    Organic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Excluded {
    /// The caller left early, and no fault had held it; or there is no whole answer to be judged.
    ClientGone,
    /// The caller's own body was broken.
    BadRequest,
    /// backburn refused it.
    Refused,
    /// Its status is one the SLO leaves out.
    Status,
    /// An SLI of good answers only: this one was not good.
    NotGood,
    /// It was open when the run ended.
    Unfinished,
    /// An SLI that asks about a body, and there is none, or one without an end.
    NoBody,
    /// Its body is longer than what is read, encoded, a part of one, or there were too many.
    Unread,
    /// It asks whether the service is well: no user's request.
    HealthCheck,
    /// OPTIONS: what browsers ask before the request itself.
    Options,
    /// The SLO's `exclude` takes it.
    Exclude,
}

impl Cause {
    pub const ALL: [Self; 3] = [Self::Injected, Self::Masked, Self::Organic];

    pub fn label(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Masked => "masked",
            Self::Organic => "organic",
        }
    }
}

impl Excluded {
    pub const ALL: [Self; 11] = [
        Self::ClientGone,
        Self::BadRequest,
        Self::Refused,
        Self::Status,
        Self::NotGood,
        Self::Unfinished,
        Self::NoBody,
        Self::Unread,
        Self::HealthCheck,
        Self::Options,
        Self::Exclude,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::BadRequest => "bad_request",
            Self::Refused => "refused",
            Self::Status => "status",
            Self::NotGood => "not_good",
            Self::Unfinished => "unfinished",
            Self::NoBody => "no_body",
            Self::Unread => "unread",
            Self::HealthCheck => "health_check",
            Self::Options => "options",
            Self::Exclude => "exclude",
        }
    }
}

/// Of SLIs that are not about failures.
static COMMON: Failures = Failures::COMMON;

fn is_in(status: u16, patterns: &[StatusPattern]) -> bool {
    patterns.iter().any(|pattern| (pattern.low..=pattern.high).contains(&status))
}

/// Judges one finished request for one SLO. The order is: what was no event when it came, what is
/// none as it ended, then callers that left, then the answer.
pub fn judge(slo: &Slo, outcome: &Outcome) -> Event {
    by(&slo.valid, &slo.sli, outcome)
}

/// Why it is no event, whatever becomes of it. `None`: it is one.
fn left_out(valid: &Valid, outcome: &Outcome) -> Option<Excluded> {
    let left = valid.leaves_out(&outcome.method, outcome.health_check, outcome.excludes)?;
    Some(match left {
        LeftOut::HealthCheck => Excluded::HealthCheck,
        LeftOut::Options => Excluded::Options,
        LeftOut::Exclude => Excluded::Exclude,
    })
}

fn by(valid: &Valid, sli: &Sli, outcome: &Outcome) -> Event {
    if let Some(reason) = left_out(valid, outcome) {
        return Event::Excluded(reason);
    }
    match (outcome.end, outcome.origin) {
        (End::BadRequestBody, _) => return Event::Excluded(Excluded::BadRequest),
        (End::Unfinished, _) => return Event::Excluded(Excluded::Unfinished),
        (End::Refused(_), _) | (_, Origin::Refused(_)) => {
            return Event::Excluded(Excluded::Refused);
        }
        _ => {}
    }
    match sli {
        Sli::Availability { bad, exclude_status, abandoned_after } => {
            availability(bad, exclude_status, *abandoned_after, outcome)
        }
        Sli::Latency { threshold, of, clock } => latency(*threshold, *of, *clock, outcome),
        Sli::Correctness(check) => correctness(1 << check.place, outcome),
        Sli::All(members) => {
            let counting = members.iter().filter(|member| member.routes.contains(&outcome.route));
            let events = counting.map(|Member { valid, sli, .. }| by(valid, sli, outcome));
            events.reduce(both).unwrap_or(Event::Good)
        }
    }
}

/// Good for both that count it. A request that would have been bad without the fault as well is
/// masked, whatever else the fault did to it.
fn both(one: Event, other: Event) -> Event {
    match (one, other) {
        (Event::Bad(a), Event::Bad(b)) if a == b => Event::Bad(a),
        (Event::Bad(_), Event::Bad(_)) => Event::Bad(Cause::Masked),
        (Event::Bad(cause), _) | (_, Event::Bad(cause)) => Event::Bad(cause),
        (Event::Good, _) | (_, Event::Good) => Event::Good,
        (Event::Excluded(reason), Event::Excluded(_)) => Event::Excluded(reason),
    }
}

fn availability(
    bad: &Failures,
    exclude_status: &[StatusPattern],
    abandoned_after: Duration,
    outcome: &Outcome,
) -> Event {
    if matches!(outcome.end, End::Abandoned { .. }) {
        return abandoned(outcome, abandoned_after);
    }
    if is_in(outcome.status, exclude_status) {
        return Event::Excluded(Excluded::Status);
    }
    if is_good(bad, outcome) { Event::Good } else { Event::Bad(blame(bad, outcome)) }
}

/// The caller got a whole answer that is no failure by the common list of statuses.
pub(super) fn is_answered(outcome: &Outcome) -> bool {
    is_good(&COMMON, outcome)
}

/// A whole answer with a status that is not bad.
fn is_good(bad: &Failures, outcome: &Outcome) -> bool {
    outcome.end == End::Complete && says_good(bad, outcome)
}

/// Its status is not bad, however it ended.
fn says_good(bad: &Failures, outcome: &Outcome) -> bool {
    outcome.status != 0
        && !bad.has(outcome.status)
        && !outcome.grpc.is_some_and(|status| bad.grpc.has(status))
}

/// Whose fault a bad answer is. A fault that put itself in the place of an answer that was bad
/// anyway has masked it.
fn blame(bad: &Failures, outcome: &Outcome) -> Cause {
    let is_bad = |status| bad.has(status);
    let served_badly = match outcome.origin {
        Origin::Fault(_) => outcome.served.is_some_and(is_bad),
        _ if outcome.end == End::Destroyed => is_bad(outcome.status),
        _ => true,
    };
    match outcome.hit {
        Hit::No => Cause::Organic,
        Hit::Yes if served_badly => Cause::Masked,
        Hit::Yes | Hit::Altered => Cause::Injected,
    }
}

/// The caller left: a fault's doing when one held or delayed it, else the service's when it had
/// kept the caller waiting for long.
fn abandoned(outcome: &Outcome, patience: Duration) -> Event {
    let held = matches!(outcome.end, End::Abandoned { while_held: true });
    if held || outcome.added > Duration::ZERO {
        Event::Bad(Cause::Injected)
    } else if outcome.total >= patience {
        Event::Bad(match outcome.hit {
            Hit::No => Cause::Organic,
            Hit::Yes => Cause::Masked,
            Hit::Altered => Cause::Injected,
        })
    } else {
        Event::Excluded(Excluded::ClientGone)
    }
}

fn latency(threshold: Duration, of: Population, clock: Clock, outcome: &Outcome) -> Event {
    if matches!(outcome.end, End::Abandoned { .. }) {
        return match abandoned(outcome, threshold) {
            // Exactly the threshold is within it.
            Event::Bad(Cause::Organic | Cause::Masked) if outcome.total <= threshold => {
                Event::Excluded(Excluded::ClientGone)
            }
            event => event,
        };
    }
    if of == Population::Good && !is_good(&COMMON, outcome) {
        return Event::Excluded(Excluded::NotGood);
    }
    if outcome.status == 0 || matches!(outcome.end, End::Cut | End::Destroyed) {
        // No whole answer is never a fast one.
        return Event::Bad(blame(&COMMON, outcome));
    }
    let took = match clock {
        Clock::LastByte => outcome.total,
        Clock::FirstByte => outcome.first_byte.unwrap_or(outcome.total),
    };
    if took <= threshold {
        Event::Good
    } else if outcome.hit == Hit::No {
        Event::Bad(Cause::Organic)
    } else if outcome.hit == Hit::Altered || took.saturating_sub(outcome.added) <= threshold {
        Event::Bad(Cause::Injected)
    } else {
        Event::Bad(Cause::Masked)
    }
}

/// `check`: its bit. Only answers that are no failure are looked at, and were sent to their end,
/// whatever a fault did to their bytes: all else is what availability is for.
fn correctness(check: u64, outcome: &Outcome) -> Event {
    let checked = match outcome.end {
        End::Abandoned { .. } => return Event::Excluded(Excluded::ClientGone),
        End::Complete => outcome.checked.unwrap_or_default(),
        // Damaged, not cut off.
        End::Destroyed if let Some(checked) = outcome.checked => checked,
        _ => return Event::Excluded(Excluded::NotGood),
    };
    if !says_good(&COMMON, outcome) {
        Event::Excluded(Excluded::NotGood)
    } else if checked.right & check != 0 {
        Event::Good
    } else if checked.unread & check != 0 {
        Event::Excluded(Excluded::Unread)
    } else if checked.wrong & check == 0 {
        Event::Excluded(Excluded::NoBody)
    } else {
        let own = checked.own_wrong & check != 0;
        let served_badly = own || outcome.served.is_some_and(|status| COMMON.has(status));
        Event::Bad(match outcome.hit {
            Hit::No => Cause::Organic,
            Hit::Yes if served_badly => Cause::Masked,
            Hit::Yes | Hit::Altered => Cause::Injected,
        })
    }
}

#[cfg(test)]
#[path = "correctness_tests.rs"]
mod correctness_tests;

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
