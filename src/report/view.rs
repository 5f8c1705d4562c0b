//! The drill at a glance, as plain data: what `GET /api/v1/status` answers, and what the meter,
//! `backburn status` and the closing summary show. Every figure is final: whoever shows it formats,
//! and works nothing out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::budgets::{Alerts, Budget, Collateral, Composite, Confidence, Forecasts, Light};
use super::go_on::GoOn;

/// A drill, as it stands. Fields that are missing (an older instance answered) are empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own in the JSON")]
pub struct View {
    /// The scenario's name.
    pub name: String,
    pub hypothesis: Option<String>,
    /// The drill's id.
    pub drill: String,
    pub seed: u64,
    /// Which algorithm turns the seed into draws.
    pub dice_version: u32,
    /// `waiting`, `running`, `paused`, `halted` or `finished`.
    pub state: String,
    /// Faults may fire.
    pub injecting: bool,
    /// A halt has not been lifted; in a drill that is finished, was not.
    pub halted: bool,
    /// That halt.
    pub halt: Option<Halt>,
    /// The drill's time is over: nothing is injected any more, recording goes on.
    pub over: bool,
    /// Why nothing is injected in this run at all.
    pub pass_through: Option<String>,
    /// RFC 3339.
    pub began: String,
    /// On the drill clock, which stands while nothing may be injected.
    pub elapsed_seconds: f64,
    /// Since counting began: the stretch that the SLOs' counts cover.
    pub recorded_seconds: f64,
    /// Until `max_drill` ends injection, where it does.
    pub ends_in_seconds: Option<f64>,
    /// The phase the drill is in.
    pub phase: Option<Phase>,
    pub next_phase: Option<String>,
    /// Requests that ended.
    pub requests: u64,
    /// Over the last 5 s.
    pub requests_per_second: f64,
    /// Requests under way.
    pub active: i64,
    /// Of those, held by faults.
    pub held: u64,
    /// Refused by backburn before routing, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Is it safe to go on?
    pub go_on: GoOn,
    /// In file order.
    pub slos: Vec<Slo>,
    /// Several SLOs as one.
    pub composites: Vec<Composite>,
    /// In file order.
    pub faults: Vec<Fault>,
    /// Routes whose requests are attempts of operations.
    pub operations: Vec<Operations>,
    /// What each phase saw, in order; the running one is the last.
    pub phases: Vec<PhaseCounts>,
    /// How many plans have been in force, the one at the start included.
    pub generation: u64,
    /// Where the scenario's files are watched, for people.
    pub watched: String,
    /// The files have mistakes: what runs is not what they say.
    pub scenario_wrong: bool,
    /// The last reload there was.
    pub reload: Option<Reload>,
    /// A reload that waits for somebody to accept it.
    pub pending: Option<Pending>,
    /// Live changes in force.
    pub overrides: Vec<Override>,
    /// What people wrote down, oldest first.
    pub notes: Vec<Note>,
    /// The ready file's content: addresses, process id, data directory.
    pub instance: Value,
}

impl View {
    /// More than one service takes part, so that it has to be said which.
    pub fn has_several_services(&self) -> bool {
        let slos = self.slos.iter().map(|slo| &slo.services);
        let mut all = slos.chain(self.faults.iter().map(|fault| &fault.services)).flatten();
        let first = all.next();
        all.any(|service| Some(service) != first)
    }

    /// The services that were faulted in this drill, if none of them is the SLO's: whatever is bad
    /// there is what its service made of it, or would have been bad anyway.
    pub fn faulted_elsewhere(&self, slo: &Slo) -> Vec<&str> {
        let hit = self.faults.iter().filter(|fault| fault.drill.hit > 0);
        let mut services: Vec<&str> = Vec::new();
        for service in hit.flat_map(|fault| &fault.services) {
            if slo.services.contains(service) {
                return Vec::new();
            }
            if !services.contains(&service.as_str()) {
                services.push(service);
            }
        }
        services
    }
}

/// Who stopped it, how, and why.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Halt {
    pub by: String,
    /// May be empty.
    pub reason: String,
}

/// Where the drill is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Phase {
    pub name: String,
    /// From 1.
    pub index: usize,
    pub of: usize,
    pub elapsed_seconds: f64,
    /// `None`: only `next` ends it.
    pub remaining_seconds: Option<f64>,
    /// A facilitator may end it, or has to.
    pub until_next: bool,
    /// How far the probabilities have climbed, 0 to 1; `None`: they do not ramp, or have arrived.
    pub ramp_ratio: Option<f64>,
}

/// Events of one SLO over some stretch: `events = good + injected + masked + organic`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    pub events: u64,
    pub bad: u64,
    pub injected: u64,
    pub masked: u64,
    pub organic: u64,
    /// Of this stretch; `None`: no events.
    pub burn_rate: Option<f64>,
}

impl Events {
    /// Those that were not bad.
    pub fn good(&self) -> u64 {
        self.events.saturating_sub(self.bad)
    }

    /// Injected, masked, organic.
    pub fn causes(&self) -> [u64; 3] {
        [self.injected, self.masked, self.organic]
    }
}

/// One SLO: the drill's counts, what is going on, and what it costs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Slo {
    pub name: String,
    /// The services whose routes it counts.
    pub services: Vec<String>,
    /// Share of good events asked for, between 0 and 1.
    pub objective: f64,
    pub window_seconds: u64,
    /// As written: `28d`.
    pub window: String,
    pub total: u64,
    pub good: u64,
    pub bad: u64,
    pub injected: u64,
    pub masked: u64,
    pub organic: u64,
    /// Requests that are no event of it, by reason.
    pub excluded: BTreeMap<String, u64>,
    /// The last 10 s.
    pub now: Events,
    /// The last 60 s: what "at this rate" means.
    pub last_minute: Events,
    /// Over the drill; `None`: no events.
    pub burn_rate: Option<f64>,
    pub budget_consumed: Consumed,
    /// Until what is left of the budget is gone at the last minute's burn rate; `None`: it is not
    /// being spent.
    pub time_to_exhaustion_seconds: Option<f64>,
    /// `requests`, `operations` or `slices`: what its events are.
    pub unit: String,
    pub light: Light,
    pub budget: Budget,
    pub alerts: Alerts,
    pub forecasts: Forecasts,
    pub confidence: Confidence,
    /// `None`: there is nothing to compare with.
    pub collateral: Option<Collateral>,
}

impl Slo {
    /// One of its events: `request`, `operation` or `slice`.
    pub fn event(&self) -> &str {
        self.unit.strip_suffix('s').unwrap_or("request")
    }

    /// The drill as one stretch.
    pub fn drill(&self) -> Events {
        Events {
            events: self.total,
            bad: self.bad,
            injected: self.injected,
            masked: self.masked,
            organic: self.organic,
            burn_rate: self.burn_rate,
        }
    }
}

/// What a stretch cost, as a share of the window's budget; each `None` without events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Consumed {
    /// `scaled`: as if the whole window had this stretch's traffic. `absolute`: of the events that
    /// production may lose.
    pub basis: String,
    /// The three causes' sum; may exceed 1.
    pub ratio: Option<f64>,
    pub injected_ratio: Option<f64>,
    pub masked_ratio: Option<f64>,
    pub organic_ratio: Option<f64>,
}

/// One fault: what it asks for, and what came of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    pub name: String,
    /// The services whose routes it is on.
    pub services: Vec<String>,
    /// It may fire now: enabled, in the phase, and the drill injects.
    pub active: bool,
    /// It comes in bursts, and is in one; `None`: it does not come and go, or is not active.
    pub in_burst: Option<bool>,
    /// In the scenario's words: `5%`, `first 3`, `every 10`, `all`.
    pub who: String,
    /// The share asked for at this moment (after `set` and ramp), where the fault has one.
    pub asked_ratio: Option<f64>,
    /// Over the drill.
    #[serde(flatten)]
    pub drill: Hits,
    /// In the running phase.
    pub phase: Hits,
    /// Requests that were due and let through, by reason.
    pub skipped: BTreeMap<String, u64>,
}

/// How often a fault could hit, and did.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hits {
    pub eligible: u64,
    pub hit: u64,
    /// `hit / eligible`; `None`: nothing was eligible.
    pub applied_ratio: Option<f64>,
}

impl Hits {
    /// With the share they come to.
    pub fn new(eligible: u64, hit: u64) -> Self {
        let applied_ratio = (eligible > 0).then(|| hit as f64 / eligible as f64);
        Self { eligible, hit, applied_ratio }
    }
}

/// What callers' retries made of a route's failures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Operations {
    pub route: String,
    /// Requests.
    pub attempts: u64,
    /// What they were attempts of.
    pub operations: u64,
    /// Failed at first and then succeeded.
    pub recovered: u64,
    /// Not waited for, for want of room: a retry of theirs counted as another operation.
    pub early: u64,
}

/// What one phase saw.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseCounts {
    pub phase: String,
    pub elapsed_seconds: f64,
    pub requests: u64,
    /// The SLOs of [`View::slos`] that had events.
    pub slos: Vec<PhaseSlo>,
    /// The faults that were active.
    pub faults: Vec<PhaseFault>,
}

/// One SLO within a phase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseSlo {
    pub name: String,
    #[serde(flatten)]
    pub events: Events,
    pub budget_consumed: Consumed,
}

/// One fault within a phase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseFault {
    pub name: String,
    #[serde(flatten)]
    pub hits: Hits,
}

/// A reload that was tried.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reload {
    /// `applied`, `unchanged`, `rejected` or `held`.
    pub result: String,
    /// RFC 3339.
    pub at: String,
    pub age_seconds: f64,
    /// The plan in force after it.
    pub generation: u64,
    /// What came of it, in one line.
    pub summary: String,
    /// What the files say and this process cannot do any more.
    pub needs_restart: Vec<String>,
    /// Why it was rejected, one line each, with file and place.
    pub errors: Vec<String>,
}

/// A reload that would widen the blast radius and waits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// What changes, in one line.
    pub summary: String,
    /// What would widen, one line each.
    pub widens: Vec<String>,
}

/// A live change (`set`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Override {
    pub key: String,
    pub value: String,
}

/// What somebody wrote down.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    /// RFC 3339.
    pub at: String,
    pub age_seconds: f64,
    pub phase: String,
    pub text: String,
}
