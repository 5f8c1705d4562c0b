//! `alerts`, `production`, `budgeting` and `allowance` of an SLO.

use std::borrow::Cow;
use std::time::Duration;

use super::promise::{Alerts, Production, SliceTarget, Slices};
use crate::budget::{Dialect, Factor, Severity, Tier};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::scenario::{AlertTierSpec, AlertsSpec, SliSpec, SloSpec};
use crate::units::Share;

const THIRTY_DAYS: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn alerts(spec: &SloSpec, window: Duration, notes: &mut Diagnostics) -> Alerts {
    let written = spec.alerts.as_ref();
    let tiers = written.map_or(&[][..], |alerts| &alerts.tiers);
    let asked = written.and_then(|alerts| alerts.dialect.as_ref());
    let dialect = match asked {
        Some(asked) => asked.value,
        None if !tiers.is_empty() => Dialect::Custom,
        None if window == THIRTY_DAYS => Dialect::Sloth30,
        None => Dialect::Sloth28,
    };
    let interval = written.and_then(|alerts| alerts.evaluation_interval.as_ref());
    Alerts {
        dialect,
        tiers: if dialect == Dialect::Custom {
            custom(written, window, notes).into()
        } else {
            if let (Some(tier), Some(asked)) = (tiers.first(), asked) {
                let message = format!("`{}` has tiers of its own", dialect.name());
                notes.push(
                    Diagnostic::error(tier.name.at, message)
                        .also(asked.at, "because of this")
                        .hint("tiers of yours take `dialect = \"custom\"`"),
                );
            }
            dialect.tiers(window).into()
        },
        min_bad: written.and_then(|alerts| alerts.min_bad.as_ref()).map_or(0, |min| min.value),
        interval: interval.and_then(|interval| seconds(interval, notes)).unwrap_or(1),
    }
}

fn custom(written: Option<&AlertsSpec>, window: Duration, notes: &mut Diagnostics) -> Vec<Tier> {
    let Some(alerts) = written else { return Vec::new() };
    if alerts.tiers.is_empty() {
        notes.push(
            Diagnostic::error(alerts.at, "a dialect of your own needs tiers")
                .hint("for example `alerts.tiers.page = { long = \"1h\", budget = \"2%\" }`"),
        );
    }
    alerts.tiers.iter().filter_map(|tier| custom_tier(tier, window, notes)).collect()
}

fn custom_tier(spec: &AlertTierSpec, window: Duration, notes: &mut Diagnostics) -> Option<Tier> {
    // What is missing has been noted where it was read.
    let (written, budget) = (spec.long.as_ref()?, spec.budget.as_ref()?);
    let long = seconds(written, notes)?;
    let short = match &spec.short {
        Some(short) => {
            if short.value > written.value {
                notes.push(
                    Diagnostic::error(short.at, "the short window is longer than the long one")
                        .also(written.at, "the long one"),
                );
            }
            seconds(short, notes)?
        }
        None => (long / 12).max(1),
    };
    let factor = Factor::spending(budget.value, window, Duration::from_secs(long));
    if factor.is_none() {
        notes.push(
            Diagnostic::error(budget.at, "a tier spends some of the budget")
                .hint("for example `2%` within an hour"),
        );
    }
    Some(Tier {
        name: Cow::Owned(spec.name.value.clone()),
        severity: if spec.ticket { Severity::Ticket } else { Severity::Page },
        long,
        short,
        factor: factor?,
        hold: spec.hold.as_ref().map_or(0, |hold| hold.value.as_secs()),
    })
}

/// Whole seconds, and not none.
fn seconds(time: &Located<Duration>, notes: &mut Diagnostics) -> Option<u64> {
    let whole = time.value.as_secs();
    if whole > 0 && time.value.subsec_nanos() == 0 {
        return Some(whole);
    }
    notes.push(
        Diagnostic::error(time.at, "this is counted in whole seconds").hint("the shortest is `1s`"),
    );
    None
}

pub(super) fn production(spec: &SloSpec, notes: &mut Diagnostics) -> Production {
    let Some(written) = &spec.production else { return Production::default() };
    if let Some(errors) = &written.error_rate {
        let sliced = spec.timeslices.map(|at| (at, "slices are counted here")).or_else(|| {
            let sli = spec.sli.as_ref();
            let sli = sli.filter(|sli| matches!(sli.value, SliSpec::Throughput { .. }));
            sli.map(|sli| (sli.at, "a throughput is counted by slices"))
        });
        if let Some((at, why)) = sliced {
            notes.push(
                Diagnostic::error(errors.at, "a share of bad events says nothing of slices")
                    .also(at, why)
                    .hint("leave `error_rate` out: slices are good before the drill"),
            );
        }
        if errors.value == Share::ONE {
            notes.push(
                Diagnostic::error(errors.at, "at 100% nothing works in production")
                    .hint("`0.05%`: what fails there on a day like any other"),
            );
        }
    }
    Production {
        rate: written.rate.as_ref().map(|rate| rate.value),
        consumed: written.consumed.as_ref().map(|consumed| consumed.value),
        error_rate: written.error_rate.as_ref().map_or(Share::ZERO, |errors| errors.value),
    }
}

/// A minute.
const SLICE: u64 = 60;
/// 95 %.
const SLICE_TARGET: u32 = 950_000_000;
/// Ten seconds.
const THROUGHPUT_SLICE: u64 = 10;

pub(super) fn slices(spec: &SloSpec, notes: &mut Diagnostics) -> Option<Slices> {
    let empty = spec.empty_slice.as_ref().map(|empty| empty.value).unwrap_or_default();
    let sli = spec.sli.as_ref().map(|sli| &sli.value);
    if let Some(SliSpec::Throughput { at_least, slice }) = sli {
        if let Some(at) = spec.timeslices {
            notes.push(Diagnostic::warning(at, "a throughput is counted by timeslices anyway"));
        }
        for (at, key) in [
            (spec.slice.as_ref().map(|slice| slice.at), "slice"),
            (spec.slice_target.as_ref().map(|target| target.at), "slice_target"),
        ] {
            if let Some(at) = at {
                let message = format!("`{key}` says nothing about a throughput");
                notes.push(Diagnostic::error(at, message).hint("`sli.throughput` has a `slice`"));
            }
        }
        return Some(Slices {
            seconds: slice
                .as_ref()
                .map_or(Some(THROUGHPUT_SLICE), |slice| seconds(slice, notes))
                .unwrap_or(THROUGHPUT_SLICE),
            target: SliceTarget::AtLeast(at_least.value),
            empty,
        });
    }
    if spec.timeslices.is_none() {
        for at in [
            spec.slice.as_ref().map(|slice| slice.at),
            spec.slice_target.as_ref().map(|target| target.at),
            spec.empty_slice.as_ref().map(|empty| empty.at),
        ]
        .into_iter()
        .flatten()
        {
            notes.push(
                Diagnostic::error(at, "every event is counted: there are no slices")
                    .hint("`budgeting = \"timeslices\"` counts slices"),
            );
        }
        return None;
    }
    if let Some(target) = spec.slice_target.as_ref().filter(|target| target.value == Share::ZERO) {
        notes.push(Diagnostic::error(target.at, "at 0% every slice is good"));
    }
    let target = spec.slice_target.as_ref().map(|target| target.value);
    let target = target.or(Share::from_billionths(SLICE_TARGET)).unwrap_or(Share::ONE);
    Some(Slices {
        seconds: spec
            .slice
            .as_ref()
            .map_or(Some(SLICE), |slice| seconds(slice, notes))
            .unwrap_or(SLICE),
        target: SliceTarget::Good(target),
        empty,
    })
}

pub(super) fn allowance(
    spec: &SloSpec,
    tier: Option<&Located<Share>>,
    notes: &mut Diagnostics,
) -> Option<Share> {
    let allowance = spec.allowance.as_ref().or(tier)?;
    if allowance.value == Share::ZERO {
        let note = Diagnostic::error(allowance.at, "an allowance of nothing halts every drill");
        notes.push(note.hint("a drill that may burn nothing has no faults"));
    }
    Some(allowance.value)
}
