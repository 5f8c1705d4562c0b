//! The tree of one or more documents: owned, with places, in file order. TOML's own tables are
//! sorted by key, so order is won back from where each key stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Diagnostics, Place};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Item {
    pub at: Place,
    pub content: Content,
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
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub name_at: Place,
    pub item: Item,
}

impl Content {
    /// In words, for "found …".
    pub fn found(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
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
/// The most syntax errors kept of one file.
const MOST_ERRORS: usize = 200;
/// The parser takes 80 dotted keys of 80 parts each within each other, and frees what it made by
/// recursion, as deep: 6,400 frames. Only pages that are touched cost memory.
const STACK: usize = 64 << 20;

/// Reads one document. Syntax errors are noted; what could be read around them is returned.
pub fn parse(text: &str, file: u16, notes: &mut Diagnostics) -> Vec<Entry> {
    let read = on_a_deep_stack(|| {
        let (table, errors) = DeTable::parse_recoverable(text);
        (convert_table(table.get_ref(), file, 0), errors)
    });
    let Some((entries, errors)) = read else {
        let at = Place { file, start: 0, end: 0 };
        notes.push(Diagnostic::error(at, "no memory to read this file"));
        return Vec::new();
    };
    let mut repeats = false;
    // Each costs a look through the text; a text with more is no scenario.
    for error in errors.into_iter().take(MOST_ERRORS) {
        let span = error.span().unwrap_or(0..0);
        let at = place(file, widen(text, span));
        let message = error.message().lines().next().unwrap_or_default();
        if !message.contains("duplicate key") {
            notes.push(syntax(text, at, message));
            continue;
        }
        let note = Diagnostic::error(at, duplicate_message(text, at)).label("again here");
        match first_of(text, at) {
            Some(first) => notes.push(note.also(first, "first here")),
            // What repeats a table repeats its keys: the heading has been shown.
            None if repeats => {}
            None => notes.push(note),
        }
        repeats |= line_around(text, at.start).trim_start().starts_with('[');
    }
    let mut deep = None;
    for entry in &entries {
        too_deep(&entry.item, &mut deep);
    }
    if let Some(at) = deep {
        notes.push(Diagnostic::error(at, "tables within tables within tables, too many"));
    }
    entries
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

/// Adds the entries of a further document: tables at the top merge key by key, and whatever is
/// there twice after that is a mistake that shows both places.
pub fn merge(into: &mut Vec<Entry>, from: Vec<Entry>, notes: &mut Diagnostics) {
    merge_level(into, from, 1, notes);
}

fn merge_level(into: &mut Vec<Entry>, from: Vec<Entry>, levels: u8, notes: &mut Diagnostics) {
    for entry in from {
        let Some(known) = into.iter_mut().find(|known| known.name == entry.name) else {
            into.push(entry);
            continue;
        };
        match (&mut known.item.content, entry.item.content) {
            (Content::Table(old), Content::Table(new)) if levels > 0 => {
                merge_level(old, new, levels - 1, notes);
            }
            _ => notes.push(
                Diagnostic::error(entry.name_at, format!("`{}` is defined twice", entry.name))
                    .label("again here")
                    .also(known.name_at, "first here"),
            ),
        }
    }
}

/// The value at a dotted path.
pub fn find<'t>(entries: &'t [Entry], path: &str) -> Option<&'t Item> {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    let item = &entries.iter().find(|entry| entry.name == name)?.item;
    match (rest, &item.content) {
        (None, _) => Some(item),
        (Some(rest), Content::Table(entries)) => find(entries, rest),
        (Some(_), _) => None,
    }
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

/// Puts one value over the tree, making tables on the way where there are none.
pub fn overlay(into: &mut Vec<Entry>, path: &[(String, Place)], value: Item) {
    let Some(((name, name_at), rest)) = path.split_first() else { return };
    let index = into.iter().position(|known| known.name == *name).unwrap_or_else(|| {
        let item = Item { at: *name_at, content: Content::Table(Vec::new()) };
        into.push(Entry { name: name.clone(), name_at: *name_at, item });
        into.len() - 1
    });
    let known = &mut into[index];
    if rest.is_empty() {
        known.name_at = *name_at;
        known.item = value;
        return;
    }
    if !matches!(known.item.content, Content::Table(_)) {
        known.name_at = *name_at;
        known.item = Item { at: *name_at, content: Content::Table(Vec::new()) };
    }
    if let Content::Table(entries) = &mut known.item.content {
        overlay(entries, rest, value);
    }
}

/// Reads one value on its own (`20`, `"5%"`, `{ mean = "1s" }`); what is not TOML is a string.
/// `offset`: where the value begins in its source.
pub fn value(text: &str, file: u16, offset: u32) -> Item {
    let end = offset.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let whole = Place { file, start: offset, end };
    let read = on_a_deep_stack(|| Some(convert(&DeValue::parse(text).ok()?, file, 0)));
    let Some(mut item) = read.flatten() else {
        return Item { at: whole, content: Content::Text(text.to_owned()) };
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
    Item { at: place(file, value.span()), content }
}

fn place(file: u16, span: std::ops::Range<usize>) -> Place {
    // Sources are held to 1 MiB before they come here.
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Place { file, start: offset(span.start), end: offset(span.end) }
}

/// Empty spans point between characters; a caret needs one to stand under.
fn widen(text: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    if span.start < span.end {
        return span;
    }
    let next = text.get(span.start..).and_then(|rest| rest.chars().next());
    match next {
        Some(c) if c != '\n' => span.start..span.start + c.len_utf8(),
        _ => span,
    }
}

/// The parser's words, but where a person would say something else.
fn syntax(text: &str, at: Place, message: &str) -> Diagnostic {
    let rest = text.get(at.start as usize..).unwrap_or_default();
    let rest = rest.lines().next().unwrap_or_default().trim();
    if !message.starts_with("string values must be quoted") {
        let message = if message.is_empty() { "this is not TOML" } else { message };
        return Diagnostic::error(at, message);
    }
    if rest.is_empty() || rest.starts_with('#') {
        Diagnostic::error(at, "there is no value after `=`")
    } else {
        Diagnostic::error(at, "this value needs quotes").hint("write it as \"…\"")
    }
}

fn line_around(text: &str, at: u32) -> &str {
    let at = at as usize;
    let start = text.get(..at).and_then(|head| head.rfind('\n')).map_or(0, |i| i + 1);
    text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default()
}

fn duplicate_message(text: &str, at: Place) -> String {
    let line = line_around(text, at.start).trim();
    let name = if line.starts_with('[') {
        line.split('#').next().unwrap_or_default().trim()
    } else {
        text.get(at.start as usize..at.end as usize).unwrap_or_default()
    };
    format!("`{name}` is defined twice")
}

/// Where the first of two equal keys stands; the parser names only the second. By the look of the
/// text: a heading's twin is the same heading, a key's twin is a line that starts alike since the
/// last heading.
fn first_of(text: &str, second: Place) -> Option<Place> {
    let line = line_around(text, second.start).trim();
    let name = text.get(second.start as usize..second.end as usize)?;
    let heading = line.starts_with('[').then(|| line.split('#').next().unwrap_or_default().trim());
    let (mut offset, mut found) = (0, None);
    for candidate in text.get(..second.start as usize)?.split_inclusive('\n') {
        let shown = candidate.trim();
        let hit = if let Some(heading) = heading {
            shown.split('#').next().unwrap_or_default().trim() == heading
        } else {
            if shown.starts_with('[') {
                found = None;
            }
            shown.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        if hit && found.is_none() {
            let at = offset + candidate.find(name).unwrap_or(0);
            found = Some(at..at + name.len());
        }
        offset += candidate.len();
    }
    found.map(|span| place(second.file, span))
}
