//! Strings with rules of their own: names and URLs.

use crate::diagnostic::{Diagnostic, Place, without_passwords};
use crate::units;

/// What is wrong with a value, before it is known where it stands.
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Wrong {
    pub(super) fn at(self, at: Place) -> Diagnostic {
        Diagnostic { hint: self.hint, ..Diagnostic::error(at, self.message) }
    }
}

impl From<units::Misread> for Wrong {
    fn from(why: units::Misread) -> Self {
        Self { message: why.message, hint: why.hint }
    }
}

/// Letters, digits, `-`, `_`; at most 63.
pub(super) fn name(text: &str) -> Result<(), Wrong> {
    let rule = "a name has letters, digits, `-` and `_`, at most 63";
    let message = if text.is_empty() {
        "a name cannot be empty".to_owned()
    } else if text.len() > 63 {
        "this name is too long".to_owned()
    } else if text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Ok(());
    } else {
        format!("\"{text}\" is not a name")
    };
    Err(Wrong { message, hint: Some(rule.to_owned()) })
}

/// Scheme and host, no more.
pub(super) fn url(text: &str) -> Result<(), Wrong> {
    let wrong = |hint: &str| {
        Err(Wrong {
            message: format!("\"{text}\" is not a usable URL"),
            hint: Some(hint.to_owned()),
        })
    };
    let like = "a URL has a scheme and a host, such as \"http://127.0.0.1:9000\"";
    let uri = text.parse::<http::Uri>();
    let user = uri.as_ref().ok().and_then(|uri| uri.authority()).map(http::uri::Authority::as_str);
    if without_passwords(text).is_some() || user.is_some_and(|host| host.contains('@')) {
        return Err(Wrong {
            message: format!("\"{text}\" carries a user or a password"),
            hint: Some("leave out what stands before the `@`, and the `@`".to_owned()),
        });
    }
    let Ok(uri) = uri else { return wrong(like) };
    // Whoever asks which scheme it is looks for small letters.
    if uri.scheme_str().is_some_and(|scheme| !text.starts_with(scheme)) {
        return wrong("write its scheme in small letters");
    }
    match (uri.scheme_str(), uri.authority()) {
        (None, _) | (_, None) => wrong(like),
        (Some("http" | "https" | "h2c"), Some(_))
            if !matches!(uri.path(), "" | "/") || uri.query().is_some() =>
        {
            wrong("leave out what follows the host; requests bring their own path")
        }
        (Some("http" | "https" | "h2c"), Some(authority)) if authority.host().is_empty() => {
            wrong(like)
        }
        (Some("http" | "https" | "h2c"), Some(_)) => Ok(()),
        (Some(_), Some(_)) => wrong("http://, https:// and h2c:// services are spoken to"),
    }
}
