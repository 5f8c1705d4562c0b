//! Prometheus rules for a plan's SLOs, in the shapes that Sloth and Pyrra give theirs, over
//! backburn's own `backburn_slo_events_total`.

use std::fmt::Write as _;
use std::time::Duration;

use crate::budget::{Dialect, Severity, Tier};
use crate::plan::{Plan, Slo, Unit};
use crate::units::{Share, show_duration};

/// How often production scrapes, where nobody says.
pub const SCRAPE: Duration = Duration::from_secs(15);

/// Whose names and groups the rules have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One alert for each severity, over recorded error ratios.
    Sloth,
    /// One alert for each tier, with `for`.
    Pyrra,
}

impl Shape {
    /// What a dialect's rules look like.
    pub fn of(dialect: Dialect) -> Self {
        if dialect == Dialect::Pyrra { Self::Pyrra } else { Self::Sloth }
    }

    /// The tiers of an SLO's rules in this shape: its own where they are of this shape.
    fn tiers(self, slo: &Slo) -> Vec<Tier> {
        let own = Self::of(slo.alerts.dialect) == self;
        match self {
            _ if own => slo.alerts.tiers.to_vec(),
            Self::Pyrra => Dialect::Pyrra.tiers(slo.window),
            Self::Sloth if slo.window == Duration::from_secs(30 * 86_400) => {
                Dialect::Sloth30.tiers(slo.window)
            }
            Self::Sloth => Dialect::Sloth28.tiers(slo.window),
        }
    }
}

/// What an SLO's alerts are called and told apart by, for those who look for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    pub alert: &'static str,
    /// Matchers, without braces.
    pub matchers: String,
}

/// Where an SLO's alerts of one severity are found.
pub fn selector(shape: Shape, slo: &str, severity: Severity) -> Selector {
    let name = escaped(slo);
    Selector {
        alert: ALERT,
        matchers: match shape {
            Shape::Sloth => {
                format!("sloth_slo=\"{name}\",sloth_severity=\"{}\"", severity.label())
            }
            Shape::Pyrra => format!("slo=\"{name}\",severity=\"{}\"", pyrra_severity(severity)),
        },
    }
}

const ALERT: &str = "ErrorBudgetBurn";

/// The rules of all SLOs; `shape`: of each its own where `None`.
///
/// # Errors
/// Windows too short for the scrape interval, for people.
pub fn rules(plan: &Plan, shape: Option<Shape>, scrape: Duration) -> Result<String, String> {
    let mut out = String::from("groups:\n");
    if plan.slos.is_empty() {
        return Err("the scenario has no SLO: there is nothing to export".to_owned());
    }
    for slo in &plan.slos {
        let shape = shape.unwrap_or(Shape::of(slo.alerts.dialect));
        let tiers = shape.tiers(slo);
        // A rate needs two samples.
        if let Some(short) = tiers.iter().map(|tier| tier.short).min()
            && short < 2 * scrape.as_secs()
        {
            return Err(format!(
                "SLO `{}`: a window of {} is too short for a scrape every {}; a rate needs two",
                slo.name,
                span(short),
                show_duration(scrape)
            ));
        }
        let service = service(plan, slo);
        if slo.unit() == Unit::Operations {
            let name = slo.name.replace(char::is_control, " ");
            let _ = writeln!(
                out,
                "# {name} counts operations, some ten seconds after their last attempt."
            );
        }
        match shape {
            Shape::Sloth => sloth(&mut out, slo, &service, &tiers),
            Shape::Pyrra => pyrra(&mut out, slo, &tiers),
        }
    }
    Ok(out)
}

/// The service an SLO is about: of its first route.
pub(super) fn service(plan: &Plan, slo: &Slo) -> String {
    let first = slo.counts.first();
    let route = plan.routes.iter().find(|route| Some(&route.name) == first);
    route.map_or_else(
        || plan.name.clone(),
        |route| plan.services[usize::from(route.service)].name.to_string(),
    )
}

/// As PromQL writes it.
fn span(seconds: u64) -> String {
    show_duration(Duration::from_secs(seconds))
}

/// The exact share: `0.001`.
pub(super) fn decimal(share: Share) -> String {
    let text = format!("0.{:09}", share.billionths());
    if share == Share::ONE { "1".to_owned() } else { text.trim_end_matches('0').to_owned() }
}

/// Inside a PromQL string.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A YAML scalar: JSON's strings are among YAML's.
pub(super) fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn bad_ratio(slo: &Slo, window: &str) -> String {
    let name = escaped(&slo.name);
    format!(
        "(sum(rate(backburn_slo_events_total{{slo=\"{name}\",outcome=\"bad\"}}[{window}]))) / \
         (sum(rate(backburn_slo_events_total{{slo=\"{name}\"}}[{window}])))"
    )
}

fn windows(tiers: &[Tier]) -> Vec<u64> {
    let mut windows: Vec<u64> = tiers.iter().flat_map(|tier| [tier.short, tier.long]).collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

/// One rule: `record` or `alert`, its expression and its labels.
fn rule(out: &mut String, kind: &str, name: &str, expr: &str, labels: &[(&str, String)]) {
    let _ = writeln!(out, "  - {kind}: {name}\n    expr: {}", yaml(expr));
    let _ = writeln!(out, "    labels:");
    for (key, value) in labels {
        let _ = writeln!(out, "      {key}: {}", yaml(value));
    }
}

fn sloth(out: &mut String, slo: &Slo, service: &str, tiers: &[Tier]) {
    let id = format!("{service}-{}", slo.name);
    let labels = || {
        vec![
            ("backburn_export", "1".to_owned()),
            ("sloth_id", id.clone()),
            ("sloth_service", service.to_owned()),
            ("sloth_slo", slo.name.to_string()),
        ]
    };
    let matchers = format!(
        "sloth_id=\"{}\", sloth_service=\"{}\", sloth_slo=\"{}\"",
        escaped(&id),
        escaped(service),
        escaped(&slo.name)
    );
    let _ = writeln!(out, "- name: {}\n  rules:", yaml(&format!("sloth-slo-sli-recordings-{id}")));
    let windows = windows(tiers);
    for window in &windows {
        let window = span(*window);
        let mut labels = labels();
        labels.push(("sloth_window", window.clone()));
        let name = format!("slo:sli_error:ratio_rate{window}");
        rule(out, "record", &name, &bad_ratio(slo, &window), &labels);
    }
    let period = span(slo.window.as_secs());
    let Some(shortest) = windows.first().map(|window| span(*window)) else { return };
    let shortest = format!("slo:sli_error:ratio_rate{shortest}{{{matchers}}}");
    let mut period_labels = labels();
    period_labels.push(("sloth_window", period.clone()));
    rule(
        out,
        "record",
        &format!("slo:sli_error:ratio_rate{period}"),
        &format!(
            "sum_over_time({shortest}[{period}]) / ignoring (sloth_window) \
             count_over_time({shortest}[{period}])"
        ),
        &period_labels,
    );
    let _ = writeln!(out, "- name: {}\n  rules:", yaml(&format!("sloth-slo-meta-recordings-{id}")));
    let (goal, rest) = (decimal(slo.objective), decimal(slo.objective.rest()));
    let days = slo.window.as_secs_f64() / 86_400.0;
    let over = "/ on(sloth_id, sloth_slo, sloth_service) group_left";
    let budget = format!("slo:error_budget:ratio{{{matchers}}}");
    let of_period = format!("slo:sli_error:ratio_rate{period}{{{matchers}}}");
    for (name, expr) in [
        ("slo:objective:ratio", format!("vector({goal})")),
        ("slo:error_budget:ratio", format!("vector({rest})")),
        ("slo:time_period:days", format!("vector({days})")),
        ("slo:current_burn_rate:ratio", format!("{shortest} {over} {budget}")),
        ("slo:period_burn_rate:ratio", format!("{of_period} {over} {budget}")),
        (
            "slo:period_error_budget_remaining:ratio",
            format!("1 - slo:period_burn_rate:ratio{{{matchers}}}"),
        ),
    ] {
        rule(out, "record", name, &expr, &labels());
    }
    let mut info = labels();
    info.extend([
        ("sloth_mode", "backburn-export".to_owned()),
        ("sloth_objective", slo.objective.to_string().trim_end_matches('%').to_owned()),
        ("sloth_spec", "backburn".to_owned()),
        ("sloth_version", env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    rule(out, "record", "sloth_slo_info", "vector(1)", &info);
    let _ = writeln!(out, "- name: {}\n  rules:", yaml(&format!("sloth-slo-alerts-{id}")));
    for severity in [Severity::Page, Severity::Ticket] {
        let above = |window: u64, tier: &Tier| {
            format!(
                "max(slo:sli_error:ratio_rate{}{{{matchers}}} > ({} * {rest})) without \
                 (sloth_window)",
                span(window),
                tier.factor.as_f64()
            )
        };
        let of = tiers.iter().filter(|tier| tier.severity == severity);
        let joined: Vec<String> = of
            .map(|tier| format!("({} and {})", above(tier.short, tier), above(tier.long, tier)))
            .collect();
        if joined.is_empty() {
            continue;
        }
        let labels = [
            ("backburn_export", "1".to_owned()),
            ("sloth_severity", severity.label().to_owned()),
            // Told apart by what is written as well as by what is counted.
            ("sloth_slo", slo.name.to_string()),
        ];
        rule(out, "alert", ALERT, &joined.join(" or "), &labels);
        annotations(out, slo, "{{$labels.sloth_service}} {{$labels.sloth_slo}}");
    }
}

fn annotations(out: &mut String, slo: &Slo, what: &str) {
    let summary = format!("{what}: the error budget burns too fast");
    let _ = writeln!(
        out,
        "    annotations:\n      summary: {}\n      title: {}",
        yaml(&summary),
        yaml(&format!("{}: {} of {}", ALERT, slo.name, show_duration(slo.window)))
    );
}

fn pyrra_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Page => "critical",
        Severity::Ticket => "warning",
    }
}

fn pyrra(out: &mut String, slo: &Slo, tiers: &[Tier]) {
    let name = escaped(&slo.name);
    let labels = || vec![("backburn_export", "1".to_owned()), ("slo", slo.name.to_string())];
    let period = span(slo.window.as_secs());
    let _ = writeln!(out, "- name: {}\n  rules:", yaml(&format!("{}-increase", slo.name)));
    rule(
        out,
        "record",
        &format!("backburn_slo_events:increase{period}"),
        &format!(
            "sum by (outcome) (increase(backburn_slo_events_total{{slo=\"{name}\"}}[{period}]))"
        ),
        &labels(),
    );
    let mut absent = labels();
    absent.push(("severity", "critical".to_owned()));
    rule(
        out,
        "alert",
        "SLOMetricAbsent",
        &format!("absent(backburn_slo_events_total{{slo=\"{name}\"}}) == 1"),
        &absent,
    );
    let _ = writeln!(out, "    for: 10m");
    let _ = writeln!(out, "- name: {}\n  rules:", yaml(&slo.name));
    for window in windows(tiers) {
        let window = span(window);
        let record = format!("backburn_slo_events:burnrate{window}");
        rule(out, "record", &record, &bad_ratio(slo, &window), &labels());
    }
    let rest = decimal(slo.objective.rest());
    for tier in tiers {
        let (long, short) = (span(tier.long), span(tier.short));
        let above = |window: &str| {
            format!(
                "backburn_slo_events:burnrate{window}{{slo=\"{name}\"}} > ({} * {rest})",
                tier.factor.as_f64()
            )
        };
        let exhaustion = slo.window.as_secs_f64() / tier.factor.as_f64();
        let mut labels = labels();
        labels.extend([
            ("exhaustion", span(exhaustion as u64)),
            ("long", long.clone()),
            ("severity", pyrra_severity(tier.severity).to_owned()),
            ("short", short.clone()),
        ]);
        let expr = format!("{} and {}", above(&short), above(&long));
        rule(out, "alert", ALERT, &expr, &labels);
        if tier.hold > 0 {
            let _ = writeln!(out, "    for: {}", span(tier.hold));
        }
        annotations(out, slo, "{{$labels.slo}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        let share = |billionths| Share::from_billionths(billionths).unwrap();
        assert_eq!(decimal(share(1_000_000)), "0.001");
        assert_eq!(decimal(share(999_999_999)), "0.999999999");
        assert_eq!(decimal(share(1)), "0.000000001");
        assert_eq!(decimal(Share::ONE), "1");
    }
}
