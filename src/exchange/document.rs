//! Other tools' files as trees in which everything knows its place. YAML is read, and JSON as the
//! part of it that it is; whether a scalar was meant as a number is for those to say who know the
//! key, as protobuf's JSON takes `50` and `"50"` alike.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::Wrong;
use crate::diagnostic::{Diagnostic, Place};

/// How deep a document may nest: those who walk it recurse.
const DEEPEST: usize = 64;
/// How many nodes it may have, what anchors repeat included.
const MOST_NODES: usize = 1_000_000;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Place,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn entries(&self) -> &[Entry] {
        if let Content::Map(entries) = &self.content { entries } else { &[] }
    }
    pub(super) fn items(&self) -> &[Self] {
        if let Content::List(items) = &self.content { items } else { &[] }
    }
    /// What stands at a key of a map; nothing where it is null.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let found = self.entries().iter().find(|entry| is(&entry.key, key))?;
        (!matches!(found.value.content, Content::Null)).then_some(&found.value)
    }
    pub(super) fn scalar(&self) -> Option<&str> {
        if let Content::Scalar(text) = &self.content { Some(text) } else { None }
    }
    /// The nodes below and this one.
    fn size(&self) -> usize {
        match &self.content {
            Content::Null | Content::Scalar(_) => 1,
            Content::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Content::Map(entries) => {
                1 + entries.iter().map(|entry| entry.value.size()).sum::<usize>()
            }
        }
    }
    fn depth(&self) -> usize {
        let below = match &self.content {
            Content::Null | Content::Scalar(_) => None,
            Content::List(items) => items.iter().map(Self::depth).max(),
            Content::Map(entries) => entries.iter().map(|entry| entry.value.depth()).max(),
        };
        1 + below.unwrap_or(0)
    }
}

/// Whether a key is the one that is meant: `fixed_delay` and `fixedDelay` are, as protobuf's JSON
/// has both, and `Name` is `name` to Go.
pub(super) fn is(key: &str, meant: &str) -> bool {
    let letters = |text: &str| -> Vec<u8> {
        text.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()).collect()
    };
    letters(key) == letters(meant)
}

/// The keys of a map, as they are asked for; what nobody asks for is left over.
#[derive(Debug)]
pub(super) struct Fields<'d> {
    pub(super) at: Place,
    entries: Vec<&'d Entry>,
}

impl<'d> Fields<'d> {
    pub(super) fn of(node: &'d Node) -> Result<Self, Wrong> {
        match &node.content {
            Content::Map(entries) => Ok(Self { at: node.at, entries: entries.iter().collect() }),
            Content::Null => Ok(Self::empty(node.at)),
            _ => Err(Diagnostic::error(node.at, "this has to be a map of keys").into()),
        }
    }

    pub(super) fn empty(at: Place) -> Self {
        Self { at, entries: Vec::new() }
    }

    /// What stands at a key; nothing where it is null.
    pub(super) fn take(&mut self, key: &str) -> Option<&'d Entry> {
        let at = self.entries.iter().position(|entry| is(&entry.key, key))?;
        let entry = self.entries.remove(at);
        (!matches!(entry.value.content, Content::Null)).then_some(entry)
    }

    pub(super) fn map(&mut self, key: &str) -> Result<Option<Fields<'d>>, Wrong> {
        self.take(key).map(|entry| Self::of(&entry.value)).transpose()
    }

    pub(super) fn list(&mut self, key: &str) -> Result<&'d [Node], Wrong> {
        match self.take(key).map(|entry| &entry.value) {
            None => Ok(&[]),
            Some(Node { content: Content::List(items), .. }) => Ok(items),
            Some(other) => {
                Err(Diagnostic::error(other.at, format!("`{key}` has to be a list")).into())
            }
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<&'d str>, Wrong> {
        self.scalar(key, "a text", Some)
    }

    /// A whole number that is not below 0: none of the keys read here means anything below.
    pub(super) fn count(&mut self, key: &str) -> Result<Option<u64>, Wrong> {
        self.scalar(key, "a whole number, 0 or more", |text| text.parse().ok())
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<f64>, Wrong> {
        let finite = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        self.scalar(key, "a number", finite)
    }

    pub(super) fn boolean(&mut self, key: &str) -> Result<Option<bool>, Wrong> {
        self.scalar(key, "true or false", |text| text.to_ascii_lowercase().parse().ok())
    }

    fn scalar<T>(
        &mut self,
        key: &str,
        what: &str,
        read: impl FnOnce(&'d str) -> Option<T>,
    ) -> Result<Option<T>, Wrong> {
        let Some(entry) = self.take(key) else { return Ok(None) };
        let value = entry.value.scalar().and_then(read).ok_or_else(|| {
            Diagnostic::error(entry.value.at, format!("`{key}` has to be {what}"))
        })?;
        Ok(Some(value))
    }

    /// What nobody asked for.
    pub(super) fn rest(self) -> impl Iterator<Item = &'d Entry> {
        self.entries.into_iter()
    }
}

/// What is open while events come in.
struct Open {
    at: Place,
    anchor: usize,
    /// `None`: a list.
    entries: Option<Vec<Entry>>,
    items: Vec<Node>,
    key: Option<(String, Place)>,
    known: HashMap<String, Place>,
}

/// Reads the documents of a text, its byte order mark taken off.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Wrong> {
    let offsets = Offsets::of(text);
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut nodes = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let start = offsets.byte(error.marker().index());
            let place = Place { file: 0, start, end: start.saturating_add(1) };
            Diagnostic::error(place, format!("neither JSON nor YAML: {}", error.info()))
        })?;
        let at = offsets.place(span);
        let (node, anchor) = match event {
            Event::MappingStart(anchor, _) | Event::SequenceStart(anchor, _) => {
                if open.len() >= DEEPEST {
                    return Err(
                        Diagnostic::error(at, format!("nested more than {DEEPEST} deep")).into()
                    );
                }
                let entries = matches!(event, Event::MappingStart(..)).then(Vec::new);
                open.push(Open {
                    at,
                    anchor,
                    entries,
                    items: Vec::new(),
                    key: None,
                    known: HashMap::new(),
                });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let Some(done) = open.pop() else { continue };
                let content = match done.entries {
                    Some(entries) => Content::Map(entries),
                    None => Content::List(done.items),
                };
                let at = Place { end: at.end.max(done.at.end), ..done.at };
                (Node { at, content }, done.anchor)
            }
            Event::Scalar(text, style, anchor, _) => {
                let null = style == ScalarStyle::Plain
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                // A key is a text, whatever it looks like.
                let key =
                    open.last().is_some_and(|open| open.entries.is_some() && open.key.is_none());
                let content =
                    if null && !key { Content::Null } else { Content::Scalar(text.into_owned()) };
                (Node { at, content }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(known) = anchors.get(&anchor) else {
                    return Err(Diagnostic::error(at, "an anchor that is not complete yet").into());
                };
                nodes = nodes.saturating_add(known.size());
                if nodes > MOST_NODES || open.len() + known.depth() > DEEPEST {
                    return Err(
                        Diagnostic::error(at, "anchors make this document too large").into()
                    );
                }
                (known.clone(), 0)
            }
            _ => continue,
        };
        nodes += 1;
        if nodes > MOST_NODES {
            return Err(Diagnostic::error(at, format!("more than {MOST_NODES} values")).into());
        }
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        let Some(parent) = open.last_mut() else {
            documents.push(node);
            continue;
        };
        let Some(entries) = &mut parent.entries else {
            parent.items.push(node);
            continue;
        };
        if let Some((key, key_at)) = parent.key.take() {
            entries.push(Entry { key, key_at, value: node });
            continue;
        }
        let Some(key) = node.scalar() else {
            return Err(Diagnostic::error(node.at, "a key has to be a text").into());
        };
        if let Some(first) = parent.known.insert(key.to_owned(), node.at) {
            let note = Diagnostic::error(node.at, format!("`{key}` is given twice"));
            return Err(note.also(first, "first given here").into());
        }
        parent.key = Some((key.to_owned(), node.at));
    }
    Ok(documents)
}

/// The parser counts characters, places count bytes.
struct Offsets {
    /// Empty where both are the same.
    bytes: Vec<usize>,
    end: usize,
}

impl Offsets {
    fn of(text: &str) -> Self {
        let bytes = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(at, _)| at).collect()
        };
        Self { bytes, end: text.len() }
    }
    fn byte(&self, character: usize) -> u32 {
        let byte = if self.bytes.is_empty() {
            character.min(self.end)
        } else {
            self.bytes.get(character).copied().unwrap_or(self.end)
        };
        // Files are far smaller.
        u32::try_from(byte).unwrap_or(u32::MAX)
    }
    fn place(&self, span: Span) -> Place {
        Place { file: 0, start: self.byte(span.start.index()), end: self.byte(span.end.index()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Node {
        let mut documents = parse(text).unwrap();
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0)
    }

    #[test]
    fn json_is_read_however_it_is_laid_out() {
        for text in [
            "{\"a\": [1, \"x\\/y\"], \"b\": null}",
            "{\"a\":[1,\"x/y\"],\"b\":null}",
            "{\n\t\"a\": [\n\t\t1,\n\t\t\"x/y\"\n\t],\n\t\"b\": null\n}\n",
            "{\r\n  \"a\"\r\n  :\r\n  [1,\r\n\"x/y\"],\"b\":\nnull}",
        ] {
            let node = one(text);
            let items = node.get("a").unwrap().items();
            assert_eq!(items[1].scalar(), Some("x/y"), "{text}");
            assert_eq!(items[0].scalar(), Some("1"), "{text}");
            assert!(node.get("b").is_none(), "{text}");
        }
    }

    #[test]
    fn places_count_bytes() {
        let text = "ä: {ö: 5}\n";
        let node = one(text);
        let at = node.get("ä").unwrap().get("ö").unwrap().at;
        assert_eq!(&text[at.start as usize..at.end as usize], "5");
    }

    #[test]
    fn what_would_grow_without_bound_is_refused() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let of = format!("*a{}, ", n - 1).repeat(10);
            laughs.push_str(&format!("a{n}: &a{n} [{}]\n", of.trim_end_matches(", ")));
        }
        assert!(parse(&laughs).unwrap_err().message.contains("too large"));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse("a: 1\na: 2\n").unwrap_err().message.contains("twice"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}", odd in "[-a:\\[\\]{},&*#\"' \n\t]{0,80}") {
            let _ = (parse(&text), parse(&odd));
        }
    }
}
