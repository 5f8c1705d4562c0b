//! Other tools' files: one file a format. What is written for people is a scenario as a person would
//! write it, and what has no equivalent is told twice: in it, and to whoever asked for it.

mod document;
mod draft;
mod envoy;
pub mod grafana;
pub mod history;
mod istio;
pub mod openslo;
pub mod prometheus;
pub mod proof;
pub mod record;
#[cfg(test)]
mod tests;
mod toxiproxy;

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity, Source, Sources, without_passwords};
use draft::Draft;

pub use draft::quoted;
pub use envoy::FORMAT as ENVOY_FAULT;
pub use toxiproxy::FORMAT as TOXIPROXY;

/// The largest file that is read, in bytes.
pub const LARGEST_FILE: u64 = 16 << 20;

/// What keeps a part of a file from being read.
type Wrong = Box<Diagnostic>;

/// Rules of another tool.
#[derive(Debug)]
pub struct Format {
    /// As the verb calls it.
    verb: &'static str,
    /// What in general is different here, whatever the rules say.
    differences: &'static [&'static str],
    /// From documents to a draft of the scenario.
    read: fn(&[document::Node], &mut Draft<'_>),
}

/// What came of a file.
#[derive(Debug)]
pub struct Imported {
    /// The file, for the notes' places.
    pub sources: Sources,
    /// Errors: what is wrong with the file. Warnings: what has no equivalent.
    pub notes: Diagnostics,
    /// The scenario, as text; `None` where there are errors.
    pub scenario: Option<String>,
}

impl Format {
    /// Turns a text into a scenario that `backburn check` finds no mistake in, or says why not.
    pub fn import(&self, name: &str, text: &str) -> Imported {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let shown = without_passwords(text).unwrap_or_else(|| text.to_owned());
        let source = Source { name: name.to_owned(), text: shown };
        let sources = Sources { files: vec![Arc::new(source)], ..Sources::default() };
        let mut draft = Draft::new(&sources);
        match document::parse(text) {
            Ok(documents) => (self.read)(&documents, &mut draft),
            Err(wrong) => draft.notes.push(*wrong),
        }
        let scenario = draft.written(name, self.verb, self.differences);
        let mut notes = draft.notes;
        notes.sort_by_key(|note| (note.at, note.severity));
        let failed = notes.iter().any(|note| note.severity == Severity::Error);
        // Each part has been held against the language; this is for what only the whole can show.
        let wrong = if failed { None } else { mistake(&scenario) };
        if let Some(wrong) = &wrong {
            let message = format!("what came out is no scenario: {}", wrong.message);
            notes.push(Diagnostic { hint: wrong.hint.clone(), ..Diagnostic::nowhere(message) });
        }
        let scenario = (!failed && wrong.is_none()).then_some(scenario);
        Imported { sources, notes, scenario }
    }
}

/// The first mistake of a scenario.
fn mistake(text: &str) -> Option<Diagnostic> {
    let (scenario, mut notes) = crate::scenario::read(vec![(String::new(), text.to_owned())], &[]);
    let is_error = |note: &Diagnostic| note.severity == Severity::Error;
    if !notes.iter().any(is_error) {
        notes = crate::plan::compile(&scenario).1;
    }
    notes.into_iter().find(is_error)
}
