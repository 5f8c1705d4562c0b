//! Texts and `--set` → one tree → one scenario, with everything that is wrong. Nothing here touches
//! a file: `app::source` does.

use std::sync::Arc;

use super::Scenario;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source, Sources, without_passwords};
use crate::document::env::{self, Lookup};
use crate::document::tree::{self, Content, Entry};
use crate::document::{Value, instead};

/// The largest file that is read, in bytes.
pub const LARGEST_FILE: u64 = 1 << 20;
/// The most files that are read.
pub const MOST_FILES: usize = 1_000;

/// One `--set PATH=VALUE`: put over the files before they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Dotted: `faults.slow.probability`.
    pub path: String,
    /// A TOML value, or else the text itself.
    pub value: String,
}

impl std::str::FromStr for Override {
    type Err = String;
    /// Splits at the first `=`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text
            .split_once('=')
            .ok_or_else(|| "there is no `=`; write PATH=VALUE, as in seed=7".to_owned())?;
        // Nothing is trimmed: places count from the start of what was typed.
        Ok(Self { path: path.to_owned(), value: value.to_owned() })
    }
}

/// Reads texts given with their names, merged, with `sets` put over them, in an environment where
/// nothing is set. Never panics, whatever the text; the scenario holds what could be read, the
/// diagnostics all that is wrong, in order of place.
pub fn read(texts: Vec<(String, String)>, sets: &[String]) -> (Scenario, Diagnostics) {
    read_adjusted(texts, sets, &[], &|_| None)
}

/// As [`read`], with live overrides of faults' keys put over it all, phases included, and `${NAME}`
/// filled in from the environment. An override stands as it is: who steers a drill need not know
/// what this process was started with.
pub fn read_adjusted(
    texts: Vec<(String, String)>,
    sets: &[String],
    overrides: &[Override],
    environment: Lookup<'_>,
) -> (Scenario, Diagnostics) {
    let (mut notes, mut sources) = (Diagnostics::new(), Sources::default());
    let (mut entries, mut written, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    for (name, mut text) in texts {
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        if text.len() as u64 > LARGEST_FILE || sources.files.len() >= MOST_FILES {
            let why = "more than a scenario may hold (1 MiB, 1000 files)";
            notes.push(Diagnostic::nowhere(format!("{name}: {why}")));
            continue;
        }
        let file = add(&mut sources, name, &text);
        let (found, unread) = tree::parse(&text, file, &mut notes);
        tree::merge(&mut entries, found, &super::ROOT, &mut notes);
        broken.extend(unread);
        written.push(text);
    }
    for set in sets.iter().take(MOST_FILES) {
        apply(set, &mut entries, &mut sources, &mut notes);
        written.push(set.clone());
    }
    // Last of all: what `--set` puts over a string need not be set in the environment.
    sources.secrets = env::fill(&mut entries, &written, environment, &mut notes);
    let adjustments = super::adjust::adjustments(overrides, &mut sources, &mut notes);
    let mut found = Diagnostics::new();
    let mut scenario = super::read::scenario(&entries, &adjustments, &mut found);
    // What a syntax error left behind is half a line: what the reader says of it misleads.
    // Each costs a look through the text.
    notes.extend(found.into_iter().take(MOST_FILES).filter(|note| {
        let Some(at) = note.at else { return true };
        let missing = note.message.ends_with("is missing") || note.message.ends_with("is empty");
        let near = |place: &Place| place.file == at.file && (missing || place.touches(at));
        !broken.iter().any(near)
    }));
    for note in &mut notes {
        sources.redact(note);
    }
    notes.sort_by_key(|note| (note.at, note.severity));
    scenario.sources = sources;
    scenario.torn = !broken.is_empty();
    (scenario, notes)
}

pub(super) fn add(sources: &mut Sources, name: String, text: &str) -> u16 {
    let text = without_passwords(text).unwrap_or_else(|| text.to_owned());
    sources.files.push(Arc::new(Source { name, text }));
    // Held to MOST_FILES files and as many overrides.
    u16::try_from(sources.files.len() - 1).unwrap_or(u16::MAX)
}

fn apply(set: &str, entries: &mut Vec<Entry>, sources: &mut Sources, notes: &mut Diagnostics) {
    let file = add(sources, "--set".to_owned(), set);
    let Override { path, value } = match set.parse() {
        Ok(split) => split,
        Err(why) => {
            let end = u32::try_from(set.len()).unwrap_or(u32::MAX);
            notes.push(Diagnostic::error(Place { file, start: 0, end }, why));
            return;
        }
    };
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let (mut steps, mut start) = (Vec::new(), 0);
    for part in path.split('.') {
        let at = Place { file, start: offset(start), end: offset(start + part.len()) };
        if part.is_empty() || steps.len() >= super::adjust::MOST_STEPS {
            let note = Diagnostic::error(at, "this is not the path of a key");
            notes.push(note.hint("write it as faults.NAME.probability=5%"));
            return;
        }
        steps.push((part.to_owned(), at));
        start += part.len() + 1;
    }
    // A slip in a name would make a new table next to the one that was meant; a new one is
    // written whole: services.shop={ url = … }.
    if let [(kind, _), (name, at), _, ..] = steps.as_slice()
        && super::keys::ROOT
            .keys
            .iter()
            .any(|key| key.name == kind && matches!(key.value, Value::Named(_)))
    {
        let known = entries.iter().find(|entry| entry.name == *kind);
        let names: Vec<&str> = match known.map(|entry| &entry.item.content) {
            Some(Content::Table(named)) => named.iter().map(|entry| entry.name.as_str()).collect(),
            _ => Vec::new(),
        };
        if !names.contains(&name.as_str()) {
            let note = Diagnostic::error(*at, format!("there is no `{name}` in [{kind}]"));
            notes.push(note.hint(instead(name, names.iter().copied())));
            return;
        }
    }
    let item = tree::value(&value, file, offset(path.len() + 1));
    if let [(kind, _), (name, _)] = steps.as_slice()
        && let Some(named) = entries.iter_mut().find(|entry| entry.name == *kind)
        && let Content::Table(named) = &mut named.item.content
        && let Some(known) = named.iter_mut().find(|entry| entry.name == *name)
    {
        // Written whole, in the place of what is there.
        known.item.content = Content::Table(Vec::new());
    }
    if let Some(entry) = tree::nested(&steps, item) {
        super::adjust::put_over(&super::keys::ROOT, entries, &[entry]);
    }
}
