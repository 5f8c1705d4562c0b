//! How a service is spoken to.

use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::scenario::Protocol;

/// What is spoken; `h2c://` says it in the URL.
pub(super) fn protocol(
    url: &str,
    written: Option<&Located<Protocol>>,
    notes: &mut Diagnostics,
) -> Protocol {
    if !url.starts_with("h2c://") {
        return written.map_or(Protocol::Auto, |protocol| protocol.value);
    }
    if let Some(other) = written.filter(|protocol| protocol.value != Protocol::H2) {
        let note = Diagnostic::error(other.at, "`h2c://` says `protocol = \"h2\"` already");
        notes.push(note.hint("write `http://`, or leave `protocol` out"));
    }
    Protocol::H2
}
