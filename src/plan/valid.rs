//! Which requests are events of an SLO at all (`include`, `exclude`).

use std::sync::Arc;

use http::Method;

use super::patterns::Patterns;
use super::{Asked, Conditions, Plan, Route, Segment, condition, routes};
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::scenario::{OnlySpec, Scenario, SloSpec};

/// What takes a request is one bit for each.
const MOST: usize = 64;

/// Which of its routes' requests an SLO counts. By default all but health checks and OPTIONS: they
/// are no user's, and would make any ratio look better than what users meet. 10 of 100 requests
/// that fail are 10 %; with 100 health checks beside them they would be 5 %.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Valid {
    /// [`super::condition::Asked::is_health_check`].
    pub health_checks: bool,
    pub options: bool,
    /// What else is left out.
    pub exclude: Option<Arc<Exclusion>>,
}

impl Valid {
    /// Whatever comes.
    pub const EVERYTHING: Self = Self { health_checks: true, options: true, exclude: None };

    /// Why a request is no event, whatever becomes of it; `None`: it is one. `excluded_by`: see
    /// [`Route::excluded_by`].
    pub fn leaves_out(
        &self,
        method: &Method,
        health_check: bool,
        excluded_by: u64,
    ) -> Option<LeftOut> {
        if health_check && !self.health_checks {
            Some(LeftOut::HealthCheck)
        } else if method == Method::OPTIONS && !self.options {
            Some(LeftOut::Options)
        } else {
            let exclude = self.exclude.as_ref()?;
            (excluded_by & 1 << exclude.place != 0).then_some(LeftOut::Exclude)
        }
    }
}

/// Why an SLO leaves a request out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    HealthCheck,
    Options,
    Exclude,
}

/// Requests that an SLO leaves out.
#[derive(Debug, Clone)]
pub struct Exclusion {
    /// Its bit in what is known of a request; two SLOs that leave out the same share one.
    pub place: u8,
    /// Never empty.
    pub conditions: Conditions,
}

/// What is left out, wherever its bit is: a reload may move that.
impl PartialEq for Exclusion {
    fn eq(&self, other: &Self) -> bool {
        self.conditions == other.conditions
    }
}

impl Route {
    /// Which `exclude`s take a request, one bit for each.
    pub fn excluded_by(&self, asked: &Asked<'_>) -> u64 {
        let taking = self.excludes.iter().filter(|exclude| exclude.conditions.hold(asked));
        taking.fold(0, |all, exclude| all | 1 << exclude.place)
    }
}

/// Those of a plan, each once.
#[derive(Debug, Default)]
pub(super) struct Exclusions(Vec<Arc<Exclusion>>);

impl Exclusions {
    pub(super) fn valid(
        &mut self,
        spec: &SloSpec,
        patterns: &Patterns,
        notes: &mut Diagnostics,
    ) -> Valid {
        let has = |word: &str| spec.include.iter().any(|written| written.value == word);
        let exclude = spec.exclude.as_ref();
        Valid {
            health_checks: has("health_checks"),
            options: has("options"),
            exclude: exclude.and_then(|exclude| self.exclusion(exclude, patterns, notes)),
        }
    }

    /// `None`: something is wrong with it, which has been noted.
    fn exclusion(
        &mut self,
        (at, spec): &(Place, OnlySpec),
        patterns: &Patterns,
        notes: &mut Diagnostics,
    ) -> Option<Arc<Exclusion>> {
        let OnlySpec { methods, headers, query, clients } = spec;
        let before = notes.len();
        let conditions = routes::conditions(methods, headers, query, clients, patterns, notes)?;
        if conditions.is_empty() {
            notes.push(
                Diagnostic::error(*at, "`exclude` asks nothing: it would leave out every request")
                    .hint("give it `methods`, `headers`, `query` or `clients`"),
            );
        }
        if notes.len() > before {
            return None;
        }
        if let Some(known) = self.0.iter().find(|known| known.conditions == conditions) {
            return Some(Arc::clone(known));
        }
        if self.0.len() == MOST {
            notes.push(Diagnostic::error(*at, format!("more than {MOST} different `exclude`")));
            return None;
        }
        let exclusion = Arc::new(Exclusion { place: self.0.len() as u8, conditions });
        self.0.push(Arc::clone(&exclusion));
        Some(exclusion)
    }
}

/// An SLO that names a route of which it counts nothing.
pub(super) fn warn(scenario: &Scenario, plan: &Plan, notes: &mut Diagnostics) {
    for (spec, slo) in scenario.slos.iter().zip(&plan.slos) {
        let nothing_of = |name: &str| {
            let route = plan.routes.iter().find(|route| &*route.name == name)?;
            let (why, word) = never_counts(&slo.valid, route)?;
            let message = format!("SLO `{}` counts nothing of route `{name}`: {why}", slo.name);
            Some((message, format!("`include = [\"{word}\"]` counts them")))
        };
        let mut note = |at, found: Option<(String, String)>| {
            if let Some((message, hint)) = found {
                notes.push(Diagnostic::warning(at, message).hint(hint));
            }
        };
        if spec.routes.is_empty() || spec.routes.iter().any(|name| name.value == "*") {
            // Taken in with the others; but there are no others.
            if let [route] = &*slo.counts {
                note(spec.name.at, nothing_of(route));
            }
            continue;
        }
        for name in &spec.routes {
            note(name.at, nothing_of(&name.value));
        }
    }
}

/// All that a route takes is left out: why, and what `include` would say.
fn never_counts(valid: &Valid, route: &Route) -> Option<(&'static str, &'static str)> {
    let rule = route.rule.as_ref()?;
    let methods = &rule.conditions.methods;
    if !valid.health_checks && condition::is_health_path(&some_path(&rule.path)) {
        Some(("it takes health checks", "health_checks"))
    } else if !valid.options && !methods.is_empty() && methods.iter().all(|m| m == Method::OPTIONS)
    {
        Some(("it takes OPTIONS", "options"))
    } else {
        None
    }
}

/// One that fits.
fn some_path(path: &[Segment]) -> String {
    let segments = path.iter().map(|segment| match segment {
        Segment::Literal(text) => text,
        Segment::Param | Segment::Rest => "x",
    });
    segments.fold(String::new(), |path, segment| path + "/" + segment)
}
