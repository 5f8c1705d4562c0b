//! What an SLO's budget is worth, as plain data: both bases, the alerts, the forecasts, and how far
//! the counts can be trusted. Part of the [`View`](super::View).

use serde::{Deserialize, Serialize};

/// How an SLO stands, in a colour, a word and a reason. Never the colour alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Light {
    /// `red`, `amber`, `green` or `grey`.
    pub colour: String,
    /// `PAGE`, `GONE`, `TICKET`, `BURNING`, `OK`, …
    pub word: String,
    /// Half a sentence.
    pub why: String,
}

/// What is left of a budget.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// What the drill consumed as if the whole window had its traffic; `None` without events.
    pub scaled_ratio: Option<f64>,
    /// What it consumed of the events production may lose; `None`: production's rate is not known.
    pub absolute_ratio: Option<f64>,
    /// What was gone before the drill; `None`: not known, and taken as nothing.
    pub consumed_before_ratio: Option<f64>,
    /// What is left on the basis that is told; below 0 when it is overspent.
    pub remaining_ratio: Option<f64>,
    /// How many more drills like this one it can afford; `None`: it cost nothing.
    pub more_drills: Option<u64>,
    /// What the drill may burn.
    pub allowance_ratio: Option<f64>,
}

/// The alerts production would have.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Alerts {
    /// Whose rules: `sloth-28d`, `pyrra`, …
    pub dialect: String,
    /// Bad events a short window needs; 0: what the dialect says.
    pub min_bad: u64,
    pub evaluation_interval_seconds: u64,
    /// How much of the longest window is assumed, not counted.
    pub pad_ratio: f64,
    /// The quickest first.
    pub tiers: Vec<Tier>,
    /// Over each window that a tier looks at, the shortest first.
    pub windows: Vec<Window>,
    /// What came nearest to firing.
    pub closest: Option<Closest>,
}

/// A burn rate over a window, filled up with what is assumed to have been before the drill.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    pub seconds: u64,
    /// `None`: no events.
    pub burn_rate: Option<f64>,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tier {
    pub name: String,
    /// `page` or `ticket`.
    pub severity: String,
    pub long_window_seconds: u64,
    pub short_window_seconds: u64,
    /// The burn rate above which it fires.
    pub factor: f64,
    pub for_seconds: u64,
    /// `inactive`, `pending`, `firing`, or `impossible`: it could not fire if all were bad.
    pub state: String,
    /// 1 is the threshold.
    pub pressure_ratio: Option<f64>,
    pub highest_pressure_ratio: f64,
    /// Every time it fired.
    pub fired: Vec<Firing>,
}

/// Once it fired.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Firing {
    /// RFC 3339.
    pub at: String,
    /// Since counting began.
    pub after_seconds: u64,
    /// RFC 3339; `None`: it still does.
    pub resolved_at: Option<String>,
    pub resolved_after_seconds: Option<u64>,
}

/// The tier that came nearest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Closest {
    pub tier: String,
    pub severity: String,
    pub pressure_ratio: f64,
    pub after_seconds: u64,
}

/// When the budget is gone if things go on, by method.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Forecasts {
    /// In the drill's order of trust; each names its method.
    pub exhaustion: Vec<Exhaustion>,
    /// What the drill will have consumed when its phases are over.
    pub drill: Option<AtTheEnd>,
    /// The first page that would fire in what is to come.
    pub page: Option<Page>,
}

/// A page that is to be expected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    pub tier: String,
    /// From now, late by at most a thirty-second part of its phase.
    pub after_seconds: f64,
}

/// Until the budget is gone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Exhaustion {
    /// In words, with what it looks back on.
    pub method: String,
    /// `None`: never.
    pub seconds: Option<f64>,
    /// 80 %; `None`: the method has no interval.
    pub low_seconds: Option<f64>,
    pub high_seconds: Option<f64>,
}

/// A drill's cost when it is over.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AtTheEnd {
    pub method: String,
    /// How long that is from now.
    pub seconds: f64,
    pub consumed_ratio: f64,
    /// 80 %.
    pub low_ratio: f64,
    pub high_ratio: f64,
    /// More than the allowance.
    pub exceeds_allowance: bool,
    /// Other services whose faults are still to begin: what its service makes of them is not known.
    pub faults_elsewhere: Vec<String>,
    /// What could not be taken into account.
    pub without: Vec<String>,
}

/// How far the counts can be trusted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Confidence {
    /// The share of bad events, 95 % (Wilson).
    pub bad_low_ratio: Option<f64>,
    pub bad_high_ratio: Option<f64>,
    /// `pass`, `fail` or `inconclusive`: the exact binomial test at 5 %.
    pub verdict: String,
    /// Events that prove the objective met if no more of them are bad than now; `None`: no number
    /// one could send.
    pub needed_events: Option<u64>,
    /// Events that prove it without a bad one: of fewer nothing is told.
    pub least_events: Option<u64>,
}

/// What the drill did to requests that no fault hit: an estimate, part of organic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Collateral {
    pub events: f64,
    /// 95 %.
    pub low_events: f64,
    pub high_events: f64,
    /// What it is compared with.
    pub compared_with: String,
}

/// Several SLOs as one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Composite {
    pub name: String,
    /// `worst`, `weighted` or `pooled`.
    pub mode: String,
    pub of: Vec<String>,
    /// Over the drill; `None`: no events.
    pub burn_rate: Option<f64>,
    /// Over the last 60 s.
    pub last_minute_burn_rate: Option<f64>,
    /// Of `worst`: the soonest of its members'.
    pub time_to_exhaustion_seconds: Option<f64>,
}
