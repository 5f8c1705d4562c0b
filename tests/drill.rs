//! Halting, holding, and what a facilitator relies on.

use std::io::{Read, Write};
use std::process::Command;

use crate::support::{BACKBURN, Holding, Program, Scratch, proxy, proxy_under, shop, status_of};

const HOLD: &str = "[faults.hold]\nroutes = [\"*\"]\ninject.latency = \"30s\"\n\
                    [slos.a]\nobjective = \"99%\"\nsli.availability = {}\n";

fn held(proxy: &Program) -> u64 {
    proxy.metric("backburn_held_requests", &[])
}

/// 1,000 requests held for 30 s are let go evenly, at 4,000 a second where the machine keeps up, and
/// nothing is injected again before `rearm` and `resume`.
#[test]
fn halt_lets_everyone_go_at_a_pace() {
    let shop = shop();
    let proxy = proxy(HOLD, &shop.url("checkout"), &[]);
    let url = proxy.url("proxy");
    let mut clients = Holding::start(&[&url, "1000", "25"]);
    proxy.until("1,000 held", |proxy| held(proxy) == 1000);
    clients.mark();
    let (status, _) = proxy.admin("POST", "/api/v1/drill/halt", "{\"reason\": \"enough\"}");
    assert_eq!(status, 200);
    let result = clients.result();
    assert_eq!(result["statuses"]["200"], 1000, "{}", result["statuses"]);
    let mut times: Vec<f64> =
        result["times"].as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    assert!(times[0] >= 0.0, "nobody was let go before the halt");
    assert!(times[999] < 5.0, "the last came after {} s", times[999]);
    // A wave would have them all at once; at 4,000 a second half are still waiting after 125 ms.
    assert!(times[999] - times[0] > 0.15, "all within {} s: a wave", times[999] - times[0]);

    let ask = || {
        let request = b"GET /api/items HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        crate::support::exchange(crate::support::host(&url), request)
    };
    assert_eq!(status_of(&ask()), 200);
    let (status, body) = proxy.admin("POST", "/api/v1/drill/resume", "");
    assert_eq!(status, 409, "{body}");
    let (status, _) = proxy.admin("POST", "/api/v1/drill/rearm", "{}");
    assert_eq!(status, 409, "without a reason");
    let (status, _) = proxy.admin("POST", "/api/v1/drill/rearm", "{\"reason\": \"all is well\"}");
    assert_eq!(status, 200);
    assert_eq!(proxy.json("/api/v1/status")["state"], "paused");
    assert_eq!(status_of(&ask()), 200);
    assert_eq!(proxy.metric("backburn_faults_injected_total", &[]), 1000);
    let (status, _) = proxy.admin("POST", "/api/v1/drill/resume", "");
    assert_eq!(status, 200);
    assert_eq!(proxy.metric("backburn_injecting", &[]), 1);
    // Released requests got the service's good answer.
    assert_eq!(proxy.metric("backburn_slo_events_total", &["outcome=\"good\""]), 1002);
}

/// SIGUSR1 and the HALT file halt as well; `backburn halt` finds the instance.
#[test]
fn every_way_to_halt() {
    let shop = shop();
    let halted = |proxy: &Program| proxy.metric("backburn_halted", &[]) == 1;
    let by_signal = proxy(HOLD, &shop.url("checkout"), &[]);
    by_signal.signal("-USR1");
    by_signal.until("halted by SIGUSR1", halted);

    let by_file = proxy(HOLD, &shop.url("checkout"), &[]);
    let file = by_file.scratch.0.join(".backburn/HALT");
    std::fs::write(&file, "").unwrap();
    by_file.until("halted by the HALT file", halted);
    let (status, _) = by_file.admin("POST", "/api/v1/drill/rearm", "{\"reason\": \"over\"}");
    assert_eq!(status, 200);
    assert!(!file.exists(), "rearm deletes the HALT file");

    let mut command = Command::new(BACKBURN);
    command.current_dir(&by_file.scratch.0).env_remove("XDG_RUNTIME_DIR").arg("halt");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("by the API"), "{said}");
    assert!(halted(&by_file));
}

/// A halt that nobody lifted is told by the exit code, however the end came; and the end is nobody's
/// halt.
#[test]
fn the_end_of_a_halted_drill() {
    let shop = shop();
    let slow = "inject.latency = \"30s\"\n[proxy]\nlame_duck = \"2s\"\n";
    let slow = HOLD.replace("inject.latency = \"30s\"\n", slow);
    for finish in [true, false] {
        let mut proxy = proxy(&slow, &shop.url("checkout"), &[]);
        assert_eq!(proxy.admin("POST", "/api/v1/drill/halt", "").0, 200);
        if finish {
            assert_eq!(proxy.admin("POST", "/api/v1/drill/finish", "").0, 200);
            let (_, shown, said) = proxy.backburn(&["status"]);
            let state = shown.lines().next().unwrap_or_default();
            assert!(state.contains("FINISHED") && !state.contains("by API"), "{shown}{said}");
            assert!(shown.contains("Not fit to be run again: it was halted by API"), "{shown}");
        } else {
            proxy.signal("-TERM");
        }
        let (code, said) = proxy.wait();
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("summary"), "{said}");
    }
}

/// Nothing that comes with a halt, or does not, keeps it from halting.
#[test]
fn a_halt_by_the_api_halts() {
    let shop = shop();
    let proxy = proxy(HOLD, &shop.url("checkout"), &[]);
    let url = proxy.url("admin");
    let rearm = || {
        let (status, text) = proxy.admin("POST", "/api/v1/drill/rearm", "{\"reason\": \"on\"}");
        assert_eq!(status, 200, "{text}");
    };
    let halt = |body: &str| {
        let (status, text) = proxy.admin("POST", "/api/v1/drill/halt", body);
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &answer["halted"]), (200, &true.into()), "{text}");
        answer["halt"]["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(halt("{\"reason\": \"enough\"}"), "enough");
    assert_eq!(halt("{\"reason\": \"more\"}"), "enough", "it was halted already");
    assert!(proxy.said().contains("enough"), "{}", proxy.said());
    rearm();
    // Larger than any body may be; not JSON.
    for body in [&"x".repeat(70_000), "}"] {
        assert_eq!(halt(body), "");
        rearm();
    }
    // A body that is announced and does not come.
    let head = "POST /api/v1/drill/halt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n";
    let mut stream = crate::support::dial(crate::support::host(&url));
    stream.write_all(head.as_bytes()).unwrap();
    proxy.until("halted", |proxy| proxy.metric("backburn_halted", &[]) == 1);
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

/// What the API refuses, it refuses in one form, and says what is wrong.
#[test]
fn problems_have_one_form() {
    let shop = shop();
    let proxy =
        proxy("[slos.a]\nobjective = \"99%\"\nsli.availability = {}\n", &shop.url("checkout"), &[]);
    let url = proxy.url("admin");
    let large = "x".repeat(70_000);
    for (method, path, body, status, says) in [
        ("GET", "/api/v1/explain", "", 400, "missing field `request`"),
        ("PATCH", "/api/v1/faults/%ff/override", "{}", 400, "UTF-8"),
        ("POST", "/api/v1/notes", &*large, 413, "limit"),
        ("POST", "/api/v1/notes", "{}", 400, "a note says something"),
        ("POST", "/api/v1/drill/rearm", "{\"why\": 1}", 400, "{\"reason\": \"…\"}"),
        ("PATCH", "/api/v1/faults/x/override", "{}", 404, "`x`; there is none at all"),
        ("GET", "/api/v1/nothing", "", 404, "no such path"),
        ("GET", "/api/v1/drill/halt", "", 405, "another method"),
    ] {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close");
        let request = format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = crate::support::exchange(crate::support::host(&url), request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(status_of(&answer), status, "{path}: {answer}");
        assert!(head.contains("content-type: application/problem+json"), "{path}: {answer}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], status, "{path}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{path}: {detail}");
    }
}

/// One `halt` halts every instance of a data directory, two of the same scenario too.
#[test]
fn halt_finds_them_all() {
    let shop = shop();
    let data = crate::support::Scratch::new();
    let at = data.0.to_str().unwrap();
    let both = [(); 2].map(|()| proxy(HOLD, &shop.url("checkout"), &["--data", at]));
    let mut command = Command::new(BACKBURN);
    let output =
        command.env_remove("XDG_RUNTIME_DIR").args(["halt", "--data", at]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("by the API").count(), 2, "{said}");
    for proxy in &both {
        assert_eq!(proxy.metric("backburn_halted", &[]), 1);
    }
}

/// What a crash left behind misleads nobody: the number in it may be a living process's by now, an
/// instance's (process 1 in a container that came back) or another program's.
#[test]
fn stale_files_are_seen_through() {
    let shop = shop();
    let proxy = proxy(HOLD, &shop.url("checkout"), &[]);
    let url = shop.url("checkout");
    let mut other = Program::launch(Scratch::new(), "load", &[&url, "--for", "10m"]);
    let drills = proxy.scratch.0.join(".backburn/drills");
    for (name, pid) in [("0-before", proxy.pid()), ("0-other", other.pid())] {
        std::fs::create_dir(drills.join(name)).unwrap();
        let stale = serde_json::json!({
            "admin": "http://127.0.0.1:1", "pid": pid, "process_started": 1, "drill": name,
        });
        std::fs::write(drills.join(name).join("run.json"), stale.to_string()).unwrap();
    }
    let (code, _, said) = proxy.backburn(&["status"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, _, said) = proxy.backburn(&["halt"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    // SIGUSR1 would have killed it.
    other.signal("-INT");
    assert_eq!(other.wait().0, Some(130));
}

/// A signal that is sent and a file that is written are no halt: the instance has to say so.
#[test]
fn a_halt_is_not_taken_for_granted() {
    let shop = shop();
    let proxy = proxy(HOLD, &shop.url("checkout"), &[]);
    let run = std::fs::read_dir(proxy.scratch.0.join(".backburn/drills")).unwrap();
    let file = run.map(|entry| entry.unwrap().path().join("run.json")).next().unwrap();
    // Where nobody listens.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&proxy.url("admin"), "http://127.0.0.1:1")).unwrap();
    let (code, _, said) = proxy.backburn(&["halt"]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("NOT KNOWN TO BE HALTED"), "{said}");
    assert!(said.contains("SIGUSR1: sent; HALT file: written"), "{said}");
    // It has, all the same.
    proxy.until("halted", |proxy| proxy.metric("backburn_halted", &[]) == 1);
}

/// Beyond `max_held` the fault is skipped, never the request.
#[test]
fn max_held() {
    let shop = shop();
    let proxy = proxy(HOLD, &shop.url("checkout"), &["--set", "proxy.max_held=50"]);
    let mut clients = Holding::start(&[&proxy.url("proxy"), "80", "25"]);
    proxy.until("50 held", |proxy| {
        held(proxy) == 50 && proxy.metric("backburn_faults_skipped_total", &["max_held"]) == 30
    });
    clients.mark();
    proxy.admin("POST", "/api/v1/drill/finish", "");
    assert_eq!(clients.result()["statuses"]["200"], 80);
}

/// Environments, a port in use, an orderly end.
#[test]
fn starting_and_ending() {
    let shop = shop();
    let only = format!("{HOLD}[safety]\nenvironments = [\"staging\"]\n");
    let mut elsewhere = proxy(&only, &shop.url("checkout"), &["--env", "prod"]);
    assert_eq!(elsewhere.metric("backburn_injecting", &[]), 0);
    assert!(elsewhere.json("/api/v1/status")["pass_through"].is_string());
    let url = elsewhere.url("proxy");
    let taken = Command::new(BACKBURN)
        .current_dir(&elsewhere.scratch.0)
        .args(["run", "--upstream", &shop.url("checkout"), "--listen", crate::support::host(&url)])
        .args(["--admin-listen", "127.0.0.1:0", "--data", "none"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&taken.stderr);
    assert_eq!(taken.status.code(), Some(5), "{said}");
    assert!(said.contains("cannot listen on"), "{said}");
    let (status, _) = elsewhere.admin("POST", "/api/v1/drill/finish", "");
    assert_eq!(status, 200);
    let (code, said) = elsewhere.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("PASS-THROUGH ONLY"), "{said}");
}

/// The admin listener answers its own names only, and no other page's scripts.
#[test]
fn admin_is_guarded() {
    let shop = shop();
    let proxy = proxy(HOLD, &shop.url("checkout"), &[]);
    let url = proxy.url("admin");
    let host = crate::support::host(&url);
    let ask = |head: &str| {
        status_of(&crate::support::exchange(
            host,
            format!("{head}\r\nConnection: close\r\n\r\n").as_bytes(),
        ))
    };
    assert_eq!(ask("GET /api/v1/status HTTP/1.1\r\nHost: evil.example"), 421);
    assert_eq!(ask("GET /api/v1/status HTTP/1.1\r\nHost: localhost:1"), 200);
    assert_eq!(ask("GET /api/v1/drill/halt HTTP/1.1\r\nHost: localhost"), 405);
    assert_eq!(
        ask("POST /api/v1/drill/halt HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil"),
        403
    );
    assert_eq!(ask("POST /api/v1/drill/halt HTTP/1.1\r\nHost: localhost\r\nOrigin: null"), 403);
    assert_eq!(proxy.metric("backburn_halted", &[]), 0);
    assert_eq!(ask("GET /healthz HTTP/1.1\r\nHost: anything"), 200);
    // The traffic port serves no admin path.
    let traffic = proxy.url("proxy");
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = crate::support::exchange(crate::support::host(&traffic), request.as_bytes());
    assert!(answer.ends_with("ok\n"), "the shop's own health check: {answer}");
}

/// What must never be faulted is not: health paths, health agents, `never` networks.
#[test]
fn never_faulted() {
    let shop = shop();
    let ask = |proxy: &Program, head: &str| {
        let url = proxy.url("proxy");
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        status_of(&crate::support::exchange(crate::support::host(&url), request.as_bytes()))
    };
    let error = "[faults.no]\nroutes = [\"*\"]\ninject.error = 503\n";
    let open = proxy(error, &shop.url("checkout"), &[]);
    assert_eq!(ask(&open, "GET /api/items HTTP/1.1\r\nHost: t"), 503);
    assert_eq!(ask(&open, "GET /healthz HTTP/1.1\r\nHost: t"), 200);
    // The service's own 404 for a spelling it does not know; not a fault.
    assert_eq!(ask(&open, "GET /x/../%68ealthz HTTP/1.1\r\nHost: t"), 404);
    assert_eq!(
        ask(&open, "GET /api/items HTTP/1.1\r\nHost: t\r\nUser-Agent: kube-probe/1.33"),
        200
    );
    assert_eq!(open.metric("backburn_faults_injected_total", &[]), 1);

    let health = format!("{error}[safety]\nfault_health = true\n");
    let health = proxy(&health, &shop.url("checkout"), &[]);
    assert_eq!(ask(&health, "GET /healthz HTTP/1.1\r\nHost: t"), 503);

    let never = format!("{error}[safety]\nnever = [\"127.0.0.0/8\"]\n");
    // By address it is known from the file; by name, from what the name resolves to.
    let literal = proxy(&never, &shop.url("checkout"), &[]);
    assert_eq!(ask(&literal, "GET /api/items HTTP/1.1\r\nHost: t"), 200);
    let never = proxy(&never, &shop.url("checkout").replace("127.0.0.1", "localhost"), &[]);
    assert_eq!(ask(&never, "GET /api/items HTTP/1.1\r\nHost: t"), 200);
    assert_eq!(never.metric("backburn_faults_skipped_total", &["never"]), 1);
    assert_eq!(never.metric("backburn_faults_injected_total", &[]), 0);
}

/// Injection ends by itself; recording goes on.
#[test]
fn max_drill_ends_injection() {
    let shop = shop();
    let text =
        "[faults.no]\nroutes = [\"*\"]\ninject.error = 503\n[safety]\nmax_drill = \"300ms\"\n";
    let proxy = proxy(text, &shop.url("checkout"), &[]);
    proxy.until("over", |proxy| proxy.metric("backburn_injecting", &[]) == 0);
    let url = proxy.url("proxy");
    let request = b"GET /api/items HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    assert_eq!(status_of(&crate::support::exchange(crate::support::host(&url), request)), 200);
    assert_eq!(proxy.json("/api/v1/status")["over"], true);
}

/// Of several instances, `--data` chooses one for every verb; `halt` is for all unless it is given.
#[test]
fn data_chooses_among_instances() {
    let shop = shop();
    let runtime = Scratch::new();
    let runtime = runtime.0.to_str().unwrap();
    let how = format!("export XDG_RUNTIME_DIR={runtime}; exec \"$0\" \"$@\"");
    let [one, other] = [(); 2].map(|()| proxy_under(&how, HOLD, &shop.url("checkout"), &[]));
    let data = |program: &Program| program.scratch.0.join(".backburn").display().to_string();
    let verb = |arguments: &[&str]| {
        // From where none of them is.
        let mut command = Command::new(BACKBURN);
        command.current_dir(runtime).env("XDG_RUNTIME_DIR", runtime).args(arguments);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = verb(&["pause"]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.starts_with("several instances run; choose one with --admin-url, or"), "{said}");
    for program in [&one, &other] {
        let line = format!("--admin-url {}  --data {}  ", program.url("admin"), data(program));
        assert!(said.contains(&line), "{said}");
    }
    let halted = |program: &Program| program.metric("backburn_halted", &[]) == 1;
    let state = |program: &Program| program.json("/api/v1/status")["state"].take();
    assert_eq!(verb(&["pause", "--data", &data(&one)]).0, Some(0));
    assert_eq!([&one, &other].map(state), ["paused", "running"]);
    let (code, said) = verb(&["status", "--json", "--data", &data(&other)]);
    assert!(code == Some(0) && said.contains(&other.url("proxy")), "{said}");
    assert_eq!(verb(&["reload", "--data", &data(&other)]).0, Some(0));
    let (code, said) = verb(&["status", "--data", runtime]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.starts_with(&format!("no running instance found in {runtime};")), "{said}");
    assert_eq!(verb(&["halt", "--data", &data(&one)]).0, Some(0));
    assert_eq!([&one, &other].map(halted), [true, false]);
    assert_eq!(verb(&["halt"]).0, Some(0));
    assert_eq!([&one, &other].map(halted), [true; 2]);
}
