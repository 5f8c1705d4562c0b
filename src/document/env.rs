//! `${NAME}` and `${NAME:-default}` inside strings, filled in before anything is read, so that what
//! a value may be is checked on what it became. `$${` is a `${` that stands for itself. Keys are
//! never touched. Where the values come from is the caller's business.

use std::ffi::OsString;
use std::ops::Range;

use super::tree::{Content, Entry, Item};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Secret, Secrets};

/// What an environment variable holds; `None`: it is not set.
pub type Lookup<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// All that the environment gives may be this long, in bytes: as long as a file.
const MOST: usize = 1 << 20;
/// The most mistakes noted.
const MOST_MISTAKES: usize = 200;

/// Fills in every string of the tree. `texts`: what was read, by the places' file. Returns what
/// came from the environment; what could not be filled in is noted, and left
/// as [`Content::Unfilled`].
pub fn fill(
    entries: &mut [Entry],
    texts: &[String],
    lookup: Lookup<'_>,
    notes: &mut Diagnostics,
) -> Secrets {
    let mut filling =
        Filling { texts, lookup, mistakes: Vec::new(), secrets: Vec::new(), room: MOST };
    filling.entries(entries);
    notes.extend(filling.mistakes);
    filling.secrets.into_iter().collect()
}

struct Filling<'a> {
    texts: &'a [String],
    lookup: Lookup<'a>,
    mistakes: Diagnostics,
    secrets: Vec<Secret>,
    room: usize,
}

impl Filling<'_> {
    fn entries(&mut self, entries: &mut [Entry]) {
        for entry in entries {
            self.item(&mut entry.item);
        }
    }

    fn item(&mut self, item: &mut Item) {
        match &mut item.content {
            Content::List(items) => items.iter_mut().for_each(|item| self.item(item)),
            Content::Table(entries) => self.entries(entries),
            Content::Text(text) if text.contains("${") => {
                let written = std::mem::take(text);
                let pieces = pieces(&written);
                match self.text(&written, &pieces, item.at) {
                    Some(filled) => {
                        let plain = pieces.iter().all(|piece| matches!(piece.is, Is::Itself));
                        item.content = Content::Text(filled);
                        item.written = (!plain).then_some(written);
                    }
                    None => item.content = Content::Unfilled,
                }
            }
            _ => {}
        }
    }

    /// `None`: what is wrong has been noted.
    fn text(&mut self, written: &str, pieces: &[Piece<'_>], at: Place) -> Option<String> {
        if self.room == 0 {
            return None;
        }
        let (mut filled, mut rest, mut wrong) = (String::new(), 0, Vec::new());
        let known = self.secrets.len();
        for (nth, piece) in pieces.iter().enumerate() {
            filled.push_str(&written[rest..piece.at.start]);
            rest = piece.at.end;
            match self.value(piece.is) {
                Ok(value) => filled.push_str(&value),
                Err(why) if wrong.len() < MOST_MISTAKES => wrong.push((nth, why)),
                Err(_) => {}
            }
            if self.room == 0 {
                break;
            }
        }
        if !wrong.is_empty() {
            let places = self.places(pieces.len(), at);
            let at = |nth: usize| places.get(nth).copied().unwrap_or(at);
            let placed = wrong
                .into_iter()
                .map(|(nth, (message, hint))| Diagnostic::error(at(nth), message).hint(hint));
            self.mistakes.extend(placed);
            if self.mistakes.len() >= MOST_MISTAKES {
                self.room = 0;
            }
            return None;
        }
        filled.push_str(&written[rest..]);
        if self.secrets.len() > known {
            self.secrets.push(Secret { value: filled.clone(), shown: written.to_owned() });
        }
        Some(filled)
    }

    /// What stands for a piece; what came from the environment is remembered.
    fn value(&mut self, piece: Is<'_>) -> Result<String, Mistake> {
        let Is::Variable { name, default } = piece else { return itself(piece) };
        let held = (self.lookup)(name);
        // As in a shell: a default stands for an empty variable, too.
        let held = held.filter(|value| default.is_none() || !value.is_empty());
        match (held.map(OsString::into_string), default) {
            (Some(Ok(value)), _) if value.len() >= self.room => {
                self.room = 0;
                mistake(
                    "more than 1 MiB from the environment".to_owned(),
                    "no scenario needs as much".to_owned(),
                )
            }
            (Some(Ok(value)), _) => {
                self.room -= value.len();
                self.secrets.push(Secret { value: value.clone(), shown: format!("${{{name}}}") });
                Ok(value)
            }
            (Some(Err(_)), _) => mistake(
                format!("`{name}` holds bytes that are not UTF-8"),
                "what goes into a scenario is text".to_owned(),
            ),
            (None, Some(default)) => Ok(default.replace("$${", "${")),
            (None, None) => mistake(
                format!("the environment variable `{name}` is not set"),
                format!("set it, or give it a default: `${{{name}:-default}}`"),
            ),
        }
    }

    /// Where a string's pieces stand in its source; nowhere, if escapes in the string hide one.
    fn places(&self, count: usize, at: Place) -> Vec<Place> {
        let source = self.texts.get(usize::from(at.file));
        let source = source.and_then(|text| text.get(at.start as usize..at.end as usize));
        let pieces = source.map(pieces).filter(|pieces| pieces.len() == count).unwrap_or_default();
        let offset = |within: usize| at.start.saturating_add(within as u32);
        let place = |piece: &Piece<'_>| Place {
            start: offset(piece.at.start),
            end: offset(piece.at.end),
            ..at
        };
        pieces.iter().map(place).collect()
    }
}

/// What is wrong, and what to write instead.
type Mistake = (String, String);

/// What a piece that names no variable stands for, if anything.
fn itself(piece: Is<'_>) -> Result<String, Mistake> {
    let shape = "write `${NAME}`; a `${` that stands for itself is `$${`";
    match piece {
        Is::Itself | Is::Variable { .. } => Ok("${".to_owned()),
        Is::Misnamed("") => mistake("`${}` names no variable".to_owned(), shape.to_owned()),
        Is::Misnamed(name) => {
            let trimmed = name.trim_start();
            let start = &trimmed[..trimmed.bytes().take_while(|byte| is_name(*byte)).count()];
            let hint = if start.len() < name.len() && start.starts_with(is_first) {
                format!("write `${{{start}}}`, or with a default `${{{start}:-default}}`")
            } else {
                "a name has letters, digits and `_`, and begins with no digit".to_owned()
            };
            mistake(format!("`{name}` is not the name of a variable"), hint)
        }
        Is::Nested => mistake(
            "one `${…}` inside another".to_owned(),
            "a default is plain text, up to the next `}`".to_owned(),
        ),
        Is::Unclosed => mistake("this `${` is not closed".to_owned(), shape.to_owned()),
    }
}

fn mistake(message: String, hint: String) -> Result<String, Mistake> {
    Err((message, hint))
}

/// Something in a string that does not stand for itself.
#[derive(Debug, PartialEq, Eq)]
struct Piece<'t> {
    at: Range<usize>,
    is: Is<'t>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is<'t> {
    /// `$${`.
    Itself,
    Variable {
        name: &'t str,
        default: Option<&'t str>,
    },
    Misnamed(&'t str),
    Nested,
    Unclosed,
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(start) = text[from..].find("${").map(|within| from + within) {
        let piece = if start > from && text.as_bytes()[start - 1] == b'$' {
            Piece { at: start - 1..start + 2, is: Is::Itself }
        } else {
            piece(text, start)
        };
        from = piece.at.end;
        let open = piece.is == Is::Unclosed;
        found.push(piece);
        if open {
            // What follows is anybody's guess.
            break;
        }
    }
    found
}

/// What begins with the `${` at `start`.
fn piece(text: &str, start: usize) -> Piece<'_> {
    let inside = start + 2;
    let (mut depth, mut nested) = (1, false);
    for (at, _) in text[inside..].match_indices(['{', '}']) {
        let at = inside + at;
        let before = &text[inside..at];
        if text.as_bytes()[at] == b'}' {
            depth -= 1;
        } else if before.ends_with('$') && !before.ends_with("$$") {
            (depth, nested) = (depth + 1, true);
        }
        if depth == 0 {
            match variable(&text[inside..at]) {
                _ if nested => return Piece { at: start..at + 1, is: Is::Nested },
                // The brace of some later line closes something else.
                Is::Misnamed(name) if name.contains('\n') => break,
                is => return Piece { at: start..at + 1, is },
            }
        }
    }
    let name = text[inside..].bytes().take_while(|byte| is_name(*byte)).count();
    Piece { at: start..inside + name, is: Is::Unclosed }
}

fn variable(inside: &str) -> Is<'_> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if name.starts_with(is_first) && name.bytes().all(is_name) {
        Is::Variable { name, default }
    } else {
        Is::Misnamed(name)
    }
}

fn is_first(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
