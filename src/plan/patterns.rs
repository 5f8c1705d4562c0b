//! Every regular expression of a scenario, compiled once however often it is written.

use std::collections::HashMap;

use super::condition::Pattern;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::scenario::{MatchSpec, Says, Scenario};

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
        patterns
    }

    fn read(&mut self, specs: &[MatchSpec], notes: &mut Diagnostics) {
        for spec in specs {
            let Says::Regex(text) = &spec.says.value else { continue };
            if self.0.contains_key(text) {
                continue;
            }
            let made = match self.0.len() {
                ..MOST => {
                    Pattern::new(text).map_err(|why| format!("not a regular expression: {why}"))
                }
                MOST => Err(format!("more than {MOST} different regular expressions")),
                _ => return,
            };
            if let Err(message) = &made {
                notes.push(Diagnostic::error(spec.says.at, message.clone()));
            }
            self.0.insert(text.clone(), made.ok());
        }
    }

    pub(super) fn get(&self, text: &str) -> Option<Pattern> {
        self.0.get(text)?.clone()
    }
}
