//! A plan's SLOs as OpenSLO v1 documents.

use std::fmt::Write as _;
use std::time::Duration;

use super::{DIALECT, SHORT_WINDOW, TIER};
use crate::budget::Tier;
use crate::exchange::prometheus::{decimal, service, yaml};
use crate::plan::{Plan, Sli, SliceTarget, Slo, Unit};
use crate::units::show_duration;

/// All SLOs, with their services and alerts, as a stream of YAML documents; and what OpenSLO cannot
/// say, for people.
pub fn export(plan: &Plan) -> (String, Vec<String>) {
    let (mut out, mut lost) = (String::new(), Vec::new());
    let mut services: Vec<String> = plan.slos.iter().map(|slo| service(plan, slo)).collect();
    services.sort();
    services.dedup();
    for name in &services {
        let _ = write!(
            out,
            "---\napiVersion: openslo/v1\nkind: Service\nmetadata:\n  name: {}\nspec:\n  \
             description: \"\"\n",
            yaml(&identifier(name))
        );
    }
    for slo in &plan.slos {
        objective(&mut out, plan, slo, &mut lost);
        for tier in &slo.alerts.tiers {
            policy(&mut out, slo, tier);
        }
    }
    if plan.slos.iter().any(|slo| !slo.alerts.tiers.is_empty()) {
        out.push_str(
            "---\napiVersion: openslo/v1\nkind: AlertNotificationTarget\nmetadata:\n  name: \
             backburn-on-call\nspec:\n  target: webhook\n  description: Whoever is on call\n",
        );
    }
    for composite in &plan.composites {
        lost.push(format!("composite `{}`: OpenSLO v1 combines otherwise", composite.name));
    }
    (out, lost)
}

/// RFC 1123: lower case, letters, digits and `-`, at most 63.
fn identifier(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(63)
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

/// OpenSLO has no seconds: whole minutes, hours or days.
fn span(time: Duration) -> Option<String> {
    let seconds = time.as_secs();
    if seconds == 0 || !seconds.is_multiple_of(60) {
        return None;
    }
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let whole = units.iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    whole.map(|(unit, name)| format!("{}{name}", seconds / unit))
}

fn policy_name(slo: &Slo, tier: &Tier) -> String {
    let mut name = identifier(&slo.name);
    name.truncate(62_usize.saturating_sub(tier.name.len()));
    identifier(&format!("{name}-{}", tier.name))
}

fn objective(out: &mut String, plan: &Plan, slo: &Slo, lost: &mut Vec<String>) {
    let name = identifier(&slo.name);
    if name != *slo.name {
        lost.push(format!("SLO `{}` is called `{name}`: names are RFC 1123 there", slo.name));
    }
    let query = |more: &str| {
        yaml(&format!(
            "sum(rate(backburn_slo_events_total{{slo=\"{}\"{more}}}[{{{{.window}}}}]))",
            slo.name
        ))
    };
    let window = span(slo.window).unwrap_or_else(|| {
        lost.push(format!("the window of `{}` is no whole minutes: written as 1m", slo.name));
        "1m".to_owned()
    });
    if slo.unit() == Unit::Operations {
        lost.push(format!(
            "`{}` counts operations: only its description says that they are no requests",
            slo.name
        ));
    }
    let description = match &slo.sli {
        Sli::Availability { .. } if slo.unit() == Unit::Operations => {
            "Operations whose last attempt is no failure"
        }
        Sli::Availability { .. } => "Answers that are no failure",
        Sli::Latency { .. } => "Answers in time",
        Sli::Correctness(_) => "Answers that say what they should",
        Sli::All(_) => "Answers that are good in every respect",
    };
    let (method, slices) = match slo.slices.map(|slices| (slices.target, slices.seconds)) {
        None => ("Occurrences", String::new()),
        Some((target, seconds)) => {
            let target = match target {
                SliceTarget::Good(target) => decimal(target),
                SliceTarget::AtLeast(rate) => {
                    let what = format!("at least {rate} good ones in a slice of `{}`", slo.name);
                    lost.push(format!("{what}: its slices are counted already"));
                    "1".to_owned()
                }
            };
            let window = span(Duration::from_secs(seconds)).unwrap_or_else(|| {
                lost.push(format!("slices of {seconds} s of `{}` are written as 1m", slo.name));
                "1m".to_owned()
            });
            let slices =
                format!("\n      timeSliceTarget: {target}\n      timeSliceWindow: {window}");
            ("Timeslices", slices)
        }
    };
    let policies: Vec<String> = slo
        .alerts
        .tiers
        .iter()
        .map(|tier| format!("    - alertPolicyRef: {}\n", yaml(&policy_name(slo, tier))))
        .collect();
    let policies = if policies.is_empty() {
        String::new()
    } else {
        format!("  alertPolicies:\n{}", policies.concat())
    };
    let _ = write!(
        out,
        "---\napiVersion: openslo/v1\nkind: SLO\nmetadata:\n  name: {name}\n  annotations:\n    \
         {DIALECT}: {}\nspec:\n  description: {description}\n  service: {}\n  indicator:\n    \
         metadata:\n      name: {}\n    spec:\n      ratioMetric:\n        counter: true\n        \
         bad:\n          metricSource:\n            type: Prometheus\n            spec:\n              \
         query: {}\n        total:\n          metricSource:\n            type: Prometheus\n            \
         spec:\n              query: {}\n  timeWindow:\n    - duration: {window}\n      isRolling: \
         true\n  budgetingMethod: {method}\n  objectives:\n    - displayName: {}\n      target: \
         {}{slices}\n{policies}",
        slo.alerts.dialect.name(),
        yaml(&identifier(&service(plan, slo))),
        yaml(&identifier(&format!("{name}-sli"))),
        query(",outcome=\"bad\""),
        query(""),
        yaml(&slo.objective.to_string()),
        decimal(slo.objective),
    );
}

/// One policy for each tier: the two windows of a tier cannot be said together, so that the short
/// one is an annotation.
fn policy(out: &mut String, slo: &Slo, tier: &Tier) {
    let name = policy_name(slo, tier);
    let long = span(Duration::from_secs(tier.long));
    let hold = span(Duration::from_secs(tier.hold)).unwrap_or_else(|| "0m".to_owned());
    let _ = write!(
        out,
        "---\napiVersion: openslo/v1\nkind: AlertPolicy\nmetadata:\n  name: {name}\n  \
         annotations:\n    {DIALECT}: {}\n    {TIER}: {}\n    {SHORT_WINDOW}: {}\nspec:\n  \
         description: {}\n  alertWhenBreaching: true\n  alertWhenResolved: true\n  \
         alertWhenNoData: false\n  conditions:\n    - kind: AlertCondition\n      metadata:\n        \
         name: {}\n      spec:\n        severity: {}\n        condition:\n          kind: burnrate\n          \
         op: gt\n          threshold: {}\n          lookbackWindow: {}\n          alertAfter: {hold}\n  \
         notificationTargets:\n    - targetRef: backburn-on-call\n",
        slo.alerts.dialect.name(),
        yaml(&tier.name),
        show_duration(Duration::from_secs(tier.short)),
        yaml(&format!("The budget of {} burns too fast", slo.name)),
        yaml(&identifier(&format!("{name}-burns"))),
        tier.severity.label(),
        tier.factor.as_f64(),
        long.unwrap_or_else(|| "1m".to_owned()),
    );
}
