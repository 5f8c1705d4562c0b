//! Phases: what is injected when, and what is counted under which.

use serde_json::{Value, json};

use crate::support::{Program, exchange, host, proxy, python, shop, status_of};

const SCRIPT: &str = "seed = 7\n[faults.broken]\nroutes = [\"*\"]\nprobability = \"5%\"\n\
    inject.error = 503\n[slos.a]\nobjective = \"99%\"\nsli.availability = {}\n\
    [[phases]]\nname = \"baseline\"\nuntil = \"next\"\n\
    [[phases]]\nname = \"some\"\nuntil = \"next\"\nfaults = [\"broken\"]\n\
    [[phases]]\nname = \"all\"\nuntil = \"next\"\nfaults = [\"broken\"]\nset.broken.probability = \"100%\"\n\
    [[phases]]\nname = \"recovery\"\nfor = \"300ms\"\n";

fn next(proxy: &Program, body: &str) -> (u16, Value) {
    let (status, text) = proxy.admin("POST", "/api/v1/drill/next", body);
    (status, serde_json::from_str(&text).unwrap())
}

fn phase(proxy: &Program, name: &str) -> Value {
    let phases = proxy.json("/api/v1/phases");
    let found = phases.as_array().unwrap().iter().find(|phase| phase["name"] == name);
    found.cloned().unwrap_or(Value::Null)
}

/// Each phase has its own faults and its own counts, which sum to the drill's.
#[test]
fn counts_belong_to_their_phase() {
    let shop = shop();
    let proxy = proxy(SCRIPT, &shop.url("checkout"), &[]);
    let tally = |requests: &str| python("tally.py", &[&proxy.url("proxy"), requests, "4", "-"]);
    assert_eq!(tally("100")["statuses"], json!({ "200": 100 }));
    assert_eq!(next(&proxy, "").0, 200);
    let some = tally("400");
    let failed = some["statuses"]["503"].as_u64().unwrap();
    assert!((5..45).contains(&failed), "{some}");
    next(&proxy, "");
    assert_eq!(tally("40")["statuses"], json!({ "503": 40 }));
    // Forward and back by name; back in a phase the counts go on.
    let (status, answer) = next(&proxy, "{\"to\": \"nowhere\"}");
    assert_eq!(status, 409, "{answer}");
    assert_eq!(next(&proxy, "{\"to\": \"baseline\"}").0, 200);
    assert_eq!(tally("20")["statuses"], json!({ "200": 20 }));
    next(&proxy, "{\"to\": \"recovery\"}");
    proxy.until("over", |proxy| proxy.json("/api/v1/status")["over"] == true);
    assert_eq!(tally("8")["statuses"], json!({ "200": 8 }));

    for (name, requests, injected) in
        [("baseline", 120, 0), ("some", 400, failed), ("all", 40, 40), ("after", 8, 0)]
    {
        let phase = phase(&proxy, name);
        assert_eq!(phase["requests"], requests, "{phase}");
        assert_eq!(phase["slos"][0]["total"], requests, "{phase}");
        assert_eq!(phase["slos"][0]["injected"], injected, "{phase}");
    }
    assert_eq!(phase(&proxy, "some")["hits"][0]["eligible"], 400);
    assert_eq!(phase(&proxy, "all")["faults"][0]["who"], "100%");
    let slo = proxy.json("/api/v1/slos")[0].take();
    assert_eq!((&slo["total"], &slo["injected"]), (&json!(568), &json!(40 + failed)));
    assert_eq!(proxy.metric("backburn_slo_events_total", &[]), 568);
}

/// A request counts in the phase it arrived in, and what a fault decided is carried out though its
/// phase has ended; a pause lets it go and keeps what is left of the phase.
#[test]
fn a_held_request_belongs_to_where_it_came() {
    let shop = shop();
    let text = "[faults.slow]\nroutes = [\"*\"]\ninject.latency = \"3s\"\ninject.error = 503\n\
        [slos.a]\nobjective = \"99%\"\nsli.availability = {}\n\
        [[phases]]\nname = \"slow\"\nuntil = \"next\"\nfaults = [\"slow\"]\n\
        [[phases]]\nname = \"calm\"\nuntil = \"next\"\n";
    let proxy = proxy(text, &shop.url("checkout"), &[]);
    let url = proxy.url("proxy");
    let ask = move || {
        let request = b"GET /api/items HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        status_of(&exchange(host(&url), request))
    };
    let held = std::thread::spawn(ask.clone());
    proxy.until("held", |proxy| proxy.metric("backburn_held_requests", &[]) == 1);
    next(&proxy, "");
    assert_eq!(held.join().unwrap(), 503, "what was decided is carried out");
    assert_eq!(ask(), 200);
    proxy.until("counted", |proxy| phase(proxy, "calm")["requests"] == 1);
    assert_eq!(phase(&proxy, "slow")["slos"][0]["injected"], 1);

    next(&proxy, "{\"to\": \"slow\"}");
    let held = std::thread::spawn(ask.clone());
    proxy.until("held", |proxy| proxy.metric("backburn_held_requests", &[]) == 1);
    assert_eq!(proxy.admin("POST", "/api/v1/drill/pause", "").0, 200);
    assert_eq!(held.join().unwrap(), 200, "a pause lets it go");
    assert_eq!(ask(), 200);
    assert_eq!(phase(&proxy, "slow")["requests"], 3, "paused in its phase");
}

/// The clock leads through the script by itself, stands while paused, and ends the run when asked.
#[test]
fn the_clock_leads_through_the_script() {
    let shop = shop();
    let text = "[faults.broken]\nroutes = [\"*\"]\ninject.error = 503\n\
        [[phases]]\nname = \"calm\"\nfor = \"400ms\"\n\
        [[phases]]\nname = \"storm\"\nfor = \"30s\"\nfaults = [\"*\"]\n\
        [[phases]]\nname = \"end\"\nfor = \"200ms\"\n";
    let mut proxy = proxy(text, &shop.url("checkout"), &["--exit-when-done", "--hold"]);
    let now = |proxy: &Program| proxy.json("/api/v1/status")["phase"]["name"].clone();
    assert_eq!(proxy.json("/api/v1/status")["state"], "waiting");
    assert_eq!(proxy.admin("POST", "/api/v1/drill/next", "").0, 409);
    proxy.admin("POST", "/api/v1/drill/start", "");
    proxy.until("the storm", |proxy| now(proxy) == "storm");
    proxy.admin("POST", "/api/v1/drill/pause", "");
    let left = phase(&proxy, "storm")["left_seconds"].as_f64().unwrap();
    let again = phase(&proxy, "storm")["left_seconds"].as_f64().unwrap();
    assert!((left - again).abs() < 1e-9 && left > 1.0, "{left} {again}");
    proxy.admin("POST", "/api/v1/drill/resume", "");
    next(&proxy, "");
    let (code, said) = proxy.wait();
    assert_eq!(code, Some(0), "{said}");
}

/// Notes carry their time and phase.
#[test]
fn notes_are_kept_with_their_phase() {
    let shop = shop();
    let proxy = proxy(SCRIPT, &shop.url("checkout"), &[]);
    let (status, _) = proxy.admin("POST", "/api/v1/notes", "{\"text\": \"all calm\"}");
    assert_eq!(status, 201);
    next(&proxy, "");
    let body = "{\"text\": \"restarted\", \"team\": \"payments\", \"toil_minutes\": 5}";
    assert_eq!(proxy.admin("POST", "/api/v1/notes", body).0, 201);
    let notes = proxy.json("/api/v1/notes");
    assert_eq!((&notes[0]["phase"], &notes[0]["text"]), (&json!("baseline"), &json!("all calm")));
    assert_eq!((&notes[1]["phase"], &notes[1]["toil_minutes"]), (&json!("some"), &json!(5)));
    assert_eq!(proxy.admin("POST", "/api/v1/notes", "{\"text\": \" \"}").0, 400);
    assert_eq!(proxy.admin("POST", "/api/v1/notes", "{\"txt\": \"x\"}").0, 400);
}

/// `only`, conditions on routes, and what is the same for one caller, seen from outside.
#[test]
fn callers_are_told_apart() {
    let shop = shop();
    let text = "[routes.gold]\npath = \"/api/items\"\nheaders = { x-tenant = \"gold\" }\n\
        [routes.items]\npath = \"/api/items\"\n\
        [faults.gold]\nroutes = [\"gold\"]\ninject.error = 501\n\
        [faults.half]\nroutes = [\"items\"]\ncohort = \"header:x-user\"\nprobability = \"50%\"\n\
        only = { query = { hit = { present = true } } }\ninject.error = 503\n\
        [faults.twice]\nroutes = [\"items\"]\nper = \"cookie:s\"\nfirst = 2\ninject.error = 502\n";
    let proxy = proxy(text, &shop.url("checkout"), &["--seed", "3"]);
    let ask = |target: &str, header: &str| {
        let url = proxy.url("proxy");
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: t\r\n{header}\r\nConnection: close\r\n\r\n");
        status_of(&exchange(host(&url), request.as_bytes()))
    };
    assert_eq!(ask("/api/items", "X-Tenant: gold"), 501);
    assert_eq!(ask("/api/items", "X-Tenant: silver"), 200);
    let mut inside = 0;
    for user in 0..40 {
        let header = format!("X-User: u{user}");
        let first = ask("/api/items?hit", &header);
        assert_eq!(ask("/api/items?hit=1", &header), first, "the same caller, the same");
        assert_eq!(ask("/api/items", &header), 200, "without the parameter nobody is");
        inside += usize::from(first == 503);
    }
    assert!((8..=32).contains(&inside), "{inside} of 40");
    assert_eq!(ask("/api/items?hit", "X-Other: 1"), 200, "no value, not hit");
    let skipped = |fault: &str| {
        proxy.metric("backburn_faults_skipped_total", &[&format!("fault=\"{fault}\""), "no_value"])
    };
    assert_eq!(skipped("half"), 1);
    let seen: Vec<u16> = ["s=a", "s=b", "s=a", "s=a", "s=b", "s=b"]
        .map(|cookie| ask("/api/items", &format!("Cookie: {cookie}")))
        .into();
    assert_eq!(seen, [502, 502, 502, 200, 502, 200]);
}
