//! What the counts come to, second by second: each SLO's past, the alerts production would have had,
//! slices of time, and the allowance. The time and the counts are arguments.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::{
    self, Ahead, Change, Confidence, Dialect, Empty, Happened, History, Pad, Replay, Slice,
    Stretch, Tier, Totals,
};
use crate::plan::{Per, Plan, SliceTarget, Slices, Slo};
use crate::sli::{Cause, Counts, Event, Ledger};
use crate::units::show_duration;

/// Points of a past that lines are drawn through.
const POINTS: u64 = 60;

/// All SLOs there ever were, by name: a reload that drops one and brings it back finds its past.
#[derive(Debug, Default)]
pub struct Watch {
    /// Seconds that have been looked at.
    second: u64,
    slos: HashMap<Arc<str>, Watched>,
}

#[derive(Debug)]
struct Watched {
    /// Requests at the last look; operations where those count.
    seen: Counts,
    history: History,
    replay: Replay,
    /// What the replay was made of: what counts, and its rules.
    made_of: (Counted, Rules),
    /// When the running slice began, and what had been counted then.
    slice: (u64, Counts),
    lookback: Duration,
    /// The allowance it has reached, so that it halts once only.
    spent: Option<crate::units::Share>,
}

type Counted = (Option<Slices>, Per);
type Rules = (crate::plan::Alerts, crate::units::Share, crate::plan::Production);

/// What a look found.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Alert(Alert),
    /// An allowance is used up: whose, and how.
    Spent((Arc<str>, String)),
}

/// An alert that would have fired, or been over.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub slo: Arc<str>,
    pub tier: Tier,
    pub dialect: Dialect,
    pub happened: Happened,
    /// Seconds since counting began.
    pub after: u64,
    /// The phase it happened in.
    pub phase: Arc<str>,
}

/// An SLO's past.
#[derive(Debug, Clone)]
pub struct Figures {
    pub replay: Replay,
    /// Requests, or operations, up to the last second counted, by cause.
    pub seen: Counts,
    /// Seconds counted.
    pub seconds: u64,
    /// Of those, from the first event to the last.
    pub span: u64,
    /// Events of the last `lookback`.
    pub recent: Totals,
    pub lookback: Duration,
    /// Burn rates over the alerts' windows, in seconds.
    pub windows: Vec<(u64, Option<f64>)>,
    /// Sums at moments, evenly spread over the past, the last of them now.
    pub trend: Vec<(u64, Totals)>,
}

impl Watch {
    /// A second has passed since the last look.
    pub fn is_due(&self, second: u64) -> bool {
        second > self.second
    }

    /// Takes in what was counted up to `second`; `phase` is what happens now. An allowance is for
    /// drills that may inject: used up while none does, it is told when one does again.
    pub fn look(
        &mut self,
        second: u64,
        plan: &Plan,
        ledger: &Ledger,
        (phase, may_inject): (&Arc<str>, bool),
    ) -> Vec<Seen> {
        if !self.is_due(second) {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.second, second);
        let mut found = Vec::new();
        for (slo, counts) in plan.slos.iter().zip(ledger.totals(plan)) {
            let watched =
                self.slos.entry(Arc::clone(&slo.name)).or_insert_with(|| Watched::new(slo, before));
            watched.follow(slo, counts, before);
            let since = minus(counts, watched.seen);
            watched.seen = counts;
            let new = match slo.slices {
                None => Totals { n: since.total(), bad: since.bad() },
                Some(slices) => watched.slices(slo, slices, second, ledger, phase),
            };
            watched.history.record(second, new);
            let changes = watched.replay.ask(&watched.history);
            found.extend(changes.into_iter().map(|Change { tier, at, happened }| {
                Seen::Alert(Alert {
                    slo: Arc::clone(&slo.name),
                    tier,
                    dialect: slo.alerts.dialect,
                    happened,
                    after: at,
                    phase: Arc::clone(phase),
                })
            }));
            watched.look_back(slo);
            if may_inject {
                let spent = watched.allowance(slo);
                found.extend(spent.map(|why| Seen::Spent((Arc::clone(&slo.name), why))));
            }
        }
        found
    }

    /// The past of one; `None`: no second of it is over.
    pub fn figures(&self, slo: &str) -> Option<Figures> {
        let watched = self.slos.get(slo)?;
        let history = &watched.history;
        Some(Figures {
            replay: watched.replay.clone(),
            seen: watched.seen,
            seconds: history.seconds(),
            span: history.span(),
            recent: history.recent(watched.lookback.as_secs()),
            lookback: watched.lookback,
            windows: watched.replay.windows(history),
            trend: trend(history),
        })
    }

    /// The first page that one's alerts would fire in what is expected to come.
    pub fn ahead(&self, slo: &str, to_come: &[Stretch]) -> Option<Ahead> {
        let watched = self.slos.get(slo)?;
        watched.replay.ahead(&watched.history, to_come)
    }

    /// All that is known of one, as sums at moments.
    pub fn points(&self, slo: &str) -> Vec<(u64, Totals)> {
        self.slos.get(slo).map_or_else(Vec::new, |watched| watched.history.points())
    }
}

/// As few points as a line needs, the last of them now.
fn trend(history: &History) -> Vec<(u64, Totals)> {
    let end = history.seconds();
    let count = end.min(POINTS);
    let seconds = (1..=count).map(|at| at * end / count);
    seconds.map(|second| (second, history.sum_at(second))).collect()
}

fn minus(now: Counts, then: Counts) -> Counts {
    Counts {
        good: now.good.saturating_sub(then.good),
        injected: now.injected.saturating_sub(then.injected),
        masked: now.masked.saturating_sub(then.masked),
        organic: now.organic.saturating_sub(then.organic),
    }
}

fn counted(slo: &Slo) -> Counted {
    (slo.slices, slo.per)
}

fn rules(slo: &Slo) -> Rules {
    (slo.alerts.clone(), slo.objective, slo.production)
}

/// The alerts of an SLO, asked of a history in which an event counts for so many.
pub fn replay(slo: &Slo, each: f64) -> Replay {
    let per_second = slo.per_window().map(|events| each * events / slo.window.as_secs_f64());
    let alerts = &slo.alerts;
    let pad = Pad { rate: per_second, bad: slo.production.error_rate.billionths() };
    Replay::new(alerts.tiers.to_vec(), slo.objective, pad, alerts.min_bad, alerts.interval)
}

impl Watched {
    /// Nothing was counted before `second`.
    fn new(slo: &Slo, second: u64) -> Self {
        let mut history = History::default();
        history.record(second, Totals::default());
        Self {
            seen: Counts::default(),
            history,
            replay: replay(slo, 1.0),
            made_of: (counted(slo), rules(slo)),
            slice: (second, Counts::default()),
            lookback: Duration::from_secs(60),
            spent: None,
        }
    }

    /// A reload may have changed what is promised. What was counted stays, unless it is something
    /// else that is counted now.
    fn follow(&mut self, slo: &Slo, counts: Counts, second: u64) {
        if self.made_of.0 != counted(slo) {
            // Requests are no operations: none of them is compared with the other.
            let seen = if self.made_of.0.1 == slo.per { self.seen } else { counts };
            *self = Self { seen, slice: (second, seen), ..Self::new(slo, second) };
        } else if self.made_of.1 != rules(slo) {
            self.replay = replay(slo, 1.0).following(&self.replay);
            self.made_of.1 = rules(slo);
        }
    }

    /// Ends the slice whose time is over, and those that passed unseen.
    fn slices(
        &mut self,
        slo: &Slo,
        slices: Slices,
        second: u64,
        ledger: &Ledger,
        phase: &Arc<str>,
    ) -> Totals {
        let over = (second - self.slice.0) / slices.seconds;
        if over == 0 {
            return Totals::default();
        }
        let counted = minus(self.seen, self.slice.1);
        self.slice = (self.slice.0 + over * slices.seconds, self.seen);
        let mut events = Vec::new();
        events.extend(judged(counted, slices).map(|event| (event, 1)));
        events.extend(judged(Counts::default(), slices).map(|event| (event, over - 1)));
        events.retain(|(_, count)| *count > 0);
        ledger.slices(&slo.name, phase, second.saturating_sub(1), &events);
        let sum = |bad: bool| {
            let of = events.iter().filter(|(event, _)| !bad || *event != Event::Good);
            of.map(|(_, count)| count).sum()
        };
        Totals { n: sum(false), bad: sum(true) }
    }

    fn look_back(&mut self, slo: &Slo) {
        let recent = self.history.recent(self.lookback.as_secs());
        let rate = budget::burn_rate(recent.bad, recent.n, slo.objective);
        let left = rate.and_then(|rate| {
            let spent = self.consumed(slo).unwrap_or(0.0);
            budget::time_to_exhaustion(rate, budget::remaining(spent), slo.window)
        });
        self.lookback = budget::lookback(self.lookback, left.map(|left| left.as_secs_f64()));
    }

    /// What the drill has spent of the budget, on the basis that is told.
    fn consumed(&self, slo: &Slo) -> Option<f64> {
        let Totals { n, bad } = self.history.total();
        if let Some(per_window) = slo.per_window() {
            return budget::consumed_absolute(bad, slo.objective, per_window);
        }
        let elapsed = Duration::from_secs(self.history.span());
        budget::consumed_scaled(bad, n, slo.objective, elapsed, slo.window)
    }

    fn allowance(&mut self, slo: &Slo) -> Option<String> {
        let allowance = slo.allowance?;
        let consumed = self.consumed(slo)?;
        if consumed < allowance.as_f64() || self.spent == Some(allowance) {
            return None;
        }
        self.spent = Some(allowance);
        let burned = consumed * 100.0;
        // Two digits of what is small: it is held against an allowance that may be smaller still.
        let digits =
            if burned > 0.0 { (1.0 - burned.log10().floor()).clamp(2.0, 9.0) } else { 2.0 };
        Some(format!(
            "{burned:.*}% of the {} budget is burned, {allowance} was allowed",
            digits as usize,
            show_duration(slo.window)
        ))
    }
}

/// Whether a slice was good, and whose doing it is that it was not: injected if it would have been
/// good without what was injected, then masked, else the service's own. `None`: it is skipped.
fn judged(seen: Counts, slices: Slices) -> Option<Event> {
    let good = |good: u64| match slices.target {
        SliceTarget::Good(target) => {
            let n = seen.total();
            Slice { n, bad: n - good }.is_good(target, slices.empty)
        }
        SliceTarget::AtLeast(rate) if seen.total() > 0 => {
            Some(good as f64 >= rate.per_second() * slices.seconds as f64)
        }
        SliceTarget::AtLeast(_) => match slices.empty {
            Empty::Good => Some(true),
            Empty::Skip => None,
            Empty::Bad => Some(false),
        },
    };
    Some(if good(seen.good)? {
        Event::Good
    } else if seen.injected > 0 && good(seen.good + seen.injected)? {
        Event::Bad(Cause::Injected)
    } else if seen.masked > 0 && good(seen.good + seen.injected + seen.masked)? {
        Event::Bad(Cause::Masked)
    } else {
        Event::Bad(Cause::Organic)
    })
}

/// An interval of a forecast, for whoever shows it.
pub const SURE: Confidence = Confidence::P80;

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
