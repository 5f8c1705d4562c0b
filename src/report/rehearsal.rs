//! A drill before it is run: what its faults are expected to hit, what that costs, and what it sets
//! off, at a rate of requests and with services that are well.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::figures::Bases;
use super::words::{self, clean, thousands};
use crate::budget::{self, Change, Confidence, Happened, History, Totals};
use crate::drill::watch;
use crate::plan::{Plan, Route, Slo, Unit};
use crate::sli::estimate::{Estimate, Harms, Part, hits};
use crate::units::{Spent, show_duration};

/// An expected event is so many whole ones: shares of a request are counted too.
const PARTS: f64 = 1_000_000.0;
/// What a verdict is wrong about once in twenty times.
const ALPHA: f64 = 0.05;

/// A drill as it is expected to go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rehearsal {
    pub name: String,
    pub seconds: f64,
    /// Requests a second, by route.
    pub rates: Vec<(String, f64)>,
    pub phases: Vec<Phase>,
    pub slos: Vec<Outlook>,
    /// What will not do what it is there for.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    pub phase: String,
    pub seconds: f64,
    pub injections: Vec<Injection>,
}

/// One fault on one route.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Injection {
    pub fault: String,
    pub route: String,
    pub requests: f64,
    /// Expected, and 80 %.
    pub hits: f64,
    pub low_hits: f64,
    pub high_hits: f64,
}

/// What becomes of one SLO.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlook {
    pub slo: String,
    /// `scaled` or `absolute`.
    pub basis: String,
    pub events: f64,
    pub bad: f64,
    /// What of the budget was gone before the drill, perhaps more than all; `None`: not known.
    pub consumed_before_ratio: Option<f64>,
    /// Of the budget, and 80 %.
    pub consumed_ratio: f64,
    pub low_ratio: f64,
    pub high_ratio: f64,
    pub dialect: String,
    pub alerts: Vec<Alert>,
    /// What comes nearest, where nothing fires: tier, and 1 would fire.
    pub closest: Option<(String, f64)>,
    /// When the allowance halts the drill.
    pub halts_after_seconds: Option<u64>,
    /// Events without a bad one that prove the objective kept.
    pub needed_events: Option<u64>,
    /// `requests` or `operations`: what its events are.
    pub unit: String,
    pub without: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    pub tier: String,
    pub severity: String,
    pub fires_after_seconds: u64,
    /// `None`: not before the drill is over.
    pub resolves_after_seconds: Option<u64>,
}

/// Plays a plan through. `rate`: requests a second of a route; `length`: of phases that do not end
/// by themselves.
pub fn rehearse(
    plan: &Arc<Plan>,
    rate: impl Fn(&Route) -> f64,
    length: Option<Duration>,
) -> Rehearsal {
    let (parts, mut warnings) = parts(plan, length);
    let harms = Harms::of(Arc::clone(plan));
    let named = plan.routes.iter().filter(|route| route.rule.is_some());
    let phases: Vec<Phase> = parts.iter().map(|part| phase(plan, *part, &rate)).collect();
    untouched(plan, &phases, &rate, &mut warnings);
    let slos =
        plan.slos.iter().enumerate().map(|(at, slo)| outlook(at, slo, &harms, &parts, &rate));
    Rehearsal {
        name: plan.name.clone(),
        seconds: parts.iter().map(|part| part.seconds).sum(),
        rates: named.map(|route| (route.name.to_string(), rate(route))).collect(),
        slos: slos.collect(),
        phases,
        warnings,
    }
}

/// The phases with their lengths, as far as `max_drill` lets them.
fn parts(plan: &Plan, length: Option<Duration>) -> (Vec<Part<'_>>, Vec<String>) {
    let mut warnings = Vec::new();
    let mut left = plan.safety.max_drill.map_or(f64::INFINITY, |most| most.as_secs_f64());
    if !plan.is_phased() {
        left = length.map_or(left, |length| left.min(length.as_secs_f64()));
    }
    let mut found = Vec::new();
    for phase in &plan.phases {
        let own = phase.length.or(length.filter(|_| plan.is_phased()));
        let seconds = match own {
            Some(own) => own.as_secs_f64().min(left),
            None if left.is_finite() => left,
            None => {
                let name = &phase.name;
                warnings.push(format!("phase `{name}` has no end: give --for; it is left out"));
                continue;
            }
        };
        left -= seconds;
        if phase.ramp.is_some() {
            warnings.push(format!("phase `{}` ramps up: it is taken at its mean", phase.name));
        }
        found.push(Part { phase, seconds });
    }
    (found, warnings)
}

fn phase(plan: &Plan, part: Part<'_>, rate: &impl Fn(&Route) -> f64) -> Phase {
    let mut injections = Vec::new();
    for (id, fault) in part.phase.faults.iter().filter(|(_, fault)| fault.enabled) {
        for route in plan.routes.iter().filter(|route| route.faults.contains(id)) {
            let share = hits(fault, part, rate(route), &mut Vec::new());
            let requests = rate(route) * part.seconds;
            let expected = budget::Expected::over([budget::Stretch {
                seconds: part.seconds,
                rate: rate(route),
                bad: share,
            }]);
            let range = expected.interval(watch::SURE);
            injections.push(Injection {
                fault: fault.name.to_string(),
                route: route.name.to_string(),
                requests,
                hits: expected.bad,
                low_hits: range.low,
                high_hits: range.high.min(requests),
            });
        }
    }
    Phase { phase: part.phase.name.to_string(), seconds: part.seconds, injections }
}

/// Faults that will not act, routes that none acts on, and those nothing is known of: without a
/// rate, what their faults do is not told.
fn untouched(
    plan: &Plan,
    phases: &[Phase],
    rate: &impl Fn(&Route) -> f64,
    warnings: &mut Vec<String>,
) {
    let all = || phases.iter().flat_map(|phase| &phase.injections);
    for fault in plan.faults.iter().filter(|fault| fault.enabled) {
        let here = || all().filter(|it| *it.fault == *fault.name);
        let hits: f64 = here().map(|it| it.hits).sum();
        if here().next().is_some() && here().all(|it| it.requests <= 0.0) {
            warnings.push(format!(
                "fault `{}` is on routes without a rate only: what it does is not told",
                fault.name
            ));
        } else if hits < 1.0 {
            // A sum of nothing is a negative zero.
            warnings.push(format!(
                "fault `{}` is not expected to hit anything: {:.2} requests",
                fault.name,
                hits + 0.0
            ));
        }
    }
    let routes = plan.routes.iter().filter(|route| route.rule.is_some() && !route.protected);
    for route in routes.filter(|_| !plan.faults.is_empty()) {
        let name = &route.name;
        if !all().any(|it| *it.route == **name) {
            warnings.push(format!("no fault touches route `{name}`"));
        } else if rate(route) <= 0.0 {
            warnings.push(format!("route `{name}` has no rate: what its faults do is not told"));
        } else if !all().any(|it| *it.route == **name && it.hits > 0.0) {
            warnings.push(format!("the faults of route `{name}` hit none of its requests"));
        }
    }
}

fn outlook(
    at: usize,
    slo: &Slo,
    harms: &Harms,
    parts: &[Part<'_>],
    rate: &impl Fn(&Route) -> f64,
) -> Outlook {
    let whole = harms.estimate(at, parts.iter().copied(), rate);
    let Estimate { expected, without } = whole;
    let seconds: f64 = parts.iter().map(|part| part.seconds).sum();
    let bases = |n: f64, seconds: f64| Bases {
        slo,
        n: (n * PARTS) as u64,
        elapsed: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
    };
    // Of so many parts of an event each costs so much less.
    let cost = |bases: Bases<'_>, bad: f64| {
        let told = bases.told((bad * PARTS) as u64).unwrap_or(0.0);
        if bases.basis() == "absolute" { told / PARTS } else { told }
    };
    let all = bases(expected.events, seconds);
    let half = Confidence::z(watch::SURE) * expected.variance.sqrt();
    let mut out = Outlook {
        slo: slo.name.to_string(),
        basis: all.basis().to_owned(),
        events: expected.events,
        bad: expected.bad,
        consumed_before_ratio: slo.production.consumed.map(Spent::as_f64),
        consumed_ratio: cost(all, expected.bad),
        low_ratio: cost(all, (expected.bad - half).max(0.0)),
        high_ratio: cost(all, expected.bad + half),
        dialect: slo.alerts.dialect.name().to_owned(),
        alerts: Vec::new(),
        closest: None,
        halts_after_seconds: None,
        needed_events: budget::needed(0, slo.objective, ALPHA),
        unit: if slo.unit() == Unit::Operations { Unit::Operations } else { Unit::Requests }
            .label()
            .to_owned(),
        without,
    };
    if slo.slices.is_some() {
        out.without.push("it counts slices of time: requests are shown".to_owned());
        return out;
    }
    let mut history = History::default();
    let mut replay = watch::replay(slo, PARTS);
    let (mut second, mut counted, mut spent) = (0_u64, (0.0, 0.0), None);
    for part in parts {
        let expected = harms.estimate(at, [Part { seconds: 1.0, ..*part }], rate).expected;
        // A limit or a ramp is of the phase, not of each second of it.
        let of_phase = harms.estimate(at, [*part], rate).expected;
        let bad = if part.seconds > 0.0 { of_phase.bad / part.seconds } else { 0.0 };
        for _ in 0..part.seconds as u64 {
            second += 1;
            let n = Totals { n: (expected.events * PARTS) as u64, bad: (bad * PARTS) as u64 };
            history.record(second, n);
            counted = (counted.0 + expected.events, counted.1 + bad);
            for Change { tier, at, happened } in replay.ask(&history) {
                match happened {
                    Happened::Fired => out.alerts.push(Alert {
                        tier: tier.name.to_string(),
                        severity: tier.severity.label().to_owned(),
                        fires_after_seconds: at,
                        resolves_after_seconds: None,
                    }),
                    Happened::Resolved => {
                        let fired = out.alerts.iter_mut().rfind(|alert| *alert.tier == *tier.name);
                        if let Some(fired) = fired {
                            fired.resolves_after_seconds = Some(at);
                        }
                    }
                }
            }
            let here = bases(counted.0, second as f64);
            let allowance = slo.allowance.filter(|_| spent.is_none());
            if allowance.is_some_and(|most| cost(here, counted.1) >= most.as_f64()) {
                spent = Some(second);
            }
        }
    }
    out.halts_after_seconds = spent;
    if out.alerts.is_empty() {
        out.closest = replay.closest().map(|it| (it.tier.name.to_string(), it.pressure));
    }
    out
}

/// For people.
pub fn render(drill: &Rehearsal) -> String {
    let mut lines = vec![format!(
        "plan      {}: {}, if all services are well",
        clean(&drill.name),
        span(drill.seconds)
    )];
    for phase in &drill.phases {
        lines.push(format!("phase     {} for {}", clean(&phase.phase), span(phase.seconds)));
        for it in &phase.injections {
            if it.requests <= 0.0 {
                let (fault, route) = (clean(&it.fault), clean(&it.route));
                lines.push(format!("    {fault} on {route}: its route has no rate"));
                continue;
            }
            lines.push(format!(
                "    {} on {}: hits {} of {}",
                clean(&it.fault),
                clean(&it.route),
                about([it.hits, it.low_hits, it.high_hits].map(count)),
                words::count(it.requests.round() as u64, "request"),
            ));
        }
    }
    for slo in &drill.slos {
        lines.extend(of_slo(slo));
    }
    lines.extend(drill.warnings.iter().map(|warning| format!("warning   {}", clean(warning))));
    lines.join("\n") + "\n"
}

fn of_slo(slo: &Outlook) -> Vec<String> {
    let name = clean(&slo.slo);
    if slo.events <= 0.0 {
        let mut lines = vec![format!("slo       {name}: its routes have no rate")];
        lines.extend(left(slo));
        return lines;
    }
    if slo.bad <= 0.0 {
        let mut lines = vec![format!(
            "slo       {name}: no fault makes its own requests bad; what its service makes of faults \
             behind it is not known"
        )];
        lines.extend(left(slo));
        lines.extend(proof(slo));
        lines.extend(slo.without.iter().map(|what| format!("    not known: {}", clean(what))));
        return lines;
    }
    let cost = [slo.consumed_ratio, slo.low_ratio, slo.high_ratio].map(words::budget_share);
    let mut lines = vec![format!(
        "slo       {name}: {} bad of {} burn {} of its budget, {}",
        count(slo.bad),
        count(slo.events),
        about(cost),
        slo.basis
    )];
    lines.extend(left(slo));
    let dialect = &slo.dialect;
    for alert in &slo.alerts {
        let over = alert.resolves_after_seconds.map_or("still on at the end".to_owned(), |after| {
            format!("over after {}", words::clock(after as f64))
        });
        lines.push(format!(
            "    {} {} of {dialect} fires after {}, {over}",
            alert.severity,
            clean(&alert.tier),
            words::clock(alert.fires_after_seconds as f64)
        ));
    }
    match &slo.closest {
        Some((tier, near)) if slo.alerts.is_empty() => lines.push(format!(
            "    nobody is told: what comes nearest is {} of {dialect}, at {} of what it takes",
            clean(tier),
            words::budget_share(near.min(0.9994))
        )),
        None if slo.alerts.is_empty() => lines.push("    nobody is told".to_owned()),
        _ => {}
    }
    if let Some(after) = slo.halts_after_seconds {
        lines.push(format!(
            "    its allowance halts the drill after {}",
            words::clock(after as f64)
        ));
    }
    lines.extend(proof(slo));
    lines.extend(slo.without.iter().map(|what| format!("    not known: {}", clean(what))));
    lines
}

/// When nothing of the budget is left, before the drill or at its end.
fn left(slo: &Outlook) -> Option<String> {
    let before = slo.consumed_before_ratio?;
    let gone = words::budget_share(before);
    if before >= 1.0 {
        Some(format!("    nothing is left of its budget: {gone} of it was gone before the drill"))
    } else if before + slo.consumed_ratio >= 1.0 {
        Some(format!("    nothing will be left of its budget: {gone} of it was gone before"))
    } else {
        None
    }
}

/// How many events prove the objective.
fn proof(slo: &Outlook) -> Option<String> {
    let needed = slo.needed_events?;
    let enough = if slo.events >= needed as f64 { "" } else { ", more than will come" };
    let unit = slo.unit.strip_suffix('s').unwrap_or("request");
    Some(format!("    {} without a bad one prove it kept{enough}", words::count(needed, unit)))
}

/// "about 300 (278 to 322)", or what it is where nothing is left to chance.
fn about([at, low, high]: [String; 3]) -> String {
    if low == high { at } else { format!("about {at} ({low} to {high})") }
}

fn count(events: f64) -> String {
    thousands(events.max(0.0).round() as u64)
}

fn span(seconds: f64) -> String {
    show_duration(Duration::from_secs(seconds as u64))
}

#[cfg(test)]
#[path = "rehearsal_tests.rs"]
mod tests;
