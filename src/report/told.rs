//! Alerts, forecasts and verdicts in sentences, for somebody who has never seen an error budget.

use super::budgets::{Collateral, Composite, Firing, Tier};
use super::view::{Operations, Slo};
use super::words::{self, clean, thousands};

/// The least share of a budget that is worth a sentence about more of its kind.
const WORTH: f64 = 0.000_1;
/// More drills than anybody runs.
const MANY: u64 = 999;

/// "It can afford 39 more drills like this." `it`: what to call the SLO.
pub(super) fn afford(slo: &Slo, it: &str) -> Option<String> {
    let more = slo.budget.more_drills.filter(|more| *more <= MANY)?;
    slo.budget_consumed.ratio.filter(|ratio| *ratio >= WORTH)?;
    let left = slo.budget.remaining_ratio.filter(|left| *left > 0.0)?;
    let past = match slo.budget.consumed_before_ratio {
        Some(before) if before > 0.0 => {
            format!(": {} of the budget was gone before it", words::budget_share(before))
        }
        _ => String::new(),
    };
    Some(match more {
        0 => format!(
            "{it} cannot afford another drill like this: {} of the budget is left.",
            words::budget_share(left)
        ),
        1 => format!("{it} can afford one more drill like this{past}."),
        more => format!("{it} can afford {} more drills like this{past}.", thousands(more)),
    })
}

/// Nothing was left before the drill: "130% of it was gone before the drill".
pub(super) fn in_the_red(slo: &Slo) -> Option<String> {
    let before = slo.budget.consumed_before_ratio.filter(|before| *before >= 1.0)?;
    Some(format!("{} of it was gone before the drill", words::budget_share(before)))
}

/// What the phases to come will make of it: "When the phases are over it will have burned about
/// 1.5% (1.4% to 1.5%), more than the 1% it may."
pub(super) fn outlook(slo: &Slo) -> Option<String> {
    let end = slo.forecasts.drill.as_ref()?;
    if end.consumed_ratio < WORTH || !end.consumed_ratio.is_finite() {
        return None;
    }
    let [at, low, high] =
        [end.consumed_ratio, end.low_ratio, end.high_ratio].map(words::budget_share);
    // What has been told already.
    if slo.budget_consumed.ratio.map(words::budget_share).as_ref() == Some(&high) {
        return None;
    }
    let range = if low == high { String::new() } else { format!(" ({low} to {high})") };
    let over = match slo.budget.allowance_ratio.filter(|_| end.exceeds_allowance) {
        Some(most) => {
            format!(", more than the {} it may: it will be halted", words::objective(most))
        }
        None => String::new(),
    };
    Some(format!("When its phases are over, the drill will have burned about {at}{range}{over}."))
}

/// Would anybody have been told? The most severe of what fired, else what came nearest.
pub(super) fn paged(slo: &Slo) -> Option<String> {
    let mut fired = slo.alerts.tiers.iter().filter(|tier| !tier.fired.is_empty());
    let dialect = clean(&slo.alerts.dialect);
    if let Some(first) = fired.next() {
        let others = fired.count();
        let others = match others {
            0 => String::new(),
            1 => " One other alert as well.".to_owned(),
            _ => format!(" {others} other alerts as well."),
        };
        return Some(format!("{}{others}", one(first, &dialect)));
    }
    nobody(slo, &dialect)
}

/// All that fired, one a line; else what came nearest.
pub(super) fn all_paged(slo: &Slo) -> Vec<String> {
    let dialect = clean(&slo.alerts.dialect);
    let fired = slo.alerts.tiers.iter().filter(|tier| !tier.fired.is_empty());
    let told: Vec<String> = fired.map(|tier| one(tier, &dialect)).collect();
    if told.is_empty() { nobody(slo, &dialect).into_iter().collect() } else { told }
}

fn one(tier: &Tier, dialect: &str) -> String {
    let Some(first) = tier.fired.first() else { return String::new() };
    let what = if tier.severity == "page" { "page" } else { "ticket" };
    let times = match tier.fired.len() {
        1 => String::new(),
        times => format!(" (the first of {times})"),
    };
    let over = match first.resolved_after_seconds {
        Some(after) => format!("over after {}", words::clock(after as f64)),
        None => "and it still would".to_owned(),
    };
    format!(
        "A {what} would have fired {}, {over}{times}: {} of {dialect}.",
        when(first),
        clean(&tier.name)
    )
}

/// "after 10:43 (14:02:11 UTC)".
fn when(firing: &Firing) -> String {
    let after = words::clock(firing.after_seconds as f64);
    match firing.at.parse::<jiff::Timestamp>() {
        Ok(at) => format!("after {after} ({} UTC)", at.strftime("%H:%M:%S")),
        Err(_) => format!("after {after}"),
    }
}

fn nobody(slo: &Slo, dialect: &str) -> Option<String> {
    let closest = slo.alerts.closest.as_ref()?;
    let near = closest.pressure_ratio;
    let impossible = slo.alerts.tiers.iter().filter(|tier| tier.severity == "page");
    let impossible = impossible.clone().count() > 0
        && impossible.into_iter().all(|tier| tier.state == "impossible");
    if impossible {
        return Some(format!(
            "Nobody is ever paged for {} ({dialect}): it is too low for its alerts.",
            words::objective(slo.objective)
        ));
    }
    Some(format!(
        "No alert would have fired: the nearest, {} of {dialect}, came to {} of its threshold.",
        clean(&closest.tier),
        // Not 100 %: it did not fire.
        words::budget_share(near.min(0.9994))
    ))
}

/// What the counts prove about the objective, with the interval: "missed, beyond chance".
pub(super) fn verdict(slo: &Slo) -> Option<String> {
    let interval = slo.confidence.bad_low_ratio.zip(slo.confidence.bad_high_ratio);
    let (low, high) = interval.map(|(low, high)| (percent(low), percent(high)))?;
    let goal = words::objective(slo.objective);
    let told = match slo.confidence.verdict.as_str() {
        "pass" => format!("{goal} is kept, beyond chance"),
        "fail" => format!("{goal} is missed, beyond chance"),
        "inconclusive" => match slo.confidence.needed_events.filter(|n| *n > slo.total) {
            Some(needed) => format!(
                "{goal} is neither kept nor missed for certain; {} more {}s without another bad \
                 one would prove it kept",
                thousands(needed - slo.total),
                clean(slo.event())
            ),
            None => format!("{goal} is neither kept nor missed for certain"),
        },
        _ => return None,
    };
    Some(format!("{told} ({low} to {high} bad)"))
}

/// A share with two digits that count.
fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        _ if !percent.is_finite() => "?".to_owned(),
        ..=0.0 => "0%".to_owned(),
        ..0.01 => "<0.01%".to_owned(),
        ..0.1 => format!("{percent:.3}%"),
        ..10.0 => format!("{percent:.2}%"),
        _ => format!("{percent:.1}%"),
    }
}

/// "about 175 of the organic ones (152 to 180) are collateral: more than in baseline".
pub(super) fn collateral(collateral: &Collateral) -> Option<String> {
    let [at, low, high] = beyond(collateral)?;
    let before = clean(&collateral.compared_with);
    Some(format!(
        "about {at} of the organic ones ({low} to {high}) are collateral: beyond what {before} had"
    ))
}

/// The same, of what no fault hit while a service that may be behind it was faulted: ", and 152 to
/// 180 of the bad ones are beyond what baseline had".
pub(super) fn compared(collateral: &Collateral) -> String {
    let before = clean(&collateral.compared_with);
    match beyond(collateral) {
        Some([_, low, high]) if low == high => {
            format!(", and {low} of the bad ones are beyond what {before} had")
        }
        Some([_, low, high]) => {
            format!(", and {low} to {high} of the bad ones are beyond what {before} had")
        }
        None => format!(", and no more went bad than in {before}, but for chance"),
    }
}

/// Events beyond what the comparison has, and between what they lie; `None`: they may as well be
/// none.
fn beyond(collateral: &Collateral) -> Option<[String; 3]> {
    if collateral.low_events.is_nan() || collateral.low_events < 0.5 {
        return None;
    }
    let events = [collateral.events, collateral.low_events, collateral.high_events];
    Some(events.map(|events| thousands(events.max(0.0).round() as u64)))
}

/// That what counts are operations, and when they do.
pub(super) fn late(slo: &Slo) -> Option<String> {
    let late = "What counts are operations, some ten seconds after their last attempt.";
    (slo.event() == "operation").then(|| late.to_owned())
}

/// "charge: 1,494 attempts for 1,405 operations, 78 saved by a retry"
pub(super) fn retries(route: &Operations) -> String {
    let early = match route.early {
        0 => String::new(),
        early => format!(" ({} too many at a time to be waited for)", thousands(early)),
    };
    format!(
        "{}: {} for {}{early}, {} saved by a retry",
        clean(&route.route),
        words::count(route.attempts, "attempt"),
        words::count(route.operations, "operation"),
        thousands(route.recovered)
    )
}

/// What the budget is taken to be, where it is not full before the drill and scaled to its traffic.
pub(super) fn basis(slo: &Slo) -> Option<String> {
    let absolute = slo.budget_consumed.basis == "absolute" && slo.unit != "slices";
    let before = slo.budget.consumed_before_ratio;
    if !absolute && before.is_none() && slo.unit != "slices" {
        return None;
    }
    let of = if slo.unit == "slices" {
        "of slices of time"
    } else if absolute {
        "of production's own events"
    } else {
        "scaled to the drill's traffic"
    };
    let before = before.map_or("full before the drill".to_owned(), |before| {
        format!("{} of it gone before the drill", words::budget_share(before))
    });
    Some(format!("budget {of}, {before}"))
}

/// "  journey  worst of pay and reads: burn 3.0x over the drill, 0x now".
pub(super) fn composite(composite: &Composite) -> String {
    let rate = |rate: Option<f64>| rate.map_or("no traffic".to_owned(), words::burn);
    let of: Vec<String> = composite.of.iter().map(|name| clean(name)).collect();
    let left = composite.time_to_exhaustion_seconds;
    let left = left
        .map_or(String::new(), |left| format!(", gone in {} at this rate", words::estimate(left)));
    format!(
        "  together {}, {} of {}: burn {} over the drill, {} now{left}",
        clean(&composite.name),
        clean(&composite.mode),
        of.join(" and "),
        rate(composite.burn_rate),
        rate(composite.last_minute_burn_rate)
    )
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
