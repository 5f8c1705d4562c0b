//! Several files as one scenario.

use super::*;
use crate::diagnostic::{Diagnostics, render, to_json};
use crate::document::tree::{merge, parse};
use crate::document::{Entry, Key, TableKeys, Value};

fn merged(texts: &[&str]) -> (Scenario, Diagnostics) {
    let name = |at: usize| format!("{}.toml", char::from(b'a' + at as u8));
    let texts = texts.iter().enumerate().map(|(at, text)| (name(at), (*text).to_owned()));
    read(texts.collect(), &[])
}

/// Where each note stands and where its other half does, as `FILE:LINE:COLUMN`.
fn places(scenario: &Scenario, notes: &Diagnostics) -> Vec<(String, String)> {
    let shown = |at: Place| {
        let (line, column) = scenario.sources.position(at).unwrap();
        format!("{}:{line}:{column}", scenario.sources.files[usize::from(at.file)].name)
    };
    let note = |note: &crate::diagnostic::Diagnostic| {
        assert!(note.message.ends_with("is defined twice"), "{}", note.message);
        (shown(note.also.as_ref().unwrap().0), shown(note.at.unwrap()))
    };
    notes.iter().map(note).collect()
}

#[test]
fn tables_merge_key_by_key() {
    let a = "name = \"d\"\n[proxy]\nlisten = \"127.0.0.1:1\"\n[safety]\nmax_drill = \"1h\"\n";
    let b = "\u{feff}seed = 1\n[proxy]\nworkers = 2\n[services.a]\nurl = \"http://a\"\n";
    let c =
        "proxy.max_held = 7\nsafety = { never = [\"*.prod\"] }\nservices.b.url = \"http://b\"\n";
    let (scenario, notes) = merged(&[a, b, c]);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    let proxy = &scenario.proxy;
    assert_eq!(proxy.listen.as_ref().unwrap().value.port(), 1);
    assert_eq!(proxy.workers.as_ref().unwrap().value, 2);
    assert_eq!(proxy.max_held.as_ref().unwrap().value, 7);
    assert_eq!((scenario.safety.never.len(), scenario.safety.max_drill.is_some()), (1, true));
    assert_eq!((scenario.name.is_some(), scenario.seed.is_some()), (true, true));
}

#[test]
fn file_order_is_the_order_of_first_appearance() {
    let fault = |name: &str| format!("[faults.{name}]\nroutes = [\"*\"]\ninject.error = 503\n");
    let a = format!("{}{}", fault("zeta"), fault("alpha"));
    let b = fault("mid") + "[services.b]\nurl = \"http://b\"\n";
    let c = "[services.a]\nurl = \"http://a\"\n".to_owned() + &fault("beta");
    let (scenario, notes) = merged(&[&a, &b, &c]);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    let faults: Vec<_> = scenario.faults.iter().map(|fault| fault.name.value.as_str()).collect();
    assert_eq!(faults, ["zeta", "alpha", "mid", "beta"]);
    let services: Vec<_> = scenario.services.iter().map(|spec| spec.name.value.as_str()).collect();
    assert_eq!(services, ["b", "a"]);
}

#[test]
fn what_is_there_twice_shows_both_places() {
    for (a, b, first, again) in [
        // A value at the top.
        ("name = \"a\"\nseed = 1", "\nseed = 1", "a.toml:2:1", "b.toml:2:1"),
        // A value in a table, however it is written.
        ("[proxy]\nworkers = 1", "[proxy]\nworkers = 1", "a.toml:2:1", "b.toml:2:1"),
        ("proxy.workers = 1", "proxy = { workers = 2 }", "a.toml:1:7", "b.toml:1:11"),
        // A list is a value, the same one included.
        ("safety.never = [\"a\"]", "safety.never = [\"b\"]", "a.toml:1:8", "b.toml:1:8"),
        // A name is given once, even if no key is.
        (
            "[services.a]\nurl = \"http://a\"",
            "[services.a]\ntitle = \"A\"",
            "a.toml:1:11",
            "b.toml:1:11",
        ),
        (
            "[faults.f]\nroutes = [\"*\"]\ninject.error = 503",
            "faults.f.inject.error = 500",
            "a.toml:1:9",
            "b.toml:1:8",
        ),
        // A table and something else.
        ("proxy = 1", "[proxy]\nworkers = 1", "a.toml:1:1", "b.toml:1:2"),
    ] {
        let (scenario, notes) = merged(&[a, b]);
        let twice: Diagnostics = notes.iter().filter(|note| note.also.is_some()).cloned().collect();
        let page = render(&notes, &scenario.sources, false);
        assert_eq!(places(&scenario, &twice), [(first.to_owned(), again.to_owned())], "{page}");
        assert!(page.contains(first) && page.contains(again), "{page}");
        let json = to_json(&twice, &scenario.sources);
        assert_eq!(json[0]["file"], "b.toml");
    }
}

#[test]
fn every_one_of_three_is_shown() {
    let (scenario, notes) = merged(&["seed = 1", "seed = 2", "\nseed = 3"]);
    let pair = |first: &str, again: &str| (first.to_owned(), again.to_owned());
    assert_eq!(
        places(&scenario, &notes),
        [pair("a.toml:1:1", "b.toml:1:1"), pair("a.toml:1:1", "c.toml:2:1")]
    );
    assert_eq!(scenario.seed.unwrap().value, 1);
}

#[test]
fn what_nobody_knows_is_unknown_in_every_file() {
    let (scenario, notes) = merged(&["[servces.a]\nx = 1", "servces = 1\nproxy.wrokers = 1"]);
    let page = render(&notes, &scenario.sources, false);
    assert_eq!(notes.len(), 3, "{page}");
    assert!(notes.iter().all(|note| note.message.starts_with("unknown key")), "{page}");
}

static STEP: TableKeys =
    TableKeys { name: "steps", doc: "", keys: &[Key::new("name", Value::Text, "")], short: None };
static LOWER: TableKeys = TableKeys {
    name: "upper.lower",
    doc: "",
    keys: &[Key::new("a", Value::Text, ""), Key::new("b", Value::Text, "")],
    short: None,
};
static UPPER: TableKeys = TableKeys {
    name: "upper",
    doc: "",
    keys: &[Key::new("lower", Value::Table(&LOWER), ""), Key::new("labels", Value::Texts, "")],
    short: None,
};
static ROOT: TableKeys = TableKeys {
    name: "",
    doc: "",
    keys: &[
        Key::new("upper", Value::Table(&UPPER), ""),
        Key::new("steps", Value::Tables(&STEP), ""),
    ],
    short: None,
};

fn trees(a: &str, b: &str) -> (Vec<Entry>, Diagnostics) {
    let mut notes = Diagnostics::new();
    let (mut into, _) = parse(a, 0, &mut notes);
    let (from, _) = parse(b, 1, &mut notes);
    merge(&mut into, from, &ROOT, &mut notes);
    (into, notes)
}

#[test]
fn tables_within_tables_merge_as_deep_as_they_go() {
    let (tree, notes) = trees("upper.lower.a = \"x\"", "[upper.lower]\nb = \"y\"");
    assert!(notes.is_empty(), "{notes:?}");
    let crate::document::Content::Table(upper) = &tree[0].item.content else { panic!() };
    let crate::document::Content::Table(lower) = &upper[0].item.content else { panic!() };
    assert_eq!(lower.len(), 2);
    let (_, notes) = trees("upper.lower.a = \"x\"", "[upper.lower]\na = \"y\"");
    assert_eq!(notes[0].message, "`a` is defined twice");
    let (_, notes) = trees("upper.labels.a = \"x\"", "upper.labels.b = \"y\"");
    assert!(notes.is_empty(), "{notes:?}");
    let (_, notes) = trees("upper.labels.a = \"x\"", "upper.labels.a = \"y\"");
    assert_eq!(notes[0].message, "`labels.a` is defined twice");
}

/// An array of tables is one list: its order across files would be anybody's guess.
#[test]
fn an_array_of_tables_stands_in_one_file() {
    let steps = "[[steps]]\nname = \"one\"\n[[steps]]\nname = \"two\"\n";
    let (tree, notes) = trees(&format!("upper.labels.a = \"x\"\n{steps}"), steps);
    assert_eq!(notes.len(), 1);
    let (first, again) = (notes[0].also.as_ref().unwrap().0, notes[0].at.unwrap());
    assert_eq!((first.file, first.start, first.end), (0, 23, 28));
    assert_eq!((again.file, again.start, again.end), (1, 2, 7));
    assert!(notes[0].hint.is_some());
    let crate::document::Content::List(kept) = &tree[1].item.content else { panic!() };
    assert_eq!(kept.len(), 2);
}
