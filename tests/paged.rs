//! "Would we have been paged?": the scenarios that ask it, and whole sets of rules that answer.

use std::path::Path;
use std::time::Duration;

use backburn::budget::{Dialect, History, Pad, Replay, Totals};
use backburn::exchange::record::{ByCause, FORMAT, Record, RecordedTier, Series};
use backburn::units::Share;
use serde_json::{Value, json};

use crate::budget::{Traffic, well};
use crate::exports::{export, promtool};
use crate::support::{Program, Scratch, proxy};

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A shipped scenario before a service that is well, in its second phase.
fn run(name: &str, more: &[&str]) -> (Program, Traffic, crate::recorder::Recorder) {
    let service = well();
    let text = shipped(name).replace("http://127.0.0.1:9000", &service.url);
    let scratch = Scratch::new();
    let file = scratch.file("scenario.toml", &text);
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--no-meter"];
    let arguments = [&[file.to_str().unwrap()][..], &free, more].concat();
    let drill = Program::start_in(scratch, "run", &arguments);
    let requests = ["POST /api/checkout/{n}", "GET /api/items/{n}"];
    let traffic = Traffic::of(&drill.url("proxy"), 40, &requests);
    drill.until("traffic", |drill| drill.json("/api/v1/status")["requests"].as_u64() > Some(20));
    assert_eq!(drill.admin("POST", "/api/v1/drill/next", "").0, 200);
    (drill, traffic, service)
}

fn page_quick(drill: &Program, slo: &str) -> Value {
    drill.json(&format!("/api/v1/slos/{slo}"))["alerts"]["tiers"][0].clone()
}

/// Half of all answers fail. Where production is quiet, a few seconds of the drill's traffic are a
/// page; the lower objective, which assumes the drill's own traffic, is not near it.
#[test]
fn one_that_pages() {
    let quiet = ["--set", "slos.pay.production.rate=\"1/s\""];
    let (drill, _traffic, _service) = run("page.toml", &quiet);
    drill.until_within(60, "paged", |drill| page_quick(drill, "pay")["state"] == "firing");
    let go_on = drill.json("/api/v1/status")["go_on"].clone();
    assert_eq!(
        (&go_on["answer"], &go_on["reason"], &go_on["slo"]),
        (&json!("no"), &json!("page"), &json!("pay"))
    );
    assert_eq!(page_quick(&drill, "browse")["fired"], json!([]));
    let near = page_quick(&drill, "browse")["highest_pressure_ratio"].as_f64().unwrap();
    assert!(0.0 < near && near < 1.0, "{near}");
}

#[test]
fn one_that_does_not() {
    let (drill, _traffic, _service) = run("no-page.toml", &["--seed", "7"]);
    let bad = |drill: &Program| drill.json("/api/v1/slos/pay")["bad"].as_u64().unwrap();
    drill.until_within(60, "some fail", |drill| bad(drill) >= 3);
    drill.until("a second is over", |drill| {
        page_quick(drill, "pay")["highest_pressure_ratio"].as_f64().unwrap() > 0.0
    });
    let closest = drill.json("/api/v1/slos/pay")["alerts"]["closest"].clone();
    assert!(closest["pressure_ratio"].as_f64().unwrap() < 1.0, "{closest}");
    assert_eq!(drill.json("/api/v1/alerts")["happened"], json!([]));
}

/// The whole of it, as planned: to the second.
#[test]
fn as_they_are_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let plan = |file: &str| -> Value {
        let mut command = std::process::Command::new(crate::support::BACKBURN);
        command.args(["plan", file, "--rps", "50", "--json"]).current_dir(&root);
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
    };
    let page = plan("page.toml");
    let (pay, browse) = (&page["slos"][0], &page["slos"][1]);
    // A minute of calm, and 96.768 s.
    assert_eq!(pay["alerts"][0]["tier"], "page-quick");
    assert_eq!(pay["alerts"][0]["fires_after_seconds"], 157);
    assert_eq!(browse["alerts"], json!([]), "{browse}");
    // The golden drill G1.
    let none = plan("no-page.toml");
    let pay = &none["slos"][0];
    assert_eq!(pay["alerts"], json!([]), "{pay}");
    let near = pay["closest"][1].as_f64().unwrap();
    assert!((near - 0.930_060).abs() < 1e-3, "{near}");
    assert_eq!(pay["halts_after_seconds"], Value::Null);
}

/// A drill of a thousand requests a second, `bad(second)` of them bad, as it would be recorded.
fn recorded(dialect: Dialect, seconds: u64, pad_bad: u32, bad: impl Fn(u64) -> u64) -> Record {
    let window = Duration::from_secs(28 * 86_400);
    let objective = Share::from_billionths(999_000_000).unwrap();
    let pad = Pad { rate: Some(1_000.0), bad: pad_bad };
    let mut replay = Replay::new(dialect.tiers(window), objective, pad, 0, 1);
    let mut history = History::default();
    for second in 0..seconds {
        history.record(second + 1, Totals { n: 1_000, bad: bad(second) });
        replay.ask(&history);
    }
    let tiers = replay.tiers().map(|(tier, state)| RecordedTier {
        name: tier.name.to_string(),
        severity: tier.severity.label().to_owned(),
        long_window_seconds: tier.long,
        short_window_seconds: tier.short,
        factor: tier.factor.parts().into(),
        for_seconds: tier.hold,
        fired: state.fired.clone(),
    });
    let series = Series {
        name: "pay".to_owned(),
        objective_billionths: objective.billionths(),
        window_seconds: window.as_secs(),
        dialect: dialect.name().to_owned(),
        evaluation_interval_seconds: 1,
        pad_events_per_second: 1_000.0,
        pad_bad_billionths: pad_bad,
        bad_by_cause: Some(ByCause { injected: history.total().bad, ..ByCause::default() }),
        tiers: tiers.collect(),
        sums: history.points().iter().map(|(second, sum)| [*second, sum.n, sum.bad]).collect(),
        ..Series::default()
    };
    Record {
        backburn_record: FORMAT,
        drill: "golden".to_owned(),
        seconds,
        slos: vec![series],
        ..Record::default()
    }
}

/// The exported rules and the proof of a record, in a directory: what promtool makes of them.
struct Proof {
    scratch: Scratch,
    shape: &'static str,
    rules: String,
}

impl Proof {
    fn new(dialect: Dialect, shape: &'static str) -> Self {
        let scratch = Scratch::new();
        let scenario = format!(
            "[services.checkout]\nurl = \"http://127.0.0.1:9000\"\n[slos.pay]\nobjective = \
             \"99.9%\"\nalerts = \"{}\"\nsli.availability = {{}}\n",
            dialect.name()
        );
        scratch.file("scenario.toml", &scenario);
        let rules = ["prometheus-rules", "scenario.toml", "--dialect", shape];
        let rules = export(&scratch.0, &rules);
        Self { scratch, shape, rules }
    }

    /// Whether a record's proof holds for these rules, as to one severity. Pages every minute, tickets
    /// every five: their windows are of hours and days, and so is the past that is evaluated.
    fn holds(&self, record: &Record, severity: &str, rules: &str) -> (bool, String) {
        let mut record = record.clone();
        record.slos[0].tiers.retain(|tier| tier.severity == severity);
        self.scratch.file("rules.yml", rules);
        self.scratch.file("drill.json", &serde_json::to_string(&record).unwrap());
        let interval = if severity == "page" { "1m" } else { "5m" };
        let proof = ["alert-proof", "drill.json", "--dialect", self.shape, "--interval", interval];
        let text = export(&self.scratch.0, &proof);
        self.scratch.file("proof.yml", &text);
        let (fine, said) = promtool(&self.scratch.0, &["test", "rules", "proof.yml"]);
        (fine, format!("{said}\n{text}"))
    }
}

fn g1(second: u64) -> u64 {
    match second {
        120..420 => 50,
        420..720 => 100,
        _ => 0,
    }
}

fn g2(second: u64) -> u64 {
    if (420..720).contains(&second) { 150 } else { g1(second) }
}

fn g3(second: u64) -> u64 {
    if (60..360).contains(&second) { 900 } else { 0 }
}

/// The golden drills against the whole set of Sloth's rules: both severities, all four tiers, and
/// until the last of them is over. A rule, a window or a fault that is another is found out.
#[test]
fn all_of_sloths_rules() {
    let proof = Proof::new(Dialect::Sloth28, "sloth");
    let fired = |record: &Record| -> usize {
        record.slos[0].tiers.iter().map(|tier| tier.fired.len()).sum()
    };
    let one = recorded(Dialect::Sloth28, 1_600, 0, g1);
    let two = recorded(Dialect::Sloth28, 1_600, 0, g2);
    let three = recorded(Dialect::Sloth28, 25_000, 0, g3);
    assert_eq!((fired(&one), fired(&two), fired(&three)), (0, 1, 4));
    for (record, severity) in
        [&one, &two, &three].into_iter().flat_map(|it| [(it, "page"), (it, "ticket")])
    {
        let (fine, said) = proof.holds(record, severity, &proof.rules);
        assert!(fine, "{severity}: {said}");
    }
    let without = |record: &Record| {
        let mut record = record.clone();
        record.slos[0].sums.iter_mut().for_each(|sum| sum[2] = 0);
        record.slos[0].bad_by_cause = None;
        record
    };
    let other = |from: &str, to: &str| {
        let rules = proof.rules.replace(from, to);
        assert_ne!(rules, proof.rules, "{from}");
        rules
    };
    for (what, severity, record, rules) in [
        ("no fault", "page", &without(&two), proof.rules.clone()),
        ("no fault", "ticket", &without(&three), proof.rules.clone()),
        ("a higher threshold", "page", &two, other("13.44 *", "20 *")),
        ("a lower threshold", "page", &one, other("13.44 *", "12 *")),
        ("a longer window", "page", &two, other("ratio_rate1h{", "ratio_rate6h{")),
        ("a longer short window", "page", &two, other("ratio_rate5m{", "ratio_rate30m{")),
        ("another ticket", "ticket", &three, other("(0.9333333333333333 *", "(9 *")),
    ] {
        let (fine, said) = proof.holds(record, severity, &rules);
        assert!(!fine && said.contains("FAILED"), "{what}: {said}");
    }
}

/// And of Pyrra's, which hold back for a while.
#[test]
fn all_of_pyrras_rules() {
    let proof = Proof::new(Dialect::Pyrra, "pyrra");
    let three = recorded(Dialect::Pyrra, 25_000, 0, g3);
    for severity in ["page", "ticket"] {
        let (fine, said) = proof.holds(&three, severity, &proof.rules);
        assert!(fine, "{severity}: {said}");
    }
    let later = proof.rules.replace("for: 2m", "for: 30m").replace("for: 15m", "for: 1h");
    assert_ne!(later, proof.rules);
    let (fine, said) = proof.holds(&three, "page", &later);
    assert!(!fine, "{said}");
}

/// What production fails anyway is in the proof's past: without it the page comes later than the
/// replay has it.
#[test]
fn a_past_that_is_not_clean() {
    let proof = Proof::new(Dialect::Sloth28, "sloth");
    // 1 % before, and then 2 %: (0.01344 − 0.01) · 3600 s / (0.02 − 0.01) is 1238.4 s, from a clean
    // past 2419.2 s.
    let mut record = recorded(Dialect::Sloth28, 2_000, 10_000_000, |_| 20);
    let quick = record.slos[0].tiers.iter().find(|tier| tier.name == "page-quick").unwrap();
    assert_eq!(quick.fired, [(1_239, None)]);
    record.slos[0].tiers.retain(|tier| tier.name == "page-quick");
    // The slower tiers fire all the time on such a past.
    let rules: String = proof.rules.replace("(5.6 *", "(560 *");
    let (fine, said) = proof.holds(&record, "page", &rules);
    assert!(fine, "{said}");
    record.slos[0].pad_bad_billionths = 0;
    let (fine, said) = proof.holds(&record, "page", &rules);
    assert!(!fine && said.contains("FAILED"), "{said}");
}

/// What is known of production reaches the record; causes do too, and add up.
#[test]
fn a_record_knows_the_past_and_the_causes() {
    let scenario = "[faults.down]\nroutes = [\"*\"]\ninject.error = 503\n[slos.up]\nobjective = \
                    \"99.9%\"\nproduction = { rate = \"40/s\", error_rate = \"0.05%\" }\n\
                    sli.availability = {}\n";
    let service = well();
    let drill = proxy(scenario, &service.url, &["--no-meter"]);
    let _traffic = Traffic::start(&drill.url("proxy"), 40);
    drill.until_within(60, "some are counted", |drill| {
        let record = drill.json("/api/v1/record")["slos"][0].clone();
        let last = record["sums"].as_array().and_then(|sums| sums.last().cloned());
        last.is_some_and(|last| last[2].as_u64() > Some(20))
    });
    let text = export(&drill.scratch.0, &["record", "--admin-url", &drill.url("admin")]);
    let record = Record::read(&text).unwrap();
    let series = &record.slos[0];
    assert_eq!(series.pad_bad_billionths, 500_000);
    let causes = series.bad_by_cause.unwrap();
    let bad = series.sums.last().unwrap()[2];
    assert_eq!(causes, ByCause { injected: bad, masked: 0, organic: 0 });
    // Older records say nothing of either, and are read.
    let mut older: Value = serde_json::from_str(&text).unwrap();
    for key in ["pad_bad_billionths", "bad_by_cause"] {
        assert!(older["slos"][0].as_object_mut().unwrap().remove(key).is_some());
    }
    let older = Record::read(&older.to_string()).unwrap();
    assert_eq!((older.slos[0].pad_bad_billionths, older.slos[0].bad_by_cause), (0, None));
    let mut wrong = record;
    wrong.slos[0].bad_by_cause = Some(ByCause { organic: 1, ..causes });
    assert!(Record::read(&serde_json::to_string(&wrong).unwrap()).is_err());
}
