//! A careful gateway: bad input over raw sockets, row by row from tests/corpus.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::recorder::{Recorder, Seen};
pub(crate) use crate::support::SLO;
use crate::support::{Program, dial, host, proxy};

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    send: String,
    /// The answers, in order; none: closed without one.
    status: Vec<u16>,
    /// What the last of them says in `x-backburn-error`.
    error: Option<String>,
    /// Whole requests that the service has seen; as many are SLI events.
    #[serde(default)]
    upstream: usize,
    /// It may have seen the beginning of one.
    #[serde(default)]
    partial: bool,
    /// Why a request that was let in is no event.
    excluded: Option<String>,
    #[serde(default)]
    sees: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    fin: bool,
}

/// The bytes of a row: one a character, `{a*3}` spelled out.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (inner, next) = after.split_once('}').unwrap();
        let (piece, times) = inner.rsplit_once('*').unwrap();
        out.extend(before.chars().map(|c| u8::try_from(c).unwrap()));
        out.extend(piece.repeat(times.parse().unwrap()).bytes());
        rest = next;
    }
    out.extend(rest.chars().map(|c| u8::try_from(c).unwrap()));
    out
}

/// Reads until the other side closes, or until `enough`.
pub(crate) fn read(stream: &mut TcpStream, enough: impl Fn(&str) -> bool) -> (String, bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut answer = String::new();
    let mut piece = [0; 16 * 1024];
    while !enough(&answer) {
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        match stream.read(&mut piece) {
            Ok(0) => return (answer, true),
            Ok(read) => answer.push_str(&String::from_utf8_lossy(&piece[..read])),
            // The timeout shows as WouldBlock, anything else is the end.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(_) => return (answer, true),
        }
    }
    (answer, false)
}

/// Whole answers in a text; all of ours say their length.
pub(crate) fn answers(text: &str) -> Vec<u16> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let status = crate::support::status_of(head);
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if after.len() < length {
            break;
        }
        found.push(status);
        rest = &after[length..];
    }
    found
}

pub(crate) fn connect(proxy: &Program) -> TcpStream {
    dial(host(&proxy.url("proxy")))
}

/// SLI events so far, and those left out, by reason.
pub(crate) fn events(proxy: &Program) -> (usize, String) {
    let (_, text) = proxy.admin("GET", "/metrics", "");
    let samples = |name: &'static str| text.lines().filter(move |line| line.starts_with(name));
    let count = |line: &str| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
    let counted = samples("backburn_slo_events_total{").map(count).sum();
    (counted, samples("backburn_slo_excluded_events_total{").collect::<Vec<_>>().join("\n"))
}

fn check(case: &Case, proxy: &Program, upstream: &Recorder) -> Result<(), String> {
    let before = events(proxy);
    let mut stream = connect(proxy);
    // It may answer and close before all is sent.
    let _ = stream.write_all(&bytes(&case.send));
    if case.fin {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let (text, closed) =
        read(&mut stream, |text| case.open && answers(text).len() >= case.status.len());
    if case.open == closed {
        return Err(format!("closed: {closed}, after {text:?}"));
    }
    if answers(&text) != case.status || (case.status.is_empty() && !text.is_empty()) {
        return Err(format!("answered {text:?}"));
    }
    let said = text.rsplit("x-backburn-error: ").next().filter(|said| said.len() < text.len());
    let said = said.and_then(|said| said.split("\r\n").next());
    if said != case.error.as_deref() {
        return Err(format!("said {said:?}"));
    }
    // Whatever has become of it is counted when nothing is in progress any more.
    proxy.until(&case.id, |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    let seen = upstream.take();
    let (whole, partial): (Vec<Seen>, Vec<Seen>) = seen.into_iter().partition(|seen| seen.whole);
    if whole.len() != case.upstream {
        return Err(format!("the service has seen {whole:?}"));
    }
    if !case.partial && !partial.is_empty() {
        return Err(format!("the service has seen the beginning of {partial:?}"));
    }
    let after = events(proxy);
    if after.0 - before.0 != case.upstream {
        return Err(format!("{} events", after.0 - before.0));
    }
    let excluded = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        let count = |text: &str| {
            let line = text.lines().find(|line| line.contains(&label));
            line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        };
        count(&after.1) - count(&before.1)
    };
    match &case.excluded {
        None if after.1 != before.1 => return Err(format!("left out: {}", after.1)),
        Some(reason) if excluded(reason) != 1 => return Err(format!("left out: {}", after.1)),
        _ => {}
    }
    let all: String = whole.iter().chain(&partial).map(Seen::text).collect();
    let lower = all.to_ascii_lowercase();
    for piece in &case.sees {
        if !all.contains(piece) {
            return Err(format!("the service has not seen {piece:?} in {all:?}"));
        }
    }
    for piece in &case.lacks {
        if lower.contains(piece) {
            return Err(format!("the service has seen {piece:?} in {all:?}"));
        }
    }
    let good = crate::support::exchange(
        host(&proxy.url("proxy")),
        b"GET /good HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    );
    // The beginning of what was cut may be told late.
    let served = upstream.take().into_iter().filter(|seen| seen.whole || !case.partial).count();
    if !good.starts_with("HTTP/1.1 200") || served != 1 {
        return Err(format!("a good request afterwards: {good:?}"));
    }
    Ok(())
}

#[test]
fn the_corpus() {
    let upstream = Recorder::start(OK);
    // Whatever is let in is to be an event.
    let every = SLO.replace("objective", "include = [\"health_checks\", \"options\"]\nobjective");
    let proxy = proxy(&every, &upstream.url, &[]);
    let files = [
        include_str!("corpus/http1.toml"),
        include_str!("corpus/framing.toml"),
        include_str!("corpus/heads.toml"),
        include_str!("corpus/targets.toml"),
        include_str!("corpus/hops.toml"),
    ];
    let cases = files.into_iter().flat_map(|file| toml::from_str::<Corpus>(file).unwrap().case);
    let mut cases: Vec<Case> = cases.collect();
    // The beginning of a request that was cut may be told after its row: nobody else's come later.
    cases.sort_by_key(|case| case.partial);
    assert!(cases.len() > 300);
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.id, check(case, &proxy, &upstream).err()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // Every refusal was counted, under its reason.
    for reason in ["malformed", "no_host", "many_hosts", "bad_host", "bad_target", "connect"] {
        let label = format!("reason=\"{reason}\"");
        assert!(proxy.metric("backburn_refused_total", &[&label]) > 0, "{reason}");
    }
    assert_eq!(proxy.metric("http_server_active_requests", &[]), 0);
}
