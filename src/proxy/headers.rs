//! The fields that belong to one hop only, and those that tell of backburn.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Version, request};

/// Names the fault that hit a request, on its answer.
pub const FAULT: HeaderName = HeaderName::from_static("x-backburn-fault");
/// Says why backburn itself made an answer: a refusal, or an upstream it could not reach.
pub const ERROR: HeaderName = HeaderName::from_static("x-backburn-error");

// Names from text would be parsed anew for every message.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Which of the rare fields a head has, seen in one pass: to look for each, its name would be
/// hashed, once for every message that has none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance(u8);

impl Glance {
    /// One that belongs to this hop only.
    pub const HOP: u8 = 1;
    pub const EXPECT: u8 = 1 << 1;
    pub const VIA: u8 = 1 << 2;
    pub const FORWARDED: u8 = 1 << 3;
    pub const TRAILER: u8 = 1 << 4;
    pub const LENGTH: u8 = 1 << 5;

    pub fn at(headers: &HeaderMap) -> Self {
        let seen = headers.keys().map(|name| match name.as_str() {
            "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-authenticate"
            | "proxy-authorization" => Self::HOP,
            "expect" => Self::EXPECT,
            "via" => Self::VIA,
            "forwarded" => Self::FORWARDED,
            "trailer" => Self::TRAILER,
            "content-length" => Self::LENGTH,
            _ => 0,
        });
        Self(seen.fold(0, |all, one| all | one))
    }

    pub fn has(self, fields: u8) -> bool {
        self.0 & fields != 0
    }
}

/// Removes what belongs to one hop (RFC 9110 7.6.1, 11.7), both ways: the named fields, and those
/// that `Connection` names, but for fields whose loss would change who is asked or how much is read.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    const NOT_NOMINABLE: [HeaderName; 4] =
        [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, http::header::CACHE_CONTROL];
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
    headers.remove(TE);
    if keeps_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS] {
        headers.remove(name);
    }
}

/// `Connection` says this.
pub fn connection_says(headers: &HeaderMap, field: &str) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(field))
}

/// No request follows on its connection (RFC 9112 9.3).
pub fn is_last(head: &request::Parts, seen: Glance) -> bool {
    let says = |what| seen.has(Glance::HOP) && connection_says(&head.headers, what);
    match head.version {
        Version::HTTP_10 => !says("keep-alive"),
        Version::HTTP_11 => says("close"),
        _ => false,
    }
}

/// The sender takes trailers.
pub fn te_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// The head as the upstream gets it.
pub fn towards_upstream(headers: &mut HeaderMap, seen: Glance, h2: bool) {
    if seen.has(Glance::HOP) {
        strip_hop_by_hop(headers);
        if headers.contains_key(TE) && !h2 {
            // It belongs to this hop too (RFC 9110 10.1.4).
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if seen.has(Glance::EXPECT) {
        // 100-continue is answered here, when the body is first read.
        headers.remove(EXPECT);
    }
}

/// How an answer says where it ends, by its `Transfer-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// It has none.
    Plain,
    Chunked,
    /// None to be relied on.
    Unsound,
}

/// A length said several times over is said once (RFC 9110 8.6). False: it is none, or several.
fn one_length(headers: &mut HeaderMap) -> bool {
    let is_number = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let (Some(first), None) = (lengths.next(), lengths.next())
        && is_number(first.as_bytes())
    {
        return true;
    }
    let lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut each = lengths.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let first = each.next().unwrap_or_default().trim_ascii();
    if !is_number(first) || each.any(|other| other.trim_ascii() != first) {
        return false;
    }
    let Ok(first) = HeaderValue::from_bytes(first) else { return false };
    headers.insert(CONTENT_LENGTH, first);
    true
}

/// The head as the caller gets it, and what framed it on its way here.
pub fn towards_caller(headers: &mut HeaderMap, trailers: bool) -> Framing {
    let seen = Glance::at(headers);
    if seen.has(Glance::TRAILER) && !trailers {
        headers.remove(TRAILER);
    }
    if seen.has(Glance::LENGTH) && !one_length(headers) {
        return Framing::Unsound;
    }
    if !seen.has(Glance::HOP) {
        return Framing::Plain;
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let framing = match (codings.next(), codings.next()) {
        (None, _) => Framing::Plain,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Framing::Chunked
        }
        _ => Framing::Unsound,
    };
    if framing != Framing::Plain {
        // RFC 9112 6.3: the length is a lie then.
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(headers);
    framing
}

/// RFC 9113 8.2.3: HTTP/2 may send cookies one by one, HTTP/1.1 must not.
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(_)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in headers.get_all(COOKIE).iter().skip(1) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// gRPC, by its content.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// An answer without an end of its own: events, a camera.
pub fn is_endless(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        [&b"text/event-stream"[..], b"multipart/x-mixed-replace"]
            .iter()
            .any(|name| kind.get(..name.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn lengths_are_said_once() {
        for (lengths, said) in [
            (&["2"][..], Some("2")),
            (&["2", "2"], Some("2")),
            (&["2, 2"], Some("2")),
            (&["2", "2 ,2"], Some("2")),
            (&["2", "3"], None),
            (&["2,"], None),
            (&["2, 02"], None),
            (&[""], None),
            (&["+2"], None),
        ] {
            let mut headers = HeaderMap::new();
            for length in lengths {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            let framing = towards_caller(&mut headers, false);
            assert_eq!(framing == Framing::Plain, said.is_some(), "{lengths:?}");
            if let Some(said) = said {
                let left: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
                assert_eq!(left, [said], "{lengths:?}");
            }
        }
    }

    const NAMES: [&str; 14] = [
        "connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
        "proxy-authorization",
        "http2-settings",
        "trailer",
        "host",
        "content-length",
        "cache-control",
        "cookie",
        "x-a",
        "x-b",
    ];

    fn words() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            proptest::sample::select(&NAMES[..]).prop_map(str::to_owned),
            "[A-Za-z\\- ,]{0,6}",
            Just("trailers".to_owned()),
        ];
        proptest::collection::vec(word, 0..4).prop_map(|words| words.join(","))
    }

    proptest! {
        /// Whatever comes, what is for one hop stays here, what it names goes with it, and all
        /// else goes on, in order.
        #[test]
        fn nothing_else_is_lost(
            fields in proptest::collection::vec((proptest::sample::select(&NAMES[..]), words()), 0..12)
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
            }
            let before = headers.clone();
            towards_upstream(&mut headers, Glance::at(&before), true);
            let nominated: Vec<String> = fields
                .iter()
                .filter(|(name, _)| *name == "connection")
                .flat_map(|(_, value)| value.split(','))
                .map(|name| name.trim().to_ascii_lowercase())
                .collect();
            for name in NAMES {
                let left: Vec<_> = headers.get_all(name).iter().collect();
                let sent: Vec<_> = before.get_all(name).iter().collect();
                match name {
                    "te" => prop_assert!(left.is_empty() || left == ["trailers"]),
                    "host" | "content-length" | "cache-control" => prop_assert_eq!(left, sent),
                    "connection" | "keep-alive" | "transfer-encoding" | "upgrade"
                    | "proxy-authorization" | "http2-settings" => prop_assert!(left.is_empty()),
                    _ if nominated.iter().any(|one| one == name) => prop_assert!(left.is_empty()),
                    _ => prop_assert_eq!(left, sent),
                }
            }
            // Once more changes nothing.
            let once = headers.clone();
            let seen = Glance::at(&headers);
            towards_upstream(&mut headers, seen, true);
            prop_assert_eq!(headers, once);
        }
    }
}
