//! A fault as a phase or a live override has it: its own table with some keys put over it.

use super::Override;
use super::keys::{ADJUSTED_FAULT, WHOLE_FAULT};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Sources};
use crate::document::{Content, Entry, Item, TableKeys, Value, instead, tree};

/// What is changed about one fault while the drill runs.
#[derive(Debug)]
pub(super) struct Adjustment {
    pub(super) fault: String,
    pub(super) entries: Vec<Entry>,
}

/// The most steps of a key's path: what is made of it is walked by recursion.
pub(super) const MOST_STEPS: usize = 16;

/// Keys that say who is hit: one of them replaces another.
pub const WHO: [&str; 3] = ["probability", "first", "every"];

/// `written` with `over` put over it, both of a fault.
pub(super) fn adjusted(written: &[Entry], over: &[Entry]) -> Vec<Entry> {
    let mut whole = written.to_vec();
    put_over(ADJUSTED_FAULT, &mut whole, over);
    whole
}

/// Tables merge key by key. Where only one key of a table can be (`delay.normal`), another one
/// takes the place of the old, and so does one that says who is hit. A short form is spelled out
/// for a key that is put beside it: `inject.latency = "300ms"` with `inject.latency.cap` keeps its
/// delay.
pub(super) fn put_over(keys: &'static TableKeys, into: &mut Vec<Entry>, over: &[Entry]) {
    let who = |entry: &Entry| WHO.contains(&entry.name.as_str());
    let fault = std::ptr::eq(keys, ADJUSTED_FAULT) || std::ptr::eq(keys, WHOLE_FAULT);
    if fault && over.iter().any(who) {
        into.retain(|entry| !who(entry));
    }
    for entry in over {
        let Some(known) = into.iter_mut().find(|known| known.name == entry.name) else {
            into.push(entry.clone());
            continue;
        };
        known.name_at = entry.name_at;
        let key = keys.keys.iter().find(|key| key.name == entry.name);
        let Content::Table(new) = &entry.item.content else {
            known.item = entry.item.clone();
            continue;
        };
        match key.map(|key| key.value) {
            Some(Value::Table(inner) | Value::SomeOf(inner)) => {
                spell_out(inner, &mut known.item);
                put_within(inner, &mut known.item, entry, new);
            }
            Some(Value::OneOf(inner)) => {
                if let Content::Table(old) = &mut known.item.content {
                    old.retain(|old| new.iter().any(|new| new.name == old.name));
                }
                put_within(inner, &mut known.item, entry, new);
            }
            Some(Value::Named(inner)) => match &mut known.item.content {
                Content::Table(old) => new.iter().for_each(|new| put_named(inner, old, new)),
                _ => known.item = entry.item.clone(),
            },
            _ => known.item = entry.item.clone(),
        }
    }
}

/// One that a user named: over the one of that name, or a new one.
fn put_named(keys: &'static TableKeys, into: &mut Vec<Entry>, new: &Entry) {
    match into.iter_mut().find(|known| known.name == new.name) {
        Some(known) => match &new.item.content {
            Content::Table(entries) => put_within(keys, &mut known.item, new, entries),
            _ => known.item = new.item.clone(),
        },
        None => into.push(new.clone()),
    }
}

fn put_within(keys: &'static TableKeys, known: &mut Item, entry: &Entry, new: &[Entry]) {
    match &mut known.content {
        Content::Table(old) => {
            put_over(keys, old, new);
            known.at = entry.item.at;
        }
        _ => *known = entry.item.clone(),
    }
}

/// A table's short form as the table: it stands for the first key.
fn spell_out(keys: &'static TableKeys, item: &mut Item) {
    if let (Some(_), Some(first), false) =
        (keys.short, keys.keys.first(), matches!(item.content, Content::Table(_)))
    {
        let entry = Entry { name: first.name.to_owned(), name_at: item.at, item: item.clone() };
        *item = Item::new(item.at, Content::Table(vec![entry]));
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
    if key.split('.').count() > MOST_STEPS {
        return Err("this is not the path of a key: it has too many steps".to_owned());
    }
    let known = || ADJUSTED_FAULT.keys.iter().map(|key| key.name);
    if known().any(|name| name == first) {
        return Ok((fault, key));
    }
    Err(format!("`{first}` cannot be changed live; {}", instead(first, known())))
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

/// What the files say at a key of a fault; an empty key is the fault itself. A short form is what its
/// table would say (`inject.latency = "300ms"` at `inject.latency.delay`).
pub fn written_at(files: &[Entry], fault: &str, key: &str) -> Option<Item> {
    let named = |entries: &[Entry], name: &str| {
        entries.iter().find(|entry| entry.name == name).map(|entry| entry.item.clone())
    };
    let Content::Table(faults) = named(files, "faults")?.content else { return None };
    let mut item = named(&faults, fault)?;
    let mut keys = WHOLE_FAULT;
    for step in key.split('.').filter(|step| !step.is_empty()) {
        spell_out(keys, &mut item);
        // One of several, in its short form: it stands for whatever would be within.
        let Content::Table(entries) = &item.content else { return Some(item) };
        let inner = keys.keys.iter().find(|key| key.name == step).map(|key| key.value);
        item = named(entries, step)?;
        match inner {
            Some(Value::Table(inner) | Value::SomeOf(inner) | Value::OneOf(inner)) => keys = inner,
            _ => return Some(item),
        }
        if let Some(Value::OneOf(_)) = inner
            && !matches!(item.content, Content::Table(_))
        {
            return Some(item);
        }
    }
    Some(item)
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
        let item = tree::value(value, file, offset(path.len() + 1));
        let steps: Vec<_> = key.split('.').map(|step| (step.to_owned(), at)).collect();
        let Some(entry) = tree::nested(&steps, item) else { continue };
        match read.iter_mut().find(|adjustment| adjustment.fault == fault) {
            Some(adjustment) => put_over(ADJUSTED_FAULT, &mut adjustment.entries, &[entry]),
            None => {
                read.push(Adjustment { fault: fault.to_owned(), entries: vec![entry] });
            }
        }
    }
    read
}
