//! Typed reading of a tree: every getter notes what is wrong and goes on. What a value may be is
//! in the key table, so a getter never repeats it.

use std::net::SocketAddr;
use std::time::Duration;

use super::suggest::{closest, homes};
use super::text::{Wrong, name, url};
use super::tree::{Content, Entry, Item};
use super::{Key, TableKeys, Value};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::units::{self, Bandwidth, Bytes, Rate, Share, Spent};

/// A table being read. Opening it has reported the keys nobody knows and those that are missing.
#[derive(Debug)]
pub struct Table<'t, 'n> {
    root: &'static TableKeys,
    keys: &'static TableKeys,
    entries: &'t [Entry],
    /// The table's name or key, for mistakes about the table as a whole.
    pub at: Place,
    /// Where mistakes go.
    pub notes: &'n mut Diagnostics,
}

/// A value not yet read: a key's right-hand side.
#[derive(Debug, Clone, Copy)]
pub struct Node<'t> {
    root: &'static TableKeys,
    value: Value,
    key: &'t str,
    /// The key in front of the value.
    pub key_at: Place,
    item: &'t Item,
}

impl<'t, 'n> Table<'t, 'n> {
    /// The document as a whole.
    pub fn root(
        root: &'static TableKeys,
        entries: &'t [Entry],
        notes: &'n mut Diagnostics,
    ) -> Self {
        let at = entries.first().map_or_else(Place::default, |first| first.name_at);
        Self::open(root, root, entries, at, notes)
    }

    /// A table that was put together rather than written in one piece: `at` is what mistakes about
    /// it as a whole point at.
    pub fn open(
        root: &'static TableKeys,
        keys: &'static TableKeys,
        entries: &'t [Entry],
        at: Place,
        notes: &'n mut Diagnostics,
    ) -> Self {
        for entry in entries.iter().filter(|entry| find(keys, &entry.name).is_none()) {
            notes.push(unknown(root, keys, entry));
        }
        for key in keys.keys.iter().filter(|key| key.required) {
            if !entries.iter().any(|entry| entry.name == key.name) {
                notes.push(
                    Diagnostic::error(at, format!("`{}` is missing", key.name))
                        .label("in this table")
                        .hint(format!("`{}` takes {}", key.name, key.value.expected())),
                );
            }
        }
        Self { root, keys, entries, at, notes }
    }

    /// The value of `key`, if it is there.
    pub fn node(&self, key: &str) -> Option<Node<'t>> {
        let value = find(self.keys, key)?.value;
        let entry = self.entries.iter().find(|entry| entry.name == key)?;
        Some(self.entry(entry, value))
    }

    fn entry(&self, entry: &'t Entry, value: Value) -> Node<'t> {
        let Entry { name, name_at, item } = entry;
        Node { root: self.root, value, key: name, key_at: *name_at, item }
    }

    /// A string, checked as the key's [`Value`] asks (name, URL, free text).
    pub fn text(&mut self, key: &str) -> Option<Located<String>> {
        self.node(key)?.text(self.notes)
    }
    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<Located<bool>> {
        self.node(key)?.boolean(self.notes)
    }
    /// Within the bounds of the key's [`Value::Integer`]; `T` must hold them.
    pub fn integer<T: TryFrom<i64>>(&mut self, key: &str) -> Option<Located<T>> {
        self.node(key)?.integer(self.notes)
    }
    /// A duration.
    pub fn duration(&mut self, key: &str) -> Option<Located<Duration>> {
        self.node(key)?.duration(self.notes)
    }
    /// A duration, or `None` for the word `"none"`.
    pub fn duration_or_none(&mut self, key: &str) -> Option<Located<Option<Duration>>> {
        let node = self.node(key)?;
        if matches!(&node.item.content, Content::Text(text) if text == "none") {
            return Some(node.located(None));
        }
        let Located { value, at } = node.duration(self.notes)?;
        Some(Located { value: Some(value), at })
    }
    /// A share.
    pub fn share(&mut self, key: &str) -> Option<Located<Share>> {
        self.node(key)?.share(self.notes)
    }
    /// What is gone of a budget.
    pub fn spent(&mut self, key: &str) -> Option<Located<Spent>> {
        self.node(key)?.quantity(units::spent, units::spent_readings, self.notes)
    }
    /// Within the bounds of the key's [`Value::Number`].
    pub fn number(&mut self, key: &str) -> Option<Located<f64>> {
        self.node(key)?.number(self.notes)
    }
    /// A rate.
    pub fn rate(&mut self, key: &str) -> Option<Located<Rate>> {
        self.node(key)?.rate(self.notes)
    }
    /// A size.
    pub fn bytes(&mut self, key: &str) -> Option<Located<Bytes>> {
        self.node(key)?.bytes(self.notes)
    }
    /// A bandwidth.
    pub fn bandwidth(&mut self, key: &str) -> Option<Located<Bandwidth>> {
        self.node(key)?.bandwidth(self.notes)
    }
    /// By its place in the key's [`Value::Coded`].
    pub fn coded(&mut self, key: &str) -> Option<Located<u8>> {
        self.node(key)?.coded(self.notes)
    }
    /// An address with its port.
    pub fn address(&mut self, key: &str) -> Option<Located<SocketAddr>> {
        self.node(key)?.address(self.notes)
    }
    /// The word, as it stands in the key's [`Value::Word`] list.
    pub fn word(&mut self, key: &str) -> Option<Located<&'static str>> {
        self.node(key)?.word(self.notes)
    }
    /// The entries of a [`Value::List`]; `None` when the key is not there or is no list.
    pub fn list(&mut self, key: &str) -> Option<(Place, Vec<Node<'t>>)> {
        let node = self.node(key)?;
        let (Content::List(items), Value::List(of)) = (&node.item.content, node.value) else {
            return node.wrong(self.notes);
        };
        let entries = items.iter().map(|item| Node { item, value: *of, ..node }).collect();
        Some((node.item.at, entries))
    }
    /// A list of strings; empty when the key is not there.
    pub fn text_list(&mut self, key: &str) -> Vec<Located<String>> {
        let entries = self.list(key).map_or_else(Vec::new, |(_, entries)| entries);
        entries.iter().filter_map(|entry| entry.text(self.notes)).collect()
    }
    /// A table of strings, in file order.
    pub fn texts(&mut self, key: &str) -> Vec<(Located<String>, Located<String>)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Content::Table(entries) = &node.item.content else {
            node.wrong::<()>(self.notes);
            return Vec::new();
        };
        let read = entries.iter().filter_map(|entry| {
            let text = self.entry(entry, Value::Text).text(self.notes)?;
            Some((Located { value: entry.name.clone(), at: entry.name_at }, text))
        });
        read.collect()
    }
    /// The entries of a [`Value::Each`], in file order: the user's key and its value.
    pub fn each(&mut self, key: &str) -> Vec<(Located<String>, Node<'t>)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let (Content::Table(entries), Value::Each(of)) = (&node.item.content, node.value) else {
            node.wrong::<()>(self.notes);
            return Vec::new();
        };
        let read = |entry: &'t Entry| {
            let name = Located { value: entry.name.clone(), at: entry.name_at };
            (name, self.entry(entry, *of))
        };
        entries.iter().map(read).collect()
    }
    /// The tables of a [`Value::Tables`], in the order they are written.
    pub fn tables(&mut self, key: &str) -> Vec<Node<'t>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let (Content::List(items), Value::Tables(keys)) = (&node.item.content, node.value) else {
            node.wrong::<()>(self.notes);
            return Vec::new();
        };
        items
            .iter()
            .map(|item| Node { item, key_at: item.at, value: Value::Table(keys), ..node })
            .collect()
    }
    /// The tables of a [`Value::Named`], in file order, with their names.
    pub fn named(&mut self, key: &str) -> Vec<(Located<String>, Node<'t>)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let (Content::Table(entries), Value::Named(keys)) = (&node.item.content, node.value) else {
            node.wrong::<()>(self.notes);
            return Vec::new();
        };
        for entry in entries {
            if let Err(why) = name(&entry.name) {
                self.notes.push(why.at(entry.name_at));
            }
        }
        let named = |entry: &'t Entry| {
            let name = Located { value: entry.name.clone(), at: entry.name_at };
            (name, self.entry(entry, Value::Table(keys)))
        };
        entries.iter().map(named).collect()
    }
    /// Opens the value of `key` as a table of its own.
    pub fn table(&mut self, key: &str) -> Option<Table<'t, '_>> {
        self.node(key)?.table(self.notes)
    }
}

impl<'t> Node<'t> {
    /// The value as a whole.
    pub fn at(&self) -> Place {
        self.item.at
    }
    /// As it stands, unread: for values with a grammar of their own.
    pub fn content(&self) -> &'t Content {
        &self.item.content
    }
    /// Whether it is a table, rather than the short form of one.
    pub fn is_table(&self) -> bool {
        matches!(self.item.content, Content::Table(_))
    }
    /// As a table of the keys its [`Value`] names.
    pub fn table<'n>(&self, notes: &'n mut Diagnostics) -> Option<Table<'t, 'n>> {
        match (&self.item.content, self.value.keys()) {
            (Content::Table(entries), Some(keys)) => {
                Some(Table::open(self.root, keys, entries, self.key_at, notes))
            }
            _ => self.wrong(notes),
        }
    }
    /// The known keys of a [`Value::OneOf`] or [`Value::SomeOf`], in file order. No key, or more
    /// than one of a `OneOf`, is noted.
    pub fn variants(&self, notes: &mut Diagnostics) -> Vec<(&'static str, Node<'t>)> {
        let Some(table) = self.table(notes) else { return Vec::new() };
        let known: Vec<_> = table
            .entries
            .iter()
            .filter_map(|entry| {
                let key = find(table.keys, &entry.name)?;
                Some((key.name, table.entry(entry, key.value)))
            })
            .collect();
        let names: Vec<_> = table.keys.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        let choice = names.join(", ");
        if let (Value::OneOf(_), [(first, first_node), (second, node), ..]) =
            (self.value, &known[..])
        {
            notes.push(
                Diagnostic::error(node.key_at, format!("`{}` takes one of {choice}", self.key))
                    .label("a second one")
                    .also(first_node.key_at, "the first")
                    .hint(format!("keep either `{first}` or `{second}`")),
            );
        } else if table.entries.is_empty() {
            let many = matches!(self.value, Value::SomeOf(_));
            let count = if many { "one or more" } else { "one" };
            notes.push(
                Diagnostic::error(self.key_at, format!("`{}` is empty", self.key))
                    .hint(format!("it takes {count} of {choice}")),
            );
        }
        known
    }
    /// The keys of a table as they stand, unread; `None` for what is no table.
    pub fn entries(&self) -> Option<&'t [Entry]> {
        match &self.item.content {
            Content::Table(entries) => Some(entries),
            _ => None,
        }
    }
    /// A string, checked as its [`Value`] asks.
    pub fn text(&self, notes: &mut Diagnostics) -> Option<Located<String>> {
        let Content::Text(text) = &self.item.content else { return self.wrong(notes) };
        let checked = match self.plain() {
            Value::Name => name(text),
            Value::Url => url(text),
            _ => Ok(()),
        };
        match checked {
            Ok(()) => Some(self.located(text.clone())),
            Err(why) => self.refuse(why, notes),
        }
    }
    /// `true` or `false`.
    pub fn boolean(&self, notes: &mut Diagnostics) -> Option<Located<bool>> {
        match &self.item.content {
            Content::Bool(yes) => Some(self.located(*yes)),
            Content::Text(text) if self.is_filled() && text == "true" => Some(self.located(true)),
            Content::Text(text) if self.is_filled() && text == "false" => Some(self.located(false)),
            _ => self.wrong(notes),
        }
    }
    /// A whole number within the bounds of its [`Value::Integer`], or its short form's.
    pub fn integer<T: TryFrom<i64>>(&self, notes: &mut Diagnostics) -> Option<Located<T>> {
        let number = match &self.item.content {
            Content::Integer(number) => *number,
            // The environment holds text only; as a number it is read where one is asked for.
            Content::Text(text) if self.is_filled() => match text.trim().parse() {
                Ok(number) => Some(number),
                Err(_) => return self.wrong(notes),
            },
            _ => return self.wrong(notes),
        };
        let Value::Integer { min, max } = self.plain() else { return self.wrong(notes) };
        let fits = number
            .and_then(|number| i64::try_from(number).ok())
            .filter(|number| (min..=max).contains(number))
            .and_then(|number| T::try_from(number).ok());
        let Some(value) = fits else {
            let message = match number {
                Some(number) => format!("`{}` cannot be {number}", self.key),
                None => format!("`{}` is out of range", self.key),
            };
            let hint = Some(format!("it takes {}", self.plain().expected()));
            return self.refuse(Wrong { message, hint }, notes);
        };
        Some(self.located(value))
    }
    /// A duration.
    pub fn duration(&self, notes: &mut Diagnostics) -> Option<Located<Duration>> {
        self.quantity(units::duration, units::duration_readings, notes)
    }
    /// A share.
    pub fn share(&self, notes: &mut Diagnostics) -> Option<Located<Share>> {
        self.quantity(units::share, units::share_readings, notes)
    }
    /// A rate.
    pub fn rate(&self, notes: &mut Diagnostics) -> Option<Located<Rate>> {
        self.quantity(units::rate, units::rate_readings, notes)
    }
    /// A size.
    pub fn bytes(&self, notes: &mut Diagnostics) -> Option<Located<Bytes>> {
        self.quantity(units::bytes, units::bytes_readings, notes)
    }
    /// A bandwidth.
    pub fn bandwidth(&self, notes: &mut Diagnostics) -> Option<Located<Bandwidth>> {
        self.quantity(units::bandwidth, units::bandwidth_readings, notes)
    }
    /// A word of a [`Value::Coded`] by its place in the list, however it was written.
    pub fn coded(&self, notes: &mut Diagnostics) -> Option<Located<u8>> {
        let Value::Coded(words) = self.plain() else { return self.wrong(notes) };
        let place = match &self.item.content {
            Content::Integer(Some(number)) => usize::try_from(*number).ok(),
            Content::Text(text) => match words.iter().position(|word| word == text) {
                None if self.is_filled() => text.trim().parse().ok(),
                None => {
                    let close = closest(text, words.iter().copied());
                    let Some(close) = close else { return self.wrong(notes) };
                    let message = format!("`{}` cannot be \"{text}\"", self.key);
                    let hint = Some(format!("did you mean \"{close}\"?"));
                    return self.refuse(Wrong { message, hint }, notes);
                }
                place => place,
            },
            _ => None,
        };
        let place = place.filter(|place| *place < words.len());
        match place.and_then(|place| u8::try_from(place).ok()) {
            Some(place) => Some(self.located(place)),
            None => self.wrong(notes),
        }
    }
    /// A number within the bounds of its [`Value::Number`].
    pub fn number(&self, notes: &mut Diagnostics) -> Option<Located<f64>> {
        let number = match &self.item.content {
            Content::Integer(Some(number)) => Some(*number as f64),
            Content::Float(number) => number.replace('_', "").parse().ok(),
            Content::Text(text) if self.is_filled() => text.trim().parse().ok(),
            _ => None,
        };
        let Value::Number { min, max } = self.plain() else { return self.wrong(notes) };
        match number.filter(|number| (min..=max).contains(number)) {
            Some(number) => Some(self.located(number)),
            None => self.wrong(notes),
        }
    }
    /// The points of a [`Value::Quantiles`], in file order, each with its name's place.
    pub fn quantiles(&self, notes: &mut Diagnostics) -> Vec<(Located<Share>, Located<Duration>)> {
        let Content::Table(entries) = &self.item.content else {
            self.wrong::<()>(notes);
            return Vec::new();
        };
        let read = entries.iter().filter_map(|entry| {
            let time = Node {
                root: self.root,
                value: Value::Duration,
                key: &entry.name,
                key_at: entry.name_at,
                item: &entry.item,
            }
            .duration(notes);
            match units::quantile(&entry.name) {
                Ok(value) => Some((Located { value, at: entry.name_at }, time?)),
                Err(why) => {
                    notes.push(Wrong::from(why).at(entry.name_at));
                    None
                }
            }
        });
        read.collect()
    }

    /// A text with a unit, for values with a grammar of their own; `readings` says what a bare
    /// number may have meant.
    pub fn quantity<T>(
        &self,
        read: fn(&str) -> Result<T, units::Misread>,
        readings: fn(&str) -> String,
        notes: &mut Diagnostics,
    ) -> Option<Located<T>> {
        let bare = match &self.item.content {
            Content::Text(text) => {
                return match read(text) {
                    Ok(value) => Some(self.located(value)),
                    Err(why) => self.refuse(why.into(), notes),
                };
            }
            Content::Integer(number) => number.map_or_else(|| "1e39".to_owned(), |n| n.to_string()),
            Content::Float(number) => number.clone(),
            _ => return self.wrong(notes),
        };
        let number = bare.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0 && *n < 1e18);
        if number.is_none() {
            return self.wrong(notes);
        }
        notes.push(
            Diagnostic::error(self.item.at, format!("`{}` needs a unit", self.key))
                .label("a bare number")
                .hint(readings(&bare)),
        );
        None
    }

    /// An address with its port.
    pub fn address(&self, notes: &mut Diagnostics) -> Option<Located<SocketAddr>> {
        let Content::Text(text) = &self.item.content else { return self.wrong(notes) };
        if let Ok(address) = text.parse() {
            return Some(self.located(address));
        }
        let hint = match text.rsplit_once(':') {
            Some(("" | "*", port)) if port.parse::<u16>().is_ok() => {
                format!(
                    "write \"127.0.0.1:{port}\" for this machine only, \"0.0.0.0:{port}\" for all"
                )
            }
            Some(("localhost", port)) if port.parse::<u16>().is_ok() => {
                format!("write \"127.0.0.1:{port}\"")
            }
            _ => "an address is an IP and a port, such as \"127.0.0.1:8900\"".to_owned(),
        };
        let message = format!("\"{text}\" is not an address to listen on");
        self.refuse(Wrong { message, hint: Some(hint) }, notes)
    }
    /// A word of its list.
    pub fn word(&self, notes: &mut Diagnostics) -> Option<Located<&'static str>> {
        let (Content::Text(text), Value::Word(words)) = (&self.item.content, self.plain()) else {
            return self.wrong(notes);
        };
        if let Some(word) = words.iter().find(|word| *word == text) {
            return Some(self.located(*word));
        }
        let mut hint = format!("it takes {}", self.plain().expected());
        if let Some(close) = closest(text, words.iter().copied()) {
            hint = format!("did you mean \"{close}\"?");
        }
        let message = format!("`{}` cannot be \"{text}\"", self.key);
        self.refuse(Wrong { message, hint: Some(hint) }, notes)
    }
    /// A number as it stands, or a string: for values with a grammar of their own.
    pub fn number_or_text(&self, notes: &mut Diagnostics) -> Option<Located<String>> {
        match &self.item.content {
            Content::Integer(Some(number)) => Some(self.located(number.to_string())),
            Content::Text(text) => Some(self.located(text.clone())),
            _ => self.wrong(notes),
        }
    }

    /// Notes that the value is not what its key takes.
    pub fn wrong<T>(&self, notes: &mut Diagnostics) -> Option<T> {
        let found = match &self.item.content {
            Content::Unfilled => return None,
            Content::Integer(Some(number)) => number.to_string(),
            Content::Float(number) => number.clone(),
            other => other.found().to_owned(),
        };
        let message = format!("`{}` cannot be {found}", self.key);
        let hint = match (&self.item.content, self.plain()) {
            (Content::Text(text), Value::List(_)) => format!("write [{text:?}]"),
            (_, Value::Tables(_)) => {
                format!("write [[{0}]], once for each, with its `name` inside", self.key)
            }
            (Content::Text(text), Value::Integer { .. }) if text.parse::<i64>().is_ok() => {
                format!("write {text}, without quotes")
            }
            (Content::Text(text), Value::Bool) if text == "true" || text == "false" => {
                format!("write {text}, without quotes")
            }
            (Content::Text(text), Value::OneOf(keys) | Value::SomeOf(keys))
                if find(keys, text).is_some() =>
            {
                format!("write {}.{text} = …", self.key)
            }
            _ => format!("it takes {}", self.value.expected()),
        };
        self.refuse(Wrong { message, hint: Some(hint) }, notes)
    }

    /// Notes what is wrong with the value. What came from the environment is not shown: the
    /// string as it was written stands for it, and a hint that may lean on it gives way.
    fn refuse<T>(&self, why: Wrong, notes: &mut Diagnostics) -> Option<T> {
        let why = match (&self.item.content, &self.item.written) {
            (Content::Text(text), Some(written)) => {
                let tail = why.message.strip_prefix(&format!("\"{text}\" "));
                let message = match tail {
                    Some(tail) => format!("\"{written}\" {tail}"),
                    None => format!("`{}` cannot be what \"{written}\" holds", self.key),
                };
                let hint = Some(format!("it takes {}", self.value.expected()));
                notes.push(Wrong { message, hint }.at(self.item.at).label("once it is filled in"));
                return None;
            }
            _ => why,
        };
        notes.push(why.at(self.item.at));
        None
    }

    fn is_filled(&self) -> bool {
        self.item.written.is_some()
    }

    /// What the value is when it is no table.
    fn plain(&self) -> Value {
        self.value.keys().and_then(|keys| keys.short).unwrap_or(self.value)
    }

    fn located<T>(&self, value: T) -> Located<T> {
        Located { value, at: self.item.at }
    }
}

fn find(keys: &'static TableKeys, name: &str) -> Option<&'static Key> {
    keys.keys.iter().find(|key| key.name == name)
}

fn unknown(root: &'static TableKeys, keys: &'static TableKeys, entry: &Entry) -> Diagnostic {
    let name = &entry.name;
    let place = if keys.name.is_empty() {
        "at the top of a scenario".to_owned()
    } else {
        format!("in [{}]", keys.name)
    };
    let note = Diagnostic::error(entry.name_at, format!("unknown key `{name}`"));
    let close = closest(name, keys.keys.iter().map(|key| key.name));
    let homes = homes(root, keys, name);
    let nests = |close: &str| find(keys, close).is_some_and(|key| key.value.keys().is_some());
    match (close, homes.as_slice()) {
        // A table next to tables is a slip of theirs, whatever other table has such a key.
        (Some(close), _) if matches!(entry.item.content, Content::Table(_)) && nests(close) => {
            note.hint(format!("did you mean `{close}`?"))
        }
        (Some(close), []) => note.hint(format!("did you mean `{close}`?")),
        (_, [""]) => {
            note.hint(format!("`{name}` belongs at the top of the file, before the first [table]"))
        }
        (_, [_, ..]) => {
            let homes: Vec<_> = homes
                .iter()
                .filter(|home| !home.is_empty())
                .map(|home| format!("[{home}]"))
                .collect();
            note.hint(format!("`{name}` belongs in {}", homes.join(" or ")))
        }
        (None, []) => {
            let known: Vec<_> = keys.keys.iter().map(|key| format!("`{}`", key.name)).collect();
            note.hint(format!("{place} there can be {}", known.join(", ")))
        }
    }
}
