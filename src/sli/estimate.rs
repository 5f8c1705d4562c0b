//! What faults are expected to do to an SLO before any request has come: the same decisions and the
//! same judge as live, asked of a service that is well.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::{Checked, End, Event, Hit, Origin, Outcome, judge};
use crate::budget::{Expected, Stretch};
use crate::dice::Dice;
use crate::fault::grpc::Status;
use crate::fault::{Action, At, Shape, Way, When};
use crate::plan::{Check, Fault, FaultId, Phase, Plan, Route, RouteId, Sli, Slo, SloId, Unit, Who};

/// Decisions that a fault is asked for; a share of them is known to a hundredth.
const DRAWS: u64 = 10_000;
/// How quickly a service that is well answers.
const WELL: Duration = Duration::from_millis(1);

/// Bad events to come, and what that leaves out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Estimate {
    pub expected: Expected,
    /// In words, once each.
    pub without: Vec<String>,
}

/// A stretch of the drill: a phase, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Part<'p> {
    pub phase: &'p Phase,
    pub seconds: f64,
}

/// What each fault of a plan does to a request that it hits, by SLO: worked out once a plan.
#[derive(Debug)]
pub struct Harms {
    plan: Arc<Plan>,
    /// By SLO and by where the fault, as one phase has it, is in memory: the plan keeps it there.
    known: HashMap<(usize, usize), Harm>,
    /// By SLO: its routes that meet the same faults, together. A plan may have thousands of routes.
    alike: Vec<Vec<Alike>>,
    /// By fault: see [`groups`].
    groups: Vec<Option<usize>>,
}

/// Routes with the same faults.
#[derive(Debug)]
struct Alike {
    faults: Box<[FaultId]>,
    routes: Vec<RouteId>,
}

/// How likely a request is bad, and how likely it is no event of the SLO.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    bad: f64,
    out: f64,
}

#[derive(Debug, Default)]
struct Harm {
    /// What becomes of the request.
    hit: Share,
    /// Requests a second that it lets through.
    most: Option<f64>,
    /// What it answers to the others.
    answer: Option<u16>,
    /// What becomes of those.
    turned_away: Share,
    without: Vec<String>,
}

impl Harm {
    fn leaves_out(&mut self, fault: &Fault, what: &str, taken_as: &str) {
        let note = format!("fault `{}` {what}: taken as {taken_as}", fault.name);
        if !self.without.contains(&note) {
            self.without.push(note);
        }
    }
}

impl Harms {
    pub fn of(plan: Arc<Plan>) -> Self {
        let alike = alike(&plan);
        let mut known = HashMap::new();
        for (id, (slo, alike)) in plan.slos.iter().zip(&alike).enumerate() {
            // Some route that each fault is on.
            let mut on: Vec<Option<RouteId>> = vec![None; plan.faults.len()];
            for Alike { faults, routes } in alike {
                for fault in faults {
                    let on = &mut on[usize::from(*fault)];
                    *on = on.or(routes.first().copied());
                }
            }
            for (fault_id, fault) in plan.phases.iter().flat_map(|phase| &phase.faults) {
                if let Some(route) = on[usize::from(*fault_id)] {
                    let harm = || harm(slo, route, fault);
                    known.entry((id, address(fault))).or_insert_with(harm);
                }
            }
        }
        Self { groups: groups(&plan), plan, known, alike }
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The bad events of one SLO (by its place) over parts of the drill, at each route's requests a
    /// second. Faults of one group exclude each other, all others are independent.
    pub fn estimate<'p>(
        &self,
        slo: usize,
        parts: impl IntoIterator<Item = Part<'p>>,
        rate: impl Fn(&Route) -> f64,
    ) -> Estimate {
        let (mut stretches, mut without) = (Vec::new(), Vec::new());
        if self.plan.slos[slo].unit() == Unit::Operations {
            let how = "it counts operations, and how callers retry is theirs: as if none did";
            without.push(how.to_owned());
        }
        for part in parts {
            // What becomes of a request depends on the rate; most routes have the same.
            let mut at: Option<(f64, Vec<Share>)> = None;
            for Alike { faults, routes } in &self.alike[slo] {
                let mut last: Option<(f64, f64)> = None;
                for route in routes {
                    let rate = rate(&self.plan.routes[*route as usize]);
                    let same = |known: f64| known.to_bits() == rate.to_bits();
                    if let Some((_, events)) = last.filter(|(last, _)| same(*last))
                        && let Some(Stretch { rate: sum, .. }) = stretches.last_mut()
                    {
                        *sum += events;
                        continue;
                    }
                    let known = at.take().filter(|(known, _)| same(*known));
                    let (_, shares) = at.insert(
                        known.unwrap_or_else(|| (rate, self.shares(slo, part, rate, &mut without))),
                    );
                    let Share { bad, out } = self.goes_bad(faults, shares);
                    let events = rate * (1.0 - out);
                    last = Some((rate, events));
                    let bad = if out < 1.0 { bad / (1.0 - out) } else { 0.0 };
                    stretches.push(Stretch { seconds: part.seconds, rate: events, bad });
                }
            }
        }
        without.sort();
        without.dedup();
        Estimate { expected: Expected::over(stretches), without }
    }

    /// By fault: the share of requests that it hits and makes bad, or no event, in one phase.
    fn shares(
        &self,
        slo: usize,
        part: Part<'_>,
        rate: f64,
        without: &mut Vec<String>,
    ) -> Vec<Share> {
        let mut shares = vec![Share::default(); self.plan.faults.len()];
        for (id, fault) in part.phase.faults.iter().filter(|(_, fault)| fault.enabled) {
            let Some(harm) = self.known.get(&(slo, address(fault))) else { continue };
            without.extend_from_slice(&harm.without);
            let hit = hits(fault, part, rate, without);
            let over = harm.most.map_or(0.0, |most| (1.0 - most / (hit * rate)).max(0.0));
            let of = |held: f64, away: f64| hit * (held * (1.0 - over) + away * over);
            shares[usize::from(*id)] = Share {
                bad: of(harm.hit.bad, harm.turned_away.bad),
                out: of(harm.hit.out, harm.turned_away.out),
            };
        }
        shares
    }

    /// How likely a request that meets these faults goes bad, and how likely it is no event: then
    /// nothing else makes it bad.
    fn goes_bad(&self, faults: &[FaultId], shares: &[Share]) -> Share {
        // Good, and an event.
        let (mut good, mut counts) = (1.0, 1.0);
        let mut alone = |share: Share| {
            good *= 1.0 - (share.bad + share.out).min(1.0);
            counts *= 1.0 - share.out.min(1.0);
        };
        let mut groups = BTreeMap::<usize, Share>::new();
        for fault in faults.iter().map(|fault| usize::from(*fault)) {
            match self.groups[fault] {
                Some(group) => {
                    let sum = groups.entry(group).or_default();
                    sum.bad += shares[fault].bad;
                    sum.out += shares[fault].out;
                }
                None => alone(shares[fault]),
            }
        }
        groups.into_values().for_each(alone);
        Share { bad: (counts - good).max(0.0), out: 1.0 - counts }
    }
}

/// By fault: the first of those it shares its draws with; `None`: it has them to itself.
fn groups(plan: &Plan) -> Vec<Option<usize>> {
    let mut members: HashMap<&Arc<str>, (usize, usize)> = HashMap::new();
    for (id, fault) in plan.faults.iter().enumerate() {
        members.entry(&fault.stream).or_insert((id, 0)).1 += 1;
    }
    let group = |fault: &Arc<Fault>| {
        let (first, count) = members.get(&fault.stream)?;
        (*count > 1).then_some(*first)
    };
    plan.faults.iter().map(group).collect()
}

/// By SLO, its routes by what faults they meet; none of a service that is never faulted.
fn alike(plan: &Plan) -> Vec<Vec<Alike>> {
    let mut found: Vec<Vec<Alike>> = plan.slos.iter().map(|_| Vec::new()).collect();
    let mut places: HashMap<(SloId, &[FaultId]), usize> = HashMap::new();
    for (id, route) in plan.routes.iter().enumerate() {
        let never = plan.services[usize::from(route.service)].never;
        let faults: &[FaultId] = if never { &[] } else { &route.faults };
        for slo in &route.slos {
            let groups = &mut found[usize::from(*slo)];
            let place = *places.entry((*slo, faults)).or_insert_with(|| {
                groups.push(Alike { faults: faults.into(), routes: Vec::new() });
                groups.len() - 1
            });
            groups[place].routes.push(id as RouteId);
        }
    }
    found
}

/// The share of requests that a fault hits: of a ramp the mean, of bursts the long run's.
pub fn hits(fault: &Fault, part: Part<'_>, rate: f64, notes: &mut Vec<String>) -> f64 {
    let requests = rate * part.seconds;
    let mut share = match fault.who {
        Who::All => 1.0,
        Who::Probability { share, .. } => share.as_f64(),
        Who::Every(every) => 1.0 / every.max(1) as f64,
        Who::First(first) if fault.per.is_none() => first as f64 / requests.max(first as f64),
        Who::First(_) => {
            notes.push(format!("fault `{}` counts by caller: taken as none", fault.name));
            0.0
        }
    };
    if let (Some(ramp), Who::All | Who::Probability { .. }) = (part.phase.ramp, fault.who) {
        let ramp = ramp.as_secs_f64();
        share *= if part.seconds >= ramp {
            1.0 - ramp / part.seconds / 2.0
        } else {
            part.seconds / ramp / 2.0
        };
    }
    if let Some(bursts) = fault.bursts {
        share *= bursts.duty();
        notes.push(format!("fault `{}` comes in bursts: its mean is taken", fault.name));
    }
    if let Some(limit) = fault.limit.filter(|_| fault.per.is_none() && requests > 0.0) {
        share = share.min(limit as f64 / requests);
    }
    if fault.only != crate::plan::Conditions::default() {
        notes.push(format!("fault `{}` is for some requests only: taken for all", fault.name));
    }
    if fault.cohort.is_some() {
        notes.push(format!("fault `{}` goes by caller: taken by request", fault.name));
    }
    share
}

fn address(fault: &Arc<Fault>) -> usize {
    Arc::as_ptr(fault).addr()
}

fn harm(slo: &Slo, route: RouteId, fault: &Fault) -> Harm {
    let mut harm = Harm::default();
    let checks = checks(&slo.sli);
    let (mut bad, mut out, mut turned_away, mut out_away) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut draws = 0;
    while draws < DRAWS {
        let mut dice = Dice::new(draws, "estimate", draws, &fault.name);
        let fresh = dice.clone();
        let mut outcome = well(route);
        for kind in &fault.kinds {
            let action = kind.decide(&mut dice);
            says(&action, &mut outcome, &checks, fault, &mut harm);
            act(&action, &mut outcome, fault, &mut harm);
        }
        let event = judge(slo, &outcome);
        bad += u64::from(matches!(event, Event::Bad(_)));
        out += u64::from(matches!(event, Event::Excluded(_)));
        if let Some(status) = harm.answer {
            let outcome = Outcome { status, origin: Origin::Fault(0), ..outcome };
            let event = judge(slo, &outcome);
            turned_away += u64::from(matches!(event, Event::Bad(_)));
            out_away += u64::from(matches!(event, Event::Excluded(_)));
        }
        draws += 1;
        // Nothing is left to chance: it decides the same for all.
        if dice == fresh {
            break;
        }
    }
    let share = |bad: u64, out: u64| Share {
        bad: bad as f64 / draws as f64,
        out: out as f64 / draws as f64,
    };
    (harm.hit, harm.turned_away) = (share(bad, out), share(turned_away, out_away));
    harm
}

fn well(route: RouteId) -> Outcome {
    Outcome {
        route,
        method: Method::GET,
        status: 200,
        origin: Origin::Service,
        end: End::Complete,
        hit: Hit::Yes,
        served: None,
        grpc: None,
        total: WELL,
        first_byte: Some(WELL),
        added: Duration::ZERO,
        operation: None,
        health_check: false,
        excludes: 0,
        // All that is asked.
        checked: Some(Checked { right: u64::MAX, ..Checked::default() }),
    }
}

/// Does to an outcome what the data path would do.
fn act(action: &Action, outcome: &mut Outcome, fault: &Fault, harm: &mut Harm) {
    let unknown = |harm: &mut Harm, what: &str| harm.leaves_out(fault, what, "harmless");
    let answered = outcome.origin != Origin::Service;
    match action {
        Action::Delay { time, when } => {
            let before = outcome.total;
            outcome.total = match when {
                When::Floor => before.max(*time),
                _ => before + *time,
            };
            outcome.added += outcome.total.saturating_sub(before);
            outcome.first_byte = Some(outcome.total);
        }
        Action::Respond { answer, after_upstream } if !answered => {
            outcome.status = answer.status.as_u16();
            outcome.grpc = answer.grpc.map(Status::number);
            if answer.grpc.is_some_and(|status| status.http() == answer.status) {
                // Meant for gRPC callers alone, who are told in the trailers.
                outcome.status = 200;
            }
            outcome.origin = Origin::Fault(0);
            outcome.served = after_upstream.then_some(200);
        }
        Action::Abort(abort) if !answered => {
            if matches!(abort.at, At::Body(_)) {
                outcome.end = End::Destroyed;
            } else {
                outcome.status = 0;
                outcome.origin = Origin::Fault(0);
                outcome.first_byte = None;
            }
        }
        Action::Shape { on: Way::Response, shape } => match shape {
            Shape::Cut { .. } | Shape::Flip { .. } | Shape::Replace(_) => {
                outcome.end = End::Destroyed;
            }
            _ => unknown(harm, "slows bodies of unknown length"),
        },
        Action::Shape { .. } | Action::Edit { on: Way::Request, .. } => {
            unknown(harm, "changes what the service gets");
        }
        Action::Limit(limit) => {
            let most = 1.0 / limit.pace.interval.as_secs_f64();
            harm.most = Some(harm.most.map_or(most, |known| known.min(most)));
            harm.answer = Some(limit.answer.status.as_u16());
        }
        Action::Serve(_) => unknown(harm, "queues, as the load has it"),
        Action::Respond { .. } | Action::Abort(_) | Action::Edit { .. } | Action::Copy(_) => {}
    }
}

/// What is asked of answers.
fn checks(sli: &Sli) -> Vec<&Check> {
    match sli {
        Sli::Availability { .. } | Sli::Latency { .. } => Vec::new(),
        Sli::Correctness(check) => vec![&**check],
        Sli::All(members) => members.iter().flat_map(|member| checks(&member.sli)).collect(),
    }
}

/// Does to what an answer says what the data path would do.
fn says(action: &Action, outcome: &mut Outcome, checks: &[&Check], fault: &Fault, harm: &mut Harm) {
    if checks.is_empty() {
        return;
    }
    let answered = outcome.origin != Origin::Service;
    let Some(checked) = &mut outcome.checked else { return };
    let mut found = |check: &Check, right: Option<bool>| {
        let bit = 1 << check.place;
        let part = |is: bool| if is { bit } else { 0 };
        checked.right = checked.right & !bit | part(right == Some(true));
        checked.wrong = checked.wrong & !bit | part(right == Some(false));
        checked.unread = checked.unread & !bit | part(right.is_none());
    };
    match action {
        // Nothing of it reaches the caller as a whole.
        Action::Shape { on: Way::Response, shape: Shape::Cut { .. } } => outcome.checked = None,
        Action::Abort(_) if !answered => outcome.checked = None,
        Action::Respond { answer, .. } if !answered => {
            for check in checks {
                let head = check.takes_head(&answer.headers);
                found(
                    check,
                    if head { check.takes_body(&answer.body, false) } else { Some(false) },
                );
            }
        }
        Action::Edit { on: Way::Response, edit } => {
            for check in checks.iter().filter(|check| !check.outlives(edit)) {
                found(check, Some(false));
            }
        }
        Action::Shape { on: Way::Response, shape: Shape::Replace(bytes) } => {
            for check in checks.iter().filter(|check| check.reads_body()) {
                found(check, check.takes_body(bytes, false));
            }
        }
        Action::Shape { on: Way::Response, shape: Shape::Flip { .. } } => {
            for check in checks.iter().filter(|check| check.reads_body()) {
                found(check, Some(false));
                harm.leaves_out(fault, "damages bodies that nobody knows", "wrong");
            }
        }
        _ => {}
    }
}
