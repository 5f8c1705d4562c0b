//! A fault as a phase or a live override has it: its own table with some keys put over it.

use super::Override;
use super::keys::ADJUSTED_FAULT;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Sources};
use crate::document::{Content, Entry, Item, TableKeys, Value, suggest_name, tree};

/// What is changed about one fault while the drill runs.
#[derive(Debug)]
pub(super) struct Adjustment {
    pub(super) fault: String,
    pub(super) entries: Vec<Entry>,
}

/// Keys that say who is hit: one of them replaces another.
pub const WHO: [&str; 3] = ["probability", "first", "every"];

/// `written` with `over` put over it: tables merge key by key, but where only one key of a table
/// can be (`delay.normal`), the new one takes the place of the old.
pub(super) fn adjusted(written: &[Entry], over: &[Entry]) -> Vec<Entry> {
    let mut whole = written.to_vec();
    if over.iter().any(|entry| WHO.contains(&entry.name.as_str())) {
        whole.retain(|entry| !WHO.contains(&entry.name.as_str()));
    }
    put_over(ADJUSTED_FAULT, &mut whole, over);
    whole
}

fn put_over(keys: &'static TableKeys, into: &mut Vec<Entry>, over: &[Entry]) {
    for entry in over {
        let Some(known) = into.iter_mut().find(|known| known.name == entry.name) else {
            into.push(entry.clone());
            continue;
        };
        known.name_at = entry.name_at;
        let key = keys.keys.iter().find(|key| key.name == entry.name);
        let inner = key.and_then(|key| match key.value {
            Value::Table(keys) | Value::SomeOf(keys) => Some(keys),
            _ => None,
        });
        match (inner, &mut known.item.content, &entry.item.content) {
            (Some(keys), Content::Table(old), Content::Table(new)) => {
                put_over(keys, old, new);
                known.item.at = entry.item.at;
            }
            _ => known.item = entry.item.clone(),
        }
    }
}

/// The fault a live override is about and the path of its key: `faults.slow.probability`, or
/// `slow.probability` for short.
///
/// # Errors
/// What is wrong with the path, and what to write instead.
pub fn adjustable(path: &str) -> Result<(&str, &str), String> {
    let short = path.strip_prefix("faults.").unwrap_or(path);
    let (fault, key) = short
        .split_once('.')
        .filter(|(fault, key)| !fault.is_empty() && !key.is_empty())
        .ok_or_else(|| {
            format!("`{path}` is not a key of a fault; write faults.NAME.probability=5%")
        })?;
    let first = key.split('.').next().unwrap_or(key);
    let known = || ADJUSTED_FAULT.keys.iter().map(|key| key.name);
    if known().any(|name| name == first) {
        return Ok((fault, key));
    }
    let hint = suggest_name(first, known()).map_or_else(
        || format!("that can be {}", known().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Err(format!("`{first}` cannot be changed live; {hint}"))
}

/// A table at this key of a fault is put over the old one key by key; one anywhere else takes its
/// place.
pub fn merges(key: &str) -> bool {
    let mut keys = ADJUSTED_FAULT;
    key.split('.').all(|step| {
        let known = keys.keys.iter().find(|key| key.name == step);
        match known.map(|key| key.value) {
            Some(Value::Table(inner) | Value::SomeOf(inner)) => {
                keys = inner;
                true
            }
            _ => false,
        }
    })
}

/// Reads live overrides, each a source of its own so that mistakes can point into it.
pub(super) fn adjustments(
    overrides: &[Override],
    sources: &mut Sources,
    notes: &mut Diagnostics,
) -> Vec<Adjustment> {
    let mut read: Vec<Adjustment> = Vec::new();
    for Override { path, value } in overrides {
        let text = format!("{path}={value}");
        let file = super::load::add(sources, "override".to_owned(), &text);
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let at = Place { file, start: 0, end: offset(path.len()) };
        let (fault, key) = match adjustable(path) {
            Ok(found) => found,
            Err(why) => {
                notes.push(Diagnostic::error(at, why));
                continue;
            }
        };
        let mut item = tree::value(value, file, offset(path.len() + 1));
        let mut steps = key.rsplit('.').peekable();
        let mut entry = None;
        while let Some(step) = steps.next() {
            let made = Entry { name: step.to_owned(), name_at: at, item };
            if steps.peek().is_none() {
                entry = Some(made);
                break;
            }
            item = Item::new(at, Content::Table(vec![made]));
        }
        let Some(entry) = entry else { continue };
        match read.iter_mut().find(|adjustment| adjustment.fault == fault) {
            Some(adjustment) => put_over(ADJUSTED_FAULT, &mut adjustment.entries, &[entry]),
            None => {
                read.push(Adjustment { fault: fault.to_owned(), entries: vec![entry] });
            }
        }
    }
    read
}
