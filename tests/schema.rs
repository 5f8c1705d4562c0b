//! The JSON schema, by a TOML language tool that people have in their editors: `tests/run.sh`
//! installs it. It gets a home of its own and no network.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{BACKBURN, Scratch, python};

const HEAD: &str = "#:schema ./schema.json\n";

fn tombi() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/tombi");
    assert!(
        path.exists(),
        "{} is not there: tests/run.sh installs it; this test means nothing without it",
        path.display()
    );
    path
}

/// A directory with the schema and nothing that configures the tool but `version`.
fn editor(version: &str) -> Scratch {
    let scratch = Scratch::new();
    let schema = Command::new(BACKBURN).args(["export", "json-schema"]).output().unwrap();
    assert!(schema.status.success());
    std::fs::write(scratch.0.join("schema.json"), schema.stdout).unwrap();
    scratch.file("tombi.toml", &format!("toml-version = \"{version}\"\n"));
    scratch
}

/// `(LINE, COLUMN, CODE)` of everything the tool finds in files of the directory.
fn findings(scratch: &Scratch, names: &[&str]) -> Vec<(u64, u64, String)> {
    let report = scratch.0.join("findings.json");
    let _ = std::fs::remove_file(&report);
    let output = Command::new(tombi())
        .args(["lint", "--offline", "--diagnostics-format", "json", "--diagnostics-file"])
        .arg(&report)
        .args(names)
        .current_dir(&scratch.0)
        .env("HOME", &scratch.0)
        .env("XDG_CACHE_HOME", &scratch.0)
        .env("XDG_CONFIG_HOME", &scratch.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found: Vec<Value> =
        serde_json::from_slice(&std::fs::read(&report).expect(&said)).expect(&said);
    assert_eq!(output.status.success(), found.is_empty(), "{said}");
    let place = |finding: &Value| {
        let start = &finding["range"]["start"];
        let number = |key: &str| start[key].as_u64().unwrap();
        (number("line"), number("column"), finding["code"].as_str().unwrap().to_owned())
    };
    found.iter().map(place).collect()
}

/// What ships is right by the schema, and TOML 1.0, which every tool reads.
#[test]
fn the_shipped_scenarios_have_no_findings() {
    let scratch = editor("v1.0.0");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        scratch.file(&name, &(HEAD.to_owned() + &std::fs::read_to_string(&path).unwrap()));
        names.push(name);
    }
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // Ways to write one key are no document.
    for (nth, block) in blocks.filter(|block| !block.starts_with("inject.")).enumerate() {
        let name = format!("readme-{nth}.toml");
        scratch.file(&name, &(HEAD.to_owned() + block));
        names.push(name);
    }
    assert!(names.len() >= 3, "{names:?}");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(findings(&scratch, &names), []);
}

const SERVICE: &str = "[services.shop]\nurl = \"http://127.0.0.1:9000\"\n";

#[test]
fn mistakes_are_found_where_they_stand() {
    let scratch = editor("v1.1.0");
    for (text, line, column, code) in [
        (
            "[faults.x]\nroutes = [\"*\"]\nprobabilty = \"5%\"\ninject.error = 503\n",
            6,
            1,
            "key-not-allowed",
        ),
        ("host = \"kep\"\n", 4, 8, "enum"),
        (
            "[faults.x]\nroutes = [\"*\"]\nprobability = 5\ninject.error = 503\n",
            6,
            15,
            "type-mismatch",
        ),
        (
            "[faults.x]\nroutes = [\"*\"]\nprobability = \"5\"\ninject.error = 503\n",
            6,
            15,
            "string-pattern",
        ),
        ("[faults.x]\nroutes = [\"*\"]\ninject.latency = 300\n", 6, 18, "type-mismatch"),
        ("[faults.x]\nroutes = [\"*\"]\ninject.error = 99\n", 6, 16, "integer-minimum"),
        ("[faults.x]\nroutes = [\"*\"]\ninject = {}\n", 6, 10, "table-min-keys"),
        ("[faults.x]\nroutes = [\"*\"]\n", 4, 1, "table-key-required"),
        ("[safety]\nmax_drill = \"never\"\n", 5, 13, "string-pattern"),
        ("[proxy]\nworkers = \"2\"\n", 5, 11, "string-pattern"),
        (
            "[slos.s]\nobjective = \"99%\"\nsli = { availability = {}, latency = { threshold = \"1s\" } }\n",
            6,
            7,
            "table-max-keys",
        ),
        ("[slos.\"a b\"]\nobjective = \"99%\"\nsli.availability = {}\n", 4, 7, "string-pattern"),
    ] {
        scratch.file("bad.toml", &format!("{HEAD}{SERVICE}{text}"));
        let found = findings(&scratch, &["bad.toml"]);
        assert_eq!(found.first(), Some(&(line, column, code.to_owned())), "{text}");
        // A choice is told once a branch; all of it stands in one place.
        assert!(found.iter().all(|(at, from, _)| (*at, *from) == (line, column)), "{found:?}");
        if code == "key-not-allowed" {
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }
}

/// What the reader accepts, the schema does.
#[test]
fn what_is_right_has_no_findings() {
    let scratch = editor("v1.1.0");
    let text = r#"
name = "drill of ${TEAM:-nobody}"
seed = "${SEED:-7}"
safety.max_drill = "none"
safety.max_faulted = "12.5%"
proxy.workers = "${WORKERS:-2}"
[services.shop]
url = "http://${HOST:-127.0.0.1}:9000"
host = "${HOST_HEADER:-keep}"
listen = "[::1]:${PORT:-0}"
[faults.slow]
routes = ["*"]
enabled = "${ON:-true}"
probability = "${SHARE:-5%}"
inject.latency = {
    delay = { lognormal = { median = "1.5ms", p99 = "${P99:-2s}", }, },
    cap = "1h30m",
}
inject.error = "${STATUS:-503}"
[faults.gone]
routes = ["*"]
probability = "1%"
inject.abort = "${HOW:-hang}"
[slos.good]
tier = "gold"
sli.availability = { bad_status = ["5xx", 429, "408"] }
"#;
    let path = scratch.file("good.toml", &format!("{HEAD}{text}"));
    assert_eq!(findings(&scratch, &["good.toml"]), []);
    let check = Command::new(BACKBURN).arg("check").arg(path).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    // The same is no TOML 1.0: the tool would have said so of the scenarios that ship.
    scratch.file("tombi.toml", "toml-version = \"v1.0.0\"\n");
    assert!(!findings(&scratch, &["good.toml"]).is_empty());
}

#[test]
fn editors_complete_and_explain() {
    let scratch = editor("v1.1.0");
    // What is half written stands last, where it cannot be taken for part of something else.
    let text = HEAD.to_owned()
        + r#"[faults.x]

[faults.y]
routes = ["*"]
prob
inject.
[faults.z]
routes = ["*"]
probability = "5%"
inject.latency = "1s"
[services.shop]
url = "http://127.0.0.1:9000"
host = 
"#;
    let path = scratch.file("drill.toml", &text);
    let line = |start: &str, nth: usize| {
        let mut lines = text.lines().enumerate().filter(|(_, line)| line.starts_with(start));
        lines.nth(nth).unwrap().0
    };
    let questions = serde_json::json!([
        ["completion", line("[faults.x]", 0) + 1, 0],
        ["completion", line("prob", 0), 4],
        ["completion", line("inject.", 0), 7],
        ["completion", line("host", 0), 7],
        ["hover", line("probability", 0), 3],
        ["hover", line("inject.latency", 0), 10],
    ]);
    let home = |name: &str| format!("{name}={}", scratch.0.display());
    let answers = python(
        "language_server.py",
        &[
            path.to_str().unwrap(),
            &questions.to_string(),
            "env",
            &home("HOME"),
            &home("XDG_CACHE_HOME"),
            &home("XDG_CONFIG_HOME"),
            tombi().to_str().unwrap(),
            "lsp",
            "--offline",
        ],
    );
    let offered = |nth: usize, labels: &[&str]| {
        let all: Vec<&str> =
            answers[nth].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
        for label in labels {
            assert!(all.contains(label), "{label} is not among {all:?}");
        }
    };
    offered(0, &["probability", "routes", "inject", "first", "every", "enabled"]);
    offered(1, &["probability"]);
    offered(2, &["latency", "error", "abort"]);
    offered(3, &["\"keep\"", "\"upstream\""]);
    let told = |nth: usize, text: &str| {
        let all = answers[nth].as_str().unwrap();
        assert!(all.contains(text), "not said: {text}\n{all}");
    };
    told(4, "The share of requests that is hit.");
    told(4, "`\"5%\"`");
    told(5, "wait");
}
