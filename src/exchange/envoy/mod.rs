//! Envoy's HTTP fault filter (`envoy.extensions.filters.http.fault.v3.HTTPFault`): alone, in a list
//! of filters, or anywhere in a configuration. What narrows a fault there and cannot be said here
//! leaves the fault off: without it, it would hit more.

use super::document::{Content, Entry, Fields, Node, is};
use super::draft::{Draft, Fault, Service, latency, quoted};
use super::{Format, Wrong, istio};
use crate::diagnostic::{Diagnostic, Place};
use crate::fault::grpc;
use crate::units::{self, Share};

mod matcher;

/// Envoy's HTTP fault filter.
pub const FORMAT: Format = Format {
    verb: "envoy-fault",
    differences: &[
        "Only fault filters are read, and where their clusters are; no routes, no listeners. Of \
         Istio's virtual services: matches, destinations, and faults.",
        "Of several routes the most specific has a request here, not the first; `/a` as a prefix \
         takes no `/ab`.",
        "`max_active` counts each fault by itself, not a filter's delays and aborts together.",
        "Health checks (/healthz and the like) are spared here, unless `[safety] fault_health = true`.",
        "A filter stays until it is taken out. A drill ends by itself, after 4h where `[safety] \
         max_drill` says nothing else.",
    ],
    read,
};

/// What makes a document a filter of its own.
const OWN_KEYS: [&str; 3] = ["delay", "abort", "response_rate_limit"];
/// Says which node a request comes from.
const NODE: &str = "x-envoy-downstream-service-node";
/// The first port of services that need one each.
const FIRST_PORT: usize = 8910;

/// A filter, and what is known of it from around it.
struct Found<'d> {
    node: &'d Node,
    /// It overrides another for one route or host.
    per_route: bool,
    disabled: bool,
}

fn read(documents: &[Node], draft: &mut Draft<'_>) {
    let virtual_services = istio::among(documents);
    if !virtual_services.is_empty() {
        return istio::read(&virtual_services, draft);
    }
    let mut found = Vec::new();
    for document in documents {
        find(document, false, &mut found);
    }
    if found.is_empty() {
        let alone =
            documents.iter().filter(|node| OWN_KEYS.iter().any(|key| node.get(key).is_some()));
        found.extend(alone.map(|node| Found { node, per_route: false, disabled: false }));
    }
    if found.is_empty() {
        let note = Diagnostic::nowhere("no HTTP fault filter in it");
        let hint = "looked for envoy.filters.http.fault, for \"@type\": …HTTPFault, and for a \
                    document with `delay`, `abort` or `response_rate_limit`";
        draft.notes.push(note.hint(hint));
        return;
    }
    let clusters = services(documents, &found, draft);
    for (n, filter) in found.iter().enumerate() {
        let number = (found.len() > 1).then_some(n + 1);
        if let Err(wrong) = self::filter(filter, number, &clusters, draft) {
            draft.notes.push(*wrong);
        }
    }
}

/// Whether a type's URL names the filter, of whatever version.
fn is_fault(node: Option<&Node>) -> bool {
    let url = node.and_then(Node::scalar).unwrap_or_default();
    url.rsplit('.').next() == Some("HTTPFault")
}

fn find<'d>(node: &'d Node, per_route: bool, found: &mut Vec<Found<'d>>) {
    let named = |name: &str| matches!(name, "envoy.filters.http.fault" | "envoy.fault");
    // In a typed struct the filter is the value.
    let inner = |node: &'d Node| match node.get("value") {
        Some(value) if is_fault(node.get("type_url")) => value,
        _ => node,
    };
    if is_fault(node.get("@type")) || is_fault(node.get("type_url")) {
        return found.push(Found { node: inner(node), per_route, disabled: false });
    }
    if node.get("name").and_then(Node::scalar).is_some_and(named) {
        let disabled = node.get("disabled").and_then(Node::scalar) == Some("true");
        let config = node.get("typed_config").or_else(|| node.get("config"));
        if let Some(config) = config {
            return found.push(Found { node: inner(config), per_route, disabled });
        }
    }
    for item in node.items() {
        find(item, per_route, found);
    }
    for Entry { key, value, .. } in node.entries() {
        let overrides = is(key, "typed_per_filter_config") || is(key, "per_filter_config");
        if overrides {
            // Old versions leave the type out: the key says it.
            for entry in value.entries() {
                let typed = entry.value.get("@type").is_some();
                if named(&entry.key) && !typed {
                    found.push(Found { node: &entry.value, per_route: true, disabled: false });
                } else {
                    find(&entry.value, true, found);
                }
            }
        } else {
            find(value, per_route, found);
        }
    }
}

/// The services that the filters are for, by the cluster's name.
fn services<'d>(
    documents: &'d [Node],
    found: &[Found<'d>],
    draft: &mut Draft<'_>,
) -> Vec<(&'d str, String)> {
    let mut clusters: Vec<(&str, Place)> = Vec::new();
    for filter in found {
        if let Some(node) = filter.node.get("upstream_cluster")
            && let Some(name) = node.scalar().filter(|name| !name.is_empty())
            && !clusters.iter().any(|(known, _)| *known == name)
        {
            clusters.push((name, node.at));
        }
    }
    let several = clusters.len() > 1;
    if clusters.is_empty() {
        let at = found.first().map_or(Place::default(), |filter| filter.node.at);
        unknown_url(Service { name: draft.name("target"), ..Service::default() }, at, draft);
    }
    let mut services = Vec::new();
    for (n, (cluster, at)) in clusters.into_iter().enumerate() {
        let name = draft.name(cluster);
        let mut service = Service {
            title: (name != cluster).then(|| cluster.to_owned()),
            name: name.clone(),
            ..Service::default()
        };
        if several {
            service.comments.push("A port of its own, chosen here: callers go there.".to_owned());
            service.listen = Some(format!("127.0.0.1:{}", FIRST_PORT + n));
        }
        match documents.iter().find_map(|node| self::cluster(node, cluster)) {
            Some(node) => {
                let scheme = tls(node, cluster, &mut service, draft);
                match endpoint(node) {
                    Some((authority, at)) => {
                        let url = format!("{scheme}://{authority}");
                        draft.service(Service { url, ..service }, at);
                    }
                    None => unknown_url(service, at, draft),
                }
            }
            None => unknown_url(service, at, draft),
        }
        services.push((cluster, name));
    }
    services
}

/// The scheme a cluster is spoken to with, and what of its TLS is not taken over.
fn tls(node: &Node, cluster: &str, service: &mut Service, draft: &mut Draft<'_>) -> &'static str {
    let Some(socket) = node.get("transport_socket") else { return "http" };
    let config = socket.get("typed_config");
    let kind = config.and_then(|config| config.get("@type")).and_then(Node::scalar);
    let name = socket.get("name").and_then(Node::scalar);
    match kind.or(name).and_then(|kind| kind.rsplit('.').next()) {
        Some("UpstreamTlsContext" | "tls") => {}
        Some("RawBuffer" | "raw_buffer") => return "http",
        other => {
            let what = format!("transport socket `{}`", other.unwrap_or_default());
            let why = "http and https are spoken; https is taken here";
            draft.lost(&mut service.comments, socket.at, &what, why);
            return "https";
        }
    }
    // Envoy hands on the caller's; here an https service gets its own name otherwise.
    service.more.push(("host", quoted("keep")));
    for Entry { key, key_at, value } in config.into_iter().flat_map(Node::entries) {
        match value.scalar() {
            _ if key == "@type" => {}
            Some(sni) if key == "sni" => {
                service.more.push(("tls", format!("{{ server_name = {} }}", quoted(sni))));
            }
            _ => {
                let what = format!("`{key}` of the TLS towards cluster `{cluster}`");
                let why = if is(key, "common_tls_context") {
                    "certificates and whom to believe are in `tls = { ca, cert, key }` of the \
                     service; without, the system's authorities vouch for it"
                } else {
                    "there is no such key in `tls` of a service"
                };
                draft.lost(&mut service.comments, *key_at, &what, why);
            }
        }
    }
    "https"
}

fn unknown_url(mut service: Service, at: Place, draft: &mut Draft<'_>) {
    let what = format!("the rules do not say where service `{}` is", service.name);
    draft.told(&mut service.comments, at, &what, "write its `url`");
    let url = "http://127.0.0.1:3000".to_owned();
    draft.service(Service { url, ..service }, at);
}

/// The cluster of a name, with its endpoints.
fn cluster<'d>(node: &'d Node, name: &str) -> Option<&'d Node> {
    let here = node.get("name").and_then(Node::scalar) == Some(name)
        && (node.get("load_assignment").is_some() || node.get("hosts").is_some());
    if here {
        return Some(node);
    }
    let below = node.entries().iter().map(|entry| &entry.value).chain(node.items());
    below.into_iter().find_map(|node| cluster(node, name))
}

/// Where the first of its endpoints is: host and port.
fn endpoint(node: &Node) -> Option<(String, Place)> {
    if let Some(socket) = node.get("socket_address") {
        let (address, port) = (socket.get("address")?, socket.get("port_value")?.scalar()?);
        let host = address.scalar()?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        return Some((format!("{host}:{port}"), address.at));
    }
    let below = node.entries().iter().map(|entry| &entry.value).chain(node.items());
    below.into_iter().find_map(endpoint)
}

/// What a filter's faults have in common.
struct Shared {
    /// Before the faults' names.
    prefix: String,
    service: Option<String>,
    comments: Vec<String>,
    off: bool,
    max_active: Option<u64>,
    only: Vec<(String, String)>,
}

fn filter(
    found: &Found<'_>,
    number: Option<usize>,
    clusters: &[(&str, String)],
    draft: &mut Draft<'_>,
) -> Result<(), Wrong> {
    let mut fields = Fields::of(found.node)?;
    let at = fields.at;
    fields.take("@type");
    let cluster = fields.text("upstream_cluster")?.filter(|name| !name.is_empty());
    let service = clusters.iter().find(|(known, _)| Some(*known) == cluster);
    let service = service.map(|(_, name)| name.clone());
    let mut shared = Shared {
        prefix: match (&service, number) {
            (Some(service), _) => format!("{service}-"),
            (None, Some(number)) => format!("filter-{number}-"),
            (None, None) => String::new(),
        },
        service,
        comments: Vec::new(),
        off: found.disabled,
        max_active: None,
        only: Vec::new(),
    };
    if found.disabled {
        shared.comments.push("Off: the filter is disabled there.".to_owned());
    }
    if found.per_route {
        let why = "off: give its requests a route, and name that in `routes`";
        draft.lost(&mut shared.comments, at, "a filter of one route or host", why);
        shared.off = true;
    }
    if let Some(most) = fields.count("max_active_faults")? {
        if most == 0 {
            shared.comments.push("Off: `max_active_faults` is 0 there.".to_owned());
            shared.off = true;
        } else {
            // No instance holds more than the most there can be.
            shared.max_active = Some(most.min(1_000_000));
        }
    }
    conditions(&mut fields, &mut shared, draft)?;
    let (delay, abort) = (fields.map("delay")?, fields.map("abort")?);
    let limit = fields.map("response_rate_limit")?;
    let empty = delay.is_none() && abort.is_none() && limit.is_none();
    for left in fields.rest() {
        let what = format!("`{}`", left.key);
        let why = why_not(&left.key);
        draft.lost(&mut shared.comments, left.key_at, &what, why);
    }
    if empty {
        let what = "a filter that injects nothing by itself";
        draft.told(&mut shared.comments, at, what, "it has no fault here");
        draft.fault(Fault { comments: shared.comments, ..Fault::default() }, at);
        return Ok(());
    }
    // Each is rolled by itself, the delay first.
    for (kind, fields) in [("delay", delay), ("abort", abort), ("rate-limit", limit)] {
        if let Some(fields) = fields
            && let Err(wrong) = one(kind, fields, &shared, draft)
        {
            draft.notes.push(*wrong);
        }
    }
    Ok(())
}

fn why_not(key: &str) -> &'static str {
    if key.to_ascii_lowercase().ends_with("runtime") {
        "there are no runtime keys; `backburn set FAULT.KEY=VALUE` changes a fault that runs"
    } else if is(key, "disable_downstream_cluster_stats") || is(key, "filter_metadata") {
        "it concerns Envoy's own records"
    } else {
        "the filter has no such key that backburn knows"
    }
}

/// Whom the filter hits.
fn conditions(
    fields: &mut Fields<'_>,
    shared: &mut Shared,
    draft: &mut Draft<'_>,
) -> Result<(), Wrong> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for node in fields.list("headers")? {
        let Some((what, why)) = matcher::read(node, &mut headers, &mut shared.only)? else {
            continue;
        };
        draft.lost(&mut shared.comments, node.at, &what, &format!("{why}. The fault is off"));
        shared.off = true;
    }
    let nodes = fields.list("downstream_nodes")?;
    let names: Option<Vec<&str>> = nodes.iter().map(Node::scalar).collect();
    match names.as_deref() {
        Some([]) => {}
        Some([one]) => headers.push((NODE.to_owned(), quoted(one))),
        Some(several) => {
            let any: Vec<String> = several.iter().map(|name| regex::escape(name)).collect();
            headers.push((NODE.to_owned(), matcher::regex(&format!("^(?:{})$", any.join("|")))));
        }
        None => {
            let message = "`downstream_nodes` has to be a list of texts";
            return Err(Diagnostic::error(fields.at, message).into());
        }
    }
    let named = |(name, says)| (format!("headers.{name}"), says);
    shared.only.extend(headers.into_iter().map(named));
    Ok(())
}

/// One of a filter's faults.
fn one(
    kind: &'static str,
    mut fields: Fields<'_>,
    shared: &Shared,
    draft: &mut Draft<'_>,
) -> Result<(), Wrong> {
    let at = fields.at;
    let mut comments = vec![format!("The filter's {kind}, {}.", draft.line(at))];
    comments.extend(shared.comments.iter().cloned());
    let probability = share(&mut fields, &mut comments, draft)?;
    let inject = match kind {
        "delay" => delay(&mut fields)?,
        "abort" => abort(&mut fields)?,
        _ => rate_limit(&mut fields)?,
    };
    for (key, caller) in [
        ("header_delay", "x-envoy-fault-delay-request"),
        ("header_abort", "x-envoy-fault-abort-request"),
        ("header_limit", "x-envoy-fault-throughput-response"),
    ] {
        if let Some(entry) = fields.take(key) {
            let what = format!("`{key}`: callers ask for it with `{caller}`");
            let why = "callers have no say in a drill";
            draft.lost(&mut comments, entry.key_at, &what, why);
        }
    }
    if inject.is_none() && comments.len() == 1 + shared.comments.len() {
        draft.told(
            &mut comments,
            at,
            &format!("a {kind} that says nothing"),
            "it is no fault here",
        );
    }
    for left in fields.rest() {
        let (what, why) = (format!("`{}` of the {kind}", left.key), why_not(&left.key));
        draft.lost(&mut comments, left.key_at, &what, why);
    }
    let fault = Fault {
        name: draft.name(&format!("{}{kind}", shared.prefix)),
        routes: Vec::new(),
        service: shared.service.clone(),
        comments,
        off: shared.off,
        probability: Some(probability),
        max_active: shared.max_active,
        only: shared.only.clone(),
        inject: inject.into_iter().collect(),
    };
    draft.fault(fault, at);
    Ok(())
}

/// `percentage`, which is 0 where it is left out; `percent` in old files.
fn share(
    fields: &mut Fields<'_>,
    comments: &mut Vec<String>,
    draft: &mut Draft<'_>,
) -> Result<Share, Wrong> {
    let at = fields.at;
    let old = fields.count("percent")?;
    let percentage = fields.map("percentage")?;
    let (numerator, of) = match (percentage, old) {
        (None, Some(percent)) => (percent, 100),
        (None, None) => {
            draft.notes.push(
                Diagnostic::warning(at, "no `percentage`: Envoy takes that for never")
                    .hint("the fault has `probability = \"0%\"`; write the share that is meant"),
            );
            comments.push("No percentage: Envoy takes that for never.".to_owned());
            (0, 100)
        }
        (Some(mut percentage), _) => {
            let numerator = percentage.count("numerator")?.unwrap_or_default();
            let of_at = percentage.at;
            let of = match percentage.text("denominator")? {
                None | Some("HUNDRED" | "0") => 100,
                Some("TEN_THOUSAND" | "1") => 10_000,
                Some("MILLION" | "2") => 1_000_000,
                Some(other) => {
                    let message = format!("\"{other}\" is no denominator");
                    let note = Diagnostic::error(of_at, message);
                    return Err(note.hint("HUNDRED, TEN_THOUSAND or MILLION").into());
                }
            };
            for left in percentage.rest() {
                let what = format!("`{}` of a percentage", left.key);
                draft.lost(comments, left.key_at, &what, why_not(&left.key));
            }
            (numerator, of)
        }
    };
    // At most the whole, and a million divides a billion.
    let parts = numerator.min(of) * (1_000_000_000 / of);
    Ok(u32::try_from(parts).ok().and_then(Share::from_billionths).unwrap_or(Share::ONE))
}

type Injects = Option<(&'static str, String)>;

fn delay(fields: &mut Fields<'_>) -> Result<Injects, Wrong> {
    // Of old, the only type there was.
    if let Some(kind) = fields.take("type")
        && kind.value.scalar() != Some("FIXED")
    {
        return Err(Diagnostic::error(kind.value.at, "the only type of delay is FIXED").into());
    }
    let Some(Entry { value, .. }) = fields.take("fixed_delay") else { return Ok(None) };
    let wrong = |why: &str| {
        let note = Diagnostic::error(value.at, format!("`fixed_delay` {why}"));
        Err(note.hint("protobuf's JSON writes seconds, such as \"0.25s\"").into())
    };
    let text = match &value.content {
        Content::Scalar(text) => text.as_str(),
        _ => return wrong("has to be a text"),
    };
    let seconds = text.strip_suffix('s').filter(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    });
    if seconds.is_none() {
        return wrong("is no duration");
    }
    match units::duration(text) {
        Ok(time) if time.is_zero() => wrong("has to be longer than 0"),
        Ok(time) => Ok(Some(("latency", latency(time, false)))),
        Err(why) => wrong(&format!("is no duration of backburn's: {}", why.message)),
    }
}

fn abort(fields: &mut Fields<'_>) -> Result<Injects, Wrong> {
    let at = fields.at;
    let status = fields.count("http_status")?;
    let grpc = fields.text("grpc_status")?;
    match (status, grpc) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Diagnostic::error(at, "an abort has `http_status` or `grpc_status`, not both")
                .into())
        }
        (Some(status), None) if !(200..600).contains(&status) => {
            Err(Diagnostic::error(at, format!("`http_status` {status} is not within 200 to 599"))
                .into())
        }
        (Some(status @ (204 | 304)), None) => Ok(Some(("error", status.to_string()))),
        (Some(status), None) => {
            let body = quoted("fault filter abort");
            Ok(Some(("error", format!("{{ status = {status}, body = {body} }}"))))
        }
        (None, Some(text)) => {
            let by_number = text.parse().ok().and_then(grpc::Status::new);
            let name = by_number.map(grpc::Status::name);
            let name = name.or_else(|| grpc::STATUSES.iter().copied().find(|name| *name == text));
            let Some(name) = name else {
                let message = format!("\"{text}\" is no gRPC status");
                return Err(Diagnostic::error(at, message).hint("0 to 16, or its name").into());
            };
            let body = quoted("fault filter abort");
            Ok(Some(("error", format!("{{ grpc_status = \"{name}\", body = {body} }}"))))
        }
    }
}

fn rate_limit(fields: &mut Fields<'_>) -> Result<Injects, Wrong> {
    let Some(mut fixed) = fields.map("fixed_limit")? else { return Ok(None) };
    let at = fixed.at;
    match fixed.count("limit_kbps")? {
        None | Some(0) => Err(Diagnostic::error(at, "`limit_kbps` has to be at least 1").into()),
        Some(limit) => Ok(Some(("throttle", quoted(&format!("{limit}KiB/s"))))),
    }
}
