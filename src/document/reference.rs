//! The language as a reference page: the same key tables, told to a person.

use std::fmt::Write as _;

use super::suggest::walk;
use super::{TableKeys, Value};

/// Markdown: one section a table, outer ones first, one row a key. `page`: what more there is to say
/// of a table than its keys.
pub fn reference(root: &'static TableKeys, page_of: fn(&str) -> Option<String>) -> String {
    let mut page = "# The scenario language\n".to_owned();
    let mut told = Vec::new();
    walk(root, &mut |keys| {
        // Some tables stand in several places.
        if told.contains(&keys.name) {
            return;
        }
        told.push(keys.name);
        page.push('\n');
        section(&mut page, keys, page_of);
    });
    page
}

fn section(page: &mut String, keys: &TableKeys, page_of: fn(&str) -> Option<String>) {
    let doc = page_of(keys.name).unwrap_or_else(|| keys.doc.to_owned());
    // Writing to a String does not fail.
    let _ = match keys.name {
        "" => writeln!(page, "## The top of the file\n\n{doc}\n"),
        name => writeln!(page, "## `[{name}]`\n\n{doc}\n"),
    };
    if let Some(short) = keys.short {
        let _ = writeln!(page, "Short form: {}.\n", short.expected());
    }
    page.push_str("| key | takes | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in keys.keys {
        let default = match (key.required, key.default) {
            (true, _) => "required".to_owned(),
            (false, "") => String::new(),
            // A value as it is written, or in words.
            (false, default) if is_in_words(default) => default.to_owned(),
            (false, default) => format!("`{default}`"),
        };
        let takes = match key.value {
            Value::OneOf(of) => format!("one of the keys of `[{}]`", of.name),
            Value::SomeOf(of) => format!("keys of `[{}]`", of.name),
            other => other.expected(),
        };
        let _ = writeln!(page, "| `{}` | {takes} | {default} | {} |", key.name, key.doc);
    }
}

fn is_in_words(default: &str) -> bool {
    default.contains(' ') && !default.starts_with(['"', '[', '{'])
}
