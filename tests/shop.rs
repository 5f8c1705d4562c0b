//! The sample shop, the load generator, and the verbs without a drill: what the other tests and
//! the demo stand on.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::faults::{OK, Service};
use crate::support::{BACKBURN, Program, Scratch, exchange, host, proxy, python, shop, status_of};

fn shop_with(more: &[&str]) -> Program {
    let free = ["--listen", "127.0.0.1:0", "--payments-listen", "127.0.0.1:0"];
    Program::start("sample-service", &[&free[..], more].concat())
}

fn ask(url: &str, line: &str) -> String {
    let host = host(url);
    let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    exchange(host, head.as_bytes())
}

fn backburn(arguments: &[&str]) -> Output {
    let scratch = Scratch::new();
    let mut command = Command::new(BACKBURN);
    command.current_dir(&scratch.0).env_remove("XDG_RUNTIME_DIR").args(arguments);
    command.output().unwrap()
}

fn load(arguments: &[&str]) -> Value {
    let output = backburn(&[&["load", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn checkout_retries_gives_up_and_falls_back() {
    let well = shop();
    let paid = ask(&well.url("checkout"), "POST /api/checkout/42");
    assert_eq!(status_of(&paid), 200, "{paid}");
    assert!(paid.contains("\"attempts\":1"), "{paid}");

    let down = shop_with(&["--payments-url", "http://127.0.0.1:1"]);
    let url = down.url("checkout");
    assert_eq!(status_of(&ask(&url, "POST /api/checkout/42")), 502);
    assert_eq!(status_of(&ask(&url, "POST /api/checkout/42?fallback=1")), 202);

    let slow = shop_with(&["--charge-takes", "60s", "--payments-timeout", "50ms"]);
    assert_eq!(status_of(&ask(&slow.url("checkout"), "POST /api/checkout/42")), 504);
}

/// A fault at payments is not the same fault at checkout: one failure a retry takes away, two in a
/// row it does not; and at payments both are injected.
#[test]
fn a_retry_takes_one_failure_away() {
    let behind = shop();
    for (failures, status) in [(1, 200), (2, 502)] {
        let scenario = format!(
            "[faults.no]\nroutes = [\"*\"]\nfirst = {failures}\ninject.error = 503\n\
             [slos.a]\nobjective = \"99%\"\nsli.availability = {{}}\n"
        );
        let payments = proxy(&scenario, &behind.url("payments"), &[]);
        let front = shop_with(&["--payments-url", &payments.url("proxy")]);
        let answer = ask(&front.url("checkout"), "POST /api/checkout/42");
        assert_eq!(status_of(&answer), status, "{answer}");
        assert!(answer.contains("\"attempts\":2"), "{answer}");
        payments.until("counted", |payments| {
            payments.metric("backburn_slo_events_total", &["cause=\"injected\""]) == failures
                && payments.metric("backburn_slo_events_total", &[]) == 2
        });
    }
}

#[test]
fn a_charge_is_made_once_a_key() {
    let shop = shop();
    let url = shop.url("payments");
    let charge = || ask(&url, "POST /v2/charges HTTP/1.1\r\nIdempotency-Key: a\r\nX-Rest:");
    assert!(charge().contains("\"repeated\":false"));
    assert!(charge().contains("\"repeated\":true"));
}

#[test]
fn load_and_an_independent_client_count_the_same() {
    let shop = shop();
    let url = shop.url("checkout");
    let tally = load(&[&url, "--rps", "400", "--for", "500ms", "--request", "GET /flaky"]);
    assert_eq!(tally["status"], json!({"200": 190, "500": 10}), "{tally}");
    assert_eq!(tally["errors"], json!({}));
    let tally = python("tally.py", &[&url, "200", "4", "-", "GET", "0", "/flaky"]);
    assert_eq!(tally["statuses"], json!({"200": 190, "500": 10}), "{tally}");
}

/// One connection, 100 ms an answer, 20 due within a second: the last waits for a second more.
#[test]
fn load_queues_and_counts_from_when_a_request_was_due() {
    let shop = shop();
    let one = ["--rps", "20", "--for", "1s", "--connections", "1"];
    let tally = load(
        &[&[shop.url("checkout").as_str(), "--request", "GET /slow?ms=100"], &one[..]].concat(),
    );
    assert_eq!(tally["done"], 20, "{tally}");
    assert!(tally["latency_ms"]["max"].as_f64() > Some(1000.0), "{tally}");
}

#[test]
fn load_mixes_by_weight_and_gives_up_in_time() {
    let shop = shop();
    let url = shop.url("checkout");
    let mix = ["--request", "3 GET /api/items", "--request", "GET /nowhere"];
    let tally = load(&[&[url.as_str(), "--rps", "200", "--for", "200ms"], &mix[..]].concat());
    assert_eq!(tally["status"], json!({"200": 30, "404": 10}), "{tally}");
    let never = ["--request", "GET /slow?ms=60000", "--timeout", "100ms", "--slow", "50ms"];
    let tally = load(&[&[url.as_str(), "--rps", "10", "--for", "500ms"], &never[..]].concat());
    assert_eq!((&tally["errors"], &tally["delayed"]), (&json!({"timeout": 5}), &json!(5)));
}

#[test]
fn verbs_end_with_the_codes_of_the_contract() {
    let code = |arguments: &[&str]| backburn(arguments).status.code();
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["run"]), Some(2), "neither a file nor an upstream");
    assert_eq!(code(&["load", "http://127.0.0.1:1", "--for", "5"]), Some(2), "no unit");
    assert_eq!(code(&["load", "https://127.0.0.1:1"]), Some(2), "no TLS");
    for verb in ["halt", "status", "pause", "resume", "start", "finish"] {
        assert_eq!(code(&[verb]), Some(5), "{verb} with nothing running");
    }
    assert_eq!(code(&["halt", "--admin-url", "http://127.0.0.1:1"]), Some(5));
}

/// A variable sets a flag as people write it: 1 or 0, and empty is as good as unset.
#[test]
fn variables_set_flags() {
    let scratch = Scratch::new();
    let warned = "[faults.a]\nroutes = [\"*\"]\nprobability = \"0%\"\ninject.error = 503\n\
                  [services.a]\nurl = \"http://127.0.0.1:1\"\n[[phases]]\nname = \"a\"\nfor = \"1s\"\n";
    let file = scratch.file("warned.toml", warned);
    let file = file.to_str().unwrap();
    let set = |name: &str, value: &str, arguments: &[&str]| {
        let mut command = Command::new(BACKBURN);
        command.current_dir(&scratch.0).env_remove("XDG_RUNTIME_DIR").env(name, value);
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("invalid value"), "{name}={value} {arguments:?}: {said}");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for (value, strict, json) in
        [("1", 2, true), ("true", 2, true), ("0", 0, false), ("", 0, false)]
    {
        let (code, _) = set("BACKBURN_STRICT", value, &["check", file]);
        assert_eq!(code, Some(strict), "BACKBURN_STRICT={value}");
        let (_, printed) = set("BACKBURN_JSON", value, &["check", file]);
        assert_eq!(serde_json::from_str::<Value>(&printed).is_ok(), json, "BACKBURN_JSON={value}");
        for (name, arguments) in [
            ("BACKBURN_JSON", vec!["halt"]),
            ("BACKBURN_JSON", vec!["status"]),
            ("BACKBURN_ACCEPT", vec!["reload"]),
            ("BACKBURN_CLEAR", vec!["set", "a"]),
            ("BACKBURN_JSON", vec!["explain", file, "--request", "/"]),
            ("BACKBURN_JSON", vec!["load", "nowhere"]),
            ("BACKBURN_HOLD", vec!["run", "absent.toml"]),
            ("BACKBURN_EXIT_WHEN_DONE", vec!["run", "absent.toml"]),
            ("BACKBURN_NO_METER", vec!["run", "absent.toml"]),
        ] {
            set(name, value, &arguments);
        }
    }
}

/// What cannot be called is told before anything is called ready.
#[test]
fn a_url_that_checkout_cannot_call() {
    let scratch = Scratch::new();
    let ready = scratch.0.join("ready.json");
    let output = backburn(&[
        "sample-service",
        "--payments-url",
        "ftp://127.0.0.1:1",
        "--ready-file",
        ready.to_str().unwrap(),
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("ftp://127.0.0.1:1"), "{said}");
    assert!(!ready.exists());
}

/// SIGHUP means nothing to the shop: it ends it, as it ends whatever does not know it.
#[test]
fn a_hangup_ends_the_shop() {
    let mut shop = shop();
    shop.signal("-HUP");
    assert_eq!(shop.wait().0, None, "by the signal");
}

/// Interrupted, `load` says what it saw until then.
#[test]
fn an_interrupted_load_tells_so_far() {
    let service = Service::start(OK);
    let arguments = [&service.url, "--rps", "500", "--for", "10m", "--json", "--connections", "4"];
    let mut load = Program::launch(Scratch::new(), "load", &arguments);
    // With the fifth, one of the four connections is through with its first.
    (0..5).for_each(|_| drop(service.saw()));
    load.signal("-INT");
    let (code, said) = load.wait();
    assert_eq!(code, Some(130), "{said}");
    let printed = std::fs::read_to_string(load.scratch.0.join("stdout")).unwrap();
    let tally: Value = serde_json::from_str(&printed).unwrap();
    assert!(tally["done"].as_u64().unwrap() > 0, "{tally}");
}
