//! Envoy's header matchers as conditions of a fault's `only`.

use super::quoted;
use crate::diagnostic::Diagnostic;
use crate::exchange::Wrong;
use crate::exchange::document::{Fields, Node};
use crate::plan::condition::Pattern;

/// What has no equivalent, and why.
type Lost = Option<(String, &'static str)>;

const UNSAYABLE: &str = "there is no such condition";

/// Reads one matcher into header conditions, as keys and values of TOML, or into a condition of its
/// own.
pub(super) fn read(
    node: &Node,
    headers: &mut Vec<(String, String)>,
    only: &mut Vec<(String, String)>,
) -> Result<Lost, Wrong> {
    let mut fields = Fields::of(node)?;
    let at = fields.at;
    let name = fields.text("name")?.unwrap_or_default().to_ascii_lowercase();
    let what = format!("the matcher of header `{name}`");
    let lost = |why| Ok(Some((what.clone(), why)));
    let inverted = fields.boolean("invert_match")?.unwrap_or_default();
    let as_empty = fields.boolean("treat_missing_header_as_empty")?.unwrap_or_default();
    let says = says(&mut fields)?;
    let unread = fields.rest().next().map(|left| left.key.clone());
    if let Some(key) = unread {
        return Ok(Some((format!("`{key}` in {what}"), UNSAYABLE)));
    }
    if as_empty && !matches!(says, Says::Present(_)) {
        return lost("a header that is not there is not an empty one");
    }
    let says = match (says, inverted) {
        (Says::Present(present), inverted) => Says::Present(present != inverted),
        (_, true) => return lost("nothing says that a header is not something"),
        (says, false) => says,
    };
    match (name.as_str(), says) {
        (":method", Says::Exactly(method)) => {
            if only.iter().any(|(key, _)| key == "methods") {
                return lost("a request has one method");
            }
            only.push(("methods".to_owned(), format!("[{}]", quoted(&method))));
        }
        (":path" | ":method", _) => {
            return lost("give its requests a route, with `path` and `methods`, and name that");
        }
        (":authority" | "host", _) => {
            return lost("give its requests a route, with `host`, and name that in `routes`");
        }
        (name, says) => {
            if name.parse::<http::HeaderName>().is_err() {
                return Err(Diagnostic::error(at, format!("\"{name}\" is no header's name")).into());
            }
            let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            let key = if bare { name.to_owned() } else { quoted(name) };
            if headers.iter().any(|(known, _)| *known == key) {
                return lost("one condition for each header");
            }
            let value = match says {
                Says::Exactly(text) => quoted(&text),
                Says::Present(present) => format!("{{ present = {present} }}"),
                Says::Regex(text) if Pattern::new(&text).is_ok() => regex(&text),
                Says::Regex(_) => return lost("its regular expression is not one here"),
                Says::Unsayable => return lost(UNSAYABLE),
            };
            headers.push((key, value));
        }
    }
    Ok(None)
}

/// A condition by a regular expression.
pub(super) fn regex(text: &str) -> String {
    format!("{{ regex = {} }}", quoted(text))
}

enum Says {
    Exactly(String),
    Regex(String),
    Present(bool),
    Unsayable,
}

/// What the header has to say; where nothing is said, it has to be there.
fn says(fields: &mut Fields<'_>) -> Result<Says, Wrong> {
    if let Some(present) = fields.boolean("present_match")? {
        return Ok(Says::Present(present));
    }
    if fields.take("range_match").is_some() {
        return Ok(Says::Unsayable);
    }
    if let Some(mut safe) = fields.map("safe_regex_match")? {
        return whole(&mut safe);
    }
    if let Some(mut string) = fields.map("string_match")? {
        let fold = string.boolean("ignore_case")?.unwrap_or_default();
        if let Some(mut safe) = string.map("safe_regex")? {
            return whole(&mut safe);
        }
        let read = text(&mut string, ["exact", "prefix", "suffix", "contains"], fold)?;
        let all = string.rest().next().is_none();
        return Ok(read.filter(|_| all).unwrap_or(Says::Unsayable));
    }
    let keys = ["exact_match", "prefix_match", "suffix_match", "contains_match"];
    Ok(text(fields, keys, false)?.unwrap_or(Says::Present(true)))
}

/// Envoy's expressions are of the whole value.
fn whole(safe: &mut Fields<'_>) -> Result<Says, Wrong> {
    let text = safe.text("regex")?.unwrap_or_default();
    Ok(Says::Regex(format!("^(?:{text})$")))
}

/// By the keys for the whole, the beginning, the end, and a part of the value.
fn text(fields: &mut Fields<'_>, keys: [&str; 4], fold: bool) -> Result<Option<Says>, Wrong> {
    let fold = if fold { "(?i)" } else { "" };
    let [exact, prefix, suffix, contains] = keys;
    for (key, before, after) in
        [(exact, "^", "$"), (prefix, "^", ""), (suffix, "", "$"), (contains, "", "")]
    {
        if let Some(text) = fields.text(key)? {
            return Ok(Some(if key == exact && fold.is_empty() {
                Says::Exactly(text.to_owned())
            } else {
                Says::Regex(format!("{fold}{before}{}{after}", regex::escape(text)))
            }));
        }
    }
    Ok(None)
}
