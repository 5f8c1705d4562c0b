//! Upgrades: a handshake that passes the faults like any request, then bytes both ways.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Version, request};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::exchange::Exchange;
use super::upstream::Lease;

/// What a caller wants to speak instead of HTTP.
///
/// HTTP/2 is not passed on: it is offered here, by its own way in. Nor is an upgrade with content,
/// whose end two parties might see at different places.
pub fn wanted(head: &request::Parts) -> Option<HeaderValue> {
    let asks = head.version == Version::HTTP_11
        && names(&head.headers, "upgrade")
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

/// `Connection` names this field.
fn names(headers: &HeaderMap, field: &str) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(field))
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

/// A tunnel about to be dug: the service's end of it, and the exchange, in progress until its end.
#[derive(Debug)]
pub struct Tunnel {
    pub upstream: hyper::upgrade::OnUpgrade,
    pub exchange: Exchange,
    /// Until the service's end is out of HTTP.
    pub lease: Lease,
}

/// Carries bytes both ways until both sides are done, or either breaks off.
pub async fn run<I>(mut client: I, early: Bytes, tunnel: Tunnel)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let Tunnel { upstream, exchange: _exchange, lease } = tunnel;
    let Ok(upstream) = upstream.await else { return };
    drop(lease);
    let mut upstream: TokioIo<Upgraded> = TokioIo::new(upstream);
    // The caller may have spoken before it had the answer.
    if !early.is_empty() && upstream.write_all(&early).await.is_err() {
        return;
    }
    let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
}
