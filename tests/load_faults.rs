//! The kinds that depend on who else is there: rates, capacity, copies.

use std::time::{Duration, Instant};

use backburn::dice::Dice;
use rand_distr::{Distribution, Exp};
use serde_json::Value;

use crate::faults::{GET, OK, Service, cause, faulted, good, injected, read_all, send, text};
use crate::support::{Program, host, proxy, python};

fn get(fields: &str) -> Vec<u8> {
    format!("GET /a HTTP/1.1\r\nHost: t\r\n{fields}Connection: close\r\n\r\n").into_bytes()
}

fn status(answer: &str) -> &str {
    &answer[9..12]
}

/// The burst gets through, the rest is told when to come back, and what gets through is untouched.
#[test]
fn a_rate_limit_turns_away_what_is_too_much() {
    let service = Service::start(OK);
    let proxy = faulted("inject.rate_limit = { rate = \"2/m\", burst = 2 }", &service);
    let answers: Vec<String> = (0..5).map(|_| text(&proxy, GET)).collect();
    let statuses: Vec<&str> = answers.iter().map(|answer| status(answer)).collect();
    assert_eq!(statuses, ["200", "200", "429", "429", "429"]);
    assert!(!answers[0].contains("x-backburn-fault"), "{}", answers[0]);
    assert!(answers[2].contains("x-backburn-fault: it"), "{}", answers[2]);
    let wait: u64 = {
        let field = answers[4].split("retry-after: ").nth(1).unwrap();
        field.split("\r\n").next().unwrap().parse().unwrap()
    };
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(
        (injected(&proxy, "rate_limit"), cause(&proxy, "injected"), good(&proxy)),
        (3, 3, 2)
    );
}

/// Coming back when told to is enough.
#[test]
fn the_retry_after_is_true() {
    let service = Service::start(OK);
    let proxy = faulted("inject.rate_limit = { rate = \"1/s\", burst = 1 }", &service);
    assert_eq!(status(&text(&proxy, GET)), "200");
    let answer = text(&proxy, GET);
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(status(&text(&proxy, GET)), "200");
}

#[test]
fn a_bucket_for_each_value() {
    let service = Service::start(OK);
    let limit = "inject.rate_limit = { rate = \"1/h\", per = \"header:x-tenant\", status = 503 }";
    let proxy = faulted(limit, &service);
    let ask = |tenant: &str| status(&text(&proxy, &get(tenant))).to_owned();
    let tenants = ["x-tenant: a\r\n", "x-tenant: b\r\n", "x-tenant: a\r\n", "", ""];
    let statuses: Vec<String> = tenants.iter().map(|tenant| ask(tenant)).collect();
    // Who is nobody is not limited, and counted.
    assert_eq!(statuses, ["200", "200", "503", "200", "200"]);
    assert_eq!(proxy.metric("backburn_faults_skipped_total", &["no_value"]), 2);
}

/// One is served, one waits, one is turned away; the slot is held while the service works.
#[test]
fn a_saturated_service() {
    let service = Service::start(OK);
    let saturate = "inject.saturate = { concurrency = 1, queue = 1, service_time = \"2s\" }";
    let proxy = faulted(saturate, &service);
    let began = Instant::now();
    let mut first = send(&proxy, GET);
    service_or_line(&proxy, 1);
    let mut second = send(&proxy, GET);
    service_or_line(&proxy, 2);
    let turned_away = text(&proxy, GET);
    assert_eq!(status(&turned_away), "503");
    for (stream, least) in [(&mut first, 2_000), (&mut second, 4_000)] {
        assert!(read_all(stream).0.ends_with(b"hello"));
        assert!(began.elapsed() >= Duration::from_millis(least), "{:?}", began.elapsed());
    }
    assert_eq!((injected(&proxy, "saturate"), cause(&proxy, "injected"), good(&proxy)), (3, 1, 2));
}

fn service_or_line(proxy: &Program, count: u64) {
    proxy.until("it is there", |proxy| proxy.metric("backburn_held_requests", &[]) == count);
}

/// Whoever leaves the line or a slot makes room; a halt lets everybody through.
#[test]
fn a_line_that_people_leave() {
    let service = Service::start(OK);
    let saturate = "inject.saturate = { concurrency = 1, queue = 1, service_time = \"30s\" }";
    let proxy = faulted(saturate, &service);
    let first = send(&proxy, GET);
    service_or_line(&proxy, 1);
    let second = send(&proxy, GET);
    service_or_line(&proxy, 2);
    drop(second);
    service_or_line(&proxy, 1);
    let mut third = send(&proxy, GET);
    service_or_line(&proxy, 2);
    drop(first);
    service_or_line(&proxy, 1);
    let mut fourth = send(&proxy, GET);
    service_or_line(&proxy, 2);
    proxy.admin("POST", "/api/v1/drill/halt", "");
    for stream in [&mut third, &mut fourth] {
        assert!(read_all(stream).0.ends_with(b"hello"));
    }
    assert_eq!((cause(&proxy, "injected"), good(&proxy)), (2, 2));
}

/// Requests at 70 % of what two slots can do. In virtual time, what they take is within 10 % of what
/// theory says of endless ones. In the real run each waits until one of the two before it has left,
/// and then for its own time: no less, and hardly more, however busy the machine makes all of it.
#[test]
fn latency_grows_with_load_as_theory_says() {
    const MEAN: f64 = 0.1;
    const RATE: f64 = 14.0;
    let service = Service::start(OK);
    let scenario = "seed = 40\n[sampling]\nfile = \"requests.jsonl\"\nrest = \"100%\"\n[faults.it]\nroutes = [\"*\"]\ninject.saturate = { concurrency = 2, queue = 1000, service_time.exponential = { mean = \"100ms\" } }\n";
    let proxy = proxy(scenario, &service.url, &[]);
    let tally = python("poisson.py", &[host(&proxy.url("proxy")), &RATE.to_string(), "250", "5"]);
    let takes = |n: u64| -> f64 {
        let mut dice = Dice::new(40, "it", n, "saturate");
        Exp::new(1.0 / MEAN).unwrap().sample(dice.rng())
    };
    let mut free = [0.0_f64; 2];
    let due = tally["due"].as_array().unwrap().iter().map(|due| due.as_f64().unwrap());
    let times: Vec<f64> = due
        .zip(0..)
        .map(|(due, n)| {
            let slot = usize::from(free[1] < free[0]);
            free[slot] = free[slot].max(due) + takes(n);
            free[slot] - due
        })
        .collect();
    let predicted = times.iter().sum::<f64>() / times.len() as f64;
    // Erlang C for two slots: the mean time in the system is s / (1 - rho^2).
    let rho = RATE * MEAN / 2.0;
    let theory = MEAN / (1.0 - rho * rho);
    assert!((predicted / theory - 1.0).abs() < 0.10, "{predicted} and {theory}");

    proxy.until("all are written", |proxy| {
        proxy.metric("backburn_request_log_total", &["written"]) == 250
    });
    let log = std::fs::read_to_string(proxy.scratch.0.join("requests.jsonl")).unwrap();
    let mut lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["draws"][0]["n"].as_u64());
    let mut free = [0.0_f64; 2];
    let mut late: Vec<f64> = Vec::new();
    for (line, n) in lines.iter().zip(0..) {
        assert_eq!(line["draws"][0]["n"], n, "{line}");
        let micros = |key: &str| line[key].as_f64().unwrap() / 1e6;
        let at: jiff::Timestamp = line["at"].as_str().unwrap().parse().unwrap();
        let at = at.as_microsecond() as f64 / 1e6;
        let slot = usize::from(free[1] < free[0]);
        let line_ends = free[slot].max(at);
        late.push(micros("held_us") - (line_ends - at) - takes(n));
        free[slot] = at + micros("total_us");
    }
    late.sort_by(f64::total_cmp);
    println!(
        "late by {} s at least, {} s at the median, {} s at most",
        late[0], late[125], late[249]
    );
    // A slot is free again a moment before its answer is out: a long one, now and then, where the
    // machine is busy.
    assert!(late[12] > -0.02, "early by {} s", -late[12]);
    assert!(late[125] < 0.05, "late by {} s at the median", late[125]);
}

/// The service sees it again, the caller and the SLI do not.
#[test]
fn a_request_that_comes_twice() {
    let service = Service::start(OK);
    let proxy = faulted("inject.duplicate = 2", &service);
    let post = |length: usize, chunked: bool| {
        let body = "x".repeat(length);
        let (field, body) = if chunked {
            ("Transfer-Encoding: chunked".to_owned(), format!("{length:x}\r\n{body}\r\n0\r\n\r\n"))
        } else {
            (format!("Content-Length: {length}"), body)
        };
        format!(
            "POST /a HTTP/1.1\r\nHost: t\r\nX-Id: 1\r\nConnection: close\r\n{field}\r\n\r\n{body}"
        )
    };
    let saw = |count: usize| -> Vec<String> { (0..count).map(|_| service.saw().1).collect() };
    let body = |request: &str| request.split_once("\r\n\r\n").unwrap().1.to_owned();
    for (request, copied) in [
        (String::from_utf8(GET.to_vec()).unwrap(), ""),
        (post(5, false), "xxxxx"),
        (post(5, true), "xxxxx"),
    ] {
        assert!(text(&proxy, request.as_bytes()).ends_with("hello"));
        let seen = saw(3);
        let copies = seen.iter().filter(|seen| body(seen) == copied).count();
        assert!(copies >= 2, "{seen:?}");
        let kept = |seen: &String| seen.to_ascii_lowercase().contains("x-id: 1");
        assert!(copied.is_empty() || seen.iter().all(kept), "{seen:?}");
    }
    assert!(text(&proxy, post(100_000, false).as_bytes()).ends_with("hello"));
    saw(1);
    assert_eq!(proxy.metric("backburn_faults_skipped_total", &["too_large"]), 1);
    assert_eq!((injected(&proxy, "duplicate"), good(&proxy)), (3, 4));
    assert!(service.seen.try_recv().is_err(), "no more than that");
}
