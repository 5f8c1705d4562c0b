//! One outcome, one SLO → good, bad by cause, or excluded by reason.

use std::time::Duration;

use super::{End, Hit, Origin, Outcome};
use crate::plan::{BAD_STATUS, Sli, Slo};
use crate::scenario::{Clock, Population, StatusPattern};

/// UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
const BAD_GRPC_STATUS: [u8; 7] = [2, 4, 8, 12, 13, 14, 15];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub const ALL: [Self; 8] = [
        Self::ClientGone,
        Self::BadRequest,
        Self::Refused,
        Self::Status,
        Self::NotGood,
        Self::Unfinished,
        Self::NoBody,
        Self::Unread,
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
        }
    }
}

fn is_in(status: u16, patterns: &[StatusPattern]) -> bool {
    patterns.iter().any(|pattern| (pattern.low..=pattern.high).contains(&status))
}

/// Judges one finished request for one SLO. The order is: what is no event at all, then callers
/// that left, then the answer.
pub fn judge(slo: &Slo, outcome: &Outcome) -> Event {
    match (outcome.end, outcome.origin) {
        (End::BadRequestBody, _) => return Event::Excluded(Excluded::BadRequest),
        (End::Unfinished, _) => return Event::Excluded(Excluded::Unfinished),
        (End::Refused(_), _) | (_, Origin::Refused(_)) => {
            return Event::Excluded(Excluded::Refused);
        }
        _ => {}
    }
    by(&slo.sli, outcome)
}

fn by(sli: &Sli, outcome: &Outcome) -> Event {
    match sli {
        Sli::Availability { bad_status, exclude_status, abandoned_after } => {
            availability(bad_status, exclude_status, *abandoned_after, outcome)
        }
        Sli::Latency { threshold, of, clock } => latency(*threshold, *of, *clock, outcome),
        Sli::Correctness(check) => correctness(1 << check.place, outcome),
        Sli::All(members) => {
            let counting = members.iter().filter(|(_, routes)| routes.contains(&outcome.route));
            counting.map(|(sli, _)| by(sli, outcome)).reduce(both).unwrap_or(Event::Good)
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
    bad_status: &[StatusPattern],
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
    if is_good(bad_status, outcome) { Event::Good } else { Event::Bad(blame(bad_status, outcome)) }
}

/// The caller got a whole answer that is no failure by the common list of statuses.
pub(super) fn is_answered(outcome: &Outcome) -> bool {
    is_good(&BAD_STATUS, outcome)
}

/// A whole answer with a status that is not bad.
fn is_good(bad_status: &[StatusPattern], outcome: &Outcome) -> bool {
    outcome.end == End::Complete && says_good(bad_status, outcome)
}

/// Its status is not bad, however it ended.
fn says_good(bad_status: &[StatusPattern], outcome: &Outcome) -> bool {
    outcome.status != 0
        && !is_in(outcome.status, bad_status)
        && !outcome.grpc.is_some_and(|status| BAD_GRPC_STATUS.contains(&status))
}

/// Whose fault a bad answer is. A fault that put itself in the place of an answer that was bad
/// anyway has masked it.
fn blame(bad_status: &[StatusPattern], outcome: &Outcome) -> Cause {
    let is_bad = |status| is_in(status, bad_status);
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
    if of == Population::Good && !is_good(&BAD_STATUS, outcome) {
        return Event::Excluded(Excluded::NotGood);
    }
    if outcome.status == 0 || matches!(outcome.end, End::Cut | End::Destroyed) {
        // No whole answer is never a fast one.
        return Event::Bad(blame(&BAD_STATUS, outcome));
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
    if !says_good(&BAD_STATUS, outcome) {
        Event::Excluded(Excluded::NotGood)
    } else if checked.right & check != 0 {
        Event::Good
    } else if checked.unread & check != 0 {
        Event::Excluded(Excluded::Unread)
    } else if checked.wrong & check == 0 {
        Event::Excluded(Excluded::NoBody)
    } else {
        let own = checked.own_wrong & check != 0;
        let served_badly = own || outcome.served.is_some_and(|status| is_in(status, &BAD_STATUS));
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
mod tests {
    use super::*;
    use crate::budget::Dialect;
    use crate::plan::{Alerts, Production};
    use crate::units::Share;
    use http::Method;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn outcome(
        status: u16,
        origin: Origin,
        end: End,
        hit: bool,
        total: u64,
        added: u64,
    ) -> Outcome {
        Outcome {
            route: 0,
            method: Method::GET,
            status,
            origin,
            end,
            hit: if hit { Hit::Yes } else { Hit::No },
            served: None,
            grpc: None,
            total: ms(total),
            first_byte: (status != 0).then(|| ms(total / 2)),
            added: ms(added),
            operation: None,
            checked: None,
        }
    }

    fn slo(sli: Sli) -> Slo {
        Slo {
            name: "s".into(),
            counts: Box::default(),
            objective: Share::from_billionths(999_000_000).unwrap(),
            window: Duration::from_secs(28 * 86400),
            sli,
            slices: None,
            alerts: Alerts {
                dialect: Dialect::Custom,
                tiers: Box::default(),
                min_bad: 0,
                interval: 1,
            },
            production: Production::default(),
            allowance: None,
        }
    }

    #[test]
    fn every_row() {
        use Cause::{Injected, Masked, Organic};
        use End::{Abandoned, BadRequestBody, Complete, Cut};
        use Event::{Bad, Excluded as Out, Good};
        let up = slo(Sli::Availability {
            bad_status: BAD_STATUS.into(),
            exclude_status: [StatusPattern { low: 404, high: 404 }].into(),
            abandoned_after: ms(1000),
        });
        let fast =
            slo(Sli::Latency { threshold: ms(800), of: Population::Good, clock: Clock::LastByte });
        let down = Origin::Unreachable("connection_refused");
        let gone = Abandoned { while_held: false };
        let held = Abandoned { while_held: true };
        let not_good = Out(Excluded::NotGood);
        let left = Out(Excluded::ClientGone);
        let (service, fault) = (Origin::Service, Origin::Fault(0));
        // status, origin, end, hit, total, added → availability, latency
        let rows = [
            (200, service, Complete, false, 10, 0, Good, Good),
            (200, service, Complete, false, 800, 0, Good, Good),
            (200, service, Complete, false, 801, 0, Good, Bad(Organic)),
            (200, service, Complete, true, 2010, 2000, Good, Bad(Injected)),
            (200, service, Complete, true, 3000, 2000, Good, Bad(Masked)),
            (200, service, Complete, true, 500, 400, Good, Good),
            (404, service, Complete, false, 10, 0, Out(Excluded::Status), Good),
            (429, service, Complete, false, 10, 0, Bad(Organic), not_good),
            (408, service, Complete, false, 10, 0, Bad(Organic), not_good),
            (500, service, Complete, false, 10, 0, Bad(Organic), not_good),
            (500, service, Complete, true, 2010, 2000, Bad(Masked), not_good),
            (500, fault, Complete, true, 1, 0, Bad(Injected), not_good),
            (200, fault, Complete, true, 1, 0, Good, Good),
            (0, fault, Complete, true, 1, 0, Bad(Injected), not_good),
            (502, down, Complete, false, 1, 0, Bad(Organic), not_good),
            (502, down, Complete, true, 2001, 2000, Bad(Masked), not_good),
            (200, service, Cut, false, 10, 0, Bad(Organic), not_good),
            (200, service, Cut, true, 2010, 2000, Bad(Masked), not_good),
            (0, service, held, true, 500, 500, Bad(Injected), Bad(Injected)),
            (0, service, gone, true, 510, 500, Bad(Injected), Bad(Injected)),
            (0, service, gone, false, 100, 0, left, left),
            (0, service, gone, false, 900, 0, left, Bad(Organic)),
            (0, service, gone, false, 1000, 0, Bad(Organic), Bad(Organic)),
            (0, service, gone, false, 800, 0, left, left),
            (
                400,
                Origin::Refused("x"),
                BadRequestBody,
                false,
                1,
                0,
                Out(Excluded::BadRequest),
                Out(Excluded::BadRequest),
            ),
            (
                200,
                service,
                End::Refused("write_stall"),
                false,
                1,
                0,
                Out(Excluded::Refused),
                Out(Excluded::Refused),
            ),
            (
                200,
                service,
                End::Unfinished,
                false,
                1,
                0,
                Out(Excluded::Unfinished),
                Out(Excluded::Unfinished),
            ),
            (
                503,
                Origin::Refused("x"),
                Complete,
                false,
                1,
                0,
                Out(Excluded::Refused),
                Out(Excluded::Refused),
            ),
        ];
        // A fault in the place of an answer, or inside it, or in the request: what the service had
        // said decides, unless it was not asked what the caller asked.
        let lost = Outcome { served: Some(200), ..outcome(503, fault, Complete, true, 1, 0) };
        let bad_lost = Outcome { served: Some(500), ..lost.clone() };
        let cut = outcome(200, service, End::Destroyed, true, 1, 0);
        let bad_cut = outcome(500, service, End::Destroyed, true, 1, 0);
        let altered = Outcome { hit: Hit::Altered, ..outcome(500, service, Complete, true, 1, 0) };
        let grpc = Outcome { grpc: Some(14), ..outcome(200, fault, Complete, true, 1, 0) };
        let fine = Outcome { grpc: Some(5), ..grpc.clone() };
        for (outcome, event) in [
            (&lost, Bad(Injected)),
            (&bad_lost, Bad(Masked)),
            (&cut, Bad(Injected)),
            (&bad_cut, Bad(Masked)),
            (&altered, Bad(Injected)),
            (&Outcome { end: Cut, ..altered.clone() }, Bad(Injected)),
            (&Outcome { end: gone, total: ms(2000), ..altered.clone() }, Bad(Injected)),
            (&grpc, Bad(Injected)),
            (&fine, Good),
        ] {
            assert_eq!(judge(&up, outcome), event, "availability of {outcome:?}");
        }
        let slow = Outcome { hit: Hit::Altered, ..outcome(200, service, Complete, true, 900, 0) };
        assert_eq!(judge(&fast, &slow), Bad(Injected));
        for (status, origin, end, hit, total, added, available, quick) in rows {
            let outcome = outcome(status, origin, end, hit, total, added);
            assert_eq!(judge(&up, &outcome), available, "availability of {outcome:?}");
            assert_eq!(judge(&fast, &outcome), quick, "latency of {outcome:?}");
        }
    }
}
