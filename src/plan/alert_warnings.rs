//! Alerts and allowances that compile and yet cannot work as they are written.

use std::time::Duration;

use super::{Plan, Slo};
use crate::budget::{Allowance, Severity, Tier};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::scenario::{Scenario, SloSpec};
use crate::units::show_duration;

pub(super) fn find(scenario: &Scenario, plan: &Plan, notes: &mut Diagnostics) {
    for (spec, slo) in scenario.slos.iter().zip(&plan.slos) {
        cannot_page(spec, slo, notes);
        fires_before(spec, slo, notes);
        let Some(length) = plan.length() else { continue };
        out_of_reach(spec, slo, length, notes);
        too_short(spec, slo, length, notes);
    }
}

/// Every page's threshold lies above "all requests bad".
fn cannot_page(spec: &SloSpec, slo: &Slo, notes: &mut Diagnostics) {
    let pages: Vec<&Tier> =
        slo.alerts.tiers.iter().filter(|tier| tier.severity == Severity::Page).collect();
    let dialect = slo.alerts.dialect.name();
    let at = spec.objective.as_ref().map_or(spec.name.at, |objective| objective.at);
    if slo.alerts.tiers.is_empty() {
        let message = format!("`{dialect}` has no alert for so short a window");
        let at = spec.window.as_ref().map_or(at, |window| window.at);
        notes.push(Diagnostic::warning(at, message));
    } else if let Some(first) = pages.first()
        && !pages.iter().any(|tier| tier.can_fire(slo.objective))
    {
        let message = format!(
            "no alert of `{dialect}` can page on an objective of {}: {} needs more than {} times \
             the {} that may be bad",
            slo.objective,
            first.name,
            first.factor.as_f64(),
            slo.objective.rest()
        );
        notes.push(Diagnostic::warning(at, message));
    }
}

/// What production fails anyway is above a threshold already.
fn fires_before(spec: &SloSpec, slo: &Slo, notes: &mut Diagnostics) {
    let written = spec.production.as_ref().and_then(|production| production.error_rate.as_ref());
    let Some(written) = written else { return };
    let before = slo.production.error_rate.as_f64();
    let fires = slo.alerts.tiers.iter().find(|tier| before > tier.threshold(slo.objective));
    if let Some(tier) = fires {
        let message = format!(
            "with {} bad before the drill, {} of `{}` fires without it: it does from {:.3}% on",
            written.value,
            tier.name,
            slo.alerts.dialect.name(),
            tier.threshold(slo.objective) * 100.0
        );
        notes.push(Diagnostic::warning(written.at, message));
    }
}

fn out_of_reach(spec: &SloSpec, slo: &Slo, length: Duration, notes: &mut Diagnostics) {
    let Some((written, allowance)) = spec.allowance.as_ref().zip(slo.allowance) else { return };
    if Allowance(allowance).bad_share(length, slo.window, slo.objective) > 1.0 {
        let most = length.as_secs_f64() / slo.window.as_secs_f64() / slo.objective.rest().as_f64();
        let message = format!(
            "the drill cannot burn {allowance} of the budget: all requests bad for all of its {} \
             are {:.2}%",
            show_duration(length),
            most * 100.0
        );
        notes.push(
            Diagnostic::warning(written.at, message).hint("a smaller `allowance` can halt it"),
        );
    }
}

/// Whoever writes `alerts` wants to see them fire, or see that they do not for a reason.
fn too_short(spec: &SloSpec, slo: &Slo, length: Duration, notes: &mut Diagnostics) {
    let Some(written) = &spec.alerts else { return };
    let before = slo.production.error_rate.as_f64();
    let after =
        |tier: &Tier| Some(tier.fires_after(slo.objective, before, 1.0)? + tier.hold as f64);
    let quickest = slo.alerts.tiers.iter().filter_map(|tier| Some((tier, after(tier)?)));
    let quickest = quickest.min_by(|(_, a), (_, b)| a.total_cmp(b));
    if let Some((tier, after)) = quickest.filter(|(_, after)| *after > length.as_secs_f64()) {
        let message = format!(
            "no alert can fire within the drill's {}: {} takes {} with all requests bad",
            show_duration(length),
            tier.name,
            show_duration(Duration::from_secs(after.ceil() as u64))
        );
        notes.push(Diagnostic::warning(written.at, message));
    }
}
