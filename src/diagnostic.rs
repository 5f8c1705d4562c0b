//! Mistakes in a scenario: where, what, and what to write instead; all of them at once.

use std::sync::Arc;

/// A byte range in one of the [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    pub file: u16,
    pub start: u32,
    pub end: u32,
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    pub value: T,
    pub at: Place,
}

/// The files that were read, in the order given; places refer to them by index.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub files: Vec<Arc<Source>>,
}

#[derive(Debug)]
pub struct Source {
    /// As the user named it.
    pub name: String,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// What is wrong; lower case, no full stop.
    pub message: String,
    pub at: Option<Place>,
    /// Under the caret; may be empty.
    pub label: String,
    /// A second place to show, with its label ("first defined here").
    pub also: Option<(Place, String)>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Diagnostic {
    pub fn error(at: Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            at: Some(at),
            label: String::new(),
            also: None,
            hint: None,
        }
    }
    pub fn warning(at: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    #[must_use]
    pub fn also(mut self, at: Place, label: impl Into<String>) -> Self {
        self.also = Some((at, label.into()));
        self
    }
}

/// Everything found wrong, in file order.
pub type Diagnostics = Vec<Diagnostic>;

impl Sources {
    /// Line and column, from 1; columns count characters.
    pub fn line_column(&self, at: Place) -> Option<(usize, usize)> {
        let source = self.files.get(usize::from(at.file))?;
        let before = source.text.get(..at.start as usize)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
}

/// For people: problem, place, excerpt with caret, remedy; one after the other.
pub fn render(notes: &Diagnostics, sources: &Sources, colour: bool) -> String {
    use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for note in notes {
        let level = match note.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(note.message.as_str());
        let mut group = Group::with_title(title);
        let source = |at: Place| {
            let source = sources.files.get(usize::from(at.file))?;
            let length = source.text.len();
            let (start, end) = ((at.start as usize).min(length), (at.end as usize).min(length));
            Some((source, start..end.max(start)))
        };
        if let Some((first, range)) = note.at.and_then(source) {
            let mut snippet =
                Snippet::source(first.text.as_str()).path(first.name.as_str()).fold(true);
            let mut annotation = AnnotationKind::Primary.span(range);
            if !note.label.is_empty() {
                annotation = annotation.label(note.label.as_str());
            }
            snippet = snippet.annotation(annotation);
            match note.also.as_ref().and_then(|(at, label)| Some((source(*at)?, at.file, label))) {
                Some(((_, range), file, label)) if note.at.is_some_and(|at| at.file == file) => {
                    snippet = snippet
                        .annotation(AnnotationKind::Context.span(range).label(label.as_str()));
                    group = group.element(snippet);
                }
                Some(((other, range), _, label)) => {
                    let context = AnnotationKind::Context.span(range).label(label.as_str());
                    let second = Snippet::source(other.text.as_str())
                        .path(other.name.as_str())
                        .fold(true)
                        .annotation(context);
                    group = group.element(snippet).element(second);
                }
                None => group = group.element(snippet),
            }
        }
        if let Some(hint) = &note.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

/// For programs: `[{file, line, column, start, end, severity, message, hint}]`.
pub fn to_json(notes: &Diagnostics, sources: &Sources) -> serde_json::Value {
    let notes = notes.iter().map(|note| {
        let file = note.at.and_then(|at| sources.files.get(usize::from(at.file))).map(|source| &source.name);
        let place = note.at.and_then(|at| sources.line_column(at));
        serde_json::json!({
            "severity": match note.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "message": note.message,
            "file": file,
            "line": place.map(|(line, _)| line),
            "column": place.map(|(_, column)| column),
            "start": note.at.map(|at| at.start),
            "end": note.at.map(|at| at.end),
            "hint": note.hint,
        })
    });
    notes.collect()
}
