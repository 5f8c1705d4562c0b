//! Upgrades: a handshake that passes the faults like any request.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Version, request};

use super::headers;

/// What a caller wants to speak instead of HTTP.
///
/// HTTP/2 is not passed on: it is offered here, by its own way in. Nor is an upgrade with content,
/// whose end two parties might see at different places.
pub fn wanted(head: &request::Parts) -> Option<HeaderValue> {
    let asks = head.version == Version::HTTP_11
        && headers::connection_says(&head.headers, "upgrade")
        && !head.headers.contains_key(TRANSFER_ENCODING)
        && head.headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
    let protocol = head.headers.get(UPGRADE).filter(|_| asks)?;
    let is_http = protocol
        .to_str()
        .ok()?
        .split(',')
        .any(|one| ["h2c", "h2"].contains(&one.trim()) || one.trim().starts_with("HTTP/"));
    (!is_http).then(|| protocol.clone())
}

/// Says what is wanted, or granted, on the next hop.
pub fn ask(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// The protocol that a service has switched to, if it is one of those that were wanted.
pub fn granted(answer: &HeaderMap, wanted: &HeaderValue) -> Option<HeaderValue> {
    let granted = answer.get(UPGRADE)?;
    let one = granted.to_str().ok()?.trim();
    let wanted = wanted.to_str().ok()?;
    let known = wanted.split(',').any(|want| want.trim().eq_ignore_ascii_case(one));
    known.then(|| granted.clone())
}

/// It is a WebSocket from here on (RFC 6455).
pub fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}
