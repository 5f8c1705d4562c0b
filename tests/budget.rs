//! Budgets and alerts of a running drill, and the maths beside tools that are not ours.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use backburn::budget::{self, Confidence};
use backburn::units::Share;
use serde_json::{Value, json};

use crate::recorder::Recorder;
use crate::support::{BACKBURN, Program, proxy};

/// What tests/run.sh puts there.
pub(crate) fn tool(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(path);
    assert!(path.exists(), "{} is missing: run tests/run.sh once", path.display());
    path
}

/// Steady traffic, until it is dropped.
pub(crate) struct Traffic(Child);

impl Traffic {
    pub(crate) fn start(url: &str, rps: u32) -> Self {
        Self::of(url, rps, &[])
    }

    pub(crate) fn of(url: &str, rps: u32, requests: &[&str]) -> Self {
        let child = Command::new(BACKBURN)
            .args(["load", url, "--rps", &rps.to_string(), "--for", "5m"])
            .args(requests.iter().flat_map(|request| ["--request", request]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A service that is well.
pub(crate) fn well() -> Recorder {
    Recorder::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
}

/// Two seconds of calm, six of an outage, and what follows; windows short enough to watch. The page
/// takes 9.7 % of twenty seconds.
pub(crate) const OUTAGE: &str = r#"
name = "outage"
[faults.down]
routes = ["*"]
inject.error = 503
[slos.up]
objective = "99.9%"
sli.availability = {}
[slos.up.alerts.tiers]
quick = { long = "20s", short = "2s", budget = "0.08%" }
slow = { severity = "ticket", long = "1h", budget = "0.1%" }
[slos.prod]
objective = "99.9%"
sli.availability = {}
production = { rate = "400/s", consumed = "18%" }
[slos.red]
objective = "99.9%"
sli.availability = {}
production = { rate = "400/s", consumed = "130%" }
[composites.both]
of = ["up", "prod"]
[[phases]]
name = "calm"
for = "2s"
[[phases]]
name = "outage"
for = "6s"
faults = ["*"]
[[phases]]
name = "recovery"
for = "1h"
"#;

fn happened(drill: &Program) -> Vec<(String, String)> {
    let alerts = drill.json("/api/v1/alerts");
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let events = alerts["happened"].as_array().unwrap();
    let of = events.iter().filter(|event| event["slo"] == "up");
    of.map(|event| (text(event, "tier"), text(event, "happened"))).collect()
}

/// A page fires in the outage and is over after it; everything that tells of it says the same.
#[test]
fn a_page_that_would_have_fired() {
    let service = well();
    let mut drill = proxy(OUTAGE, &service.url, &["--no-meter"]);
    let traffic = Traffic::start(&drill.url("proxy"), 40);
    let early = drill.admin("GET", "/api/v1/slos/up/verdict", "");
    assert_eq!(early.0, 425, "{}", early.1);
    let pair = |tier: &str, what: &str| (tier.to_owned(), what.to_owned());
    let all = [pair("quick", "fired"), pair("slow", "fired"), pair("quick", "resolved")];
    drill.until_within(60, "fired and resolved", |drill| {
        let seen = happened(drill);
        all.iter().all(|event| seen.contains(event))
    });
    let status = drill.json("/api/v1/status");
    let slo = &status["slos"][0];
    let quick = &slo["alerts"]["tiers"][0];
    let fired = quick["fired"][0]["after_seconds"].as_u64().unwrap();
    let resolved = quick["fired"][0]["resolved_after_seconds"].as_u64().unwrap();
    assert!(fired >= 4 && resolved > fired, "{quick}");
    assert_eq!(
        (&quick["state"], &slo["alerts"]["dialect"]),
        (&json!("inactive"), &json!("custom"))
    );
    assert!(quick["highest_pressure_ratio"].as_f64().unwrap() > 1.0);
    // The ticket's windows last.
    assert_eq!(slo["alerts"]["tiers"][1]["state"], "firing");
    assert_eq!(
        (&slo["light"]["colour"], &slo["light"]["word"]),
        (&json!("amber"), &json!("TICKET"))
    );
    let (code, verdict) = drill.admin("GET", "/api/v1/slos/up/verdict", "");
    assert_eq!(code, 409, "{verdict}");
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    let methods = verdict["intervals"].as_array().unwrap();
    let names: Vec<&str> = methods.iter().map(|it| it["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["wilson", "clopper-pearson", "jeffreys"]);
    let share = verdict["bad"].as_f64().unwrap() / verdict["total"].as_f64().unwrap();
    for method in methods {
        let [low, high] = ["low_ratio", "high_ratio"].map(|key| method[key].as_f64().unwrap());
        assert!(low < share && share < high, "{verdict}");
    }
    assert_eq!(drill.admin("GET", "/api/v1/slos/down/verdict", "").0, 404);
    assert_eq!(drill.json("/api/v1/slos/up")["name"], "up");
    // Both bases, by the cause, and what is left.
    let prod = drill.json("/api/v1/slos/prod");
    let number = |value: &Value| value.as_f64().unwrap();
    let allowed = 400.0 * 28.0 * 86_400.0 * 0.001;
    let bad = number(&prod["bad"]);
    assert!((number(&prod["budget"]["absolute_ratio"]) - bad / allowed).abs() < 1e-9);
    assert!(number(&prod["budget"]["scaled_ratio"]) > 5.0 * bad / allowed);
    let left = number(&prod["budget"]["remaining_ratio"]);
    assert!((left - (1.0 - 0.18 - bad / allowed)).abs() < 1e-9, "{prod}");
    // One that was overspent before the drill.
    let red = drill.json("/api/v1/slos/red");
    let left = number(&red["budget"]["remaining_ratio"]);
    assert!((left - (1.0 - 1.3 - number(&red["bad"]) / allowed)).abs() < 1e-9, "{red}");
    assert_eq!((&red["light"]["word"], &status["go_on"]["slo"]), (&json!("GONE"), &json!("red")));
    let (_, words, _) = drill.backburn(&["status"]);
    // It is broken into lines.
    let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("red (130% of it was gone before the drill)."), "{words}");
    let negative =
        |word: &str| word.ends_with('%') && word.trim_start_matches('(').starts_with('-');
    assert!(!words.split(' ').any(negative), "{words}");
    assert!(number(&status["composites"][0]["burn_rate"]) > 1.0);
    // The metrics say so too, and are as Prometheus wants them.
    assert_eq!(drill.metric("backburn_alert_firing", &["slo=\"up\"", "tier=\"slow\""]), 1);
    assert_eq!(drill.metric("backburn_alert_firing", &["slo=\"up\"", "tier=\"quick\""]), 0);
    let (_, text) = drill.admin("GET", "/metrics", "");
    for name in [
        "backburn_slo_burn_rate_ratio{slo=\"up\",window=\"20s\"}",
        "backburn_slo_error_budget_remaining_ratio{slo=\"prod\",basis=\"absolute\"}",
        "backburn_slo_error_budget_remaining_ratio{slo=\"red\",basis=\"absolute\"} -0.3",
        "backburn_slo_time_to_exhaustion_seconds{slo=\"up\",bound=\"lower\"}",
        "backburn_connections{protocol=\"http1\"}",
        "backburn_alert_pressure_ratio{slo=\"up\",tier=\"quick\"}",
        "backburn_drill_budget_consumed_ratio{slo=\"up\",cause=\"injected\",basis=\"scaled\"}",
    ] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    let mut lint = Command::new(tool("prometheus/usr/bin/promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lint.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = lint.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(traffic);
    drill.signal("-INT");
    let (code, said) = drill.wait();
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "ALERT page on up would fire now: quick of custom",
        "alert page on up would be over now: quick of custom",
        "99.9% is missed, beyond chance",
        "A page would have fired after",
        "budget of production's own events, 18.0% of it gone before the drill",
        "together both, worst of up and prod: burn",
    ] {
        assert!(said.contains(line), "`{line}` is not in {said}");
    }
}

/// At its allowance a drill is halted, by name, and says why.
#[test]
fn an_allowance_halts() {
    let scenario = "[faults.down]\nroutes = [\"*\"]\ninject.error = 503\n\
                    [slos.up]\nobjective = \"99.9%\"\nwindow = \"1h\"\nallowance = \"50%\"\n\
                    sli.availability = {}\n";
    let service = well();
    let mut drill = proxy(scenario, &service.url, &["--no-meter"]);
    let traffic = Traffic::start(&drill.url("proxy"), 20);
    drill.until_within(30, "halted", |drill| drill.json("/api/v1/status")["halted"] == true);
    let halt = drill.json("/api/v1/status")["halt"].clone();
    assert_eq!(halt["by"], "the allowance of up");
    assert!(halt["reason"].as_str().unwrap().ends_with("50% was allowed"), "{halt}");
    drop(traffic);
    drill.signal("-INT");
    assert_eq!(drill.wait().0, Some(4));
}

/// Is it safe to go on? One answer, wherever it is asked: nobody can tell before there is traffic,
/// it is not once the rest of the plan costs more than it may, nor after a halt.
#[test]
fn is_it_safe_to_go_on() {
    let scenario = r#"
[faults.down]
routes = ["*"]
probability = "20%"
inject.error = 503
[slos.up]
objective = "90%"
allowance = "5%"
sli.availability = {}
[[phases]]
name = "calm"
until = "next"
for = "1m"
[[phases]]
name = "outage"
for = "1h"
faults = ["*"]
set.down.probability = "100%"
"#;
    let service = well();
    let mut drill = proxy(scenario, &service.url, &["--no-meter", "--progress", "1s"]);
    let asked = |drill: &Program| -> [String; 4] {
        let go_on = drill.json("/api/v1/status")["go_on"].clone();
        ["question", "answer", "reason", "slo"]
            .map(|key| go_on[key].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(asked(&drill), ["go_on", "unknown", "no_traffic", "up"]);
    let traffic = Traffic::start(&drill.url("proxy"), 40);
    // An hour in which all fail is 1.49 % of the budget of 90 % over 28 days, and no page of its
    // dialect can fire; the 29th request proves 90 %.
    drill.until_within(30, "safe", |drill| asked(drill) == ["go_on", "yes", "within_limits", "up"]);
    drill.until("said", |drill| drill.said().contains("| go on yes |"));
    let (code, drawn, said) = drill.backburn(&["status"]);
    assert_eq!(code, Some(0), "{said}");
    let drawn = drawn.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        drawn.contains("Safe to go on: the rest of the plan is expected to cost up"),
        "{drawn}"
    );
    assert!(drawn.contains("of the 5% it may burn is left"), "{drawn}");
    let tighter = scenario.replace("allowance = \"5%\"", "allowance = \"1%\"");
    drill.scratch.file("scenario.toml", &tighter);
    assert_eq!(drill.admin("POST", "/api/v1/reload", "").0, 200);
    drill.until("too much", |drill| asked(drill)[1..3] == ["no", "allowance_expected"]);
    drill.until("said", |drill| drill.said().contains("| go on no (allowance expected) |"));
    assert_eq!(drill.admin("POST", "/api/v1/drill/pause", "").0, 200);
    assert_eq!(asked(&drill)[..2], ["resume", "no"]);
    assert_eq!(drill.admin("POST", "/api/v1/drill/halt", "").0, 200);
    assert_eq!(asked(&drill), ["go_on", "no", "halted", ""]);
    drop(traffic);
    drill.signal("-INT");
    let (code, said) = drill.wait();
    assert_eq!(code, Some(4));
    assert!(said.contains("Not fit to be run again: it was halted by API"), "{said}");
}

/// A dry run for people and for programs, of every scenario that ships.
#[test]
fn a_dry_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let plan = |file: &str, more: &[&str]| {
        let mut command = Command::new(BACKBURN);
        let output = command.arg("plan").arg(file).args(more).current_dir(&root).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), said)
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(&root).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let (code, text, said) = plan(&file, &["--rps", "50"]);
        assert!(code == Some(0) && text.contains("slo       "), "{file}: {said}{text}");
        let (code, json, _) = plan(&file, &["--rps", "50", "--json"]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert!(code == Some(0) && json["slos"].as_array().unwrap().len() >= 2, "{file}");
        seen += 1;
    }
    assert!(seen >= 8);
    let (_, text, _) = plan("seed-chaos.toml", &["--rps", "50", "--for", "30m"]);
    assert!(text.contains("page page-quick of sloth-28d fires after 16:08"), "{text}");
    // What production fails anyway brings its page forward: 16:08 are 967.68 s, (0.01344 − 0.0005) ·
    // 3600 s / (0.05 − 0.0005) are 941.09 s.
    let errors =
        ["--rps", "50", "--for", "30m", "--set", "slos.answers.production.error_rate=\"0.05%\""];
    let (_, text, said) = plan("seed-chaos.toml", &errors);
    assert!(text.contains("page page-quick of sloth-28d fires after 15:42"), "{said}{text}");
    let (_, text, _) = plan("canary-cohort.toml", &["--rps", "items=20,5"]);
    let canary = text.lines().find(|line| line.contains("broken-canary on items")).unwrap();
    assert!(canary.contains("about 3,600 (") && canary.ends_with("of 18,000 requests"), "{text}");
    let (code, _, said) = plan("demo.toml", &["--rps", "itmes=20"]);
    assert!(code == Some(2) && said.contains("there is no route `itmes`"), "{said}");
}

/// Intervals and tests as scipy has them, consumption as slo-generator has it.
#[test]
fn as_others_have_it() {
    let counts = [
        (99_963, 37, 999_000_000),
        (999, 1, 999_000_000),
        (19_750, 250, 995_000_000),
        (0, 3, 999_000_000),
        // It rounds shares to a millionth.
        (999_201, 799, 999_900_000),
    ];
    let window = 28 * 86_400;
    let shares = [
        (0, 20, 0.001),
        (3, 1_000, 0.001_f64),
        (12, 4_000, 0.001),
        (20, 20, 0.5),
        (1_000, 1_000_000, 0.001),
        (40_321, 40_000_000, 0.001),
        (1, 3_000_000, 0.000_001),
    ];
    let lines = [
        (&[0.0, 0.1, 0.3, 0.7, 1.1, 1.7, 2.3, 2.9, 3.7, 4.5][..], 30.0),
        (&[1.0, 0.0, 2.5], 7.0),
        (&[3.0, 2.0, 2.5, 1.0], -1.0),
    ];
    let ratio = |billionths: u32| f64::from(billionths) / 1e9;
    let asked = json!({
        "counts": counts.map(|(good, bad, t)| json!([good, bad, ratio(t), window])),
        "shares": shares,
        "lines": lines.map(|(values, x)| json!([values, x])),
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/oracles.py");
    let mut oracle = Command::new(tool("bin/python"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    oracle.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let answer: Value = serde_json::from_slice(&oracle.wait_with_output().unwrap().stdout).unwrap();
    let close = |ours: f64, theirs: &Value, what: &str| {
        let theirs = theirs.as_f64().unwrap();
        assert!((ours - theirs).abs() <= 1e-9 + theirs.abs() * 1e-7, "{what}: {ours} {theirs}");
    };
    for ((good, bad, t), theirs) in counts.iter().zip(answer["counts"].as_array().unwrap()) {
        let objective = Share::from_billionths(*t).unwrap();
        let whole = std::time::Duration::from_secs(window);
        let ours = budget::consumed_scaled(*bad, good + bad, objective, whole, whole);
        close(ours.unwrap(), theirs, "consumed");
    }
    for ((bad, n, e), theirs) in shares.iter().zip(answer["shares"].as_array().unwrap()) {
        let what = format!("{bad} of {n}");
        let wilson = budget::wilson(*bad, *n, Confidence::P95).unwrap();
        let exact = budget::clopper_pearson(*bad, *n, Confidence::P95).unwrap();
        let poisson = budget::poisson(*bad, Confidence::P95);
        let jeffreys = budget::jeffreys(*bad, *n, Confidence::P95).unwrap();
        for (ours, theirs) in [
            (wilson, &theirs["wilson"]),
            (exact, &theirs["exact"]),
            (jeffreys, &theirs["jeffreys"]),
            (poisson, &theirs["poisson"]),
        ] {
            close(ours.low, &theirs[0], &what);
            close(ours.high, &theirs[1], &what);
        }
        let objective = Share::from_billionths(1_000_000_000 - (e * 1e9).round() as u32).unwrap();
        let verdict = budget::judged(*bad, *n, objective, 0.05);
        let below = |key: &str| theirs[key].as_f64().unwrap() < 0.05;
        let theirs = match (below("at_least"), below("at_most")) {
            (true, _) => "fail",
            (_, true) => "pass",
            _ => "inconclusive",
        };
        assert_eq!(verdict.label(), theirs, "{what}");
    }
    for ((values, x), theirs) in lines.iter().zip(answer["lines"].as_array().unwrap()) {
        let points: Vec<_> = (0..).map(f64::from).zip(values.iter().copied()).collect();
        let line = budget::Line::through(&points).unwrap();
        let ours = line.prediction(*x, Confidence::P95).unwrap();
        close(ours.low, &theirs[0], "a line's prediction");
        close(ours.high, &theirs[1], "a line's prediction");
    }
}
