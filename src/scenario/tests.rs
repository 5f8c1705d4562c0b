//! The reader on whole texts.

use super::*;
use crate::diagnostic::{Diagnostics, render, to_json};
use crate::document::Value;

const VALID: &str = r#"
name = "checkout"
seed = 42
[safety]
environments = ["staging"]
max_drill = "none"
max_faulted = "30%"
[proxy]
listen = "127.0.0.1:0"
workers = 2
[services.shop]
url = "http://127.0.0.1:9000"
host = "upstream"
[routes.pay]
path = "/pay/{id}"
methods = ["POST"]
[faults.slow]
routes = ["pay"]
probability = "5%"
inject.latency = { delay = { lognormal = { median = "120ms", p99 = "2s" } }, cap = "5s" }
inject.error = 503
[faults.aborted]
routes = ["*"]
every = 3
inject.abort = "hang"
[slos.pay]
routes = ["pay"]
objective = "99.9%"
sli.availability = { bad_status = ["5xx", 429] }
[slos.fast]
service = "shop"
objective = "99%"
window = "7d"
sli.latency = { threshold = "800ms", of = "all", clock = "first_byte" }
"#;

pub(crate) fn one(text: &str, sets: &[&str]) -> (Scenario, Diagnostics) {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    read(vec![("drill.toml".to_owned(), text.to_owned())], &sets)
}

/// The one `inject.KIND` of a fault, as the kinds' own tests need it.
pub(crate) fn injected(written: &str) -> fault::Spec {
    let (mut scenario, notes) =
        one(&format!("[faults.it]\nroutes = [\"*\"]\ninject.{written}\n"), &[]);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    scenario.faults.remove(0).inject.remove(0).value
}

#[test]
fn a_scenario_reads_whole_and_in_file_order() {
    let (scenario, notes) = one(VALID, &[]);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    assert_eq!(scenario.seed.unwrap().value, 42);
    assert_eq!(scenario.safety.max_drill.unwrap().value, Limit::None);
    let names: Vec<_> = scenario.faults.iter().map(|fault| fault.name.value.as_str()).collect();
    assert_eq!(names, ["slow", "aborted"]);
    assert_eq!(scenario.faults[0].inject.len(), 2);
    assert_eq!(scenario.slos[1].window.as_ref().unwrap().value, Duration::from_hours(168));
    let Some(Located { value: SliSpec::Availability { bad_status: Some(bad), .. }, .. }) =
        &scenario.slos[0].sli
    else {
        panic!("no availability");
    };
    assert_eq!(bad[0].value, StatusPattern { low: 500, high: 599 });
    assert_eq!(bad[1].value, StatusPattern { low: 429, high: 429 });
}

#[test]
fn overrides_go_over_the_files() {
    let sets = ["seed=7", "faults.slow.probability=25%", "faults.slow.inject.latency=\"20ms\""];
    let (scenario, notes) = one(VALID, &sets);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    assert_eq!(scenario.seed.unwrap().value, 7);
    let share = scenario.faults[0].probability.as_ref().unwrap().value;
    assert_eq!(share.billionths(), 250_000_000);
    assert_eq!(scenario.faults[0].inject.len(), 2);
    let set = "slos.new={ objective = \"99.9%\", sli.availability = {} }";
    let (scenario, notes) = one(VALID, &[set]);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    assert_eq!(scenario.slos.len(), 3);
}

/// What is put beside a short form, within a distribution, or in the place of either: at the start,
/// live, and by a phase.
#[test]
fn a_key_refines_what_is_there() {
    let plain = "[faults.plain]\nroutes = [\"*\"]\nprobability = \"5%\"\ninject = { latency = \"300ms\", abort = \"hang\" }\n";
    let kinds = |read: (Scenario, Diagnostics), name: &str, phase: bool| {
        let (scenario, notes) = read;
        assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
        let mut faults = if phase { &scenario.phases[0].set } else { &scenario.faults }.iter();
        let fault = faults.find(|fault| fault.name.value == name).unwrap();
        let kinds = fault.inject.iter().map(|spec| fault::compile(&spec.value).unwrap());
        kinds.map(|kind| kind.describe()).collect::<Vec<_>>().join(", ")
    };
    for (fault, key, value, want) in [
        (
            "plain",
            "inject.latency.on",
            "\"response\"",
            "holds the answer for 300ms, says nothing for 1m, then closes",
        ),
        ("plain", "inject.latency.delay", "\"1s\"", "waits 1s, says nothing for 1m, then closes"),
        ("plain", "inject.latency", "\"2s\"", "waits 2s, says nothing for 1m, then closes"),
        ("plain", "inject.abort.cap", "\"5s\"", "waits 300ms, says nothing for 5s, then closes"),
        (
            "slow",
            "inject.latency.delay.lognormal.p99",
            "\"3s\"",
            "waits lognormal (median 120ms, p99 3s), at most 5s, answers 503",
        ),
        (
            "slow",
            "inject.latency.delay",
            "{ exponential = { mean = \"1s\" } }",
            "waits exponential (mean 1s), at most 5s, answers 503",
        ),
    ] {
        let text = format!("{VALID}{plain}");
        let path = format!("faults.{fault}.{key}");
        assert_eq!(kinds(one(&text, &[&format!("{path}={value}")]), fault, false), want, "{path}");
        let over = Override { path, value: value.to_owned() };
        let live = read_adjusted(vec![("t".to_owned(), text.clone())], &[], &[over], &|_| None);
        assert_eq!(kinds(live, fault, false), want, "live {key}");
        let phase = "[[phases]]\nname = \"a\"\nfor = \"1m\"\nfaults = [\"*\"]\n";
        let phased = format!("{text}{phase}set.{fault}.{key} = {value}\n");
        assert_eq!(kinds(one(&phased, &[]), fault, true), want, "phase {key}");
    }
    // Of the keys that say who is hit, the last one holds.
    let (scenario, notes) = one(VALID, &["faults.slow.every=3"]);
    assert!(notes.is_empty() && scenario.faults[0].probability.is_none());
}

/// [`super::TableKeys::short`] says so.
#[test]
fn a_short_form_is_the_value_of_the_first_key() {
    fn walk(value: Value, seen: &mut usize) {
        let Some(keys) = value.keys() else { return };
        if let (Some(short), Value::Table(_)) = (keys.short, value) {
            let first = keys.keys[0].value;
            let same = match first {
                Value::OneOf(keys) => keys.short.map(Value::expected),
                value => Some(value.expected()),
            };
            assert_eq!(same, Some(short.expected()), "{}", keys.name);
            *seen += 1;
        }
        keys.keys.iter().for_each(|key| walk(key.value, seen));
    }
    let mut seen = 0;
    ROOT.keys.iter().for_each(|key| walk(key.value, &mut seen));
    assert!(seen >= 5, "{seen}");
}

#[test]
fn mistakes_in_overrides_say_set() {
    for (set, message) in [
        ("faults.slwo.probability=5%", "there is no `slwo` in [faults]"),
        ("faults.slow.probability=1", "`probability` needs a unit"),
        ("sead=7", "unknown key `sead`"),
        ("seed", "there is no `=`; write PATH=VALUE, as in seed=7"),
        ("a..b=7", "this is not the path of a key"),
        ("seed=é", "`seed` cannot be a string"),
    ] {
        let (scenario, notes) = one(VALID, &[set]);
        assert_eq!(notes[0].message, message);
        assert_eq!(scenario.sources.files[usize::from(notes[0].at.unwrap().file)].name, "--set");
        let _ = render(&notes, &scenario.sources, true);
    }
}

#[test]
fn deep_and_large_texts_are_refused_quietly() {
    for text in [
        format!("{}=1", vec!["a"; 200_000].join(".")),
        "[".repeat(500_000),
        format!("a={}", "[".repeat(500_000)),
        format!("a={}", format!("{{{}=", vec!["a"; 79].join(".")).repeat(79)),
        "a = \"".to_owned() + &"x".repeat(2 << 20),
        "://".repeat(340_000),
        "://a@".repeat(200_000),
        format!("name = \"{}\"", "${A}".repeat(200_000)),
        format!("name = \"{}\"", "${".repeat(500_000)),
    ] {
        let (scenario, notes) = one(&text, &[]);
        assert!(!notes.is_empty());
        let _ = render(&notes[..notes.len().min(3)], &scenario.sources, false);
    }
}

#[test]
fn schema_and_reference_know_every_table() {
    let schema = json_schema();
    let kinds = &schema["properties"]["faults"]["additionalProperties"]["properties"]["inject"];
    for kind in fault::KINDS {
        assert!(kinds["properties"][kind.key.name].is_object(), "{}", kind.key.name);
    }
    assert_eq!(schema["additionalProperties"], false);
    let page = crate::document::reference(&ROOT, crate::fault::page);
    for kind in fault::KINDS {
        let heading = format!("## `[faults.NAME.inject.{}]`\n\n{}\n", kind.key.name, kind.page());
        assert!(page.contains(&heading), "{heading}");
    }
    assert!(page.contains("## `[slos.NAME.sli.latency]`") && page.contains("| `probability` |"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        let (scenario, notes) = one(&text, &[]);
        let _ = (render(&notes, &scenario.sources, false), to_json(&notes, &scenario.sources));
    }

    #[test]
    fn no_mutation_panics(
        cuts in proptest::collection::vec((0_usize..900, 0_usize..6, "[\\]\\[{}=\".,a-z0-9\n%é-]{0,4}"), 1..5),
    ) {
        let mut text: Vec<char> = VALID.chars().collect();
        for (at, length, new) in cuts {
            let start = at.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        let (scenario, notes) = one(&text, &["faults.slow.probability=1"]);
        let _ = (render(&notes, &scenario.sources, false), to_json(&notes, &scenario.sources));
        for spec in scenario.faults.iter().flat_map(|fault| &fault.inject) {
            let _ = fault::compile(&spec.value);
        }
    }
}
