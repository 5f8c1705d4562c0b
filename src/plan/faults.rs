//! `[faults]` → which routes each covers, who is hit, and the limits of safety.

use std::collections::HashMap;
use std::sync::Arc;

use super::compile::unknown;
use super::patterns::Patterns;
use super::routes::conditions;
use super::{Bursts, Fault, FaultId, Route, Selector, Service, Who};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::scenario::{FaultSpec, PhaseSpec, Scenario};
use crate::units::Share;

/// What faults may cover.
pub(super) struct Covered<'a> {
    pub(super) routes: &'a mut [Route],
    /// How many are the user's; the rest is `unmatched`.
    pub(super) named: usize,
    pub(super) services: &'a [Service],
}

/// A group so far: its routes and its cohort, how much of its draw is asked for, and how much is
/// owned.
struct Group {
    routes: Vec<String>,
    cohort: Option<String>,
    at: Place,
    asked: u64,
    owned: u64,
}

/// Groups by name, as far as they have been read.
pub(super) struct Groups<'a> {
    known: HashMap<String, Group>,
    largest: &'a Largest,
}

impl<'a> Groups<'a> {
    pub(super) fn new(largest: &'a Largest) -> Self {
        Self { known: HashMap::new(), largest }
    }
}

/// By member of a group: the largest share that it ever asks for, in billionths. That much of the
/// group's draw is its own throughout, so that nobody else's victims change with its share.
#[derive(Default)]
pub(super) struct Largest(HashMap<String, u32>);

impl Largest {
    /// Of groups that have no room for that: nothing, which is told. Slices follow the shares then.
    pub(super) fn of(scenario: &Scenario, notes: &mut Diagnostics) -> Self {
        let mut largest = HashMap::new();
        let sets = scenario.phases.iter().flat_map(|phase| &phase.set);
        for spec in scenario.faults.iter().chain(sets).filter(|spec| spec.group.is_some()) {
            let known = largest.entry(spec.name.value.clone()).or_insert(0);
            *known = share(spec).max(*known);
        }
        let one = u64::from(Share::ONE.billionths());
        for (group, members) in groups(scenario) {
            let own = |spec: &&FaultSpec| largest.get(&spec.name.value).copied().unwrap_or(0);
            let whole: u64 = members.iter().map(|spec| u64::from(own(spec))).sum();
            if whole <= one {
                continue;
            }
            // What is too much at once is an error of its own.
            let at_once = |phase: Option<&PhaseSpec>| -> u64 {
                let as_set = |spec: &&FaultSpec| {
                    let mut sets = phase.into_iter().flat_map(|phase| &phase.set);
                    let set = sets.find(|set| set.name.value == spec.name.value);
                    u64::from(share(set.unwrap_or(spec)))
                };
                members.iter().map(as_set).sum()
            };
            let phases = scenario.phases.iter().map(Some);
            if phases.chain([None]).all(|phase| at_once(phase) <= one) {
                let message = format!(
                    "the largest shares that members of group `{}` have in any phase add up \
                     to {}%: whom they hit changes from phase to phase",
                    group.value,
                    whole as f64 / 1e7
                );
                notes.push(
                    Diagnostic::warning(group.at, message)
                        .hint("up to 100% together, each keeps a part of the draw of its own"),
                );
            }
            for spec in members {
                largest.remove(&spec.name.value);
            }
        }
        Self(largest)
    }
}

/// In billionths.
fn share(spec: &FaultSpec) -> u32 {
    spec.probability.as_ref().map_or(0, |share| share.value.billionths())
}

/// Each group, where its first member names it, and its members.
fn groups(scenario: &Scenario) -> Vec<(&Located<String>, Vec<&FaultSpec>)> {
    let (mut places, mut found) = (HashMap::new(), Vec::new());
    for spec in &scenario.faults {
        if let Some(group) = &spec.group {
            let at = *places.entry(group.value.as_str()).or_insert_with(|| {
                found.push((group, Vec::new()));
                found.len() - 1
            });
            found[at].1.push(spec);
        }
    }
    found
}

pub(super) fn compile(
    scenario: &Scenario,
    covered: &mut Covered<'_>,
    largest: &Largest,
    patterns: &Patterns,
    notes: &mut Diagnostics,
) -> Vec<Arc<Fault>> {
    let mut groups = Groups::new(largest);
    let mut faults = Vec::new();
    let mut by_route: Vec<Vec<FaultId>> = vec![Vec::new(); covered.routes.len()];
    for spec in &scenario.faults {
        let routes = covers(spec, covered, notes);
        for route in &routes {
            by_route[*route].push(faults.len() as FaultId);
        }
        let names = routes.iter().map(|route| Arc::clone(&covered.routes[*route].name)).collect();
        faults.push(Arc::new(fault(spec, names, &mut groups, patterns, notes)));
    }
    for (route, ids) in covered.routes.iter_mut().zip(by_route) {
        route.faults = ids.into();
    }
    faults
}

/// One fault, as its table or a phase has it.
pub(super) fn fault(
    spec: &FaultSpec,
    covers: Box<[Arc<str>]>,
    groups: &mut Groups<'_>,
    patterns: &Patterns,
    notes: &mut Diagnostics,
) -> Fault {
    let who = who(spec, groups, notes);
    spread(spec, notes);
    let mut kinds = Vec::new();
    for inject in &spec.inject {
        match inject.value.compile() {
            Ok(kind) => kinds.push(kind),
            Err(wrong) => notes.extend(wrong),
        }
    }
    let only = &spec.only;
    let only =
        conditions(&only.methods, &only.headers, &only.query, &only.clients, patterns, notes);
    // A group's name cannot be a fault's stream: the slash is in no name.
    let stream = spec
        .group
        .as_ref()
        .map_or_else(|| spec.name.value.clone(), |group| format!("group/{}", group.value));
    Fault {
        name: spec.name.value.as_str().into(),
        stream: stream.into(),
        covers,
        only: only.unwrap_or_default(),
        cohort: spec.cohort.as_ref().and_then(|text| Selector::read(text, notes)),
        per: per(spec, notes),
        enabled: spec.enabled.as_ref().is_none_or(|enabled| enabled.value),
        who,
        limit: spec.limit.as_ref().map(|limit| limit.value),
        max_active: spec.max_active.as_ref().map(|most| most.value),
        bursts: bursts(spec, notes),
        mark: spec.mark.as_ref().is_none_or(|mark| mark.value),
        optional: spec.optional.as_ref().is_some_and(|optional| optional.value),
        kinds: kinds.into(),
    }
}

fn bursts(spec: &FaultSpec, notes: &mut Diagnostics) -> Option<Bursts> {
    let bursts = spec.bursts.as_ref()?;
    for (what, length) in [("a burst", &bursts.on), ("the calm after a burst", &bursts.off)] {
        if length.value.is_zero() {
            notes.push(Diagnostic::error(length.at, format!("{what} lasts some time")));
        }
    }
    Some(Bursts { on: bursts.on.value, off: bursts.off.value })
}

/// What `spread = "even"` goes with.
fn spread(spec: &FaultSpec, notes: &mut Diagnostics) {
    let Some(at) = spec.even else { return };
    let others = [
        spec.group.as_ref().map(|group| ("group", group.at)),
        spec.cohort.as_ref().map(|cohort| ("cohort", cohort.at)),
        spec.first.as_ref().map(|first| ("first", first.at)),
        spec.every.as_ref().map(|every| ("every", every.at)),
    ];
    let mut alone = true;
    for (key, other) in others.into_iter().flatten() {
        alone = false;
        notes.push(
            Diagnostic::error(at, format!("an even spread does not go with `{key}`"))
                .also(other, "given here"),
        );
    }
    if alone && !spec.written.probability {
        notes.push(
            Diagnostic::error(at, "an even spread needs a `probability`")
                .hint("the share of requests that is hit"),
        );
    }
}

/// What `per` and `cohort` go with.
fn per(spec: &FaultSpec, notes: &mut Diagnostics) -> Option<Selector> {
    if let Some(cohort) = &spec.cohort {
        let counted = [
            spec.first.as_ref().map(|first| ("first", first.at)),
            spec.every.as_ref().map(|every| ("every", every.at)),
        ];
        for (key, at) in counted.into_iter().flatten() {
            notes.push(
                Diagnostic::error(at, format!("`{key}` does not go with `cohort`"))
                    .also(cohort.at, "the cohort")
                    .hint("a cohort is a share of callers; count requests of each with `per`"),
            );
        }
        if !spec.written.probability && !spec.written.turn {
            notes.push(
                Diagnostic::error(cohort.at, "`cohort` needs a `probability`")
                    .hint("the share of callers that is in"),
            );
        }
    }
    let per = spec.per.as_ref()?;
    if !spec.written.turn && !spec.written.limit {
        notes.push(
            Diagnostic::error(per.at, "`per` has nothing to count")
                .hint("it goes with `first`, `every` or `limit`"),
        );
    }
    Selector::read(per, notes)
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
fn who(spec: &FaultSpec, groups: &mut Groups<'_>, notes: &mut Diagnostics) -> Who {
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
    let unread = spec.written.probability || spec.written.turn;
    let share = spec.probability.as_ref().map(|share| share.value);
    let Some(group) = &spec.group else {
        return match (share, &spec.first, &spec.every) {
            (Some(share), ..) => Who::Probability { from: 0, share, even: spec.even.is_some() },
            (_, Some(first), _) => Who::First(first.value),
            (.., Some(every)) => Who::Every(every.value),
            // Nobody rather than all: no limit is exceeded by what could not be read.
            _ if unread => Who::Probability { from: 0, share: Share::ZERO, even: false },
            _ => Who::All,
        };
    };
    if share.is_none() && !spec.written.probability {
        notes.push(
            Diagnostic::error(group.at, "a member of a group needs a `probability`")
                .hint("each member owns a share of the group's one draw"),
        );
        return Who::All;
    }
    // One that could not be read takes up no room of the group's.
    let share = share.unwrap_or(Share::ZERO);
    let alone = [
        spec.limit.as_ref().map(|limit| ("limit", limit.at)),
        spec.per.as_ref().map(|per| ("per", per.at)),
    ];
    for (key, at) in alone.into_iter().flatten() {
        notes.push(
            Diagnostic::error(at, format!("`{key}` does not go with `group`"))
                .also(group.at, "the group"),
        );
    }
    let mut routes: Vec<String> = spec.routes.iter().map(|route| route.value.clone()).collect();
    routes.sort();
    let cohort = spec.cohort.as_ref().map(|cohort| cohort.value.clone());
    let known = groups.known.entry(group.value.clone()).or_insert_with(|| Group {
        routes: routes.clone(),
        cohort: cohort.clone(),
        at: spec.routes_at,
        asked: 0,
        owned: 0,
    });
    if known.cohort != cohort {
        let at = spec.cohort.as_ref().map_or(group.at, |cohort| cohort.at);
        notes.push(
            Diagnostic::error(
                at,
                format!("members of group `{}` must have the same cohort, or none", group.value),
            )
            .also(known.at, "the first member"),
        );
    }
    if known.routes != routes {
        notes.push(
            Diagnostic::error(
                spec.routes_at,
                format!("members of group `{}` must name the same routes", group.value),
            )
            .also(known.at, "the first member's"),
        );
    }
    let asked = known.asked + u64::from(share.billionths());
    let whole = Share::ONE.billionths();
    if asked > u64::from(whole) {
        let at = spec.probability.as_ref().map_or(group.at, |share| share.at);
        notes.push(
            Diagnostic::error(
                at,
                format!("the members of group `{}` add up to {}%", group.value, asked as f64 / 1e7),
            )
            .hint("they exclude each other, so together they can be at most 100%"),
        );
    }
    let from = u32::try_from(known.owned).unwrap_or(whole).min(whole);
    let own = groups.largest.0.get(&spec.name.value).copied().unwrap_or(share.billionths());
    (known.asked, known.owned) = (asked, known.owned + u64::from(own));
    Who::Probability { from, share, even: false }
}

/// `[safety] max_faulted`: the chance that any of the active faults hits, on any route.
/// Independent faults combine as `1 − Π(1 − p)`, members of a group add.
pub(super) fn max_faulted(
    scenario: &Scenario,
    covered: &Covered<'_>,
    active: &[(FaultId, Arc<Fault>)],
    phase: Option<&Located<String>>,
    notes: &mut Diagnostics,
) {
    let Some(limit) = &scenario.safety.max_faulted else { return };
    let most = active.last().map_or(0, |(id, _)| usize::from(*id) + 1);
    let mut by_id = vec![None; most];
    for (id, fault) in active.iter().filter(|(_, fault)| fault.enabled) {
        by_id[usize::from(*id)] = Some(fault);
    }
    for route in covered.routes.iter() {
        let mut streams: HashMap<&str, f64> = HashMap::new();
        let here = route.faults.iter().filter_map(|id| *by_id.get(usize::from(*id))?);
        for fault in here {
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
            let when = phase.map_or(String::new(), |phase| format!(" in phase `{}`", phase.value));
            // Four decimals, as far as there are any.
            let share = Share::from_billionths((hit * 1e6).round() as u32 * 1_000);
            let share = share.unwrap_or(Share::ONE);
            let message = format!("faults hit {share} of route `{}`{when}", route.name);
            let note = Diagnostic::error(limit.at, message)
                .label("more than this")
                .hint("lower their `probability`, or raise `max_faulted`");
            notes.push(match phase {
                Some(phase) => note.also(phase.at, "in this phase"),
                None => note,
            });
        }
    }
}
