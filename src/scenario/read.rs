//! TOML → [`Scenario`]: every mistake noted, none stops the reading.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys::ROOT;
use super::{
    Clock, FaultSpec, HostHeader, Limit, Population, ProxySpec, RouteSpec, SafetySpec, Scenario,
    ServiceSpec, SliSpec, SloSpec, StatusPattern,
};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place, Source, Sources};
use crate::document::{Node, Table, tree};
use crate::fault;

/// Larger files are no scenarios.
const LONGEST: u64 = 1024 * 1024;

/// Reads files, and the `*.toml` of directories by name, merged in this order; then `sets`
/// (`a.b.c=VALUE`) over them.
pub fn load(paths: &[PathBuf], sets: &[String]) -> (Scenario, Diagnostics) {
    let mut sources = Vec::new();
    let mut notes = Diagnostics::new();
    let mut unplaced = |message: String| {
        notes.push(Diagnostic { at: None, ..Diagnostic::error(Place::default(), message) });
    };
    for path in paths {
        let files = match files(path) {
            Ok(files) if files.is_empty() => {
                unplaced(format!("{} holds no .toml file", path.display()));
                continue;
            }
            Ok(files) => files,
            Err(error) => {
                unplaced(format!("cannot read {}: {error}", path.display()));
                continue;
            }
        };
        for file in files {
            match text(&file) {
                Ok(text) => sources.push((file.display().to_string(), text)),
                Err(error) => unplaced(format!("cannot read {}: {error}", file.display())),
            }
        }
    }
    let (scenario, more) = read(sources, sets);
    notes.extend(more);
    (scenario, notes)
}

fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> Result<String, String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("not a regular file".to_owned());
    }
    if about.len() > LONGEST {
        return Err(format!("{} bytes; a scenario is at most 1 MiB", about.len()));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
}

/// Reads texts, each with the name it is shown by.
pub fn read(texts: Vec<(String, String)>, sets: &[String]) -> (Scenario, Diagnostics) {
    let mut notes = Diagnostics::new();
    let mut sources = Sources::default();
    let mut entries = Vec::new();
    for (name, text) in texts {
        let file = sources.files.len() as u16;
        // An editor's byte order mark is no part of the text.
        let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
        let parsed = tree::parse(&text, file, &mut notes);
        tree::merge(&mut entries, parsed, &mut notes);
        sources.files.push(Arc::new(Source { name, text }));
    }
    for set in sets {
        let file = sources.files.len() as u16;
        overlay(&mut entries, set, file, &mut notes);
        sources.files.push(Arc::new(Source { name: "--set".to_owned(), text: set.clone() }));
    }
    let mut scenario = Scenario { sources, ..Scenario::default() };
    let mut root = Table::root(&ROOT, &entries, &mut notes);
    scenario.name = root.text("name");
    scenario.hypothesis = root.text("hypothesis");
    scenario.seed = root.integer("seed");
    if let Some(mut table) = root.table("safety") {
        scenario.safety = safety(&mut table);
    }
    if let Some(mut table) = root.table("proxy") {
        scenario.proxy = proxy(&mut table);
    }
    scenario.services = each(&mut root, "services", service);
    scenario.routes = each(&mut root, "routes", route);
    scenario.faults = each(&mut root, "faults", fault);
    scenario.slos = each(&mut root, "slos", slo);
    (scenario, notes)
}

/// One `--set a.b.c=VALUE`.
fn overlay(entries: &mut Vec<tree::Entry>, set: &str, file: u16, notes: &mut Diagnostics) {
    let end = set.len() as u32;
    let Some((path, value)) = set.split_once('=').filter(|(path, _)| !path.is_empty()) else {
        let at = Place { file, start: 0, end };
        notes.push(
            Diagnostic::error(at, "not KEY=VALUE").hint("for example `faults.slow.probability=5%`"),
        );
        return;
    };
    let mut keys = Vec::new();
    let mut start = 0;
    for key in path.split('.') {
        let at = Place { file, start, end: start + key.len() as u32 };
        start = at.end + 1;
        keys.push((key.trim().to_owned(), at));
    }
    let item = tree::value(value, file, path.len() as u32 + 1);
    tree::overlay(entries, &keys, item);
}

fn each<S>(
    root: &mut Table<'_, '_>,
    key: &str,
    read: fn(Located<String>, &mut Table<'_, '_>) -> S,
) -> Vec<S> {
    let mut specs = Vec::new();
    for (name, node) in root.named(key) {
        if let Some(mut table) = node.table(root.notes) {
            specs.push(read(name, &mut table));
        }
    }
    specs
}

fn safety(table: &mut Table<'_, '_>) -> SafetySpec {
    SafetySpec {
        environments: table.text_list("environments"),
        max_drill: table.duration_or_none("max_drill").map(|limit| Located {
            value: limit.value.map_or(Limit::None, Limit::After),
            at: limit.at,
        }),
        max_faulted: table.share("max_faulted"),
        never: table.text_list("never"),
        fault_health: table.boolean("fault_health"),
    }
}

fn proxy(table: &mut Table<'_, '_>) -> ProxySpec {
    ProxySpec {
        listen: table.address("listen"),
        upstream: table.text("upstream"),
        workers: table.integer("workers"),
        max_held: table.integer("max_held"),
    }
}

fn service(name: Located<String>, table: &mut Table<'_, '_>) -> ServiceSpec {
    ServiceSpec {
        name,
        url: table.text("url"),
        listen: table.address("listen"),
        host: table.word("host").map(|word| Located {
            value: if word.value == "upstream" { HostHeader::Upstream } else { HostHeader::Keep },
            at: word.at,
        }),
        tier: table.text("tier"),
        title: table.text("title"),
    }
}

fn route(name: Located<String>, table: &mut Table<'_, '_>) -> RouteSpec {
    RouteSpec {
        name,
        path: table.text("path"),
        methods: table.text_list("methods"),
        host: table.text("host"),
        service: table.text("service"),
        protected: table.boolean("protected"),
        tier: table.text("tier"),
    }
}

fn fault(name: Located<String>, table: &mut Table<'_, '_>) -> FaultSpec {
    let mut inject = Vec::new();
    if let Some(node) = table.node("inject") {
        for (kind, node) in node.variants(table.notes) {
            if let Some(spec) = fault::read(kind, node, table.notes) {
                inject.push(Located { value: spec, at: node.at() });
            }
        }
    }
    FaultSpec {
        routes_at: table.node("routes").map_or(name.at, |node| node.key_at),
        name,
        routes: table.text_list("routes"),
        probability: table.share("probability"),
        group: table.text("group"),
        enabled: table.boolean("enabled"),
        first: table.integer("first"),
        every: table.integer("every"),
        limit: table.integer("limit"),
        mark: table.boolean("mark"),
        inject,
    }
}

fn slo(name: Located<String>, table: &mut Table<'_, '_>) -> SloSpec {
    let sli = table.node("sli").and_then(|node| {
        let (kind, node) = *node.variants(table.notes).first()?;
        let mut sli = node.table(table.notes)?;
        let value = if kind == "latency" { latency(&mut sli)? } else { availability(&mut sli) };
        Some(Located { value, at: node.at() })
    });
    SloSpec {
        name,
        routes: table.text_list("routes"),
        service: table.text("service"),
        objective: table.share("objective"),
        window: table.duration("window"),
        tier: table.text("tier"),
        sli,
    }
}

fn latency(sli: &mut Table<'_, '_>) -> Option<SliSpec> {
    let of = sli.word("of").map(|word| Located {
        value: if word.value == "all" { Population::All } else { Population::Good },
        at: word.at,
    });
    let clock = sli.word("clock").map(|word| Located {
        value: if word.value == "first_byte" { Clock::FirstByte } else { Clock::LastByte },
        at: word.at,
    });
    Some(SliSpec::Latency { threshold: sli.duration("threshold")?, of, clock })
}

fn availability(sli: &mut Table<'_, '_>) -> SliSpec {
    let bad_status = sli.list("bad_status").map(|(_, nodes)| statuses(&nodes, sli.notes));
    let exclude_status =
        sli.list("exclude_status").map_or_else(Vec::new, |(_, nodes)| statuses(&nodes, sli.notes));
    SliSpec::Availability {
        bad_status,
        exclude_status,
        abandoned_after: sli.duration("abandoned_after"),
    }
}

fn statuses(nodes: &[Node<'_>], notes: &mut Diagnostics) -> Vec<Located<StatusPattern>> {
    let mut patterns = Vec::new();
    for node in nodes {
        let Some(text) = node.number_or_text(notes) else { continue };
        match status(&text.value) {
            Some(value) => patterns.push(Located { value, at: text.at }),
            None => notes.push(
                Diagnostic::error(text.at, "not a status").hint("503, or \"5xx\" for 500 to 599"),
            ),
        }
    }
    patterns
}

/// `503` or `5xx`.
fn status(text: &str) -> Option<StatusPattern> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some(StatusPattern { low: class * 100, high: class * 100 + 99 });
    }
    let code: u16 = text.parse().ok().filter(|code| (100..=599).contains(code))?;
    Some(StatusPattern { low: code, high: code })
}
