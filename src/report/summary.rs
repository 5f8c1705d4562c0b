//! The closing summary: what the drill cost and whose doing it was, per SLO, phase and fault. A
//! [`View`] in, text for people out.

use super::health::{bill, causes, elsewhere};
use super::told;
use super::view::{Fault, Slo, View};
use super::words::{self, clean, named, thousands};
use crate::plan::{AFTER, BEFORE};

/// The whole summary; every line ends in a line break.
pub fn render(view: &View) -> String {
    let mut lines = vec![
        String::new(),
        format!(
            "summary   {}: {} in {}, seed {}",
            clean(&view.name),
            words::count(view.requests, "request"),
            words::took(view.recorded_seconds),
            view.seed
        ),
    ];
    if !view.go_on.sentence.is_empty() {
        lines.push(format!("  {}", clean(&view.go_on.sentence)));
    }
    for slo in &view.slos {
        lines.extend(of_slo(slo, view));
    }
    for fault in &view.faults {
        lines.extend(of_fault(fault, view));
    }
    for route in &view.operations {
        lines.push(format!("  retries on {}", told::retries(route)));
    }
    let refused = named(&view.refused);
    if !refused.is_empty() {
        lines.push(format!("  refused by backburn: {refused}"));
    }
    lines.extend(view.composites.iter().map(told::composite));
    let assumed = |slo: &Slo| slo.bad > 0 && told::basis(slo).is_none();
    if view.slos.iter().any(assumed) {
        lines.push(
            "  budgets are taken as full before the drill, and scaled to its traffic".to_owned(),
        );
    }
    lines.join("\n") + "\n"
}

fn titled(what: &str, name: &str, services: &[String], view: &View) -> String {
    let name = clean(name);
    if view.has_several_services() {
        format!("  {what} {name} on {}", clean(&services.join(" and ")))
    } else {
        format!("  {what} {name}")
    }
}

fn of_slo(slo: &Slo, view: &View) -> Vec<String> {
    let title = titled("slo", &slo.name, &slo.services, view);
    let Some(good) = words::good_share(slo.good, slo.total) else {
        return vec![format!("{title}: no traffic")];
    };
    let burn = slo.burn_rate.map_or(String::new(), words::burn);
    let mut lines = Vec::new();
    if let Some(afford) = told::afford(slo, &clean(&slo.name)) {
        lines.push(format!("  {afford}"));
    }
    lines.push(format!(
        "{title}: {good} good of {}, objective {}, burn rate {burn}",
        match slo.event() {
            "operation" => words::count(slo.total, "operation"),
            _ => thousands(slo.total),
        },
        words::objective(slo.objective)
    ));
    let aside = elsewhere(slo, view);
    if slo.bad > 0 {
        // What a faulted service behind it made it do is organic, and hardly its own.
        let whose = if aside.is_empty() { whose(slo) } else { ", all organic".to_owned() };
        lines.push(format!("      {} bad{whose}{aside}", thousands(slo.bad)));
    }
    let budget = format!("the {} budget", words::window(slo.window_seconds));
    lines.push(format!("      cost {}", bill(slo, &budget)));
    // The aside has said it already.
    let collateral = slo.collateral.as_ref().filter(|_| aside.is_empty());
    let said = [told::basis(slo), collateral.and_then(told::collateral)];
    let said = said.into_iter().flatten().chain(told::verdict(slo));
    lines.extend(said.chain(told::all_paged(slo)).map(|text| format!("      {text}")));
    for phase in &view.phases {
        let Some(part) = phase.slos.iter().find(|part| part.name == slo.name) else { continue };
        let events = part.events;
        let good = words::good_share(events.good(), events.events);
        let bad = match events.bad {
            0 => String::new(),
            bad => format!(", {} bad: {}", thousands(bad), causes(events.causes())),
        };
        lines.push(format!(
            "      {:<12} {}{bad}",
            named_phase(&phase.phase),
            match good {
                Some(good) => format!("{good} good of {}", thousands(events.events)),
                None => "no traffic".to_owned(),
            },
        ));
    }
    let excluded = named(&slo.excluded).replace('_', " ");
    if !excluded.is_empty() {
        lines.push(format!("      not counted: {excluded}"));
    }
    lines
}

/// A phase's name; what is no phase is in brackets.
fn named_phase(name: &str) -> String {
    let name = clean(name);
    if [BEFORE, AFTER].contains(&name.as_str()) { format!("({name})") } else { name }
}

/// Whose doing the bad ones were: backburn's, or the service's own (which a fault may have masked).
fn whose(slo: &Slo) -> String {
    let own = slo.masked.saturating_add(slo.organic);
    let split = if slo.masked > 0 {
        format!(" ({} masked, {} organic)", thousands(slo.masked), thousands(slo.organic))
    } else {
        String::new()
    };
    match (slo.injected, own) {
        (0, _) => format!(", all the service's own{split}"),
        (_, 0) => ", all injected by backburn".to_owned(),
        (injected, own) => format!(
            ": {} injected by backburn, {} the service's own{split}",
            thousands(injected),
            thousands(own)
        ),
    }
}

fn of_fault(fault: &Fault, view: &View) -> Vec<String> {
    let title = titled("fault", &fault.name, &fault.services, view);
    let applied = match words::part_share(fault.drill.hit, fault.drill.eligible) {
        Some(share) => format!(
            "applied {share} ({} of {})",
            thousands(fault.drill.hit),
            thousands(fault.drill.eligible)
        ),
        None => "no request met it".to_owned(),
    };
    let mut lines = vec![format!("{title}: asked {}, {applied}", clean(&fault.who))];
    let phases: Vec<_> = view
        .phases
        .iter()
        .filter_map(|phase| {
            let part = phase.faults.iter().find(|part| part.name == fault.name)?;
            Some((phase, part.hits))
        })
        .collect();
    // One phase alone says what the line above says.
    for (phase, hits) in phases.iter().filter(|_| phases.len() > 1) {
        let share = words::part_share(hits.hit, hits.eligible);
        lines.push(format!(
            "      {:<12} {}",
            named_phase(&phase.phase),
            share.map_or("no request met it".to_owned(), |share| format!(
                "applied {share} ({} of {})",
                thousands(hits.hit),
                thousands(hits.eligible)
            ))
        ));
    }
    let skipped = named(&fault.skipped);
    if !skipped.is_empty() {
        lines.push(format!("      let through: {skipped}"));
    }
    lines
}
