//! Editing the scenario while it runs: what changes, what goes on, and what a mistake leaves as it
//! was.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{BACKBURN, Program, Scratch, exchange, host, python, shop, status_of};

const CALM: &str = "name = \"t\"\nseed = 7\n[faults.broken]\nroutes = [\"*\"]\nprobability = \"0%\"\n\
                    inject.error = 503\n[slos.a]\nobjective = \"99%\"\nsli.availability = {}\n";

fn broken(share: &str) -> String {
    CALM.replace("\"0%\"", &format!("\"{share}\""))
}

/// backburn with a scenario that can be edited.
struct Edited {
    proxy: Program,
    file: PathBuf,
    _shop: Program,
}

impl Edited {
    fn start(text: &str, more: &[&str]) -> Self {
        let shop = shop();
        let scratch = Scratch::new();
        let file = scratch.file("scenario.toml", text);
        let upstream = format!("proxy.upstream=\"{}\"", shop.url("checkout"));
        let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let arguments = [&[file.to_str().unwrap(), "--set", &upstream], &free[..], more].concat();
        let proxy = Program::start_in(scratch, "run", &arguments);
        Self { proxy, file, _shop: shop }
    }

    fn ask(&self) -> u16 {
        let url = self.proxy.url("proxy");
        let request = b"GET /api/items HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        status_of(&exchange(host(&url), request))
    }

    fn write(&self, text: &str) {
        fs::write(&self.file, text).unwrap();
    }

    /// By the API: at once.
    fn reload(&self, body: &str) -> (u16, Value) {
        let (status, text) = self.proxy.admin("POST", "/api/v1/reload", body);
        (status, serde_json::from_str(&text).unwrap())
    }

    fn reloads(&self, result: &str) -> u64 {
        let label = format!("result=\"{result}\"");
        self.proxy.metric("backburn_scenario_reloads_total", &[&label])
    }

    fn backburn(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(BACKBURN);
        command.current_dir(&self.proxy.scratch.0).env_remove("XDG_RUNTIME_DIR").args(arguments);
        command.output().unwrap()
    }
}

/// Nobody asks for a reload: the file is watched. A mistake, a deletion and a comment change
/// nothing; what is right again is taken.
#[test]
fn a_file_that_changes_is_noticed() {
    let edited = Edited::start(CALM, &[]);
    assert_eq!(edited.ask(), 200);
    edited.write(&broken("100%"));
    edited.proxy.until("the fault is on", |_| edited.ask() == 503);
    // In force first, counted then.
    edited.proxy.until("counted", |_| edited.reloads("applied") == 1);

    edited.write(&broken("100%").replace("probability", "probabilty"));
    edited.proxy.until("told", |_| edited.reloads("rejected") == 1);
    assert_eq!(edited.ask(), 503);
    let last = edited.proxy.json("/api/v1/status")["reload"].take();
    assert_eq!(last["result"], "rejected");
    let text = last["errors"][0].as_str().unwrap();
    assert!(text.contains("did you mean `probability`?") && text.contains(":5:1"), "{text}");

    fs::remove_file(&edited.file).unwrap();
    edited.proxy.until("told", |_| edited.reloads("rejected") == 2);
    assert_eq!(edited.ask(), 503);
    edited.write(&format!("# the same again\n{}", broken("100%")));
    edited.proxy.until("told", |_| edited.reloads("unchanged") == 1);
    assert_eq!(edited.ask(), 503);
    edited.write(CALM);
    edited.proxy.until("the fault is off", |_| edited.ask() == 200);
    // Renamed over, as editors do.
    let next = edited.proxy.scratch.file("next", &broken("100%"));
    fs::rename(next, &edited.file).unwrap();
    edited.proxy.until("the fault is on", |_| edited.ask() == 503);
    edited.proxy.until("counted", |_| edited.reloads("applied") == 3);
}

/// The API, SIGHUP and `backburn reload` do the same, and say first what widens.
#[test]
fn a_reload_says_what_it_does() {
    let edited = Edited::start(CALM, &[]);
    edited.write(&format!(
        "{}[faults.slow]\nroutes = [\"*\"]\nprobability = \"1%\"\ninject.latency = \"1ms\"\n[safety]\nmax_drill = \"1h\"\n",
        broken("5%").replace("name = \"t\"", "name = \"u\"")
    ));
    let (status, report) = edited.reload("");
    assert_eq!((status, &report["result"]), (200, &json!("applied")), "{report}");
    assert_eq!(report["widened"][0], "fault `broken`: 0% → 5%", "{report}");
    assert_eq!(report["widened"][1], "fault `slow` is new: 1% of all; waits 1ms", "{report}");
    assert_eq!(report["added"], json!(["fault `slow`"]));
    assert_eq!(report["changed"], json!(["name: t → u", "fault `broken`"]));
    assert_eq!(report["needs_restart"], json!(["safety.max_drill"]));
    assert_eq!(report["generation"], 2);
    assert!(report["kept"].as_array().unwrap().contains(&json!("SLO `a`")));

    edited.write("[faults.broken]\nroutes = [\"nowhere\"]\ninject.error = 9\n");
    let (status, report) = edited.reload("");
    assert_eq!((status, &report["result"]), (422, &json!("rejected")), "{report}");
    assert_eq!(report["notes"].as_array().unwrap().len(), 2, "{report}");
    let said = edited.backburn(&["reload"]);
    assert_eq!(said.status.code(), Some(2));
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(text.contains("the old plan is still live") && text.contains("nowhere"), "{text}");

    edited.write(&broken("100%"));
    edited.proxy.signal("-HUP");
    edited.proxy.until("reloaded", |_| edited.ask() == 503);
    let said = edited.backburn(&["reload"]);
    assert_eq!(said.status.code(), Some(0));
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(text.trim(), "nothing has changed", "{text}");
}

/// A change that only a restart can take is none that has not been made: it is named, by its keys.
#[test]
fn what_waits_for_a_restart_is_named() {
    let edited = Edited::start(CALM, &[]);
    let safety = "[safety]\nmax_drill = \"1h\"\nmax_faulted = \"50%\"\n";
    edited.write(&format!("{}{safety}", CALM.replace("seed = 7\n", "seed = 77\n")));
    let keys = ["safety.max_drill", "safety.max_faulted", "seed"];
    let says = format!("changed, and not applied until a restart: {}", keys.join(", "));
    // Also when the watch was faster; and it stays so.
    for _ in 0..2 {
        let (status, report) = edited.reload("");
        assert_eq!((status, &report["result"]), (200, &json!("unchanged")), "{report}");
        assert_eq!((&report["needs_restart"], &report["summary"]), (&json!(keys), &json!(says)));
        let said = edited.backburn(&["reload"]);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!((said.status.code(), text.trim()), (Some(0), says.as_str()));
    }
    let status = edited.proxy.json("/api/v1/status");
    assert_eq!(status["reload"]["summary"], json!(says), "{status}");
    // Beside what is applied.
    edited.write(&broken("5%").replace("seed = 7\n", "seed = 77\n"));
    let said = edited.backburn(&["reload"]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(text.contains("1 changed, 1 needs a restart\n"), "{text}");
    assert!(text.contains("\n  restart  seed"), "{text}");
    // As it was at the start.
    edited.write(CALM);
    edited.reload("");
    let said = edited.backburn(&["reload"]);
    assert_eq!(String::from_utf8_lossy(&said.stderr).trim(), "nothing has changed");
}

/// What widens waits, whoever asks, until it is accepted as it was shown.
#[test]
fn what_widens_can_be_held() {
    let safety = "[safety]\nwidening = \"hold\"\n";
    let edited = Edited::start(&format!("{CALM}{safety}"), &[]);
    edited.write(&format!("{}{safety}", broken("100%")));
    let (status, report) = edited.reload("");
    assert_eq!((status, &report["result"]), (202, &json!("held")), "{report}");
    assert_eq!(edited.ask(), 200);
    let pending = edited.proxy.json("/api/v1/status")["pending"].take();
    assert_eq!(pending["widens"], json!(["fault `broken`: 0% → 100%"]));
    assert_eq!(edited.backburn(&["reload"]).status.code(), Some(3));
    // Another file than the one that was shown is shown first.
    edited.write(&format!("{}{safety}", broken("99.9%")));
    assert_eq!(edited.reload("{\"accept\": true}").0, 202);
    let said = edited.backburn(&["reload", "--accept"]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(0), "{text}");
    assert!(text.contains("WIDENED  fault `broken`: 0% → 99.9%"), "{text}");
    assert!(edited.proxy.json("/api/v1/status")["pending"].is_null());
    // What narrows is not held.
    edited.write(&format!("{CALM}{safety}"));
    assert_eq!(edited.reload("").1["result"], "applied");
    assert_eq!(edited.ask(), 200);
    // What somebody sets by hand is meant.
    assert_eq!(edited.backburn(&["set", "broken.probability=100%"]).status.code(), Some(0));
    assert_eq!(edited.ask(), 503);
}

/// `set` puts a key over the file; it lasts until it is cleared or the file changes that very key.
#[test]
fn live_overrides() {
    let edited = Edited::start(CALM, &["--set", "safety.max_faulted=\"100%\""]);
    let set = |what: &[&str]| {
        let said = edited.backburn(&[&["set"], what].concat());
        (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned())
    };
    assert_eq!(set(&["faults.broken.probability=100%"]).0, Some(0));
    assert_eq!(edited.ask(), 503);
    assert_eq!(set(&["broken.inject.error=500"]).0, Some(0));
    assert_eq!(edited.ask(), 500);
    // Another key changes in the file: both stay.
    edited.write(&CALM.replace("seed", "hypothesis = \"x\"\nseed"));
    assert_eq!(edited.reload("").1["result"], "applied");
    assert_eq!(edited.ask(), 500);
    let overrides = edited.proxy.json("/api/v1/status")["overrides"].take();
    assert_eq!(overrides.as_array().unwrap().len(), 2, "{overrides}");
    // That very key changes: it is the file's again.
    edited.write(&broken("0.0001%"));
    let (_, report) = edited.reload("");
    let cleared = report["overrides_cleared"][0].as_str().unwrap();
    assert!(cleared.starts_with("faults.broken.probability"), "{report}");
    assert_eq!(edited.ask(), 200);
    assert_eq!(set(&["broken", "--clear"]).0, Some(0));
    assert_eq!(edited.proxy.json("/api/v1/status")["overrides"], json!([]));

    let (code, text) = set(&["broken.probability=200%"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("more than the whole"), "{text}");
    assert_eq!(set(&["broken.routes=x"]).0, Some(2), "routes are not changed live");
    let (code, text) = set(&["borken.probability=1%"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("did you mean `broken`?"), "{text}");
    let body = "{\"probability\": \"100%\", \"inject\": {\"error\": {\"status\": 418}}}";
    let (status, text) = edited.proxy.admin("PATCH", "/api/v1/faults/broken/override", body);
    assert_eq!(status, 200, "{text}");
    assert_eq!(edited.ask(), 418);
    assert_eq!(edited.proxy.admin("DELETE", "/api/v1/faults/broken/override", "").0, 200);
    assert_eq!(edited.ask(), 200);
    // No live change gets past the limit of safety.
    let strict = Edited::start(CALM, &["--set", "safety.max_faulted=\"10%\""]);
    let (status, text) =
        strict.proxy.admin("PATCH", "/api/v1/faults/broken/override", "{\"probability\": \"11%\"}");
    assert_eq!(status, 422, "{text}");
    assert_eq!(strict.ask(), 200);
}

/// A comment disturbs no draw, nor does a change elsewhere; counts and limits go on by name.
#[test]
fn state_goes_on_through_reloads() {
    let text = CALM.replace("probability = \"0%\"", "every = 3");
    let edited = Edited::start(&text, &[]);
    let mut seen = Vec::new();
    for n in 0..30 {
        if n % 5 == 2 {
            edited.write(&format!("# {n}\n{}", fs::read_to_string(&edited.file).unwrap()));
            assert_eq!(edited.reload("").1["result"], "unchanged");
        }
        if n % 5 == 4 {
            edited.write(&text.replace("\"99%\"", &format!("\"99.{n}%\"")));
            assert_eq!(edited.reload("").1["result"], "applied");
        }
        seen.push(edited.ask());
    }
    let want: Vec<u16> = (1..=30).map(|n| if n % 3 == 0 { 503 } else { 200 }).collect();
    assert_eq!(seen, want);
    let slo = edited.proxy.json("/api/v1/slos")[0].take();
    assert_eq!((&slo["total"], &slo["injected"]), (&json!(30), &json!(10)), "{slo}");
}

/// What was counted stays what it was when its fault does something else, or on other routes.
#[test]
fn counts_keep_their_meaning() {
    let routes = "[routes.a]\npath = \"/api/items\"\n[routes.b]\npath = \"/b\"\n";
    let fault = |on: &str, inject: &str| {
        format!("{routes}[faults.f]\nroutes = [\"{on}\"]\ninject.{inject}\n")
    };
    let edited = Edited::start(&fault("a", "latency = \"1ms\""), &[]);
    let injected = |kind: &str| {
        let label = format!("kind=\"{kind}\"");
        edited.proxy.metric("backburn_faults_injected_total", &[&label])
    };
    assert_eq!(edited.ask(), 200);
    edited.write(&fault("a", "error = 503"));
    assert_eq!(edited.reload("").1["result"], "applied");
    assert_eq!((edited.ask(), injected("latency"), injected("error")), (503, 1, 1));
    edited.write(&fault("b", "error = 503"));
    assert_eq!(edited.reload("").1["result"], "applied");
    assert_eq!((edited.ask(), injected("latency"), injected("error")), (200, 1, 1));
    let (status, text) = edited.proxy.admin(
        "PATCH",
        "/api/v1/faults/f/override",
        "{\"inject\": {\"abort\": \"reset\"}}",
    );
    assert_eq!(status, 200, "{text}");
    assert_eq!(edited.proxy.json("/api/v1/faults")[0]["hit"], 2);
    // What is gone has hit them all the same.
    edited.write(routes);
    assert_eq!(edited.reload("").1["result"], "applied");
    assert_eq!((injected("latency"), injected("error")), (1, 1));
    let gone = edited.proxy.json("/api/v1/status")["faults"][0].take();
    assert_eq!((&gone["who"], &gone["hit"]), (&json!("removed"), &json!(2)), "{gone}");
    // Without phases there is nothing to go on to.
    let said = edited.backburn(&["next"]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_ne!(said.status.code(), Some(0), "{text}");
    assert!(text.contains("the scenario has no phases"), "{text}");
}

/// An override of a whole distribution; of several keys that say who is hit, the last one holds.
#[test]
fn overrides_replace_each_other() {
    let edited = Edited::start(CALM, &[]);
    let set = |body: &str| {
        let (status, text) = edited.proxy.admin("PATCH", "/api/v1/faults/broken/override", body);
        assert_eq!(status, 200, "{body}: {text}");
        edited.proxy.json("/api/v1/status")["overrides"].as_array().unwrap().len()
    };
    let normal = "{\"mean\": \"1ms\", \"std_dev\": \"1us\"}";
    assert_eq!(
        set(&format!("{{\"inject\": {{\"latency\": {{\"delay\": {{\"normal\": {normal}}}}}}}}}")),
        1
    );
    assert_eq!(set("{\"inject.latency\": \"2ms\"}"), 1);
    assert_eq!(set("{\"probability\": \"100%\"}"), 2);
    assert_eq!(edited.ask(), 503);
    assert_eq!(set("{\"every\": 2}"), 2);
    assert_eq!([edited.ask(), edited.ask()], [503, 200]);
}

/// What an override does to the files' standing: nothing.
#[test]
fn an_override_accepts_and_rights_nothing() {
    let safety = "[safety]\nwidening = \"hold\"\n";
    let edited = Edited::start(&format!("{CALM}{safety}"), &[]);
    let set = |limit: u32| {
        let body = format!("{{\"limit\": {limit}}}");
        assert_eq!(edited.proxy.admin("PATCH", "/api/v1/faults/broken/override", &body).0, 200);
    };
    let wrong = || edited.proxy.json("/api/v1/status")["scenario_wrong"].take();
    edited.write("[faults");
    assert_eq!((edited.reload("").0, wrong()), (422, json!(true)));
    set(5);
    assert_eq!(wrong(), json!(true), "the file is as it was");
    edited.write(&format!("{}{safety}", broken("100%")));
    assert_eq!((edited.reload("").0, wrong()), (202, json!(false)));
    set(6);
    assert!(edited.proxy.json("/api/v1/status")["pending"]["widens"].is_array());
    assert_eq!(edited.reload("{\"accept\": true}").1["result"], "applied");
    // What needs a restart is said, though nothing is applied.
    edited.write(&format!("{}{safety}max_drill = \"1h\"\n", broken("100%")));
    assert_eq!(edited.reload("").1["result"], "unchanged");
    let last = edited.proxy.json("/api/v1/status")["reload"].take();
    assert_eq!(last["needs_restart"], json!(["safety.max_drill"]), "{last}");
}

/// A thousand reloads under the load of an independent client: nothing is lost, nothing fails that
/// was not asked to, and the counts agree to the request.
#[test]
fn a_thousand_reloads_under_load() {
    let edited = Edited::start(&broken("5%"), &["--workers", "2"]);
    let pid = edited.proxy.pid();
    let descriptors = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let warm = python("tally.py", &[&edited.proxy.url("proxy"), "400", "8", "-"]);
    let memory = || {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().to_owned();
        line.trim_end_matches("kB").trim().parse::<u64>().unwrap()
    };
    let (before, small) = (descriptors(), memory());
    let url = edited.proxy.url("proxy");
    let client = std::thread::spawn(move || python("tally.py", &[&url, "8000", "8", "-"]));
    for n in 0..1000 {
        let text = match n % 4 {
            0 => broken("5%").replace("name = \"t\"", &format!("name = \"t{n}\"")),
            1 => broken("5%").replace("\"99%\"", &format!("\"99.{n}%\"")),
            2 => "[faults.broken".to_owned(),
            _ => format!("# {n}\n{}", broken("5%")),
        };
        edited.write(&text);
        let (status, report) = edited.reload("");
        assert_eq!(status, if n % 4 == 2 { 422 } else { 200 }, "{n}: {report}");
    }
    let tally = client.join().unwrap();
    assert_eq!(tally["none"], 0, "{tally}");
    let count = |tally: &Value, status: &str| tally["statuses"][status].as_u64().unwrap_or(0);
    let failed = count(&tally, "503") + count(&warm, "503");
    assert_eq!(count(&tally, "200") + count(&warm, "200") + failed, 8400, "{tally}");
    let events = |labels: &[&str]| edited.proxy.metric("backburn_slo_events_total", labels);
    let counted = edited.proxy.json("/api/v1/phases");
    assert_eq!(events(&[]), 8400, "{counted} {}", edited.proxy.json("/api/v1/slos"));
    assert_eq!(events(&["cause=\"injected\""]), failed);
    assert_eq!(edited.proxy.metric("backburn_faults_eligible_total", &[]), 8400);
    // The same requests were hit as if there had been no reload: a function of their number.
    let undisturbed = Edited::start(&broken("5%"), &["--workers", "1"]);
    let alone = python("tally.py", &[&undisturbed.proxy.url("proxy"), "8400", "8", "-"]);
    assert_eq!(count(&alone, "503"), failed);
    edited.proxy.until("descriptors are back", |_| descriptors() <= before + 2);
    // Plans, stages and books of a thousand reloads are gone; what stays is the allocator's slack.
    let grown = memory().saturating_sub(small);
    assert!(grown < 24 * 1024, "{grown} KiB more than before");
}
