//! What `sli.correctness` asks of an answer: its head, and what its body says.

use std::fmt;

use http::{HeaderMap, HeaderName, header};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::condition::{Pattern, Test};
use crate::fault::Edit;
use crate::scenario::Scalar;

/// All of it has to hold.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its bit in what is found of an answer; two objectives that ask the same share one.
    pub place: u8,
    /// Of several values of one field, one has to pass.
    pub header: Box<[(HeaderName, Test)]>,
    pub content_type: Option<MediaType>,
    pub json: Option<Pointer>,
    pub body: Option<Pattern>,
    /// How much of a body is judged, in bytes; more than none.
    pub read_up_to: usize,
}

/// What is asked, wherever its bit is: a reload may move that.
impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        let asked = |check: &Self| (check.header.clone(), check.content_type.clone());
        asked(self) == asked(other)
            && (&self.json, &self.body, self.read_up_to)
                == (&other.json, &other.body, other.read_up_to)
    }
}

/// Which part of a [`Check`] an answer fails: what a user can look up in the scenario, and nothing
/// of what the answer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// By its place in [`Check::header`].
    Header(usize),
    ContentType,
    /// The body, as far as it goes, is no JSON at all.
    NotJson,
    /// It is, and has something else there, or nothing.
    Json,
    Body,
}

impl Check {
    /// Its body says whether an answer is right.
    pub fn reads_body(&self) -> bool {
        self.json.is_some() || self.body.is_some()
    }

    /// The head is as it should be.
    pub fn takes_head(&self, fields: &HeaderMap) -> bool {
        self.header.iter().all(|(name, test)| test.hold(fields, name))
            && self.content_type.as_ref().is_none_or(|wanted| wanted.is_of(fields))
    }

    /// What is wrong with a head.
    pub fn fails_head(&self, fields: &HeaderMap) -> impl Iterator<Item = Failed> {
        let header = self.header.iter().enumerate();
        let header = header.filter(|(_, (name, test))| !test.hold(fields, name));
        let kind = self.content_type.as_ref().is_some_and(|wanted| !wanted.is_of(fields));
        header.map(|(at, _)| Failed::Header(at)).chain(kind.then_some(Failed::ContentType))
    }

    /// What is wrong with a body that [`Check::takes_body`] has found to be.
    pub fn fails_body(&self, body: &[u8], more: bool) -> impl Iterator<Item = Failed> {
        let read = &body[..body.len().min(self.read_up_to)];
        let whole = !more && read.len() == body.len();
        let says = self.body.as_ref().filter(|pattern| whole && !pattern.is_in(read));
        let json = self.json.as_ref().filter(|json| whole && !json.holds(read));
        let json = json.map(|_| if is_json(read) { Failed::Json } else { Failed::NotJson });
        says.map(|_| Failed::Body).into_iter().chain(json)
    }

    /// The failed part, by the key that asks for it: `header x-api-version`, `json_pointer: no JSON`.
    pub fn describe(&self, failed: Failed) -> String {
        match failed {
            Failed::Header(at) => match self.header.get(at) {
                Some((name, _)) => format!("header {:.100}", name.as_str()),
                None => "header".to_owned(),
            },
            Failed::ContentType => "content_type".to_owned(),
            Failed::NotJson => "json_pointer: no JSON".to_owned(),
            Failed::Json => "json_pointer".to_owned(),
            Failed::Body => "body_regex".to_owned(),
        }
    }

    /// A head that is as it should be still is when it is changed like this.
    pub fn outlives(&self, edit: &Edit) -> bool {
        let kept = |name: &HeaderName| {
            !edit.remove.contains(name) && !edit.set.iter().any(|(set, _)| set == name)
        };
        let given = |name: &HeaderName| -> HeaderMap {
            let given = edit.set.iter().chain(&edit.add);
            given.filter(|(given, _)| given == name).cloned().collect()
        };
        let content_type = &header::CONTENT_TYPE;
        self.header.iter().all(|(name, test)| match test {
            Test::Present(false) => given(name).is_empty(),
            _ => kept(name) || test.hold(&given(name), name),
        }) && self
            .content_type
            .as_ref()
            .is_none_or(|wanted| kept(content_type) || wanted.is_of(&given(content_type)))
    }

    /// The body, which goes on if there is `more`, says what it should; `None`: what is read of it
    /// does not tell.
    pub fn takes_body(&self, body: &[u8], more: bool) -> Option<bool> {
        let read = &body[..body.len().min(self.read_up_to)];
        let whole = !more && read.len() == body.len();
        let says = self.body.as_ref().map(|pattern| {
            if whole {
                Some(pattern.is_in(read))
            } else {
                pattern.is_in_any_that_begins(read).then_some(true)
            }
        });
        let holds = self.json.as_ref().map(|json| whole.then(|| json.holds(read)));
        let all = [says, holds];
        let mut asked = all.iter().flatten();
        if asked.clone().any(|found| *found == Some(false)) {
            return Some(false);
        }
        asked.all(|found| *found == Some(true)).then_some(true)
    }
}

/// `type/subtype`, or `type/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType(String);

impl MediaType {
    /// Errors: what is wrong with it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.contains(';') {
            return Err("parameters are not looked at");
        }
        let token = |text: &str| {
            let odd =
                |byte: u8| !byte.is_ascii_alphanumeric() && !b"!#$%&'+-.^_`|~".contains(&byte);
            !text.is_empty() && !text.bytes().any(odd)
        };
        match text.split_once('/') {
            Some(("*", _)) => Err("this says nothing"),
            Some((kind, sub)) if token(kind) && (sub == "*" || token(sub)) => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            _ => Err("not a media type"),
        }
    }

    fn is_of(&self, fields: &HeaderMap) -> bool {
        let Some(said) = fields.get(header::CONTENT_TYPE) else { return false };
        let essence = said.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let (essence, wanted) = (essence.trim_ascii(), self.0.as_bytes());
        match wanted.strip_suffix(b"*") {
            None => essence.eq_ignore_ascii_case(wanted),
            Some(kind) => {
                essence.len() > kind.len() && essence[..kind.len()].eq_ignore_ascii_case(kind)
            }
        }
    }
}

/// Something in a JSON document (RFC 6901).
#[derive(Debug, Clone, PartialEq)]
pub struct Pointer {
    tokens: Box<[String]>,
    /// `None`: anything but null.
    equals: Option<Scalar>,
}

/// Deeper than any document needs; a call within a call each.
const DEEPEST: usize = 64;

impl Pointer {
    /// Errors: what is wrong with it.
    pub fn new(text: &str, equals: Option<Scalar>) -> Result<Self, &'static str> {
        let mut tokens = Vec::new();
        let mut pieces = text.split('/');
        if pieces.next() != Some("") {
            return Err("a pointer begins with `/`");
        }
        for piece in pieces {
            let mut after = piece.split('~').skip(1);
            if !after.all(|rest| rest.starts_with(['0', '1'])) {
                return Err("`~` is written `~0` in a pointer, and `/` inside a key `~1`");
            }
            tokens.push(piece.replace("~1", "/").replace("~0", "~"));
        }
        if tokens.len() > DEEPEST {
            return Err("a pointer this deep is none");
        }
        Ok(Self { tokens: tokens.into(), equals })
    }

    /// `body` is JSON, all of it, and has this in it. No part of it is built.
    fn holds(&self, body: &[u8]) -> bool {
        // What is passed over is not looked at as UTF-8.
        let Ok(text) = std::str::from_utf8(body) else { return false };
        let mut document = serde_json::Deserializer::from_str(text);
        let seek = Seek { tokens: &self.tokens, equals: self.equals.as_ref() };
        let held = seek.deserialize(&mut document);
        held.is_ok_and(|held| held && document.end().is_ok())
    }
}

fn is_json(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The way from here to what is looked for; of a key that is there twice the last one counts.
#[derive(Clone, Copy)]
struct Seek<'p> {
    tokens: &'p [String],
    equals: Option<&'p Scalar>,
}

impl Seek<'_> {
    /// It is here, and this holds for it.
    fn here(self, holds: impl FnOnce(&Scalar) -> bool) -> bool {
        self.tokens.is_empty() && self.equals.is_none_or(holds)
    }

    fn number(self, exact: Option<i64>, number: f64) -> bool {
        self.here(|equals| match (equals, exact) {
            (Scalar::Integer(wanted), Some(number)) => *wanted == number,
            #[expect(clippy::float_cmp, reason = "a number is what is written, or is not")]
            (Scalar::Integer(wanted), None) => *wanted as f64 == number,
            #[expect(clippy::float_cmp, reason = "the same")]
            (Scalar::Float(wanted), _) => *wanted == number,
            _ => false,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<bool, D::Error> {
        document.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let Some((token, tokens)) = self.tokens.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(self.here(|_| false));
        };
        let mut held = false;
        while let Some(here) = map.next_key_seed(Key(token))? {
            if here {
                held = map.next_value_seed(Self { tokens, ..self })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(held)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let way = self.tokens.split_first();
        // `0`, `7`, `10`; never `07`.
        let wanted = way.and_then(|(token, _)| {
            token.parse().ok().filter(|index: &usize| index.to_string() == **token)
        });
        let mut held = false;
        for index in 0.. {
            match way {
                Some((_, tokens)) if wanted == Some(index) => {
                    match list.next_element_seed(Self { tokens, ..self })? {
                        Some(here) => held = here,
                        None => break,
                    }
                }
                _ if list.next_element::<IgnoredAny>()?.is_none() => break,
                _ => {}
            }
        }
        Ok(if way.is_none() { self.here(|_| false) } else { held })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        Ok(self.here(|equals| matches!(equals, Scalar::Text(wanted) if wanted == text)))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<bool, E> {
        Ok(self.here(|equals| *equals == Scalar::Bool(yes)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<bool, E> {
        Ok(self.number(Some(number), number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<bool, E> {
        Ok(self.number(i64::try_from(number).ok(), number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<bool, E> {
        Ok(self.number(None, number))
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        // Null is nothing, whatever is asked for.
        Ok(false)
    }
}

/// True: the key is this one.
struct Key<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
