//! `[faults]` → which routes each covers, who is hit, and the limits of safety.

use std::collections::HashMap;

use super::compile::unknown;
use super::{Fault, FaultId, Route, Service, Who};
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::scenario::{FaultSpec, Scenario};
use crate::units::Share;

/// What faults may cover.
pub(super) struct Covered<'a> {
    pub(super) routes: &'a mut [Route],
    /// How many are the user's; the rest is `unmatched`.
    pub(super) named: usize,
    pub(super) services: &'a [Service],
}

/// A group so far: its routes, and how much of its draw is owned.
struct Group {
    routes: Vec<String>,
    at: Place,
    taken: u32,
}

pub(super) fn compile(
    scenario: &Scenario,
    covered: Covered<'_>,
    notes: &mut Diagnostics,
) -> Vec<Fault> {
    let mut groups: HashMap<String, Group> = HashMap::new();
    let mut faults = Vec::new();
    let mut by_route: Vec<Vec<FaultId>> = vec![Vec::new(); covered.routes.len()];
    for spec in &scenario.faults {
        let id = faults.len() as FaultId;
        for route in covers(spec, &covered, notes) {
            by_route[route].push(id);
        }
        let who = who(spec, &mut groups, notes);
        let mut kinds = Vec::new();
        for inject in &spec.inject {
            match inject.value.compile() {
                Ok(kind) => kinds.push(kind),
                Err(wrong) => notes.extend(wrong),
            }
        }
        // A group's name cannot be a fault's stream: the slash is in no name.
        let stream = spec
            .group
            .as_ref()
            .map_or_else(|| spec.name.value.clone(), |group| format!("group/{}", group.value));
        faults.push(Fault {
            name: spec.name.value.as_str().into(),
            stream: stream.into(),
            enabled: spec.enabled.as_ref().is_none_or(|enabled| enabled.value),
            who,
            limit: spec.limit.as_ref().map(|limit| limit.value),
            mark: spec.mark.as_ref().is_none_or(|mark| mark.value),
            kinds: kinds.into(),
        });
    }
    for (route, ids) in covered.routes.iter_mut().zip(by_route) {
        route.faults = ids.into();
    }
    max_faulted(scenario, &covered, &faults, notes);
    faults
}

/// The routes a fault covers, by index.
fn covers(spec: &FaultSpec, covered: &Covered<'_>, notes: &mut Diagnostics) -> Vec<usize> {
    let mut found = Vec::new();
    // A missing key has been reported where it was read.
    if spec.routes.is_empty() && spec.routes_at != spec.name.at {
        notes.push(
            Diagnostic::error(
                spec.routes_at,
                format!("fault `{}` names no route", spec.name.value),
            )
            .hint("`routes = [\"NAME\"]`, or `[\"*\"]` for every unprotected route"),
        );
    }
    let known: Vec<&str> =
        covered.routes[..covered.named].iter().map(|route| &*route.name).collect();
    let service = |route: &Route| covered.services.get(usize::from(route.service));
    let never = |route: &Route| service(route).is_some_and(|service| service.never);
    for name in &spec.routes {
        if name.value == "*" {
            let open = covered.routes[..covered.named].iter().enumerate();
            let before = found.len();
            found.extend(
                open.filter(|(_, route)| !route.protected && !never(route)).map(|(at, _)| at),
            );
            if found.len() == before && !known.is_empty() {
                let message = format!("fault `{}` covers no route", spec.name.value);
                notes.push(
                    Diagnostic::warning(name.at, message)
                        .hint("every route is protected, or its service lies in `[safety] never`"),
                );
            }
            continue;
        }
        let Some(at) = known.iter().position(|known| *known == name.value) else {
            notes.push(unknown("route", name, &known));
            continue;
        };
        let route = &covered.routes[at];
        if route.protected {
            notes.push(
                Diagnostic::error(
                    name.at,
                    format!("route `{}` is protected: no fault may touch it", name.value),
                )
                .hint("take it out here, or take `protected` off the route"),
            );
        } else if let Some(service) = service(route).filter(|service| service.never) {
            notes.push(Diagnostic::error(
                name.at,
                format!(
                    "service `{}` lies in `[safety] never`: its routes are not faulted",
                    service.name
                ),
            ));
        } else {
            found.push(at);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Who is hit; in a group, which slice of its draw the fault owns.
fn who(spec: &FaultSpec, groups: &mut HashMap<String, Group>, notes: &mut Diagnostics) -> Who {
    let given = [
        spec.probability.as_ref().map(|share| ("probability", share.at)),
        spec.first.as_ref().map(|first| ("first", first.at)),
        spec.every.as_ref().map(|every| ("every", every.at)),
    ];
    let given: Vec<(&str, Place)> = given.into_iter().flatten().collect();
    if let [(one, first), (other, second), ..] = given[..] {
        notes.push(
            Diagnostic::error(second, format!("`{one}` and `{other}` both say who is hit"))
                .also(first, "also said here")
                .hint("keep one of them"),
        );
    }
    let share = spec.probability.as_ref().map(|share| share.value);
    let Some(group) = &spec.group else {
        return match (share, &spec.first, &spec.every) {
            (Some(share), ..) => Who::Probability { from: 0, share },
            (_, Some(first), _) => Who::First(first.value),
            (.., Some(every)) => Who::Every(every.value),
            _ => Who::All,
        };
    };
    let Some(share) = share else {
        notes.push(
            Diagnostic::error(group.at, "a member of a group needs a `probability`")
                .hint("each member owns a share of the group's one draw"),
        );
        return Who::All;
    };
    let mut routes: Vec<String> = spec.routes.iter().map(|route| route.value.clone()).collect();
    routes.sort();
    let known = groups.entry(group.value.clone()).or_insert_with(|| Group {
        routes: routes.clone(),
        at: spec.routes_at,
        taken: 0,
    });
    if known.routes != routes {
        notes.push(
            Diagnostic::error(
                spec.routes_at,
                format!("members of group `{}` must name the same routes", group.value),
            )
            .also(known.at, "the first member's"),
        );
    }
    let from = known.taken;
    let sum = u64::from(from) + u64::from(share.billionths());
    if sum > u64::from(Share::ONE.billionths()) {
        let at = spec.probability.as_ref().map_or(group.at, |share| share.at);
        notes.push(
            Diagnostic::error(
                at,
                format!("the members of group `{}` add up to {}%", group.value, sum as f64 / 1e7),
            )
            .hint("they exclude each other, so together they can be at most 100%"),
        );
    }
    known.taken = u32::try_from(sum).unwrap_or(u32::MAX).min(Share::ONE.billionths());
    Who::Probability { from, share }
}

/// `[safety] max_faulted`: the chance that any fault hits, on any route. Independent faults combine
/// as `1 − Π(1 − p)`, members of a group add.
fn max_faulted(
    scenario: &Scenario,
    covered: &Covered<'_>,
    faults: &[Fault],
    notes: &mut Diagnostics,
) {
    let Some(limit) = &scenario.safety.max_faulted else { return };
    for route in covered.routes.iter() {
        let mut streams: HashMap<&str, f64> = HashMap::new();
        for id in &route.faults {
            let fault = &faults[usize::from(*id)];
            if !fault.enabled {
                continue;
            }
            let chance = match fault.who {
                Who::All | Who::First(_) => 1.0,
                Who::Probability { share, .. } => share.as_f64(),
                Who::Every(every) => 1.0 / every.max(1) as f64,
            };
            *streams.entry(&fault.stream).or_default() += chance;
        }
        let spared: f64 = streams.values().map(|chance| 1.0 - chance.min(1.0)).product();
        let hit = 1.0 - spared;
        if hit > limit.value.as_f64() + 1e-12 {
            notes.push(
                Diagnostic::error(
                    limit.at,
                    format!("faults hit {:.4}% of route `{}`", hit * 100.0, route.name),
                )
                .label("more than this")
                .hint("lower their `probability`, or raise `max_faulted`"),
            );
        }
    }
}
