//! Nothing a user can write panics, overflows, spins or sleeps past its cap: scenarios made of the
//! language's own key tables, every number at its limits; and the same for what the data path does.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use backburn::document::{TableKeys, Value};
use backburn::drill::Stage;
use backburn::drill::counters::Counters;
use backburn::drill::stage::Scene;
use backburn::drill::state::Position;
use backburn::fault::Action;
use backburn::plan::{self, Asked, Plan};
use backburn::scenario::{self, ROOT};
use backburn::sli::Ledger;
use http::{HeaderMap, Method};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::faults::{OK, Service, numbered, send};
use crate::support::proxy;

/// Scenarios of each kind.
const SCENARIOS: u64 = 500;

struct Writer(SmallRng);

impl Writer {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.0.random_range(0..of.len())]
    }

    fn chance(&mut self, share: f64) -> bool {
        self.0.random_bool(share)
    }

    fn quoted(&mut self, of: &[&str]) -> String {
        format!("\"{}\"", self.pick(of))
    }

    /// Any value that a key could take, at its limits or beyond.
    fn value(&mut self, value: Value) -> String {
        match value {
            Value::Text => self.quoted(&["", "x", "/", "/{a}/{*b}", "a: b", "\\u0000", "é", "*"]),
            Value::Name => self.quoted(&["a", "b", "silver", "gold"]),
            Value::Bool => self.pick(&["true", "false"]).to_owned(),
            Value::Integer { min, max } => {
                let around = [min, min.saturating_add(1), max, max.saturating_sub(1)];
                let beyond = [min.saturating_sub(1), max.saturating_add(1), i64::MIN, 0];
                let of = if self.chance(0.9) { around } else { beyond };
                of[self.0.random_range(0..of.len())].to_string()
            }
            Value::Number { min, max } => {
                let of = [min, max, f64::midpoint(min, max), f64::MIN_POSITIVE, f64::MAX, 1.0, 1.2];
                format!("{:?}", of[self.0.random_range(0..of.len())])
            }
            Value::Duration | Value::DurationOrNone => self.quoted(&[
                "0s", "1ns", "999ns", "1us", "1ms", "250ms", "1s", "59s", "60s", "61s", "366d",
            ]),
            Value::Share => self.quoted(&["0%", "0.0000001%", "1%", "50%", "99.9999999%", "100%"]),
            Value::Spent => self.quoted(&["0%", "99.9999999%", "130%", "1000000%", "1000001%"]),
            Value::Rate => self.quoted(&["0.000001/d", "1/h", "1/s", "1000000M/s", "1.2M/d"]),
            Value::Bytes => self.quoted(&["0B", "1B", "64KiB", "1MiB", "1024TiB", "2000TiB"]),
            Value::Bandwidth => self.quoted(&["8bit/s", "1B/s", "128TiB/s", "129TiB/s"]),
            Value::BytesOrShare => {
                self.quoted(&["0B", "1B", "1024TiB", "0%", "0.0000001%", "99.9999999%", "100%"])
            }
            Value::Coded(words) => {
                if self.chance(0.5) {
                    self.quoted(words)
                } else {
                    self.0.random_range(0..=words.len()).to_string()
                }
            }
            Value::Quantiles => self
                .pick(&[
                    "{ p50 = \"1us\", p99 = \"60s\" }",
                    "{ p0 = \"1s\", p100 = \"1s\" }",
                    "{ \"p99.9999999\" = \"366d\" }",
                    "{ p50 = \"0s\", p99 = \"1ns\" }",
                    "{}",
                ])
                .to_owned(),
            Value::Address => self.quoted(&["127.0.0.1:0", "[::1]:65535", "127.0.0.1:8900"]),
            Value::Url => self.quoted(&["http://127.0.0.1:9", "https://[::1]", "h2c://a:65535"]),
            Value::Word(words) => self.quoted(words),
            Value::Status => self.pick(&["200", "599", "\"5xx\"", "\"1xx\"", "600"]).to_owned(),
            Value::List(of) => {
                let count = self.0.random_range(0..3);
                let items: Vec<String> = (0..count).map(|_| self.value(*of)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Scalar => {
                self.pick(&["\"\"", "\"a\"", "0", "-1", "1.5", "1e308", "nan", "true"]).to_owned()
            }
            Value::Texts => self.pick(&["{}", "{ x-a = \"b\" }", "{ a = \"\" }"]).to_owned(),
            Value::Each(of) => format!("{{ x-a = {} }}", self.value(*of)),
            Value::Selector => {
                self.quoted(&["header:x-a", "cookie:a", "query:a", "client-ip", "header:"])
            }
            Value::Table(keys) => self.short_or(keys, |it| it.table(keys)),
            Value::OneOf(keys) => self.short_or(keys, |it| {
                let key = keys.keys[it.0.random_range(0..keys.keys.len())];
                format!("{{ {} = {} }}", key.name, it.value(key.value))
            }),
            Value::SomeOf(keys) => self.table(keys),
            Value::Named(keys) => {
                format!("{{ a = {}, b = {} }}", self.table(keys), self.table(keys))
            }
            Value::Tables(keys) => format!("[{}, {}]", self.table(keys), self.table(keys)),
        }
    }

    fn short_or(&mut self, keys: &'static TableKeys, long: impl Fn(&mut Self) -> String) -> String {
        match keys.short {
            Some(short) if self.chance(0.3) => self.value(short),
            _ => long(self),
        }
    }

    fn table(&mut self, keys: &'static TableKeys) -> String {
        let mut told = Vec::new();
        for key in keys.keys {
            if key.required || self.chance(0.25) {
                told.push(format!("{} = {}", key.name, self.value(key.value)));
            }
        }
        format!("{{ {} }}", told.join(", "))
    }
}

fn compiled(text: &str) -> Option<Plan> {
    let (scenario, notes) = scenario::read(vec![("t".to_owned(), text.to_owned())], &[]);
    assert!(notes.iter().all(|note| !note.message.is_empty()));
    let (plan, notes) = plan::compile(&scenario);
    assert!(plan.is_some() || !notes.is_empty(), "refused, and nobody knows why:\n{text}");
    plan
}

/// Everything decides, at the ends of the clock too, and asks for no wait beyond the cap.
fn decides(plan: Plan, cap: Duration, text: &str) -> usize {
    let plan = Arc::new(plan);
    let (ledger, mut counters) = (Ledger::new(1), Counters::default());
    let headers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-a"),
        http::HeaderValue::from_static("b"),
    )]);
    let now = std::time::Instant::now();
    let mut acted = 0;
    for phase in 0..plan.phases.len() {
        let scene = Scene {
            seed: u64::MAX,
            position: Position::Phase(phase as u16),
            injecting: true,
            releasing: false,
            phase_began: now,
        };
        let stage = Stage::new(Arc::clone(&plan), &ledger, &mut counters, scene);
        for (n, elapsed) in [0, 1, 1_000_000_000, 366 * 86_400_000_000_000_u64].iter().enumerate() {
            let asked = Asked {
                only: None,
                method: &Method::GET,
                host: "t",
                path: "/",
                query: Some("a=1"),
                headers: &headers,
                client: Some(std::net::IpAddr::from([127, 0, 0, n as u8])),
            };
            let mut struck = Vec::new();
            let at = now + Duration::from_nanos(*elapsed);
            for route in 0..plan.routes.len() {
                stage.decide(0, route as u32, &asked, at, &mut struck, &mut ());
            }
            acted += struck.len();
            for action in struck.iter().flat_map(|struck| &struck.actions) {
                let time = match action {
                    Action::Delay { time, .. } => *time,
                    Action::Serve(serve) => serve.time,
                    _ => Duration::ZERO,
                };
                assert!(time <= cap, "{time:?} is beyond {cap:?}:\n{text}");
            }
        }
    }
    acted
}

/// One fault with one kind, and what faults have in common.
#[test]
fn faults_at_their_limits() {
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in backburn::fault::KINDS {
        for seed in 0..SCENARIOS {
            let mut writer = Writer(SmallRng::seed_from_u64(seed));
            let inject = writer.value(kind.key.value);
            // What is not said in so many words ends after a minute.
            let said = inject.split("cap = \"").nth(1).and_then(|rest| rest.split('"').next());
            let cap = said.map_or(Duration::from_mins(1), |cap| {
                backburn::units::duration(cap).unwrap_or_default()
            });
            let mut text = format!(
                "[proxy]\nupstream = \"http://127.0.0.1:9\"\n[faults.it]\nroutes = [\"*\"]\n\
                 inject.{} = {inject}\n",
                kind.key.name
            );
            let shared = [
                "probability",
                "first",
                "every",
                "limit",
                "max_active",
                "bursts",
                "per",
                "cohort",
                "spread",
            ];
            let faults = ROOT.keys.iter().find(|key| key.name == "faults").unwrap();
            for key in faults.value.keys().unwrap().keys {
                if shared.contains(&key.name) && writer.chance(0.1) {
                    text += &format!("{} = {}\n", key.name, writer.value(key.value));
                }
            }
            if let Some(plan) = compiled(&text) {
                *made.entry(kind.key.name).or_default() += decides(plan, cap, &text);
            }
        }
    }
    println!("{made:?}");
    // Else the test would say nothing.
    for kind in backburn::fault::KINDS {
        assert!(made.get(kind.key.name).is_some_and(|made| *made > 50), "{made:?}");
    }
}

/// Whole scenarios, most of them wrong in several ways at once.
#[test]
fn scenarios_of_anything() {
    let mut right = 0;
    for seed in 0..3 * SCENARIOS {
        let mut writer = Writer(SmallRng::seed_from_u64(seed));
        let mut text = "proxy.upstream = \"http://127.0.0.1:9\"\n".to_owned();
        for key in ROOT.keys {
            if key.name != "proxy" && key.name != "services" && writer.chance(0.4) {
                text += &format!("{} = {}\n", key.name, writer.value(key.value));
            }
        }
        if let Some(plan) = compiled(&text) {
            right += 1;
            decides(plan, backburn::units::LONGEST, &text);
        }
    }
    assert!(right > 20, "{right}");
}

/// What the data path does at the limits of every number: while all of it goes on at once, the
/// process rests; a halt ends every wait; what ends by itself has ended.
#[test]
fn the_data_path_at_its_limits() {
    const INJECTS: [&str; 34] = [
        "latency = { delay = \"366d\", cap = \"366d\" }",
        "latency = { delay = \"366d\", cap = \"366d\", on = \"response\" }",
        "latency = { delay = \"366d\", cap = \"366d\", floor = true }",
        "latency = \"1us\"",
        "latency = { delay.pareto = { scale = \"1us\", shape = 0.2 } }",
        "abort = { how = \"hang\", cap = \"366d\" }",
        "abort = { how = \"hang\", cap = \"366d\", at = \"headers\" }",
        "abort = { how = \"hang\", cap = \"366d\", at = \"body\" }",
        "abort = { how = \"hang\", cap = \"1ns\" }",
        "abort = { how = \"reset\", at = \"body\", after = \"1024TiB\" }",
        "throttle = \"1B/s\"",
        "throttle = \"8bit/s\"",
        "throttle = { rate = \"8bit/s\", on = \"request\" }",
        "throttle = \"128TiB/s\"",
        "drip = { chunk = \"1B\", pause = \"1ns\" }",
        "drip = { chunk = \"1B\", pause = \"366d\" }",
        "drip = { chunk = \"1024TiB\", pause = \"366d\" }",
        "drip = { chunk = \"1B\", pause = \"366d\", on = \"request\" }",
        "truncate = { after.time = \"366d\" }\ninject.throttle = \"1B/s\"",
        "truncate = { after.time = \"0s\" }",
        "truncate = { after.events = 9223372036854775807 }",
        "truncate = { after.messages = 9223372036854775807 }",
        "truncate = { after = \"0.0000001%\" }",
        "truncate = { after = \"1024TiB\" }",
        "corrupt = { flip = \"0.0000001%\" }",
        "corrupt = { flip = \"100%\" }",
        "corrupt = { replace = \"\" }",
        "corrupt = { replace = \"\", on = \"request\" }",
        "rate_limit = \"0.000001/d\"",
        "rate_limit = \"1000000M/s\"",
        "saturate = { concurrency = 1, queue = 1000000, service_time = { quantiles = { p100 = \"60s\" } } }",
        "saturate = { concurrency = 1000000, service_time = \"1us\" }",
        "duplicate = 10",
        "error = { status = 599, after_upstream = true }",
    ];
    let service = Service::answering(|request| {
        if request.starts_with("POST") {
            return OK.to_vec();
        }
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec(), numbered(1000)].concat()
    });
    let mut scenario = "seed = 1\n".to_owned();
    for (n, inject) in INJECTS.iter().enumerate() {
        scenario += &format!(
            "[routes.r{n}]\npath = \"/{n}\"\n[faults.f{n}]\nroutes = [\"r{n}\"]\ninject.{inject}\n"
        );
    }
    let proxy = proxy(&scenario, &service.url, &["--workers", "2"]);
    let requests = (0..INJECTS.len()).flat_map(|n| {
        let body = "x".repeat(100);
        let post = format!("POST /{n} HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{body}");
        let get = format!("GET /{n} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        [get.clone(), get, post]
    });
    let mut streams: Vec<_> = requests.map(|it| send(&proxy, it.as_bytes())).collect();
    // Processor time, in hundredths of a second: it does not depend on who else runs.
    let spent = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
        fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
    };
    proxy.until("what waits, waits", |proxy| proxy.metric("backburn_held_requests", &[]) >= 14);
    // What ends by itself has had its time.
    std::thread::sleep(Duration::from_secs(1));
    let before = spent();
    std::thread::sleep(Duration::from_secs(2));
    let rested = spent() - before;
    assert!(rested < 60, "{rested} hundredths of a second of work in two seconds of waiting");
    proxy.admin("POST", "/api/v1/drill/halt", "");
    proxy.until("nothing is held", |proxy| proxy.metric("backburn_held_requests", &[]) == 0);
    proxy.until("all have ended", |proxy| proxy.metric("http_server_active_requests", &[]) == 0);
    for stream in &mut streams {
        // Each was answered, or ended on.
        let mut first = [0; 1];
        let _ = stream.read(&mut first);
    }
    assert_eq!(proxy.json("/api/v1/status")["state"], "halted");
}
