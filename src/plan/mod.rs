//! What runs: a scenario compiled whole. Immutable; ids are indices into its own lists.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::fault;
pub use crate::scenario::HostHeader;
use crate::scenario::{Clock, Population, StatusPattern};
use crate::units::Share;

mod compile;
mod faults;
pub mod matcher;
mod slos;

pub use compile::compile;
pub use matcher::Matcher;
pub use slos::BAD_STATUS;

pub type ServiceId = u16;
/// Index into [`Plan::routes`].
pub type RouteId = u32;
/// Index into [`Plan::faults`].
pub type FaultId = u16;
/// Index into [`Plan::slos`].
pub type SloId = u16;

#[derive(Debug)]
pub struct Plan {
    pub name: String,
    pub hypothesis: Option<String>,
    /// As written; the run's own seed may override it.
    pub seed: Option<u64>,
    pub safety: Safety,
    pub proxy: Proxy,
    pub services: Box<[Service]>,
    /// The routes of the file, then one named `unmatched` per service (in service order), which
    /// no fault ever covers and no SLO selects by `"*"` or by `service`.
    pub routes: Box<[Route]>,
    pub faults: Box<[Fault]>,
    pub slos: Box<[Slo]>,
    pub matcher: Matcher,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Safety {
    /// Empty: any.
    pub environments: Vec<String>,
    /// `None`: no limit, as written by the user.
    pub max_drill: Option<Duration>,
    pub fault_health: bool,
    /// Networks that are never faulted, as (address, prefix length).
    pub never_networks: Vec<(std::net::IpAddr, u8)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Default `127.0.0.1:8900`.
    pub listen: SocketAddr,
    /// `None`: as many as cores.
    pub workers: Option<u16>,
    /// Default 10,000.
    pub max_held: u32,
}

#[derive(Debug)]
pub struct Service {
    pub name: Arc<str>,
    pub url: String,
    /// Host without brackets, and port (defaulted from the scheme).
    pub host: String,
    pub port: u16,
    /// `host[:port]` as the `Host` field would carry it.
    pub authority: String,
    pub listen: Option<SocketAddr>,
    pub host_header: HostHeader,
    pub tier: Option<String>,
    pub title: Option<String>,
    /// Its host matches `[safety] never`: no fault may touch it.
    pub never: bool,
    /// The route a request falls to that no route matches.
    pub unmatched: RouteId,
}

#[derive(Debug)]
pub struct Route {
    pub name: Arc<str>,
    pub service: ServiceId,
    pub protected: bool,
    /// In file order; empty for protected routes and for `unmatched`.
    pub faults: Box<[FaultId]>,
    /// SLOs that count this route.
    pub slos: Box<[SloId]>,
}

#[derive(Debug)]
pub struct Fault {
    pub name: Arc<str>,
    /// Whose ordinal and whose draw: the group's name, or the fault's own.
    pub stream: Arc<str>,
    pub enabled: bool,
    pub who: Who,
    pub limit: Option<u64>,
    /// The answer carries `x-backburn-fault: NAME`.
    pub mark: bool,
    /// In file order; they act together.
    pub kinds: Box<[Box<dyn fault::Fault>]>,
}

/// Who is hit, of the requests eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    All,
    /// Those whose draw in `[0, 1)` (in billionths) falls in `[from, from + share)`; `from` is 0
    /// but for later members of a group.
    Probability {
        from: u32,
        share: Share,
    },
    /// The first `n` by ordinal.
    First(u64),
    /// The n-th, 2n-th, …
    Every(u64),
}

#[derive(Debug, PartialEq)]
pub struct Slo {
    pub name: Arc<str>,
    /// Strictly between 0 and 1.
    pub objective: Share,
    /// Default 28 days.
    pub window: Duration,
    pub sli: Sli,
}

#[derive(Debug, PartialEq)]
pub enum Sli {
    Availability {
        bad_status: Box<[StatusPattern]>,
        exclude_status: Box<[StatusPattern]>,
        abandoned_after: Duration,
    },
    Latency {
        threshold: Duration,
        of: Population,
        clock: Clock,
    },
}

impl Plan {
    /// Where a request goes that no route matches and that came in by the shared port: the first
    /// service without a port of its own, else the first.
    pub fn default_service(&self) -> ServiceId {
        let shared = self.services.iter().position(|service| service.listen.is_none());
        shared.unwrap_or(0) as ServiceId
    }
}

impl Safety {
    /// The address lies in a network that must never be faulted.
    pub fn is_never(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr;
        // `::ffff:10.0.0.1` is 10.0.0.1, as a dual-stack socket shows it.
        let address = address.to_canonical();
        self.never_networks.iter().any(|(network, bits)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from((*bits).min(32));
                u64::from(network.to_bits()) >> shift == u64::from(address.to_bits()) >> shift
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from((*bits).min(128));
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            _ => false,
        })
    }
}
