//! The tree → what the user wrote, typed.

use super::adjust::{Adjustment, adjusted};
use super::{
    BurstsSpec, FaultSpec, HostHeader, Limit, MatchSpec, OnlySpec, PhaseSpec, RouteSpec,
    SafetySpec, SamplingSpec, Says, Scenario, ServiceSpec, StatusPattern, Widening, Written,
};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::document::{Content, Entry, Node, Table, instead};
use crate::fault;

/// Reads a merged tree, with what is changed live put over its faults; what is wrong is noted, in
/// no order.
pub(super) fn scenario(
    entries: &[Entry],
    adjustments: &[Adjustment],
    notes: &mut Diagnostics,
) -> Scenario {
    let mut root = Table::root(&super::keys::ROOT, entries, notes);
    let written = root.node("faults").and_then(|node| node.entries()).unwrap_or_default();
    Scenario {
        sources: crate::diagnostic::Sources::default(),
        torn: false,
        name: root.text("name"),
        hypothesis: root.text("hypothesis"),
        seed: root.integer("seed"),
        safety: root.table("safety").map(|mut table| safety(&mut table)).unwrap_or_default(),
        sampling: root.table("sampling").map(|mut table| SamplingSpec {
            file: table.text("file"),
            rest: table.share("rest"),
            max_size: table.bytes("max_size"),
        }),
        proxy: root
            .table("proxy")
            .map(|mut table| super::proxy::read(&mut table))
            .unwrap_or_default(),
        services: each(&mut root, "services", service),
        routes: each(&mut root, "routes", route),
        faults: faults(&mut root, adjustments),
        slos: each(&mut root, "slos", super::slo::slo),
        tiers: each(&mut root, "tiers", super::slo::tier),
        composites: each(&mut root, "composites", super::slo::composite),
        phases: phases(&mut root, written, adjustments),
        tree: entries.to_vec(),
    }
}

fn faults(root: &mut Table<'_, '_>, adjustments: &[Adjustment]) -> Vec<FaultSpec> {
    let named = root.named("faults");
    let notes = &mut *root.notes;
    let read = named.into_iter().filter_map(|(name, node)| {
        match adjustments.iter().find(|adjustment| adjustment.fault == name.value) {
            None => Some(fault(name, &mut node.table(notes)?)),
            Some(adjustment) => {
                let whole = adjusted(node.entries()?, &adjustment.entries);
                Some(whole_fault(name.clone(), name.at, &whole, notes))
            }
        }
    });
    read.collect()
}

/// A fault put together from several places.
fn whole_fault(
    name: Located<String>,
    at: Place,
    entries: &[Entry],
    notes: &mut Diagnostics,
) -> FaultSpec {
    let keys = super::keys::WHOLE_FAULT;
    fault(name, &mut Table::open(&super::keys::ROOT, keys, entries, at, notes))
}

fn phases(
    root: &mut Table<'_, '_>,
    faults: &[Entry],
    adjustments: &[Adjustment],
) -> Vec<PhaseSpec> {
    let nodes = root.tables("phases");
    let notes = &mut *root.notes;
    let read = nodes.into_iter().filter_map(|node| {
        let mut table = node.table(notes)?;
        let at = table.at;
        Some(PhaseSpec {
            // A missing name has been noted; an empty one is taken for no other phase's.
            name: table.text("name").unwrap_or(Located { value: String::new(), at }),
            length: table.duration("for"),
            // Also when it says something else, which has been noted: it is not missing.
            until_next: table.node("until").map(|node| {
                node.word(table.notes);
                node.at()
            }),
            faults: table.text_list("faults"),
            ramp: table.duration("ramp"),
            set: set(&mut table, faults, adjustments),
        })
    });
    read.collect()
}

fn set(table: &mut Table<'_, '_>, faults: &[Entry], adjustments: &[Adjustment]) -> Vec<FaultSpec> {
    let named = table.named("set");
    let mut read = Vec::new();
    for (name, node) in named {
        // For the keys nobody knows, or that no phase may change.
        if node.table(table.notes).is_none() {
            continue;
        }
        let known: Vec<&str> = faults.iter().map(|entry| entry.name.as_str()).collect();
        let written = faults.iter().find(|entry| entry.name == name.value);
        let Some(written) = written else {
            let note = Diagnostic::error(name.at, format!("there is no fault `{}`", name.value));
            table.notes.push(note.hint(instead(&name.value, known.iter().copied())));
            continue;
        };
        // Anything else has been noted where it stands.
        let Content::Table(own) = &written.item.content else { continue };
        let mut whole = adjusted(own, node.entries().unwrap_or_default());
        if let Some(live) = adjustments.iter().find(|live| live.fault == name.value) {
            whole = adjusted(&whole, &live.entries);
        }
        let mut found = Diagnostics::new();
        read.push(whole_fault(name.clone(), name.at, &whole, &mut found));
        // What is wrong with the fault's own table has been noted there, as has an unknown key
        // here. All else is this phase's, wherever it stands: dotted keys span no table.
        found.retain(|note| {
            let lacks = note.at == Some(name.at);
            let at = if lacks { Some(written.name_at) } else { note.at };
            let told = |known: &Diagnostic| {
                known.message == note.message && (known.at == at || known.at == note.at)
            };
            !table.notes.iter().any(told)
        });
        table.notes.extend(found);
    }
    read
}

fn each<T>(
    root: &mut Table<'_, '_>,
    key: &str,
    read: fn(Located<String>, &mut Table<'_, '_>) -> T,
) -> Vec<T> {
    let named = root.named(key);
    let notes = &mut *root.notes;
    named.into_iter().filter_map(|(name, node)| Some(read(name, &mut node.table(notes)?))).collect()
}

fn safety(table: &mut Table<'_, '_>) -> SafetySpec {
    SafetySpec {
        environments: table.text_list("environments"),
        max_drill: table.duration_or_none("max_drill").map(|Located { value, at }| Located {
            value: value.map_or(Limit::None, Limit::After),
            at,
        }),
        max_faulted: table.share("max_faulted"),
        never: table.text_list("never"),
        fault_health: table.boolean("fault_health"),
        widening: table.word("widening").map(|Located { value, at }| Located {
            value: if value == "hold" { Widening::Hold } else { Widening::Apply },
            at,
        }),
    }
}

fn service(name: Located<String>, table: &mut Table<'_, '_>) -> ServiceSpec {
    ServiceSpec {
        name,
        url: table.text("url"),
        listen: table.address("listen"),
        protocol: super::service::protocol(table),
        tls: super::tls::service(table),
        host: table.word("host").map(|Located { value, at }| Located {
            value: if value == "upstream" { HostHeader::Upstream } else { HostHeader::Keep },
            at,
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
        headers: matches(table, "headers"),
        query: matches(table, "query"),
        service: table.text("service"),
        operation: table.text("operation"),
        protected: table.boolean("protected"),
        tier: table.text("tier"),
    }
}

fn fault(name: Located<String>, table: &mut Table<'_, '_>) -> FaultSpec {
    let routes_at = table.node("routes").map_or(table.at, |node| node.at());
    let is_there = |key: &str| table.node(key).is_some();
    let written = Written {
        probability: is_there("probability"),
        turn: is_there("first") || is_there("every"),
        limit: is_there("limit"),
    };
    FaultSpec {
        name,
        routes: table.text_list("routes"),
        routes_at,
        only: table.table("only").map(only).unwrap_or_default(),
        cohort: table.text("cohort"),
        per: table.text("per"),
        even: table.word("spread").filter(|spread| spread.value == "even").map(|even| even.at),
        bursts: bursts(table),
        optional: table.boolean("optional"),
        max_active: table.integer("max_active"),
        probability: table.share("probability"),
        written,
        group: table.text("group"),
        enabled: table.boolean("enabled"),
        first: table.integer("first"),
        every: table.integer("every"),
        limit: table.integer("limit"),
        mark: table.boolean("mark"),
        inject: inject(table),
    }
}

pub(super) fn only(mut table: Table<'_, '_>) -> OnlySpec {
    OnlySpec {
        methods: table.text_list("methods"),
        headers: matches(&mut table, "headers"),
        query: matches(&mut table, "query"),
        clients: table.text_list("clients"),
    }
}

fn bursts(table: &mut Table<'_, '_>) -> Option<BurstsSpec> {
    let mut table = table.table("bursts")?;
    let (on, off) = (table.duration("on"), table.duration("off"));
    Some(BurstsSpec { on: on?, off: off? })
}

pub(super) fn matches(table: &mut Table<'_, '_>, key: &str) -> Vec<MatchSpec> {
    let each = table.each(key);
    let notes = &mut *table.notes;
    let read = each.into_iter().filter_map(|(name, node)| {
        let at = node.at();
        let value = if node.is_table() {
            match node.variants(notes).first()? {
                ("regex", node) => Says::Regex(node.text(notes)?.value),
                (_, node) => Says::Present(node.boolean(notes)?.value),
            }
        } else {
            Says::Exactly(node.text(notes)?.value)
        };
        Some(MatchSpec { name, says: Located { value, at } })
    });
    read.collect()
}

fn inject(table: &mut Table<'_, '_>) -> Vec<Located<fault::Spec>> {
    let Some(node) = table.node("inject") else { return Vec::new() };
    let variants = node.variants(table.notes);
    let mut read = Vec::new();
    for (name, node) in variants {
        let kind = fault::KINDS.iter().find(|kind| kind.key.name == name);
        if let Some(value) = kind.and_then(|kind| (kind.read)(&node, table.notes)) {
            read.push(Located { value, at: node.key_at });
        }
    }
    read
}

pub(super) fn statuses(nodes: &[Node<'_>], notes: &mut Diagnostics) -> Vec<Located<StatusPattern>> {
    let read = nodes.iter().filter_map(|node| {
        let Located { value, at } = node.number_or_text(notes)?;
        let pattern = status(&value);
        if pattern.is_none() {
            notes.push(not_a_status(&value, at));
        }
        pattern.map(|value| Located { value, at })
    });
    read.collect()
}

fn not_a_status(text: &str, at: Place) -> Diagnostic {
    let note = Diagnostic::error(at, format!("\"{text}\" is not a status"));
    note.hint("a status is a number from 100 to 599, or a class such as \"5xx\"")
}

fn status(text: &str) -> Option<StatusPattern> {
    let text = text.as_bytes();
    let [first @ b'1'..=b'5', rest @ ..] = text else { return None };
    let hundred = u16::from(first - b'0') * 100;
    match rest {
        b"xx" => Some(StatusPattern { low: hundred, high: hundred + 99 }),
        [ten @ b'0'..=b'9', one @ b'0'..=b'9'] => {
            let code = hundred + u16::from(ten - b'0') * 10 + u16::from(one - b'0');
            Some(StatusPattern { low: code, high: code })
        }
        _ => None,
    }
}
