//! What is promised, and how it is counted.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::{Check, RouteId, Valid};
use crate::budget::{Dialect, Empty, Mode, Tier};
use crate::fault::grpc;
use crate::scenario::{Clock, Per, Population, StatusPattern};
use crate::units::{Rate, Share, Spent};

#[derive(Debug, PartialEq)]
pub struct Slo {
    pub name: Arc<str>,
    /// The routes it counts, by name, in the plan's order.
    pub counts: Box<[Arc<str>]>,
    /// Which of their requests.
    pub valid: Valid,
    /// Strictly between 0 and 1.
    pub objective: Share,
    /// Default 28 days.
    pub window: Duration,
    pub sli: Sli,
    /// Whether attempts at one operation are one event.
    pub per: Per,
    /// What is counted when it is not every event: slices of time.
    pub slices: Option<Slices>,
    pub alerts: Alerts,
    pub production: Production,
    /// The share of the budget at which a drill is halted.
    pub allowance: Option<Share>,
}

/// What an SLO's events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Requests, each attempt for itself.
    #[default]
    Requests,
    /// Operations, with all their attempts.
    Operations,
    /// Slices of time.
    Slices,
}

impl Unit {
    pub fn label(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Operations => "operations",
            Self::Slices => "slices",
        }
    }
}

impl Slo {
    pub fn unit(&self) -> Unit {
        match (&self.slices, self.per) {
            (Some(_), _) => Unit::Slices,
            (None, Per::Operation) => Unit::Operations,
            (None, Per::Attempt) => Unit::Requests,
        }
    }

    /// Events that production has in a window, where its rate is known; of timeslices, always.
    pub fn per_window(&self) -> Option<f64> {
        let seconds = self.window.as_secs_f64();
        match self.slices {
            Some(Slices { seconds: slice, .. }) => Some(seconds / slice as f64),
            None => Some(self.production.rate?.per_second() * seconds),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Sli {
    Availability {
        bad: Failures,
        exclude_status: Box<[StatusPattern]>,
        abandoned_after: Duration,
    },
    Latency {
        threshold: Duration,
        of: Population,
        clock: Clock,
    },
    Correctness(Arc<Check>),
    /// Good for all of these that count the route.
    All(Box<[Member]>),
}

/// Which answers are failures: of gRPC, what the trailers say is looked at as well.
#[derive(Debug, Clone, PartialEq)]
pub struct Failures {
    pub status: Cow<'static, [StatusPattern]>,
    pub grpc: grpc::Statuses,
}

impl Failures {
    /// Where an SLO does not say: 5xx, 408 and 429; UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED,
    /// UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
    pub const COMMON: Self = Self {
        status: Cow::Borrowed(&[
            StatusPattern { low: 500, high: 599 },
            StatusPattern { low: 408, high: 408 },
            StatusPattern { low: 429, high: 429 },
        ]),
        grpc: grpc::Statuses::of(&[2, 4, 8, 12, 13, 14, 15]),
    };

    /// A status of HTTP is one.
    pub fn has(&self, status: u16) -> bool {
        self.status.iter().any(|pattern| (pattern.low..=pattern.high).contains(&status))
    }
}

/// One of the SLOs whose events [`Sli::All`] joins: it counts what one of them does.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub valid: Valid,
    pub sli: Sli,
    pub routes: Box<[RouteId]>,
}

/// Slices of time in place of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slices {
    /// More than none.
    pub seconds: u64,
    pub target: SliceTarget,
    pub empty: Empty,
}

/// When a slice is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SliceTarget {
    /// So many of its events are.
    Good(Share),
    /// It has so many good ones.
    AtLeast(Rate),
}

/// The alerts production has on an SLO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    pub dialect: Dialect,
    /// The quickest first.
    pub tiers: Box<[Tier]>,
    /// Bad events that a short window needs; 0: what the dialect says.
    pub min_bad: u64,
    /// How often production looks, in seconds; at least 1.
    pub interval: u64,
}

/// What is known of an SLO in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Production {
    /// Its events.
    pub rate: Option<Rate>,
    /// What of the budget was gone before the drill, perhaps more than all; `None`: nobody said.
    pub consumed: Option<Spent>,
    /// The share of them that is bad without any drill; alerts begin with it.
    pub error_rate: Share,
}

/// Several SLOs as one.
#[derive(Debug, Clone, PartialEq)]
pub struct Composite {
    pub name: Arc<str>,
    /// Never [`Mode::All`], which is an SLO.
    pub mode: Mode,
    /// Names, with their weights.
    pub of: Box<[(Arc<str>, f64)]>,
}
