//! `demo` and `try`: what somebody sees who has read nothing yet.

use std::process::Command;

use serde_json::Value;

use crate::support::{BACKBURN, Program, Scratch, exchange, host, shop, status_of};

/// The number in front of, or behind, some words.
fn number(text: &str, before: &str, after: &str) -> u64 {
    let line = text.lines().find_map(|line| line.split_once(before)?.1.split_once(after));
    let (digits, _) = line.unwrap_or_else(|| panic!("no `{before}…{after}` in\n{text}"));
    digits.replace(',', "").trim().parse().unwrap_or_else(|_| panic!("{digits:?} in\n{text}"))
}

/// One command, no file, no flag that it needs: it ends by itself, says whose doing what was, and
/// what it counted is what the shoppers saw. In a pipe it has no colours and no control characters.
#[test]
fn the_demo_tells_its_story() {
    let arguments = ["--for", "9s", "--seed", "7", "--progress", "2s"];
    let (code, said) = Program::launch(Scratch::new(), "demo", &arguments).wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains('\u{1b}'), "control characters in a pipe:\n{said}");
    for part in [
        "running baseline 1/3",
        "running brownout 2/3",
        "running recovery 3/3",
        "slo pay on checkout",
        "slo charge on payments",
        "all injected by backburn",
        "in plain words",
        "No fault touched checkout.",
        "saved by a retry",
    ] {
        assert!(said.contains(part), "`{part}` is missing in\n{said}");
    }
    let sent = number(&said, "shoppers saw sent ", ",");
    let of = |slo: &str| {
        let line = said.lines().find(|line| line.contains(&format!("slo {slo} on checkout")));
        let line = line.unwrap_or_else(|| panic!("{slo}: {said}"));
        number(line, "good of ", ",")
    };
    assert_eq!((sent, of("pay") + of("browse")), (450, 450), "{said}");
}

/// A demo under way, found as `backburn status` finds it.
fn demo() -> Program {
    let demo = Program::launch(Scratch::new(), "demo", &["--for", "10m", "--data", "here"]);
    demo.until("it is there", |demo| demo.backburn(&["status", "--data", "here"]).0 == Some(0));
    demo
}

fn status(demo: &Program) -> Value {
    let (_, printed, said) = demo.backburn(&["status", "--json", "--data", "here"]);
    serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{said}"))
}

/// The demo obeys what it says can be done with it, and a halt that nobody lifts shows in how it
/// ends.
#[test]
fn the_demo_is_halted_and_finished() {
    let mut halted = demo();
    halted.signal("-USR1");
    halted.until("halted", |demo| status(demo)["state"] == "halted");
    assert_eq!(halted.backburn(&["finish", "--data", "here"]).0, Some(0));
    let (code, said) = halted.wait();
    assert_eq!(code, Some(4), "{said}");
    for part in ["HALTED: nothing is injected", "summary", "shoppers saw", "ended before its time"]
    {
        assert!(said.contains(part), "`{part}` is missing in\n{said}");
    }

    let mut rearmed = demo();
    rearmed.signal("-USR1");
    rearmed.until("halted", |demo| status(demo)["state"] == "halted");
    assert_eq!(rearmed.backburn(&["rearm", "--reason", "fine", "--data", "here"]).0, Some(0));
    assert_eq!(rearmed.backburn(&["finish", "--data", "here"]).0, Some(0));
    let (code, said) = rearmed.wait();
    assert_eq!(code, Some(0), "{said}");
}

/// There is nothing to read again: a terminal that is closed ends it.
#[test]
fn a_hangup_ends_the_demo() {
    let mut demo = demo();
    demo.signal("-HUP");
    assert_eq!(demo.wait().0, None, "by the signal");
}

/// `try` faults what it was asked to, ends by itself, and writes the same as a scenario.
#[test]
fn a_fault_without_a_file() {
    let shop = shop();
    let upstream = shop.url("checkout");
    let arguments = [
        upstream.as_str(),
        "--error",
        "418",
        "--route",
        "GET /api/{*rest}",
        "--for",
        "20s",
        "--write",
        "tried.toml",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let mut tried = Program::start("try", &arguments);
    let url = tried.url("proxy");
    let ask = |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        status_of(&exchange(host(&url), request.as_bytes()))
    };
    assert_eq!(ask("/api/items"), 418);
    assert_eq!(ask("/flaky"), 200, "what the route does not match passes");
    assert_eq!(tried.json("/api/v1/status")["phase"]["name"], "try");
    assert_eq!(tried.admin("POST", "/api/v1/drill/next", "").0, 200);
    let (code, said) = tried.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("summary") && said.contains("applied 100% (1 of 1)"), "{said}");
    let file = tried.scratch.0.join("tried.toml");
    let check = Command::new(BACKBURN).arg("check").arg("--strict").arg(&file).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    // What is there is never written over.
    let again = Command::new(BACKBURN)
        .args(["try", &upstream, "--error", "418", "--write"])
        .arg(&file)
        .current_dir(&tried.scratch.0)
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(2), "{}", String::from_utf8_lossy(&again.stderr));
}

/// Only what could be started is kept, and what was there before is not mistaken for it.
#[test]
fn what_could_not_start_leaves_nothing() {
    let shop = shop();
    let taken = shop.url("payments");
    let arguments = ["--error", "503", "--admin-listen", "127.0.0.1:0", "--ready-file"];
    let scratch = Scratch::new();
    let attempt = |ready: &str, listen: &str| {
        let mut command = Command::new(BACKBURN);
        command.current_dir(&scratch.0).args(["try", &shop.url("checkout")]).args(arguments);
        command.args([ready, "--listen", listen, "--write", "tried.toml"]);
        let output = command.env_remove("XDG_RUNTIME_DIR").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(!scratch.0.join("tried.toml").exists(), "{said}");
        said
    };
    let earlier = scratch.file("ready.json", "{\"pid\": 1}");
    let said = attempt("ready.json", host(&taken));
    assert!(said.contains("cannot listen on"), "{said}");
    assert!(!earlier.exists(), "who waits for it would take it for this run's");

    // A directory is nothing that can be written, which is told before anything is started.
    std::fs::create_dir(scratch.0.join("place")).unwrap();
    let said = attempt("place", "127.0.0.1:0");
    assert!(said.contains("cannot write the ready file place"), "{said}");
    assert!(!said.contains("proxy     "), "{said}");
    let mut left: Vec<_> =
        std::fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name != ".backburn");
    assert_eq!(left, ["place"]);
}
