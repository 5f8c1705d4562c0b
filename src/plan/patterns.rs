//! Every regular expression of a scenario, compiled once however often it is written.

use std::collections::HashMap;

use super::condition::Pattern;
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::scenario::{MatchSpec, Says, Scenario, SliSpec};

/// The most different ones: each may take a megabyte and some milliseconds, at each reload.
const MOST: usize = 256;

/// By text; `None`: there is something wrong with it, which has been noted.
#[derive(Debug, Default)]
pub(super) struct Patterns(HashMap<String, Option<Pattern>>);

impl Patterns {
    pub(super) fn compile(scenario: &Scenario, notes: &mut Diagnostics) -> Self {
        let mut patterns = Self::default();
        for route in &scenario.routes {
            patterns.read(&route.headers, notes);
            patterns.read(&route.query, notes);
        }
        for fault in &scenario.faults {
            patterns.read(&fault.only.headers, notes);
            patterns.read(&fault.only.query, notes);
        }
        for slo in &scenario.slos {
            if let Some((_, exclude)) = &slo.exclude {
                patterns.read(&exclude.headers, notes);
                patterns.read(&exclude.query, notes);
            }
            let Some(SliSpec::Correctness(spec)) = slo.sli.as_ref().map(|sli| &sli.value) else {
                continue;
            };
            patterns.read(&spec.header, notes);
            if let Some(text) = &spec.body_regex {
                patterns.add(&text.value, text.at, notes);
            }
        }
        patterns
    }

    fn read(&mut self, specs: &[MatchSpec], notes: &mut Diagnostics) {
        for spec in specs {
            if let Says::Regex(text) = &spec.says.value {
                self.add(text, spec.says.at, notes);
            }
        }
    }

    fn add(&mut self, text: &str, at: Place, notes: &mut Diagnostics) {
        if self.0.contains_key(text) {
            return;
        }
        let made = match self.0.len() {
            ..MOST => Pattern::new(text).map_err(|why| format!("not a regular expression: {why}")),
            MOST => Err(format!("more than {MOST} different regular expressions")),
            _ => return,
        };
        if let Err(message) = &made {
            notes.push(Diagnostic::error(at, message.clone()));
        }
        self.0.insert(text.to_owned(), made.ok());
    }

    pub(super) fn get(&self, text: &str) -> Option<Pattern> {
        self.0.get(text)?.clone()
    }
}
