//! What a new plan changes about the old one, by name: first what lets faults do more harm.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Bursts, Conditions, Fault, Per, Phase, Plan, Route, Service, Who};
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
    let (was, is) = (&old.services, &new.services);
    each(was, is, &mut found, "service", |service| &service.name, same_service);
    services_widen(old, new, &mut found);
    let named = |plan: &Plan| plan.routes.len() - plan.services.len();
    let (before, after) = (&old.routes[..named(old)], &new.routes[..named(new)]);
    let same = |a: &Route, b: &Route| same_route(old, a, new, b);
    each(before, after, &mut found, "route", |route| &route.name, same);
    routes_widen((old, before), (new, after), &mut found);
    each(&old.faults, &new.faults, &mut found, "fault", |fault| &fault.name, PartialEq::eq);
    let known = by_name(&old.faults, |fault| &fault.name);
    for fault in &new.faults {
        match known.get(&*fault.name) {
            Some(was) => fault_widens(was, fault, "", &mut found),
            None if fault.enabled => {
                let harm = harm(fault);
                found.widened.push(format!("fault `{}` is new: {harm}", fault.name));
            }
            None => {}
        }
    }
    order(old, new, &mut found);
    defaults(old, new, &mut found);
    each(&old.slos, &new.slos, &mut found, "SLO", |slo| &slo.name, PartialEq::eq);
    let (before, after) = (&old.composites, &new.composites);
    each(before, after, &mut found, "composite", |composite| &composite.name, PartialEq::eq);
    allowances_widen(old, new, &mut found);
    if old.is_phased() || new.is_phased() {
        let same = |a: &Phase, b: &Phase| same_phase(old, a, new, b);
        each(&old.phases, &new.phases, &mut found, "phase", |phase| &phase.name, same);
        let known = by_name(&old.phases, |phase| &phase.name);
        for phase in &new.phases {
            let was = known.get(&*phase.name).copied();
            phase_widens(old, was, new, phase, &mut found);
        }
    }
    found
}

/// A drill that may burn more is halted later.
fn allowances_widen(old: &Plan, new: &Plan, found: &mut Changes) {
    let known = by_name(&new.slos, |slo| &slo.name);
    for slo in &old.slos {
        let Some(was) = slo.allowance else { continue };
        let name = &slo.name;
        if let Some(is) = known.get(&**name).filter(|is| is.per != slo.per)
            && is.per == Per::Operation
        {
            // What a retry saves costs nothing any more.
            found.widened.push(format!("SLO `{name}`, which has an allowance, counts operations"));
        }
        match known.get(&**name).map(|slo| slo.allowance) {
            None => found.widened.push(format!("SLO `{name}` is gone, and its allowance of {was}")),
            Some(None) => found.widened.push(format!("SLO `{name}`: no allowance (was {was})")),
            Some(Some(is)) if is > was => {
                found.widened.push(format!("SLO `{name}`: allowance {was} → {is}"));
            }
            Some(Some(_)) => {}
        }
    }
}

fn whole(old: &Plan, new: &Plan, found: &mut Changes) {
    if old.name != new.name {
        found.changed.push(format!("name: {} → {}", old.name, new.name));
    }
    if old.hypothesis != new.hypothesis {
        found.changed.push("hypothesis".to_owned());
    }
    for (changed, what) in [
        (old.proxy.timeouts != new.proxy.timeouts, "proxy.timeouts"),
        (old.proxy.limits != new.proxy.limits, "proxy.limits"),
        (old.proxy.forwarded != new.proxy.forwarded, "proxy.forwarded"),
        (old.proxy.trusted_proxies != new.proxy.trusted_proxies, "proxy.trusted_proxies"),
    ] {
        if changed {
            found.changed.push(what.to_owned());
        }
    }
    if old.sampling != new.sampling {
        found.changed.push("[sampling]".to_owned());
    }
    if old.proxy.max_held != new.proxy.max_held {
        let (was, is) = (old.proxy.max_held, new.proxy.max_held);
        found.changed.push(format!("proxy.max_held: {was} → {is}"));
        if is > was {
            found.widened.push(format!("more requests may be held at once: {was} → {is}"));
        }
    }
    if old.proxy.client_control != new.proxy.client_control {
        let (was, is) = (old.proxy.client_control, new.proxy.client_control);
        found.changed.push(format!("proxy.client_control: {was} → {is}"));
        if was {
            found.widened.push("callers cannot opt out of faults any more".to_owned());
        }
    }
}

/// Sorts items by name into added, removed, changed and kept.
fn each<T>(
    old: &[T],
    new: &[T],
    found: &mut Changes,
    what: &str,
    name: impl for<'t> Fn(&'t T) -> &'t Arc<str>,
    same: impl Fn(&T, &T) -> bool,
) {
    let (before, after) = (by_name(old, &name), by_name(new, &name));
    for item in new {
        let line = format!("{what} `{}`", name(item));
        match before.get(&**name(item)) {
            None => found.added.push(line),
            Some(known) if same(known, item) => found.kept.push(line),
            Some(_) => found.changed.push(line),
        }
    }
    for item in old.iter().filter(|item| !after.contains_key(&**name(item))) {
        found.removed.push(format!("{what} `{}`", name(item)));
    }
}

/// There may be ten thousand of them: not to be searched for each.
fn by_name<'p, T>(items: &'p [T], name: impl Fn(&'p T) -> &'p Arc<str>) -> HashMap<&'p str, &'p T> {
    items.iter().map(|item| (&**name(item), item)).collect()
}

fn same_service(a: &Service, b: &Service) -> bool {
    a.url == b.url
        && a.host_header == b.host_header
        && a.protocol == b.protocol
        && a.tls == b.tls
        && a.tier == b.tier
        && a.title == b.title
        && a.never == b.never
}

/// A fault whose service is somewhere else hurts somebody else.
fn services_widen(old: &Plan, new: &Plan, found: &mut Changes) {
    let known = by_name(&old.services, |service| &service.name);
    for (id, is) in new.services.iter().enumerate() {
        let faulted = |route: &Route| usize::from(route.service) == id && !route.faults.is_empty();
        if let Some(was) = known.get(&*is.name)
            && was.url != is.url
            && new.routes.iter().any(faulted)
        {
            // Where: a URL may come from the environment, and that is not told.
            found.widened.push(format!("service `{}`, which has faults, is elsewhere", is.name));
        }
    }
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

fn routes_widen(
    (old, before): (&Plan, &[Route]),
    (new, after): (&Plan, &[Route]),
    found: &mut Changes,
) {
    let known = by_name(before, |route| &route.name);
    let left = by_name(after, |route| &route.name);
    let service =
        |plan: &Plan, route: &Route| Arc::clone(&plan.services[usize::from(route.service)].name);
    let faulted = after.iter().any(|route| !route.faults.is_empty());
    for is in after {
        let name = &is.name;
        let Some(was) = known.get(&**name) else { continue };
        if was.protected && !is.protected {
            found.widened.push(format!("route `{name}` is no longer protected"));
        }
        if !same_requests(was, is) {
            if !is.faults.is_empty() {
                let text = format!("route `{name}`, which has faults, matches other requests");
                found.widened.push(text);
            } else if faulted {
                // What it leaves falls to the next route that fits, and to its faults.
                let what = if was.protected { "is protected" } else { "has no fault" };
                let text = format!("route `{name}`, which {what}, matches other requests");
                found.widened.push(text);
            }
        }
        if !is.faults.is_empty() && service(old, was) != service(new, is) {
            let to = service(new, is);
            found.widened.push(format!("route `{name}`, which has faults, is now of `{to}`"));
        }
    }
    // What they took falls to the next route that fits, and to its faults.
    for was in before.iter().filter(|was| faulted && !left.contains_key(&*was.name)) {
        if was.protected {
            found.widened.push(format!("route `{}`, which was protected, is gone", was.name));
        } else if was.faults.is_empty() {
            found.widened.push(format!("route `{}`, which had no fault, is gone", was.name));
        }
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
    if is.per != was.per {
        match &is.per {
            Some(per) => wider(format!(" is counted for each {per}")),
            // Those without a value were spared.
            None => wider(" is counted for all alike".to_owned()),
        }
    }
    if is.cohort != was.cohort {
        match &is.cohort {
            Some(cohort) => wider(format!(" hits a share of {cohort}")),
            None => wider(" hits a share of requests, whoever sends them".to_owned()),
        }
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
    if let Some(before) = was.bursts
        && is.bursts != was.bursts
    {
        let shown =
            |Bursts { on, off }| format!("{} on, {} off", show_duration(on), show_duration(off));
        match is.bursts {
            None => wider(" is not on in bursts only any more".to_owned()),
            Some(now) if now.on > before.on || now.off < before.off => {
                wider(format!(": its bursts: {} → {}", shown(before), shown(now)));
            }
            Some(_) => {}
        }
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
        let names = by_name(&b.faults, |fault| &fault.name);
        let known = |name: &Arc<str>| names.contains_key(&**name);
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

/// Where a request goes that no route matches, which depends on the order of services.
fn defaults(old: &Plan, new: &Plan, found: &mut Changes) {
    let name = |plan: &Plan| Arc::clone(&plan.services[usize::from(plan.default_service())].name);
    let (was, is) = (name(old), name(new));
    if was != is {
        found.changed.push(format!("what no route matches goes to `{is}` instead of `{was}`"));
    }
}

/// A fault of a phase: as its own table has it, and as the phase does. Compared by name, which is
/// what ids mean.
struct Active<'p> {
    base: &'p Arc<Fault>,
    here: &'p Arc<Fault>,
}

impl PartialEq for Active<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.here == other.here
    }
}

fn active<'p>(plan: &'p Plan, phase: &'p Phase) -> Vec<Active<'p>> {
    let each = phase.faults.iter();
    each.map(|(id, here)| Active { base: &plan.faults[usize::from(*id)], here }).collect()
}

fn same_phase(old: &Plan, a: &Phase, new: &Plan, b: &Phase) -> bool {
    a.length == b.length
        && a.until_next == b.until_next
        && a.ramp == b.ramp
        && active(old, a) == active(new, b)
}

fn phase_widens(old: &Plan, was: Option<&Phase>, new: &Plan, phase: &Phase, found: &mut Changes) {
    let name = &phase.name;
    let Some(was) = was else {
        if !phase.faults.is_empty() {
            let faults: Vec<&str> = phase.faults.iter().map(|(_, fault)| &*fault.name).collect();
            found.widened.push(format!("phase `{name}` is new, with {}", faults.join(", ")));
        }
        return;
    };
    let before = active(old, was);
    let before = by_name(&before, |active| &active.here.name);
    for is in active(new, phase) {
        match before.get(&*is.here.name) {
            // Told already when the fault itself has changed and the phase adds nothing.
            Some(was) if was.base != was.here || is.base != is.here => {
                fault_widens(was.here, is.here, &format!("phase `{name}`: "), found);
            }
            Some(_) => {}
            None => {
                let harm = harm(is.here);
                let text = format!("phase `{name}`: fault `{}` is active: {harm}", is.here.name);
                found.widened.push(text);
            }
        }
    }
    if phase.faults.is_empty() {
        return;
    }
    if let Some(length) = was.length
        && phase.length.is_none_or(|now| now > length)
    {
        let is = phase.length.map_or_else(|| "until `next`".to_owned(), show_duration);
        let was = show_duration(length);
        found.widened.push(format!("phase `{name}`, which has faults, is longer: {was} → {is}"));
    }
    if let Some(ramp) = was.ramp
        && phase.ramp < was.ramp
    {
        let is = phase.ramp.map_or_else(|| "at once".to_owned(), show_duration);
        found.widened.push(format!(
            "phase `{name}`: probabilities climb faster: {} → {is}",
            show_duration(ramp)
        ));
    }
}

/// Gives a new plan what only a start can change, and names what it would have had otherwise.
/// `ports`: services by name, and the ports of their own that were opened at the start.
pub fn settle(live: &Plan, new: &mut Plan, ports: &[(Arc<str>, SocketAddr)]) -> Vec<String> {
    let mut restart = Vec::new();
    let mut keep = |differs: bool, what: &str| {
        if differs {
            restart.push(what.to_owned());
        }
    };
    live.safety.differs(&new.safety).for_each(|key| keep(true, key));
    keep(live.seed != new.seed, "seed");
    keep(live.proxy.listen != new.proxy.listen, "proxy.listen");
    keep(live.proxy.workers != new.proxy.workers, "proxy.workers");
    keep(live.proxy.tls != new.proxy.tls, "proxy.tls");
    keep(live.proxy.lame_duck != new.proxy.lame_duck, "proxy.lame_duck");
    let drain = live.proxy.timeouts.drain;
    keep(drain != new.proxy.timeouts.drain, "proxy.timeouts.drain");
    let connections = live.proxy.limits.connections;
    keep(connections != new.proxy.limits.connections, "proxy.limits.connections");
    // Where it is written is settled; how much of what is not.
    let file = |plan: &Plan| {
        plan.sampling.as_ref().map(|sampling| (sampling.file.clone(), sampling.max_size))
    };
    keep(file(live) != file(new), "sampling.file");
    match (&live.sampling, &mut new.sampling) {
        (Some(live), Some(new)) => {
            new.file.clone_from(&live.file);
            new.max_size = live.max_size;
        }
        (live, new) => new.clone_from(live),
    }
    for service in &mut new.services {
        let open = ports.iter().find(|(name, _)| *name == service.name);
        let open = open.map(|(_, address)| *address);
        keep(open != service.listen, &format!("services.{}.listen", service.name));
        // A new one that wants a port has to wait for it, and is none that shares the proxy's.
        let known = live.services.iter().find(|known| known.name == service.name);
        service.listen = open.or(known.map_or(service.listen, |known| known.listen));
    }
    new.safety.clone_from(&live.safety);
    new.seed = live.seed;
    new.proxy.listen = live.proxy.listen;
    new.proxy.workers = live.proxy.workers;
    new.proxy.tls.clone_from(&live.proxy.tls);
    new.proxy.lame_duck = live.proxy.lame_duck;
    new.proxy.timeouts.drain = drain;
    new.proxy.limits.connections = connections;
    restart
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
