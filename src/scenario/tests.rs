//! The reader on whole texts.

use super::*;
use crate::diagnostic::{Diagnostics, render, to_json};

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
    let page = crate::document::reference(&ROOT);
    assert!(page.contains("## `[slos.NAME.sli.latency]`") && page.contains("| `probability` |"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
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
