//! `per` of an availability SLO: whether requests are its events, or operations.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::scenario::{Per, RouteSpec, Scenario, SliSpec, SloSpec};

/// `counted`: the places of its routes.
pub(super) fn per(
    spec: &SloSpec,
    counted: &[usize],
    scenario: &Scenario,
    notes: &mut Diagnostics,
) -> Per {
    let sli = spec.sli.as_ref().map(|sli| &sli.value);
    let Some(SliSpec::Availability { per: Some(written), .. }) = sli else {
        return Per::Attempt;
    };
    if written.value == Per::Attempt {
        return Per::Attempt;
    }
    if let Some(at) = spec.timeslices {
        notes.push(
            Diagnostic::error(written.at, "slices of time are counted here, and no operations")
                .also(at, "because of this")
                .hint("leave out one of the two"),
        );
    }
    // Where nobody wrote any there is one for each service.
    let routes: Vec<Option<&RouteSpec>> =
        counted.iter().map(|at| scenario.routes.get(*at)).collect();
    let says = |route: &RouteSpec| route.operation.is_some();
    if !routes.is_empty() && !routes.iter().flatten().any(|route| says(route)) {
        let note =
            Diagnostic::error(written.at, "no route that it counts says what an operation is");
        let note = match routes.iter().flatten().next() {
            Some(route) => note.also(route.name.at, "this one, for example"),
            None => note,
        };
        notes.push(
            note.hint("for example `operation = \"header:idempotency-key\"` in `[routes.NAME]`"),
        );
        return Per::Operation;
    }
    let silent: Vec<&RouteSpec> =
        routes.into_iter().flatten().filter(|route| !says(route)).collect();
    if let Some(first) = silent.first() {
        let message = match &silent[..] {
            [one] => format!("route `{}` does not say what an operation is", one.name.value),
            all => format!(
                "route `{}` and {} more do not say what an operation is",
                first.name.value,
                all.len() - 1
            ),
        };
        notes.push(
            Diagnostic::warning(written.at, message)
                .label("each of its requests is one")
                .also(first.name.at, "this route")
                .hint("`operation = \"header:idempotency-key\"`, or an SLO of its own"),
        );
    }
    Per::Operation
}
