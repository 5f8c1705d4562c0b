//! What is said of a text that is no TOML: the parser's errors in a person's words, one a line, and
//! none of those that only follow from another.

use std::ops::Range;

use super::tree::place;
use crate::diagnostic::{Diagnostic, Diagnostics, Place};

/// The most errors of the parser that are looked at: each costs a look through the text.
const MOST_ERRORS: usize = 200;

/// An error of the parser.
struct Error<'e> {
    at: Range<usize>,
    /// The line it begins on.
    line: Range<usize>,
    why: &'e str,
}

/// The mistakes behind the parser's errors, and the stretches of text they make unreadable.
pub(super) fn explain(
    text: &str,
    file: u16,
    errors: &[toml::de::Error],
) -> (Diagnostics, Vec<Place>) {
    let mut errors: Vec<_> = errors.iter().take(MOST_ERRORS).map(|error| of(text, error)).collect();
    errors.sort_by_key(|error| error.at.start);
    let (mut notes, mut broken) = (Diagnostics::new(), Vec::new());
    // Whatever follows an open bracket is read as if it stood inside.
    let endless = errors.iter().any(|error| {
        ["unclosed array,", "unclosed inline", "invalid multi-line"]
            .iter()
            .any(|start| error.why.starts_with(start))
    });
    let open = endless.then(|| unclosed(text)).flatten();
    let (mut row, mut repeats) = (None, false);
    for (nth, error) in errors.iter().enumerate() {
        if open.as_ref().is_some_and(|open| error.at.start > open.start) {
            continue;
        }
        let at = place(file, error.at.clone());
        if error.why.contains("duplicate key") {
            let note = Diagnostic::error(at, duplicate_message(text, error)).label("again here");
            match first_of(text, error) {
                Some(first) => notes.push(note.also(place(file, first), "first here")),
                // What repeats a table repeats its keys: the heading has been shown.
                None if repeats => {}
                None => notes.push(note),
            }
            repeats |= is_heading(&text[error.line.clone()]);
            continue;
        }
        if row.replace(error.line.start) == Some(error.line.start) {
            continue;
        }
        let more = errors.get(nth + 1).filter(|next| next.line == error.line);
        let note = said(text, error, more.map_or("", |next| next.why));
        notes.push(Diagnostic { at: Some(place(file, note.1)), ..note.0 });
        broken.push(place(file, stretch(text, &error.line)));
    }
    if let Some(open) = open {
        broken.push(place(file, open.start..text.len()));
        notes.push(never_closed(text, place(file, open)));
    }
    (notes, broken)
}

fn of<'e>(text: &str, error: &'e toml::de::Error) -> Error<'e> {
    let at = widen(text, error.span().unwrap_or(0..0));
    let line = line_around(text, at.start);
    Error { at, line, why: error.message().lines().next().unwrap_or_default() }
}

/// The parser's words, but where a person would say something else; and where the caret stands.
fn said(text: &str, error: &Error<'_>, more: &str) -> (Diagnostic, Range<usize>) {
    let shown = text.get(error.at.clone()).unwrap_or_default().trim_end();
    let line = text[error.line.clone()].trim();
    let rest = text.get(error.at.start..error.line.end).unwrap_or_default().trim();
    let note = |message: &str| Diagnostic::error(Place::default(), message);
    let quotes = || {
        let note = note("this value needs quotes");
        if shown.len() <= 64 && !shown.contains(['"', '\\']) {
            note.hint(format!("write \"{shown}\""))
        } else {
            note.hint("write it as \"…\"")
        }
    };
    let said = match error.why.split(',').next().unwrap_or_default() {
        why if why.starts_with("string values must be quoted") => {
            if rest.is_empty() || rest.starts_with('#') {
                note("there is no value after `=`")
            } else if more.starts_with("unexpected key or value") {
                note("there is more than one key on this line").hint("a line has one `KEY = VALUE`")
            } else if shown.contains(['“', '”', '„', '‘', '’']) {
                note("these quotes are not TOML's").hint("write \"…\", with straight quotes")
            } else if shown.ends_with(';') {
                note("a line does not end with `;`").hint("leave it out")
            } else {
                quotes()
            }
        }
        "invalid boolean" if ["true", "false"].contains(&shown.to_lowercase().as_str()) => {
            let hint = format!("write {}", shown.to_lowercase());
            note("true and false are written small").hint(hint)
        }
        // What begins as one of TOML's words does, but is none: `name = team-a`.
        "invalid boolean" | "invalid float" | "invalid integer"
            if shown.starts_with(char::is_alphabetic) =>
        {
            quotes()
        }
        "invalid unquoted key" | "key with no value" if line.starts_with("//") => {
            note("a comment begins with `#`")
        }
        "invalid unquoted key" if shown.starts_with(':') => {
            note("a key is followed by `=`, not by `:`").hint("write KEY = VALUE")
        }
        "invalid unquoted key" => {
            note("a key has letters, digits, `-` and `_`").hint("any other needs quotes")
        }
        "key with no value" => note("there is no `=` after this key").hint("write KEY = VALUE"),
        "unquoted keys cannot be empty" if shown.starts_with('=') => {
            note("there is no key before this `=`").hint("write KEY = VALUE")
        }
        "invalid key-value pair" if line.starts_with('{') => {
            note("a scenario is TOML, not JSON").hint("write KEY = VALUE")
        }
        "unclosed table" | "unclosed array table" if rest.contains(']') => {
            note("a name has letters, digits, `-` and `_`").hint("nothing else goes in a heading")
        }
        "unclosed table" | "unclosed array table" => {
            note("this heading is not closed").hint("write `]` at its end")
        }
        why if why.starts_with("invalid") && why.ends_with("string") => {
            let open =
                unclosed(&text[error.line.clone()]).map(|open| error.line.start + open.start);
            let at = open.unwrap_or(error.at.start)..error.line.end;
            return (never_closed(text, place(0, at.clone())), at);
        }
        "missing escaped value" => {
            let at = error.at.start.saturating_sub(1)..error.at.end;
            let escape = text.get(at.clone()).unwrap_or_default();
            let note = note(&format!("`{escape}` stands for nothing"));
            return (note.hint("a backslash is `\\\\`, or goes in single quotes"), at);
        }
        "unexpected leading zero" => note("a number does not begin with 0"),
        "" => note("this is not TOML"),
        _ => note(error.why.trim_end_matches(", expected nothing")),
    };
    (said, error.at.clone())
}

fn never_closed(text: &str, at: Place) -> Diagnostic {
    let open = text.get(at.start as usize..).unwrap_or_default();
    let (what, end) = match open.as_bytes() {
        [b'[', ..] => ("this `[`", "]"),
        [b'{', ..] => ("this `{`", "}"),
        [b'"', b'"', b'"', ..] => ("this string", "\"\"\""),
        [b'\'', b'\'', b'\'', ..] => ("this string", "'''"),
        [b'\'', ..] => ("this string", "'"),
        _ => ("this string", "\""),
    };
    Diagnostic::error(at, format!("{what} is not closed")).hint(format!("it ends with `{end}`"))
}

/// The first bracket or string that nothing closes; headings, which end with their line, apart.
fn unclosed(text: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let line_end = |at: usize| text[at..].find('\n').map_or(text.len(), |length| at + length);
    let (mut open, mut at, mut first) = (Vec::new(), 0, true);
    while at < bytes.len() {
        let begins = first;
        first &= bytes[at].is_ascii_whitespace();
        at = match bytes[at] {
            b'\n' => {
                first = true;
                at + 1
            }
            b'[' if open.is_empty() && begins => line_end(at),
            b'#' => line_end(at),
            quote @ (b'"' | b'\'') => match string_end(text, at, quote) {
                Ok(end) => end,
                Err(end) if open.is_empty() && end < text.len() => end,
                Err(_) => return Some(at..line_end(at)),
            },
            b'[' | b'{' => {
                open.push(at);
                at + 1
            }
            b']' | b'}' => {
                open.pop();
                at + 1
            }
            _ => at + 1,
        };
    }
    open.first().map(|at| *at..at + 1)
}

/// Where a string that begins at `at` ends; `Err`: where it is given up.
fn string_end(text: &str, at: usize, quote: u8) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let long = bytes[at..].starts_with(&[quote; 3]);
    let mut at = at + if long { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !long => return Err(at),
            byte if byte == quote && !long => return Ok(at + 1),
            byte if byte == quote && bytes[at..].starts_with(&[quote; 3]) => return Ok(at + 3),
            _ => {}
        }
        at += 1;
    }
    Err(bytes.len())
}

/// What a mistake on a line makes unreadable: the line; all that stands under a broken heading.
fn stretch(text: &str, line: &Range<usize>) -> Range<usize> {
    let mut end = line.end;
    if is_heading(&text[line.clone()]) {
        let below = text[line.end..].split_inclusive('\n');
        end += below.take_while(|line| !is_heading(line)).map(str::len).sum::<usize>();
    }
    line.start..end
}

fn is_heading(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// Empty spans point between characters; a caret needs one to stand under.
fn widen(text: &str, span: Range<usize>) -> Range<usize> {
    if span.start < span.end {
        return span;
    }
    let next = text.get(span.start..).and_then(|rest| rest.chars().next());
    match next {
        Some(c) if c != '\n' => span.start..span.start + c.len_utf8(),
        _ => span,
    }
}

/// The line around an offset, without its end.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let start = text.get(..at).and_then(|head| head.rfind('\n')).map_or(0, |i| i + 1);
    start..start + text[start..].lines().next().unwrap_or_default().len()
}

fn heading(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn duplicate_message(text: &str, error: &Error<'_>) -> String {
    let line = &text[error.line.clone()];
    let name = if is_heading(line) { heading(line) } else { &text[error.at.clone()] };
    format!("`{name}` is defined twice")
}

/// Where the first of two equal keys stands; the parser names only the second. By the look of the
/// text: a heading's twin is the same heading, a key's twin is a line that starts alike since the
/// last heading.
fn first_of(text: &str, second: &Error<'_>) -> Option<Range<usize>> {
    let line = &text[second.line.clone()];
    let name = text.get(second.at.clone())?;
    let twin = is_heading(line).then(|| heading(line));
    let (mut offset, mut found) = (0, None);
    for candidate in text.get(..second.at.start)?.split_inclusive('\n') {
        let shown = candidate.trim();
        let hit = if let Some(twin) = twin {
            heading(shown) == twin
        } else {
            if is_heading(shown) {
                found = None;
            }
            // `inject.latency = …` makes an `inject`, too.
            shown.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
        };
        if hit && found.is_none() {
            let at = offset + candidate.find(name).unwrap_or(0);
            found = Some(at..at + name.len());
        }
        offset += candidate.len();
    }
    found
}
