//! Fills the [`budgets`](super::budgets) of a view from counts and from the past.

use std::time::{Duration, SystemTime};

use super::budgets::{
    Alerts, AtTheEnd, Budget, Closest, Collateral, Composite, Confidence, Exhaustion, Firing, Tier,
    Window,
};
use super::rest::Rest;
use super::view::Slo as Shown;
use crate::budget::{self, Expected, Exposure, Holt, Line, Member};
use crate::clock::rfc3339;
use crate::drill::watch::{Figures, SURE};
use crate::plan::{Plan, Slo};
use crate::sli::SloCounts;
use crate::units::show_duration;

/// What proves something: an error once in twenty.
const ALPHA: f64 = 0.05;
/// Of fewer points no line is drawn.
const FEWEST_POINTS: usize = 5;

/// The share of the budget that so many bad events of `n` in `elapsed` have consumed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bases<'p> {
    pub(super) slo: &'p Slo,
    pub(super) n: u64,
    pub(super) elapsed: Duration,
}

impl Bases<'_> {
    pub(super) fn scaled(&self, bad: u64) -> Option<f64> {
        let Slo { objective, window, .. } = *self.slo;
        budget::consumed_scaled(bad, self.n, objective, self.elapsed, window)
    }

    pub(super) fn absolute(&self, bad: u64) -> Option<f64> {
        budget::consumed_absolute(bad, self.slo.objective, self.slo.per_window()?)
    }

    /// On the basis that is told: `absolute` where production's rate is known.
    pub(super) fn told(&self, bad: u64) -> Option<f64> {
        if self.n == 0 {
            return None;
        }
        if self.slo.per_window().is_some() { self.absolute(bad) } else { self.scaled(bad) }
    }

    pub(super) fn basis(&self) -> &'static str {
        if self.slo.per_window().is_some() { "absolute" } else { "scaled" }
    }

    pub(super) fn before(&self) -> f64 {
        self.slo.production.consumed.map_or(0.0, crate::units::Spent::as_f64)
    }

    pub(super) fn budget(&self, bad: u64) -> Budget {
        let consumed = self.told(bad);
        let remaining = 1.0 - self.before() - consumed.unwrap_or(0.0);
        let more = consumed.filter(|consumed| *consumed > 0.0).map(|consumed| remaining / consumed);
        Budget {
            scaled_ratio: self.scaled(bad),
            absolute_ratio: self.absolute(bad).filter(|_| self.n > 0),
            consumed_before_ratio: self.slo.production.consumed.map(crate::units::Spent::as_f64),
            remaining_ratio: Some(remaining),
            // Saturates.
            more_drills: more.map(|more| more.max(0.0) as u64),
            allowance_ratio: self.slo.allowance.map(crate::units::Share::as_f64),
        }
    }
}

pub(super) fn confidence(counts: &SloCounts) -> Confidence {
    let (bad, n) = (counts.bad(), counts.total());
    let interval = budget::wilson(bad, n, budget::Confidence::P95);
    Confidence {
        bad_low_ratio: interval.map(|interval| interval.low),
        bad_high_ratio: interval.map(|interval| interval.high),
        verdict: budget::judged(bad, n, counts.objective, ALPHA).label().to_owned(),
        needed_events: budget::needed(bad, counts.objective, ALPHA),
        least_events: budget::needed(0, counts.objective, ALPHA),
    }
}

pub(super) fn alerts(slo: &Slo, figures: Option<&Figures>, began: SystemTime) -> Alerts {
    let longest = slo.alerts.tiers.iter().map(|tier| tier.long).max().unwrap_or(0);
    let counted = figures.map_or(0, |figures| figures.seconds).min(longest);
    let at = |second: u64| rfc3339(began + Duration::from_secs(second));
    let states = figures.into_iter().flat_map(|figures| figures.replay.tiers());
    let tiers = states.map(|(tier, state)| Tier {
        name: tier.name.to_string(),
        severity: tier.severity.label().to_owned(),
        long_window_seconds: tier.long,
        short_window_seconds: tier.short,
        factor: tier.factor.as_f64(),
        for_seconds: tier.hold,
        state: match state {
            _ if state.firing => "firing",
            _ if state.since.is_some() => "pending",
            _ if !tier.can_fire(slo.objective) => "impossible",
            _ => "inactive",
        }
        .to_owned(),
        pressure_ratio: state.pressure,
        highest_pressure_ratio: state.highest,
        fired: state
            .fired
            .iter()
            .map(|(fired, resolved)| Firing {
                at: at(*fired),
                after_seconds: *fired,
                resolved_at: resolved.map(at),
                resolved_after_seconds: *resolved,
            })
            .collect(),
    });
    let closest = figures.and_then(|figures| figures.replay.closest());
    Alerts {
        dialect: slo.alerts.dialect.name().to_owned(),
        min_bad: slo.alerts.min_bad,
        evaluation_interval_seconds: slo.alerts.interval,
        pad_ratio: if longest == 0 { 0.0 } else { 1.0 - counted as f64 / longest as f64 },
        tiers: tiers.collect(),
        windows: figures
            .into_iter()
            .flat_map(|figures| &figures.windows)
            .map(|(seconds, burn_rate)| Window { seconds: *seconds, burn_rate: *burn_rate })
            .collect(),
        closest: closest.map(|closest| Closest {
            tier: closest.tier.name.to_string(),
            severity: closest.tier.severity.label().to_owned(),
            pressure_ratio: closest.pressure,
            after_seconds: closest.at,
        }),
    }
}

/// By the steady rate, by Holt and by a straight line.
pub(super) fn exhaustion(bases: Bases<'_>, bad: u64, figures: &Figures) -> Vec<Exhaustion> {
    let mut found = Vec::new();
    let remaining = 1.0 - bases.before() - bases.told(bad).unwrap_or(0.0);
    let over = figures.lookback.min(Duration::from_secs(figures.seconds));
    let recent = Bases { n: figures.recent.n, elapsed: over, ..bases };
    // What one bad event costs here: the budget left, in bad events.
    let each = recent.told(1).filter(|each| *each > 0.0);
    let steady =
        each.and_then(|each| budget::steady(remaining / each, figures.recent.bad, over, SURE));
    if let Some(steady) = steady {
        found.push(Exhaustion {
            method: format!("steady rate of the last {}, 80%", show_duration(over)),
            seconds: steady.point,
            low_seconds: Some(steady.low),
            high_seconds: steady.high,
        });
    }
    if figures.trend.len() < FEWEST_POINTS {
        return found;
    }
    // The cost so far, by time; what one bad event is worth now holds for all of them.
    let Some(each) = bases.told(1).filter(|each| *each > 0.0) else { return found };
    let cost: Vec<(f64, f64)> =
        figures.trend.iter().map(|(second, sum)| (*second as f64, sum.bad as f64 * each)).collect();
    let (first, last) = (cost[0], cost[cost.len() - 1]);
    let step = (last.0 - first.0) / (cost.len() - 1) as f64;
    let values: Vec<f64> = cost.iter().map(|(_, cost)| *cost).collect();
    let start = Holt { level: values[0], trend: values[1] - values[0] };
    let goal = 1.0 - bases.before();
    let holt = start.over(&values[1..], 0.5, 0.3).reaches(goal);
    let line = Line::through(&cost).filter(|_| bad > 0);
    // From now on.
    let after = |second: f64| (second - last.0).max(0.0);
    let between = line.and_then(|line| line.reaches_between(goal, SURE));
    found.push(Exhaustion {
        method: "Holt's level and trend over the drill".to_owned(),
        seconds: holt.map(|steps| steps * step).filter(|_| bad > 0),
        low_seconds: None,
        high_seconds: None,
    });
    found.push(Exhaustion {
        method: "straight line through the drill, 80% prediction".to_owned(),
        seconds: line.and_then(|line| line.reaches(goal)).map(after),
        low_seconds: between.map(|(low, _)| after(low)),
        high_seconds: between.and_then(|(_, high)| high).map(after),
    });
    found
}

/// What the phases to come cost on top of what is spent, at the rate the drill has had.
pub(super) fn at_the_end(bases: Bases<'_>, bad: u64, rest: Rest) -> Option<AtTheEnd> {
    let seconds = rest.seconds();
    let Expected { events, bad: more, variance } = Expected::over(rest.stretches);
    let length = bases.elapsed + Duration::try_from_secs_f64(seconds).ok()?;
    let total = Bases { n: bases.n + events as u64, elapsed: length, ..bases };
    let each = total.told(1)?;
    let half = budget::Confidence::z(SURE) * variance.sqrt();
    let at = |count: f64| count.max(0.0) * each;
    let consumed = at(bad as f64 + more);
    Some(AtTheEnd {
        method: "what is spent, what the phases to come inject, and what the service fails by \
                 itself, at this rate, 80%"
            .to_owned(),
        seconds,
        consumed_ratio: consumed,
        low_ratio: at(bad as f64 + (more - half).max(0.0)),
        high_ratio: at(bad as f64 + more + half),
        exceeds_allowance: bases.slo.allowance.is_some_and(|most| consumed > most.as_f64()),
        faults_elsewhere: Vec::new(),
        without: rest.without,
    })
}

/// Requests that no fault hit, in phases with faults and in those before. The phases after them
/// may still suffer, and are no measure.
pub(super) fn collateral(counts: &SloCounts, plan: &Plan) -> Option<Collateral> {
    let (mut exposed, mut control) = (Exposure::default(), Exposure::default());
    let mut names = Vec::new();
    let mut calm = true;
    for phase in &plan.phases {
        let faulted = phase.faults.iter().any(|(_, fault)| fault.enabled);
        calm &= !faulted;
        let Some(seen) = counts.phases.iter().find(|seen| seen.phase == phase.name) else {
            continue;
        };
        let spared =
            Exposure { n: seen.counts.good + seen.counts.organic, bad: seen.counts.organic };
        let group = match (calm, faulted) {
            (true, _) => {
                names.push(phase.name.to_string());
                &mut control
            }
            (false, true) => &mut exposed,
            (false, false) => continue,
        };
        group.n += spared.n;
        group.bad += spared.bad;
    }
    let found = budget::Collateral::of(exposed, control)?;
    Some(Collateral {
        events: found.excess,
        low_events: found.interval.low,
        high_events: found.interval.high,
        compared_with: names.join(", "),
    })
}

pub(super) fn composites(plan: &Plan, slos: &[Shown]) -> Vec<Composite> {
    let composites = plan.composites.iter().map(|composite| {
        let of: Vec<(&Shown, f64)> = composite
            .of
            .iter()
            .filter_map(|(name, weight)| {
                Some((slos.iter().find(|slo| *slo.name == **name)?, *weight))
            })
            .collect();
        let objective = |name: &str| {
            let slo = plan.slos.iter().find(|slo| *slo.name == *name);
            slo.map_or(crate::units::Share::ONE, |slo| slo.objective)
        };
        let burn = |events: fn(&Shown) -> (u64, u64)| {
            let members = of.iter().map(|(slo, weight)| {
                let (bad, n) = events(slo);
                Member { bad, n, objective: objective(&slo.name), weight: *weight }
            });
            budget::composite_burn(composite.mode, &members.collect::<Vec<_>>())
        };
        let soonest = of.iter().filter_map(|(slo, _)| slo.time_to_exhaustion_seconds);
        Composite {
            name: composite.name.to_string(),
            mode: composite.mode.name().to_owned(),
            of: of.iter().map(|(slo, _)| slo.name.clone()).collect(),
            burn_rate: burn(|slo| (slo.bad, slo.total)),
            last_minute_burn_rate: burn(|slo| (slo.last_minute.bad, slo.last_minute.events)),
            time_to_exhaustion_seconds: soonest
                .reduce(f64::min)
                .filter(|_| composite.mode == budget::Mode::Worst),
        }
    });
    composites.collect()
}
