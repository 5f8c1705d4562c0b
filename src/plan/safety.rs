//! `[safety]` → what no drill may exceed.

use std::net::IpAddr;
use std::time::Duration;

use super::condition::{Network, NotANetwork};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::scenario::{Limit, SafetySpec, Widening};
use crate::units::Share;

/// What no drill may exceed. Read at start only.
#[derive(Debug, Clone, PartialEq)]
pub struct Safety {
    /// Empty: any.
    pub environments: Vec<String>,
    /// `None`: no limit, as written by the user.
    pub max_drill: Option<Duration>,
    /// The most of any route's requests that faults may hit.
    pub max_faulted: Share,
    pub fault_health: bool,
    /// What becomes of a reload that widens.
    pub widening: Widening,
    /// Networks that are never faulted.
    pub never_networks: Vec<Network>,
    never_hosts: Vec<NeverHost>,
}

/// A pattern of hosts that are never faulted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NeverHost {
    Exact(String),
    Suffix(String),
}

pub(super) fn compile(spec: &SafetySpec, notes: &mut Diagnostics) -> Safety {
    let mut never_networks = Vec::new();
    let mut never_hosts = Vec::new();
    for never in &spec.never {
        let text = never.value.trim();
        match text.parse::<Network>() {
            Ok(network) => never_networks.push(network),
            Err(NotANetwork::Prefix(longest)) => notes.push(
                Diagnostic::error(never.at, "the network's prefix length is out of range")
                    .hint(format!("0 to {longest}, as in `10.0.0.0/8`")),
            ),
            Err(NotANetwork::Address) => match never_host(text) {
                Some(pattern) => never_hosts.push(pattern),
                None => notes.push(
                    Diagnostic::error(never.at, "neither a host, an address nor a network")
                        .hint("for example `*.prod.example`, `10.1.2.3` or `10.0.0.0/8`"),
                ),
            },
        }
    }
    let max_drill = match spec.max_drill.as_ref().map(|limit| limit.value) {
        None => Some(Duration::from_secs(4 * 3600)),
        Some(Limit::None) => None,
        Some(Limit::After(limit)) => Some(limit),
    };
    if let Some(limit) = spec.max_drill.as_ref()
        && max_drill.is_some_and(|limit| limit.is_zero())
    {
        let note = Diagnostic::error(limit.at, "a drill of no time injects nothing");
        notes.push(note.hint("for example `1h`, or `none` for a drill that somebody ends"));
    }
    Safety {
        environments: spec.environments.iter().map(|name| name.value.clone()).collect(),
        max_drill,
        max_faulted: spec.max_faulted.as_ref().map_or(Share::ONE, |share| share.value),
        fault_health: spec.fault_health.as_ref().is_some_and(|health| health.value),
        widening: spec.widening.as_ref().map(|widening| widening.value).unwrap_or_default(),
        never_networks,
        never_hosts,
    }
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

impl Safety {
    /// The keys in which another one differs.
    pub(super) fn differs(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let never = |safety: &Self| (safety.never_networks.clone(), safety.never_hosts.clone());
        [
            (self.environments != other.environments, "safety.environments"),
            (self.max_drill != other.max_drill, "safety.max_drill"),
            (self.max_faulted != other.max_faulted, "safety.max_faulted"),
            (never(self) != never(other), "safety.never"),
            (self.fault_health != other.fault_health, "safety.fault_health"),
            (self.widening != other.widening, "safety.widening"),
        ]
        .into_iter()
        .filter_map(|(differs, key)| differs.then_some(key))
    }

    /// The address lies in a network that must never be faulted.
    pub fn is_never(&self, address: IpAddr) -> bool {
        self.never_networks.iter().any(|network| network.contains(address))
    }

    /// The host is named, or is an address in such a network. What a name resolves to is only
    /// known at run time.
    pub fn is_never_host(&self, host: &str) -> bool {
        // `db.prod.example.` is the same host, spelled absolutely.
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let named = self.never_hosts.iter().any(|pattern| match pattern {
            NeverHost::Exact(known) => *known == name,
            NeverHost::Suffix(suffix) => name.ends_with(suffix),
        });
        named || host.parse().is_ok_and(|address| self.is_never(address))
    }
}
