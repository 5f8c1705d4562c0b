//! SLOs that count operations: what is counted is what an independent caller found of its own.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use crate::support::{Program, exchange, host, proxy, status_of};
use crate::upstream::{head, service};

const SCENARIO: &str = r#"
name = "operations"
seed = 7
[routes.pay]
path = "/pay/{status}"
operation = "header:k"
[routes.refund]
path = "/refund/{status}"
operation = "header:k"
[routes.rest]
path = "/rest/{status}"
[faults.down]
routes = ["pay"]
only = { headers = { x-fail = "1" } }
inject.error = 503
[slos.whole]
objective = "90%"
sli.availability = { per = "operation" }
[slos.paid]
routes = ["pay"]
objective = "90%"
sli.availability = { per = "operation" }
[slos.each]
objective = "90%"
sli.availability = {}
[[phases]]
name = "first"
until = "next"
faults = ["down"]
[[phases]]
name = "second"
until = "next"
faults = ["down"]
"#;

/// Held requests of the service, until they are let go.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

/// Answers as the path says; `/…/0` hangs until the gate opens, and then is a 500.
fn answers(gate: &Arc<Gate>) -> String {
    let gate = Arc::clone(gate);
    service(move |mut stream: TcpStream| {
        while let Some(head) = head(&mut stream) {
            let path = head.split(' ').nth(1).unwrap();
            let mut status = path.rsplit('/').next().unwrap();
            if status == "0" {
                let open = gate.open.lock().unwrap();
                drop(gate.opened.wait_while(open, |open| !*open).unwrap());
                status = "500";
            }
            let answer = format!("HTTP/1.1 {status} S\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// One request; what a caller makes of its answer.
fn ask(url: &str, path: &str, key: Option<u64>, fails: bool) -> &'static str {
    let key = key.map_or(String::new(), |key| format!("k: {key}\r\n"));
    let fail = if fails { "x-fail: 1\r\n" } else { "" };
    let text = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{key}{fail}\r\n");
    let answer = exchange(host(url), text.as_bytes());
    match status_of(&answer) {
        0 => panic!("no answer to {text}"),
        status if status < 500 => "good",
        _ if answer.contains("x-backburn-fault: down\r\n") => "injected",
        _ => "organic",
    }
}

fn slo(proxy: &Program, name: &str) -> Value {
    proxy.json(&format!("/api/v1/slos/{name}"))
}

/// Good, injected, organic.
fn seen(slo: &Value) -> [u64; 3] {
    ["good", "injected", "organic"].map(|key| slo[key].as_u64().unwrap())
}

fn settled(proxy: &Program, name: &str, total: u64) -> [u64; 3] {
    proxy.until("settled", |proxy| slo(proxy, name)["total"] == total);
    seen(&slo(proxy, name))
}

fn in_phase(proxy: &Program, phase: &str, name: &str) -> [u64; 3] {
    let phases = proxy.json("/api/v1/phases");
    let named = |list: &Value, name: &str| -> Value {
        let found = list.as_array().unwrap().iter().find(|item| item["name"] == name);
        found.cloned().unwrap_or(Value::Null)
    };
    seen(&named(&named(&phases, phase)["slos"], name))
}

/// What callers know: by route and key, what the last attempt was.
#[derive(Default)]
struct Tally {
    last: HashMap<(&'static str, u64), &'static str>,
    alone: [u64; 3],
    attempts: [u64; 3],
}

fn place(what: &str) -> usize {
    ["good", "injected", "organic"].iter().position(|known| *known == what).unwrap()
}

impl Tally {
    fn add(&mut self, route: &'static str, key: Option<u64>, what: &'static str) {
        self.attempts[place(what)] += 1;
        match key {
            Some(key) => drop(self.last.insert((route, key), what)),
            None => self.alone[place(what)] += 1,
        }
    }

    fn operations(&self, of: impl Fn(&str) -> bool, alone: bool) -> [u64; 3] {
        let mut sums = if alone { self.alone } else { [0; 3] };
        for (_, what) in self.last.iter().filter(|((route, _), _)| of(route)) {
            sums[place(what)] += 1;
        }
        sums
    }
}

/// Four callers at a time, retries and none, two routes with the same keys, requests without one; a
/// phase ends, and a reload comes, between the attempts of some.
#[test]
fn counts_are_what_callers_found() {
    let gate = Arc::default();
    let proxy = proxy(SCENARIO, &answers(&gate), &["--workers", "2"]);
    let url = proxy.url("proxy");
    let tally = Arc::new(Mutex::new(Tally::default()));
    let round = |round: u64| {
        std::thread::scope(|scope| {
            for caller in 0..4_u64 {
                let (url, tally) = (&url, &tally);
                scope.spawn(move || {
                    for n in 0..40_u64 {
                        // Keys of a caller's own, so that it knows which attempt was the last.
                        let key = 100 * caller + n;
                        // Some come back in the second round, some do not.
                        if round == 1 && n % 3 == 0 {
                            continue;
                        }
                        let dice = (key * 7 + round * 13) % 10;
                        let path = if dice < 6 { "200" } else { "500" };
                        for (route, key) in
                            [("pay", Some(key)), ("refund", Some(key)), ("rest", None)]
                        {
                            let path = format!("/{route}/{path}");
                            let what = ask(url, &path, key, dice.is_multiple_of(3));
                            tally.lock().unwrap().add(route, key, what);
                        }
                    }
                });
            }
        });
    };
    round(0);
    assert_eq!(proxy.admin("POST", "/api/v1/drill/next", "").0, 200);
    let file = proxy.scratch.0.join("scenario.toml");
    std::fs::write(&file, SCENARIO.replace("\"90%\"", "\"91%\"")).unwrap();
    assert_eq!(proxy.admin("POST", "/api/v1/reload", "").0, 200);
    round(1);

    let tally = tally.lock().unwrap();
    let (whole, paid) = (tally.operations(|_| true, true), tally.operations(|r| r == "pay", false));
    assert!(whole.iter().chain(&paid).all(|count| *count > 0), "{whole:?} {paid:?}");
    assert_eq!(settled(&proxy, "whole", whole.iter().sum()), whole);
    assert_eq!(settled(&proxy, "paid", paid.iter().sum()), paid);
    assert_eq!(settled(&proxy, "each", tally.attempts.iter().sum()), tally.attempts);
    // Of 160 payments, those that came back are the second phase's.
    assert_eq!(paid.iter().sum::<u64>(), 160);
    let (first, second) = (in_phase(&proxy, "first", "paid"), in_phase(&proxy, "second", "paid"));
    assert_eq!((first.iter().sum::<u64>(), second.iter().sum::<u64>()), (56, 104));
    let labels = ["slo=\"paid\"", "outcome=\"good\""];
    assert_eq!(proxy.metric("backburn_slo_events_total", &labels), paid[0]);
    // The record, which alerts are proven by, carries operations too.
    let record = proxy.json("/api/v1/record");
    let series = record["slos"].as_array().unwrap().iter().find(|slo| slo["name"] == "paid");
    let series = series.unwrap();
    let last = series["sums"].as_array().unwrap().last().unwrap();
    assert_eq!((&last[1], &last[2]), (&json!(160), &json!(paid[1] + paid[2])), "{record}");
    assert_eq!(series["unit"], "operations");
    assert_eq!(series["bad_by_cause"]["injected"], paid[1]);
    let counts = proxy.json("/api/v1/routes");
    let routes = counts.as_array().unwrap();
    let pay = routes.iter().find(|route| route["name"] == "pay").unwrap();
    assert_eq!(pay["operations"]["operations"], 160, "{pay}");
}

/// What ends last is not what came last; a retry that comes in time may take its time; one that
/// comes when its operation has been counted is another.
#[test]
fn late_and_out_of_order() {
    let gate: Arc<Gate> = Arc::default();
    let proxy = proxy(SCENARIO, &answers(&gate), &[]);
    let url = proxy.url("proxy");
    // Fails at once; its retry hangs for longer than operations are waited for.
    assert_eq!(ask(&url, "/pay/500", Some(1), false), "organic");
    let held: Vec<_> = [1, 2]
        .into_iter()
        .map(|key| {
            let url = url.clone();
            std::thread::spawn(move || ask(&url, "/pay/0", Some(key), false))
        })
        .collect();
    proxy.until("both hang", |proxy| proxy.metric("http_server_active_requests", &[]) == 2);
    // The other one's caller has not waited for it.
    assert_eq!(ask(&url, "/pay/200", Some(2), false), "good");
    // A clock that the test can wait for: another operation, begun after those.
    assert_eq!(ask(&url, "/pay/200", Some(3), false), "good");
    assert_eq!(settled(&proxy, "paid", 1), [1, 0, 0]);
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    for held in held {
        assert_eq!(held.join().unwrap(), "organic");
    }
    assert_eq!(ask(&url, "/pay/500", Some(3), false), "organic");
    // Bad with its second attempt; good with the second though the first ended later; and twice.
    assert_eq!(settled(&proxy, "paid", 4), [2, 0, 2]);
    assert_eq!(seen(&slo(&proxy, "each")), [2, 0, 4]);
}

/// A halt and the end lose none of those that are waited for; the summary has them all.
#[test]
fn the_end_waits_for_no_retry() {
    let gate: Arc<Gate> = Arc::default();
    for halted in [false, true] {
        let mut proxy = proxy(SCENARIO, &answers(&gate), &["--no-meter"]);
        let url = proxy.url("proxy");
        for key in 0..30 {
            assert_eq!(ask(&url, "/pay/500", Some(key), false), "organic");
            if key < 20 {
                assert_eq!(ask(&url, "/pay/200", Some(key), false), "good");
            }
        }
        assert_eq!(ask(&url, "/pay/200", Some(30), true), "injected");
        if halted {
            assert_eq!(proxy.admin("POST", "/api/v1/drill/halt", "").0, 200);
            assert_eq!(ask(&url, "/pay/200", Some(31), true), "good");
        }
        proxy.signal("-TERM");
        let (_, said) = proxy.wait();
        let (good, of) = if halted { ("65%", 32) } else { ("64%", 31) };
        let paid = format!("slo paid: {good} good of {of} operations");
        assert!(said.contains(&paid), "{said}");
        assert!(said.contains("11 bad: 1 injected by backburn, 10 the service's own"), "{said}");
    }
}

/// A caller that leaves takes nothing back, and one that stays away is none of the SLO's.
#[test]
fn callers_that_leave() {
    let gate: Arc<Gate> = Arc::default();
    // Whoever sees them leave late: they left early.
    let patient = SCENARIO.replace("{ per", "{ abandoned_after = \"5m\", per");
    let patient = patient.replace("= {}", "= { abandoned_after = \"5m\" }");
    let proxy = proxy(&patient, &answers(&gate), &[]);
    let url = proxy.url("proxy");
    let leave = |key: u64| {
        let mut stream = crate::support::dial(host(&url));
        write!(stream, "GET /pay/0 HTTP/1.1\r\nHost: t\r\nk: {key}\r\n\r\n").unwrap();
        proxy.until("under way", |proxy| proxy.metric("http_server_active_requests", &[]) == 1);
        drop(stream);
        proxy.until("gone", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    };
    let excluded = |name: &str| slo(&proxy, name)["excluded"]["client_gone"].as_u64().unwrap();
    leave(1);
    assert_eq!(ask(&url, "/pay/200", Some(1), false), "good");
    assert_eq!(ask(&url, "/pay/500", Some(2), false), "organic");
    leave(2);
    leave(3);
    assert_eq!(excluded("each"), 3);
    proxy.until("settled", |_| excluded("paid") == 1);
    assert_eq!(settled(&proxy, "paid", 2), [1, 0, 1]);
}
