//! What must not be shown: values that came from the environment, and passwords in URLs.
//!
//! Values from the environment are shown as they were written, `${NAME}`; excerpts do that by
//! themselves, for they show the source. A password in a URL becomes `***`, so that the carets
//! behind it still stand right.

use std::fmt;
use std::ops::Range;

use super::{Diagnostic, Sources};

/// A value that came from the environment, whole or as part of a string.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Never shown.
    pub value: String,
    /// What is shown in its place: `${NAME}`.
    pub shown: String,
}

/// All that came from the environment.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Vec<Secret>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl FromIterator<Secret> for Secrets {
    fn from_iter<T: IntoIterator<Item = Secret>>(all: T) -> Self {
        let mut all: Vec<Secret> = all.into_iter().collect();
        // The longest first: it may hold another.
        let longest = |a: &Secret, b: &Secret| b.value.len().cmp(&a.value.len());
        all.sort_by(|a, b| longest(a, b).then_with(|| a.value.cmp(&b.value)));
        all.dedup();
        Self(all)
    }
}

impl Secrets {
    /// Puts what was written in the place of every value that stands in a text.
    pub fn redact(&self, text: &mut String) {
        for secret in &self.0 {
            if let Some(clean) = without(text, secret) {
                *text = clean;
            }
        }
    }
    /// These and others.
    #[must_use]
    pub fn and(self, others: &Self) -> Self {
        self.0.into_iter().chain(others.0.iter().cloned()).collect()
    }
}

impl Sources {
    /// Takes everything that must not be shown out of the texts of a note.
    pub fn redact(&self, note: &mut Diagnostic) {
        let also = note.also.as_mut().map(|(_, text)| text);
        for text in
            [&mut note.message, &mut note.label].into_iter().chain(&mut note.hint).chain(also)
        {
            self.secrets.redact(text);
            if let Some(clean) = without_passwords(text) {
                *text = clean;
            }
        }
    }
}

/// The shortest value that is looked for outside of quotes: a shorter one is no secret, but may be
/// a word of any sentence.
const LONG: usize = 3;

/// `text` with the value replaced wherever it stands as a word of its own, in whatever case: a
/// hint may suggest capitals. `None`: it is not there.
fn without(text: &str, secret: &Secret) -> Option<String> {
    let value = secret.value.as_str();
    if value.is_empty() || value.len() > text.len() {
        return None;
    }
    let (mut clean, mut rest) = (String::new(), 0);
    let mut at = 0;
    while at + value.len() <= text.len() {
        let end = at + value.len();
        let same = text.get(at..end).is_some_and(|piece| piece.eq_ignore_ascii_case(value));
        if same && stands_alone(text, at, end, value.len() >= LONG) {
            clean.push_str(&text[rest..at]);
            clean.push_str(&secret.shown);
            (rest, at) = (end, end);
        } else {
            at += 1;
        }
    }
    (rest > 0).then(|| clean + &text[rest..])
}

fn stands_alone(text: &str, start: usize, end: usize, long: bool) -> bool {
    let before = text.get(..start).and_then(|head| head.chars().next_back());
    let after = text.get(end..).and_then(|tail| tail.chars().next());
    let quoted = |c: Option<char>| matches!(c, Some('"' | '`'));
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    (quoted(before) && quoted(after)) || (long && !word(before) && !word(after))
}

/// How far behind `://` a password is looked for, in bytes.
const LONGEST: usize = 1024;

/// `text` with the password of every URL in it blanked, byte for byte. `None`: there is none.
/// Without a colon the whole of what stands before the `@` goes: it may be a token.
pub fn without_passwords(text: &str) -> Option<String> {
    let (mut clean, mut rest) = (String::new(), 0);
    // Most texts have no `@` at all.
    while let Some(sign) = text[rest..].find('@').map(|within| rest + within) {
        let start = text.floor_char_boundary(sign.saturating_sub(LONGEST)).max(rest);
        let mut urls = text[start..sign].match_indices("://").map(|(at, _)| start + at + 3);
        let hidden = urls.find_map(|url| {
            let within = password(&text[url..])?;
            Some(url + within.start..url + within.end)
        });
        // Without a password, the `@` is passed over.
        let hidden = hidden.unwrap_or(sign..sign);
        let secret = &text[hidden.clone()];
        clean.push_str(&text[rest..hidden.start]);
        if is_variable(secret) {
            clean.push_str(secret);
        } else {
            clean.push_str(&"*".repeat(secret.len()));
        }
        clean.push('@');
        rest = hidden.end + 1;
    }
    clean.push_str(&text[rest..]);
    (clean != text).then_some(clean)
}

/// `${NAME}` says where a secret is kept, not what it is.
fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// Where the password stands in what follows `://`, up to its `@`. Behind a user's name it may have
/// slashes or blanks that should have been escaped: it goes up to the last `@`.
fn password(address: &str) -> Option<Range<usize>> {
    let address = &address[..address.floor_char_boundary(LONGEST)];
    let quote = |c: char| c.is_control() || matches!(c, '"' | '\'' | '`');
    let ends = |c: char| quote(c) || c.is_whitespace() || matches!(c, '/' | '?' | '#');
    let authority = &address[..address.find(ends).unwrap_or(address.len())];
    let named = authority.rfind('@');
    let Some(colon) = authority.find(':') else { return Some(0..named?) };
    let digits = authority[colon + 1..].trim_start_matches(|c: char| c.is_ascii_digit());
    let port = named.is_none() && !digits.starts_with(char::is_alphanumeric);
    let address = &address[..address.find(quote).unwrap_or(address.len())];
    let end = address.rfind('@').filter(|end| !port && *end > colon)?;
    Some(colon + 1..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;

    #[test]
    fn passwords_are_blanked_and_nothing_else_is() {
        for (text, clean) in [
            ("url = \"http://user:secret@host\"", "url = \"http://user:******@host\""),
            ("http://token@host, http://a:b@c", "http://*****@host, http://a:*@c"),
            ("http://u:p@ss@host/x", "http://u:****@host/x"),
            ("http://u:p/ss@host", "http://u:****@host"),
            ("'http://u:p ss@host' a@b", "'http://u:****@host' a@b"),
            ("http://ü:pä@h", "http://ü:***@h"),
        ] {
            assert_eq!(without_passwords(text).as_deref(), Some(clean), "{text}");
        }
        for text in [
            "",
            "://",
            "http://127.0.0.1:9000/users/@me",
            "http://user:${PASSWORD}@h",
            "http://host/a@b",
            "http://[::1]:9000",
            "mail a@b: c@d",
            "http://host for a@b",
            "http://host:9000, for a@b",
        ] {
            assert_eq!(without_passwords(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_are_shown_as_they_were_written() {
        let secret =
            |value: &str, shown: &str| Secret { value: value.to_owned(), shown: shown.to_owned() };
        let secrets = [secret("a", "${A}"), secret("pay-now", "${R}")].into_iter().collect();
        let sources = Sources { secrets, ..Sources::default() };
        assert_eq!(format!("{:?}", sources.secrets), "Secrets([${R}, ${A}])");
        let mut note = Diagnostic::error(Place::default(), "there is no route `pay-now`")
            .label("a PAY-NOW")
            .hint("write `PAY-NOW` or \"a\"")
            .also(Place::default(), "repay-now or pay-nowhere");
        sources.redact(&mut note);
        assert_eq!(note.message, "there is no route `${R}`");
        assert_eq!(note.label, "a ${R}");
        assert_eq!(note.hint.unwrap(), "write `${R}` or \"${A}\"");
        assert_eq!(note.also.unwrap().1, "repay-now or pay-nowhere");
    }
}
