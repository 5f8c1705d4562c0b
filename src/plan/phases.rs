//! `[[phases]]` → the drill's script.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::compile::unknown;
use super::faults::{self, Covered, Groups, Largest};
use super::patterns::Patterns;
use super::{AFTER, BEFORE, DRILL, Fault, FaultId, Phase, Safety, Who};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::scenario::{FaultSpec, PhaseSpec, Scenario};
use crate::units::{Share, show_duration};

/// The most active faults over all phases.
const MOST: usize = 1_000_000;

pub(super) fn compile(
    scenario: &Scenario,
    covered: &Covered<'_>,
    (faults, largest): (&[Arc<Fault>], &Largest),
    patterns: &Patterns,
    safety: &Safety,
    notes: &mut Diagnostics,
) -> Vec<Phase> {
    let all = || faults.iter().enumerate().map(|(id, fault)| (id as FaultId, Arc::clone(fault)));
    if scenario.phases.is_empty() {
        let active: Box<[_]> = all().collect();
        faults::max_faulted(scenario, covered, &active, None, notes);
        return vec![Phase {
            name: DRILL.into(),
            length: None,
            until_next: false,
            ramp: None,
            faults: active,
        }];
    }
    names(&scenario.phases, notes);
    let mut named = vec![false; faults.len()];
    let mut phases = Vec::new();
    let mut places = 0;
    for spec in &scenario.phases {
        let ids = active(spec, faults, notes);
        places += ids.len();
        if places > MOST {
            let message =
                format!("more than {MOST} faults, counted in each phase they are active in");
            notes.push(Diagnostic::error(spec.name.at, message));
            break;
        }
        let versions = versions(spec, scenario, (faults, largest), patterns, notes);
        let active: Box<[_]> = ids
            .iter()
            .map(|id| {
                named[usize::from(*id)] = true;
                let fault = versions.get(id).unwrap_or(&faults[usize::from(*id)]);
                (*id, Arc::clone(fault))
            })
            .collect();
        lasts(spec, notes);
        ramps(spec, &active, notes);
        faults::max_faulted(scenario, covered, &active, Some(&spec.name), notes);
        for set in &spec.set {
            let id = position(faults, &set.name.value);
            if id.is_some_and(|id| !ids.contains(&id)) {
                let message = format!("`{}` is not active in this phase", set.name.value);
                notes.push(
                    Diagnostic::warning(set.name.at, message)
                        .hint("name it in the phase's `faults` too"),
                );
            }
        }
        phases.push(Phase {
            name: spec.name.value.as_str().into(),
            length: spec.length.as_ref().map(|length| length.value),
            until_next: spec.until_next.is_some(),
            ramp: spec.ramp.as_ref().map(|ramp| ramp.value),
            faults: active,
        });
    }
    // Where no phase has any, that is said instead.
    let any = named.contains(&true);
    for (spec, _) in scenario.faults.iter().zip(&named).filter(|(_, named)| any && !**named) {
        let message = format!("fault `{}` is active in no phase", spec.name.value);
        notes.push(
            Diagnostic::warning(spec.name.at, message).hint("name it in some phase's `faults`"),
        );
    }
    longer_than_the_drill(scenario, safety, notes);
    phases
}

fn position(faults: &[Arc<Fault>], name: &str) -> Option<FaultId> {
    faults.iter().position(|fault| *fault.name == *name).map(|id| id as FaultId)
}

fn names(phases: &[PhaseSpec], notes: &mut Diagnostics) {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    for Located { value, at } in phases.iter().map(|phase| &phase.name) {
        if [BEFORE, AFTER].contains(&value.as_str()) {
            let what = "requests outside all phases are booked under this name";
            notes.push(Diagnostic::error(*at, what).hint("give the phase another name"));
        }
        // A missing name has been noted.
        if let Some(first) = seen.insert(value, *at).filter(|_| !value.is_empty()) {
            notes.push(
                Diagnostic::error(*at, format!("there are two phases `{value}`"))
                    .also(first, "the first"),
            );
        }
    }
}

/// The faults of a phase, by id, in file order.
fn active(spec: &PhaseSpec, faults: &[Arc<Fault>], notes: &mut Diagnostics) -> Vec<FaultId> {
    let mut ids: Vec<FaultId> = Vec::new();
    for name in &spec.faults {
        if name.value == "*" {
            ids.extend(0..faults.len() as FaultId);
        } else if let Some(id) = position(faults, &name.value) {
            ids.push(id);
        } else {
            let known: Vec<&str> = faults.iter().map(|fault| &*fault.name).collect();
            notes.push(unknown("fault", name, &known));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The faults as this phase has them, where it changes anything in their group: slices of a
/// group's draw are worked out over all of its members.
fn versions(
    spec: &PhaseSpec,
    scenario: &Scenario,
    (faults, largest): (&[Arc<Fault>], &Largest),
    patterns: &Patterns,
    notes: &mut Diagnostics,
) -> HashMap<FaultId, Arc<Fault>> {
    let mut groups = Groups::new(largest);
    let mut versions = HashMap::new();
    if spec.set.is_empty() {
        return versions;
    }
    for (id, (written, fault)) in scenario.faults.iter().zip(faults).enumerate() {
        let set = spec.set.iter().find(|set| set.name.value == written.name.value);
        let grouped = |name: &FaultSpec| name.group.as_ref().map(|group| group.value.clone());
        let touched = set.is_some()
            || (written.group.is_some()
                && spec.set.iter().any(|set| grouped(set) == grouped(written)));
        if touched {
            // What is wrong with the fault's own table has been told.
            let mut scratch = Diagnostics::new();
            let covers = fault.covers.clone();
            let table = set.unwrap_or(written);
            let version = faults::fault(table, covers, &mut groups, patterns, &mut scratch);
            match spec.set.iter().find(|set| grouped(set) == grouped(written)) {
                _ if set.is_some() => notes.extend(scratch),
                // What it draws from has been taken by another, whose table this is.
                Some(other) if overflows(&version) && !overflows(fault) => {
                    let group = grouped(written).unwrap_or_default();
                    let message =
                        format!("here the members of group `{group}` add up to more than 100%");
                    notes.push(
                        Diagnostic::error(other.name.at, message)
                            .also(written.name.at, "there is no room left for this one"),
                    );
                }
                _ => {}
            }
            versions.insert(id as FaultId, Arc::new(version));
        }
    }
    versions
}

/// Its slice of the group's draw does not end within it.
fn overflows(fault: &Fault) -> bool {
    let Who::Probability { from, share, .. } = fault.who else { return false };
    u64::from(from) + u64::from(share.billionths()) > u64::from(Share::ONE.billionths())
}

fn lasts(spec: &PhaseSpec, notes: &mut Diagnostics) {
    match &spec.length {
        None if spec.until_next.is_none() => notes.push(
            Diagnostic::error(spec.name.at, "nothing ends this phase")
                .hint("write `for = \"10m\"`, or `until = \"next\"`, or both"),
        ),
        Some(length) if length.value.is_zero() => {
            notes.push(Diagnostic::error(length.at, "a phase lasts some time"));
        }
        _ => {}
    }
}

fn ramps(spec: &PhaseSpec, active: &[(FaultId, Arc<Fault>)], notes: &mut Diagnostics) {
    let Some(ramp) = &spec.ramp else { return };
    if ramp.value.is_zero() {
        notes.push(Diagnostic::error(ramp.at, "a ramp lasts some time"));
    } else if let Some(length) = spec.length.as_ref().filter(|length| length.value < ramp.value) {
        notes.push(
            Diagnostic::warning(ramp.at, "the phase ends before its ramp does")
                .also(length.at, "the phase"),
        );
    }
    let climbs = |fault: &Fault| matches!(fault.who, Who::All | Who::Probability { .. });
    if !active.iter().any(|(_, fault)| climbs(fault)) {
        notes.push(Diagnostic::warning(ramp.at, "nothing here has a probability that could climb"));
    }
}

fn longer_than_the_drill(scenario: &Scenario, safety: &Safety, notes: &mut Diagnostics) {
    let Some(longest) = safety.max_drill else { return };
    let mut begins = Duration::ZERO;
    for spec in &scenario.phases {
        if begins >= longest {
            let message = format!(
                "the drill is over before phase `{}` begins: `max_drill` is {}",
                spec.name.value,
                show_duration(longest)
            );
            notes.push(Diagnostic::warning(spec.name.at, message));
            return;
        }
        begins += spec.length.as_ref().map_or(Duration::ZERO, |length| length.value);
    }
}
