//! Decisions are a function of the ordinal that the request log shows: whatever the number of
//! workers, the order of arrival, the traffic on other routes, and reloads that do not touch the
//! fault.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use backburn::dice::Stream;
use backburn::fault::Action;
use serde_json::Value;

use crate::faults::{OK, Service};
use crate::support::{Program, exchange, host, proxy, status_of};

const SCENARIO: &str = r#"
seed = 11
[sampling]
file = "requests.jsonl"
rest = "100%"
[routes.a]
path = "/a"
[routes.b]
path = "/b"
[faults.slow]
routes = ["a"]
probability = "30%"
inject.latency = { delay.uniform = { min = "1us", max = "8ms" } }
[faults.fails]
routes = ["a", "b"]
probability = "20%"
only = { methods = ["GET"] }
inject.error = 503
[faults.this]
group = "either"
routes = ["a"]
probability = "10%"
inject.latency = "1ms"
inject.headers = { set = { x-a = "b" } }
[faults.that]
group = "either"
routes = ["a"]
probability = "20%"
inject.error = 500
[faults.tenth]
routes = ["a"]
every = 10
inject.latency = { delay.exponential = { mean = "1ms" } }
[faults.elsewhere]
routes = ["b"]
probability = "50%"
inject.error = 502
[slos.a]
objective = "99%"
sli.availability = {}
"#;
/// On route `a`.
const REQUESTS: usize = 400;

/// What a fault decided for its n-th request.
type Decided = BTreeMap<u64, Value>;

/// Every line that the log has, when all are there.
fn lines(proxy: &Program, count: u64) -> Vec<Value> {
    proxy.until("all are written", |proxy| {
        proxy.metric("backburn_request_log_total", &["written"]) == count
    });
    assert_eq!(proxy.metric("backburn_request_log_total", &[]), count);
    let text = std::fs::read_to_string(proxy.scratch.0.join("requests.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ask(proxy: &Program, method: &str, path: &str) -> u16 {
    let request = format!("{method} {path}?q HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    status_of(&exchange(host(&proxy.url("proxy")), request.as_bytes()))
}

/// Sends so many requests by eight callers, with some to another route between them; at half of
/// them, `halfway` is done. What each fault decided, by ordinal.
fn run(workers: &str, others: usize, halfway: impl Fn(&Program)) -> BTreeMap<String, Decided> {
    let service = Service::start(OK);
    let proxy = proxy(SCENARIO, &service.url, &["--workers", workers]);
    let (next, bad) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let clients = |upto: usize| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while next.load(Ordering::Relaxed) < upto {
                        if next.fetch_add(1, Ordering::Relaxed) >= upto {
                            break;
                        }
                        for _ in 0..others {
                            // Not eligible for `fails`, which is on both routes.
                            ask(&proxy, "POST", "/b");
                        }
                        let status = ask(&proxy, "GET", "/a");
                        bad.fetch_add(usize::from(status != 200), Ordering::Relaxed);
                    }
                });
            }
        });
        next.store(upto, Ordering::Relaxed);
    };
    clients(REQUESTS / 2);
    halfway(&proxy);
    clients(REQUESTS);
    let lines = lines(&proxy, (REQUESTS * (others + 1)) as u64);
    let of_a: Vec<&Value> = lines.iter().filter(|line| line["route"] == "a").collect();
    assert_eq!(of_a.len(), REQUESTS);
    // What the log says is what the callers saw, and what was counted.
    let failed = of_a.iter().filter(|line| line["slos"]["a"] == "injected").count();
    assert_eq!(failed, bad.load(Ordering::Relaxed));
    let mut decided: BTreeMap<String, Decided> = BTreeMap::new();
    for line in of_a {
        assert_eq!((&line["path"], &line["phase"]), (&"/a".into(), &"drill".into()), "{line}");
        for draw in line["draws"].as_array().unwrap() {
            let fault = draw["fault"].as_str().unwrap().to_owned();
            let n = draw["n"].as_u64().unwrap();
            let before = decided.entry(fault).or_default().insert(n, draw.clone());
            assert_eq!(before, None, "an ordinal is given once");
        }
    }
    for (fault, decided) in &decided {
        let ordinals: Vec<u64> = decided.keys().copied().collect();
        assert_eq!(ordinals, (0..REQUESTS as u64).collect::<Vec<_>>(), "{fault}");
    }
    decided
}

#[test]
fn decisions_follow_from_the_ordinal() {
    let alone = run("1", 0, |_| {});
    assert_eq!(alone.len(), 5);
    for (workers, others) in [("2", 1), ("8", 3)] {
        let again = run(workers, others, |proxy| {
            // A reload that touches another fault, a pause, and a live change to one more.
            let file = proxy.scratch.0.join("scenario.toml");
            let other = SCENARIO.replace("\"50%\"", "\"60%\"");
            std::fs::write(file, format!("# edited\n{other}")).unwrap();
            let (status, report) = proxy.admin("POST", "/api/v1/reload", "");
            assert_eq!(status, 200, "{report}");
            assert_eq!(proxy.admin("POST", "/api/v1/drill/pause", "").0, 200);
            assert_eq!(proxy.admin("POST", "/api/v1/drill/resume", "").0, 200);
            let set = "{\"probability\": \"1%\"}";
            let (status, _) = proxy.admin("PATCH", "/api/v1/faults/elsewhere/override", set);
            assert_eq!(status, 200);
        });
        assert_eq!(again, alone, "{workers} workers");
    }
    // And it is the function it is said to be: the draw below the share, the delay of the dice.
    let text = format!("[proxy]\nupstream = \"http://127.0.0.1:9\"\n{SCENARIO}");
    let (scenario, _) = backburn::scenario::read(vec![("t".to_owned(), text)], &[]);
    let plan = backburn::plan::compile(&scenario).0.unwrap();
    let (slow, stream) = (&plan.faults[0], Stream::new(11, "slow"));
    for (n, draw) in &alone["slow"] {
        let drawn = f64::from(stream.hit(*n)) / 1e9;
        assert_eq!((&draw["drawn"], &draw["hit"]), (&drawn.into(), &(drawn < 0.3).into()), "{n}");
        let asks = draw["asks"].as_array().map(|asks| &asks[0]["delay_us"]);
        let Action::Delay { time, .. } = slow.kinds[0].decide(&mut stream.dice(*n, "latency"))
        else {
            panic!("it delays");
        };
        let micros = u64::try_from(time.as_micros()).unwrap();
        assert_eq!(asks, (drawn < 0.3).then_some(&micros.into()), "{n}");
    }
    let hit = |fault: &str, n: u64| alone[fault][&n]["hit"] == true;
    for n in 0..REQUESTS as u64 {
        assert!(!(hit("this", n) && hit("that", n)), "a group hits once");
        assert_eq!(hit("tenth", n), n % 10 == 9, "{n}");
    }
}

/// A log that cannot be written is counted and told, and holds nothing up.
#[test]
fn a_log_that_cannot_be_written() {
    let service = Service::start(OK);
    let scenario = "[sampling]\nfile = \"/dev/full\"\nrest = \"100%\"\n";
    let proxy = proxy(scenario, &service.url, &[]);
    for _ in 0..20 {
        assert_eq!(ask(&proxy, "POST", "/a"), 200);
    }
    proxy.until("told", |proxy| proxy.metric("backburn_request_log_total", &["failed"]) == 20);
    let said = std::fs::read_to_string(proxy.scratch.0.join("stderr")).unwrap();
    assert_eq!(said.matches("the request log is not written any more").count(), 1, "{said}");
}

/// It grows no larger than it may; what would not fit is counted.
#[test]
fn a_log_of_limited_size() {
    let service = Service::start(OK);
    let scenario = "[sampling]\nfile = \"log\"\nrest = \"100%\"\nmax_size = \"2KB\"\n";
    let proxy = proxy(scenario, &service.url, &[]);
    for _ in 0..30 {
        assert_eq!(ask(&proxy, "POST", "/a"), 200);
    }
    let logged = |proxy: &Program, what: &str| proxy.metric("backburn_request_log_total", &[what]);
    proxy.until("all are told", |proxy| logged(proxy, "") == 30);
    assert!(logged(&proxy, "full") > 0 && logged(&proxy, "dropped") == 0);
    let text = std::fs::read_to_string(proxy.scratch.0.join("log")).unwrap();
    assert_eq!(text.lines().count() as u64, logged(&proxy, "written"));
    assert!(text.len() <= 2000 && text.lines().all(|line| line.ends_with('}')), "{text}");
}

/// Everything is in the file when the process has ended; without `[sampling]` there is nothing.
#[test]
fn the_log_is_whole_at_the_end() {
    let service = Service::start(OK);
    let mut logged = proxy(SCENARIO, &service.url, &[]);
    for _ in 0..50 {
        ask(&logged, "GET", "/b");
    }
    let recent = logged.json("/api/v1/requests");
    logged.signal("-TERM");
    assert_eq!(logged.wait().0, Some(0));
    let text = std::fs::read_to_string(logged.scratch.0.join("requests.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 50);
    for line in recent.as_array().unwrap() {
        assert!(text.contains(&line.to_string()), "{line}");
    }
    let without = proxy("seed = 1", &service.url, &[]);
    assert_eq!(ask(&without, "GET", "/b"), 200);
    assert_eq!(without.admin("GET", "/api/v1/requests", "").0, 404);
    assert!(!without.admin("GET", "/metrics", "").1.contains("backburn_request_log"));
}
