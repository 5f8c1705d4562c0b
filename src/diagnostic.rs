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
