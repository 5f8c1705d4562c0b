//! What runs: a scenario compiled whole. Immutable; ids are indices into its own lists.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::Secrets;
use crate::fault;
pub use crate::scenario::{HostHeader, Per, Protocol};
use crate::units::Share;

mod alert_warnings;
mod alerts;
mod check;
mod compile;
mod composites;
pub mod condition;
mod correctness;
pub mod diff;
pub mod explain;
mod faults;
pub mod matcher;
mod operations;
mod patterns;
mod phases;
mod promise;
pub mod proxy;
mod routes;
mod safety;
mod service;
mod slos;
pub mod tls;
mod valid;
mod warnings;

pub use check::{Check, Failed, MediaType, Pointer};
pub use compile::compile;
pub use condition::{Asked, Conditions, SKIP, Selector};
pub use matcher::{Matcher, Rule, Segment};
pub use promise::{
    Alerts, Composite, Failures, Member, Production, Sli, SliceTarget, Slices, Slo, Unit,
};
pub use proxy::Proxy;
pub use safety::Safety;
pub use valid::{Exclusion, LeftOut, Valid};

pub type ServiceId = u16;
/// Index into [`Plan::routes`].
pub type RouteId = u32;
/// Index into [`Plan::faults`].
pub type FaultId = u16;
/// Index into [`Plan::slos`].
pub type SloId = u16;
/// Index into [`Plan::phases`].
pub type PhaseId = u16;

#[derive(Debug)]
pub struct Plan {
    pub name: String,
    pub hypothesis: Option<String>,
    /// As written; the run's own seed may override it.
    pub seed: Option<u64>,
    pub safety: Safety,
    /// `None`: no request is written down.
    pub sampling: Option<Sampling>,
    pub proxy: Proxy,
    pub services: Box<[Service]>,
    /// The routes of the file, then one named `unmatched` per service (in service order), which
    /// no fault ever covers and no SLO selects by `"*"` or by `service`.
    pub routes: Box<[Route]>,
    pub faults: Box<[Arc<Fault>]>,
    /// In the order they run; never empty. Without `[[phases]]` there is one, [`DRILL`].
    pub phases: Box<[Phase]>,
    /// Those of the file, then the composites whose mode is `all`.
    pub slos: Box<[Slo]>,
    /// The composites that are worked out from their members.
    pub composites: Box<[Composite]>,
    pub matcher: Matcher,
    /// What came from the environment: nothing that is told of the plan's conditions holds it.
    pub secrets: Secrets,
}

/// The request log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    pub file: PathBuf,
    /// Of the good requests that no fault struck. Default 1 %.
    pub rest: Share,
    /// In bytes. Default 1 GiB.
    pub max_size: u64,
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
    pub protocol: Protocol,
    /// `https://`.
    pub tls: Option<Arc<tls::ServiceTls>>,
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
    /// Which requests it takes; `None`: those that nothing else does.
    pub rule: Option<Arc<matcher::Rule>>,
    /// What two attempts of one operation have in common.
    pub operation: Option<Selector>,
    /// In file order; empty for protected routes and for `unmatched`.
    pub faults: Box<[FaultId]>,
    /// SLOs that count this route.
    pub slos: Box<[SloId]>,
    /// What those among them ask of its answers, each once.
    pub checks: Box<[Arc<Check>]>,
    /// What those leave out, each once.
    pub excludes: Box<[Arc<Exclusion>]>,
}

#[derive(Debug, PartialEq)]
pub struct Fault {
    pub name: Arc<str>,
    /// Whose ordinal and whose draw: the group's name, or the fault's own.
    pub stream: Arc<str>,
    /// The routes it is on, by name, in the plan's order.
    pub covers: Box<[Arc<str>]>,
    /// Which of those routes' requests it can hit.
    pub only: Conditions,
    /// Whose share `probability` is, when not of requests.
    pub cohort: Option<Selector>,
    /// For whom `first`, `every` and `limit` are counted, when not for all.
    pub per: Option<Selector>,
    pub enabled: bool,
    pub who: Who,
    pub limit: Option<u64>,
    /// How many requests it hits at the same time, at most.
    pub max_active: Option<u32>,
    /// When it comes and goes; `None`: it stays.
    pub bursts: Option<Bursts>,
    /// The answer carries `x-backburn-fault: NAME`.
    pub mark: bool,
    /// A verdict does not need it to have taken effect.
    pub optional: bool,
    /// In file order; they act together.
    pub kinds: Box<[Box<dyn fault::Fault>]>,
}

impl Fault {
    /// It keeps something for each value of some part of the request.
    pub fn tells_values_apart(&self) -> bool {
        self.per.is_some() || self.kinds.iter().any(|kind| kind.tells_values_apart())
    }
}

/// The name of the one phase of a scenario that has none.
pub const DRILL: &str = "drill";
/// What a request is booked under that comes while the drill waits to be started.
pub const BEFORE: &str = "before";
/// What a request is booked under that comes when the last phase is over.
pub const AFTER: &str = "after";

/// A stretch of the drill.
#[derive(Debug, PartialEq)]
pub struct Phase {
    pub name: Arc<str>,
    /// `None`: until a facilitator ends it, or the drill is over.
    pub length: Option<Duration>,
    /// `until = "next"`.
    pub until_next: bool,
    /// Over which probabilities climb from 0.
    pub ramp: Option<Duration>,
    /// The faults that are active, in file order, as they are in this phase.
    pub faults: Box<[(FaultId, Arc<Fault>)]>,
}

/// How long a fault is on and off in turns, on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bursts {
    /// Neither is zero.
    pub on: Duration,
    pub off: Duration,
}

impl Bursts {
    /// The share of the time that it is on, in the long run: 5 s on and 15 s off are 25 %.
    pub fn duty(self) -> f64 {
        let (on, off) = (self.on.as_secs_f64(), self.off.as_secs_f64());
        on / (on + off)
    }
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
        /// At even distances instead of by a draw for each.
        even: bool,
    },
    /// The first `n` by ordinal.
    First(u64),
    /// The n-th, 2n-th, …
    Every(u64),
}

impl std::fmt::Display for Who {
    /// As a person would say it: `5%`, `first 3`, `every 10`, `all`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Probability { share, .. } => write!(f, "{share}"),
            Self::First(first) => write!(f, "first {first}"),
            Self::Every(every) => write!(f, "every {every}"),
        }
    }
}

impl Plan {
    /// How long the drill injects at most: all of its phases, or `max_drill`. `None`: without end.
    pub fn length(&self) -> Option<Duration> {
        let phases = self.phases.iter().map(|phase| phase.length).sum::<Option<Duration>>();
        let phases = phases.filter(|_| self.is_phased());
        phases.into_iter().chain(self.safety.max_drill).min()
    }

    /// The user wrote `[[phases]]`.
    pub fn is_phased(&self) -> bool {
        // A phase that somebody wrote has an end.
        self.phases.len() != 1 || self.phases[0].length.is_some() || self.phases[0].until_next
    }

    /// Where a request goes that no route matches and that came in by the shared port: the first
    /// service without a port of its own, else the first.
    pub fn default_service(&self) -> ServiceId {
        let shared = self.services.iter().position(|service| service.listen.is_none());
        shared.unwrap_or(0) as ServiceId
    }
}
