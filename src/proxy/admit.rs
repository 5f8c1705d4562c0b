//! Admission: what a head must be before it is routed. hyper parses strictly but is no gateway: it
//! lets pass what RFC 9110, 9112 and 9113 ask a gateway to refuse.

use std::net::Ipv6Addr;

use http::header::{CONTENT_LENGTH, HOST, HeaderName, MAX_FORWARDS, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, request};

/// Longest method that is one; the longest registered has 18 letters.
pub const METHOD: usize = 32;
/// Longest target, as most servers have it.
pub const TARGET: usize = 8 * 1024;

/// Longest name of a host.
const NAME: usize = 255;

/// Why a head is refused: status, and the reason as counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: &'static str,
}

impl Refusal {
    pub const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

const fn bad(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}

/// Checks a head before routing and returns the host it asks for. `secure`: it came over TLS.
pub fn admit(head: &request::Parts, secure: bool) -> Result<&str, Refusal> {
    let method = head.method.as_str();
    if method.len() > METHOD {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "long_method"));
    }
    match head.method {
        // No tunnels to anywhere: this is a reverse proxy.
        Method::CONNECT => return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "connect")),
        Method::TRACE => return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "trace")),
        _ => {}
    }
    let host = if head.version == Version::HTTP_2 {
        fields_of_h2(&head.headers)?;
        host_of_h2(head)?
    } else {
        framing(&head.headers)?;
        host_of_h1(head, secure)?
    };
    target(&head.method, &head.uri)?;
    Ok(host)
}

/// RFC 9112 6.1: one coding, `chunked`. Anything else frames the message differently for whoever
/// comes next.
fn framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(bad("bad_transfer_encoding")),
    }
}

/// What is one field or none for HTTP/1, where it will be framed by it, and what a field may not be
/// (RFC 9113 8.2.1): blanks at its ends would be gone at the next hop.
fn fields_of_h2(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(bad("many_lengths"));
    }
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let loose = |value: &HeaderValue| {
        let value = value.as_bytes();
        blank(value.first()) || blank(value.last())
    };
    if headers.values().any(loose) { Err(bad("bad_value")) } else { Ok(()) }
}

/// RFC 9112 3.2: exactly one `Host`, and an absolute target that agrees with it.
fn host_of_h1(head: &request::Parts, secure: bool) -> Result<&str, Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => valid_host(host)?,
        // There, it need not be (RFC 1945); the service is told its own name.
        (None, _) if head.version == Version::HTTP_10 && head.uri.authority().is_none() => "",
        (None, _) => return Err(bad("no_host")),
        (Some(_), Some(_)) => return Err(bad("many_hosts")),
    };
    if let Some(target) = head.uri.authority() {
        let scheme = if secure { "https" } else { "http" };
        if head.uri.scheme_str() != Some(scheme) {
            return Err(bad("bad_target"));
        }
        if !target.as_str().eq_ignore_ascii_case(host) {
            return Err(bad("target_host_differs"));
        }
    }
    Ok(host)
}

/// RFC 9113 8.3.1: `:authority`, or `Host` without one; both only if they agree.
fn host_of_h2(head: &request::Parts) -> Result<&str, Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (host, None) => host.map(valid_host).transpose()?,
        (_, Some(_)) => return Err(bad("many_hosts")),
    };
    match (head.uri.authority(), host) {
        (Some(authority), host) => {
            let authority = authority.as_str();
            if !is_host(authority) {
                return Err(bad("bad_host"));
            }
            if !matches!(head.uri.scheme_str(), Some("http" | "https")) {
                return Err(bad("bad_target"));
            }
            if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
                return Err(bad("target_host_differs"));
            }
            Ok(authority)
        }
        (None, Some(host)) => Ok(host),
        (None, None) => Err(bad("no_host")),
    }
}

fn valid_host(value: &HeaderValue) -> Result<&str, Refusal> {
    value.to_str().ok().filter(|host| is_host(host)).ok_or(bad("bad_host"))
}

/// `host[:port]`, without a user (RFC 9110 7.2, 4.2.4): a name in the characters that names have, or
/// an address. RFC 3986 would let pass `a,b`, which the next server may take for a list.
fn is_host(host: &str) -> bool {
    let (sound, port) = if let Some(rest) = host.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        (address.parse::<Ipv6Addr>().is_ok(), after)
    } else {
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        (is_name(name), port)
    };
    sound && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// No longer than names are (RFC 1035 2.3.4), and nothing in them is empty but what follows a last
/// dot.
fn is_name(name: &str) -> bool {
    let mut before = b'.';
    let sound = name.bytes().all(|byte| {
        let fits = byte.is_ascii_alphanumeric()
            || b"-_~".contains(&byte)
            || (byte == b'.' && before != b'.');
        before = byte;
        fits
    });
    sound && (1..=NAME).contains(&name.len())
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// RFC 9112 3.2: origin form, or the asterisk of OPTIONS, in characters that are those of a URI.
fn target(method: &Method, uri: &Uri) -> Result<(), Refusal> {
    let path = uri.path();
    let length = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > TARGET {
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "long_target"));
    }
    let origin_form = path.starts_with('/') || (*method == Method::OPTIONS && path == "*");
    let query_ok = uri.query().is_none_or(str::is_ascii);
    if origin_form && query_ok && is_clean(path.as_bytes()) {
        Ok(())
    } else {
        Err(bad("bad_target"))
    }
}

/// ASCII, every escape whole, and none that a C program would take for the end.
fn is_clean(path: &[u8]) -> bool {
    let mut left = path;
    while let [byte, after @ ..] = left {
        left = after;
        if *byte == b'%' {
            match after {
                [b'0', b'0', ..] => return false,
                [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    left = rest;
                }
                _ => return false,
            }
        } else if !byte.is_ascii() {
            return false;
        }
    }
    true
}

/// Whether the request is for the proxy itself: `OPTIONS *`, or OPTIONS that may go no further.
pub fn is_for_us(head: &request::Parts) -> bool {
    head.method == Method::OPTIONS
        && (head.uri.path() == "*" || hops_left(&head.headers) == Some(0))
}

/// How many hops it may still make; more than can be counted are as good as all that can.
fn hops_left(headers: &HeaderMap) -> Option<u32> {
    let left = headers.get(MAX_FORWARDS)?.to_str().ok()?;
    let is_number = !left.is_empty() && left.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| left.parse().unwrap_or(u32::MAX))
}

/// RFC 9110 7.6.2: OPTIONS says how many hops it may still make.
pub fn count_down(head: &mut request::Parts) {
    if head.method != Method::OPTIONS {
        return;
    }
    if let Some(left) = hops_left(&head.headers) {
        head.headers.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

/// Fields that frame, route or authenticate, and so must not come after the body (RFC 9110 6.5.1).
pub fn filter_trailers(trailers: &mut HeaderMap) {
    use http::header as h;
    const NEVER: [HeaderName; 19] = [
        h::AUTHORIZATION,
        h::CACHE_CONTROL,
        h::CONNECTION,
        h::CONTENT_ENCODING,
        h::CONTENT_LENGTH,
        h::CONTENT_RANGE,
        h::CONTENT_TYPE,
        h::COOKIE,
        h::EXPECT,
        h::HOST,
        h::MAX_FORWARDS,
        h::PROXY_AUTHENTICATE,
        h::PROXY_AUTHORIZATION,
        h::RANGE,
        h::SET_COOKIE,
        h::TE,
        h::TRAILER,
        h::TRANSFER_ENCODING,
        h::UPGRADE,
    ];
    for name in NEVER {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn head(version: Version, method: &str, target: &str, hosts: &[&str]) -> request::Parts {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    type Case<'a> = (Version, &'a str, &'a str, &'a [&'a str], Option<&'a str>);

    #[test]
    fn admission() {
        let long = format!("/{}", "a".repeat(TARGET));
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        let cases: [Case<'_>; 43] = [
            (one, "GET", "/a", &["t"], None),
            (one, "GET", "/a", &["t:80"], None),
            (one, "GET", "/a", &["[::1]:80"], None),
            (one, "GET", "/a", &["[::1]"], None),
            (one, "GET", "http://t/a", &["T"], None),
            (one, "OPTIONS", "*", &["t"], None),
            (one, "GET", "/a%2fb;c=1?d=100%", &["t"], None),
            (one, "BREW", "/a", &["t"], None),
            (one, "GET", "/a", &[], Some("no_host")),
            (one, "GET", "/a", &["t", "t"], Some("many_hosts")),
            (one, "GET", "/a", &["user@evil"], Some("bad_host")),
            (one, "GET", "/a", &["t:99999"], Some("bad_host")),
            (one, "GET", "/a", &["a b"], Some("bad_host")),
            (one, "GET", "/a", &[""], Some("bad_host")),
            (one, "GET", "/a", &["[::1]x"], Some("bad_host")),
            (one, "GET", "/a", &["[t]"], Some("bad_host")),
            (one, "GET", "/a", &["::1"], Some("bad_host")),
            (one, "GET", "/a", &["t:+80"], Some("bad_host")),
            (one, "GET", "/a", &["t:"], Some("bad_host")),
            (one, "GET", "/a", &["a..b"], Some("bad_host")),
            (one, "GET", "/a", &["."], Some("bad_host")),
            (one, "GET", "/a", &["a.b."], None),
            (one, "GET", "http://evil/a", &["t"], Some("target_host_differs")),
            (one, "GET", "https://t/a", &["t"], Some("bad_target")),
            (one, "GET", "evil:80", &["evil:80"], Some("bad_target")),
            (one, "GET", "*", &["t"], Some("bad_target")),
            (one, "GET", "/a%00", &["t"], Some("bad_target")),
            (one, "GET", "/a%zz", &["t"], Some("bad_target")),
            (one, "GET", "/a%4", &["t"], Some("bad_target")),
            (one, "GET", "/ä", &["t"], Some("bad_target")),
            (one, "GET", "/a?ä", &["t"], Some("bad_target")),
            (one, "GET", &long, &["t"], Some("long_target")),
            (Version::HTTP_10, "GET", "/a", &[], None),
            (Version::HTTP_10, "GET", "/a", &["t", "t"], Some("many_hosts")),
            (one, "TRACE", "/a", &["t"], Some("trace")),
            (one, "CONNECT", "t:1", &["t:1"], Some("connect")),
            (two, "GET", "http://t/a", &[], None),
            (two, "GET", "https://t/a", &["T"], None),
            (two, "GET", "/a", &["t"], None),
            (two, "GET", "http://t/a", &["u"], Some("target_host_differs")),
            (two, "GET", "http://u@t/a", &[], Some("bad_host")),
            (two, "GET", "ftp://t/a", &[], Some("bad_target")),
            (two, "GET", "/a", &[], Some("no_host")),
        ];
        for (version, method, target, hosts, reason) in cases {
            let head = head(version, method, target, hosts);
            let refused = admit(&head, false).err().map(|refusal| refusal.reason);
            assert_eq!(refused, reason, "{version:?} {method} {target} {hosts:?}");
        }
        let secure = head(one, "GET", "https://t/a", &["t"]);
        assert_eq!(admit(&secure, true), Ok("t"));
    }

    #[test]
    fn fields_of_http2() {
        for (fields, reason) in [
            (&[("content-length", "3")][..], None),
            (&[("content-length", "3"), ("content-length", "3")], Some("many_lengths")),
            (&[("x-a", " b")], Some("bad_value")),
            (&[("x-a", "b\t")], Some("bad_value")),
            (&[("x-a", "b c"), ("x-b", "")], None),
        ] {
            let mut head = head(Version::HTTP_2, "POST", "http://t/a", &[]);
            for (name, value) in fields {
                head.headers.append(*name, HeaderValue::from_static(value));
            }
            let refused = admit(&head, false).err().map(|refusal| refusal.reason);
            assert_eq!(refused, reason, "{fields:?}");
        }
    }

    #[test]
    fn one_transfer_coding() {
        let cases: [(&[&str], bool); 6] = [
            (&["chunked"], true),
            (&["Chunked"], true),
            (&[",chunked"], false),
            (&["gzip, chunked"], false),
            (&["chunked", "chunked"], false),
            (&["identity"], false),
        ];
        for (codings, fine) in cases {
            let mut head = head(Version::HTTP_11, "POST", "/a", &["t"]);
            for coding in codings {
                head.headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(admit(&head, false).is_ok(), fine, "{codings:?}");
        }
    }

    #[test]
    fn hops_are_counted_down() {
        let mut options = head(Version::HTTP_11, "OPTIONS", "/a", &["t"]);
        options.headers.insert(MAX_FORWARDS, HeaderValue::from_static("2"));
        assert!(!is_for_us(&options));
        for (left, after) in [("99999999999", "4294967294"), ("+1", "+1"), ("", ""), ("2", "1")] {
            options.headers.insert(MAX_FORWARDS, HeaderValue::from_static(left));
            count_down(&mut options);
            assert_eq!(options.headers[MAX_FORWARDS], after);
        }
        count_down(&mut options);
        assert!(is_for_us(&options));
        options.headers.insert(MAX_FORWARDS, HeaderValue::from_static("00"));
        assert!(is_for_us(&options));
    }

    proptest! {
        /// Whatever a host looks like, what is admitted is one host with at most one port.
        #[test]
        fn hosts_are_hosts(host in "[ -~]{0,24}") {
            if is_host(&host) {
                let uri: Uri = format!("http://{host}/").parse().unwrap();
                prop_assert!(!host.contains(['@', '/', ' ', ',']));
                prop_assert_eq!(uri.authority().unwrap().as_str(), host);
                prop_assert_eq!(uri.path(), "/");
            }
        }

        /// A clean path has no escape that is not one.
        #[test]
        fn clean_paths(path in "/[a-z%0-9/.;]{0,24}") {
            let whole = path.split('%').skip(1).all(|after| {
                let digits = after.as_bytes().get(..2);
                digits.is_some_and(|d| d != b"00" && d.iter().all(u8::is_ascii_hexdigit))
            });
            prop_assert_eq!(is_clean(path.as_bytes()), whole);
        }
    }
}
