//! What other tools make of what is exported: promtool and a real Prometheus.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::budget::{OUTAGE, Traffic, tool, well};
use crate::support::{BACKBURN, Program, Scratch, exchange, free_port, host, proxy, status_of};

/// `backburn export …` in a directory; what was printed.
pub(crate) fn export(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(BACKBURN);
    let output = command.arg("export").args(arguments).current_dir(directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// `promtool …` in a directory: whether it was content, and what it said.
pub(crate) fn promtool(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(tool("prometheus/usr/bin/promtool"));
    let output = command.args(arguments).current_dir(directory).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

const SLOS: &str = r#"
[services.checkout]
url = "http://127.0.0.1:9000"
[slos.pay]
objective = "99.95%"
sli.availability = {}
[slos.fast]
objective = "99.5%"
window = "30d"
sli.latency.threshold = "800ms"
[slos.calm]
objective = "99%"
budgeting = "timeslices"
slice = "5m"
slice_target = "90%"
alerts = "pyrra"
sli.availability = {}
[slos.own]
objective = "99.9%"
sli.availability = {}
[slos.own.alerts.tiers]
night = { long = "2h", short = "10m", budget = "3%", for = "5m" }
day = { severity = "ticket", long = "1d", budget = "10%" }
"#;

/// An SLO that counts operations, after those.
const OPERATIONS: &str = r#"
[routes.charge]
path = "/charge"
operation = "header:idempotency-key"
[slos.charged]
routes = ["charge"]
objective = "99.9%"
sli.availability = { per = "operation" }
"#;

#[test]
fn rules_are_rules() {
    let scratch = Scratch::new();
    scratch.file("scenario.toml", &format!("{SLOS}{OPERATIONS}"));
    for more in [&[][..], &["--dialect", "sloth"], &["--dialect", "pyrra"]] {
        let arguments = [&["prometheus-rules", "scenario.toml"], more].concat();
        scratch.file("rules.yml", &export(&scratch.0, &arguments));
        let (fine, said) = promtool(&scratch.0, &["check", "rules", "rules.yml"]);
        assert!(fine && said.contains("SUCCESS"), "{more:?}: {said}");
    }
    let text = export(&scratch.0, &["prometheus-rules", "scenario.toml"]);
    for line in [
        "slo:sli_error:ratio_rate5m",
        "(13.44 * 0.0005)",
        "(14.4 * 0.005)",
        "backburn_slo_events:burnrate1h",
        "for: 2m",
        "# charged counts operations, some ten seconds after their last attempt.\n- name",
    ] {
        assert!(text.contains(line), "{line}");
    }
    // A rate needs two samples.
    let refused = Command::new(BACKBURN)
        .args(["export", "prometheus-rules", "scenario.toml", "--scrape-interval", "3m"])
        .current_dir(&scratch.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("5m is too short"), "{said}");
}

/// What goes out as OpenSLO comes back as the same promises.
#[test]
fn openslo_there_and_back() {
    let scratch = Scratch::new();
    scratch.file("scenario.toml", SLOS);
    scratch.file("out.yaml", &export(&scratch.0, &["openslo", "scenario.toml"]));
    let back = Command::new(BACKBURN)
        .args(["import", "openslo", "out.yaml"])
        .current_dir(&scratch.0)
        .output()
        .unwrap();
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    let back = String::from_utf8(back.stdout).unwrap();
    let service = "[services.checkout]\nurl = \"http://127.0.0.1:9000\"\n";
    scratch.file("back.toml", &format!("{service}{back}"));
    let rules = |file: &str| export(&scratch.0, &["prometheus-rules", file]);
    assert_eq!(rules("back.toml"), rules("scenario.toml"), "{back}");
}

/// OpenSLO has no word for it.
#[test]
fn openslo_is_told_of_operations() {
    let scratch = Scratch::new();
    scratch.file("scenario.toml", &format!("{SLOS}{OPERATIONS}"));
    let mut command = Command::new(BACKBURN);
    command.args(["export", "openslo", "scenario.toml"]).current_dir(&scratch.0);
    let output = command.output().unwrap();
    let (text, said) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    let described = "description: Operations whose last attempt is no failure";
    assert_eq!(text.unwrap().matches(described).count(), 1);
    let said = said.unwrap();
    assert!(said.contains("`charged` counts operations: only its description"), "{said}");
}

#[test]
fn a_dashboard_asks_for_metrics_there_are() {
    let scratch = Scratch::new();
    scratch.file("scenario.toml", SLOS);
    let text = export(&scratch.0, &["grafana", "scenario.toml"]);
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let service = well();
    let drill = proxy(OUTAGE, &service.url, &["--hold"]);
    let (_, metrics) = drill.admin("GET", "/metrics", "");
    let mut seen = 0;
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        let expression = target["expr"].as_str().unwrap();
        let at = expression.find("backburn_").unwrap();
        let rest = &expression[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap();
        assert!(metrics.contains(&format!("# TYPE {} ", &rest[..end])), "{expression}");
        seen += 1;
    }
    assert!(seen >= 8);
}

/// The proof of a recorded drill holds for the exported rules, and no longer when the fault is taken
/// out of it.
#[test]
fn a_proof_that_can_fail() {
    let service = well();
    let drill = proxy(OUTAGE, &service.url, &["--no-meter"]);
    let traffic = Traffic::start(&drill.url("proxy"), 40);
    drill.until_within(60, "fired and resolved", |drill| {
        let alerts = drill.json("/api/v1/slos/up")["alerts"]["tiers"].clone();
        alerts[0]["fired"][0]["resolved_after_seconds"].as_u64().is_some_and(|resolved| {
            // Some seconds more, to look at what follows.
            drill.json("/api/v1/record")["seconds"].as_u64().unwrap() > resolved + 4
        })
    });
    drop(traffic);
    let scratch = &drill.scratch.0;
    let admin = drill.url("admin");
    let record = export(scratch, &["record", "--admin-url", &admin]);
    drill.scratch.file("drill.json", &record);
    let rules = ["prometheus-rules", "scenario.toml", "--scrape-interval", "1s", "--set"];
    let upstream = format!("proxy.upstream=\"{}\"", service.url);
    let rules = export(scratch, &[&rules[..], &[&upstream]].concat());
    drill.scratch.file("rules.yml", &rules);
    let only_up = |record: &str| {
        let mut record: Value = serde_json::from_str(record).unwrap();
        record["slos"].as_array_mut().unwrap().retain(|slo| slo["name"] == "up");
        record
    };
    // The other SLO's tiers would take six days of evaluations, one a second.
    let mut short = only_up(&record);
    short["slos"][0]["tiers"].as_array_mut().unwrap().retain(|tier| tier["name"] == "quick");
    drill.scratch.file("short.json", &short.to_string());
    let proof = ["alert-proof", "short.json", "--interval", "1s"];
    let text = export(scratch, &proof);
    assert!(text.contains("# firing: the replay changes"), "{text}");
    drill.scratch.file("proof.yml", &text);
    let (fine, said) = promtool(scratch, &["test", "rules", "proof.yml"]);
    assert!(fine, "{said}\n{text}");
    // Taken out of the events, not out of what is expected of them.
    let faultless: String = text
        .lines()
        .map(|line| {
            let series = line.trim_start().strip_prefix("values: \"0+0x");
            match series.and_then(|rest| rest.split_once(' ')) {
                Some((lead, _)) => format!("        values: \"0+0x{lead} 0+0x600\"\n"),
                None => format!("{line}\n"),
            }
        })
        .collect();
    assert_ne!(faultless, text);
    drill.scratch.file("faultless.yml", &faultless);
    let (fine, said) = promtool(scratch, &["test", "rules", "faultless.yml"]);
    assert!(!fine && said.contains("FAILED"), "{said}");
    // All SLOs and all their alerts, as long as promtool's windows are.
    for severity in [&["--severity", "page"][..], &[]] {
        let text = export(scratch, &[&["alert-proof", "drill.json"], severity].concat());
        drill.scratch.file("whole.yml", &text);
        let (fine, said) = promtool(scratch, &["test", "rules", "whole.yml"]);
        assert!(fine, "{severity:?}: {said}\n{text}");
    }
}

/// A server of its own, ended with the test.
struct Prometheus {
    child: Child,
    address: String,
    _scratch: Scratch,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Scrapes a drill once a second and evaluates every five, with a healthy past of eleven minutes.
    fn start(drill: &Program, rules: &str, past_rate: u32) -> Self {
        let scratch = Scratch::new();
        scratch.file("rules.yml", rules);
        let target = host(&drill.url("admin")).to_owned();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 5s }}\nrule_files: [rules.yml]\n\
             scrape_configs:\n- job_name: backburn\n  static_configs: [{{ targets: ['{target}'] }}]\n"
        );
        scratch.file("prometheus.yml", &config);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut past = String::from("# TYPE backburn_slo_events counter\n");
        for (outcome, cause, rate) in [("good", "", past_rate), ("bad", "injected", 0)] {
            for ago in (1..660).rev() {
                let labels = format!(
                    "slo=\"up\",outcome=\"{outcome}\",cause=\"{cause}\",instance=\"{target}\",job=\"backburn\""
                );
                past.push_str(&format!(
                    "backburn_slo_events_total{{{labels}}} {} {}\n",
                    (660 - ago) * u64::from(rate),
                    now - ago
                ));
            }
        }
        past.push_str("# EOF\n");
        scratch.file("past.txt", &past);
        let made = ["tsdb", "create-blocks-from", "openmetrics", "past.txt", "data"];
        let (fine, said) = promtool(&scratch.0, &made);
        assert!(fine, "{said}");
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(tool("prometheus/usr/bin/prometheus"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(&scratch.0)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(scratch.0.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { child, address, _scratch: scratch }
    }

    /// An instant query's result; empty while it is not up.
    fn query(&self, expression: &str) -> Vec<Value> {
        if std::net::TcpStream::connect(&self.address).is_err() {
            return Vec::new();
        }
        let query: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = format!(
            "GET /api/v1/query?query={query} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        let answer = exchange(&self.address, request.as_bytes());
        if status_of(&answer) != 200 {
            return Vec::new();
        }
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let from = body.find('{').unwrap_or(0);
        let to = body.rfind('}').map_or(body.len(), |end| end + 1);
        let value: Value = serde_json::from_str(&body[from..to]).unwrap_or_default();
        value["data"]["result"].as_array().cloned().unwrap_or_default()
    }
}

/// Production's own Prometheus, scraping the drill, pages when the replay says so.
#[test]
fn a_real_prometheus_pages_as_the_replay_has_it() {
    let scenario = r#"
[faults.down]
routes = ["*"]
inject.error = 503
[slos.up]
objective = "99.9%"
sli.availability = {}
production.rate = "20/s"
alerts.tiers.quick = { long = "10m", short = "1m", budget = "0.4%" }
"#;
    let service = well();
    let drill = proxy(scenario, &service.url, &["--hold", "--no-meter"]);
    let _traffic = Traffic::start(&drill.url("proxy"), 20);
    let upstream = format!("proxy.upstream=\"{}\"", service.url);
    let rules = export(
        &drill.scratch.0,
        &["prometheus-rules", "scenario.toml", "--scrape-interval", "1s", "--set", &upstream],
    );
    let prometheus = Prometheus::start(&drill, &rules, 20);
    drill.until_within(60, "scraped, and its past read", |_| {
        let result =
            prometheus.query("count_over_time(backburn_slo_events_total{outcome=\"good\"}[11m])");
        let counted = result.first().and_then(|series| series["value"][1].as_str());
        counted.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 655)
    });
    let (code, said) = drill.admin("POST", "/api/v1/drill/start", "");
    assert_eq!(code, 200, "{said}");
    let firing = "ALERTS{alertname=\"ErrorBudgetBurn\",alertstate=\"firing\",sloth_slo=\"up\"}[5m]";
    drill.until_within(90, "paged", |_| !prometheus.query(firing).is_empty());
    let first = prometheus.query(firing)[0]["values"][0][0].as_f64().unwrap();
    let quick = drill.json("/api/v1/slos/up")["alerts"]["tiers"][0].clone();
    let replayed = quick["fired"][0]["at"].as_str().unwrap_or_else(|| panic!("{quick}")).to_owned();
    let replayed: jiff::Timestamp = replayed.parse().unwrap();
    let replayed =
        Duration::try_from(replayed.duration_since(jiff::Timestamp::UNIX_EPOCH)).unwrap();
    let apart = (first - replayed.as_secs_f64()).abs();
    assert!(apart <= 10.0, "Prometheus {first}, the replay {}", replayed.as_secs_f64());
    // Of its histograms quantiles are to be had.
    let buckets = "sum by (le) (http_server_request_duration_seconds_bucket)";
    let median = prometheus.query(&format!("histogram_quantile(0.5, {buckets})"));
    let median: f64 = median[0]["value"][1].as_str().unwrap().parse().unwrap();
    assert!(median > 0.0 && median < 20.0, "{median}");
    // And of its counts, what production has used up.
    let of = |outcome: &str| {
        let events = format!("backburn_slo_events_total{{outcome=\"{outcome}\"}}");
        format!(
            "label_replace(sum(increase({events}[1m])), \"outcome\", \"{outcome}\", \"\", \"\")"
        )
    };
    let counted = prometheus.query(&format!("{} or {}", of("bad"), of("good")));
    assert_eq!(counted.len(), 2, "{counted:?}");
    let answer = json!({ "status": "success", "data": { "result": counted } }).to_string();
    drill.scratch.file("answer.json", &answer);
    let plain = "[slos.up]\nobjective = \"99.9%\"\nsli.availability = {}\n";
    drill.scratch.file("plain.toml", &format!("[proxy]\nupstream = \"{}\"\n{plain}", service.url));
    let (code, made, said) = drill.backburn(&["import", "history", "answer.json", "plain.toml"]);
    assert!(code == Some(0) && made.starts_with("slos.up.production={ rate = \""), "{made}{said}");
    let checked = drill.backburn(&["check", "plain.toml", "--set", made.trim_end()]);
    assert_eq!(checked.0, Some(0), "{}", checked.2);
}
