//! Scenario → plan: pure, and every mistake at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;

use super::faults::{self, Covered, Largest};
use super::matcher::Matcher;
use super::patterns::Patterns;
use super::{
    Plan, Route, RouteId, Sampling, Service, ServiceId, composites, phases, routes, safety, slos,
    warnings,
};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place, Severity};
use crate::scenario::{HostHeader, SamplingSpec, Scenario, ServiceSpec};
use crate::units::Share;

/// Compiles a scenario. A plan comes out when nothing is wrong; warnings do not count as wrong.
pub fn compile(scenario: &Scenario) -> (Option<Plan>, Diagnostics) {
    let (plan, mut notes) = compiled(scenario);
    for note in &mut notes {
        scenario.sources.redact(note);
    }
    (plan, notes)
}

fn compiled(scenario: &Scenario) -> (Option<Plan>, Diagnostics) {
    let mut notes = Diagnostics::new();
    let safety = safety::compile(&scenario.safety, &mut notes);
    let never = |host: &str| safety.is_never_host(host);
    let mut services = services(scenario, &never, &mut notes);
    let patterns = Patterns::compile(scenario, &mut notes);
    let (mut routes, mut rules, places) =
        routes::compile(scenario, &services, &patterns, &mut notes);
    routes::ambiguous(&rules, &places, &services, &mut notes);
    routes::shared_first(&mut rules, &services);
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
            rule: None,
            operation: None,
            faults: Box::default(),
            slos: Box::default(),
            checks: Box::default(),
            excludes: Box::default(),
        });
    }
    let mut covered = Covered { routes: &mut routes, named, services: &services };
    let largest = Largest::of(scenario, &mut notes);
    let faults = faults::compile(scenario, &mut covered, &largest, &patterns, &mut notes);
    let phases =
        phases::compile(scenario, &covered, (&faults, &largest), &patterns, &safety, &mut notes);
    let mut slos = slos::compile(scenario, &mut routes, named, &services, &patterns, &mut notes);
    let composites = composites::compile(scenario, &mut slos, &mut routes, &mut notes);
    let proxy = super::proxy::compile(&scenario.proxy, &mut notes);
    let most = usize::from(u16::MAX);
    for (what, count, at) in [
        ("services", services.len(), scenario.services.last().map(|spec| spec.name.at)),
        ("faults", faults.len(), scenario.faults.last().map(|spec| spec.name.at)),
        ("phases", phases.len(), scenario.phases.last().map(|spec| spec.name.at)),
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
        sampling: scenario.sampling.as_ref().and_then(sampling),
        proxy,
        services: services.into(),
        routes: routes.into(),
        faults: faults.into(),
        phases: phases.into(),
        slos: slos.into(),
        composites: composites.into(),
        matcher: Matcher::new(rules.iter().map(|rule| &**rule)),
        secrets: scenario.sources.secrets.clone(),
    };
    warnings::find(scenario, &plan, &mut notes);
    (Some(plan), notes)
}

fn sampling(spec: &SamplingSpec) -> Option<Sampling> {
    /// 1 %.
    const REST: u32 = Share::ONE.billionths() / 100;
    let rest = spec.rest.as_ref().map(|rest| rest.value);
    let rest = rest.or_else(|| Share::from_billionths(REST))?;
    let max_size = spec.max_size.as_ref().map_or(1 << 30, |size| size.value.0);
    Some(Sampling { file: PathBuf::from(&spec.file.as_ref()?.value), rest, max_size })
}

/// What a scenario without a name is called: its first file's name.
fn file_name(scenario: &Scenario) -> String {
    let file = scenario.sources.files.first().map(|source| std::path::Path::new(&source.name));
    let stem = file.and_then(std::path::Path::file_stem).and_then(std::ffi::OsStr::to_str);
    stem.unwrap_or("drill").to_owned()
}

/// A name nobody knows, with what to write instead.
pub(super) fn unknown(what: &str, name: &Located<String>, known: &[&str]) -> Diagnostic {
    Diagnostic::error(name.at, format!("there is no {what} `{}`", name.value))
        .hint(crate::document::instead(&name.value, known.iter().copied()))
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
                .hint(format!(
                    "leave it out (as --upstream, too); `--set \
                     services.{}.url=http://127.0.0.1:9000` says where that one is",
                    other.name.value
                )),
            );
        } else {
            let spec = ServiceSpec {
                name: Located { value: "target".to_owned(), at: upstream.at },
                url: Some(upstream.clone()),
                listen: None,
                protocol: None,
                tls: None,
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
        // By the name that is asked for, where one is.
        let asked = scenario.routes.iter().find_map(|route| route.service.as_ref());
        let asked = asked.or(scenario.slos.iter().find_map(|slo| slo.service.as_ref()));
        let name = asked.map_or("shop", |asked| &*asked.value);
        notes.push(note.hint(format!(
            "write `[services.{name}]` and below it `url = \"http://127.0.0.1:9000\"`, or give \
             `--upstream http://127.0.0.1:9000`"
        )));
    }
    services
}

fn service(spec: &ServiceSpec, never: &dyn Fn(&str) -> bool, notes: &mut Diagnostics) -> Service {
    // Without a usable URL the service is still known by name, so that its routes raise no further
    // complaint; a missing key has been reported where it was read.
    let parts = spec.url.as_ref().map(|url| (url, upstream(&url.value)));
    let url = spec.url.as_ref().map_or("", |url| &url.value);
    let protocol = super::service::protocol(url, spec.protocol.as_ref(), notes);
    let (host, port, authority) = match parts {
        Some((_, Ok(parts))) => parts,
        Some((url, Err((message, hint)))) => {
            notes.push(Diagnostic::error(url.at, message).hint(hint));
            (String::new(), 0, String::new())
        }
        None => (String::new(), 0, String::new()),
    };
    let never = never(&host);
    // Over TLS a server often goes by the name it is asked for.
    let https = url.starts_with("https://");
    let host_header = if https { HostHeader::Upstream } else { HostHeader::Keep };
    let written = spec.url.as_ref();
    let tls = written.and_then(|url| super::tls::service(url, &host, spec.tls.as_ref(), notes));
    Service {
        name: spec.name.value.as_str().into(),
        url: spec.url.as_ref().map(|url| url.value.clone()).unwrap_or_default(),
        host,
        port,
        authority,
        listen: spec.listen.as_ref().map(|listen| listen.value),
        protocol,
        host_header: spec.host.as_ref().map_or(host_header, |host| host.value),
        tls: tls.map(Arc::new),
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
        Some("http" | "https" | "h2c") => {}
        _ => return fail("a service's URL begins with `http://`, `https://` or `h2c://`"),
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
        None if uri.scheme_str() == Some("https") => 443,
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

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
