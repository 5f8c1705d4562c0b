//! `[proxy]`: its keys, and what the user wrote there.

use std::net::SocketAddr;
use std::time::Duration;

use super::tls::ListenTlsSpec;
use crate::diagnostic::{Diagnostics, Located};
use crate::document::{Key, Table, TableKeys, Value};
use crate::units::Bytes;

const NAMES: Value = Value::List(&Value::Text);

pub(super) static PROXY: TableKeys = TableKeys {
    name: "proxy",
    doc: "The proxy itself.",
    keys: &[
        Key::new("listen", Value::Address, "Where requests come in.").default("\"127.0.0.1:8900\""),
        Key::new("upstream", Value::Url, "Short form for one service named `target`."),
        Key::new("workers", Value::Integer { min: 1, max: 1024 }, "Threads.").default("cores"),
        Key::new("max_held", HELD, "Requests held at once.").default("10000"),
        Key::new(
            "client_control",
            Value::Bool,
            "`x-backburn-skip: 1` spares a request all faults.",
        )
        .default("false"),
        Key::new("timeouts", Value::Table(&TIMEOUTS), "How long anything may take."),
        Key::new("limits", Value::Table(&LIMITS), "How much anybody may ask for."),
        Key::new(
            "forwarded",
            Value::Word(&["append", "replace", "off"]),
            "What services learn of the caller in `X-Forwarded-*`: added to what a trusted proxy \
             said, said anew, or left as it came.",
        )
        .default("\"append\""),
        Key::new(
            "trusted_proxies",
            NAMES,
            "Networks whose `Forwarded` and `X-Forwarded-*` are believed.",
        ),
        Key::new("tls", Value::Table(&super::tls::LISTEN), "TLS towards callers."),
        Key::new("lame_duck", Value::Duration, "Accepts for so long after saying \"not ready\".")
            .default("\"0s\", \"5s\" under Kubernetes"),
    ],
    short: None,
};

const HELD: Value = Value::Integer { min: 1, max: 1_000_000 };

static TIMEOUTS: TableKeys = TableKeys {
    name: "proxy.timeouts",
    doc: "How long anything may take. Looked at four times a second, so up to half a second more.",
    keys: &[
        Key::new("first_byte", Value::Duration, "From a connection to its first byte.")
            .default("\"10s\""),
        Key::new("request_head", Value::Duration, "From a head's first byte to its last.")
            .default("\"10s\""),
        Key::new("body_stall", Value::Duration, "Without a byte of a body, either way.")
            .default("\"30s\""),
        Key::new("write_stall", Value::Duration, "Without the caller taking a byte.")
            .default("\"30s\""),
        Key::new("idle", Value::Duration, "A connection without a request.").default("\"60s\""),
        Key::new("connect", Value::Duration, "Reaching a service.").default("\"2s\""),
        Key::new("response_head", Value::Duration, "A service's answer; then 504.")
            .default("\"30s\""),
        Key::new("drain", Value::Duration, "What runs at the end of a run.").default("\"10s\""),
    ],
    short: None,
};

static LIMITS: TableKeys = TableKeys {
    name: "proxy.limits",
    doc: "How much anybody may ask for.",
    keys: &[
        Key::new("connections", Value::Integer { min: 1, max: 10_000_000 }, "From callers.")
            .default("half of the open files allowed"),
        Key::new("header_bytes", Value::Bytes, "Of a request's head.").default("\"32KiB\""),
        Key::new("headers", Value::Integer { min: 1, max: 10_000 }, "Header fields of a request.")
            .default("100"),
        Key::new("held", HELD, "The same as `max_held`."),
        Key::new("streams", Value::Integer { min: 1, max: 10_000 }, "HTTP/2 streams a connection.")
            .default("100"),
    ],
    short: None,
};

#[derive(Debug, Clone, Default)]
pub struct ProxySpec {
    pub listen: Option<Located<SocketAddr>>,
    /// Short form for one service named `target`.
    pub upstream: Option<Located<String>>,
    pub workers: Option<Located<u16>>,
    pub max_held: Option<Located<u32>>,
    pub client_control: Option<Located<bool>>,
    pub timeouts: TimeoutsSpec,
    pub limits: LimitsSpec,
    /// `append`, `replace` or `off`.
    pub forwarded: Option<Located<&'static str>>,
    pub trusted_proxies: Vec<Located<String>>,
    pub lame_duck: Option<Located<Duration>>,
    pub tls: Option<ListenTlsSpec>,
}

#[derive(Debug, Clone, Default)]
pub struct TimeoutsSpec {
    pub first_byte: Option<Located<Duration>>,
    pub request_head: Option<Located<Duration>>,
    pub body_stall: Option<Located<Duration>>,
    pub write_stall: Option<Located<Duration>>,
    pub idle: Option<Located<Duration>>,
    pub connect: Option<Located<Duration>>,
    pub response_head: Option<Located<Duration>>,
    pub drain: Option<Located<Duration>>,
}

#[derive(Debug, Clone, Default)]
pub struct LimitsSpec {
    pub connections: Option<Located<u32>>,
    pub header_bytes: Option<Located<Bytes>>,
    pub headers: Option<Located<u16>>,
    pub held: Option<Located<u32>>,
    pub streams: Option<Located<u32>>,
}

pub(super) fn read(table: &mut Table<'_, '_>) -> ProxySpec {
    let listen = table.address("listen");
    let upstream = table.text("upstream");
    let timeouts = table.node("timeouts");
    let limits = table.node("limits");
    ProxySpec {
        listen,
        upstream,
        workers: table.integer("workers"),
        max_held: table.integer("max_held"),
        client_control: table.boolean("client_control"),
        timeouts: timeouts.map(|node| read_timeouts(node.table(table.notes))).unwrap_or_default(),
        limits: limits.map(|node| read_limits(node.table(table.notes))).unwrap_or_default(),
        forwarded: table.word("forwarded"),
        trusted_proxies: table.text_list("trusted_proxies"),
        lame_duck: table.duration("lame_duck"),
        tls: super::tls::listen(table),
    }
}

fn read_timeouts(table: Option<Table<'_, '_>>) -> TimeoutsSpec {
    let Some(mut table) = table else { return TimeoutsSpec::default() };
    let mut positive = |key: &str| {
        let read = table.duration(key)?;
        let zero = read.value.is_zero();
        if zero {
            no_time(table.notes, &read);
        }
        (!zero).then_some(read)
    };
    TimeoutsSpec {
        first_byte: positive("first_byte"),
        request_head: positive("request_head"),
        body_stall: positive("body_stall"),
        write_stall: positive("write_stall"),
        idle: positive("idle"),
        connect: positive("connect"),
        response_head: positive("response_head"),
        drain: positive("drain"),
    }
}

fn no_time(notes: &mut Diagnostics, read: &Located<Duration>) {
    let note = crate::diagnostic::Diagnostic::error(read.at, "a timeout of no time at all");
    notes.push(note.hint("everything would be cut; leave the key out for its default"));
}

fn read_limits(table: Option<Table<'_, '_>>) -> LimitsSpec {
    let Some(mut table) = table else { return LimitsSpec::default() };
    LimitsSpec {
        connections: table.integer("connections"),
        header_bytes: table.bytes("header_bytes"),
        headers: table.integer("headers"),
        held: table.integer("held"),
        streams: table.integer("streams"),
    }
}
