//! `[routes]` → routes, and the rules by which requests find them.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, Method};

use super::compile::unknown;
use super::condition::{Conditions, Field, FieldPlace, Network, NotANetwork, Selector, Test};
use super::matcher::{HostRule, Rule, Segment};
use super::patterns::Patterns;
use super::{Route, RouteId, Service, ServiceId};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::scenario::{MatchSpec, RouteSpec, Says, Scenario};

/// How many segments a route's path may have.
const SEGMENTS: usize = 128;

/// The routes of the file, their rules for the matcher, and where each stands.
pub(super) fn compile(
    scenario: &Scenario,
    services: &[Service],
    patterns: &Patterns,
    notes: &mut Diagnostics,
) -> (Vec<Route>, Vec<Arc<Rule>>, Vec<Place>) {
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
            // Of these only the first one is ever met on the shared port.
            let rule = Arc::new(Rule {
                route: id as RouteId,
                service: id as ServiceId,
                path: vec![Segment::Rest],
                host: HostRule::Any,
                conditions: Conditions::default(),
            });
            rules.push(Arc::clone(&rule));
            routes.push(Route {
                name,
                service: id as ServiceId,
                protected: false,
                rule: Some(rule),
                operation: None,
                faults: Box::default(),
                slos: Box::default(),
                checks: Box::default(),
                excludes: Box::default(),
            });
        }
        return (routes, rules, places);
    }
    let names: Vec<&str> = services.iter().map(|service| &*service.name).collect();
    for spec in &scenario.routes {
        let service = match &spec.service {
            Some(name) => {
                let found = names.iter().position(|known| *known == name.value);
                // That there is none at all has been noted.
                if found.is_none() && !names.is_empty() {
                    notes.push(unknown("service", name, &names));
                }
                found
            }
            None if services.len() > 1 => {
                let message =
                    format!("route `{}` does not say which service it belongs to", spec.name.value);
                notes.push(Diagnostic::error(spec.name.at, message).hint(format!(
                    "such as `service = \"{}\"`; there is {}",
                    names[0],
                    names.join(", ")
                )));
                None
            }
            None => Some(0),
        };
        let path = path(spec, notes);
        let host = host(spec, notes);
        let conditions =
            conditions(&spec.methods, &spec.headers, &spec.query, &[], patterns, notes);
        let route = routes.len() as RouteId;
        let service = service.unwrap_or(0) as ServiceId;
        let mut rule = None;
        if let (Some(path), Some(host), Some(conditions)) = (path, host, conditions) {
            let known = Arc::new(Rule { route, service, path, host, conditions });
            rules.push(Arc::clone(&known));
            rule = Some(known);
            places.push(spec.name.at);
        }
        let operation = spec.operation.as_ref().and_then(|text| Selector::read(text, notes));
        routes.push(Route {
            name: spec.name.value.as_str().into(),
            service,
            protected: spec.protected.as_ref().is_some_and(|protected| protected.value),
            rule,
            operation,
            faults: Box::default(),
            slos: Box::default(),
            checks: Box::default(),
            excludes: Box::default(),
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

/// Reads conditions; `None` when one of them is none.
pub(super) fn conditions(
    methods: &[Located<String>],
    headers: &[MatchSpec],
    query: &[MatchSpec],
    clients: &[Located<String>],
    patterns: &Patterns,
    notes: &mut Diagnostics,
) -> Option<Conditions> {
    let before = notes.len();
    let methods = methods.iter().filter_map(|written| method(written, notes)).collect();
    let mut fields = Vec::new();
    for spec in headers {
        let Some(name) = field_name(spec, notes) else { continue };
        if name == http::header::HOST {
            notes.push(
                Diagnostic::error(spec.name.at, "`host` has a key of its own")
                    .hint("write `host = \"…\"` in the route"),
            );
        }
        fields.push((FieldPlace::Header(name), test(spec, patterns)));
    }
    for spec in query {
        fields.push((FieldPlace::Query(spec.name.value.clone()), test(spec, patterns)));
    }
    let mut networks = Vec::new();
    for client in clients {
        match client.value.parse::<Network>() {
            Ok(network) => networks.push(network),
            Err(NotANetwork::Prefix(longest)) => notes.push(
                Diagnostic::error(client.at, "the network's prefix length is out of range")
                    .hint(format!("0 to {longest}, as in `10.0.0.0/8`")),
            ),
            Err(NotANetwork::Address) => notes.push(
                Diagnostic::error(client.at, "not an address or a network")
                    .hint("for example `10.1.2.3` or `10.0.0.0/8`"),
            ),
        }
    }
    let fields = fields.into_iter().map(|(place, says)| Some(Field { place, says: says? }));
    let fields = fields.collect::<Option<Box<[_]>>>()?;
    let conditions = Conditions { methods, fields, clients: networks.into() };
    (notes.len() == before).then_some(conditions)
}

pub(super) fn field_name(spec: &MatchSpec, notes: &mut Diagnostics) -> Option<HeaderName> {
    let name = spec.name.value.parse().ok();
    if name.is_none() {
        notes.push(Diagnostic::error(spec.name.at, "not a header's name"));
    }
    name
}

/// `None`: its regular expression is none, which has been noted.
pub(super) fn test(spec: &MatchSpec, patterns: &Patterns) -> Option<Test> {
    Some(match &spec.says.value {
        Says::Exactly(text) => Test::Exactly(text.clone()),
        Says::Present(wanted) => Test::Present(*wanted),
        Says::Regex(text) => Test::Matches(patterns.get(text)?),
    })
}

fn method(written: &Located<String>, notes: &mut Diagnostics) -> Option<Method> {
    let upper = written.value.to_ascii_uppercase();
    match Method::from_bytes(upper.as_bytes()) {
        Ok(method) if upper == written.value => return Some(method),
        Ok(_) => notes.push(
            Diagnostic::error(written.at, "methods are written in capitals")
                .hint(format!("`{upper}`")),
        ),
        Err(_) => {
            notes.push(Diagnostic::error(written.at, "not a method").hint("for example `POST`"));
        }
    }
    None
}

/// Two routes of equal rank that fit one request. Routes of different services do not meet on the
/// port of either; on the shared port [`shared_first`] tells them apart, if it can.
pub(super) fn ambiguous(
    rules: &[Arc<Rule>],
    places: &[Place],
    services: &[Service],
    notes: &mut Diagnostics,
) {
    let own_port = |rule: &Rule| services.get(usize::from(rule.service))?.listen;
    let meet = |one: &Rule, other: &Rule| {
        one.service == other.service || (own_port(one).is_none() && own_port(other).is_none())
    };
    let mut seen: HashMap<(&[Segment], &HostRule), Vec<usize>> = HashMap::new();
    if places.is_empty() {
        return;
    }
    for (at, rule) in rules.iter().enumerate() {
        let same = seen.entry((&rule.path, &rule.host)).or_default();
        let tie = same.iter().find(|other| {
            let other = &rules[**other];
            meet(rule, other) && ties(&rule.conditions, &other.conditions)
        });
        if let Some(other) = tie {
            notes.push(
                Diagnostic::error(places[at], "two routes fit the same requests equally well")
                    .also(places[*other], "the other one")
                    .hint("tell them apart by path, host, methods, headers or query"),
            );
        }
        same.push(at);
    }
}

/// Of routes that rank alike, the matcher takes the first: on the shared port, one whose service is
/// reached by no other way comes before one whose service has a port of its own.
pub(super) fn shared_first(rules: &mut [Arc<Rule>], services: &[Service]) {
    rules.sort_by_key(|rule| {
        let service = services.get(usize::from(rule.service));
        (service.is_some_and(|service| service.listen.is_some()), rule.service)
    });
}

/// Some request may fit both, and neither is the more specific. Decided by how they are written:
/// whether two regular expressions have a text in common is not asked.
fn ties(one: &Conditions, other: &Conditions) -> bool {
    let methods = match (one.methods.is_empty(), other.methods.is_empty()) {
        (true, true) => true,
        (false, false) => one.methods.iter().any(|method| other.methods.contains(method)),
        _ => false,
    };
    // A field that must say two different things, or be there and not be there, tells them apart.
    let apart = one.fields.iter().any(|field| {
        other.fields.iter().any(|known| {
            known.place == field.place
                && match (&known.says, &field.says) {
                    (Test::Exactly(a), Test::Exactly(b)) => a != b,
                    (Test::Present(false), other) | (other, Test::Present(false)) => {
                        *other != Test::Present(false)
                    }
                    _ => false,
                }
        })
    });
    methods && one.fields.len() == other.fields.len() && !apart
}
