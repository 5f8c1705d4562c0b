//! Which route and which faults one request meets, and why not the others.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method};
use serde::Serialize;

use super::matcher::canonical;
use super::{
    Asked, Bursts, Fault, LeftOut, Phase, Plan, Route, RouteId, Rule, SKIP, Segment, ServiceId,
    Sli, Slo, Valid, Who, matcher,
};
use crate::units::{Share, show_duration};

/// What would become of one request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The path as routes compare it.
    pub canonical_path: String,
    pub service: String,
    /// `unmatched` when no route of the file takes it.
    pub route: String,
    /// Where its route says what an operation is: whether the request is an attempt at one.
    pub operation: Option<String>,
    /// Why nothing at all can hit it, whatever the faults say.
    pub spared: Option<String>,
    /// SLOs of which it is an event.
    pub slos: Vec<String>,
    /// Those that count its route, and not it.
    pub other_slos: Vec<Answer>,
    /// Routes that would take it but for something.
    pub other_routes: Vec<Answer>,
    pub phases: Vec<InPhase>,
}

/// A request somebody asks about, as they wrote it.
#[derive(Debug)]
pub struct Question {
    method: Method,
    target: http::uri::PathAndQuery,
    headers: HeaderMap,
    client: Option<IpAddr>,
}

impl Question {
    /// `request`: `POST /api/checkout/42`; `headers`: `name: value`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(
        request: &str,
        headers: &[impl AsRef<str>],
        client: Option<IpAddr>,
    ) -> Result<Self, String> {
        let example = "write it as `POST /api/checkout/42`";
        let (method, target) = match request.split_whitespace().collect::<Vec<_>>()[..] {
            [method, target] => (method, target),
            [target] if target.starts_with('/') => ("GET", target),
            _ => return Err(format!("\"{request}\" is not a request; {example}")),
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| format!("\"{method}\" is not a method; {example}"))?;
        let target = target
            .parse::<http::uri::PathAndQuery>()
            .ok()
            .filter(|target| target.path().starts_with('/'))
            .ok_or_else(|| format!("\"{target}\" is not a path; {example}"))?;
        let mut fields = HeaderMap::new();
        for line in headers.iter().map(AsRef::as_ref) {
            let wrong = || format!("\"{line}\" is not a header; write it as `name: value`");
            let (name, value) = line.split_once(':').ok_or_else(wrong)?;
            let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
            fields.append(name, value.trim().parse().map_err(|_| wrong())?);
        }
        Ok(Self { method, target, headers: fields, client })
    }

    /// `service`: as if it came in by that service's own port. `phase`: only that one.
    ///
    /// # Errors
    /// A service or a phase nobody knows, for people.
    pub fn explain(
        &self,
        plan: &Plan,
        service: Option<&str>,
        phase: Option<&str>,
    ) -> Result<Explanation, String> {
        let only = service.map(|name| {
            let known = plan.services.iter().position(|service| &*service.name == name);
            known.map(|id| id as ServiceId).ok_or_else(|| {
                unknown("service", name, plan.services.iter().map(|service| &*service.name))
            })
        });
        let phase = phase.map(|name| {
            let known = plan.phases.iter().find(|phase| &*phase.name == name);
            known
                .ok_or_else(|| unknown("phase", name, plan.phases.iter().map(|phase| &*phase.name)))
        });
        let host = self.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let asked = Asked {
            only: only.transpose()?,
            method: &self.method,
            host: host.unwrap_or("localhost"),
            path: self.target.path(),
            query: self.target.query(),
            headers: &self.headers,
            client: self.client,
        };
        Ok(explain(plan, &asked, phase.transpose()?))
    }
}

fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    format!("there is no {what} `{name}`; {}", crate::document::instead(name, known))
}

/// Something that does not apply, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub name: String,
    pub why_not: String,
}

/// The faults in one phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InPhase {
    pub phase: String,
    pub faults: Vec<Chance>,
    pub other_faults: Vec<Answer>,
    /// The chance that any of them hits, from 0 to 1, where every one has a chance.
    pub any: Option<f64>,
}

/// A fault that can hit the request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chance {
    pub name: String,
    /// `5%`, `first 3`, `every 10`, `all`.
    pub who: String,
    /// What else has a say: the cohort, the group, a limit.
    pub but: Vec<String>,
    /// What it does, kind by kind.
    pub does: Vec<String>,
    /// From 0 to 1, where the fault has one: not `first`. With bursts, over all of the time.
    pub chance: Option<f64>,
}

/// Explains a request in one phase, or in all.
pub fn explain(plan: &Plan, asked: &Asked<'_>, phase: Option<&Phase>) -> Explanation {
    let found = plan.matcher.find(asked);
    let service = asked.only.unwrap_or_else(|| plan.default_service());
    let id = found.unwrap_or(plan.services[usize::from(service)].unmatched);
    let route = &plan.routes[id as usize];
    let service = &plan.services[usize::from(route.service)];
    let spared = if found.is_none() {
        Some("no route matches it, and what no route matches is never faulted".to_owned())
    } else if route.protected {
        Some("its route is protected".to_owned())
    } else if !plan.safety.fault_health && asked.is_health_check() {
        Some("it is a health check (`[safety] fault_health` is not set)".to_owned())
    } else if service.never {
        Some(format!("service `{}` lies in `[safety] never`", service.name))
    } else if plan.proxy.client_control && asked.opts_out() {
        Some(format!("its caller opts out with `{SKIP}: 1`"))
    } else {
        None
    };
    let (mut slos, mut other_slos) = (Vec::new(), Vec::new());
    for slo in &route.slos {
        let slo = &plan.slos[usize::from(*slo)];
        let name = slo.name.to_string();
        match left_out(slo, id, route, asked) {
            None => slos.push(name),
            Some(why) => other_slos.push(Answer { name, why_not: why.to_owned() }),
        }
    }
    let others = plan.routes.iter().enumerate().filter(|(other, _)| *other != id as usize);
    let other_routes = others.filter_map(|(_, other)| {
        let mut why_not = why_not_route(plan, other.rule.as_deref()?, asked, &route.name)?;
        plan.secrets.redact(&mut why_not);
        Some(Answer { name: other.name.to_string(), why_not })
    });
    let phases = match phase {
        Some(phase) => vec![in_phase(plan, phase, id, asked)],
        None => plan.phases.iter().map(|phase| in_phase(plan, phase, id, asked)).collect(),
    };
    Explanation {
        canonical_path: canonical(asked.path).into_owned(),
        service: service.name.to_string(),
        route: route.name.to_string(),
        operation: route.operation.as_ref().map(|by| match by.key(asked) {
            Some(_) => format!("an attempt at one, told by `{by}`"),
            None => format!("one of its own: it has no `{by}`"),
        }),
        spared,
        slos,
        other_slos,
        other_routes: other_routes.collect(),
        phases,
    }
}

/// Why an SLO that counts the route does not count the request.
fn left_out(slo: &Slo, id: RouteId, route: &Route, asked: &Asked<'_>) -> Option<&'static str> {
    let (health_check, excluded_by) = (asked.is_health_check(), route.excluded_by(asked));
    let why = |valid: &Valid| valid.leaves_out(asked.method, health_check, excluded_by);
    let why = match &slo.sli {
        // It counts what one of them does.
        Sli::All(members) => {
            let members = members.iter().filter(|member| member.routes.contains(&id));
            let mut whys = members.map(|member| why(&member.valid));
            let first = whys.next()?;
            whys.all(|why| why.is_some()).then_some(first)?
        }
        _ => why(&slo.valid),
    };
    Some(match why? {
        LeftOut::HealthCheck => {
            "it is a health check (`include = [\"health_checks\"]` would count it)"
        }
        LeftOut::Options => "it is OPTIONS (`include = [\"options\"]` would count it)",
        LeftOut::Exclude => "its `exclude` takes it",
    })
}

/// Why a route does not take the request; `None` when its path has nothing to do with it, which
/// needs no explanation.
fn why_not_route(plan: &Plan, rule: &Rule, asked: &Asked<'_>, taken: &str) -> Option<String> {
    if !path_fits(&rule.path, &canonical(asked.path)) {
        return None;
    }
    if asked.only.is_some_and(|only| only != rule.service) {
        let service = &plan.services[usize::from(rule.service)].name;
        return Some(format!("it belongs to `{service}`, whose port this is not"));
    }
    let host = matcher::bare_host(asked.host);
    let host_fits = match &rule.host {
        matcher::HostRule::Exact(name) => *name == *host,
        matcher::HostRule::Suffix(suffix) => host.ends_with(suffix.as_str()),
        matcher::HostRule::Any => true,
    };
    if !host_fits {
        return Some("it is for another host".to_owned());
    }
    Some(
        rule.conditions
            .why_not(asked)
            .unwrap_or_else(|| format!("it would take it, but `{taken}` is more specific")),
    )
}

fn path_fits(rule: &[Segment], path: &str) -> bool {
    let pieces: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let mut at = 0;
    for segment in rule {
        match segment {
            Segment::Rest => return true,
            Segment::Literal(text) if pieces.get(at).is_some_and(|piece| piece == text) => {}
            Segment::Param if pieces.get(at).is_some_and(|piece| !piece.is_empty()) => {}
            _ => return false,
        }
        at += 1;
    }
    at == pieces.len()
}

fn in_phase(plan: &Plan, phase: &Phase, route: super::RouteId, asked: &Asked<'_>) -> InPhase {
    let covered = &plan.routes[route as usize].faults;
    let name = &plan.routes[route as usize].name;
    let (mut faults, mut others) = (Vec::new(), Vec::new());
    for (id, base) in plan.faults.iter().enumerate() {
        let active = phase.faults.iter().find(|(known, _)| usize::from(*known) == id);
        let why_not = match active {
            _ if !covered.iter().any(|known| usize::from(*known) == id) => {
                Some(format!("it is not on route `{name}`"))
            }
            None => Some(format!("it is not active in phase `{}`", phase.name)),
            Some((_, fault)) => why_not_fault(fault, asked),
        };
        match (why_not, active) {
            (None, Some((_, fault))) => faults.push(chance(fault)),
            (why_not, _) => {
                let mut why_not = why_not.unwrap_or_default();
                plan.secrets.redact(&mut why_not);
                others.push(Answer { name: base.name.to_string(), why_not });
            }
        }
    }
    let any = any(phase, &faults);
    InPhase { phase: phase.name.to_string(), faults, other_faults: others, any }
}

fn why_not_fault(fault: &Fault, asked: &Asked<'_>) -> Option<String> {
    if !fault.enabled {
        return Some("it is switched off (`enabled = false`)".to_owned());
    }
    if matches!(fault.who, Who::Probability { share: Share::ZERO, .. }) {
        return Some("its probability is 0%".to_owned());
    }
    if let Some(why) = fault.only.why_not(asked) {
        return Some(why);
    }
    for (what, selector) in [("cohort", &fault.cohort), ("per", &fault.per)] {
        if let Some(selector) = selector.as_ref().filter(|selector| selector.key(asked).is_none()) {
            return Some(format!("the request has no `{selector}`, which its `{what}` goes by"));
        }
    }
    None
}

fn chance(fault: &Fault) -> Chance {
    let mut but = Vec::new();
    if let Some(cohort) = &fault.cohort {
        but.push(format!("a share of callers by {cohort}: each is always in or out"));
    }
    if let Some(per) = &fault.per {
        but.push(format!("counted for each {per}"));
    }
    if let Some(group) = fault.stream.strip_prefix("group/") {
        but.push(format!("never together with others of group `{group}`"));
    }
    if matches!(fault.who, Who::Probability { even: true, .. }) {
        but.push("evenly spread".to_owned());
    }
    if let Some(bursts) = fault.bursts {
        let [on, off] = [bursts.on, bursts.off].map(show_duration);
        let share = bursts.duty() * 100.0;
        but.push(format!(
            "in bursts of {on} on average, {off} apart: on for {share:.1}% of the time"
        ));
    }
    if let Some(limit) = fault.limit {
        but.push(format!("off after {limit} hits"));
    }
    if let Some(most) = fault.max_active {
        but.push(format!("at most {most} at the same time"));
    }
    let chance = match fault.who {
        Who::All => Some(1.0),
        Who::Probability { share, .. } => Some(share.as_f64()),
        Who::Every(every) => Some(1.0 / every.max(1) as f64),
        Who::First(_) => None,
    };
    let chance = chance.map(|chance| chance * fault.bursts.map_or(1.0, Bursts::duty));
    Chance {
        name: fault.name.to_string(),
        who: fault.who.to_string(),
        but,
        does: fault.kinds.iter().map(|kind| kind.describe()).collect(),
        chance,
    }
}

/// Members of a group add, independent faults combine as `1 − Π(1 − p)`: 20 % and 5 % make 24 %.
fn any(phase: &Phase, faults: &[Chance]) -> Option<f64> {
    let mut streams: Vec<(&str, f64)> = Vec::new();
    for chance in faults {
        let stream = phase.faults.iter().find(|(_, fault)| *fault.name == *chance.name)?;
        let stream = &*stream.1.stream;
        let share = chance.chance?;
        match streams.iter_mut().find(|(known, _)| *known == stream) {
            Some((_, sum)) => *sum += share,
            None => streams.push((stream, share)),
        }
    }
    Some(1.0 - streams.iter().map(|(_, share)| 1.0 - share.min(1.0)).product::<f64>())
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
