//! What a new plan changes about the old one, by name: first what lets faults do more harm.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Conditions, Fault, FaultId, Phase, Plan, Route, Service, Who};
use crate::units::show_duration;

/// What a reload does, in words, one change a line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Changes {
    /// More requests may be hit, or hit harder; each is told again below as what it is.
    pub widened: Vec<String>,
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
    /// What stays as it is, by name.
    pub kept: Vec<String>,
    /// What the file says and this process cannot do any more.
    pub needs_restart: Vec<String>,
}

impl Changes {
    /// Both plans are the same plan. What needs a restart changes nothing now.
    pub fn is_none(&self) -> bool {
        self.widened.is_empty()
            && self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
    }
}

/// Compares two plans.
pub fn changes(old: &Plan, new: &Plan) -> Changes {
    let mut found = Changes::default();
    whole(old, new, &mut found);
    each(
        &old.services,
        &new.services,
        &mut found,
        "service",
        |service| &service.name,
        same_service,
    );
    let named = |plan: &Plan| plan.routes.len() - plan.services.len();
    let (before, after) = (&old.routes[..named(old)], &new.routes[..named(new)]);
    let same = |a: &Route, b: &Route| same_route(old, a, new, b);
    each(before, after, &mut found, "route", |route| &route.name, same);
    for (was, is) in pairs(before, after, |route| &route.name) {
        routes_widen(was, is, &mut found);
    }
    each(&old.faults, &new.faults, &mut found, "fault", |fault| &fault.name, PartialEq::eq);
    for fault in &new.faults {
        match old.faults.iter().find(|known| known.name == fault.name) {
            Some(was) => fault_widens(was, fault, "", &mut found),
            None if fault.enabled => {
                let harm = harm(fault);
                found.widened.push(format!("fault `{}` is new: {harm}", fault.name));
            }
            None => {}
        }
    }
    order(old, new, &mut found);
    each(&old.slos, &new.slos, &mut found, "SLO", |slo| &slo.name, PartialEq::eq);
    if old.is_phased() || new.is_phased() {
        let same = |a: &Phase, b: &Phase| same_phase(old, a, new, b);
        each(&old.phases, &new.phases, &mut found, "phase", |phase| &phase.name, same);
        for phase in &new.phases {
            phase_widens(old, new, phase, &mut found);
        }
    }
    found
}

fn whole(old: &Plan, new: &Plan, found: &mut Changes) {
    if old.name != new.name {
        found.changed.push(format!("name: {} → {}", old.name, new.name));
    }
    if old.hypothesis != new.hypothesis {
        found.changed.push("hypothesis".to_owned());
    }
    if old.proxy.max_held != new.proxy.max_held {
        let (was, is) = (old.proxy.max_held, new.proxy.max_held);
        found.changed.push(format!("proxy.max_held: {was} → {is}"));
        if is > was {
            found.widened.push(format!("more requests may be held at once: {was} → {is}"));
        }
    }
}

/// Sorts items by name into added, removed, changed and kept.
fn each<T>(
    old: &[T],
    new: &[T],
    found: &mut Changes,
    what: &str,
    name: impl Fn(&T) -> &Arc<str>,
    same: impl Fn(&T, &T) -> bool,
) {
    for item in new {
        let line = format!("{what} `{}`", name(item));
        match old.iter().find(|known| name(known) == name(item)) {
            None => found.added.push(line),
            Some(known) if same(known, item) => found.kept.push(line),
            Some(_) => found.changed.push(line),
        }
    }
    for item in old {
        if !new.iter().any(|known| name(known) == name(item)) {
            found.removed.push(format!("{what} `{}`", name(item)));
        }
    }
}

fn pairs<'p, T>(
    old: &'p [T],
    new: &'p [T],
    name: impl Fn(&T) -> &Arc<str>,
) -> impl Iterator<Item = (&'p T, &'p T)> {
    new.iter()
        .filter_map(move |item| Some((old.iter().find(|known| name(known) == name(item))?, item)))
}

fn same_service(a: &Service, b: &Service) -> bool {
    a.url == b.url
        && a.host_header == b.host_header
        && a.tier == b.tier
        && a.title == b.title
        && a.never == b.never
}

fn same_route(old: &Plan, a: &Route, new: &Plan, b: &Route) -> bool {
    let service =
        |plan: &Plan, route: &Route| Arc::clone(&plan.services[usize::from(route.service)].name);
    a.protected == b.protected
        && a.operation == b.operation
        && service(old, a) == service(new, b)
        && same_requests(a, b)
}

/// Both match the same requests.
fn same_requests(a: &Route, b: &Route) -> bool {
    match (&a.rule, &b.rule) {
        (Some(a), Some(b)) => a.path == b.path && a.host == b.host && a.conditions == b.conditions,
        (None, None) => true,
        _ => false,
    }
}

fn routes_widen(was: &Route, is: &Route, found: &mut Changes) {
    let name = &is.name;
    if was.protected && !is.protected {
        found.widened.push(format!("route `{name}` is no longer protected"));
    }
    if !is.faults.is_empty() && !same_requests(was, is) {
        found.widened.push(format!("route `{name}`, which has faults, matches other requests"));
    }
}

/// What a fault does and to whom, for people.
fn harm(fault: &Fault) -> String {
    let kinds: Vec<String> = fault.kinds.iter().map(|kind| kind.describe()).collect();
    format!("{} of {}; {}", fault.who, fault.covers.join(", "), kinds.join(" and "))
}

/// In what ways a fault may now do more. `at`: in which phase, as a prefix.
fn fault_widens(was: &Fault, is: &Fault, at: &str, found: &mut Changes) {
    let name = &is.name;
    let mut wider = |text: String| found.widened.push(format!("{at}fault `{name}`{text}"));
    if is.enabled && !was.enabled {
        wider(format!(" is switched on: {}", harm(is)));
    }
    if hits_more(was.who, is.who) {
        wider(format!(": {} → {}", was.who, is.who));
    }
    let before: HashSet<&Arc<str>> = was.covers.iter().collect();
    let gained: Vec<&str> =
        is.covers.iter().filter(|route| !before.contains(route)).map(|route| &**route).collect();
    if !gained.is_empty() {
        wider(format!(" is now on {} too", gained.join(", ")));
    }
    if was.only != is.only && was.only != Conditions::default() {
        wider(" is not `only` for the same requests any more".to_owned());
    }
    let higher = |was: Option<u64>, is: Option<u64>| match (was, is) {
        (Some(was), Some(is)) => is > was,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if higher(was.limit, is.limit) {
        wider(": its `limit` is higher or gone".to_owned());
    }
    if higher(was.max_active.map(u64::from), is.max_active.map(u64::from)) {
        wider(": its `max_active` is higher or gone".to_owned());
    }
    if was.kinds != is.kinds {
        // Which of two harms is the greater is for people to say.
        let kinds = |fault: &Fault| {
            let kinds: Vec<String> = fault.kinds.iter().map(|kind| kind.describe()).collect();
            kinds.join(" and ")
        };
        wider(format!(" does something else: {} → {}", kinds(was), kinds(is)));
    }
}

fn hits_more(was: Who, is: Who) -> bool {
    match (was, is) {
        (Who::All, _) => false,
        (Who::Probability { share: was, .. }, Who::Probability { share: is, .. }) => is > was,
        (Who::First(was), Who::First(is)) => is > was,
        (Who::Every(was), Who::Every(is)) => is < was,
        // All, or another way to choose: nobody can say.
        _ => true,
    }
}

/// The first answer in file order wins, and a group's slices are in file order.
fn order(old: &Plan, new: &Plan, found: &mut Changes) {
    let common = |a: &Plan, b: &Plan| -> Vec<Arc<str>> {
        let known = |name: &Arc<str>| b.faults.iter().any(|fault| fault.name == *name);
        a.faults.iter().map(|fault| Arc::clone(&fault.name)).filter(known).collect()
    };
    if common(old, new) != common(new, old) {
        found.changed.push("the order of faults".to_owned());
    }
    let names = |phases: &[Phase]| -> Vec<Arc<str>> {
        phases.iter().map(|phase| Arc::clone(&phase.name)).collect()
    };
    let (mut was, mut is) = (names(&old.phases), names(&new.phases));
    if was != is {
        was.sort();
        is.sort();
        if was == is {
            found.changed.push("the order of phases".to_owned());
        }
    }
}

/// The faults of a phase by name, which is what its ids mean.
fn active<'p>(plan: &'p Plan, phase: &'p Phase) -> Vec<(&'p Arc<str>, &'p Arc<Fault>)> {
    let name = |id: FaultId| &plan.faults[usize::from(id)].name;
    phase.faults.iter().map(|(id, fault)| (name(*id), fault)).collect()
}

fn same_phase(old: &Plan, a: &Phase, new: &Plan, b: &Phase) -> bool {
    a.length == b.length
        && a.until_next == b.until_next
        && a.ramp == b.ramp
        && active(old, a) == active(new, b)
}

fn phase_widens(old: &Plan, new: &Plan, phase: &Phase, found: &mut Changes) {
    let name = &phase.name;
    let Some(was) = old.phases.iter().find(|known| known.name == *name) else {
        if !phase.faults.is_empty() {
            let faults: Vec<&str> = phase.faults.iter().map(|(_, fault)| &*fault.name).collect();
            found.widened.push(format!("phase `{name}` is new, with {}", faults.join(", ")));
        }
        return;
    };
    let before = active(old, was);
    for (fault_name, fault) in active(new, phase) {
        let base = |plan: &Plan| {
            plan.faults.iter().find(|known| known.name == *fault_name).map(Arc::clone)
        };
        match before.iter().find(|(known, _)| *known == fault_name) {
            // Told already when the fault itself has changed and the phase adds nothing.
            Some((_, was))
                if base(old).as_ref() != Some(was) || base(new).as_ref() != Some(fault) =>
            {
                fault_widens(was, fault, &format!("phase `{name}`: "), found);
            }
            Some(_) => {}
            None => found
                .widened
                .push(format!("phase `{name}`: fault `{fault_name}` is active: {}", harm(fault))),
        }
    }
    if let (Some(ramp), true) = (was.ramp, phase.ramp < was.ramp && !phase.faults.is_empty()) {
        let is = phase.ramp.map_or_else(|| "at once".to_owned(), show_duration);
        found.widened.push(format!(
            "phase `{name}`: probabilities climb faster: {} → {is}",
            show_duration(ramp)
        ));
    }
}

/// Gives a new plan what only a start can change, and names what it would have had otherwise.
pub fn settle(live: &Plan, new: &mut Plan) -> Vec<String> {
    let mut restart = Vec::new();
    let mut keep = |differs: bool, what: &str| {
        if differs {
            restart.push(what.to_owned());
        }
    };
    keep(live.safety != new.safety, "[safety]");
    keep(live.seed != new.seed, "seed");
    keep(live.proxy.listen != new.proxy.listen, "proxy.listen");
    keep(live.proxy.workers != new.proxy.workers, "proxy.workers");
    for service in &mut new.services {
        let was = live.services.iter().find(|known| known.name == service.name);
        let listen = was.and_then(|known| known.listen);
        keep(listen != service.listen, &format!("services.{}.listen", service.name));
        service.listen = listen;
    }
    new.safety.clone_from(&live.safety);
    new.seed = live.seed;
    new.proxy.listen = live.proxy.listen;
    new.proxy.workers = live.proxy.workers;
    restart
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
