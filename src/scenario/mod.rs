//! What the user wrote, as written: read from TOML, checked key by key, nothing resolved.

use std::net::SocketAddr;
use std::time::Duration;

use crate::diagnostic::{Located, Place, Sources};
use crate::fault;
use crate::units::{Bytes, Share};

mod adjust;
mod correctness;
#[cfg(test)]
mod env_tests;
pub mod keys;
mod load;
#[cfg(test)]
mod merge_tests;
mod proxy;
mod read;
mod service;
mod slo;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
#[cfg(test)]
mod toml_tests;

pub use adjust::{WHO, adjustable, merges, written_at};
pub use correctness::{CorrectnessSpec, PointerSpec, Scalar};
pub use keys::ROOT;
pub use load::{LARGEST_FILE, MOST_FILES, Override, read, read_adjusted};
pub use proxy::{LimitsSpec, ProxySpec, TimeoutsSpec};
pub use service::Protocol;
pub use slo::{
    AlertTierSpec, AlertsSpec, Clock, CompositeSpec, Per, Population, ProductionSpec, SliSpec,
    SloSpec, TierSpec,
};
pub use tls::{ListenTlsSpec, ServiceTlsSpec};

/// The JSON Schema (2020-12) of a scenario, for editors.
pub fn json_schema() -> serde_json::Value {
    crate::document::schema::json_schema(&ROOT)
}

/// One or more files, merged. Lists are in file order: order of first appearance.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    pub sources: Sources,
    /// Whether a syntax error left some of it unread: what is not here may well be written.
    pub torn: bool,
    pub name: Option<Located<String>>,
    pub hypothesis: Option<Located<String>>,
    pub seed: Option<Located<u64>>,
    pub safety: SafetySpec,
    pub sampling: Option<SamplingSpec>,
    pub proxy: ProxySpec,
    pub services: Vec<ServiceSpec>,
    pub routes: Vec<RouteSpec>,
    pub faults: Vec<FaultSpec>,
    pub slos: Vec<SloSpec>,
    pub tiers: Vec<TierSpec>,
    pub composites: Vec<CompositeSpec>,
    /// In the order they run.
    pub phases: Vec<PhaseSpec>,
    /// What was read, to tell later which keys a reload changes.
    pub tree: Vec<crate::document::Entry>,
}

/// `[safety]`: read at start only.
#[derive(Debug, Clone, Default)]
pub struct SafetySpec {
    /// Empty: any environment.
    pub environments: Vec<Located<String>>,
    pub max_drill: Option<Located<Limit>>,
    pub max_faulted: Option<Located<Share>>,
    /// Host patterns (`*.prod.example`), addresses or networks (`10.0.0.0/8`).
    pub never: Vec<Located<String>>,
    pub fault_health: Option<Located<bool>>,
    pub widening: Option<Located<Widening>>,
}

/// `[sampling]`: the request log.
#[derive(Debug, Clone)]
pub struct SamplingSpec {
    /// `None`: missing, which has been noted.
    pub file: Option<Located<String>>,
    pub rest: Option<Located<Share>>,
    pub max_size: Option<Located<Bytes>>,
}

/// What becomes of a reload that widens what faults may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Widening {
    /// It is applied like any other, and told first.
    #[default]
    Apply,
    /// It waits until somebody accepts it.
    Hold,
}

impl SafetySpec {
    /// The same, its places in files that stand so many later among the sources.
    pub fn moved(&mut self, files: u16) {
        let mut places: Vec<&mut Place> = Vec::new();
        places.extend(self.environments.iter_mut().map(|it| &mut it.at));
        places.extend(self.max_drill.iter_mut().map(|it| &mut it.at));
        places.extend(self.max_faulted.iter_mut().map(|it| &mut it.at));
        places.extend(self.never.iter_mut().map(|it| &mut it.at));
        places.extend(self.fault_health.iter_mut().map(|it| &mut it.at));
        places.extend(self.widening.iter_mut().map(|it| &mut it.at));
        for place in places {
            place.file = place.file.saturating_add(files);
        }
    }
}

/// A duration, or the word `"none"`, which has to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    None,
    After(Duration),
}

#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// The table's name and where it stands.
    pub name: Located<String>,
    pub url: Option<Located<String>>,
    pub listen: Option<Located<SocketAddr>>,
    pub protocol: Option<Located<Protocol>>,
    pub tls: Option<ServiceTlsSpec>,
    /// `keep` or `upstream`.
    pub host: Option<Located<HostHeader>>,
    pub tier: Option<Located<String>>,
    pub title: Option<Located<String>>,
}

/// Which `Host` the upstream sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostHeader {
    Keep,
    Upstream,
}

#[derive(Debug, Clone)]
pub struct RouteSpec {
    pub name: Located<String>,
    pub path: Option<Located<String>>,
    /// Upper case as written by the user; empty: any.
    pub methods: Vec<Located<String>>,
    pub host: Option<Located<String>>,
    pub headers: Vec<MatchSpec>,
    pub query: Vec<MatchSpec>,
    pub service: Option<Located<String>>,
    /// `header:idempotency-key`.
    pub operation: Option<Located<String>>,
    pub protected: Option<Located<bool>>,
    pub tier: Option<Located<String>>,
}

/// One `headers.NAME` or `query.NAME`.
#[derive(Debug, Clone)]
pub struct MatchSpec {
    pub name: Located<String>,
    pub says: Located<Says>,
}

/// What a header field or a query parameter must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    Exactly(String),
    /// Not yet known to be one.
    Regex(String),
    Present(bool),
}

/// `faults.NAME.only`, and `slos.NAME.exclude`.
#[derive(Debug, Clone, Default)]
pub struct OnlySpec {
    pub methods: Vec<Located<String>>,
    pub headers: Vec<MatchSpec>,
    pub query: Vec<MatchSpec>,
    pub clients: Vec<Located<String>>,
}

/// One `[[phases]]`.
#[derive(Debug, Clone)]
pub struct PhaseSpec {
    pub name: Located<String>,
    /// `for`.
    pub length: Option<Located<Duration>>,
    /// `until = "next"`.
    pub until_next: Option<Place>,
    pub faults: Vec<Located<String>>,
    pub ramp: Option<Located<Duration>>,
    /// The faults it sets, whole, as they are while it runs; named where `set.FAULT` stands.
    pub set: Vec<FaultSpec>,
}

#[derive(Debug, Clone)]
pub struct FaultSpec {
    pub name: Located<String>,
    pub routes: Vec<Located<String>>,
    /// Where `routes` stands, or the table's name when it is missing.
    pub routes_at: Place,
    pub only: OnlySpec,
    pub cohort: Option<Located<String>>,
    pub per: Option<Located<String>>,
    /// `spread = "even"`.
    pub even: Option<Place>,
    pub bursts: Option<BurstsSpec>,
    pub optional: Option<Located<bool>>,
    pub max_active: Option<Located<u32>>,
    pub probability: Option<Located<Share>>,
    /// Also what could not be read, which has been noted: it is not missing.
    pub written: Written,
    pub group: Option<Located<String>>,
    pub enabled: Option<Located<bool>>,
    pub first: Option<Located<u64>>,
    pub every: Option<Located<u64>>,
    pub limit: Option<Located<u64>>,
    pub mark: Option<Located<bool>>,
    /// The `inject.*` kinds in file order.
    pub inject: Vec<Located<fault::Spec>>,
}

/// What a fault says of who is hit, rightly or wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub probability: bool,
    /// `first` or `every`.
    pub turn: bool,
    pub limit: bool,
}

/// `faults.NAME.bursts`: mean lengths.
#[derive(Debug, Clone)]
pub struct BurstsSpec {
    pub on: Located<Duration>,
    pub off: Located<Duration>,
}

/// An inclusive range of status codes: `"5xx"` is 500 to 599, `"429"` is 429 to 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusPattern {
    pub low: u16,
    pub high: u16,
}
