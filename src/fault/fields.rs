//! Header fields as users write them into answers and edits.

use http::{HeaderName, HeaderValue, header};

use crate::diagnostic::{Diagnostic, Diagnostics, Located};

/// Headers that the proxy itself answers for: written by hand they would break the framing.
const FRAMING: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A field's name, unless it is none or not the user's to change.
pub(super) fn name(name: &Located<String>, notes: &mut Diagnostics) -> Option<HeaderName> {
    let Ok(header) = HeaderName::try_from(name.value.as_str()) else {
        // Not repeated: it may have come from the environment.
        notes.push(Diagnostic::error(name.at, "this is not a header name"));
        return None;
    };
    let hop = matches!(header.as_str(), "keep-alive" | "proxy-connection" | "http2-settings");
    if hop || FRAMING.contains(&header) {
        let note = Diagnostic::error(name.at, "this header cannot be changed");
        notes.push(note.hint("it belongs to the connection, not to the message; leave it out"));
        return None;
    }
    if header.as_str().starts_with("x-backburn-") {
        let note = Diagnostic::error(name.at, "this header cannot be changed");
        notes.push(note.hint("x-backburn-… is how backburn says what it did itself"));
        return None;
    }
    Some(header)
}

/// A name and its value.
pub(super) fn pair(
    field: &(Located<String>, Located<String>),
    notes: &mut Diagnostics,
) -> Option<(HeaderName, HeaderValue)> {
    let (written, value) = field;
    let header = name(written, notes);
    let Ok(value) = HeaderValue::try_from(value.value.as_str()) else {
        let note = Diagnostic::error(value.at, "a header cannot carry this value");
        notes.push(note.hint("line ends and control characters are not allowed"));
        return None;
    };
    header.map(|header| (header, value))
}
