//! Mistakes in a scenario: where, what, and what to write instead; all of them at once.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value as Json, json};

mod discreet;

pub use discreet::{Secret, Secrets, without_passwords};

/// A byte range in one of the [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    pub file: u16,
    pub start: u32,
    pub end: u32,
}

impl Place {
    /// Whether another place lies within this one.
    pub fn holds(self, other: Self) -> bool {
        self.file == other.file && self.start <= other.start && other.end <= self.end
    }
    /// Whether another place begins within this one.
    pub fn touches(self, other: Self) -> bool {
        self.file == other.file && (self.start..=self.end).contains(&other.start)
    }
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
    /// What came from the environment.
    pub secrets: Secrets,
}

/// One text that was read.
#[derive(Debug)]
pub struct Source {
    /// As the user named it.
    pub name: String,
    /// As it may be shown: passwords in URLs are blanked, byte for byte.
    pub text: String,
}

/// How bad it is: an error refuses the scenario, a warning does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake.
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
    /// An error at a place.
    pub fn error(at: Place, message: impl Into<String>) -> Self {
        Self { at: Some(at), ..Self::nowhere(message) }
    }
    /// An error that no text holds: of a file that cannot be read.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            at: None,
            label: String::new(),
            also: None,
            hint: None,
        }
    }
    /// A warning at a place.
    pub fn warning(at: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }
    /// What stands under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
    /// What to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// A second place to show.
    #[must_use]
    pub fn also(mut self, at: Place, label: impl Into<String>) -> Self {
        self.also = Some((at, label.into()));
        self
    }
}

/// Everything found wrong, in file order.
pub type Diagnostics = Vec<Diagnostic>;

/// The most mistakes shown at once; nobody reads more, and each is rendered with its excerpt.
pub const MOST_SHOWN: usize = 100;

impl Sources {
    /// Adds the files of another, and what must not be shown of them.
    pub fn append(&mut self, other: &Self) {
        self.files.extend(other.files.iter().cloned());
        self.secrets = std::mem::take(&mut self.secrets).and(&other.secrets);
    }
    /// Line and column of a place's first character, both from 1, columns in characters.
    pub fn position(&self, at: Place) -> Option<(u32, u32)> {
        let text = self.files.get(usize::from(at.file))?.text.as_str();
        Some(position(text, at.start))
    }
}

fn position(text: &str, offset: u32) -> (u32, u32) {
    let head = text.get(..offset as usize).unwrap_or(text);
    let line = head.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = head.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u32, column as u32)
}

/// Every mistake as a person reads it: message, file, line and column, the line with a caret
/// under the mistake, and what to write instead. Plain text unless `colour`.
pub fn render(notes: &[Diagnostic], sources: &Sources, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut page = String::new();
    for note in notes.iter().take(MOST_SHOWN) {
        page.push_str(&renderer.render(&[group(note, sources)]));
        page.push_str("\n\n");
    }
    if notes.len() > MOST_SHOWN {
        page.push_str("and ");
        page.push_str(&(notes.len() - MOST_SHOWN).to_string());
        page.push_str(" more\n\n");
    }
    // Between mistakes there is an empty line, after the last there is none.
    page.pop();
    page
}

fn group<'a>(note: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let level = match note.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&note.message));
    let source = |at: Place| sources.files.get(usize::from(at.file));
    let label = |text: &'a str| (!text.is_empty()).then_some(text);
    if let Some((at, file)) = note.at.and_then(|at| Some((at, source(at)?))) {
        let snippet = |file: &'a Source| Snippet::source(&file.text).path(&file.name);
        let caret = AnnotationKind::Primary.span(on_one_line(&file.text, at));
        let mut first = snippet(file).annotation(caret.label(label(&note.label)));
        let mut second = None;
        if let Some((also, text)) = &note.also
            && let Some(other) = source(*also)
        {
            let mark = AnnotationKind::Context.span(on_one_line(&other.text, *also));
            let mark = mark.label(label(text));
            if also.file == at.file {
                first = first.annotation(mark);
            } else {
                second = Some(snippet(other).annotation(mark));
            }
        }
        group = group.element(first);
        if let Some(second) = second {
            group = group.element(second);
        }
    }
    if let Some(hint) = &note.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint));
    }
    group
}

/// A caret under many lines shows nothing: the first one is enough. Always on character bounds.
fn on_one_line(text: &str, at: Place) -> Range<usize> {
    let whole = (at.start as usize).min(text.len())..(at.end as usize).min(text.len());
    let Some(shown) = text.get(whole.clone()) else { return 0..0 };
    let end = shown.find(['\n', '\r']).unwrap_or(shown.len());
    whole.start..whole.start + end
}

/// Every mistake as a program reads it: `file`, `line`, `column`, `end` (line and column after
/// the last character), `severity`, `message`, `hint`; places are null where there is none.
pub fn to_json(notes: &[Diagnostic], sources: &Sources) -> Json {
    let each = notes.iter().map(|note| {
        let place = note.at.and_then(|at| Some((at, sources.files.get(usize::from(at.file))?)));
        let start = place.map(|(at, file)| position(&file.text, at.start));
        let end = place.map(|(at, file)| position(&file.text, at.end));
        json!({
            "file": place.map(|(_, file)| &file.name),
            "line": start.map(|(line, _)| line),
            "column": start.map(|(_, column)| column),
            "end": end.map(|(line, column)| json!({ "line": line, "column": column })),
            "severity": match note.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            "message": note.message,
            "hint": note.hint,
        })
    });
    Json::Array(each.collect())
}
