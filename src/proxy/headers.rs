//! What may pass: admission of a request head, and the fields that belong to one hop only.

use http::header::{
    CONNECTION, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, request};

/// Names the fault that hit a request, on its answer.
pub const FAULT: HeaderName = HeaderName::from_static("x-backburn-fault");
/// Says why backburn itself made an answer: a refusal, or an upstream it could not reach.
pub const ERROR: HeaderName = HeaderName::from_static("x-backburn-error");

/// Why a head is refused: status, and the reason as counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: &'static str,
}

const fn refuse(status: StatusCode, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

/// Checks a head before routing and returns the host it asks for (RFC 9112 3.2).
pub fn admit(head: &request::Parts) -> Result<&str, Refusal> {
    match head.method {
        // No tunnels: this is a reverse proxy.
        Method::CONNECT => return Err(refuse(StatusCode::NOT_IMPLEMENTED, "connect")),
        Method::TRACE => return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "trace")),
        _ => {}
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            host.to_str().map_err(|_| refuse(StatusCode::BAD_REQUEST, "bad_host"))?
        }
        (None, _) => return Err(refuse(StatusCode::BAD_REQUEST, "no_host")),
        (Some(_), Some(_)) => return Err(refuse(StatusCode::BAD_REQUEST, "many_hosts")),
    };
    let bad = refuse(StatusCode::BAD_REQUEST, "bad_host");
    let authority: Authority = host.parse().map_err(|_| bad)?;
    let port_ok = authority.port_u16().is_some() || !has_port(host);
    if host.contains('@') || authority.host().is_empty() || !port_ok {
        return Err(bad);
    }
    if let Some(target) = head.uri.authority() {
        if head.uri.scheme_str() != Some("http") || !target.as_str().eq_ignore_ascii_case(host) {
            return Err(refuse(StatusCode::BAD_REQUEST, "target_host_differs"));
        }
    } else if !is_target(&head.method, head.uri.path()) {
        return Err(refuse(StatusCode::BAD_REQUEST, "bad_target"));
    }
    Ok(host)
}

/// Origin form, or the asterisk of OPTIONS (RFC 9112 3.2).
fn is_target(method: &Method, path: &str) -> bool {
    path.starts_with('/') || (*method == Method::OPTIONS && path == "*")
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

/// Removes what belongs to one hop (RFC 9110 7.6.1, 11.7), both ways: the named fields, and those
/// that `Connection` names, but for fields whose loss would change who is asked or how much is read.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    const NOT_NOMINABLE: [HeaderName; 4] =
        [HOST, http::header::CONTENT_LENGTH, TRANSFER_ENCODING, http::header::CACHE_CONTROL];
    if headers.contains_key(CONNECTION) {
        let nominated: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| !NOT_NOMINABLE.contains(name))
            .collect();
        let keeps_trailers = te_trailers(headers);
        for name in nominated {
            headers.remove(name);
        }
        if keeps_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        headers.remove(CONNECTION);
    } else if headers.contains_key(TE) {
        let keeps_trailers = te_trailers(headers);
        headers.remove(TE);
        if keeps_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    for name in [TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        headers.remove(name);
    }
}

fn te_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// The head as the upstream gets it.
pub fn towards_upstream(headers: &mut HeaderMap, host: Option<&str>) {
    strip_hop_by_hop(headers);
    // 100-continue is answered here, when the body is first read.
    headers.remove(EXPECT);
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
        headers.insert(HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(method: &str, target: &str, hosts: &[&str]) -> request::Parts {
        let mut request = Request::builder().method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn admission() {
        let cases: [(&str, &str, &[&str], Option<&str>); 14] = [
            ("GET", "/a", &["t"], None),
            ("GET", "/a", &["t:80"], None),
            ("GET", "/a", &["[::1]:80"], None),
            ("GET", "/a", &["[::1]"], None),
            ("GET", "http://t/a", &["T"], None),
            ("OPTIONS", "*", &["t"], None),
            ("GET", "/a", &[], Some("no_host")),
            ("GET", "/a", &["t", "t"], Some("many_hosts")),
            ("GET", "/a", &["user@evil"], Some("bad_host")),
            ("GET", "/a", &["t:99999"], Some("bad_host")),
            ("GET", "/a", &["a b"], Some("bad_host")),
            ("GET", "http://evil/a", &["t"], Some("target_host_differs")),
            ("GET", "*", &["t"], Some("bad_target")),
            ("TRACE", "/a", &["t"], Some("trace")),
        ];
        for (method, target, hosts, reason) in cases {
            let head = head(method, target, hosts);
            assert_eq!(
                admit(&head).err().map(|refusal| refusal.reason),
                reason,
                "{method} {target} {hosts:?}"
            );
        }
    }

    #[test]
    fn one_hop_fields_stop_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-secret, host, content-length"),
            ("host", "t"),
            ("content-length", "3"),
            ("x-secret", "s"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "x"),
            ("x-kept", "1"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers.append("x-kept", HeaderValue::from_static("2"));
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("content-length", "3"),
                ("host", "t"),
                ("te", "trailers"),
                ("x-kept", "1"),
                ("x-kept", "2")
            ]
        );
    }
}
