//! Istio's `VirtualService`: its HTTP routes, where they go, and the faults they carry. A match that
//! cannot be said here is left out, and told: without it a fault would hit more.

use super::Wrong;
use super::document::{Entry, Fields, Node};
use super::draft::{Draft, Fault, Route, Service, latency, quoted};
use crate::diagnostic::{Diagnostic, Place};
use crate::fault::grpc;
use crate::plan::condition::Pattern;
use crate::units::{self, Share};

/// The first port of services that need one each.
const FIRST_PORT: usize = 8910;

/// The virtual services among some documents; a list of them is one document.
pub(super) fn among(documents: &[Node]) -> Vec<&Node> {
    let is = |node: &&Node| node.get("kind").and_then(Node::scalar) == Some("VirtualService");
    let listed = documents.iter().filter_map(|node| node.get("items")).flat_map(Node::items);
    documents.iter().chain(listed).filter(is).collect()
}

/// One HTTP route, before the services are known.
struct Found<'d> {
    name: String,
    at: Place,
    matches: &'d [Node],
    /// The first destination's host and port.
    service: Option<String>,
    comments: Vec<String>,
    fault: Option<Fields<'d>>,
}

pub(super) fn read(virtual_services: &[&Node], draft: &mut Draft<'_>) {
    let mut found = Vec::new();
    for node in virtual_services {
        if let Err(wrong) = routes(node, &mut found, draft) {
            draft.notes.push(*wrong);
        }
    }
    if found.iter().all(|route| route.fault.is_none()) {
        let note = Diagnostic::nowhere("no `fault` in any HTTP route of its virtual services");
        draft.notes.push(note.hint("`spec.http[].fault` is what is read"));
        return;
    }
    let services = services(&found, draft);
    let several = services.len() > 1;
    for route in found {
        let service = services.iter().find(|(known, _)| Some(known) == route.service.as_ref());
        let service = service.map(|(_, name)| name.clone()).filter(|_| several);
        if let Err(wrong) = one(route, service.as_deref(), draft) {
            draft.notes.push(*wrong);
        }
    }
}

fn routes<'d>(
    node: &'d Node,
    found: &mut Vec<Found<'d>>,
    draft: &mut Draft<'_>,
) -> Result<(), Wrong> {
    let mut fields = Fields::of(node)?;
    let mut metadata = fields.map("metadata")?;
    let name = metadata.as_mut().and_then(|it| it.text("name").transpose()).transpose()?;
    let name = name.unwrap_or("route");
    let Some(mut spec) = fields.map("spec")? else {
        return Err(Diagnostic::error(node.at, "a VirtualService has a `spec`").into());
    };
    let https = spec.list("http")?;
    for (n, http) in https.iter().enumerate() {
        let mut fields = Fields::of(http)?;
        let own = fields.text("name")?.map(str::to_owned);
        let own = own.unwrap_or_else(|| {
            if https.len() > 1 { format!("{name}-{}", n + 1) } else { name.to_owned() }
        });
        let mut comments = Vec::new();
        let destinations = fields.list("route")?;
        if let [_, second, ..] = destinations {
            let what = "all destinations of a route but the first";
            draft.lost(&mut comments, second.at, what, "a route goes to one service");
        }
        let service = destinations.first().map(destination).transpose()?.flatten();
        found.push(Found {
            name: own,
            at: http.at,
            matches: fields.list("match")?,
            service,
            comments,
            fault: fields.map("fault")?,
        });
    }
    Ok(())
}

/// `HOST` or `HOST:PORT`.
fn destination(node: &Node) -> Result<Option<String>, Wrong> {
    let Some(mut fields) = Fields::of(node)?.map("destination")? else { return Ok(None) };
    let Some(host) = fields.text("host")? else { return Ok(None) };
    let port = fields.map("port")?.map(|mut port| port.count("number")).transpose()?.flatten();
    Ok(Some(port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))))
}

/// The services that routes go to, by their destination.
fn services(found: &[Found<'_>], draft: &mut Draft<'_>) -> Vec<(String, String)> {
    let mut known: Vec<(&String, Place)> = Vec::new();
    for route in found {
        if let Some(service) = &route.service
            && !known.iter().any(|(seen, _)| *seen == service)
        {
            known.push((service, route.at));
        }
    }
    let several = known.len() > 1;
    let mut services = Vec::new();
    for (n, (address, at)) in known.into_iter().enumerate() {
        let host = address.split(':').next().unwrap_or(address);
        let name = draft.name(host.split('.').next().unwrap_or(host));
        let mut service = Service {
            name: name.clone(),
            title: (name != *host).then(|| host.to_owned()),
            url: format!("http://{address}"),
            ..Service::default()
        };
        if several {
            service.comments.push("A port of its own, chosen here: callers go there.".to_owned());
            service.listen = Some(format!("127.0.0.1:{}", FIRST_PORT + n));
        }
        draft.service(service, at);
        services.push((address.clone(), name));
    }
    if services.is_empty() {
        let at = found.first().map_or(Place::default(), |route| route.at);
        let name = draft.name("target");
        let mut service =
            Service { name, url: "http://127.0.0.1:3000".to_owned(), ..Service::default() };
        let what = "the rules do not say where the service is";
        draft.told(&mut service.comments, at, what, "write its `url`");
        draft.service(service, at);
    }
    services
}

/// One HTTP route and its faults.
fn one(found: Found<'_>, service: Option<&str>, draft: &mut Draft<'_>) -> Result<(), Wrong> {
    let Found { name, at, matches, mut comments, fault, .. } = found;
    let mut names = Vec::new();
    if matches.is_empty() {
        names.extend(route(&name, Vec::new(), service, &mut comments, at, draft));
    }
    for node in matches {
        let mut lost = Vec::new();
        let keys = conditions(node, &mut lost, draft)?;
        match keys {
            Some(keys) => {
                comments.extend(lost);
                names.extend(route(&name, keys, service, &mut comments, node.at, draft));
            }
            None => draft.route(Route { comments: lost, ..Route::default() }, node.at),
        }
    }
    let Some(mut fault) = fault else { return Ok(()) };
    for (kind, injects) in [
        ("delay", delay as fn(&mut Fields<'_>) -> Result<Injects, Wrong>),
        ("abort", abort as fn(&mut Fields<'_>) -> Result<Injects, Wrong>),
    ] {
        let Some(mut fields) = fault.map(kind)? else { continue };
        let at = fields.at;
        let mut comments = vec![format!("The route's {kind}, {}.", draft.line(at))];
        let probability = share(&mut fields)?;
        if probability.billionths() == 0 {
            let what = format!("a {kind} without a `percentage`");
            draft.told(&mut comments, at, &what, "Istio takes that for never");
        }
        let inject = injects(&mut fields)?;
        for left in fields.rest() {
            let what = format!("`{}` of the {kind}", left.key);
            draft.lost(&mut comments, left.key_at, &what, "there is nothing like it");
        }
        let inject = match inject {
            Some(inject) if !names.is_empty() => vec![inject],
            _ => {
                comments
                    .push("No request is left that it could hit, or it says nothing.".to_owned());
                Vec::new()
            }
        };
        let fault = Fault {
            name: draft.name(&format!("{name}-{kind}")),
            comments,
            routes: names.clone(),
            probability: Some(probability),
            inject,
            ..Fault::default()
        };
        draft.fault(fault, at);
    }
    Ok(())
}

fn route(
    name: &str,
    mut keys: Vec<(String, String)>,
    service: Option<&str>,
    comments: &mut Vec<String>,
    at: Place,
    draft: &mut Draft<'_>,
) -> Option<String> {
    if let Some(service) = service {
        keys.insert(0, ("service".to_owned(), quoted(service)));
    }
    let mut route = Route { name: draft.name(name), keys, comments: Vec::new() };
    if draft.ties(&route) {
        let what = "a route of requests that are another's too, or that cannot be said";
        draft.lost(comments, at, what, "there the first has them, here neither would be first");
        route = Route::default();
    }
    let name = route.name.clone();
    route.comments = std::mem::take(comments);
    draft.route(route, at);
    (!name.is_empty()).then_some(name)
}

/// A match as a route's keys, with their values in TOML; `None`: it cannot be said.
fn conditions(
    node: &Node,
    lost: &mut Vec<String>,
    draft: &mut Draft<'_>,
) -> Result<Option<Vec<(String, String)>>, Wrong> {
    let mut fields = Fields::of(node)?;
    fields.take("name");
    let mut keys: Vec<(String, String)> = Vec::new();
    let mut unsayable: Vec<(Place, String, &str)> = Vec::new();
    if let Some(uri) = fields.map("uri")? {
        let at = uri.at;
        match path(uri)? {
            Some(path) => keys.push(("path".to_owned(), quoted(&path))),
            None => unsayable.push((
                at,
                "the match of a URI".to_owned(),
                "paths are literal here, or end in anything",
            )),
        }
    }
    if let Some(method) = fields.map("method")? {
        let at = method.at;
        match says(method)? {
            Some(Says::Exactly(method)) => {
                keys.push(("methods".to_owned(), format!("[{}]", quoted(&method))));
            }
            _ => unsayable.push((at, "the match of a method".to_owned(), "methods are named here")),
        }
    }
    for (list, ours) in [("headers", "headers"), ("queryParams", "query")] {
        for Entry { key, key_at, value } in
            fields.take(list).map(|it| it.value.entries()).unwrap_or_default()
        {
            let says = says(Fields::of(value).unwrap_or_else(|_| Fields::empty(*key_at)))?;
            let condition = match says {
                Some(Says::Exactly(text)) => quoted(&text),
                Some(Says::Regex(text)) if Pattern::new(&text).is_ok() => {
                    format!("{{ regex = {} }}", quoted(&text))
                }
                Some(Says::Present) => "{ present = true }".to_owned(),
                _ => {
                    let why = "its regular expression is not one here";
                    unsayable.push((*key_at, format!("the match of `{key}`"), why));
                    continue;
                }
            };
            if ours == "headers" && key.parse::<http::HeaderName>().is_err() {
                let why = "it is no header field's name";
                unsayable.push((*key_at, format!("the match of `{key}`"), why));
                continue;
            }
            let bare = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            let bare = bare && !key.is_empty();
            let key = if bare { key.clone() } else { quoted(key) };
            keys.push((format!("{ours}.{key}"), condition));
        }
    }
    for left in fields.rest() {
        let why = "there is no such condition";
        unsayable.push((left.key_at, format!("`{}` of a match", left.key), why));
    }
    let sayable = unsayable.is_empty();
    for (at, what, why) in unsayable {
        draft.lost(lost, at, &what, &format!("{why}. Its requests have no route here"));
    }
    Ok(sayable.then_some(keys))
}

/// A URI's match as a path's template.
fn path(uri: Fields<'_>) -> Result<Option<String>, Wrong> {
    let mut uri = uri;
    let exact = uri.text("exact")?.map(str::to_owned);
    let prefix = uri.text("prefix")?.map(|prefix| prefix.trim_end_matches('/').to_owned());
    let is_all = uri.rest().next().is_none();
    let path = match (exact, prefix) {
        (Some(exact), None) => Some(exact),
        (None, Some(prefix)) => Some(format!("{prefix}/{{*rest}}")),
        _ => None,
    };
    // Braces would be parameters.
    let literal = |path: &String| {
        path.starts_with('/') && !path.trim_end_matches("/{*rest}").contains(['{', '}'])
    };
    Ok(path.filter(|path| is_all && literal(path)))
}

enum Says {
    Exactly(String),
    Regex(String),
    Present,
}

/// Istio's `StringMatch`; an empty one asks for presence.
fn says(fields: Fields<'_>) -> Result<Option<Says>, Wrong> {
    let mut fields = fields;
    let exact = fields.text("exact")?.map(str::to_owned);
    let prefix = fields.text("prefix")?.map(|text| format!("^{}", regex::escape(text)));
    // RE2, of the whole value.
    let regex = fields.text("regex")?.map(|text| format!("^(?:{text})$"));
    if fields.rest().next().is_some() {
        return Ok(None);
    }
    Ok(match (exact, prefix.or(regex)) {
        (Some(exact), None) => Some(Says::Exactly(exact)),
        (None, Some(regex)) => Some(Says::Regex(regex)),
        (None, None) => Some(Says::Present),
        (Some(_), Some(_)) => None,
    })
}

/// `percentage.value`, in hundredths; `percent` in old files; 0 where neither is there.
fn share(fields: &mut Fields<'_>) -> Result<Share, Wrong> {
    let old = fields.number("percent")?;
    let at = fields.at;
    let percentage = fields.map("percentage")?;
    let value = percentage.map(|mut it| it.number("value")).transpose()?.flatten();
    let percent = value.or(old).unwrap_or_default();
    if !(0.0..=100.0).contains(&percent) {
        return Err(Diagnostic::error(at, format!("{percent} is no percentage")).into());
    }
    Ok(Share::from_billionths((percent * 1e7).round() as u32).unwrap_or(Share::ONE))
}

type Injects = Option<(&'static str, String)>;

fn delay(fields: &mut Fields<'_>) -> Result<Injects, Wrong> {
    let at = fields.at;
    let Some(text) = fields.text("fixedDelay")? else { return Ok(None) };
    match units::duration(text) {
        Ok(time) if time.is_zero() => {
            Err(Diagnostic::error(at, "`fixedDelay` has to be longer than 0").into())
        }
        Ok(time) => Ok(Some(("latency", latency(time, false)))),
        Err(why) => {
            let message = format!("`fixedDelay` is no duration: {}", why.message);
            Err(Diagnostic::error(at, message).into())
        }
    }
}

fn abort(fields: &mut Fields<'_>) -> Result<Injects, Wrong> {
    let at = fields.at;
    let (status, grpc) = (fields.count("httpStatus")?, fields.text("grpcStatus")?);
    let body = quoted("fault filter abort");
    match (status, grpc) {
        (Some(_), Some(_)) => {
            Err(Diagnostic::error(at, "`httpStatus` or `grpcStatus`, not both").into())
        }
        (Some(status @ (204 | 304)), None) => Ok(Some(("error", status.to_string()))),
        (Some(status @ 200..600), None) => {
            Ok(Some(("error", format!("{{ status = {status}, body = {body} }}"))))
        }
        (Some(status), None) => {
            let message = format!("`httpStatus` {status} is not within 200 to 599");
            Err(Diagnostic::error(at, message).into())
        }
        (None, Some(name)) if grpc::STATUSES.contains(&name) => {
            Ok(Some(("error", format!("{{ grpc_status = \"{name}\", body = {body} }}"))))
        }
        (None, Some(name)) => {
            Err(Diagnostic::error(at, format!("\"{name}\" is no gRPC status")).into())
        }
        (None, None) => Ok(None),
    }
}
