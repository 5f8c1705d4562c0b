//! `[proxy]`, compiled: where it listens, how long anything may take, how much anybody may ask for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::condition::Network;
use super::tls::ListenTls;
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::scenario::{ProxySpec, TimeoutsSpec};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Default `127.0.0.1:8900`.
    pub listen: SocketAddr,
    /// `None`: as many as cores.
    pub workers: Option<u16>,
    /// Default 10,000.
    pub max_held: u32,
    /// Callers may opt out of all faults, request by request. Default false.
    pub client_control: bool,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub forwarded: Forwarded,
    /// Whose word about callers is believed.
    pub trusted_proxies: Vec<Network>,
    /// How long to accept after readiness is withdrawn; `None`: not said.
    pub lame_duck: Option<Duration>,
    pub tls: Option<ListenTls>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From a connection's arrival to its first byte.
    pub first_byte: Duration,
    /// From the first byte of a head to its last.
    pub request_head: Duration,
    /// Without a byte of a body that somebody waits for.
    pub body_stall: Duration,
    /// Without the caller taking a byte.
    pub write_stall: Duration,
    /// A connection without a request.
    pub idle: Duration,
    pub connect: Duration,
    /// From the request to the head of its answer.
    pub response_head: Duration,
    pub drain: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `None`: what the limit on open files allows.
    pub connections: Option<u32>,
    /// Of a request's head.
    pub header_bytes: u32,
    pub headers: u16,
    /// HTTP/2 streams a connection.
    pub streams: u32,
}

/// What a service is told of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// Added to what a trusted proxy said; said anew for anybody else.
    Append,
    /// Said anew for everybody.
    Replace,
    /// Left as it came.
    Off,
}

impl Proxy {
    /// Whoever connects from there is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}

pub(super) fn compile(spec: &ProxySpec, notes: &mut Diagnostics) -> Proxy {
    if let (Some(first), Some(second)) = (&spec.max_held, &spec.limits.held) {
        let note = Diagnostic::error(second.at, "`held` and `max_held` are one and the same");
        notes.push(note.also(first.at, "written here too"));
    }
    let held = spec.max_held.as_ref().or(spec.limits.held.as_ref());
    let mut trusted_proxies = Vec::new();
    for trusted in &spec.trusted_proxies {
        match trusted.value.trim().parse() {
            Ok(network) => trusted_proxies.push(network),
            Err(_) => notes.push(
                Diagnostic::error(trusted.at, "neither an address nor a network")
                    .hint("for example `10.1.2.3` or `10.0.0.0/8`"),
            ),
        }
    }
    Proxy {
        listen: spec
            .listen
            .as_ref()
            .map_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8900), |listen| listen.value),
        workers: spec.workers.as_ref().map(|workers| workers.value),
        max_held: held.map_or(10_000, |held| held.value),
        client_control: spec.client_control.as_ref().is_some_and(|may| may.value),
        timeouts: timeouts(&spec.timeouts),
        limits: limits(spec, notes),
        forwarded: match spec.forwarded.as_ref().map(|word| word.value) {
            Some("replace") => Forwarded::Replace,
            Some("off") => Forwarded::Off,
            _ => Forwarded::Append,
        },
        trusted_proxies,
        lame_duck: spec.lame_duck.as_ref().map(|time| time.value),
        tls: spec.tls.as_ref().and_then(super::tls::listen),
    }
}

fn timeouts(spec: &TimeoutsSpec) -> Timeouts {
    let or = |written: &Option<Located<Duration>>, seconds| {
        written.as_ref().map_or(Duration::from_secs(seconds), |time| time.value)
    };
    Timeouts {
        first_byte: or(&spec.first_byte, 10),
        request_head: or(&spec.request_head, 10),
        body_stall: or(&spec.body_stall, 30),
        write_stall: or(&spec.write_stall, 30),
        idle: or(&spec.idle, 60),
        connect: or(&spec.connect, 2),
        response_head: or(&spec.response_head, 30),
        drain: or(&spec.drain, 10),
    }
}

fn limits(spec: &ProxySpec, notes: &mut Diagnostics) -> Limits {
    /// Below, the head of a browser's request would not fit; above, memory is anybody's.
    const HEADER_BYTES: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024;
    let header_bytes = spec.limits.header_bytes.as_ref().map_or(32 * 1024, |written| {
        let bytes = written.value.0;
        if !HEADER_BYTES.contains(&bytes) {
            let note = Diagnostic::error(written.at, "`header_bytes` is out of range");
            notes.push(note.hint("it lies between \"1KiB\" and \"1MiB\""));
        }
        bytes
    });
    Limits {
        connections: spec.limits.connections.as_ref().map(|most| most.value),
        header_bytes: u32::try_from(header_bytes).unwrap_or(u32::MAX),
        headers: spec.limits.headers.as_ref().map_or(100, |most| most.value),
        streams: spec.limits.streams.as_ref().map_or(100, |most| most.value),
    }
}
