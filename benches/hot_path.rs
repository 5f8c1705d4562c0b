//! What the data path pays for routing and deciding: flat in the number of routes; and for judging
//! what an answer says, once a body.
//! `cargo bench --bench hot_path`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use backburn::drill::Stage;
use backburn::drill::counters::Counters;
use backburn::drill::stage::Scene;
use backburn::drill::state::Position;
use backburn::plan::matcher::canonical;
use backburn::plan::{self, Asked, Plan};
use backburn::sli::Ledger;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A route's keys, by its number.
type Keys = fn(usize) -> String;

fn plan_of(text: &str) -> Plan {
    let text = format!("[proxy]\nupstream = \"http://127.0.0.1:9000\"\n{text}");
    let (scenario, notes) = backburn::scenario::read(vec![("bench".to_owned(), text)], &[]);
    assert!(notes.is_empty(), "{notes:?}");
    let (plan, _) = plan::compile(&scenario);
    plan.expect("the scenarios of this file are right")
}

fn asked<'a>(headers: &'a HeaderMap, host: &'a str, path: &'a str) -> Asked<'a> {
    let method = &Method::GET;
    Asked { only: None, method, host, path, query: None, headers, client: None }
}

fn routes(criterion: &mut Criterion) {
    for count in [10, 1_000, 10_000] {
        let shapes: [(&str, Keys); 3] = [
            ("literal", |n| format!("path = \"/api/v1/r{n}/items\"")),
            ("template", |n| format!("path = \"/r{n}/{{id}}/items/{{item}}\"")),
            ("host", |n| format!("host = \"h{n}.example\"")),
        ];
        for (shape, keys) in shapes {
            let text: String =
                (0..count).map(|n| format!("[routes.r{n}]\n{}\n", keys(n))).collect();
            let plan = plan_of(&text);
            let half = count / 2;
            let (path, host) = match shape {
                "literal" => (format!("/api/v1/r{half}/items"), "t".to_owned()),
                "template" => (format!("/r{half}/77/items/9"), "t".to_owned()),
                _ => ("/any/path".to_owned(), format!("h{half}.example")),
            };
            let headers = HeaderMap::new();
            let asked = asked(&headers, &host, &path);
            assert!(plan.matcher.find(&asked).is_some());
            criterion.bench_function(&format!("route/{shape}/{count}"), |bench| {
                bench.iter(|| plan.matcher.find(&asked));
            });
        }
    }
}

/// What every request pays for being told from a health check, beside its route.
fn health(criterion: &mut Criterion) {
    let plan = plan_of("[routes.a]\npath = \"/api/items/{id}\"\n[routes.b]\npath = \"/{*rest}\"\n");
    let fields = |fields: &[(&'static str, &'static str)]| -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    };
    let bare = fields(&[("host", "shop.example")]);
    let browser = fields(&[
        ("host", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en"),
        ("accept-encoding", "gzip, br"),
        ("cookie", "session=0123456789abcdef"),
        ("referer", "https://shop.example/"),
    ]);
    let cases = [
        ("bare", &bare, "/api/items/77"),
        ("a browser", &browser, "/api/items/77"),
        ("/health", &bare, "/health/of/nations"),
    ];
    for (name, headers, path) in cases {
        let asked = asked(headers, "shop.example", path);
        criterion.bench_function(&format!("health/{name}, route alone"), |bench| {
            bench.iter(|| plan.matcher.find(black_box(&asked)));
        });
        criterion.bench_function(&format!("health/{name}, both"), |bench| {
            bench.iter(|| {
                let asked = black_box(&asked);
                let path = canonical(asked.path);
                (plan.matcher.find_at(&path, asked), asked.is_health_check_at(&path))
            });
        });
    }
}

fn decide(criterion: &mut Criterion) {
    let cases = [
        ("0 faults", 0, ""),
        ("1 faults", 1, ""),
        ("3 faults", 3, ""),
        ("1 even", 1, "spread = \"even\"\n"),
        ("1 in bursts", 1, "bursts = { on = \"5s\", off = \"30s\" }\n"),
    ];
    for (name, count, more) in cases {
        let text: String = (0..count)
            .map(|n| {
                format!(
                    "[faults.f{n}]\nroutes = [\"*\"]\nprobability = \"1%\"\n{more}\
                     inject.latency = \"1s\"\n"
                )
            })
            .collect();
        let plan = Arc::new(plan_of(&text));
        let now = backburn::clock::now();
        let scene = Scene {
            seed: 42,
            position: Position::Phase(0),
            injecting: true,
            releasing: false,
            phase_began: now,
        };
        let stage = Stage::new(plan, &Ledger::new(1), &mut Counters::default(), scene);
        let headers = HeaderMap::new();
        let asked = asked(&headers, "t", "/");
        let mut struck = Vec::new();
        // The clock goes on by a millisecond a request, as bursts would have it.
        let mut later = now;
        criterion.bench_function(&format!("decide/{name}"), |bench| {
            bench.iter(|| {
                struck.clear();
                later += Duration::from_millis(1);
                stage.decide(0, 0, &asked, later, &mut struck, &mut ());
            });
        });
    }
}

/// What a request over HTTP/1 pays for being looked at before hyper reads it.
fn heads(criterion: &mut Criterion) {
    let small = "GET /128 HTTP/1.1\r\nHost: 127.0.0.1:8900\r\n\r\n".to_owned();
    let browsers = format!(
        "GET /api/items?page=2 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: {}\r\nAccept: {}\r\n\
         Accept-Language: en\r\nAccept-Encoding: gzip, br\r\nReferer: https://shop.example/\r\n\
         Cookie: {}\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n\r\n",
        "m".repeat(110),
        "a".repeat(80),
        "c".repeat(200)
    );
    let upload = format!(
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 16384\r\n\r\n{}",
        "x".repeat(16_384)
    );
    for (name, text) in [("small", small), ("a browser's", browsers), ("16 KiB", upload)] {
        let mut heads = backburn::proxy::heads::Heads::default();
        criterion.bench_function(&format!("heads/{name}"), |bench| {
            bench.iter(|| heads.see(black_box(text.as_bytes())));
        });
    }
}

/// What a body that is asked about pays, once.
fn check(criterion: &mut Criterion) {
    let asks = [
        ("json", "json_pointer = { at = \"/status\", equals = \"ok\" }"),
        ("regex", "body_regex = '\"status\": ?\"ok\"'"),
    ];
    for (kind, ask) in asks {
        let text = format!("[slos.a]\nobjective = \"99%\"\nsli.correctness = {{ {ask} }}\n");
        let plan = plan_of(&text);
        let check = &plan.routes[0].checks[0];
        for items in [15, 1_000] {
            let item =
                |n: usize| format!("{{\"id\": {n}, \"name\": \"tea {n}\", \"tags\": [\"a\"]}}, ");
            let items: String = (0..items).map(item).collect();
            let body = format!("{{\"items\": [{items}0], \"status\": \"ok\"}}");
            assert_eq!(check.takes_body(body.as_bytes(), false), Some(true));
            criterion.bench_function(&format!("check/{kind}/{} bytes", body.len()), |bench| {
                bench.iter(|| check.takes_body(body.as_bytes(), false));
            });
        }
    }
}

criterion_group!(benches, routes, health, decide, heads, check);
criterion_main!(benches);
