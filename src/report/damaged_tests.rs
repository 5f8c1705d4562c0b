//! Scenarios as people break them: a shipped one with lines and values changed at random is read,
//! compiled, played through and explained. Nothing panics, whatever is wrong is said with its place,
//! and a plan without an error can be run.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::rehearsal;
use crate::diagnostic::{Severity, render, to_json};

const SHIPPED: [&str; 8] = [
    include_str!("../../scenarios/canary-cohort.toml"),
    include_str!("../../scenarios/checkout-brownout.toml"),
    include_str!("../../scenarios/demo.toml"),
    include_str!("../../scenarios/fault-catalogue.toml"),
    include_str!("../../scenarios/flaky-dependency.toml"),
    include_str!("../../scenarios/game-day.toml"),
    include_str!("../../scenarios/seed-chaos.toml"),
    include_str!("../../scenarios/slow-tail.toml"),
];

/// What is written in the place of a value: ends of ranges, other types, other words.
const VALUES: [&str; 44] = [
    "0",
    "-0.0",
    "-1",
    "1",
    "9223372036854775807",
    "9223372036854775808",
    "1e308",
    "1e-308",
    "nan",
    "inf",
    "-inf",
    "true",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "\"\"",
    "\" \"",
    "\"*\"",
    "[\"*\"]",
    "\"0%\"",
    "\"100%\"",
    "\"100.0001%\"",
    "\"1e-9%\"",
    "\"0s\"",
    "\"1ns\"",
    "\"9223372036854775807s\"",
    "\"10000d\"",
    "\"none\"",
    "\"next\"",
    "\"99.9999999999%\"",
    "\"1/s\"",
    "\"0/s\"",
    "\"18446744073709551615 B\"",
    "\"1B/s\"",
    "\"(a{1000}){1000}\"",
    "\"[\"",
    "\"{a}/{a}\"",
    "\"http://[::1]:1\"",
    "\"\\u0000\"",
    "\"é\"",
    "1979-05-27T07:32:00Z",
    "0x7fffffff",
    "{ uniform = [\"1s\", \"1s\"] }",
];

#[derive(Debug, Clone)]
enum Damage {
    /// The value of this line.
    Value(usize, &'static str),
    /// The value of this line becomes that of another.
    Swap(usize, usize),
    Drop(usize),
    Twice(usize),
    Move(usize, usize),
    /// One piece of this line, between its separators.
    Piece(usize, usize, &'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    let line = || 0..200_usize;
    prop_oneof![
        3 => (line(), select(&VALUES[..])).prop_map(|(at, value)| Damage::Value(at, value)),
        2 => (line(), line()).prop_map(|(a, b)| Damage::Swap(a, b)),
        1 => line().prop_map(Damage::Drop),
        1 => line().prop_map(Damage::Twice),
        1 => (line(), line()).prop_map(|(a, b)| Damage::Move(a, b)),
        3 => (line(), 0..12_usize, select(&VALUES[..])).prop_map(|(a, b, c)| Damage::Piece(a, b, c)),
    ]
}

/// What stands behind the first `=`.
fn value(line: &str) -> Option<(&str, &str)> {
    line.split_once('=').map(|(key, value)| (key, value.trim()))
}

fn damaged(text: &str, all: &[Damage]) -> String {
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    for one in all {
        if lines.is_empty() {
            break;
        }
        let at = |at: usize| at % lines.len();
        match *one {
            Damage::Value(line, new) => {
                let line = at(line);
                if let Some((key, _)) = value(&lines[line]) {
                    lines[line] = format!("{key}= {new}");
                }
            }
            Damage::Swap(line, other) => {
                let (line, other) = (at(line), at(other));
                if let (Some((key, _)), Some((_, new))) =
                    (value(&lines[line]), value(&lines[other]))
                {
                    lines[line] = format!("{key}= {new}");
                }
            }
            Damage::Drop(line) => drop(lines.remove(at(line))),
            Damage::Twice(line) => lines.insert(at(line), lines[at(line)].clone()),
            Damage::Move(line, other) => {
                let (line, other) = (at(line), at(other));
                lines.swap(line, other);
            }
            Damage::Piece(line, piece, new) => {
                let line = at(line);
                let separators = ['=', ',', '{', '}', '[', ']', '"'];
                let pieces: Vec<&str> = lines[line].split_inclusive(separators).collect();
                let Some(old) = pieces.get(piece % pieces.len().max(1)) else { continue };
                let start = old.as_ptr() as usize - lines[line].as_ptr() as usize;
                let end = start + old.trim_end_matches(separators).len();
                lines[line].replace_range(start..end, new);
            }
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_damaged_is_read_whole(
        shipped in select(&SHIPPED[..]),
        all in proptest::collection::vec(damage(), 1..6),
    ) {
        let text = damaged(shipped, &all);
        let (scenario, mut notes) =
            crate::scenario::read(vec![("drill.toml".to_owned(), text.clone())], &[]);
        let (plan, more) = crate::plan::compile(&scenario);
        notes.extend(more);
        let _ = (render(&notes, &scenario.sources, false), to_json(&notes, &scenario.sources));
        for note in &notes {
            let inside = note.at.is_none_or(|at| text.get(at.start as usize..at.end as usize).is_some());
            prop_assert!(inside, "said of a place outside: {:?}", note);
        }
        let refused = notes.iter().any(|note| note.severity == Severity::Error);
        prop_assert!(plan.is_some() || refused, "refused without a word");
        if let (Some(plan), false) = (plan, refused) {
            let plan = Arc::new(plan);
            let drill = rehearsal::rehearse(&plan, |_| 20.0, Some(Duration::from_secs(60)));
            let told = rehearsal::render(&drill);
            prop_assert!(!told.contains("NaN") && !told.contains("inf%"), "{}", told);
        }
    }
}
