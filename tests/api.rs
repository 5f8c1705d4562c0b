//! The admin API on faults and the scenario: what it says is what happens.

use std::process::Command;

use serde_json::{Value, json};

use crate::faults::{GET, OK, Service, send, text};
use crate::support::{BACKBURN, Program, proxy, status_of};

fn put(program: &Program, scenario: &str) -> (u16, Value) {
    let (status, body) = program.admin("PUT", "/api/v1/scenario", scenario);
    (status, serde_json::from_str(&body).unwrap())
}

/// What is in files is changed there, and the answer says where.
#[test]
fn a_scenario_in_files_is_not_replaced() {
    let service = Service::start(OK);
    let scenario = "# a comment\nname = \"t\"\n[faults.it]\nroutes = [\"*\"]\ninject.error = 503\n";
    let proxy = proxy(scenario, &service.url, &[]);
    let told = proxy.json("/api/v1/scenario");
    assert_eq!(told["texts"][0]["text"], scenario);
    assert_eq!((&told["generation"], &told["overrides"]), (&json!(1), &json!([])));
    let (status, problem) = put(&proxy, "name = \"other\"\n");
    assert_eq!(status, 409, "{problem}");
    let file = proxy.scratch.0.join("scenario.toml");
    assert!(problem["detail"].as_str().unwrap().contains(file.to_str().unwrap()), "{problem}");
    assert!(text(&proxy, GET).starts_with("HTTP/1.1 503"));
    // A live change is told beside the text it is put over.
    let change = "{\"probability\": \"0%\"}";
    assert_eq!(proxy.admin("PATCH", "/api/v1/faults/it/override", change).0, 200);
    let told = proxy.json("/api/v1/scenario");
    assert_eq!(told["overrides"][0]["key"], "faults.it.probability");
    assert_eq!(told["texts"][0]["text"], scenario);
    std::fs::write(&file, scenario.replace("503", "504")).unwrap();
    proxy.until("read again", |proxy| proxy.json("/api/v1/scenario")["generation"] == 3);
    assert!(proxy.json("/api/v1/scenario")["texts"][0]["text"].as_str().unwrap().contains("504"));
    assert_eq!(proxy.admin("DELETE", "/api/v1/faults/it/override", "").0, 200);
    assert!(text(&proxy, GET).starts_with("HTTP/1.1 504"));
}

/// Without a file one can be put in place; a wrong one changes nothing.
#[test]
fn a_scenario_of_no_file() {
    let service = Service::start(OK);
    let arguments =
        ["--upstream", &service.url, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let proxy = Program::start("run", &arguments);
    assert_eq!(proxy.json("/api/v1/scenario")["files"], json!([]));
    assert!(text(&proxy, GET).ends_with("hello"));
    let scenario = "[faults.it]\nroutes = [\"*\"]\ninject.error = 503\n";
    let (status, report) = put(&proxy, scenario);
    assert_eq!((status, &report["result"]), (200, &json!("applied")), "{report}");
    assert_eq!(report["added"], json!(["fault `it`"]), "{report}");
    assert!(text(&proxy, GET).starts_with("HTTP/1.1 503"));
    let texts = proxy.json("/api/v1/scenario")["texts"].take();
    assert!(texts.as_array().unwrap().iter().any(|it| it["text"] == scenario), "{texts}");
    let (status, problem) = put(&proxy, "[faults.it]\nroutes = [\"*\"]\ninject.eror = 503\n");
    assert_eq!(status, 422, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("did you mean `error`?"), "{detail}");
    assert!(text(&proxy, GET).starts_with("HTTP/1.1 503"));
    let (status, report) = put(&proxy, &format!("# the same\n{scenario}"));
    assert_eq!((status, &report["result"]), (200, &json!("unchanged")), "{report}");
    // A reload reads what was put last.
    assert_eq!(proxy.admin("POST", "/api/v1/reload", "").0, 200);
    assert!(text(&proxy, GET).starts_with("HTTP/1.1 503"));
    let (status, _) = put(&proxy, "");
    assert_eq!(status, 200);
    assert!(text(&proxy, GET).ends_with("hello"));
}

/// That a fault which comes and goes is in a burst is true: then all are hit, else none.
#[test]
fn bursts_are_told() {
    let service = Service::start(OK);
    let mut told = [0, 0];
    for seed in 0..8 {
        let scenario = format!(
            "seed = {seed}\n[faults.it]\nroutes = [\"*\"]\nbursts = {{ on = \"10h\", off = \"10h\" }}\n\
             inject.error = 503\n[faults.always]\nroutes = [\"*\"]\nprobability = \"1%\"\n\
             inject.latency = \"1ms\"\n"
        );
        let proxy = proxy(&scenario, &service.url, &[]);
        let faults = proxy.json("/api/v1/faults");
        let on = faults[0]["in_burst"].as_bool().unwrap();
        assert!(faults[1]["in_burst"].is_null(), "{faults}");
        assert_eq!(status_of(&text(&proxy, GET)), if on { 503 } else { 200 }, "{seed}");
        assert_eq!(proxy.json("/api/v1/status")["faults"][0]["in_burst"], on);
        let mut command = Command::new(BACKBURN);
        command.current_dir(&proxy.scratch.0).env_remove("XDG_RUNTIME_DIR");
        let shown = command.args(["status", "--admin-url", &proxy.url("admin")]).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert_eq!(shown.contains("CALM"), !on, "{shown}");
        told[usize::from(on)] += 1;
        proxy.admin("POST", "/api/v1/drill/pause", "");
        assert!(proxy.json("/api/v1/faults")[0]["in_burst"].is_null());
    }
    assert!(told[0] > 0 && told[1] > 0, "{told:?}");
}

/// Route, faults, chances and reasons: as the command says it, for the plan in force.
#[test]
fn a_request_is_explained() {
    let service = Service::start(OK);
    let scenario = "[routes.pay]\npath = \"/pay/{id}\"\nmethods = [\"POST\"]\n[routes.rest]\n\
        [faults.slow]\nroutes = [\"pay\"]\nprobability = \"20%\"\ninject.latency = \"1s\"\n\
        [faults.gold]\nroutes = [\"pay\"]\nonly.headers = { x-tier = \"gold\" }\ninject.error = 503\n\
        [faults.elsewhere]\nroutes = [\"rest\"]\ninject.abort = \"reset\"\n\
        [[phases]]\nname = \"calm\"\nfor = \"1h\"\n\
        [[phases]]\nname = \"storm\"\nfor = \"1h\"\nfaults = [\"*\"]\n";
    let proxy = proxy(scenario, &service.url, &[]);
    let ask = |query: &str| proxy.json(&format!("/api/v1/explain?{query}"));
    let told = ask("request=POST%20/pay/7&headers=x-tier:%20silver&phase=storm");
    assert_eq!(told["route"], "pay", "{told}");
    let storm = &told["phases"][0];
    let names = |of: &Value| -> Vec<String> {
        of.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names(&storm["faults"]), &storm["faults"][0]["chance"]),
        (vec!["slow".to_owned()], &json!(0.2))
    );
    let others = &storm["other_faults"];
    assert_eq!(names(others), ["gold", "elsewhere"], "{told}");
    assert!(others[0]["why_not"].as_str().unwrap().contains("x-tier"), "{told}");
    let told = ask("request=POST%20/pay/7&phase=calm");
    assert_eq!(told["phases"][0]["faults"], json!([]), "{told}");
    assert_eq!(names(&told["phases"][0]["other_faults"]).len(), 3, "{told}");
    // An override is part of the plan in force.
    let change = "{\"probability\": \"30%\"}";
    assert_eq!(proxy.admin("PATCH", "/api/v1/faults/slow/override", change).0, 200);
    let told = ask("request=POST%20/pay/7&phase=storm");
    assert_eq!(told["phases"][0]["faults"][0]["chance"], 0.3, "{told}");
    for wrong in ["request=GET", "request=GET%20/&phase=never", ""] {
        let (status, problem) = proxy.admin("GET", &format!("/api/v1/explain?{wrong}"), "");
        assert_eq!(status, 400, "{wrong}: {problem}");
    }
    let routes = proxy.json("/api/v1/routes");
    let pay = routes.as_array().unwrap().iter().find(|route| route["name"] == "pay").unwrap();
    assert_eq!(pay["faults"], json!(["slow", "gold"]), "{routes}");
    drop(send(&proxy, GET));
}
