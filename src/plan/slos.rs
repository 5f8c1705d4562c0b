//! `[slos]` → objectives, and which routes each counts.

use std::sync::Arc;
use std::time::Duration;

use super::compile::unknown;
use super::correctness::Checks;
use super::patterns::Patterns;
use super::valid::Exclusions;
use super::{Failures, Route, Service, Sli, Slo, SloId, alerts, operations};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::fault::grpc;
use crate::scenario::{Scenario, SliSpec, SloSpec, StatusPattern, TierSpec};
use crate::units::Share;

const WINDOW: Duration = Duration::from_secs(28 * 86_400);

/// The built-in tiers' objectives, in billionths.
const TIERS: [(&str, u32); 3] =
    [("gold", 999_000_000), ("silver", 995_000_000), ("bronze", 990_000_000)];

pub(super) fn compile(
    scenario: &Scenario,
    routes: &mut [Route],
    named: usize,
    services: &[Service],
    patterns: &Patterns,
    notes: &mut Diagnostics,
) -> Vec<Slo> {
    let mut slos: Vec<Slo> = Vec::new();
    let mut checks = Checks::default();
    let mut exclusions = Exclusions::default();
    let mut by_route: Vec<Vec<SloId>> = vec![Vec::new(); routes.len()];
    for spec in &scenario.slos {
        let counted = counts(spec, &routes[..named], services, notes);
        for route in &counted {
            by_route[*route].push(slos.len() as SloId);
        }
        let tier = spec.tier.as_ref().and_then(|name| written_tier(name, scenario));
        let objective = objective(spec, scenario, notes);
        let sli = sli(spec, patterns, &mut checks, notes);
        let window = spec.window.as_ref().map_or(WINDOW, |window| window.value);
        slos.push(Slo {
            name: spec.name.value.as_str().into(),
            counts: counted.iter().map(|route| Arc::clone(&routes[*route].name)).collect(),
            valid: exclusions.valid(spec, patterns, notes),
            objective: objective.unwrap_or(Share::ONE),
            window,
            sli: sli.unwrap_or(Sli::Availability {
                bad: Failures::COMMON,
                exclude_status: Box::default(),
                abandoned_after: Duration::ZERO,
            }),
            per: operations::per(spec, &counted, scenario, notes),
            slices: alerts::slices(spec, notes),
            alerts: alerts::alerts(spec, window, notes),
            production: alerts::production(spec, notes),
            allowance: alerts::allowance(
                spec,
                tier.and_then(|tier| tier.allowance.as_ref()),
                notes,
            ),
        });
        if let Some(window) = spec.window.as_ref().filter(|window| window.value.is_zero()) {
            notes.push(
                Diagnostic::error(window.at, "a window lasts some time").hint("for example `28d`"),
            );
        }
    }
    for (route, ids) in routes.iter_mut().zip(by_route) {
        for id in &ids {
            if let Sli::Correctness(check) = &slos[usize::from(*id)].sli
                && !route.checks.contains(check)
            {
                let known = route.checks.iter().chain([check]).cloned();
                route.checks = known.collect();
            }
            if let Some(exclude) = &slos[usize::from(*id)].valid.exclude
                && !route.excludes.contains(exclude)
            {
                let known = route.excludes.iter().chain([exclude]).cloned();
                route.excludes = known.collect();
            }
        }
        route.slos = ids.into();
    }
    slos
}

fn counts(
    spec: &SloSpec,
    routes: &[Route],
    services: &[Service],
    notes: &mut Diagnostics,
) -> Vec<usize> {
    if let (Some(service), Some(route)) = (&spec.service, spec.routes.first()) {
        notes.push(
            Diagnostic::error(service.at, "an SLO counts either `routes` or a `service`")
                .also(route.at, "routes are given here")
                .hint("keep one of them"),
        );
    }
    if let Some(name) = &spec.service {
        let known: Vec<&str> = services.iter().map(|service| &*service.name).collect();
        let Some(id) = known.iter().position(|known| *known == name.value) else {
            // That there is none at all has been noted.
            if !known.is_empty() {
                notes.push(unknown("service", name, &known));
            }
            return Vec::new();
        };
        return (0..routes.len()).filter(|at| usize::from(routes[*at].service) == id).collect();
    }
    let known: Vec<&str> = routes.iter().map(|route| &*route.name).collect();
    if spec.routes.is_empty() || spec.routes.iter().any(|name| name.value == "*") {
        return (0..routes.len()).filter(|at| !routes[*at].protected).collect();
    }
    let mut found = Vec::new();
    for name in &spec.routes {
        match known.iter().position(|known| *known == name.value) {
            Some(at) if !found.contains(&at) => found.push(at),
            Some(_) => {}
            None => notes.push(unknown("route", name, &known)),
        }
    }
    found
}

fn written_tier<'s>(name: &Located<String>, scenario: &'s Scenario) -> Option<&'s TierSpec> {
    scenario.tiers.iter().find(|tier| tier.name.value == name.value)
}

fn objective(spec: &SloSpec, scenario: &Scenario, notes: &mut Diagnostics) -> Option<Share> {
    if spec.objective.is_none() && spec.objective_at.is_some() {
        // It has been reported where it was read.
        return None;
    }
    if let Some(name) = &spec.tier {
        let built_in = TIERS.iter().map(|(name, _)| *name);
        let own = scenario.tiers.iter().map(|tier| tier.name.value.as_str());
        let mut known: Vec<&str> = built_in.chain(own).collect();
        known.dedup();
        if !known.contains(&name.value.as_str()) {
            notes.push(unknown("tier", name, &known));
            return None;
        }
    }
    if let Some(objective) = &spec.objective {
        return strictly_within(objective, notes);
    }
    let Some(tier) = &spec.tier else {
        notes.push(
            Diagnostic::error(
                spec.name.at,
                format!("SLO `{}` has no `objective`", spec.name.value),
            )
            .hint("`objective = \"99.9%\"`, or a `tier`"),
        );
        return None;
    };
    let written = written_tier(tier, scenario);
    if let Some(objective) = written.and_then(|tier| tier.objective.as_ref()) {
        return strictly_within(objective, notes);
    }
    if let Some((_, billionths)) = TIERS.iter().find(|(name, _)| *name == tier.value) {
        return Share::from_billionths(*billionths);
    }
    let message = format!("tier `{}` has no `objective`, and this SLO has none either", tier.value);
    let note = Diagnostic::error(tier.at, message);
    notes.push(match written {
        Some(written) => note.also(written.name.at, "the tier"),
        None => note,
    });
    None
}

fn strictly_within(objective: &Located<Share>, notes: &mut Diagnostics) -> Option<Share> {
    let why = match objective.value {
        Share::ONE => "at 100% there is no error budget to spend; try `99.9%`",
        Share::ZERO => "at 0% nothing is promised; try `99.9%`",
        within => return Some(within),
    };
    notes.push(
        Diagnostic::error(objective.at, "an objective lies strictly between 0% and 100%").hint(why),
    );
    None
}

fn sli(
    spec: &SloSpec,
    patterns: &Patterns,
    checks: &mut Checks,
    notes: &mut Diagnostics,
) -> Option<Sli> {
    // A missing key has been reported where it was read.
    let sli = spec.sli.as_ref()?;
    Some(match &sli.value {
        SliSpec::Availability {
            bad_status,
            bad_grpc_status,
            exclude_status,
            abandoned_after,
            ..
        } => Sli::Availability {
            bad: failures(bad_status.as_deref(), bad_grpc_status.as_deref(), notes),
            exclude_status: exclude_status.iter().map(|pattern| pattern.value).collect(),
            abandoned_after: abandoned_after
                .as_ref()
                .map_or(Duration::from_secs(1), |after| after.value),
        },
        SliSpec::Throughput { .. } => Sli::Availability {
            bad: Failures::COMMON,
            exclude_status: Box::default(),
            abandoned_after: Duration::from_secs(1),
        },
        SliSpec::Correctness(spec) => Sli::Correctness(checks.compile(spec, patterns, notes)?),
        SliSpec::Latency { threshold, of, clock } => {
            if threshold.value.is_zero() {
                notes.push(
                    Diagnostic::error(threshold.at, "no answer takes no time")
                        .hint("for example `800ms`"),
                );
            }
            Sli::Latency {
                threshold: threshold.value,
                of: of.as_ref().map(|of| of.value).unwrap_or_default(),
                clock: clock.as_ref().map(|clock| clock.value).unwrap_or_default(),
            }
        }
    })
}

fn failures(
    status: Option<&[Located<StatusPattern>]>,
    grpc: Option<&[Located<u8>]>,
    notes: &mut Diagnostics,
) -> Failures {
    let mut failures = Failures::COMMON;
    if let Some(patterns) = status {
        failures.status = patterns.iter().map(|pattern| pattern.value).collect();
    }
    if let Some(statuses) = grpc {
        let numbers: Vec<u8> = statuses.iter().map(|status| status.value).collect();
        failures.grpc = grpc::Statuses::of(&numbers);
        if let Some(ok) = statuses.iter().find(|status| status.value == 0) {
            notes.push(Diagnostic::error(ok.at, "OK is no failure").hint("leave it out"));
        }
    }
    failures
}
