//! `demo` and `try`: what somebody sees who has read nothing yet.

use std::io::Read;
use std::process::{Command, Stdio};

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
    let scratch = Scratch::new();
    let mut child = Command::new(BACKBURN)
        .args(["demo", "--for", "9s", "--seed", "7", "--progress", "2s"])
        .current_dir(&scratch.0)
        .env_remove("XDG_RUNTIME_DIR")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
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
        "4s",
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
