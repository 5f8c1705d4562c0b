//! What must be true of a request: for a route, for a fault's `only`; and what tells callers apart.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use http::{HeaderMap, HeaderName, Method};

use super::ServiceId;
pub use crate::document::Selector;

/// A request as routes and faults see it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The service whose own port it came in by.
    pub only: Option<ServiceId>,
    pub method: &'a Method,
    /// As in `Host`, with or without a port.
    pub host: &'a str,
    /// The raw path, without the query.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// Who is connected; `None`: not known.
    pub client: Option<IpAddr>,
}

/// `1` spares a request all faults, where `[proxy] client_control` lets callers say so.
pub const SKIP: HeaderName = HeaderName::from_static("x-backburn-skip");

impl Asked<'_> {
    /// The caller wants no fault.
    pub fn opts_out(&self) -> bool {
        self.headers.get(SKIP).is_some_and(|value| value == "1")
    }

    /// A health check, by its path (`/healthz`, `/livez`, `/readyz`, `/-/…`, gRPC's) or by its agent
    /// (kube-probe, ELB-HealthChecker, GoogleHC).
    pub fn is_health_check(&self) -> bool {
        self.is_health_check_at(&super::matcher::canonical(self.path))
    }

    /// `path`: its own, in its canonical form.
    pub fn is_health_check_at(&self, path: &str) -> bool {
        is_health_path(path) || is_health_agent(self.headers)
    }
}

fn is_health_agent(headers: &HeaderMap) -> bool {
    headers.get(http::header::USER_AGENT).is_some_and(|agent| {
        let agent = agent.as_bytes();
        [&b"kube-probe"[..], b"ELB-HealthChecker", b"GoogleHC"]
            .iter()
            .any(|name| agent.starts_with(name))
    })
}

/// `path`: in its canonical form.
pub(super) fn is_health_path(path: &str) -> bool {
    // Every request is asked: most are told by one byte.
    if !matches!(path.as_bytes().get(1), Some(b'-' | b'h' | b'l' | b'r' | b'g')) {
        return false;
    }
    matches!(path, "/healthz" | "/livez" | "/readyz")
        || ["/-/", "/healthz/", "/livez/", "/readyz/", "/grpc.health.v1.Health/"]
            .iter()
            .any(|prefix| path.starts_with(prefix))
}

/// All that must hold. Empty: any request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Conditions {
    /// Empty: any.
    pub methods: Box<[Method]>,
    pub fields: Box<[Field]>,
    /// Empty: any.
    pub clients: Box<[Network]>,
}

/// What one header field or query parameter must say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    pub place: FieldPlace,
    pub says: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FieldPlace {
    Header(HeaderName),
    /// Decoded.
    Query(String),
}

/// Of several values of one name, one has to pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    Exactly(String),
    Matches(Pattern),
    Present(bool),
}

/// A regular expression; equal when written alike.
#[derive(Debug, Clone)]
pub struct Pattern(regex::bytes::Regex);

/// The most a compiled expression may take, in bytes.
const PATTERN_SIZE: usize = 1 << 20;

impl Pattern {
    /// Linear in the text it is matched against, whatever the expression.
    pub fn new(text: &str) -> Result<Self, String> {
        let built = regex::bytes::RegexBuilder::new(text)
            .size_limit(PATTERN_SIZE)
            .dfa_size_limit(PATTERN_SIZE)
            .build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "too large when compiled".to_owned(),
            // The library draws the expression with a caret of its own: its last line says why.
            other => other
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned(),
        })
    }

    /// Somewhere in the text.
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// It is in every text that begins like this: what it has found does not lean on the end, which
    /// may be another one. Errs towards no.
    pub fn is_in_any_that_begins(&self, text: &[u8]) -> bool {
        /// How far an expression looks beyond its match: `\b`, by one character.
        const AHEAD: usize = 4;
        self.0.shortest_match(text).is_some_and(|end| end + AHEAD <= text.len())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl Test {
    fn passes<'v>(&self, mut values: impl Iterator<Item = Cow<'v, [u8]>>) -> bool {
        match self {
            Self::Exactly(text) => values.any(|value| *value == *text.as_bytes()),
            Self::Matches(pattern) => values.any(|value| pattern.0.is_match(&value)),
            Self::Present(wanted) => values.next().is_some() == *wanted,
        }
    }

    /// It holds for a field of these.
    pub fn hold(&self, fields: &HeaderMap, name: &HeaderName) -> bool {
        self.passes(fields.get_all(name).iter().map(|value| Cow::Borrowed(value.as_bytes())))
    }
}

impl std::fmt::Display for Field {
    /// As a person would say it: ``header `x-tenant` is "gold"``.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            FieldPlace::Header(name) => write!(f, "header `{name}` ")?,
            FieldPlace::Query(name) => write!(f, "query parameter `{name}` ")?,
        }
        match &self.says {
            Test::Exactly(text) => write!(f, "is \"{text}\""),
            Test::Matches(pattern) => write!(f, "matches /{}/", pattern.0.as_str()),
            Test::Present(true) => f.write_str("is there"),
            Test::Present(false) => f.write_str("is not there"),
        }
    }
}

impl Field {
    pub fn holds(&self, asked: &Asked<'_>) -> bool {
        match &self.place {
            FieldPlace::Header(name) => self.says.hold(asked.headers, name),
            FieldPlace::Query(name) => self.says.passes(parameters(asked.query, name)),
        }
    }
}

fn parameters<'q>(query: Option<&'q str>, name: &str) -> impl Iterator<Item = Cow<'q, [u8]>> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(move |(known, _)| known == name)
        .map(|(_, value)| match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
}

impl Conditions {
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.fields.is_empty() && self.clients.is_empty()
    }

    pub fn hold(&self, asked: &Asked<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(asked.method))
            && self.fields.iter().all(|field| field.holds(asked))
            && self.takes_client(asked)
    }

    fn takes_client(&self, asked: &Asked<'_>) -> bool {
        self.clients.is_empty()
            || asked
                .client
                .is_some_and(|client| self.clients.iter().any(|net| net.contains(client)))
    }

    /// The first thing that does not hold, in words; `None`: all does.
    pub fn why_not(&self, asked: &Asked<'_>) -> Option<String> {
        if !self.methods.is_empty() && !self.methods.contains(asked.method) {
            let methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
            return Some(format!("the method is not {}", methods.join(" or ")));
        }
        if let Some(field) = self.fields.iter().find(|field| !field.holds(asked)) {
            return Some(format!("only where {field}"));
        }
        (!self.takes_client(asked)).then(|| {
            let clients: Vec<String> = self.clients.iter().map(ToString::to_string).collect();
            format!("only for clients in {}", clients.join(", "))
        })
    }
}

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    pub address: IpAddr,
    pub bits: u8,
}

impl Network {
    pub fn contains(self, address: IpAddr) -> bool {
        // `::ffff:10.0.0.1` is 10.0.0.1, as a dual-stack socket shows it.
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits.min(32));
                u64::from(network.to_bits()) >> shift == u64::from(address.to_bits()) >> shift
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.bits.min(128));
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotANetwork {
    /// Not an address before the slash.
    Address,
    /// The prefix is longer than this.
    Prefix(u8),
}

impl FromStr for Network {
    type Err = NotANetwork;

    /// `10.1.2.3` or `10.0.0.0/8`.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::Address)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => longest,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= longest)
                .ok_or(NotANetwork::Prefix(longest))?,
        };
        // As addresses are compared: what is mapped into IPv6 is IPv4.
        Ok(match address {
            IpAddr::V6(mapped) if bits >= 96 && mapped.to_ipv4_mapped().is_some() => {
                Self { address: address.to_canonical(), bits: bits - 96 }
            }
            _ => Self { address, bits },
        })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Selector {
    /// A key of the request's value, the same in every run; `None`: the request has none. An empty
    /// value is none: it tells nobody from anybody.
    pub fn key(&self, asked: &Asked<'_>) -> Option<u64> {
        match self {
            Self::Header(name) => {
                asked.headers.get(name).and_then(|value| key_of(value.as_bytes()))
            }
            Self::Cookie(name) => cookie(asked.headers, name).and_then(key_of),
            Self::Query(name) => {
                parameters(asked.query, name).next().and_then(|value| key_of(&value))
            }
            Self::ClientIp => match asked.client?.to_canonical() {
                IpAddr::V4(address) => key_of(&address.octets()),
                IpAddr::V6(address) => key_of(&address.octets()),
            },
        }
    }
}

fn key_of(value: &[u8]) -> Option<u64> {
    (!value.is_empty()).then(|| crate::dice::key(value))
}

/// The value of a cookie, without quotes around it.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let fields = headers.get_all(http::header::COOKIE).iter().map(http::HeaderValue::as_bytes);
    let mut pairs = fields.flat_map(|field| field.split(|byte| *byte == b';'));
    let value = pairs.find_map(|pair| {
        pair.trim_ascii().strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")
    })?;
    let value = value.trim_ascii();
    Some(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
