//! A scenario in the making: parts are held against the language as they are added, so that what
//! cannot be said is told at the place it comes from.

use std::collections::HashSet;

use super::mistake;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Sources};
use crate::units::{Share, show_duration};

/// How wide comments are.
const WIDTH: usize = 98;
/// Beyond so many routes a new one is only compared with those that say the same.
const MOST_COMPARED: usize = 200;
/// Every route.
const ANY: &str = "*";
/// The longest name of the language.
const LONGEST_NAME: usize = 63;

#[derive(Debug)]
pub(super) struct Draft<'s> {
    sources: &'s Sources,
    pub(super) notes: Diagnostics,
    services: Vec<Service>,
    routes: Vec<Route>,
    faults: Vec<Fault>,
    taken: HashSet<String>,
}

/// `[services.NAME]`.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) name: String,
    /// What the rules call it, where that is no name of the language.
    pub(super) title: Option<String>,
    pub(super) url: String,
    pub(super) listen: Option<String>,
    /// Further keys, with their values, in TOML.
    pub(super) more: Vec<(&'static str, String)>,
    pub(super) comments: Vec<String>,
}

/// `[routes.NAME]`; without a name, only its comments are written.
#[derive(Debug, Default)]
pub(super) struct Route {
    pub(super) name: String,
    /// Dotted keys, with their values, in TOML.
    pub(super) keys: Vec<(String, String)>,
    pub(super) comments: Vec<String>,
}

/// `[faults.NAME]`; without anything to inject, only its comments are written.
#[derive(Debug, Default)]
pub(super) struct Fault {
    pub(super) name: String,
    /// The routes it is on; empty: all of its service's.
    pub(super) routes: Vec<String>,
    /// The service it is for; `None`: all.
    pub(super) service: Option<String>,
    pub(super) comments: Vec<String>,
    /// It has to be off; a comment says why.
    pub(super) off: bool,
    pub(super) probability: Option<Share>,
    pub(super) max_active: Option<u64>,
    /// Dotted keys of `only`, with their values, in TOML.
    pub(super) only: Vec<(String, String)>,
    /// Keys of `inject`, with their values, in TOML.
    pub(super) inject: Vec<(&'static str, String)>,
}

impl<'s> Draft<'s> {
    pub(super) fn new(sources: &'s Sources) -> Self {
        Self {
            sources,
            notes: Diagnostics::new(),
            services: Vec::new(),
            routes: Vec::new(),
            faults: Vec::new(),
            taken: HashSet::new(),
        }
    }

    /// The line of a place, as comments name it.
    pub(super) fn line(&self, at: Place) -> String {
        let line = self.sources.position(at).map_or(0, |(line, _)| line);
        format!("line {line}")
    }

    /// Something that has no equivalent: told, and written among the comments.
    pub(super) fn lost(&mut self, comments: &mut Vec<String>, at: Place, what: &str, why: &str) {
        let comment = format!("no equivalent ({}): {what}; {why}", self.line(at));
        self.notes.push(Diagnostic::warning(at, format!("no equivalent: {what}")).hint(why));
        comments.push(comment);
    }

    /// Something else to know: told, and written among the comments.
    pub(super) fn told(&mut self, comments: &mut Vec<String>, at: Place, what: &str, why: &str) {
        comments.push(format!("{}: {what}; {why}", self.line(at)));
        self.notes.push(Diagnostic::warning(at, what).hint(why));
    }

    /// Whether a service listens there already.
    pub(super) fn listens_at(&self, address: &str) -> bool {
        self.services.iter().any(|service| service.listen.as_deref() == Some(address))
    }

    /// A name of the language, near a text and not taken yet.
    pub(super) fn name(&mut self, near: &str) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let mut base: String = near.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        base.truncate(LONGEST_NAME - 8);
        let base = base.trim_matches('-');
        let base = if base.is_empty() { "unnamed" } else { base };
        let mut name = base.to_owned();
        let mut n = 1;
        while !self.taken.insert(name.clone()) {
            n += 1;
            name = format!("{base}-{n}");
        }
        name
    }

    /// Adds a service, if the language takes its address and URL. `at`: where they come from.
    pub(super) fn service(&mut self, service: Service, at: Place) {
        if let Some(wrong) = mistake(&service.text()) {
            return self.refuse(at, wrong);
        }
        self.services.push(service);
    }

    /// Whether some request would be this route's and another's, which is a mistake here.
    pub(super) fn ties(&self, route: &Route) -> bool {
        let alike = |known: &&Route| !known.name.is_empty();
        if self.routes.len() > MOST_COMPARED {
            return self.routes.iter().filter(alike).any(|known| known.keys == route.keys);
        }
        let mut whole: String = self.services.iter().map(Service::text).collect();
        whole.extend(self.routes.iter().map(Route::text));
        mistake(&format!("{whole}{}", route.text())).is_some()
    }

    /// Adds a route, if the language takes it. `at`: where it comes from.
    pub(super) fn route(&mut self, route: Route, at: Place) {
        let mut alone =
            Route { keys: route.keys.clone(), name: route.name.clone(), ..Route::default() };
        alone.keys.retain(|(key, _)| key != "service");
        if let Some(wrong) = mistake(&format!("proxy.upstream = \"http://host\"\n{}", alone.text()))
        {
            return self.refuse(at, wrong);
        }
        self.routes.push(route);
    }

    /// Adds a fault, if the language takes it. `at`: where it comes from.
    pub(super) fn fault(&mut self, fault: Fault, at: Place) {
        if !fault.inject.is_empty() {
            let alone = format!("proxy.upstream = \"http://host\"\n{}", fault.text(ANY));
            if let Some(wrong) = mistake(&alone) {
                return self.refuse(at, wrong);
            }
        }
        self.faults.push(fault);
    }

    fn refuse(&mut self, at: Place, wrong: Diagnostic) {
        self.notes.push(Diagnostic { hint: wrong.hint, ..Diagnostic::error(at, wrong.message) });
    }

    /// The whole, as text. `name`: the file's; `verb`: what reads it.
    pub(super) fn written(&self, name: &str, verb: &str, differences: &[&str]) -> String {
        let path = std::path::Path::new(name);
        let part = |part: Option<&std::ffi::OsStr>| {
            part.map_or_else(|| verb.to_owned(), |part| part.to_string_lossy().into_owned())
        };
        let mut text = String::new();
        let file = part(path.file_name());
        comment(&mut text, "", &format!("Made from {file} by `backburn import {verb}`."));
        text.push_str("#\n# What is different here:\n");
        for difference in differences {
            comment(&mut text, "- ", difference);
        }
        text.push_str(&format!("\nname = {}\n", quoted(&part(path.file_stem()))));
        for service in &self.services {
            text.push('\n');
            text.push_str(&service.text());
        }
        for route in &self.routes {
            text.push('\n');
            text.push_str(&route.text());
        }
        for fault in &self.faults {
            text.push('\n');
            text.push_str(&fault.text(&self.route_of(fault)));
        }
        text.push_str(
            "\n# Not from the rules: what the drill is judged by.\n[slos.answers]\n\
             objective        = \"99.9%\"\nsli.availability = {}\n",
        );
        text
    }

    /// Without `[routes]` each service has one, which is named after it where there are several.
    fn route_of(&self, fault: &Fault) -> String {
        match &fault.service {
            Some(service) if self.services.len() > 1 => format!("all-{service}"),
            _ if !fault.routes.is_empty() => String::new(),
            _ => ANY.to_owned(),
        }
    }
}

impl Service {
    fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.comments {
            comment(&mut text, "", line);
        }
        text.push_str(&format!("[services.{}]\n", self.name));
        let mut keys = vec![("url", quoted(&self.url))];
        keys.extend(self.more.iter().cloned());
        keys.extend(self.listen.as_ref().map(|listen| ("listen", quoted(listen))));
        keys.extend(self.title.as_ref().map(|title| ("title", quoted(title))));
        aligned(&mut text, keys);
        text
    }
}

impl Route {
    fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.comments {
            comment(&mut text, "", line);
        }
        if self.name.is_empty() {
            return text;
        }
        text.push_str(&format!("[routes.{}]\n", self.name));
        aligned(&mut text, self.keys.clone());
        text
    }
}

impl Fault {
    fn text(&self, route: &str) -> String {
        let mut text = String::new();
        for line in &self.comments {
            comment(&mut text, "", line);
        }
        if self.inject.is_empty() {
            return text;
        }
        text.push_str(&format!("[faults.{}]\n", self.name));
        let named: Vec<String> = self.routes.iter().map(|name| quoted(name)).collect();
        let routes =
            if named.is_empty() || route == ANY { quoted(route) } else { named.join(", ") };
        let mut keys = vec![("routes".to_owned(), format!("[{routes}]"))];
        let mut add = |key: &str, value: String| keys.push((key.to_owned(), value));
        if self.off {
            add("enabled", "false".to_owned());
        }
        if let Some(share) = self.probability.filter(|share| *share != Share::ONE) {
            add("probability", quoted(&share.to_string()));
        }
        if let Some(most) = self.max_active {
            add("max_active", most.to_string());
        }
        for (key, value) in &self.only {
            add(&format!("only.{key}"), value.clone());
        }
        for (key, value) in &self.inject {
            add(&format!("inject.{key}"), value.clone());
        }
        aligned(&mut text, keys);
        text
    }
}

/// `key = value` lines, the short keys' signs one below the other.
pub(super) fn aligned<K: AsRef<str>>(text: &mut String, keys: Vec<(K, String)>) {
    let width = keys.iter().map(|(key, _)| key.as_ref().len()).max().unwrap_or_default();
    for (key, value) in keys {
        text.push_str(&format!("{:width$} = {value}\n", key.as_ref()));
    }
}

/// A comment as lines of it; what no comment may hold is replaced.
pub(super) fn comment(text: &mut String, bullet: &str, line: &str) {
    let clean: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let mut lead = format!("# {bullet}");
    let mut width = 0;
    for word in clean.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if width == 0 || width + 1 + length > WIDTH {
            if width > 0 {
                text.push('\n');
            }
            text.push_str(&lead);
            width = lead.len();
            lead = format!("# {}", " ".repeat(bullet.len()));
        } else {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text.push('\n');
}

/// A plain latency, with the cap that lets it be.
pub(super) fn latency(delay: std::time::Duration, on_response: bool) -> String {
    let shown = quoted(&show_duration(delay));
    let cap = cap(delay);
    match (cap, on_response) {
        (None, false) => shown,
        (cap, on) => {
            let cap = cap.unwrap_or_default();
            let on = if on { ", on = \"response\"" } else { "" };
            format!("{{ delay = {shown}{cap}{on} }}")
        }
    }
}

/// Delays above a minute need a cap that says so.
pub(super) fn cap(longest: std::time::Duration) -> Option<String> {
    (longest > crate::delay::DEFAULT_CAP)
        .then(|| format!(", cap = {}", quoted(&show_duration(longest))))
}

/// A TOML 1.0 string that stands for itself, `${` included.
pub fn quoted(text: &str) -> String {
    let text = text.replace("${", "$${");
    // As regular expressions are read best.
    if text.contains('\\') && !text.contains(|c: char| c == '\'' || c.is_control()) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
