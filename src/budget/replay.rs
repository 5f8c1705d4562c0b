//! Would we have been paged? The alerts' conditions, asked of a [`History`] at every interval as
//! production would ask its own.

use super::history::{History, Pad, Parts};
use super::tier::Tier;
use crate::units::Share;

/// The most firings that are remembered a tier; the first ones stay.
const MOST: usize = 100;

/// An SLO's alerts over a drill. Times are in seconds since the history's beginning.
#[derive(Debug, Clone)]
pub struct Replay {
    tiers: Vec<Tier>,
    objective: Share,
    pad: Pad,
    /// Bad events that the short window needs before anything fires; 0: what the dialect says.
    min_bad: u64,
    /// How often the conditions are asked, in seconds.
    interval: u64,
    asked: u64,
    states: Vec<TierState>,
}

/// How one tier stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TierState {
    /// How near the condition is: 1 is the threshold, above it holds. The smaller of the two
    /// windows' shares over the threshold. `None`: no events yet.
    pub pressure: Option<f64>,
    /// Since when the condition holds, if it does.
    pub since: Option<u64>,
    pub firing: bool,
    /// When it fired, and when that was over, if it is.
    pub fired: Vec<(u64, Option<u64>)>,
    /// The highest pressure so far, and when.
    pub highest: f64,
    pub highest_at: u64,
}

/// A tier that began or ceased to fire.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub tier: Tier,
    pub at: u64,
    pub happened: Happened,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    Fired,
    Resolved,
}

/// The tier that came nearest to firing.
#[derive(Debug, Clone, PartialEq)]
pub struct Closest<'r> {
    pub tier: &'r Tier,
    pub pressure: f64,
    pub at: u64,
}

impl Replay {
    pub fn new(tiers: Vec<Tier>, objective: Share, pad: Pad, min_bad: u64, interval: u64) -> Self {
        let states = vec![TierState::default(); tiers.len()];
        Self { tiers, objective, pad, min_bad, interval: interval.max(1), asked: 0, states }
    }

    /// Takes over what another replay has seen, by the tiers' names: after a reload what fires goes
    /// on to fire until the new condition says otherwise.
    #[must_use]
    pub fn following(mut self, before: &Self) -> Self {
        for (tier, state) in self.tiers.iter().zip(&mut self.states) {
            let was = before.tiers.iter().position(|known| known.name == tier.name);
            if let Some(was) = was {
                *state = before.states[was].clone();
            }
        }
        self.asked = before.asked;
        self
    }

    pub(super) fn objective(&self) -> Share {
        self.objective
    }

    pub(super) fn pad(&self) -> Pad {
        self.pad
    }

    pub(super) fn min_bad(&self) -> u64 {
        self.min_bad
    }

    /// Each tier and how it stands.
    pub fn tiers(&self) -> impl Iterator<Item = (&Tier, &TierState)> {
        self.tiers.iter().zip(&self.states)
    }

    /// Asks the conditions, if their time has come since the last call.
    pub fn ask(&mut self, history: &History) -> Vec<Change> {
        let now = history.seconds();
        if now / self.interval == self.asked / self.interval {
            return Vec::new();
        }
        self.asked = now;
        let mut changes = Vec::new();
        for (tier, state) in self.tiers.iter().zip(&mut self.states) {
            let long = history.window(tier.long, self.pad);
            let short = history.window(tier.short, self.pad);
            let holds = exceeds(long, tier, self.objective)
                && exceeds(short, tier, self.objective)
                && short.counted_bad >= u128::from(self.min_bad) * 1_000_000;
            state.pressure = pressure([long, short], tier, self.objective).map(|pressure| {
                let few = match self.min_bad {
                    0 => f64::INFINITY,
                    least => short.counted_bad as f64 / 1e6 / least as f64,
                };
                // Rounding must not say otherwise than whole numbers do.
                let pressure = pressure.min(few);
                if holds { pressure.max(1.0_f64.next_up()) } else { pressure.min(1.0) }
            });
            if let Some(pressure) = state.pressure.filter(|pressure| *pressure > state.highest) {
                (state.highest, state.highest_at) = (pressure, now);
            }
            let happened = state.go_on(holds, now, tier.hold);
            changes.extend(happened.map(|happened| Change {
                tier: tier.clone(),
                at: now,
                happened,
            }));
        }
        changes
    }

    /// The burn rate over each window that a tier looks at, filled up as it is for the alerts, the
    /// shortest first; `None`: no events.
    pub fn windows(&self, history: &History) -> Vec<(u64, Option<f64>)> {
        let mut windows: Vec<u64> =
            self.tiers.iter().flat_map(|tier| [tier.short, tier.long]).collect();
        windows.sort_unstable();
        windows.dedup();
        let rest = self.objective.rest().as_f64();
        let burn = |window| {
            let seen = history.window(window, self.pad);
            (seen.n > 0).then(|| seen.bad as f64 / seen.n as f64 / rest)
        };
        windows.into_iter().map(|window| (window, burn(window))).collect()
    }

    /// Which tier came nearest to firing so far; `None`: no bad event counted towards any.
    pub fn closest(&self) -> Option<Closest<'_>> {
        let nearest = self.tiers().filter(|(_, state)| state.highest > 0.0);
        let nearest = nearest.max_by(|(_, a), (_, b)| a.highest.total_cmp(&b.highest));
        nearest.map(|(tier, state)| Closest { tier, pressure: state.highest, at: state.highest_at })
    }
}

impl TierState {
    fn go_on(&mut self, holds: bool, now: u64, hold: u64) -> Option<Happened> {
        if !holds {
            self.since = None;
            if !self.firing {
                return None;
            }
            self.firing = false;
            if let Some((_, over @ None)) = self.fired.last_mut() {
                *over = Some(now);
            }
            return Some(Happened::Resolved);
        }
        let since = *self.since.get_or_insert(now);
        if self.firing || now - since < hold {
            return None;
        }
        self.firing = true;
        if self.fired.len() < MOST {
            self.fired.push((now, None));
        }
        Some(Happened::Fired)
    }
}

/// `bad / n > f · e`, in whole numbers.
fn exceeds(seen: Parts, tier: &Tier, objective: Share) -> bool {
    if seen.n == 0 {
        return false;
    }
    let (num, den) = tier.factor.parts();
    let e = u128::from(objective.rest().billionths());
    let left =
        seen.bad.checked_mul(u128::from(den)).and_then(|left| left.checked_mul(1_000_000_000));
    let right = seen.n.checked_mul(u128::from(num)).and_then(|right| right.checked_mul(e));
    match (left, right) {
        (Some(left), Some(right)) => left > right,
        _ => seen.bad as f64 / seen.n as f64 > tier.threshold(objective),
    }
}

fn pressure(windows: [Parts; 2], tier: &Tier, objective: Share) -> Option<f64> {
    let threshold = tier.threshold(objective);
    let of = |seen: Parts| (seen.n > 0).then(|| seen.bad as f64 / seen.n as f64 / threshold);
    let [long, short] = windows.map(of);
    Some(long?.min(short?))
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
