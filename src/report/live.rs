//! Fills a [`View`] from what runs. The one place that knows both sides: a figure that the drill
//! learns to tell is put into the view here, and shown everywhere.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::budgets::{AtTheEnd, Forecasts, Light, Page};
use super::figures::{self, Bases};
use super::go_on::{self, GoOn};
use super::health;
use super::known::Known;
use super::rest::{Own, Rest, ToCome};
use super::view::{
    Consumed, Events, Fault, Halt, Hits, Note, Operations, Override, Pending, Phase, PhaseCounts,
    PhaseFault, PhaseSlo, Reload, Slo, View,
};
use crate::budget::{self, Ahead};
use crate::clock::rfc3339;
use crate::drill::control::Standing;
use crate::drill::reload::{Reloads, Report};
use crate::drill::state::{Halt as Halted, Position};
use crate::drill::watch::Figures;
use crate::drill::{Control, Stage};
use crate::plan::{FaultId, Plan, Who};
use crate::sli::snapshot::FaultCounts;
use crate::sli::{Counts, SloCounts, Snapshot};
use crate::units::show_duration;

/// What "now" looks back on, in seconds.
const NOW: u64 = 10;
/// What "at this rate" looks back on: ten seconds hold too few bad events to tell a rate from.
const MINUTE: u64 = 60;
const WHOLE_MINUTE: Duration = Duration::from_secs(MINUTE);

/// The drill as it runs.
#[derive(Debug)]
pub struct Live {
    pub control: Arc<Control>,
    pub reloads: Arc<Reloads>,
    /// Requests that faults hold now.
    pub held: Arc<AtomicUsize>,
    /// The ready file's content.
    pub instance: Value,
    /// When counting began.
    pub began: Instant,
    /// What is known of the plan in force, once somebody has asked.
    pub known: Mutex<Option<Arc<Known>>>,
}

impl Live {
    /// Requests that faults hold now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// What is worked out once a plan.
    fn known(&self, plan: &Arc<Plan>) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(known) if Arc::ptr_eq(known.plan(), plan) => Arc::clone(known),
            _ => Arc::clone(known.insert(Arc::new(Known::of(Arc::clone(plan))))),
        }
    }

    /// The drill at a glance.
    pub fn view(&self, now: Instant) -> View {
        let control = &self.control;
        let standing = control.standing(now);
        let stage = &standing.stage;
        let plan = &stage.plan;
        let ledger = control.ledger();
        let snapshot = ledger.snapshot(plan);
        let second = control.second(now);
        let reloads = self.reloads.standing();
        let recorded = now.saturating_duration_since(self.began);
        let slos = snapshot.slos.iter().enumerate();
        let faults = snapshot.faults.iter().enumerate();
        let longest = plan.safety.max_drill.filter(|_| !standing.over);
        let known = self.known(plan);
        let ends_in = longest.map(|max| max.saturating_sub(standing.elapsed).as_secs_f64());
        let to_come = ToCome::of(stage, &standing, ends_in);
        let slos: Vec<Slo> = slos
            .map(|(at, counts)| {
                let minute = events(ledger.recent(&counts.name, second, MINUTE), counts);
                let asked = Asked {
                    known: &known,
                    at,
                    counts,
                    recorded,
                    to_come: &to_come,
                    own: Own::of(plan, counts, minute, &standing.booked),
                };
                let now = events(ledger.recent(&counts.name, second, NOW), counts);
                let figures = control.figures(&counts.name);
                let ahead = |rest: &Rest| control.ahead(&counts.name, &rest.stretches);
                slo(&asked, now, minute, (figures.as_ref(), control.began()), ahead)
            })
            .collect();
        let mut view = View {
            name: plan.name.clone(),
            hypothesis: plan.hypothesis.clone(),
            drill: control.drill_id().to_owned(),
            seed: control.seed(),
            dice_version: crate::dice::STREAM_VERSION,
            state: standing.state.as_str().to_owned(),
            injecting: standing.injecting,
            halted: standing.halt.is_some(),
            halt: standing.halt.clone().map(|Halted { by, reason }| Halt { by, reason }),
            over: standing.over,
            pass_through: control.pass_through().map(str::to_owned),
            began: rfc3339(control.began()),
            elapsed_seconds: standing.elapsed.as_secs_f64(),
            recorded_seconds: recorded.as_secs_f64(),
            ends_in_seconds: ends_in,
            phase: phase(stage, &standing, now),
            next_phase: next_phase(stage),
            requests: snapshot.requests,
            requests_per_second: ledger.recent_rate(second),
            active: snapshot.active,
            held: self.held() as u64,
            refused: snapshot
                .refused
                .iter()
                .map(|(reason, count)| ((*reason).to_owned(), *count))
                .collect(),
            composites: figures::composites(plan, &slos),
            slos,
            faults: faults
                .map(|(at, counts)| Fault {
                    services: known.names(known.of_fault(at)),
                    ..fault(counts, stage, at, &standing, now)
                })
                .chain(snapshot.removed.iter().map(|counts| removed(counts, &standing)))
                .collect(),
            operations: snapshot
                .operations
                .iter()
                .map(|(route, counts)| Operations {
                    route: route.to_string(),
                    attempts: counts.attempts,
                    operations: counts.operations,
                    recovered: counts.recovered,
                    early: counts.early,
                })
                .collect(),
            phases: if plan.is_phased() { phases(plan, &snapshot, &standing) } else { Vec::new() },
            generation: reloads.generation,
            watched: reloads.watched,
            scenario_wrong: reloads.wrong,
            reload: reloads.last.as_ref().map(reload),
            pending: reloads.pending.as_ref().map(|report| Pending {
                summary: report.headline(),
                widens: report.changes.widened.clone(),
            }),
            overrides: reloads
                .overrides
                .iter()
                .map(|one| Override { key: one.path.clone(), value: one.value.clone() })
                .collect(),
            notes: control
                .notes()
                .iter()
                .map(|note| Note {
                    at: rfc3339(note.at),
                    age_seconds: age(note.at),
                    phase: note.phase.to_string(),
                    text: note.text.clone(),
                })
                .collect(),
            instance: self.instance.clone(),
            go_on: GoOn::default(),
        };
        view.go_on = go_on::go_on(&view);
        view
    }
}

fn events(seen: Counts, slo: &SloCounts) -> Events {
    let (bad, events) = (seen.bad(), seen.total());
    Events {
        events,
        bad,
        injected: seen.injected,
        masked: seen.masked,
        organic: seen.organic,
        burn_rate: budget::burn_rate(bad, events, slo.objective),
    }
}

/// One SLO of a plan, and what is known of it.
struct Asked<'a> {
    known: &'a Known,
    at: usize,
    counts: &'a SloCounts,
    recorded: Duration,
    to_come: &'a ToCome<'a>,
    own: Own,
}

fn slo(
    asked: &Asked<'_>,
    now: Events,
    last_minute: Events,
    (figures, began): (Option<&Figures>, SystemTime),
    ahead: impl Fn(&Rest) -> Option<Ahead>,
) -> Slo {
    let Asked { known, counts, recorded, to_come, .. } = *asked;
    let plan = known.plan();
    let promised = &plan.slos[asked.at];
    let (objective, window) = (counts.objective, counts.window);
    let (bad, n) = (counts.bad(), counts.total());
    // While there was traffic; in the first second nothing is known of it yet.
    let span = figures.map(|figures| Duration::from_secs(figures.span));
    let elapsed = span.filter(|span| !span.is_zero()).unwrap_or(recorded);
    let bases = Bases { slo: promised, n, elapsed };
    let budget = bases.budget(bad);
    let remaining = budget.remaining_ratio.unwrap_or(1.0);
    let minute = Bases { n: last_minute.events, elapsed: recorded.min(WHOLE_MINUTE), ..bases };
    let per_second = minute.told(last_minute.bad).map(|ratio| ratio / minute.elapsed.as_secs_f64());
    let exhaustion = match per_second {
        Some(rate) if rate > 0.0 => Some((remaining / rate).max(0.0)),
        _ if remaining <= 0.0 => Some(0.0),
        _ => None,
    };
    // Nobody counts by route and SLO: as if they had the same.
    let rate = n as f64 / elapsed.as_secs_f64() / promised.counts.len().max(1) as f64;
    let rest = (n > 0 && promised.slices.is_none())
        .then(|| Rest::of(known, asked.at, to_come, rate, asked.own))
        .filter(|rest| !rest.stretches.is_empty());
    let page = rest.as_ref().and_then(ahead);
    let drill = rest.and_then(|rest| figures::at_the_end(bases, bad, rest));
    let elsewhere = to_come.elsewhere(known, asked.at);
    let mut slo = Slo {
        name: counts.name.to_string(),
        services: known.names(known.of_slo(asked.at)),
        objective: objective.as_f64(),
        window_seconds: window.as_secs(),
        window: show_duration(window),
        total: n,
        good: counts.good,
        bad,
        injected: counts.injected,
        masked: counts.masked,
        organic: counts.organic,
        excluded: counts
            .excluded
            .iter()
            .map(|(reason, count)| ((*reason).to_owned(), *count))
            .collect(),
        now,
        last_minute,
        burn_rate: budget::burn_rate(bad, n, objective),
        budget_consumed: consumed(bases, counts.counts),
        time_to_exhaustion_seconds: exhaustion.filter(|seconds| seconds.is_finite()),
        unit: promised.unit().label().to_owned(),
        light: Light::default(),
        budget,
        alerts: figures::alerts(promised, figures, began),
        forecasts: Forecasts {
            exhaustion: figures
                .map(|figures| figures::exhaustion(bases, bad, figures))
                .unwrap_or_default(),
            drill: drill.map(|drill| AtTheEnd { faults_elsewhere: elsewhere, ..drill }),
            page: page.map(|Ahead { tier, after }| Page {
                tier: tier.name.to_string(),
                after_seconds: after,
            }),
        },
        confidence: figures::confidence(counts),
        collateral: figures::collateral(counts, plan),
    };
    slo.light = health::light(&slo);
    slo
}

fn consumed(bases: Bases<'_>, counts: Counts) -> Consumed {
    Consumed {
        basis: bases.basis().to_owned(),
        ratio: bases.told(counts.bad()),
        injected_ratio: bases.told(counts.injected),
        masked_ratio: bases.told(counts.masked),
        organic_ratio: bases.told(counts.organic),
    }
}

fn fault(
    counts: &FaultCounts,
    stage: &Stage,
    at: usize,
    standing: &Standing,
    now: Instant,
) -> Fault {
    let here = stage.fault(at as FaultId);
    let active = stage
        .phase()
        .is_some_and(|phase| phase.faults.iter().any(|(id, _)| usize::from(*id) == at));
    // What is asked for right now: after `set`, and as far as a ramp has climbed.
    let asked = match here.who {
        Who::All => Some(1.0),
        Who::Probability { share, .. } => Some(share.as_f64()),
        Who::Every(every) => Some(1.0 / every.max(1) as f64),
        Who::First(_) => None,
    };
    let climbs = matches!(here.who, Who::All | Who::Probability { .. });
    let climbed = stage.climbed(now).filter(|_| climbs).unwrap_or(1.0);
    let active = standing.injecting && active && here.enabled;
    Fault {
        active,
        in_burst: stage.is_in_burst(at as FaultId, now).filter(|_| active),
        who: here.who.to_string(),
        asked_ratio: asked.map(|share| share * climbed),
        ..removed(counts, standing)
    }
}

/// What a fault did, without what it is: all there is to say of one that is gone.
fn removed(counts: &FaultCounts, standing: &Standing) -> Fault {
    let seen = counts.phases.iter().find(|seen| seen.phase == standing.booked);
    let skipped = counts.skipped.iter();
    Fault {
        name: counts.name.to_string(),
        services: Vec::new(),
        active: false,
        in_burst: None,
        who: counts.who.clone(),
        asked_ratio: None,
        drill: Hits::new(counts.eligible, counts.hit),
        phase: seen.map_or_else(|| Hits::new(0, 0), |seen| Hits::new(seen.eligible, seen.hit)),
        skipped: skipped.map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
    }
}

/// Where the drill is; `None`: in no phase, or the scenario has none.
fn phase(stage: &Stage, standing: &Standing, now: Instant) -> Option<Phase> {
    let phase = stage.phase().filter(|_| stage.plan.is_phased())?;
    Some(Phase {
        name: phase.name.to_string(),
        index: usize::from(stage.position.phase()?) + 1,
        of: stage.plan.phases.len(),
        elapsed_seconds: standing.phase_elapsed.as_secs_f64(),
        remaining_seconds: standing.phase_left.map(|left| left.as_secs_f64()),
        until_next: phase.until_next,
        ramp_ratio: stage.climbed(now),
    })
}

fn next_phase(stage: &Stage) -> Option<String> {
    let next = match stage.position {
        Position::Before => 0,
        Position::Phase(at) => usize::from(at) + 1,
        Position::After => return None,
    };
    let next = stage.plan.phases.get(next).filter(|_| stage.plan.is_phased())?;
    Some(next.name.to_string())
}

/// What each phase saw, in the order they were first met; the running one last.
fn phases(plan: &Plan, snapshot: &Snapshot, standing: &Standing) -> Vec<PhaseCounts> {
    let mut told: Vec<PhaseCounts> = standing
        .recorded
        .iter()
        .map(|(name, recorded)| {
            let requests = snapshot.phases.iter().find(|seen| seen.phase == *name);
            let slos = snapshot.slos.iter().filter_map(|slo| {
                let seen = slo.phases.iter().find(|seen| seen.phase == *name)?;
                let promised = plan.slos.iter().find(|known| known.name == slo.name)?;
                let (n, elapsed) = (seen.counts.total(), *recorded);
                (n > 0).then(|| PhaseSlo {
                    name: slo.name.to_string(),
                    events: events(seen.counts, slo),
                    budget_consumed: consumed(Bases { slo: promised, n, elapsed }, seen.counts),
                })
            });
            let faults = snapshot.all_faults().filter_map(|fault| {
                let seen = fault.phases.iter().find(|seen| seen.phase == *name)?;
                let hits = Hits::new(seen.eligible, seen.hit);
                Some(PhaseFault { name: fault.name.to_string(), hits })
            });
            PhaseCounts {
                phase: name.to_string(),
                elapsed_seconds: recorded.as_secs_f64(),
                requests: requests.map_or(0, |seen| seen.requests),
                slos: slos.collect(),
                faults: faults.collect(),
            }
        })
        .collect();
    if let Some(at) = told.iter().position(|phase| phase.phase == *standing.booked) {
        let running = told.remove(at);
        told.push(running);
    }
    told
}

fn reload(report: &Report) -> Reload {
    let line = |note: &Value| {
        let text = |key: &str| note[key].as_str().unwrap_or_default();
        let place = match (note["file"].as_str(), note["line"].as_u64(), note["column"].as_u64()) {
            (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
            _ => String::new(),
        };
        let hint = note["hint"].as_str().map_or_else(String::new, |hint| format!(" ({hint})"));
        format!("{place}{}{hint}", text("message"))
    };
    let notes = report.notes.as_array().into_iter().flatten();
    let errors = notes.filter(|note| note["severity"] == "error").map(line);
    Reload {
        result: report.result.label().to_owned(),
        at: report.at.clone(),
        age_seconds: report.at.parse().map_or(0.0, |at: jiff::Timestamp| age(at.into())),
        generation: report.generation,
        summary: report.headline(),
        needs_restart: report.changes.needs_restart.clone(),
        errors: errors.collect(),
    }
}

/// How long ago, in seconds; 0 when the clock was set back.
fn age(at: SystemTime) -> f64 {
    crate::clock::wall().duration_since(at).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Share;

    fn counts(good: u64, injected: u64, organic: u64) -> SloCounts {
        SloCounts {
            name: "pay".into(),
            objective: Share::from_billionths(999_000_000).unwrap(),
            window: Duration::from_secs(28 * 86_400),
            counts: Counts { good, injected, masked: 0, organic },
            excluded: vec![("client_gone", 3)],
            phases: Vec::new(),
        }
    }

    fn shown(more: &str, counts: &SloCounts, minute: Events) -> Slo {
        let text = format!(
            "[proxy]\nupstream = \"http://127.0.0.1:9000\"\n[slos.pay]\nobjective = \"99.9%\"\n\
             sli.availability = {{}}\n{more}"
        );
        let (scenario, _) = crate::scenario::read(vec![("t".to_owned(), text)], &[]);
        let (plan, notes) = crate::plan::compile(&scenario);
        let plan = Arc::new(plan.unwrap_or_else(|| panic!("{notes:?}")));
        let recorded = Duration::from_secs(600);
        let asked = Asked {
            known: &Known::of(Arc::clone(&plan)),
            at: 0,
            counts,
            recorded,
            to_come: &ToCome::default(),
            own: Own::of(&plan, counts, minute, crate::plan::AFTER),
        };
        slo(&asked, minute, minute, (None, SystemTime::UNIX_EPOCH), |_| None)
    }

    fn close(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() <= 5e-7 * b.max(1.0), "{a:?} {b}");
    }

    const MINUTE_OF_20: Events = Events {
        events: 3_000,
        bad: 60,
        injected: 40,
        masked: 0,
        organic: 20,
        burn_rate: Some(20.0),
    };

    /// Slo-maths V8: ten minutes at 50 a second with 600 bad of 30,000.
    #[test]
    fn the_bill_is_split_by_cause() {
        let slo = shown("", &counts(29_400, 400, 200), MINUTE_OF_20);
        assert_eq!(slo.budget_consumed.basis, "scaled");
        close(slo.budget_consumed.ratio, 0.004_960);
        close(slo.budget_consumed.injected_ratio, 0.004_960 * 2.0 / 3.0);
        close(slo.budget_consumed.organic_ratio, 0.004_960 / 3.0);
        close(slo.burn_rate, 20.0);
        close(slo.time_to_exhaustion_seconds, (1.0 - 0.004_960_317_46) * 2_419_200.0 / 20.0);
        assert_eq!((slo.total, slo.bad, slo.window.as_str()), (30_000, 600, "28d"));
        assert_eq!(slo.excluded["client_gone"], 3);
        assert_eq!(slo.budget.more_drills, Some(200));
        assert_eq!((slo.budget.consumed_before_ratio, slo.budget.absolute_ratio), (None, None));
        assert_eq!(slo.confidence.verdict, "fail");
    }

    /// The same drill against production's traffic, four times as much, and its past.
    #[test]
    fn production_is_the_other_basis() {
        let production = "production = { rate = \"200/s\", consumed = \"18%\" }\n";
        let slo = shown(production, &counts(29_400, 400, 200), MINUTE_OF_20);
        assert_eq!(slo.budget_consumed.basis, "absolute");
        close(slo.budget_consumed.ratio, 0.001_240);
        close(slo.budget.scaled_ratio, 0.004_960);
        close(slo.budget.absolute_ratio, 0.001_240);
        close(slo.budget.remaining_ratio, 1.0 - 0.18 - 0.001_240);
        // r · B / λ, at one bad event a second.
        let left = (1.0 - 0.18) * 483_840.0 - 600.0;
        close(slo.time_to_exhaustion_seconds, left);
        assert_eq!(slo.budget.more_drills, Some(660));
        let gone = shown("production = { consumed = \"100%\" }\n", &counts(9, 1, 0), MINUTE_OF_20);
        assert_eq!(gone.time_to_exhaustion_seconds, Some(0.0));
        assert_eq!((gone.light.colour.as_str(), gone.budget.more_drills), ("red", Some(0)));
        // More than all of it, which is never clamped.
        let red = shown("production = { consumed = \"130%\" }\n", &counts(9, 1, 0), MINUTE_OF_20);
        let spent = red.budget_consumed.ratio.unwrap();
        close(red.budget.consumed_before_ratio, 1.3);
        assert!((red.budget.remaining_ratio.unwrap() - (1.0 - 1.3 - spent)).abs() < 1e-12);
        assert_eq!((red.time_to_exhaustion_seconds, red.budget.more_drills), (Some(0.0), Some(0)));
    }
}
