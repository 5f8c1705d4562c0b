//! What the rest of a drill is expected to bring to an SLO: what its phases inject, and what the
//! service fails by itself meanwhile.

use super::health::FEWEST;
use super::known::Known;
use super::view::Events;
use crate::budget::{Expected, Stretch};
use crate::drill::Stage;
use crate::drill::control::Standing;
use crate::drill::state::Position;
use crate::plan::{Phase, Plan};
use crate::sli::SloCounts;
use crate::sli::estimate::Part;

/// The parts of a drill that are left, and what they leave out.
#[derive(Debug, Default)]
pub(super) struct ToCome<'p> {
    pub(super) parts: Vec<Part<'p>>,
    /// Phases that only a facilitator ends.
    pub(super) endless: Vec<&'p Phase>,
    running: Option<&'p Phase>,
}

impl<'p> ToCome<'p> {
    /// What is left of the running phase and the phases after it, until `ends_in` seconds from now,
    /// when the drill is over in any case.
    pub(super) fn of(stage: &'p Stage, standing: &Standing, ends_in: Option<f64>) -> Self {
        let phases = &stage.plan.phases;
        let (running, next) = match stage.position {
            _ if standing.over => return Self::default(),
            Position::Before => (None, 0),
            Position::Phase(at) => (stage.phase(), usize::from(at) + 1),
            Position::After => return Self::default(),
        };
        let left = |phase: &Phase| match standing.phase_left {
            Some(left) => Some(left.as_secs_f64()),
            // Without phases the drill lasts as long as it may.
            None if !stage.plan.is_phased() => ends_in,
            None => phase.length.map(|length| length.as_secs_f64()),
        };
        let next = phases[next.min(phases.len())..].iter();
        let next = next.map(|phase| (phase, phase.length.map(|length| length.as_secs_f64())));
        let all = running.map(|phase| (phase, left(phase))).into_iter().chain(next);
        let mut found = Self { running, ..Self::default() };
        let mut until = ends_in.unwrap_or(f64::INFINITY);
        for (phase, seconds) in all {
            match seconds {
                Some(seconds) => {
                    let seconds = seconds.min(until);
                    until -= seconds;
                    found.parts.push(Part { phase, seconds });
                }
                None => found.endless.push(phase),
            }
        }
        found
    }

    /// Services whose faults are still to begin, where none of them is the SLO's own: what its
    /// service makes of them nobody knows before.
    pub(super) fn elsewhere(&self, known: &Known, slo: usize) -> Vec<String> {
        let own = known.of_slo(slo);
        let phases =
            || self.parts.iter().map(|part| part.phase).chain(self.endless.iter().copied());
        let faults = |phase: &Phase| -> Vec<usize> {
            let on = phase.faults.iter().filter(|(_, fault)| fault.enabled);
            on.map(|(id, _)| usize::from(*id)).collect()
        };
        let now = self.running.map(&faults).unwrap_or_default();
        let mut services = Vec::new();
        for fault in phases().flat_map(faults).filter(|fault| !now.contains(fault)) {
            for service in known.of_fault(fault).iter().filter(|service| !own.contains(service)) {
                if !services.contains(service) {
                    services.push(*service);
                }
            }
        }
        known.names(&services)
    }
}

fn has_faults(phase: &Phase) -> bool {
    phase.faults.iter().any(|(_, fault)| fault.enabled)
}

/// The share of requests that go bad without having been made so: while faults are on somewhere, and
/// while none is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Own {
    faulted: f64,
    calm: f64,
}

impl Own {
    /// The last minute's for what goes on now; for the other kind of phase what the drill had in
    /// such, else the last minute's too.
    pub(super) fn of(plan: &Plan, counts: &SloCounts, minute: Events, booked: &str) -> Self {
        let share = |own: u64, n: u64| (n >= FEWEST).then(|| own as f64 / n as f64);
        let own = |seen: crate::sli::Counts| (seen.masked + seen.organic, seen.total());
        let kind = |faulted: bool| {
            let phases = plan.phases.iter().filter(|phase| has_faults(phase) == faulted);
            let seen = phases
                .filter_map(|phase| counts.phases.iter().find(|seen| seen.phase == phase.name));
            let sum = seen.map(|seen| own(seen.counts));
            let (bad, n) = sum.fold((0, 0), |(bad, n), (b, m)| (bad + b, n + m));
            share(bad, n)
        };
        let whole = own(counts.counts);
        let now = share(minute.masked + minute.organic, minute.events)
            .or_else(|| share(whole.0, whole.1))
            .unwrap_or(0.0);
        let running = plan.phases.iter().find(|phase| *phase.name == *booked).map(has_faults);
        let of = |faulted: bool| match running {
            Some(running) if running == faulted => now,
            _ => kind(faulted).unwrap_or(now),
        };
        Self { faulted: of(true), calm: of(false) }
    }
}

/// What one SLO is expected to see: stretches, and what could not be taken into account.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) stretches: Vec<Stretch>,
    pub(super) without: Vec<String>,
}

impl Rest {
    /// At `rate` requests a second of each route.
    pub(super) fn of(known: &Known, slo: usize, to_come: &ToCome<'_>, rate: f64, own: Own) -> Self {
        let mut rest = Self::default();
        for part in to_come.parts.iter().filter(|part| part.seconds > 0.0) {
            let found = known.harms.estimate(slo, [*part], |_| rate);
            let Expected { events, bad, .. } = found.expected;
            let injected = if events > 0.0 { bad / events } else { 0.0 };
            let own = if has_faults(part.phase) { own.faulted } else { own.calm };
            rest.stretches.push(Stretch {
                seconds: part.seconds,
                rate: events / part.seconds,
                bad: 1.0 - (1.0 - injected) * (1.0 - own),
            });
            rest.without.extend(found.without);
        }
        rest.without.extend(to_come.endless.iter().map(|phase| {
            format!("phase `{}` ends when somebody says so: it is not in it", phase.name)
        }));
        rest.without.sort();
        rest.without.dedup();
        rest
    }

    pub(super) fn seconds(&self) -> f64 {
        self.stretches.iter().map(|stretch| stretch.seconds).sum()
    }
}
