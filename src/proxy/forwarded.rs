//! What a service learns of the caller and of the way a request took: `X-Forwarded-*`,
//! `Forwarded`, `Via`.

use std::cell::RefCell;
use std::sync::Arc;

use http::header::{FORWARDED, HOST, HeaderName, VIA};
use http::{HeaderMap, HeaderValue, Version};

use super::conn::Conn;
use super::headers::Glance;
use crate::plan::proxy::{Forwarded, Proxy};
use crate::plan::{Service, ServiceId};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Tells the service who asks; `headers` still has the `Host` asked for.
pub fn tell(headers: &mut HeaderMap, seen: Glance, proxy: &Proxy, conn: &Conn) {
    if proxy.forwarded == Forwarded::Off {
        return;
    }
    let trusted = proxy.forwarded == Forwarded::Append
        && !proxy.trusted_proxies.is_empty()
        && conn.peer.is_some_and(|peer| proxy.trusts(peer.ip()));
    let proto = HeaderValue::from_static(if conn.is_secure() { "https" } else { "http" });
    let host = headers.get(HOST).cloned();
    if seen.has(Glance::FORWARDED) {
        if trusted {
            let element = element(conn, host.as_ref());
            append(headers, FORWARDED, element);
        } else {
            headers.remove(FORWARDED);
        }
    }
    let peer = conn.peer_text();
    if trusted && headers.contains_key(FOR) {
        append(headers, FOR, peer);
    } else if let Some(peer) = peer {
        headers.insert(FOR, peer);
    } else {
        headers.remove(FOR);
    }
    if !trusted || !headers.contains_key(PROTO) {
        headers.insert(PROTO, proto);
    }
    if let Some(host) = host
        && (!trusted || !headers.contains_key(X_HOST))
    {
        headers.insert(X_HOST, host);
    }
}

/// One more at the end of a list, in one field line: some services read only the first.
fn append(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    let Some(value) = value else { return };
    let mut list: Vec<u8> = Vec::new();
    for part in headers.get_all(&name).iter().chain([&value]) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(part.as_bytes());
    }
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(name, list);
    }
}

/// RFC 7239 4: one hop.
fn element(conn: &Conn, host: Option<&HeaderValue>) -> Option<HeaderValue> {
    let peer = conn.peer?.ip().to_canonical();
    let by = if peer.is_ipv6() { format!("\"[{peer}]\"") } else { peer.to_string() };
    let proto = if conn.is_secure() { "https" } else { "http" };
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    HeaderValue::try_from(format!("for={by};host=\"{host}\";proto={proto}")).ok()
}

/// The marks this process leaves in `Via`. One a service: a request may well come by twice, once
/// on its way to checkout and once from checkout to payments; the same service twice is a loop.
#[derive(Debug)]
pub struct Vias {
    instance: u64,
    by_service: RefCell<Vec<Option<Mark>>>,
}

#[derive(Debug)]
struct Mark {
    service: Arc<str>,
    pseudonym: String,
    /// For requests that came as HTTP/1.1, and as HTTP/2.
    values: [HeaderValue; 2],
}

impl Vias {
    /// `instance` tells this process from others.
    pub fn new(instance: u64) -> Self {
        Self { instance, by_service: RefCell::default() }
    }

    /// The service has had this request already.
    pub fn is_loop(&self, headers: &HeaderMap, id: ServiceId, service: &Service) -> bool {
        self.with(id, service, |mark| {
            headers
                .get_all(VIA)
                .iter()
                .filter_map(|via| via.to_str().ok())
                .flat_map(|via| via.split(','))
                .any(|hop| hop.split_ascii_whitespace().nth(1) == Some(&mark.pseudonym))
        })
    }

    /// Leaves the service's mark.
    pub fn sign(
        &self,
        headers: &mut HeaderMap,
        version: Version,
        id: ServiceId,
        service: &Service,
    ) {
        let h2 = usize::from(version == Version::HTTP_2);
        let value = self.with(id, service, |mark| mark.values[h2].clone());
        headers.append(VIA, value);
    }

    fn with<T>(&self, id: ServiceId, service: &Service, see: impl FnOnce(&Mark) -> T) -> T {
        let mut marks = self.by_service.borrow_mut();
        let id = usize::from(id);
        if marks.len() <= id {
            marks.resize_with(id + 1, || None);
        }
        // A reload may have given the id to another service.
        if !marks[id].as_ref().is_some_and(|mark| Arc::ptr_eq(&mark.service, &service.name)) {
            marks[id] = None;
        }
        see(marks[id].get_or_insert_with(|| self.mark(&service.name)))
    }

    fn mark(&self, service: &Arc<str>) -> Mark {
        let pseudonym = format!("backburn-{:016x}-{service}", self.instance);
        // Names of services are letters, digits, `-` and `_`.
        let value = |version| {
            HeaderValue::try_from(format!("{version} {pseudonym}"))
                .unwrap_or_else(|_| HeaderValue::from_static("1.1 backburn"))
        };
        Mark { service: Arc::clone(service), values: [value("1.1"), value("2")], pseudonym }
    }
}
