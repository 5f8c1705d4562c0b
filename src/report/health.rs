//! What an SLO's figures mean, in one word and in one sentence.

use super::budgets::Light;
use super::told;
use super::view::{Slo, View};
use super::words;

/// Of fewer events no rate is told: one bad request in five is no "200 times too fast".
pub(super) const FEWEST: u64 = 20;
/// Nor of fewer bad ones: one of 700 may be chance at any objective.
const FEWEST_BAD: u64 = 5;
/// Ten clean seconds are told apart from chance when the last minute would have led one to expect
/// this many bad events in them; then chance alone makes them clean once in twenty (e^-3).
const EXPECTED: f64 = 3.0;

/// How an SLO is doing, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// Never an event, or none in the last minute.
    NoTraffic,
    /// The budget outlasts its window at this rate.
    Fine,
    /// It burned during the last minute, and has stopped.
    Eased,
    /// Too few events, or bad ones, in the last minute to tell.
    Unsure,
    /// The budget is gone before its window is over.
    Burning,
    /// The drill alone has spent the whole budget.
    Gone,
}

impl Health {
    /// What the figures say.
    pub(super) fn of(slo: &Slo) -> Self {
        let minute = slo.last_minute;
        if slo.budget_consumed.ratio.is_some_and(|ratio| ratio >= 1.0)
            || slo.budget.remaining_ratio.is_some_and(|left| left <= 0.0)
        {
            return Self::Gone;
        }
        if minute.events == 0 {
            return Self::NoTraffic;
        }
        if minute.events < FEWEST {
            return if minute.bad == 0 { Self::Fine } else { Self::Unsure };
        }
        // At exactly 1 the budget lasts its window.
        if minute.burn_rate.is_none_or(|rate| rate <= 1.0) {
            return Self::Fine;
        }
        if minute.bad < FEWEST_BAD {
            return Self::Unsure;
        }
        let expected = slo.now.events as f64 * minute.bad as f64 / minute.events as f64;
        if slo.now.bad == 0 && expected >= EXPECTED { Self::Eased } else { Self::Burning }
    }

    /// The word that says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::NoTraffic => "NO TRAFFIC",
            Self::Fine => "OK",
            Self::Eased => "EASED",
            Self::Unsure => "UNSURE",
            Self::Burning => "BURNING",
            Self::Gone => "GONE",
        }
    }
}

/// A day: a budget that lasts longer leaves time to think.
const SOON: f64 = 86_400.0;
/// Of a budget of which less is left.
const LOW: f64 = 0.25;

/// Red: the budget is gone, or a page would be firing. Amber: a ticket would be, or less than a
/// quarter is left, or it is gone within a day at this rate, or nobody can tell. Grey: no data.
/// Green: the rest.
pub(super) fn light(slo: &Slo) -> Light {
    let firing = |severity: &str| {
        let tiers = &slo.alerts.tiers;
        tiers.iter().find(|tier| tier.state == "firing" && tier.severity == severity)
    };
    let (colour, word, why) = match Health::of(slo) {
        Health::Gone => match told::in_the_red(slo) {
            Some(before) => ("red", "GONE", format!("nothing is left of the budget: {before}")),
            None => ("red", "GONE", "the budget is gone".to_owned()),
        },
        health => {
            if let Some(tier) = firing("page") {
                let what = format!("production would be paged: {}", tier.name);
                ("red", "PAGE", what)
            } else if health == Health::NoTraffic {
                ("grey", "NO TRAFFIC", "nothing was counted for a minute".to_owned())
            } else if let Some(tier) = firing("ticket") {
                ("amber", "TICKET", format!("production would have a ticket: {}", tier.name))
            } else if let Some(left) = slo.budget.remaining_ratio.filter(|left| *left < LOW) {
                ("amber", "LOW", format!("{} of the budget is left", words::budget_share(left)))
            } else if health == Health::Unsure {
                ("amber", "UNSURE", "too few events to tell".to_owned())
            } else if let Some(left) = slo
                .time_to_exhaustion_seconds
                .filter(|left| *left < SOON && health == Health::Burning)
            {
                let why = format!("at this rate the budget is gone in {}", words::estimate(left));
                ("amber", "BURNING", why)
            } else {
                let word = if health == Health::Burning { "SPENDING" } else { health.word() };
                ("green", word, "the budget lasts for more than a day at this rate".to_owned())
            }
        }
    };
    Light { colour: colour.to_owned(), word: word.to_owned(), why }
}

/// What goes on and what the drill has cost, for somebody who has never seen an error budget:
/// "At this rate the 28-day budget of pay is gone in 2h10m; this drill has burned 0.31% of it:
/// 0.29% injected, 0.02% organic." `name`: what to call the SLO; `aside`: see [`elsewhere`].
pub(super) fn sentence(slo: &Slo, name: &str, aside: &str) -> String {
    let red = told::in_the_red(slo);
    if slo.total == 0 {
        let left = red
            .map_or(String::new(), |before| format!("; nothing is left of its budget: {before}"));
        return format!("No traffic on {name} yet{left}.");
    }
    let budget = format!("{} budget", words::window(slo.window_seconds));
    let rate = match Health::of(slo) {
        Health::Gone => match red {
            Some(before) => format!("Nothing is left of the {budget} of {name}: {before}"),
            None => format!("The {budget} of {name} is gone"),
        },
        Health::NoTraffic => format!("No traffic burns the {budget} of {name} now"),
        Health::Eased => format!("The {budget} of {name} has stopped burning"),
        Health::Unsure => format!(
            "Nobody can tell yet how fast the {budget} of {name} burns ({} bad of {} in a minute)",
            slo.last_minute.bad, slo.last_minute.events
        ),
        Health::Burning => {
            let left = slo.time_to_exhaustion_seconds.map_or(String::new(), words::estimate);
            format!("At this rate the {budget} of {name} is gone in {left}")
        }
        Health::Fine if slo.bad == 0 => {
            return format!("Nothing has burned the {budget} of {name}.");
        }
        Health::Fine if slo.last_minute.bad == 0 => {
            format!("Nothing burns the {budget} of {name} now")
        }
        Health::Fine => format!("At this rate the {budget} of {name} lasts"),
    };
    format!("{rate}; this drill has burned {}{aside}.", bill(slo, "it"))
}

/// What the drill cost, by cause: "0.31% of it: 0.29% injected, 0.02% organic".
pub(super) fn bill(slo: &Slo, it: &str) -> String {
    let consumed = &slo.budget_consumed;
    let total = consumed.ratio.unwrap_or(0.0);
    if slo.bad == 0 {
        return format!("none of {it}");
    }
    let ratios = [consumed.injected_ratio, consumed.masked_ratio, consumed.organic_ratio];
    let (total_text, parts) = words::budget_parts(total, ratios.map(|ratio| ratio.unwrap_or(0.0)));
    let counts = [slo.injected, slo.masked, slo.organic];
    let mut told: Vec<(&str, String)> = CAUSES.into_iter().zip(parts).collect();
    let mut counted = counts.iter();
    told.retain(|_| counted.next().is_some_and(|count| *count > 0));
    let total_text = total_text.replace('<', "less than ");
    match &told[..] {
        [] => format!("{total_text} of {it}"),
        [(cause, _)] => format!("{total_text} of {it}, all {cause}"),
        // Parts of next to nothing are told by their counts.
        _ if total < 0.000_1 => format!("{total_text} of {it}"),
        _ => {
            let parts: Vec<String> =
                told.iter().map(|(cause, part)| format!("{part} {cause}")).collect();
            format!("{total_text} of {it}: {}", parts.join(", "))
        }
    }
}

/// Where the faults were, when all is organic and they were on other services, and whether it fared
/// worse than before them: " (no fault hit it; payments was faulted, and 9 to 15 of the bad ones are
/// beyond what baseline had)". Whether those services are behind this one is not known.
pub(super) fn elsewhere(slo: &Slo, view: &View) -> String {
    let services = view.faulted_elsewhere(slo);
    if services.is_empty() || slo.organic == 0 || slo.organic < slo.bad {
        return String::new();
    }
    let were = if services.len() == 1 { "was" } else { "were" };
    let services = words::clean(&services.join(" and "));
    let compared = slo.collateral.as_ref().map_or(String::new(), told::compared);
    format!(" (no fault hit it; {services} {were} faulted{compared})")
}

/// Whose fault a bad event was, in the order they are always told.
const CAUSES: [&str; 3] = ["injected", "masked", "organic"];

/// "32 injected, 2 organic", or "none bad".
pub(super) fn causes(counts: [u64; 3]) -> String {
    let told = CAUSES.into_iter().zip(counts).filter(|(_, count)| *count > 0);
    let told: Vec<String> =
        told.map(|(cause, count)| format!("{} {cause}", words::thousands(count))).collect();
    if told.is_empty() { "none bad".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::view::{Consumed, Events};

    fn slo(ratio: f64, [injected, organic]: [u64; 2], minute: Events) -> Slo {
        let bad = injected + organic;
        let part = |count: u64| Some(ratio * count as f64 / bad.max(1) as f64);
        Slo {
            name: "pay".to_owned(),
            objective: 0.999,
            window_seconds: 28 * 86_400,
            total: 10_000,
            good: 10_000 - bad,
            bad,
            injected,
            organic,
            now: Events { events: minute.events / 6, bad: minute.bad / 6, ..Events::default() },
            last_minute: minute,
            budget_consumed: Consumed {
                ratio: Some(ratio),
                injected_ratio: part(injected),
                masked_ratio: Some(0.0),
                organic_ratio: part(organic),
                ..Consumed::default()
            },
            time_to_exhaustion_seconds: Some(7_859.0),
            ..Slo::default()
        }
    }

    fn minute(events: u64, bad: u64) -> Events {
        let burn_rate = (events > 0).then(|| bad as f64 / events as f64 / 0.001);
        Events { events, bad, injected: bad, burn_rate, ..Events::default() }
    }

    #[test]
    fn every_standing_has_its_sentence() {
        let none = slo(0.0, [0, 0], minute(3_000, 0));
        let burning = slo(0.0031, [290, 20], minute(3_000, 207));
        let cases = [
            (Slo::default(), Health::NoTraffic, "No traffic on pay yet."),
            (none, Health::Fine, "Nothing has burned the 28-day budget of pay."),
            (
                burning.clone(),
                Health::Burning,
                "At this rate the 28-day budget of pay is gone in 2h10m; this drill has burned \
                 0.31% of it: 0.29% injected, 0.02% organic.",
            ),
            (
                Slo { now: minute(500, 0), ..burning.clone() },
                Health::Eased,
                "The 28-day budget of pay has stopped burning; this drill has burned 0.31% of it: \
                 0.29% injected, 0.02% organic.",
            ),
            // Ten requests without a bad one prove nothing.
            (Slo { now: minute(10, 0), ..burning }, Health::Burning, ""),
            (
                slo(0.0031, [310, 0], minute(3_000, 0)),
                Health::Fine,
                "Nothing burns the 28-day budget of pay now; this drill has burned 0.31% of it, \
                 all injected.",
            ),
            (
                slo(0.000_02, [1, 2], minute(3_000, 3)),
                Health::Fine,
                "At this rate the 28-day budget of pay lasts; this drill has burned less than \
                 0.01% of it.",
            ),
            (
                slo(0.0001, [2, 0], minute(12, 2)),
                Health::Unsure,
                "Nobody can tell yet how fast the 28-day budget of pay burns (2 bad of 12 in a \
                 minute); this drill has burned 0.01% of it, all injected.",
            ),
            (slo(0.0001, [4, 0], minute(2_000, 4)), Health::Unsure, ""),
            (
                slo(0.0031, [0, 310], minute(0, 0)),
                Health::NoTraffic,
                "No traffic burns the 28-day budget of pay now; this drill has burned 0.31% of \
                 it, all organic.",
            ),
            (
                slo(1.32, [2_000, 200], minute(3_000, 600)),
                Health::Gone,
                "The 28-day budget of pay is gone; this drill has burned 132% of it: 120% \
                 injected, 12% organic.",
            ),
        ];
        for (slo, health, text) in cases {
            assert_eq!(Health::of(&slo), health, "{text}");
            if !text.is_empty() {
                assert_eq!(sentence(&slo, "pay", ""), text);
            }
        }
    }
}
