//! What is spoken to a service.

use crate::diagnostic::Located;
use crate::document::{Key, Table, Value};

/// What is spoken to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/2 for gRPC that came in as HTTP/2.
    #[default]
    Auto,
    Http1,
    H2,
}

pub(super) const PROTOCOL: Key = Key::new(
    "protocol",
    Value::Word(&["auto", "http1", "h2"]),
    "What is spoken to it; `auto`: `h2` for gRPC that came in as HTTP/2.",
)
.default("\"auto\"");

pub(super) fn protocol(table: &mut Table<'_, '_>) -> Option<Located<Protocol>> {
    table.word("protocol").map(|Located { value, at }| {
        let value = match value {
            "http1" => Protocol::Http1,
            "h2" => Protocol::H2,
            _ => Protocol::Auto,
        };
        Located { value, at }
    })
}
