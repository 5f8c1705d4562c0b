//! `[composites]` → several SLOs as one.

use std::collections::HashSet;
use std::sync::Arc;

use super::compile::unknown;
use super::promise::{Alerts, Composite, Member, Production, Sli, Slo, Unit};
use super::valid::Valid;
use super::{Route, RouteId, SloId};
use crate::budget::{Dialect, Mode};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::scenario::{CompositeSpec, Per, Scenario};
use crate::units::Share;

/// Those that are worked out from their members; those that are counted become SLOs.
pub(super) fn compile(
    scenario: &Scenario,
    slos: &mut Vec<Slo>,
    routes: &mut [Route],
    notes: &mut Diagnostics,
) -> Vec<Composite> {
    let written = slos.len();
    let mut found = Vec::new();
    for spec in &scenario.composites {
        if let Some(taken) = scenario.slos.iter().find(|slo| slo.name.value == spec.name.value) {
            notes.push(
                Diagnostic::error(spec.name.at, "an SLO has this name already")
                    .also(taken.name.at, "this one"),
            );
        }
        let members = members(spec, &slos[..written], notes);
        let mode = spec.mode.as_ref().map(|mode| mode.value).unwrap_or_default();
        misplaced(spec, mode, notes);
        if mode == Mode::All {
            if let Some(slo) = all(spec, &members, &slos[..written], routes, notes) {
                let id = slos.len() as SloId;
                let counted = names(&slo);
                for route in routes.iter_mut().filter(|route| counted.contains(&*route.name)) {
                    route.slos = route.slos.iter().copied().chain([id]).collect();
                }
                slos.push(slo);
            }
            continue;
        }
        let of = members.iter().map(|at| {
            let name = Arc::clone(&slos[*at].name);
            let weight = spec.weights.iter().find(|(of, _)| *of.value == *name);
            (name, weight.map_or(1.0, |(_, weight)| weight.value))
        });
        let of: Box<[_]> = of.collect();
        found.push(Composite { name: spec.name.value.as_str().into(), mode, of });
    }
    found
}

fn members(spec: &CompositeSpec, slos: &[Slo], notes: &mut Diagnostics) -> Vec<usize> {
    let known: Vec<&str> = slos.iter().map(|slo| &*slo.name).collect();
    let mut found = Vec::new();
    for name in &spec.of {
        match known.iter().position(|known| *known == name.value) {
            Some(at) if !found.contains(&at) => found.push(at),
            Some(_) => {}
            None => notes.push(unknown("SLO", name, &known)),
        }
    }
    if spec.of.is_empty() {
        notes.push(Diagnostic::error(spec.name.at, "a composite is made of SLOs: `of` is empty"));
    }
    for (name, _) in &spec.weights {
        if !spec.of.iter().any(|of| of.value == name.value) {
            let message = format!("`{}` is not one of its SLOs", name.value);
            notes.push(Diagnostic::error(name.at, message).hint("name it in `of`"));
        }
    }
    found
}

/// Its routes; there may be thousands of them.
fn names(slo: &Slo) -> HashSet<&str> {
    slo.counts.iter().map(|name| &**name).collect()
}

fn misplaced(spec: &CompositeSpec, mode: Mode, notes: &mut Diagnostics) {
    if let Some((name, _)) = spec.weights.first().filter(|_| mode != Mode::Weighted) {
        let message = format!("`{}` has no weights", mode.name());
        notes.push(Diagnostic::error(name.at, message).hint("`mode = \"weighted\"` has"));
    }
    if let Some(objective) = spec.objective.as_ref().filter(|_| mode != Mode::All) {
        let message = format!("`{}` goes by its SLOs' objectives", mode.name());
        notes.push(
            Diagnostic::error(objective.at, message)
                .hint("`mode = \"all\"` counts requests, and has an objective of its own"),
        );
    }
}

/// A request is good if it is for all that count it.
fn all(
    spec: &CompositeSpec,
    members: &[usize],
    slos: &[Slo],
    routes: &[Route],
    notes: &mut Diagnostics,
) -> Option<Slo> {
    let of: Vec<&Slo> = members.iter().map(|at| &slos[*at]).collect();
    let first = of.first()?;
    if let Some(other) = of.iter().find(|slo| slo.unit() != Unit::Requests) {
        let what = other.unit().label();
        let message = format!("`{}` counts {what}, and `all` is about requests", other.name);
        notes.push(Diagnostic::error(spec.name.at, message).hint("use `mode = \"worst\"`"));
        return None;
    }
    let product: f64 = of.iter().map(|slo| slo.objective.as_f64()).product();
    let objective = match &spec.objective {
        Some(objective) if [Share::ZERO, Share::ONE].contains(&objective.value) => {
            let message = "an objective lies strictly between 0% and 100%";
            notes.push(Diagnostic::error(objective.at, message));
            return None;
        }
        Some(objective) => objective.value,
        None => Share::from_billionths((product * 1e9).round() as u32)?,
    };
    let ids = |slo: &Slo| -> Box<[RouteId]> {
        let (counted, names) = (routes.iter().enumerate(), names(slo));
        let counted = counted.filter(|(_, route)| names.contains(&*route.name));
        counted.map(|(id, _)| id as RouteId).collect()
    };
    let member = |slo: &Slo| {
        let (valid, sli) = (slo.valid.clone(), slo.sli.clone());
        Member { valid, sli, routes: ids(slo) }
    };
    let counted: Vec<HashSet<&str>> = of.iter().map(|slo| names(slo)).collect();
    let counts = routes
        .iter()
        .filter(|route| counted.iter().any(|names| names.contains(&*route.name)))
        .map(|route| Arc::clone(&route.name));
    let dialect = match first.alerts.dialect {
        Dialect::Custom => Dialect::Sloth28,
        dialect => dialect,
    };
    Some(Slo {
        name: spec.name.value.as_str().into(),
        counts: counts.collect(),
        // Its members say.
        valid: Valid::EVERYTHING,
        objective,
        window: first.window,
        per: Per::Attempt,
        sli: Sli::All(of.iter().map(|slo| member(slo)).collect()),
        slices: None,
        alerts: Alerts {
            dialect,
            tiers: dialect.tiers(first.window).into(),
            ..first.alerts.clone()
        },
        production: Production::default(),
        allowance: None,
    })
}
