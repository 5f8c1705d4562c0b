//! A collecting reader over TOML's spanned tree: every mistake is noted, none stops the reading.
//! Key tables are data: the same table feeds the reader, "did you mean", the JSON schema and docs.

pub mod env;
pub mod reader;
pub mod reference;
pub mod schema;
mod selector;
mod suggest;
mod syntax;
mod text;
pub mod tree;

pub use reader::{Node, Table};
pub use reference::reference;
pub use selector::Selector;
pub use suggest::{closest, instead};
pub use tree::{Content, Entry, Item};

/// One table of the language.
#[derive(Debug)]
pub struct TableKeys {
    /// As in a heading: `faults.NAME`, `faults.NAME.inject.latency`; the root's is empty.
    pub name: &'static str,
    /// What the table is for: whole sentences.
    pub doc: &'static str,
    /// In the order a reader should meet them.
    pub keys: &'static [Key],
    /// What may stand in place of the table (`inject.latency = "300ms"`): the value of its first
    /// key, but for a table of which only one key can be.
    pub short: Option<Value>,
}

/// One key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub value: Value,
    pub required: bool,
    /// As a user would write it; empty: none.
    pub default: &'static str,
    pub doc: &'static str,
}

impl Key {
    /// A key that may be left out and has no default worth naming.
    pub const fn new(name: &'static str, value: Value, doc: &'static str) -> Self {
        Self { name, value, required: false, default: "", doc }
    }
    /// A key that has to be there.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
    /// What holds when it is left out, as a user would write it.
    #[must_use]
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }
}

/// What a key takes. Drives the schema and the reader's "expected …" messages.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    Text,
    /// Letters, digits, `-`, `_`; at most 63.
    Name,
    Bool,
    /// Bounds are inclusive.
    Integer {
        min: i64,
        max: i64,
    },
    /// Bounds are inclusive; for what has no unit, such as a shape.
    Number {
        min: f64,
        max: f64,
    },
    Duration,
    /// A duration, or the word `"none"`.
    DurationOrNone,
    Share,
    /// What is gone of a budget: `18%`, `130%`.
    Spent,
    /// `200/s`.
    Rate,
    /// `10KiB`.
    Bytes,
    /// `1MB/s`.
    Bandwidth,
    /// `10KiB` or `50%`.
    BytesOrShare,
    /// One of these words, or its place in the list, from 0.
    Coded(&'static [&'static str]),
    /// Quantiles to durations: `{ p50 = "80ms", p99 = "2s" }`.
    Quantiles,
    /// `ADDRESS:PORT`.
    Address,
    Url,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Status pattern: `503`, `"5xx"`.
    Status,
    /// A string, a number, `true` or `false`.
    Scalar,
    List(&'static Value),
    /// String to string.
    Texts,
    /// Keys of the user's choice (header names), each taking this.
    Each(&'static Value),
    /// What tells callers apart: `header:NAME`, `cookie:NAME`, `query:NAME`, `client-ip`.
    Selector,
    Table(&'static TableKeys),
    /// User-named tables.
    Named(&'static TableKeys),
    /// A list of tables, in the order they are written: `[[phases]]`.
    Tables(&'static TableKeys),
    /// Exactly one key of the table (`sli.availability`, `delay.normal`), or its short form.
    OneOf(&'static TableKeys),
    /// One or more keys of the table (`inject.*`).
    SomeOf(&'static TableKeys),
}

impl Value {
    fn such_as(self, what: &str) -> String {
        format!("{what} such as {}", self.samples()[0])
    }

    /// The table behind the value, if there is one.
    pub fn keys(self) -> Option<&'static TableKeys> {
        match self {
            Self::Table(keys)
            | Self::Named(keys)
            | Self::Tables(keys)
            | Self::OneOf(keys)
            | Self::SomeOf(keys) => Some(keys),
            Self::Each(of) => of.keys(),
            _ => None,
        }
    }

    /// Values as a user would write them, the most telling first; for people and editors.
    pub fn samples(self) -> &'static [&'static str] {
        match self {
            Self::Rate => &["\"200/s\""],
            Self::Bytes => &["\"64KiB\""],
            Self::Bandwidth => &["\"1MB/s\""],
            Self::BytesOrShare => &["\"64KiB\"", "\"50%\""],
            Self::Duration => &["\"250ms\""],
            Self::DurationOrNone => &["\"1h\"", "\"none\""],
            Self::Share => &["\"5%\""],
            Self::Spent => &["\"18%\"", "\"130%\""],
            Self::Address => &["\"127.0.0.1:8900\""],
            Self::Url => &["\"http://127.0.0.1:9000\""],
            Self::Status => &["503", "\"5xx\""],
            Self::Selector => {
                &["\"header:NAME\"", "\"cookie:NAME\"", "\"query:NAME\"", "\"client-ip\""]
            }
            Self::Quantiles => &["{ p50 = \"80ms\", p99 = \"2s\" }"],
            Self::List(Self::Status) => &["[\"5xx\", 429]"],
            Self::Table(keys) | Self::OneOf(keys) | Self::SomeOf(keys) => {
                keys.short.map_or(&[], Self::samples)
            }
            _ => &[],
        }
    }

    /// In words, with an example: `a duration such as "250ms"`.
    pub fn expected(self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Name => "a name".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max: i64::MAX } => format!("a whole number from {min}"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Rate => self.such_as("a rate"),
            Self::Bytes => self.such_as("a size"),
            Self::Bandwidth => self.such_as("a bandwidth"),
            Self::BytesOrShare => "a size such as \"64KiB\", a share such as \"50%\"".to_owned(),
            Self::Coded(words) => match words {
                [first, .., last] => {
                    let most = words.len() - 1;
                    format!("a name from \"{first}\" to \"{last}\", or its number up to {most}")
                }
                _ => "nothing".to_owned(),
            },
            Self::Quantiles => self.such_as("a table"),
            Self::Duration => self.such_as("a duration"),
            Self::DurationOrNone => "a duration such as \"1h\", or \"none\"".to_owned(),
            Self::Share => self.such_as("a share"),
            Self::Spent => "a percentage such as \"18%\" or \"130%\"".to_owned(),
            Self::Address => self.such_as("an address"),
            Self::Url => self.such_as("a URL"),
            Self::Word([word]) => format!("the word \"{word}\""),
            Self::Word(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", words.join(", "))
            }
            Self::Status => "a status such as 503 or \"5xx\"".to_owned(),
            Self::List(Self::Status) => self.such_as("a list"),
            Self::List(_) => "a list such as [\"a\", \"b\"]".to_owned(),
            Self::Scalar => "a string, a number, true or false".to_owned(),
            Self::Texts => "a table of strings".to_owned(),
            Self::Each(of) => format!("a table whose keys take {}", of.expected()),
            Self::Selector => {
                "\"header:NAME\", \"cookie:NAME\", \"query:NAME\" or \"client-ip\"".to_owned()
            }
            Self::Tables(keys) => format!("tables in a list: [[{}]]", keys.name),
            Self::Named(keys) => format!("tables with names of yours: [{}]", keys.name),
            Self::Table(keys) | Self::OneOf(keys) | Self::SomeOf(keys) => match keys.short {
                Some(short) => format!("{}, or a table", short.expected()),
                None if matches!(self, Self::Table(_)) => {
                    let needed = keys.keys.iter().filter(|key| key.required);
                    let needed =
                        needed.filter_map(|key| Some((key.name, key.value.samples().first()?)));
                    let needed: Vec<String> =
                        needed.map(|(name, sample)| format!("`{name} = {sample}`")).collect();
                    let with = if needed.is_empty() { "" } else { " with " };
                    format!("a table: [{}]{with}{}", keys.name, needed.join(" and "))
                }
                None => {
                    let names = keys.keys.iter().map(|key| format!("`{}`", key.name));
                    format!("a table with {}", names.collect::<Vec<_>>().join(", or "))
                }
            },
        }
    }
}
