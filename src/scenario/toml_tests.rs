//! TOML 1.1 is read. Each of these is an error in TOML 1.0.

use super::*;
use crate::diagnostic::render;
use crate::document::tree::{Content, parse};

fn content(text: &str) -> Content {
    let mut notes = Vec::new();
    let (mut entries, _) = parse(text, 0, &mut notes);
    assert!(notes.is_empty(), "{text}: {notes:?}");
    entries.remove(0).item.content
}

#[test]
fn inline_tables_may_have_line_ends_comments_and_a_last_comma() {
    let text = r#"
[proxy]
upstream = "http://127.0.0.1:9000"
[faults.slow]
routes = ["*"]
inject.latency = { # how long
    delay = {
        lognormal = { median = "120ms", p99 = "2s", }, # a tail
    },
    cap = "5s",
}
"#;
    let (scenario, notes) = read(vec![("drill.toml".to_owned(), text.to_owned())], &[]);
    assert!(notes.is_empty(), "{}", render(&notes, &scenario.sources, false));
    assert_eq!(scenario.faults[0].inject.len(), 1);
}

#[test]
fn carets_inside_a_table_of_many_lines_stand_right() {
    let text =
        "faults.slow = {\n    routes = [\"*\"],\n    probability = 5,\n    inject.error = 503,\n}";
    let (scenario, notes) = read(vec![("drill.toml".to_owned(), text.to_owned())], &[]);
    let page = render(&notes, &scenario.sources, false);
    assert!(notes.len() == 1 && page.contains("drill.toml:3:19"), "{page}");
    // The same in a value given on the command line.
    let set = "faults.slow={\n  routes = [\"*\"],\n  inject.error = 5,\n}";
    let (scenario, notes) = read(Vec::new(), &[set.to_owned()]);
    let page = render(&notes, &scenario.sources, false);
    assert!(notes.len() == 1 && page.contains("--set:3:18"), "{page}");
}

#[test]
fn escapes_of_1_1() {
    let Content::Text(text) = content(r#"a = "\e[1m\x41\xe9""#) else { panic!("not a string") };
    assert_eq!(text, "\u{1b}[1mAé");
}

#[test]
fn times_may_leave_out_their_seconds() {
    for time in ["07:32", "1979-05-27T07:32", "1979-05-27 07:32Z", "1979-05-27T07:32+01:00"] {
        assert!(matches!(content(&format!("a = {time}")), Content::Datetime), "{time}");
    }
}

#[test]
fn what_is_no_toml_of_any_version_is_still_refused() {
    for text in [
        "a = {,}",
        "a = { b = 1,, c = 2 }",
        "a = { b = 1 c = 2 }",
        "a = \"\\xZZ\"",
        "a = \"\\x4\"",
        "a = \"\\y\"",
        "a = 7:32",
        "a = 24:00",
        "ä = 1",
    ] {
        let mut notes = Vec::new();
        parse(text, 0, &mut notes);
        assert!(!notes.is_empty(), "{text}");
    }
}
