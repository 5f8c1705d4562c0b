//! Scenario → plan: pure, and every mistake at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Uri};

use super::faults::{self, Covered};
use super::matcher::{HostRule, Matcher, Rule, Segment};
use super::{Plan, Proxy, Route, RouteId, Safety, Service, ServiceId, slos};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place, Severity};
use crate::scenario::{HostHeader, Limit, RouteSpec, SafetySpec, Scenario, ServiceSpec};

/// How many segments a route's path may have.
const SEGMENTS: usize = 128;

/// Compiles a scenario. A plan comes out when nothing is wrong; warnings do not count as wrong.
pub fn compile(scenario: &Scenario) -> (Option<Plan>, Diagnostics) {
    let mut notes = Diagnostics::new();
    let (safety, never_hosts) = safety(&scenario.safety, &mut notes);
    let never = |host: &str| is_never(host, &never_hosts, &safety);
    let mut services = services(scenario, &never, &mut notes);
    let (mut routes, rules, places) = routes(scenario, &services, &mut notes);
    ambiguous(&rules, &places, &mut notes);
    let named = routes.len();
    for (id, service) in services.iter_mut().enumerate() {
        service.unmatched = routes.len() as RouteId;
        let only = scenario.services.len() <= 1;
        let name =
            if only { "unmatched".to_owned() } else { format!("unmatched-{}", service.name) };
        if let Some(taken) = scenario.routes.iter().find(|route| route.name.value == name) {
            let message = format!("`{name}` is the name of what no route matches");
            notes.push(
                Diagnostic::error(taken.name.at, message).hint("give this route another name"),
            );
        }
        routes.push(Route {
            name: name.into(),
            service: id as ServiceId,
            protected: true,
            faults: Box::default(),
            slos: Box::default(),
        });
    }
    let covered = Covered { routes: &mut routes, named, services: &services };
    let faults = faults::compile(scenario, covered, &mut notes);
    let slos = slos::compile(scenario, &mut routes, named, &services, &mut notes);
    let proxy = Proxy {
        listen: scenario
            .proxy
            .listen
            .as_ref()
            .map_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8900), |listen| listen.value),
        workers: scenario.proxy.workers.as_ref().map(|workers| workers.value),
        max_held: scenario.proxy.max_held.as_ref().map_or(10_000, |held| held.value),
    };
    let most = usize::from(u16::MAX);
    for (what, count, at) in [
        ("services", services.len(), scenario.services.last().map(|spec| spec.name.at)),
        ("faults", faults.len(), scenario.faults.last().map(|spec| spec.name.at)),
        ("SLOs", slos.len(), scenario.slos.last().map(|spec| spec.name.at)),
    ] {
        if let Some(at) = at.filter(|_| count > most) {
            notes.push(Diagnostic::error(at, format!("{count} {what}: more than {most}")));
        }
    }
    if notes.iter().any(|note| note.severity == Severity::Error) {
        return (None, notes);
    }
    let plan = Plan {
        name: scenario.name.as_ref().map_or_else(|| file_name(scenario), |name| name.value.clone()),
        hypothesis: scenario.hypothesis.as_ref().map(|text| text.value.clone()),
        seed: scenario.seed.as_ref().map(|seed| seed.value),
        safety,
        proxy,
        services: services.into(),
        routes: routes.into(),
        faults: faults.into(),
        slos: slos.into(),
        matcher: Matcher::new(rules),
    };
    (Some(plan), notes)
}

/// What a scenario without a name is called: its first file's name.
fn file_name(scenario: &Scenario) -> String {
    let file = scenario.sources.files.first().map(|source| std::path::Path::new(&source.name));
    let stem = file.and_then(std::path::Path::file_stem).and_then(std::ffi::OsStr::to_str);
    stem.unwrap_or("drill").to_owned()
}

/// A name nobody knows, with the nearest one that is known.
pub(super) fn unknown(what: &str, name: &Located<String>, known: &[&str]) -> Diagnostic {
    let note = Diagnostic::error(name.at, format!("there is no {what} `{}`", name.value));
    match crate::document::suggest_name(&name.value, known.iter().copied()) {
        Some(near) => note.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => note.hint(format!("the scenario has no {what} at all")),
        None => note.hint(format!("there is {}", known.join(", "))),
    }
}

/// A pattern of hosts that are never faulted.
enum NeverHost {
    Exact(String),
    Suffix(String),
}

fn safety(spec: &SafetySpec, notes: &mut Diagnostics) -> (Safety, Vec<NeverHost>) {
    let mut networks = Vec::new();
    let mut hosts = Vec::new();
    for never in &spec.never {
        let text = never.value.trim();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            match bits
                .map_or(Some(longest), |bits| bits.parse().ok().filter(|bits| *bits <= longest))
            {
                Some(bits) => networks.push((address, bits)),
                None => notes.push(
                    Diagnostic::error(never.at, "the network's prefix length is out of range")
                        .hint(format!("0 to {longest}, as in `10.0.0.0/8`")),
                ),
            }
        } else if let Some(pattern) = never_host(text) {
            hosts.push(pattern);
        } else {
            notes.push(
                Diagnostic::error(never.at, "neither a host, an address nor a network")
                    .hint("for example `*.prod.example`, `10.1.2.3` or `10.0.0.0/8`"),
            );
        }
    }
    let max_drill = match spec.max_drill.as_ref().map(|limit| limit.value) {
        None => Some(Duration::from_secs(4 * 3600)),
        Some(Limit::None) => None,
        Some(Limit::After(limit)) => Some(limit),
    };
    let safety = Safety {
        environments: spec.environments.iter().map(|name| name.value.clone()).collect(),
        max_drill,
        fault_health: spec.fault_health.as_ref().is_some_and(|health| health.value),
        never_networks: networks,
    };
    (safety, hosts)
}

/// `db.prod.example`, `*.prod.example`, or `*` for every host. Strict, because a pattern that can
/// match nothing would protect nothing.
fn never_host(text: &str) -> Option<NeverHost> {
    let lower = text.to_ascii_lowercase();
    let (name, wildcard) = match lower.strip_prefix('*') {
        Some("") => return Some(NeverHost::Suffix(String::new())),
        Some(suffix) => (suffix.strip_prefix('.')?, true),
        None => (lower.as_str(), false),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    name.split('.').all(label).then(|| {
        if wildcard {
            NeverHost::Suffix(format!(".{name}"))
        } else {
            NeverHost::Exact(name.to_owned())
        }
    })
}

fn is_never(host: &str, never: &[NeverHost], safety: &Safety) -> bool {
    // `db.prod.example.` is the same host, spelled absolutely.
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let named = never.iter().any(|pattern| match pattern {
        NeverHost::Exact(known) => *known == name,
        NeverHost::Suffix(suffix) => name.ends_with(suffix),
    });
    // What a name resolves to is only known at run time; an address says it itself.
    named || host.parse().is_ok_and(|address| safety.is_never(address))
}

fn services(
    scenario: &Scenario,
    never: &dyn Fn(&str) -> bool,
    notes: &mut Diagnostics,
) -> Vec<Service> {
    let mut services = Vec::new();
    let mut listens: HashMap<SocketAddr, Place> = HashMap::new();
    let mut listen_at = |listen: &Located<SocketAddr>, notes: &mut Diagnostics| {
        if listen.value.port() == 0 {
            return;
        }
        if let Some(first) = listens.insert(listen.value, listen.at) {
            let note = Diagnostic::error(listen.at, format!("{} is taken already", listen.value));
            notes.push(note.also(first, "first taken here"));
        }
    };
    if let Some(listen) = &scenario.proxy.listen {
        listen_at(listen, notes);
    }
    if let Some(upstream) = &scenario.proxy.upstream {
        if let Some(other) = scenario.services.first() {
            notes.push(
                Diagnostic::error(
                    upstream.at,
                    "`upstream` is the short form for a scenario with one service",
                )
                .also(other.name.at, "services are given here")
                .hint("write this one as a `[services.NAME]` too"),
            );
        } else {
            let spec = ServiceSpec {
                name: Located { value: "target".to_owned(), at: upstream.at },
                url: Some(upstream.clone()),
                listen: None,
                host: None,
                tier: None,
                title: None,
            };
            services.push(service(&spec, never, notes));
        }
    }
    for spec in &scenario.services {
        if let Some(listen) = &spec.listen {
            listen_at(listen, notes);
        }
        services.push(service(spec, never, notes));
    }
    if services.is_empty() {
        let note = Diagnostic {
            at: None,
            ..Diagnostic::error(
                Place::default(),
                "no service: backburn does not know what it stands before",
            )
        };
        notes.push(note.hint(
            "write `[services.NAME]` with `url = \"http://HOST:PORT\"`, or give --upstream URL",
        ));
    }
    services
}

fn service(spec: &ServiceSpec, never: &dyn Fn(&str) -> bool, notes: &mut Diagnostics) -> Service {
    // Without a usable URL the service is still known by name, so that its routes raise no further
    // complaint; a missing key has been reported where it was read.
    let parts = spec.url.as_ref().map(|url| (url, upstream(&url.value)));
    let (host, port, authority) = match parts {
        Some((_, Ok(parts))) => parts,
        Some((url, Err((message, hint)))) => {
            notes.push(Diagnostic::error(url.at, message).hint(hint));
            (String::new(), 0, String::new())
        }
        None => (String::new(), 0, String::new()),
    };
    let never = never(&host);
    Service {
        name: spec.name.value.as_str().into(),
        url: spec.url.as_ref().map(|url| url.value.clone()).unwrap_or_default(),
        host,
        port,
        authority,
        listen: spec.listen.as_ref().map(|listen| listen.value),
        host_header: spec.host.as_ref().map_or(HostHeader::Keep, |host| host.value),
        tier: spec.tier.as_ref().map(|tier| tier.value.clone()),
        title: spec.title.as_ref().map(|title| title.value.clone()),
        never,
        unmatched: 0,
    }
}

/// Host, port and authority of a service's URL.
fn upstream(url: &str) -> Result<(String, u16, String), (String, &'static str)> {
    let example = "for example `http://127.0.0.1:9000`";
    let fail = |message: &str| Err((message.to_owned(), example));
    if url.contains('@') {
        // Nor is it shown: it may hold a password.
        return fail("a service's URL must not carry a user or password");
    }
    let Ok(uri) = url.parse::<Uri>() else { return fail("not a URL") };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https" | "h2c") => return fail("only `http` upstreams are served for now"),
        _ => return fail("a service's URL begins with `http://`"),
    }
    if url.contains('#') || uri.path_and_query().is_some_and(|path| path != "/") {
        return fail("a service's URL has no path: requests keep their own");
    }
    let Some(authority) = uri.authority() else { return fail("the URL names no host") };
    let port = match authority.port() {
        None if authority.as_str().ends_with(':') => return fail("the port is missing"),
        // The parser drops a port that is none.
        None if authority.as_str() != authority.host() => {
            return fail("a port lies between 1 and 65535");
        }
        None => 80,
        Some(port) => port.as_u16(),
    };
    if port == 0 {
        return fail("port 0 cannot be connected to");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return fail("the URL names no host");
    }
    Ok((host.to_owned(), port, authority.as_str().to_owned()))
}

/// The routes of the file, their rules for the matcher, and where each stands.
fn routes(
    scenario: &Scenario,
    services: &[Service],
    notes: &mut Diagnostics,
) -> (Vec<Route>, Vec<Rule>, Vec<Place>) {
    let mut routes = Vec::new();
    let mut rules = Vec::new();
    let mut places = Vec::new();
    if scenario.routes.is_empty() {
        for (id, service) in services.iter().enumerate() {
            let name = if services.len() == 1 {
                Arc::from("all")
            } else {
                format!("all-{}", service.name).into()
            };
            // Whatever comes in by the shared port goes to the first service without a port of
            // its own; only one of these can match there, and its rule stands first.
            rules.push(Rule {
                route: id as RouteId,
                service: id as ServiceId,
                path: vec![Segment::Rest],
                host: HostRule::Any,
                methods: Vec::new(),
            });
            routes.push(Route {
                name,
                service: id as ServiceId,
                protected: false,
                faults: Box::default(),
                slos: Box::default(),
            });
        }
        let first = services.iter().position(|service| service.listen.is_none()).unwrap_or(0);
        rules.sort_by_key(|rule| usize::from(rule.service) != first);
        return (routes, rules, places);
    }
    let names: Vec<&str> = services.iter().map(|service| &*service.name).collect();
    for spec in &scenario.routes {
        let service = match &spec.service {
            Some(name) => {
                let found = names.iter().position(|known| *known == name.value);
                if found.is_none() {
                    notes.push(unknown("service", name, &names));
                }
                found
            }
            None if services.len() > 1 => {
                let message =
                    format!("route `{}` does not say which service it belongs to", spec.name.value);
                notes.push(
                    Diagnostic::error(spec.name.at, message)
                        .hint(format!("add `service = \"…\"`: {}", names.join(", "))),
                );
                None
            }
            None => Some(0),
        };
        let path = path(spec, notes);
        let (host, methods) = (host(spec, notes), methods(spec, notes));
        let route = routes.len() as RouteId;
        let service = service.unwrap_or(0) as ServiceId;
        if let (Some(path), Some(host), Some(methods)) = (path, host, methods) {
            rules.push(Rule { route, service, path, host, methods });
            places.push(spec.name.at);
        }
        routes.push(Route {
            name: spec.name.value.as_str().into(),
            service,
            protected: spec.protected.as_ref().is_some_and(|protected| protected.value),
            faults: Box::default(),
            slos: Box::default(),
        });
    }
    (routes, rules, places)
}

fn path(spec: &RouteSpec, notes: &mut Diagnostics) -> Option<Vec<Segment>> {
    let Some(written) = &spec.path else { return Some(vec![Segment::Rest]) };
    let mut fail = |message: &str, hint: &str| {
        notes.push(Diagnostic::error(written.at, message).hint(hint));
        None
    };
    let Some(rest) = written.value.strip_prefix('/') else {
        return fail("a path begins with `/`", "for example `/api/orders/{id}`");
    };
    if written.value.contains(['?', '#', ' ']) {
        return fail("a path has no query, fragment or blank", "matching looks at the path alone");
    }
    let mut segments = Vec::new();
    let mut names = Vec::new();
    let pieces: Vec<&str> = rest.split('/').collect();
    if pieces.len() > SEGMENTS {
        // The matcher goes one call deeper a segment.
        return fail(
            "a path this long is none",
            &format!("at most {SEGMENTS} segments; `{{*rest}}` takes everything that is left"),
        );
    }
    for (at, piece) in pieces.iter().enumerate() {
        let inner = piece.strip_prefix('{').and_then(|piece| piece.strip_suffix('}'));
        if inner.is_some_and(|name| names.contains(&name)) {
            return fail("two parameters of one name", "each needs a name of its own");
        }
        names.extend(inner);
        match inner {
            Some(name) if name.starts_with('*') && at + 1 == pieces.len() => {
                segments.push(Segment::Rest);
            }
            Some(name) if name.starts_with('*') => {
                return fail("`{*rest}` takes everything that is left", "it can only stand last");
            }
            Some(name) if !name.is_empty() && !name.contains(['{', '}']) => {
                segments.push(Segment::Param);
            }
            _ if piece.contains(['{', '}', '*']) => {
                return fail(
                    "`{name}` is a whole segment",
                    "write `/api/{id}`, and `{*rest}` for everything that is left",
                );
            }
            _ => {
                let literal = super::matcher::decode_unreserved(piece);
                if matches!(&*literal, "." | "..") || (literal.is_empty() && at + 1 < pieces.len())
                {
                    // As it stands the route would match nothing, and protect nothing.
                    return fail(
                        "no request keeps an empty or a dot segment",
                        "write the path as it is after `//`, `/./` and `/../` are resolved",
                    );
                }
                segments.push(Segment::Literal(literal));
            }
        }
    }
    Some(segments)
}

fn host(spec: &RouteSpec, notes: &mut Diagnostics) -> Option<HostRule> {
    let Some(host) = &spec.host else { return Some(HostRule::Any) };
    let lower = host.value.to_ascii_lowercase();
    let (name, wildcard) = match lower.strip_prefix('*') {
        Some(suffix) => (suffix, true),
        None => (lower.as_str(), false),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let well_formed = !name.is_empty()
        && !name.contains("..")
        && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_[]:".contains(c))
        && (!wildcard || name.starts_with('.'))
        && (!name.contains(':') || (name.starts_with('[') && name.ends_with(']')));
    if !well_formed {
        notes.push(
            Diagnostic::error(host.at, "not a host")
                .hint("`api.example.com` or `*.example.com`; without a port"),
        );
        return None;
    }
    Some(if wildcard {
        HostRule::Suffix(name.to_owned())
    } else {
        HostRule::Exact(name.to_owned())
    })
}

fn methods(spec: &RouteSpec, notes: &mut Diagnostics) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    let mut whole = true;
    for written in &spec.methods {
        let upper = written.value.to_ascii_uppercase();
        match Method::from_bytes(upper.as_bytes()) {
            Ok(method) if upper == written.value => methods.push(method),
            Ok(_) => {
                whole = false;
                notes.push(
                    Diagnostic::error(written.at, "methods are written in capitals")
                        .hint(format!("`{upper}`")),
                );
            }
            Err(_) => {
                whole = false;
                notes
                    .push(Diagnostic::error(written.at, "not a method").hint("for example `POST`"));
            }
        }
    }
    whole.then_some(methods)
}

/// Two routes of equal rank that fit one request.
fn ambiguous(rules: &[Rule], places: &[Place], notes: &mut Diagnostics) {
    let mut seen: HashMap<(&[Segment], &HostRule), Vec<usize>> = HashMap::new();
    if places.is_empty() {
        return;
    }
    for (at, rule) in rules.iter().enumerate() {
        let same = seen.entry((&rule.path, &rule.host)).or_default();
        let tie = same.iter().find(|other| {
            let other = &rules[**other];
            match (rule.methods.is_empty(), other.methods.is_empty()) {
                (true, true) => true,
                (false, false) => rule.methods.iter().any(|method| other.methods.contains(method)),
                _ => false,
            }
        });
        if let Some(other) = tie {
            notes.push(
                Diagnostic::error(places[at], "two routes fit the same requests equally well")
                    .also(places[*other], "the other one")
                    .hint("tell them apart by path, host or methods"),
            );
        }
        same.push(at);
    }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
