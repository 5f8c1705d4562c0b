//! The tree of one or more documents: owned, with places, in file order. TOML's own tables are
//! sorted by key, so order is won back from where each key stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{TableKeys, Value, syntax};
use crate::diagnostic::{Diagnostic, Diagnostics, Place};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Item {
    pub at: Place,
    pub content: Content,
    /// Where the environment filled something in: the string as it was written, which may be
    /// shown; the content may not.
    pub written: Option<String>,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Content {
    Text(String),
    /// `None`: more than 128 bits hold.
    Integer(Option<i128>),
    /// As written: `0.5`, `nan`.
    Float(String),
    Bool(bool),
    Datetime,
    List(Vec<Item>),
    Table(Vec<Entry>),
    /// A table or list deeper than any scenario needs; noted when it was read.
    TooDeep,
    /// A string that could not be filled in; noted when it was tried.
    Unfilled,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub name_at: Place,
    pub item: Item,
}

impl Item {
    /// As it stands in the text.
    pub fn new(at: Place, content: Content) -> Self {
        Self { at, content, written: None }
    }
}

impl Content {
    /// In words, for "found …".
    pub fn found(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Unfilled => "a string",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::Datetime => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::TooDeep => "a nest of tables",
        }
    }
}

/// Tables and lists within each other, at most; no scenario has a third of it.
const DEEPEST: u32 = 32;
/// The parser takes 80 dotted keys of 80 parts each within each other, and frees what it made by
/// recursion, as deep: 6,400 frames. Only pages that are touched cost memory.
const STACK: usize = 64 << 20;

/// Reads one document. Syntax errors are noted; what could be read around them is returned, and
/// the places where nothing that was read means what it says.
pub fn parse(text: &str, file: u16, notes: &mut Diagnostics) -> (Vec<Entry>, Vec<Place>) {
    let read = on_a_deep_stack(|| {
        let (table, errors) = DeTable::parse_recoverable(text);
        (convert_table(table.get_ref(), file, 0), errors)
    });
    let Some((entries, errors)) = read else {
        let at = Place { file, start: 0, end: 0 };
        notes.push(Diagnostic::error(at, "no memory to read this file"));
        return (Vec::new(), vec![at]);
    };
    let (mistakes, mut broken) = syntax::explain(text, file, &errors);
    notes.extend(mistakes);
    let mut deep = None;
    for entry in &entries {
        too_deep(&entry.item, &mut deep);
    }
    if let Some(at) = deep {
        notes.push(Diagnostic::error(at, "tables within tables within tables, too many"));
        broken.push(at);
    }
    (entries, broken)
}

fn on_a_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).ok()?;
        thread.join().ok()
    })
}

fn too_deep(item: &Item, found: &mut Option<Place>) {
    match &item.content {
        Content::TooDeep => *found = found.or(Some(item.at)),
        Content::List(items) => {
            for item in items {
                too_deep(item, found);
            }
        }
        Content::Table(entries) => {
            for entry in entries {
                too_deep(&entry.item, found);
            }
        }
        _ => {}
    }
}

/// Adds the entries of a further document. Tables of the language merge key by key; what a user
/// names, and a value, a list included, is given once: whatever is there twice is a mistake that
/// shows both places.
pub fn merge(
    into: &mut Vec<Entry>,
    from: Vec<Entry>,
    keys: &'static TableKeys,
    notes: &mut Diagnostics,
) {
    for entry in from {
        let key = keys.keys.iter().find(|key| key.name == entry.name);
        // What nobody knows is said to be unknown wherever it stands.
        let known = into.iter_mut().find(|known| key.is_some() && known.name == entry.name);
        let (Some(key), Some(known)) = (key, known) else {
            into.push(entry);
            continue;
        };
        match (key.value, &mut known.item.content, entry.item.content) {
            (
                Value::Named(_) | Value::Texts | Value::Each(_),
                Content::Table(old),
                Content::Table(new),
            ) => {
                merge_names(&entry.name, old, new, notes);
            }
            (
                Value::Table(keys) | Value::OneOf(keys) | Value::SomeOf(keys),
                Content::Table(old),
                Content::Table(new),
            ) => merge(old, new, keys, notes),
            (Value::List(_) | Value::Tables(_), ..) => {
                let hint = "a list stands whole in one file: its order counts";
                notes.push(twice(&entry.name, entry.name_at, known.name_at).hint(hint));
            }
            _ => notes.push(twice(&entry.name, entry.name_at, known.name_at)),
        }
    }
}

fn merge_names(kind: &str, into: &mut Vec<Entry>, from: Vec<Entry>, notes: &mut Diagnostics) {
    for entry in from {
        match into.iter().find(|known| known.name == entry.name) {
            None => into.push(entry),
            Some(known) => {
                let name = format!("{kind}.{}", entry.name);
                let hint = format!(
                    "give one of them another name; `--set {name}.KEY=VALUE` changes a single key"
                );
                notes.push(twice(&name, entry.name_at, known.name_at).hint(hint));
            }
        }
    }
}

fn twice(name: &str, again: Place, first: Place) -> Diagnostic {
    let note = Diagnostic::error(again, format!("`{name}` is defined twice"));
    note.label("again here").also(first, "first here")
}

/// Both say the same, wherever they stand; the order of keys is no matter.
pub fn same(one: &Item, other: &Item) -> bool {
    match (&one.content, &other.content) {
        (Content::Text(a), Content::Text(b)) | (Content::Float(a), Content::Float(b)) => a == b,
        (Content::Integer(a), Content::Integer(b)) => a == b,
        (Content::Bool(a), Content::Bool(b)) => a == b,
        (Content::List(a), Content::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Content::Table(a), Content::Table(b)) => {
            a.len() == b.len()
                && a.iter().all(|entry| {
                    let twin = b.iter().find(|known| known.name == entry.name);
                    twin.is_some_and(|twin| same(&entry.item, &twin.item))
                })
        }
        _ => false,
    }
}

/// One value at the end of a path, in a table for each step before it.
pub fn nested(path: &[(String, Place)], value: Item) -> Option<Entry> {
    let mut steps = path.iter().rev();
    let entry = |(name, name_at): &(String, Place), item| Entry {
        name: name.clone(),
        name_at: *name_at,
        item,
    };
    let last = entry(steps.next()?, value);
    Some(
        steps.fold(last, |inner, step| entry(step, Item::new(step.1, Content::Table(vec![inner])))),
    )
}

/// Reads one value on its own (`20`, `"5%"`, `{ mean = "1s" }`); what is not TOML is a string.
/// `offset`: where the value begins in its source.
pub fn value(text: &str, file: u16, offset: u32) -> Item {
    let end = offset.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let whole = Place { file, start: offset, end };
    let read = on_a_deep_stack(|| Some(convert(&DeValue::parse(text).ok()?, file, 0)));
    let Some(mut item) = read.flatten() else {
        return Item::new(whole, Content::Text(text.to_owned()));
    };
    shift(&mut item, offset);
    item
}

fn shift(item: &mut Item, offset: u32) {
    let moved = |at: &mut Place| {
        at.start = at.start.saturating_add(offset);
        at.end = at.end.saturating_add(offset);
    };
    moved(&mut item.at);
    match &mut item.content {
        Content::List(items) => items.iter_mut().for_each(|item| shift(item, offset)),
        Content::Table(entries) => {
            for entry in entries {
                moved(&mut entry.name_at);
                shift(&mut entry.item, offset);
            }
        }
        _ => {}
    }
}

fn convert_table(table: &DeTable<'_>, file: u16, depth: u32) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(name, value)| Entry {
            name: name.get_ref().clone().into_owned(),
            name_at: place(file, name.span()),
            item: convert(value, file, depth),
        })
        .collect();
    entries.sort_by_key(|entry| entry.name_at.start);
    entries
}

fn convert(value: &Spanned<DeValue<'_>>, file: u16, depth: u32) -> Item {
    let content = match value.get_ref() {
        DeValue::Array(_) | DeValue::Table(_) if depth >= DEEPEST => Content::TooDeep,
        DeValue::String(text) => Content::Text(text.clone().into_owned()),
        DeValue::Integer(number) => {
            Content::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Float(number) => Content::Float(number.as_str().to_owned()),
        DeValue::Boolean(yes) => Content::Bool(*yes),
        DeValue::Datetime(_) => Content::Datetime,
        DeValue::Array(items) => {
            Content::List(items.iter().map(|item| convert(item, file, depth + 1)).collect())
        }
        DeValue::Table(table) => Content::Table(convert_table(table, file, depth + 1)),
    };
    Item::new(place(file, value.span()), content)
}

pub(super) fn place(file: u16, span: std::ops::Range<usize>) -> Place {
    // Sources are held to 1 MiB before they come here.
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Place { file, start: offset(span.start), end: offset(span.end) }
}
