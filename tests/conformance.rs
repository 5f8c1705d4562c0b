//! Each kind over each protocol, as clients that are not ours see it: row by row from
//! tests/corpus/conformance.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::faults::{Service, numbered};
use crate::others;
use crate::support::{Program, host, proxy};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    row: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: String,
    over: Vec<String>,
    /// `inject.` before it; more lines stand for themselves.
    inject: String,
    /// What tests/clients/conform.py takes.
    #[serde(default)]
    options: BTreeMap<String, Value>,
    /// Of what it prints.
    sees: BTreeMap<String, Value>,
    /// Times in seconds.
    #[serde(default)]
    at_least: BTreeMap<String, f64>,
    /// The exit code of curl.
    curl: Option<i32>,
    /// How often the service saw the request.
    #[serde(default = "one")]
    served: usize,
    /// Good events, injected ones, and requests on which the kind took effect.
    counts: Option<(u64, u64, u64)>,
}

fn one() -> usize {
    1
}

fn rows() -> Vec<Row> {
    let text = include_str!("corpus/conformance.toml");
    toml::from_str::<Corpus>(text).unwrap().row
}

const PROTOCOLS: [&str; 3] = ["h1", "h2", "grpc"];

/// A kind that nobody has looked at over some protocol is no kind yet.
#[test]
fn every_kind_has_a_row_for_every_protocol() {
    let rows = rows();
    let has: BTreeSet<(&str, &str)> = rows
        .iter()
        .flat_map(|row| row.over.iter().map(|over| (row.kind.as_str(), over.as_str())))
        .collect();
    for kind in backburn::fault::KINDS {
        for protocol in PROTOCOLS {
            assert!(has.contains(&(kind.key.name, protocol)), "{}: {protocol}", kind.key.name);
        }
    }
    for (kind, protocol) in has {
        let known = backburn::fault::KINDS.iter().any(|known| known.key.name == kind);
        assert!(known && PROTOCOLS.contains(&protocol), "{kind}, {protocol}");
    }
}

/// 1,000 bytes that tell their place; or nothing, as the path says.
fn service() -> Service {
    Service::answering(|request| {
        let path = request.split(' ').nth(1).unwrap();
        let (head, body) = match path {
            "/hit/204" => ("204 No Content\r\n", vec![]),
            "/hit/304" => ("304 Not Modified\r\nETag: a\r\nContent-Length: 1000\r\n", vec![]),
            _ if request.starts_with("HEAD") => ("200 OK\r\nContent-Length: 1000\r\n", vec![]),
            _ => ("200 OK\r\nContent-Length: 1000\r\n", numbered(1000)),
        };
        [format!("HTTP/1.1 {head}\r\n").into_bytes(), body].concat()
    })
}

fn faulted(row: &Row, upstream: &str) -> Program {
    let scenario = format!(
        "[proxy]\nclient_control = true\n[routes.hit]\npath = \"/hit/{{*rest}}\"\n[routes.hit0]\n\
         path = \"/hit\"\n[routes.count]\npath = \"/t.Bytes/Count\"\n[routes.rest]\n\
         [slos.a]\nroutes = [\"hit\", \"hit0\", \"count\"]\nobjective = \"99%\"\n\
         sli.availability = {{}}\n\
         [faults.it]\nroutes = [\"hit\", \"hit0\", \"count\"]\ninject.{}\n",
        row.inject
    );
    proxy(&scenario, upstream, &[])
}

/// What is seen, and what is wrong with it.
fn check(row: &Row, over: &str, proxy: &Program, wrong: &mut Vec<String>) -> Value {
    let options = json!(row.options).to_string();
    let url = proxy.url("proxy");
    let seen = others::run("conform.py", &[over, host(&url), &options]);
    let name =
        format!("{over}: {} {}", row.inject, if row.options.is_empty() { "" } else { &options });
    for (key, wanted) in &row.sees {
        let is = match key.split_once('.') {
            Some((key, field)) => &seen[key][field],
            None => &seen[key],
        };
        if is != wanted {
            wrong.push(format!("{name}: {key} is {is}, not {wanted}\n   {seen}"));
        }
    }
    for (key, least) in &row.at_least {
        if seen[key].as_f64().is_none_or(|is| is < *least) {
            wrong.push(format!("{name}: {key} is less than {least}\n   {seen}"));
        }
    }
    if seen["goaway"].is_u64() {
        wrong.push(format!("{name}: the connection was ended\n   {seen}"));
    }
    seen
}

fn counts(row: &Row, over: &str, proxy: &Program, wrong: &mut Vec<String>) {
    let Some(wanted) = row.counts else { return };
    let events = |label| proxy.metric("backburn_slo_events_total", &[label]);
    let kind = format!("kind=\"{}\"", row.kind);
    let is = || {
        (
            events("outcome=\"good\""),
            events("cause=\"injected\""),
            proxy.metric("backburn_faults_injected_total", &[&kind]),
        )
    };
    // A client may see the end a moment before it is counted.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while is() != wanted && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    if is() != wanted {
        wrong.push(format!("{over}: {}: counted {:?}, not {wanted:?}", row.inject, is()));
    }
}

fn curl(row: &Row, over: &str, proxy: &Program, wrong: &mut Vec<String>) {
    let Some(code) = row.curl else { return };
    let protocol = if over == "h2" { "--http2-prior-knowledge" } else { "--http1.1" };
    let path = row.options.get("path").and_then(Value::as_str).unwrap_or("/hit");
    let url = format!("{}{path}", proxy.url("proxy"));
    let mut command = Command::new("curl");
    command.args(["-sS", "-m", "20", "-o", "/dev/null", protocol, &url]);
    if row.options.get("method").is_some_and(|method| method == "HEAD") {
        command.arg("-I");
    }
    let output = command.output().unwrap();
    if output.status.code() != Some(code) {
        let said = String::from_utf8_lossy(&output.stderr);
        wrong.push(format!("{over}: {}: curl ends with {}: {said}", row.inject, output.status));
    }
}

fn all(over: &str) {
    let mut wrong = Vec::new();
    for row in rows().iter().filter(|row| row.over.iter().any(|it| it == over)) {
        let service = service();
        let proxy = faulted(row, &service.url);
        check(row, over, &proxy, &mut wrong);
        // Copies may come behind the answer.
        let mut served = 0;
        let wait = |served| Duration::from_secs(if served < row.served { 5 } else { 0 });
        while let Ok((_, it)) = service.seen.recv_timeout(wait(served)) {
            served += usize::from(it.contains(" /hit"));
        }
        if served != row.served {
            wrong.push(format!("{over}: {}: the service saw it {served} times", row.inject));
        }
        counts(row, over, &proxy, &mut wrong);
        curl(row, over, &proxy, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn over_http1() {
    all("h1");
}

#[test]
fn over_http2() {
    all("h2");
}

#[test]
fn over_grpc() {
    let service = others::Service::start("grpc_service.py");
    let upstream = format!("http://127.0.0.1:{}", service.port);
    let mut wrong = Vec::new();
    for row in rows().iter().filter(|row| row.over.iter().any(|it| it == "grpc")) {
        let proxy = faulted(row, &upstream);
        let seen = check(row, "grpc", &proxy, &mut wrong);
        if seen["seen"].as_u64().is_some_and(|seen| seen != row.served as u64) {
            wrong.push(format!("{}: the service saw it {} times", row.inject, seen["seen"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A caller that opts out over HTTP/2 is spared; one that asks for more gets no more.
#[test]
fn opting_out_over_http2() {
    let service = service();
    let scenario = "[proxy]\nclient_control = true\n[faults.it]\nroutes = [\"*\"]\n\
                    probability = \"50%\"\ninject.error = 503\n";
    let proxy = proxy(scenario, &service.url, &[]);
    let url = format!("{}/hit", proxy.url("proxy"));
    let ask = |field: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "-m", "20", "--http2-prior-knowledge", "-o", "/dev/null"]);
        let write = ["-w", "%{http_code} %header{x-backburn-fault}", "-H", field, &url];
        String::from_utf8(command.args(write).output().unwrap().stdout).unwrap()
    };
    for _ in 0..10 {
        assert_eq!(ask("x-backburn-skip: 1"), "200 ");
    }
    assert_eq!(proxy.metric("backburn_faults_skipped_total", &["client"]), 10);
    assert_eq!(proxy.metric("backburn_faults_eligible_total", &[]), 0);
    for (_, request) in service.seen.try_iter() {
        assert!(!request.to_ascii_lowercase().contains("x-backburn-skip"), "{request}");
    }
    // Neither "no" nor nonsense changes the share: draws go on as if it had not been said.
    let asked: Vec<String> = (0..40).map(|_| ask("x-backburn-skip: 0")).collect();
    let hit = asked.iter().filter(|it| *it == "503 it").count() as u64;
    assert!((1..40).contains(&hit), "{asked:?}");
    assert_eq!(proxy.metric("backburn_faults_injected_total", &[]), hit);
}

/// A third of the streams is reset, and no connection is: what h2load calls failed are they.
#[test]
fn resets_leave_the_connection() {
    let service = service();
    let scenario = "seed = 3\n[faults.it]\nroutes = [\"*\"]\nprobability = \"30%\"\n\
                    inject.abort = \"reset\"\n[slos.a]\nobjective = \"99%\"\nsli.availability = {}\n";
    let proxy = proxy(scenario, &service.url, &[]);
    let url = format!("{}/hit", proxy.url("proxy"));
    let output = Command::new("h2load").args(["-n", "1000", "-c", "2", "-m", "10", &url]).output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    let reset = proxy.metric("backburn_faults_injected_total", &[]);
    assert!((200..400).contains(&reset), "{reset}");
    let good = 1000 - reset;
    let wanted = format!("1000 total, 1000 started, 1000 done, {good} succeeded, {reset} failed");
    assert!(said.contains(&wanted), "{wanted}: {said}");
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"injected\""]), reset);
    assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"good\""]), good);
}
