//! What compiles and yet cannot work as it is written.

use http::Method;

use super::{Fault, FaultId, Plan, Route, Rule, Segment};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::scenario::{FaultSpec, Scenario};

/// Looks over a plan that has no mistakes.
pub(super) fn find(scenario: &Scenario, plan: &Plan, notes: &mut Diagnostics) {
    for (spec, route) in scenario.routes.iter().zip(&plan.routes) {
        let Some(why) = route.rule.as_deref().and_then(unreachable) else { continue };
        let at = spec.path.as_ref().map_or(spec.name.at, |path| path.at);
        let message = format!("no request can reach route `{}`: {why}", route.name);
        notes.push(Diagnostic::warning(at, message));
    }
    if scenario.routes.is_empty() {
        second_to_none(scenario, plan, notes);
    }
    for (id, (spec, fault)) in scenario.faults.iter().zip(&plan.faults).enumerate() {
        let id = id as FaultId;
        never_hits(spec, (id, fault), plan, notes);
        covers_health(scenario, spec, (id, fault), plan, notes);
    }
    super::alert_warnings::find(scenario, plan, notes);
    super::valid::warn(scenario, plan, notes);
    let injects = |phase: &super::Phase| phase.faults.iter().any(|(_, fault)| fault.enabled);
    if let Some(first) = scenario.phases.first()
        && !scenario.faults.is_empty()
        && !plan.phases.iter().any(injects)
    {
        notes.push(
            Diagnostic::warning(first.name.at, "no phase has a fault: nothing is ever injected")
                .hint("name faults in a phase's `faults`, or write `faults = [\"*\"]`"),
        );
    }
}

/// Why a rule matches no request that gets as far as matching.
fn unreachable(rule: &Rule) -> Option<&'static str> {
    let refused = |method: &Method| matches!(*method, Method::CONNECT | Method::TRACE);
    let methods = &rule.conditions.methods;
    if !methods.is_empty() && methods.iter().all(refused) {
        return Some("CONNECT and TRACE are refused before");
    }
    // What hyper's parser refuses in a target.
    let odd = |text: &str| text.contains(['"', '<', '>', '`']);
    let literal = rule.path.iter().find_map(|segment| match segment {
        Segment::Literal(text) if odd(text) => Some(()),
        _ => None,
    });
    literal.map(|()| "a request's path never has `\"`, `<`, `>` or a backtick as it is; write it as %22, %3C, %3E, %60")
}

/// Without routes, what comes in by the shared port goes to the first service.
fn second_to_none(scenario: &Scenario, plan: &Plan, notes: &mut Diagnostics) {
    let first = plan.default_service();
    for (id, (spec, service)) in scenario.services.iter().zip(&plan.services).enumerate() {
        if id != usize::from(first) && service.listen.is_none() {
            let first = &plan.services[usize::from(first)].name;
            notes.push(
                Diagnostic::warning(
                    spec.name.at,
                    format!("no request can reach service `{}`: all go to `{first}`", service.name),
                )
                .hint("give it a `listen` of its own, or write `[routes.NAME]` that name it"),
            );
        }
    }
}

fn covered(id: FaultId, plan: &Plan) -> impl Iterator<Item = &Route> {
    plan.routes.iter().filter(move |route| route.faults.binary_search(&id).is_ok())
}

/// `only` and the routes ask for different methods.
fn never_hits(
    spec: &FaultSpec,
    (id, fault): (FaultId, &Fault),
    plan: &Plan,
    notes: &mut Diagnostics,
) {
    let (Some(written), wanted) = (spec.only.methods.first(), &fault.only.methods) else { return };
    let meets = |route: &Route| {
        let methods = route.rule.as_ref().map(|rule| &rule.conditions.methods);
        methods.is_none_or(|methods| {
            methods.is_empty() || methods.iter().any(|method| wanted.contains(method))
        })
    };
    if !fault.covers.is_empty() && !covered(id, plan).any(meets) {
        let message = format!("fault `{}` can never hit", fault.name);
        notes.push(
            Diagnostic::warning(written.at, message).label("none of its routes has such requests"),
        );
    }
}

/// With `fault_health`, a wildcard takes in the checks that keep a service alive.
fn covers_health(
    scenario: &Scenario,
    spec: &FaultSpec,
    (id, fault): (FaultId, &Fault),
    plan: &Plan,
    notes: &mut Diagnostics,
) {
    let Some(wanted) = scenario.safety.fault_health.as_ref().filter(|wanted| wanted.value) else {
        return;
    };
    let wild = |route: &Route| {
        let path = route.rule.as_ref().map(|rule| &rule.path);
        path.is_some_and(|path| {
            path.len() == 1 && matches!(path[0], Segment::Rest | Segment::Param)
        })
    };
    // A route for the check itself is meant.
    let named = |plan: &Plan| {
        plan.routes.iter().any(|route| {
            route.rule.as_ref().is_some_and(
                |rule| matches!(&rule.path[..], [Segment::Literal(text)] if text == "healthz"),
            )
        })
    };
    if fault.enabled && !named(plan) && covered(id, plan).any(wild) {
        let message = format!("fault `{}` hits health checks too", fault.name);
        notes.push(
            Diagnostic::warning(spec.routes_at, message)
                .also(wanted.at, "because of this")
                .hint("a service that fails its checks is restarted or taken out; give `/healthz` a route with `protected = true`"),
        );
    }
}
