//! Answers that say what they should: what we count is what an independent client found.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};

use serde_json::Value;

use crate::gateway::connect;
use crate::others;
use crate::support::{Program, proxy};
use crate::upstream::{head, service};

const PAGE: &str = "<html>Sign in to continue</html>";

/// What `/CASE/N` is answered with; tests/clients/judged.py asks for each.
fn answer(case: &str) -> Vec<u8> {
    let ok = r#"{"status": "ok", "n": 7}"#;
    let bad = r#"{"status": "bad", "n": 7}"#;
    let long = |status: &str| {
        format!(r#"{{"status": "{status}", "n": 7, "rest": "{}"}}"#, "x".repeat(20_000))
    };
    let (mut status, mut kind, mut version) = ("200 OK", "application/json; charset=utf-8", "2");
    let (mut body, mut more) = (ok.as_bytes().to_vec(), "");
    match case {
        "status" | "chunked-status" => body = bad.into(),
        "page" => (body, kind) = (PAGE.into(), "text/html"),
        "version" => version = "1",
        "names" => (kind, version) = ("text/plain", "secret"),
        "broken" => body.truncate(15),
        "long" => body = long("ok").into(),
        "long-status" => body = long("bad").into(),
        "gzip" => more = "content-encoding: gzip\r\n",
        "part" => (status, more) = ("206 Partial Content", "content-range: bytes 0-23/24\r\n"),
        "empty" => body.clear(),
        "none" => status = "204 No Content",
        "failed" => status = "500 Internal Server Error",
        "grpc" => kind = "application/grpc",
        "array" => body = format!("[{ok}]").into(),
        "null" => body = r#"{"status": null, "n": 7}"#.into(),
        "utf8" => body = b"{\"status\": \"ok\", \"n\": 7, \"rest\": \"\xff\"}".to_vec(),
        _ => {}
    }
    let length = if case == "cut" { body.len() + 9 } else { body.len() };
    let framing = match case {
        "chunked" | "chunked-status" | "trailers" => "transfer-encoding: chunked\r\n".to_owned(),
        "none" => String::new(),
        _ => format!("content-length: {length}\r\n"),
    };
    let mut out = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nx-api-version: {version}\r\n{more}{framing}\r\n"
    )
    .into_bytes();
    match case {
        "none" => {}
        "chunked" | "chunked-status" | "trailers" => {
            for piece in body.chunks(5) {
                out.extend(format!("{:x}\r\n", piece.len()).bytes().chain(piece.iter().copied()));
                out.extend(b"\r\n");
            }
            out.extend(if case == "trailers" {
                &b"0\r\nx-sum: 1\r\n\r\n"[..]
            } else {
                b"0\r\n\r\n"
            });
        }
        _ => out.extend(body),
    }
    out
}

/// A service that answers each request as its path says.
fn says_what_it_is_asked() -> String {
    service(|mut stream: TcpStream| {
        while let Some(head) = head(&mut stream) {
            let case = head.split('/').nth(1).unwrap();
            let mut out = answer(case);
            if head.starts_with("HEAD") {
                let end = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                out.truncate(end);
            }
            if stream.write_all(&out).is_err() || case == "cut" {
                return;
            }
        }
    })
}

const OBJECTIVES: &str = r#"
[slos.says]
objective = "99%"
[slos.says.sli.correctness]
header       = { x-api-version = "2" }
content_type = "application/json"
json_pointer = { at = "/status", equals = "ok" }
body_regex   = '"n": ?[0-9]+'
read_up_to   = "8KiB"
[slos.named]
objective = "99%"
sli.correctness = { body_regex = "status", read_up_to = "8KiB" }
[slos.versioned]
objective = "99%"
sli.correctness = { header = { x-api-version = "2" } }
"#;

/// Everything that can be done to an answer, or instead of it; some of it mends what is wrong.
const FAULTS: &str = r#"
[faults.made]
routes = ["*"]
probability = "4%"
inject.error = { status = 200, body = "made up", headers = { x-api-version = "2" } }
[faults.lost]
routes = ["*"]
probability = "10%"
inject.error = { status = 200, body = "lost", after_upstream = true }
[faults.down]
routes = ["*"]
probability = "4%"
inject.error = 503
[faults.torn]
routes = ["*"]
probability = "3%"
inject.abort = { how = "reset", at = "headers" }
[faults.rot]
routes = ["*"]
probability = "15%"
inject.corrupt = { flip = "2%" }
[faults.swapped]
routes = ["*"]
probability = "8%"
inject.corrupt = { replace = "<html>no status</html>" }
[faults.mended]
routes = ["*"]
probability = "8%"
inject.corrupt = { replace = '{"status": "ok", "n": 1}' }
[faults.older]
routes = ["*"]
probability = "8%"
inject.headers = { set = { x-api-version = "1" } }
[faults.newer]
routes = ["*"]
probability = "8%"
inject.headers = { set = { x-api-version = "2", content-type = "application/json" } }
[faults.decoded]
routes = ["*"]
probability = "8%"
inject.headers = { remove = ["content-encoding"] }
[faults.asked]
routes = ["*"]
probability = "5%"
inject.headers = { on = "request", set = { x-asked = "otherwise" } }
[faults.late]
routes = ["*"]
probability = "10%"
inject.latency = "1ms"
[faults.drip]
routes = ["*"]
probability = "5%"
inject.drip = { chunk = "4KiB", pause = "1ms" }
[faults.short]
routes = ["*"]
probability = "5%"
inject.truncate = { after = "50%" }
"#;

/// What we counted of one objective, by what came of it.
fn counted(proxy: &Program, slo: &str) -> Value {
    let seen = proxy.json(&format!("/api/v1/slos/{slo}"));
    let mut all = seen["excluded"].as_object().unwrap().clone();
    for what in ["good", "injected", "masked", "organic"] {
        all.insert(what.to_owned(), seen[what].clone());
    }
    all.retain(|_, count| *count != 0);
    Value::Object(all)
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

fn agrees(protocol: &str, requests: u64) {
    let service = says_what_it_is_asked();
    let proxy = proxy(&format!("seed = 7\n{OBJECTIVES}{FAULTS}"), &service, &["--workers", "2"]);
    let (count, url) = (requests.to_string(), proxy.url("proxy"));
    let tally = others::run("judged.py", &[protocol, &url, &service, &count, "8"]);
    for slo in ["says", "named", "versioned"] {
        proxy.until("all are counted", |proxy| sum(&counted(proxy, slo)) == requests);
        assert_eq!(counted(&proxy, slo), tally[slo], "{slo} over {protocol}: {tally}");
    }
    // All of it was there to be told.
    for what in ["good", "injected", "masked", "organic", "not_good", "no_body", "unread"] {
        assert!(tally["says"][what].as_u64() >= Some(20), "{what}: {tally}");
    }
    for fault in ["made", "lost", "rot", "swapped", "mended", "older", "newer", "asked", "late"] {
        assert!(tally["hits"][fault].as_u64() >= Some(20), "{fault}: {tally}");
    }
    assert_eq!(proxy.metric("backburn_refused_total", &[]), 0);
}

#[test]
fn as_an_independent_client_found_it() {
    agrees("h1", 4000);
}

#[test]
fn as_an_independent_client_found_it_over_http2() {
    agrees("h2", 4000);
}

/// More bodies at a time than there is room for: those beyond are passed on unread, and counted.
#[test]
fn more_than_may_be_kept() {
    const SIZE: usize = 1 << 20;
    let all = 40;
    // Nobody's body ends before all that is before its end has come to every caller.
    let begun = Arc::new(Barrier::new(2 * all));
    let come = Arc::clone(&begun);
    let service = service(move |mut stream| {
        head(&mut stream).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
        let _ = stream.write_all(&[head.as_bytes(), &vec![b' '; SIZE - 1]].concat());
        begun.wait();
        let _ = stream.write_all(b"1");
        let _ = stream.read(&mut [0]);
    });
    let scenario = "[slos.says]\nobjective = \"99%\"\n\
        sli.correctness = { json_pointer = \"\", read_up_to = \"1MiB\" }\n";
    let proxy = proxy(scenario, &service, &["--workers", "1"]);
    std::thread::scope(|scope| {
        for _ in 0..all {
            scope.spawn(|| {
                let mut stream = connect(&proxy);
                let request = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
                stream.write_all(request).unwrap();
                crate::upstream::head(&mut stream).unwrap();
                let mut text = vec![0; SIZE - 1];
                stream.read_exact(&mut text).unwrap();
                come.wait();
                stream.read_to_end(&mut text).unwrap();
                assert!(text.len() == SIZE && text.ends_with(b" 1"));
            });
        }
    });
    proxy.until("all are counted", |proxy| sum(&counted(proxy, "says")) == all as u64);
    assert_eq!(counted(&proxy, "says"), serde_json::json!({ "good": 32, "unread": 8 }));
}

/// What has no end is judged by its head: a stream's is out, and a tunnel's is no answer.
#[test]
fn streams_and_tunnels() {
    let service = service(|mut stream| {
        let head = head(&mut stream).unwrap();
        let answer: &[u8] = if head.to_ascii_lowercase().contains("upgrade: echo") {
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: a\n\n"
        };
        let _ = stream.write_all(answer);
        let _ = stream.read(&mut [0]);
    });
    let scenario = "[slos.says]\nobjective = \"99%\"\nsli.correctness = { body_regex = \"a\" }\n\
        [slos.streams]\nobjective = \"99%\"\n\
        sli.correctness = { content_type = \"text/event-stream\" }\n\
        [slos.json]\nobjective = \"99%\"\nsli.correctness = { content_type = \"a/json\" }\n";
    let proxy = proxy(scenario, &service, &[]);
    for more in ["", "Connection: upgrade\r\nUpgrade: echo\r\n"] {
        let mut stream = connect(&proxy);
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: t\r\n{more}\r\n").as_bytes()).unwrap();
        assert!(head(&mut stream).is_some());
    }
    for (slo, want) in [
        ("says", serde_json::json!({ "no_body": 2 })),
        ("streams", serde_json::json!({ "good": 1, "no_body": 1 })),
        ("json", serde_json::json!({ "organic": 1, "no_body": 1 })),
    ] {
        proxy.until("both are counted", |proxy| sum(&counted(proxy, slo)) == 2);
        assert_eq!(counted(&proxy, slo), want, "{slo}");
    }
}

/// The request log says which part of an objective an answer fails, by its key, and nothing of what
/// the answer said.
#[test]
fn the_log_says_what_failed() {
    let service = says_what_it_is_asked();
    let log = "[sampling]\nfile = \"requests.jsonl\"\nrest = \"100%\"\n";
    let mut proxy = proxy(&format!("{log}{OBJECTIVES}"), &service, &[]);
    let cases = ["ok", "status", "page", "version", "broken", "none", "failed", "null", "names"];
    for case in cases {
        let mut stream = connect(&proxy);
        let request = format!("GET /{case}/1 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    proxy.signal("-INT");
    assert_eq!(proxy.wait().0, Some(0));
    let text = std::fs::read_to_string(proxy.scratch.0.join("requests.jsonl")).unwrap();
    assert!(!text.contains("Sign in") && !text.contains("secret"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed = |case: &str| {
        let line = lines.iter().find(|line| line["path"] == format!("/{case}/1"));
        line.unwrap()["failed"].clone()
    };
    for (case, want) in [
        ("ok", Value::Null),
        ("status", serde_json::json!({ "says": ["json_pointer"] })),
        ("page", serde_json::json!({ "says": ["content_type"], "named": ["body_regex"] })),
        (
            "version",
            serde_json::json!({
                "says": ["header x-api-version"], "versioned": ["header x-api-version"]
            }),
        ),
        ("broken", serde_json::json!({ "says": ["body_regex", "json_pointer: no JSON"] })),
        // Nothing is asked of these.
        ("none", Value::Null),
        ("failed", Value::Null),
        ("null", serde_json::json!({ "says": ["json_pointer"] })),
        (
            "names",
            serde_json::json!({
                "says": ["header x-api-version", "content_type"], "versioned": ["header x-api-version"]
            }),
        ),
    ] {
        assert_eq!(failed(case), want, "{case}: {text}");
    }
}
