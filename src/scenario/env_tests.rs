//! `${…}` in whole scenarios: what is filled in, and that it never shows.

use std::ffi::OsString;

use super::*;
use crate::diagnostic::{Diagnostics, render, to_json};
use crate::document::{TableKeys, Value};
use crate::plan;

fn read_with(text: &str, sets: &[&str], set: &[(&str, &str)]) -> (Scenario, Diagnostics) {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let lookup = |name: &str| {
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    };
    read_adjusted(vec![("drill.toml".to_owned(), text.to_owned())], &sets, &[], &lookup)
}

/// Everything that is said of a text, on all ways out.
fn said(text: &str, sets: &[&str], set: &[(&str, &str)]) -> (Diagnostics, String) {
    let (scenario, mut notes) = read_with(text, sets, set);
    notes.extend(plan::compile(&scenario).1);
    let sources = &scenario.sources;
    let page = render(&notes, sources, false);
    let all =
        format!("{page}{}{}{notes:?}", render(&notes, sources, true), to_json(&notes, sources));
    (notes, all)
}

const SCENARIO: &str = r#"
name = "drill of ${TEAM:-nobody}"
seed = "${SEED}"
[safety]
max_drill = "${LONG:-none}"
never = ["*.${ZONE}"]
[services.shop]
url = "http://${HOST}:9000"
[routes.pay]
path = "/$${literal}/${PART:-v1}"
[faults.slow]
routes = ["${ROUTE:-pay}"]
probability = "${SHARE}"
enabled = "${ON:-false}"
inject.error = { status = "${STATUS:-503}", headers = { x-note = "${TEAM:-}" } }
inject.latency = { delay = { uniform = { min = "${MS}ms", max = "2s" } } }
"#;

#[test]
fn strings_are_filled_in_wherever_they_stand() {
    let set = [
        ("SEED", "7"),
        ("ZONE", "prod.example"),
        ("HOST", "10.0.0.1"),
        ("SHARE", "5%"),
        ("MS", "20"),
        ("PART", ""),
    ];
    let text = SCENARIO.replace("/$${literal}/", "/");
    let (scenario, notes) = read_with(&text, &[], &set);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    assert_eq!(scenario.name.as_ref().unwrap().value, "drill of nobody");
    assert_eq!(scenario.seed.as_ref().unwrap().value, 7);
    assert_eq!(scenario.safety.max_drill.as_ref().unwrap().value, Limit::None);
    assert_eq!(scenario.safety.never[0].value, "*.prod.example");
    assert_eq!(scenario.services[0].url.as_ref().unwrap().value, "http://10.0.0.1:9000");
    assert_eq!(scenario.routes[0].path.as_ref().unwrap().value, "/v1");
    let fault = &scenario.faults[0];
    assert_eq!(fault.routes[0].value, "pay");
    assert_eq!(fault.probability.as_ref().unwrap().value.billionths(), 50_000_000);
    assert!(!fault.enabled.as_ref().unwrap().value);
    let (plan, notes) = plan::compile(&scenario);
    assert!(plan.is_some(), "{}", render(&notes, &scenario.sources, false));
}

#[test]
fn overrides_are_filled_in_and_spare_what_they_cover() {
    let text = "[proxy]\nupstream = \"${NOWHERE}\"\n[faults.a]\nroutes = [\"*\"]\nprobability = \"${UNSET}\"\ninject.error = 503\n";
    let sets = ["proxy.upstream=http://${HOST}", "faults.a.probability=\"${SHARE:-${}\""];
    let (scenario, notes) = read_with(text, &sets, &[("HOST", "h")]);
    assert_eq!(scenario.proxy.upstream.as_ref().unwrap().value, "http://h");
    assert_eq!(notes.len(), 1);
    let page = render(&notes, &scenario.sources, false);
    assert!(page.contains("--set:1:23"), "{page}");

    let sets =
        ["proxy.upstream=http://${HOST}", "faults.a={ routes = [\"${R}\"], inject.error = 503 }"];
    let (scenario, notes) = read_with(text, &sets, &[("HOST", "h"), ("R", "all")]);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    assert_eq!(scenario.faults[0].routes[0].value, "all");
}

/// Who steers a drill need not know what the process was started with.
#[test]
fn live_overrides_are_not_filled_in() {
    let text = "[proxy]\nupstream = \"http://a\"\n[faults.a]\nroutes = [\"*\"]\nprobability = \"${SHARE}\"\ninject.error = 503\n";
    let (path, value) = ("a.inject.error", "{ status = 503, body = \"${SHARE}\" }");
    let over = Override { path: path.to_owned(), value: value.to_owned() };
    let lookup = |name: &str| (name == "SHARE").then(|| "5%".into());
    let texts = vec![("drill.toml".to_owned(), text.to_owned())];
    let (scenario, notes) = read_adjusted(texts, &[], &[over], &lookup);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    let fault = &scenario.faults[0];
    assert_eq!(fault.probability.as_ref().unwrap().value.billionths(), 50_000_000);
    let answer = format!("{:?}", fault.inject);
    assert!(answer.contains("${SHARE}") && !answer.contains("5%"), "{answer}");
}

#[test]
fn the_caret_is_under_the_piece() {
    let set = [("A", "1")];
    for (line, caret) in [
        ("name = \"x ${A} ${NO} y\"", "${NO}"),
        ("name = '''x\ny ${A} ${NO:oops}'''", "${NO:oops}"),
        ("name = \"a\\tb \\u00e4 $${A} ${}\"", "${}"),
        ("name = \"é ${A:-${B}}\"", "${A:-${B}}"),
        ("name = \"é ${A:-\"", "${A"),
        // Hidden by an escape: the string as a whole.
        ("name = \"${A} \\u0024{NO}\"", "\"${A} \\u0024{NO}\""),
    ] {
        let (_, notes) = read_with(line, &[], &set);
        assert_eq!(notes.len(), 1, "{line}: {notes:?}");
        let at = notes[0].at.unwrap();
        assert_eq!(&line[at.start as usize..at.end as usize], caret, "{line}");
        assert!(notes[0].hint.is_some(), "{line}");
    }
}

#[test]
fn each_unset_variable_is_one_mistake_and_no_other_follows() {
    let (notes, page) = said(SCENARIO, &[], &[]);
    let unset: Vec<_> = notes.iter().map(|note| note.message.as_str()).collect();
    let want = ["SEED", "ZONE", "HOST", "SHARE", "MS"]
        .map(|name| format!("the environment variable `{name}` is not set"));
    assert_eq!(unset[..want.len()], want, "{page}");
}

/// Lines that give every key of a table, however deep, the value `X`; `at`: the path to it.
fn lines(keys: &'static TableKeys, at: &str, into: &mut Vec<String>) {
    for key in keys.keys {
        value_lines(key.value, &format!("{at}{}", key.name), into);
    }
}

fn value_lines(value: Value, at: &str, into: &mut Vec<String>) {
    match value {
        Value::List(of) => into.push(match of {
            Value::Table(_) => format!("{at} = [{{ name = X }}]"),
            _ => format!("{at} = [X]"),
        }),
        Value::Texts => into.push(format!("{at}.k = X")),
        Value::Quantiles => into.push(format!("{at}.p50 = X")),
        Value::Each(of) => value_lines(*of, &format!("{at}.k"), into),
        Value::Named(keys) => lines(keys, &format!("{at}.n."), into),
        Value::Tables(keys) => {
            let mut within = Vec::new();
            lines(keys, "", &mut within);
            into.extend(within.iter().map(|line| format!("[[{at}]]\n{line}\n[other]")));
        }
        _ => {}
    }
    if let Value::Table(keys) | Value::OneOf(keys) | Value::SomeOf(keys) = value {
        lines(keys, &format!("{at}."), into);
    }
    into.push(format!("{at} = X"));
}

/// Whatever a variable holds, wherever it stands: nothing that is said holds it.
#[test]
fn what_the_environment_holds_is_never_said() {
    let values = [
        "hunter2secret",
        "Hunter2 secret",
        "-3sec",
        "99999999",
        "0.123456",
        "31337",
        "31337%",
        "31337d",
        "31337 ms",
        "hunter2\"secret`",
        "hunter2\nsecret\u{1b}[0m",
        "https://hunter2:secret@31337.example/x",
        "http://31337.example:99999",
        ":31337",
        "localhost:31337",
        "rest",
        "[hunter2]",
        "latencyy",
        "{hunter2}",
        "é31337",
    ];
    let mut every_key = Vec::new();
    lines(&ROOT, "", &mut every_key);
    assert!(every_key.len() > 100, "only {} keys", every_key.len());
    // What is well-formed but for the one value goes further.
    let places = [
        ("name = X", ""),
        ("seed = X", ""),
        ("safety = X", ""),
        ("safety.environments = [X]", ""),
        ("safety.environments = X", ""),
        ("safety.max_drill = X", ""),
        ("safety.max_faulted = X", ""),
        ("safety.never = [X]", ""),
        ("safety.fault_health = X", ""),
        ("proxy.listen = X", ""),
        ("proxy.upstream = X", ""),
        ("proxy.workers = X", ""),
        ("services.b = { url = X }", ""),
        ("services.b = { url = \"http://b\", host = X, tier = X, listen = X, title = X }", ""),
        ("routes.r = { path = X }", ""),
        ("routes.r = { path = Y, host = Y, methods = [Y], service = Y, tier = Y }", ""),
        ("routes.r = { host = X }", ""),
        ("routes.r = { methods = [X] }", ""),
        ("routes.r = { service = X }", ""),
        ("routes.r = { protected = X }", ""),
        ("faults.f = { routes = [X], inject.error = X }", ""),
        ("faults.f = { routes = X, inject = X }", ""),
        ("faults.f = { routes = [\"*\"], probability = X, inject.latency = X }", ""),
        ("faults.f = { routes = [\"*\"], group = X, inject.abort = X }", ""),
        (
            "faults.f = { routes = [\"*\"], first = X, every = X, limit = X, inject.abort = { how = X, cap = X } }",
            "",
        ),
        ("faults.f = { routes = [\"*\"], mark = X, inject.latency = { delay = X, cap = Y } }", ""),
        (
            "faults.f = { routes = [\"*\"], inject.latency.delay = { normal = { mean = X, std_dev = Y } } }",
            "",
        ),
        (
            "faults.f = { routes = [\"*\"], inject.error = { status = X, body = X, headers = { a = X } } }",
            "",
        ),
        (
            "faults.f = { routes = [\"*\"], group = X, probability = \"90%\", inject.error = 500 }",
            "faults.g = { routes = [\"*\"], group = X, probability = \"90%\", inject.error = 500 }",
        ),
        (
            "faults.f = { routes = [\"*\"], only = { headers = { a = X }, query = { b = { regex = X } }, clients = [X], methods = [X] }, inject.error = 500 }",
            "",
        ),
        (
            "faults.f = { routes = [\"*\"], cohort = X, probability = \"5%\", inject.error = 500 }",
            "",
        ),
        ("faults.f = { routes = [\"*\"], per = X, first = 5, inject.error = 500 }", ""),
        (
            "faults.f = { routes = [\"*\"], inject.latency.delay.quantiles = { p50 = X, p99 = \"1s\" } }",
            "",
        ),
        ("routes.r = { path = \"/\", operation = X, headers = { a = { regex = X } } }", ""),
        ("phases = [{ name = X, for = \"1s\" }, { name = X, for = \"1s\", faults = [X] }]", ""),
        ("phases = [{ name = \"a\", for = X, ramp = X, until = X }]", ""),
        ("slos.s = { routes = [X], objective = X, window = X, sli.availability = {} }", ""),
        (
            "slos.s = { service = X, tier = X, sli.latency = { threshold = X, of = X, clock = X } }",
            "",
        ),
        (
            "slos.s = { objective = \"99%\", sli.availability = { bad_status = [X], exclude_status = [X], abandoned_after = X } }",
            "",
        ),
    ];
    let mut mistakes = 0;
    for (line, more) in places.into_iter().chain(every_key.iter().map(|line| (line.as_str(), ""))) {
        for value in values {
            let text = format!("services.a = {{ url = \"http://a\" }}\n{more}\n{line}\n")
                .replace('X', "\"${SECRET}\"")
                .replace('Y', "\"x ${SECRET}\"");
            let (notes, page) = said(&text, &[], &[("SECRET", value)]);
            mistakes += notes.len();
            let page = page.to_lowercase();
            for leak in ["hunter2", "31337", "123456", "99999999", "rest\"", "latencyy", "-3sec"] {
                if value.to_lowercase().contains(leak.trim_end_matches('"')) {
                    assert!(!page.contains(leak), "{text}\nwith {value:?}:\n{page}");
                }
            }
        }
    }
    assert!(mistakes > 500, "only {mistakes} mistakes");
}

#[test]
fn what_was_written_is_shown_instead() {
    let set = [("D", "300"), ("R", "nowhere"), ("M", "post"), ("N", "a b")];
    for (line, message) in [
        ("faults.f = { inject.latency = \"${D}\" }", "\"${D}\" has no unit"),
        (
            "faults.f = { inject.latency = \"${D}0sec\" }",
            "`latency` cannot be what \"${D}0sec\" holds",
        ),
        ("seed = \"${R}\"", "`seed` cannot be what \"${R}\" holds"),
        ("proxy.listen = \"${R}:1\"", "\"${R}:1\" is not an address to listen on"),
        ("proxy.workers = \"${D}0000\"", "`workers` cannot be what \"${D}0000\" holds"),
        ("services.a = { url = \"http://a\", tier = \"${N}\" }", "\"${N}\" is not a name"),
        ("faults.f = { routes = [\"${R}\"], inject.error = 503 }", "there is no route `${R}`"),
    ] {
        let (notes, page) = said(line, &[], &set);
        assert!(notes.iter().any(|note| note.message == message), "{line}: {page}");
    }
    let (notes, _) = said("routes.a = { methods = [\"${M}\"] }", &[], &set);
    assert!(notes.iter().any(|note| note.hint.as_deref() == Some("`${M}`")), "{notes:?}");
}

#[test]
fn a_condition_is_explained_without_what_it_asks_for() {
    let text = r#"
[proxy]
upstream = "http://127.0.0.1:9000"
[routes.inner]
path = "/{*rest}"
headers = { x-team = "${KEY}" }
[routes.all]
[faults.slow]
routes = ["all"]
only.headers = { x-key = { regex = "^${KEY}$" } }
only.query = { key = "${KEY}" }
inject.latency = "1s"
"#;
    let (scenario, notes) = read_with(text, &[], &[("KEY", "hunter2")]);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    let plan = plan::compile(&scenario).0.unwrap();
    let ask = |headers: &[&str]| {
        let question = plan::explain::Question::parse("GET /", headers, None).unwrap();
        let answer = question.explain(&plan, None, None).unwrap();
        let text = serde_json::to_string(&answer).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        text
    };
    assert!(ask(&[]).matches("${KEY}").count() >= 2);
    assert!(ask(&["x-key: hunter2"]).contains("${KEY}"));
}

/// A password in a URL is refused, and shown by no excerpt, message or hint.
#[test]
fn a_password_in_a_url_is_never_said() {
    for url in [
        "http://shopper:hunter2@h",
        "http://shopper:hunter2@h:9000/p",
        "https://shopper:hunter2@h",
        "http://hunter2@h",
        "http://shopper:hun/hunter2@h",
        "http://shopper:hun@hunter2@h",
        "http://shopper:hün hunter2@h",
        "http://shopper:${X}hunter2@h",
    ] {
        for text in [
            format!("services.a = {{ url = \"{url}\" }}"),
            format!("[proxy]\nupstream = '{url}' # and http://shopper:hunter2@h\n"),
            format!("services.a = {{ url = \"http://a\", tier = \"{url}\" }}"),
            format!("services.a = {{ url = \"{url}\""),
            format!("services.a = {{ url = {url} }}"),
            format!("\"{url}\" = 1"),
        ] {
            let (notes, page) = said(&text, &[], &[]);
            assert!(!notes.is_empty(), "{text}");
            assert!(!page.contains("hunter2"), "{text}\n{page}");
        }
        let (notes, page) = said("", &[&format!("proxy.upstream={url}")], &[]);
        assert!(!notes.is_empty());
        assert!(!page.contains("hunter2"), "{url}\n{page}");
    }
    // What the excerpt blanks does not move the caret.
    let (notes, page) = said("services.a = { url = \"http://u:hunter2@h\", teir = 1 }", &[], &[]);
    assert_eq!(notes.len(), 2, "{page}");
    assert!(page.contains("\"http://u:*******@h\", teir") && page.contains(":1:44"), "{page}");
}
