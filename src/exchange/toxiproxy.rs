//! Toxiproxy: the config's list of proxies, and the API's answers (`GET /proxies`, `/proxies/NAME`,
//! `POST /populate`), which carry toxics as well.

use std::net::SocketAddr;
use std::time::Duration;

use super::document::{Content, Entry, Fields, Node, is};
use super::draft::{Draft, Fault, Service, cap, latency, quoted};
use super::{Format, Wrong};
use crate::diagnostic::{Diagnostic, Place};
use crate::units::{self, Share, show_duration};

/// Toxiproxy's proxies and toxics.
pub const FORMAT: Format = Format {
    verb: "toxiproxy",
    differences: &[
        "Toxiproxy passes on any TCP. backburn speaks HTTP: a database or a cache needs another tool.",
        "Toxicity is rolled for each connection there, for each request here.",
        "Bandwidth and sizes are of whole connections there, of one request's body here.",
        "Health checks (/healthz and the like) are spared here, unless `[safety] fault_health = true`.",
        "Toxics stay until somebody removes them. A drill ends by itself, after 4h where `[safety] \
         max_drill` says nothing else.",
    ],
    read,
};

/// Ports whose services do not speak plain HTTP.
const NOT_HTTP: &[(u16, &str)] = &[
    (22, "SSH"),
    (25, "SMTP"),
    (443, "HTTPS"),
    (1433, "SQL Server"),
    (1521, "Oracle"),
    (1883, "MQTT"),
    (2181, "ZooKeeper"),
    (3306, "MySQL"),
    (5432, "PostgreSQL"),
    (5672, "AMQP"),
    (6379, "Redis"),
    (9042, "Cassandra"),
    (9092, "Kafka"),
    (11211, "memcached"),
    (27017, "MongoDB"),
];

fn read(documents: &[Node], draft: &mut Draft<'_>) {
    let mut found: Vec<&Node> = documents.iter().flat_map(proxies).collect();
    found.retain(|node| !matches!(node.content, Content::Null));
    if found.is_empty() {
        let note = Diagnostic::nowhere("no proxy in it");
        let hint =
            "Toxiproxy's config is a list: [{ \"name\": …, \"listen\": …, \"upstream\": … }]";
        draft.notes.push(note.hint(hint));
    }
    for node in found {
        if let Err(wrong) = proxy(node, draft) {
            draft.notes.push(*wrong);
        }
    }
}

/// A list of them, one alone, `{"proxies": […]}`, or a map by name.
fn proxies(document: &Node) -> Vec<&Node> {
    match &document.content {
        Content::List(items) => items.iter().collect(),
        Content::Map(entries) => {
            if document.get("upstream").is_some_and(|upstream| upstream.scalar().is_some()) {
                vec![document]
            } else if let Some(inner @ Node { content: Content::List(_), .. }) =
                document.get("proxies")
            {
                inner.items().iter().collect()
            } else {
                entries.iter().map(|entry| &entry.value).collect()
            }
        }
        Content::Scalar(_) => vec![document],
        Content::Null => Vec::new(),
    }
}

fn proxy(node: &Node, draft: &mut Draft<'_>) -> Result<(), Wrong> {
    let mut fields = Fields::of(node)?;
    let at = fields.at;
    let missing = |key: &str| Diagnostic::error(at, format!("a proxy without `{key}`"));
    let title = fields.text("name")?.filter(|name| !name.is_empty());
    let title = title.ok_or_else(|| missing("name"))?.to_owned();
    let upstream_at = node.get("upstream").map_or(at, |upstream| upstream.at);
    let upstream = fields.text("upstream")?.filter(|upstream| !upstream.is_empty());
    let upstream = upstream.ok_or_else(|| missing("upstream"))?;
    let listen = fields.take("listen");
    let enabled = fields.boolean("enabled")?.unwrap_or(true);
    let toxics = fields.list("toxics")?;
    let name = draft.name(&title);
    let mut comments = Vec::new();
    for left in fields.rest() {
        // The API's answers leak an empty field of the server's own.
        if !(is(&left.key, "logger") && left.value.entries().is_empty()) {
            let what = format!("`{}` of proxy `{title}`", left.key);
            draft.lost(&mut comments, left.key_at, &what, "Toxiproxy has no such key either");
        }
    }
    let port = upstream.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    if let Some((port, what)) = NOT_HTTP.iter().find(|(known, _)| Some(*known) == port) {
        let what = format!("port {port} is {what}'s, which is no plain HTTP");
        draft.told(&mut comments, upstream_at, &what, "leave this service out if it is that");
    }
    let service = Service {
        listen: address(listen, &title, &mut comments, draft)?,
        title: (name != title).then(|| title.clone()),
        url: format!("http://{upstream}"),
        name: name.clone(),
        more: Vec::new(),
        comments,
    };
    draft.service(service, upstream_at);
    if !enabled {
        let mut fault = Fault {
            name: draft.name(&format!("{name}-down")),
            service: Some(name.clone()),
            inject: vec![("abort", quoted("reset"))],
            ..Fault::default()
        };
        let what = format!("proxy `{title}` refuses connections (`enabled` is false)");
        let why = "here they are taken, and each request on them is reset";
        draft.lost(&mut fault.comments, node.get("enabled").map_or(at, |node| node.at), &what, why);
        draft.fault(fault, at);
    }
    for node in toxics {
        if let Err(wrong) = toxic(node, &name, &title, enabled, draft) {
            draft.notes.push(*wrong);
        }
    }
    Ok(())
}

/// Go's listen address as one of the language's.
fn address(
    listen: Option<&Entry>,
    proxy: &str,
    comments: &mut Vec<String>,
    draft: &mut Draft<'_>,
) -> Result<Option<String>, Wrong> {
    let Some(Entry { value, .. }) = listen else {
        comments.push("No `listen`: any free port, which is printed at the start.".to_owned());
        return Ok(Some("127.0.0.1:0".to_owned()));
    };
    let text = value.scalar();
    let text = text.ok_or_else(|| Diagnostic::error(value.at, "`listen` has to be a text"))?;
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "0"));
    let port: u16 = port.parse().map_err(|_| {
        let note = Diagnostic::error(value.at, format!("\"{text}\" has no port to listen on"));
        note.hint("an address and a port, such as \"127.0.0.1:21001\"")
    })?;
    let address = match host {
        "localhost" => Some(format!("127.0.0.1:{port}")),
        "" => {
            let what = format!("proxy `{proxy}` listens on every interface");
            let why = format!("here by IPv4; write \"[::]:{port}\" for IPv6 as well");
            draft.told(comments, value.at, &what, &why);
            Some(format!("0.0.0.0:{port}"))
        }
        _ => text.parse().ok().map(|address: SocketAddr| address.to_string()),
    };
    if address.is_none() {
        let what = format!("proxy `{proxy}` listens at a name, \"{text}\"");
        let why = "backburn listens at addresses; write `listen` with the one it stands for";
        draft.lost(comments, value.at, &what, why);
    }
    match &address {
        Some(taken) if port != 0 && draft.listens_at(taken) => {
            Err(Diagnostic::error(value.at, format!("another proxy listens at {taken}")).into())
        }
        _ => Ok(address),
    }
}

/// What a toxic comes to.
enum Does {
    Inject(Vec<(&'static str, String)>),
    /// Nothing there either, or nothing that backburn can do.
    Nothing {
        why: &'static str,
    },
}

fn toxic(
    node: &Node,
    service: &str,
    proxy: &str,
    enabled: bool,
    draft: &mut Draft<'_>,
) -> Result<(), Wrong> {
    let mut fields = Fields::of(node)?;
    let at = fields.at;
    let kind_at = node.get("type").map_or(at, |node| node.at);
    let kind = fields.text("type")?.unwrap_or_default();
    if kind.is_empty() {
        return Err(
            Diagnostic::error(at, format!("a toxic of proxy `{proxy}` without `type`")).into()
        );
    }
    let stream = fields.text("stream")?.unwrap_or("downstream").to_ascii_lowercase();
    let down = match stream.as_str() {
        "downstream" => true,
        "upstream" => false,
        _ => {
            let at = node.get("stream").map_or(at, |node| node.at);
            let message = "`stream` is either \"upstream\" or \"downstream\"";
            return Err(Diagnostic::error(at, message).into());
        }
    };
    let title = fields.text("name")?.filter(|name| !name.is_empty());
    let title = title.map_or_else(|| format!("{kind}_{stream}"), str::to_owned);
    let toxicity_at = node.get("toxicity").map_or(at, |node| node.at);
    let toxicity = fields.number("toxicity")?.unwrap_or(1.0);
    let mut attributes = fields.map("attributes")?.unwrap_or_else(|| Fields::empty(at));
    let mut comments =
        vec![format!("Toxic `{title}` ({kind}, {stream}) of proxy `{proxy}`, {}.", draft.line(at))];
    if !(0.0..=1.0).contains(&toxicity) {
        let what = format!("a toxicity of {toxicity}");
        let why = "below 0 is never, above 1 is always";
        draft.told(&mut comments, toxicity_at, &what, why);
    }
    let of = Of { kind, down };
    let does = of.does(&mut attributes, &mut comments, at, draft)?;
    for left in fields.rest().chain(attributes.rest()) {
        let what = format!("`{}` of toxic `{title}`", left.key);
        draft.lost(&mut comments, left.key_at, &what, "a toxic of this type has no such key");
    }
    let mut inject = Vec::new();
    match does {
        Does::Inject(kinds) => inject = kinds,
        Does::Nothing { why } => {
            draft.lost(&mut comments, kind_at, &format!("toxic `{title}` ({kind})"), why);
        }
    }
    if !enabled && !inject.is_empty() {
        comments.push("Off, as long as the proxy is down.".to_owned());
    }
    let fault = Fault {
        name: draft.name(&format!("{service}-{title}")),
        service: Some(service.to_owned()),
        comments,
        off: !enabled,
        probability: Share::from_billionths((toxicity.clamp(0.0, 1.0) * 1e9).round() as u32),
        inject,
        ..Fault::default()
    };
    draft.fault(fault, at);
    Ok(())
}

struct Of<'t> {
    kind: &'t str,
    /// From the service to the caller.
    down: bool,
}

impl Of<'_> {
    fn does(
        &self,
        attributes: &mut Fields<'_>,
        comments: &mut Vec<String>,
        at: Place,
        draft: &mut Draft<'_>,
    ) -> Result<Does, Wrong> {
        let down = self.down;
        let on = if down { "response" } else { "request" };
        // The way to the service is cut before it works, the way back when it has answered.
        let abort = |how: &str, cap: Option<Duration>| {
            let more = match cap {
                Some(cap) => format!(", cap = {}", quoted(&show_duration(cap))),
                None => String::new(),
            };
            let place = if down { ", at = \"headers\"" } else { "" };
            let value = if more.is_empty() && place.is_empty() {
                quoted(how)
            } else {
                format!("{{ how = \"{how}\"{place}{more} }}")
            };
            ("abort", value)
        };
        let mut count = |key: &str| attributes.count(key).map(Option::unwrap_or_default);
        // With a caller that waits for ever, so does it.
        let until_closed = units::LONGEST;
        Ok(match self.kind {
            "latency" => {
                let (latency, jitter) = (millis(count("latency")?), millis(count("jitter")?));
                match delay(latency, jitter, down, comments) {
                    Some(value) => Does::Inject(vec![("latency", value)]),
                    None => Does::Nothing { why: "it has no `latency` and does nothing" },
                }
            }
            "bandwidth" => match count("rate")? {
                0 => {
                    comments.push("A rate of 0 lets nothing through.".to_owned());
                    Does::Inject(vec![abort("hang", Some(until_closed))])
                }
                rate => {
                    let rate = format!("\"{rate}KB/s\"");
                    let value =
                        if down { rate } else { format!("{{ rate = {rate}, on = \"request\" }}") };
                    Does::Inject(vec![("throttle", value)])
                }
            },
            "slow_close" => {
                count("delay")?;
                Does::Nothing { why: "backburn closes connections when they are done" }
            }
            "timeout" => match millis(count("timeout")?) {
                Duration::ZERO => {
                    comments.push("No `timeout`: silence until the caller gives up.".to_owned());
                    Does::Inject(vec![abort("hang", Some(until_closed))])
                }
                cap => Does::Inject(vec![abort("hang", Some(cap))]),
            },
            "reset_peer" => {
                let mut inject = Vec::new();
                let wait = millis(count("timeout")?);
                if !wait.is_zero() {
                    inject.push(("latency", latency(wait, down)));
                }
                inject.push(abort("reset", None));
                Does::Inject(inject)
            }
            "slicer" => {
                let size = count("average_size")?;
                let (variation, pause) = (count("size_variation")?, count("delay")?);
                if variation > 0 {
                    let what = format!("pieces that vary in size by {variation} bytes");
                    draft.lost(comments, at, &what, "here they are all alike");
                }
                if size == 0 || pause == 0 {
                    let why = "pieces without a size and a pause between them change nothing";
                    return Ok(Does::Nothing { why });
                }
                let pause = quoted(&show_duration(Duration::from_micros(pause)));
                let on = if down { String::new() } else { format!(", on = \"{on}\"") };
                let size = quoted(&units::Bytes(size).to_string());
                let value = format!("{{ chunk = {size}, pause = {pause}{on} }}");
                Does::Inject(vec![("drip", value)])
            }
            "limit_data" => match count("bytes")? {
                0 => Does::Inject(vec![abort("close", None)]),
                _ if !down => Does::Nothing { why: "backburn cuts off answers, not requests" },
                bytes => {
                    let after = quoted(&units::Bytes(bytes).to_string());
                    Does::Inject(vec![("truncate", format!("{{ after = {after} }}"))])
                }
            },
            "noop" => Does::Nothing { why: "it does nothing" },
            _ => Does::Nothing { why: "Toxiproxy has no toxic of this type of its own" },
        })
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// `latency` ± `jitter`, all alike; what would be below 0 is no delay.
fn delay(
    middle: Duration,
    jitter: Duration,
    down: bool,
    comments: &mut Vec<String>,
) -> Option<String> {
    if jitter.is_zero() {
        return (!middle.is_zero()).then(|| latency(middle, down));
    }
    let longest = middle.saturating_add(jitter);
    let shown = |time| quoted(&show_duration(time));
    let delay = if middle >= jitter {
        format!(
            "{{ uniform = {{ min = {}, max = {} }} }}",
            shown(middle.saturating_sub(jitter)),
            shown(longest)
        )
    } else {
        // The share of the span that lies below 0.
        let below = jitter.saturating_sub(middle).as_secs_f64() / (2.0 * jitter.as_secs_f64());
        let below = Share::from_billionths((below * 1e9).round() as u32)?;
        comments.push(format!("The jitter is longer than the latency: {below} have no delay."));
        let point = format!("p{}", below.to_string().trim_end_matches('%'));
        let point = if point.contains('.') { quoted(&point) } else { point };
        format!("{{ quantiles = {{ {point} = \"0s\", p100 = {} }} }}", shown(longest))
    };
    let cap = cap(longest).unwrap_or_default();
    let on = if down { ", on = \"response\"" } else { "" };
    Some(format!("{{ delay = {delay}{cap}{on} }}"))
}
