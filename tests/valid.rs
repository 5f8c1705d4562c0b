//! Which requests are events of an SLO at all: what we count is what a client counted by itself.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::gateway::connect;
use crate::support::{Program, proxy};
use crate::upstream::{head, service};

/// Answers 500 to what says so, 200 to all else.
fn fails_as_asked() -> String {
    service(|mut stream: TcpStream| {
        while let Some(head) = head(&mut stream) {
            let status = if head.contains("x-fail") { "500 No" } else { "200 OK" };
            if write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    })
}

/// A request, and what it is in this file's own words.
struct Sent {
    line: &'static str,
    fields: &'static str,
    is: &'static str,
    times: u64,
}

const fn sent(line: &'static str, fields: &'static str, is: &'static str, times: u64) -> Sent {
    Sent { line, fields, is, times }
}

const TRAFFIC: &[Sent] = &[
    sent("GET /api/items", "", "good", 101),
    sent("GET /api/items", "x-fail: 1\r\n", "bad", 7),
    sent("POST /api/items?from=bot", "", "bot", 3),
    sent("GET /api/items", "x-synthetic: yes\r\n", "synthetic", 5),
    sent("GET /api/items", "x-synthetic: yes\r\nx-fail: 1\r\n", "synthetic bad", 2),
    sent("DELETE /api/items", "", "delete", 4),
    sent("OPTIONS /api/items", "origin: http://shop\r\n", "options", 11),
    sent("OPTIONS /api/items", "x-fail: 1\r\n", "options bad", 1),
    sent("GET /healthz", "", "health", 13),
    sent("GET /healthz", "x-fail: 1\r\n", "health bad", 2),
    sent("GET /readyz/db?verbose", "", "health", 3),
    sent("GET /-/ready", "", "health", 2),
    sent("POST /grpc.health.v1.Health/Check", "", "health", 2),
    // As routes compare it.
    sent("GET /api/..//%68ealthz", "", "health", 2),
    sent("GET /api/items", "user-agent: kube-probe/1.33\r\n", "health", 17),
    sent("GET /api/items", "user-agent: ELB-HealthChecker/2.0\r\n", "health", 1),
    sent("OPTIONS /livez", "", "health options", 1),
    // None of these is one.
    sent("GET /healthzz", "", "good", 1),
    sent("GET /health", "", "good", 1),
    sent("GET /lives", "", "good", 1),
    sent("GET /api/healthz", "", "good", 1),
    sent("GET /api/items", "user-agent: curl kube-probe/1\r\n", "good", 1),
];

/// Sends all of it; how many of each there were.
fn drive(proxy: &Program) -> BTreeMap<&'static str, u64> {
    let mut stream = connect(proxy);
    let mut counted = BTreeMap::new();
    for Sent { line, fields, is, times } in TRAFFIC {
        for _ in 0..*times {
            write!(stream, "{line} HTTP/1.1\r\nHost: t\r\n{fields}\r\n").unwrap();
            let answer = head(&mut stream).unwrap();
            let failed = answer.starts_with("HTTP/1.1 500");
            assert_eq!(failed, fields.contains("x-fail"), "{line}: {answer}");
            let mut body = [0; 2];
            stream.read_exact(&mut body).unwrap();
            *counted.entry(*is).or_default() += 1;
        }
    }
    counted
}

/// What an SLO should have counted: good, bad, and left out by reason.
fn expected(counted: &BTreeMap<&str, u64>, takes: impl Fn(&str) -> &'static str) -> String {
    let mut sums = BTreeMap::<&str, u64>::new();
    for (is, count) in counted {
        *sums.entry(takes(is)).or_default() += count;
    }
    sums.into_iter().map(|(what, count)| format!("{what} {count}\n")).collect()
}

/// What `/metrics` says of an SLO; what is none is left out.
fn told(proxy: &Program, slo: &str) -> String {
    let slo = format!("slo=\"{slo}\"");
    let events = |label: &str| proxy.metric("backburn_slo_events_total", &[&slo, label]);
    let out = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        proxy.metric("backburn_slo_excluded_events_total", &[&slo, &label])
    };
    let mut sums = vec![("bad", events("cause=\"organic\"")), ("good", events("\"good\""))];
    let all = proxy.metric("backburn_slo_excluded_events_total", &[&slo]);
    let reasons = ["exclude", "health_check", "not_good", "options"];
    sums.extend(reasons.map(|reason| (reason, out(reason))));
    assert_eq!(all, sums[2..].iter().map(|(_, count)| count).sum::<u64>(), "{slo}");
    sums.sort_unstable();
    let sums = sums.into_iter().filter(|(_, count)| *count > 0);
    sums.map(|(what, count)| format!("{what} {count}\n")).collect()
}

/// What counts by itself is left out by default, whatever the SLO is about.
fn by_default(is: &str) -> &'static str {
    match is.split(' ').next().unwrap() {
        "health" => "health_check",
        "options" => "options",
        _ if is.ends_with("bad") => "bad",
        _ => "good",
    }
}

const SLOS: &str = r#"
[slos.plain]
objective = "99%"
sli.availability = {}
[slos.health]
objective = "99%"
include = ["health_checks"]
sli.availability = {}
[slos.every]
objective = "99%"
include = ["options", "health_checks"]
sli.availability = {}
[slos.people]
objective = "99%"
exclude = { headers = { x-synthetic = { present = true } } }
sli.availability = {}
[slos.no-bots]
objective = "99%"
exclude = { methods = ["POST"], query = { from = "bot" }, clients = ["127.0.0.0/8"] }
sli.availability = {}
[slos.strangers]
objective = "99%"
exclude = { clients = ["10.0.0.0/8"] }
sli.availability = {}
[slos.fast]
objective = "99%"
exclude = { headers = { x-synthetic = { present = true } } }
sli.latency = { threshold = "60s" }
[slos.right]
objective = "99%"
sli.correctness = { header = { content-length = "2" } }
[slos.sliced]
objective = "99%"
budgeting = "timeslices"
slice = "1s"
slice_target = "50%"
sli.availability = {}
[composites.both]
of = ["people", "no-bots"]
mode = "all"
[composites.neither]
of = ["people", "fast"]
mode = "all"
[composites.worst]
of = ["plain", "people"]
"#;

/// Every kind of SLO over one mix of traffic, told from a count of what was sent.
#[test]
fn what_counts_is_what_was_sent() {
    let proxy = proxy(SLOS, &fails_as_asked(), &["--workers", "2"]);
    let counted = drive(&proxy);
    let all: u64 = counted.values().sum();
    proxy.until("all are recorded", |proxy| {
        proxy.metric("http_server_request_duration_seconds_count", &[]) == all
    });
    let check = |slo: &str, takes: &dyn Fn(&str) -> &'static str| {
        assert_eq!(told(&proxy, slo), expected(&counted, takes), "{slo}");
    };
    check("plain", &by_default);
    check("strangers", &by_default);
    check("health", &|is| match by_default(is) {
        "health_check" if is.ends_with("bad") => "bad",
        // Nor is it a user's for being a health check.
        "health_check" if is.ends_with("options") => "options",
        "health_check" => "good",
        other => other,
    });
    check("every", &|is| if is.ends_with("bad") { "bad" } else { "good" });
    let synthetic = |is: &str| is.starts_with("synthetic");
    check("people", &|is| if synthetic(is) { "exclude" } else { by_default(is) });
    check("no-bots", &|is| if is == "bot" { "exclude" } else { by_default(is) });
    // Of good answers only.
    let of_good = |is: &str| match by_default(is) {
        "bad" => "not_good",
        other => other,
    };
    check("fast", &|is| if synthetic(is) { "exclude" } else { of_good(is) });
    check("right", &of_good);
    // One of the two counts whatever the other leaves out; of these two, neither does.
    check("both", &by_default);
    check("neither", &|is| if synthetic(is) { "exclude" } else { by_default(is) });
    // The API agrees.
    for slo in proxy.json("/api/v1/slos").as_array().unwrap() {
        let name = slo["name"].as_str().unwrap();
        if ["sliced", "worst"].contains(&name) {
            continue;
        }
        let mut sums = vec![("bad", slo["organic"].as_u64()), ("good", slo["good"].as_u64())];
        let excluded = slo["excluded"].as_object().unwrap();
        sums.extend(excluded.iter().map(|(why, count)| (&**why, count.as_u64())));
        sums.retain(|(_, count)| *count != Some(0));
        sums.sort_unstable();
        let sums = sums.into_iter().map(|(what, count)| format!("{what} {}\n", count.unwrap()));
        assert_eq!(sums.collect::<String>(), told(&proxy, name), "{name}");
    }
}

/// Slices of one failure among health checks that are well: each is bad, and those of health checks
/// alone are none.
#[test]
fn health_checks_make_no_slice_good() {
    let proxy = proxy(SLOS, &fails_as_asked(), &[]);
    let mut stream = connect(&proxy);
    let mut ask = |line: &str| {
        write!(stream, "{line}\r\nHost: t\r\n\r\n").unwrap();
        head(&mut stream).unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
    };
    let slices = |proxy: &Program, what: &str| {
        proxy.metric("backburn_slo_events_total", &["slo=\"sliced\"", what])
    };
    for bad in 1..=2 {
        for _ in 0..20 {
            ask("GET /healthz HTTP/1.1");
            ask("OPTIONS /a HTTP/1.1");
        }
        ask("GET /a HTTP/1.1\r\nx-fail: 1");
        proxy.until("the slice is over", |proxy| slices(proxy, "organic") == bad);
    }
    assert_eq!(slices(&proxy, "\"good\""), 0);
}
