//! The kinds that depend on who else is there: rates, capacity, copies.

use std::time::{Duration, Instant};

use backburn::dice::Dice;
use rand_distr::{Distribution, Exp};

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
    let saturate = "inject.saturate = { concurrency = 1, queue = 1, service_time = \"300ms\" }";
    let proxy = faulted(saturate, &service);
    let began = Instant::now();
    let mut first = send(&proxy, GET);
    service_or_line(&proxy, 1);
    let mut second = send(&proxy, GET);
    service_or_line(&proxy, 2);
    let turned_away = text(&proxy, GET);
    assert_eq!(status(&turned_away), "503");
    for (stream, least) in [(&mut first, 300), (&mut second, 600)] {
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

/// A real run at 70 % of two slots, within 15 % of the same arrivals and service times in virtual
/// time; these are within 10 % of what theory says of endless ones.
#[test]
fn latency_grows_with_load_as_theory_says() {
    const MEAN: f64 = 0.1;
    const RATE: f64 = 14.0;
    let service = Service::start(OK);
    let scenario = "seed = 40\n[faults.it]\nroutes = [\"*\"]\ninject.saturate = { concurrency = 2, queue = 1000, service_time.exponential = { mean = \"100ms\" } }\n";
    let busy = proxy(scenario, &service.url, &[]);
    let idle = proxy("seed = 1", &service.url, &[]);
    let run = |program: &Program, count: &str| {
        let url = program.url("proxy");
        python("poisson.py", &[host(&url), &RATE.to_string(), count, "5"])
    };
    let overhead = run(&idle, "40")["mean"].as_f64().unwrap();
    let tally = run(&busy, "250");
    let due: Vec<f64> =
        tally["due"].as_array().unwrap().iter().map(|due| due.as_f64().unwrap()).collect();
    let predicted = |overhead: f64| {
        let mut free = [0.0_f64; 2];
        let times = due.iter().zip(0..).map(|(due, n)| {
            let mut dice = Dice::new(40, "it", n, "saturate");
            let time: f64 = Exp::new(1.0 / MEAN).unwrap().sample(dice.rng());
            let soonest = usize::from(free[1] < free[0]);
            free[soonest] = free[soonest].max(*due) + time + overhead;
            free[soonest] - due
        });
        times.sum::<f64>() / due.len() as f64
    };
    // Erlang C for two slots: the mean time in the system is s / (1 - rho^2).
    let rho = RATE * MEAN / 2.0;
    let theory = MEAN / (1.0 - rho * rho);
    assert!((predicted(0.0) / theory - 1.0).abs() < 0.10, "{} and {theory}", predicted(0.0));
    // What the machine adds lies within a slot's time or around it.
    let (least, most) = (predicted(0.0) * 0.85, predicted(overhead) * 1.15);
    let measured = tally["mean"].as_f64().unwrap();
    assert!(
        (least..most).contains(&measured),
        "{measured} s, predicted {least}..{most} s, overhead {overhead} s"
    );
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
