//! The handle through which the API, signals, the HALT file, reloads and the clock act on the
//! drill. It publishes what follows: first the new stage, then the order to let held requests go,
//! so that a request that starts to wait after the order finds that it need not.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::counters::Counters;
use super::stage::{Scene, Stage, booked};
use super::state::{Adopted, Change, Drill, Halt, Position, Refusal, State, Step};
use super::watch::{Alert, Figures, Seen, Watch};
use crate::budget::{Ahead, Happened, Stretch};
use crate::plan::Plan;
use crate::sli::{Ledger, Snapshot};

/// Held requests go on at this many a second at least.
const RELEASE_PER_SECOND: f64 = 4000.0;
/// The most notes, and alerts, that are kept; the first go first.
const NOTES: usize = 1000;

/// Order to the workers: let every held request go, at this many a second over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Release {
    /// Grows with each order; 0: none yet.
    pub epoch: u64,
    pub per_second: f64,
}

#[derive(Debug)]
pub struct Settings {
    pub seed: u64,
    /// `--env`.
    pub environment: Option<String>,
    /// Wait for `start`.
    pub hold: bool,
    /// Deleted by `rearm`.
    pub halt_file: Option<PathBuf>,
}

#[derive(Debug)]
pub struct Control {
    /// What runs right now; requests take it from here.
    pub stage: Arc<ArcSwap<Stage>>,
    pub release: watch::Sender<Release>,
    /// Rung when the clock has to be looked at sooner than was known.
    pub changed: Notify,
    drill: Mutex<Whole>,
    /// Apart from the drill: nothing that changes it waits for sums.
    watched: Mutex<Watched>,
    ledger: Arc<Ledger>,
    id: String,
    seed: u64,
    began: SystemTime,
    epoch: Instant,
    /// Why nothing is ever injected in this run.
    pass_through: Option<String>,
    halt_file: Option<PathBuf>,
}

/// What changes together.
#[derive(Debug)]
struct Whole {
    drill: Drill,
    counters: Counters,
    notes: Vec<Note>,
    recorded: Recorded,
    /// Stages that others have replaced, until [`Control::unused`] takes them.
    replaced: Vec<Arc<Stage>>,
}

/// What the counts come to.
#[derive(Debug, Default)]
struct Watched {
    watch: Watch,
    /// Alerts that would have fired or been over, oldest first.
    alerts: Vec<Alert>,
}

/// How long requests have been booked under what, paused or not.
#[derive(Debug)]
struct Recorded {
    under: Arc<str>,
    since: Instant,
    /// In the order they were first met.
    before: Vec<(Arc<str>, Duration)>,
}

impl Recorded {
    fn book(&mut self, under: Arc<str>, now: Instant) {
        if under == self.under {
            return;
        }
        let was = std::mem::replace(&mut self.under, under);
        let time = now.saturating_duration_since(self.since);
        self.since = now;
        add(&mut self.before, was, time);
    }

    fn all(&self, now: Instant) -> Vec<(Arc<str>, Duration)> {
        let mut all = self.before.clone();
        let time = now.saturating_duration_since(self.since);
        add(&mut all, Arc::clone(&self.under), time);
        all
    }
}

fn add(times: &mut Vec<(Arc<str>, Duration)>, name: Arc<str>, time: Duration) {
    match times.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum += time,
        None => times.push((name, time)),
    }
}

/// What somebody wrote down while the drill ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub at: SystemTime,
    /// The phase's name, or what stands for none.
    pub phase: Arc<str>,
    pub text: String,
    pub team: Option<String>,
    /// Work done by hand, in minutes.
    pub toil_minutes: Option<u32>,
}

/// A drill as seen from outside.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What runs, as of the same moment.
    pub stage: Arc<Stage>,
    pub state: State,
    pub injecting: bool,
    /// The last phase, or the drill's longest time, is over.
    pub over: bool,
    pub halt: Option<Halt>,
    pub elapsed: Duration,
    pub position: Position,
    /// What requests that arrive now are booked under.
    pub booked: Arc<str>,
    pub phase_elapsed: Duration,
    /// `None`: only a facilitator ends the phase, or there is none.
    pub phase_left: Option<Duration>,
    /// How long requests have been booked under what, in order of first appearance.
    pub recorded: Vec<(Arc<str>, Duration)>,
}

impl Control {
    pub fn new(ledger: Arc<Ledger>, plan: Arc<Plan>, settings: Settings, now: Instant) -> Self {
        let pass_through = outside(&plan.safety.environments, settings.environment.as_deref());
        let began = crate::clock::wall();
        let drill = Drill::new(now, settings.hold, plan.safety.max_drill, script(&plan));
        let id = drill_id(began, &plan.name);
        let mut counters = Counters::default();
        let scene = scene(&drill, settings.seed, pass_through.is_none(), now);
        let under = booked(&plan, drill.position());
        let recorded = Recorded { under, since: now, before: Vec::new() };
        let stage = Stage::new(plan, &ledger, &mut counters, scene);
        Self {
            stage: Arc::new(ArcSwap::from_pointee(stage)),
            release: watch::Sender::new(Release::default()),
            changed: Notify::new(),
            drill: Mutex::new(Whole {
                drill,
                counters,
                notes: Vec::new(),
                recorded,
                replaced: Vec::new(),
            }),
            watched: Mutex::default(),
            ledger,
            id,
            seed: settings.seed,
            began,
            epoch: now,
            pass_through,
            halt_file: settings.halt_file,
        }
    }

    /// `YYYYMMDD-HHMM-NAME`, in UTC.
    pub fn drill_id(&self) -> &str {
        &self.id
    }
    pub fn seed(&self) -> u64 {
        self.seed
    }
    pub fn began(&self) -> SystemTime {
        self.began
    }
    /// Why nothing is injected in this run at all, if so.
    pub fn pass_through(&self) -> Option<&str> {
        self.pass_through.as_deref()
    }
    /// The plan in force.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.stage.load().plan)
    }
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn whole(&self) -> MutexGuard<'_, Whole> {
        // A panic elsewhere leaves the drill as it was: every change is made whole.
        self.drill.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn standing(&self, now: Instant) -> Standing {
        let whole = self.whole();
        let drill = &whole.drill;
        let stage = self.stage.load_full();
        Standing {
            state: drill.state(),
            injecting: drill.may_inject() && self.pass_through.is_none(),
            over: drill.is_over(),
            halt: drill.halt_note().cloned(),
            elapsed: drill.elapsed(now),
            position: drill.position(),
            booked: booked(&stage.plan, drill.position()),
            stage,
            phase_elapsed: drill.phase_elapsed(now),
            phase_left: drill.phase_left(now),
            recorded: whole.recorded.all(now),
        }
    }

    pub fn is_halted(&self) -> bool {
        self.whole().drill.state() == State::Halted
    }

    pub fn snapshot(&self) -> Snapshot {
        self.ledger.snapshot(&self.plan())
    }

    /// Whole seconds since the process began: the ledger's one-second cells.
    pub fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_secs()
    }

    /// How many callers a fault's `per` has forgotten for want of room.
    pub fn evicted(&self, fault: &str) -> u64 {
        self.whole().counters.evicted(fault)
    }

    /// Puts what follows from the drill, and a new plan if there is one, on stage; when injection
    /// ends, lets held requests go.
    fn publish(&self, whole: &mut Whole, plan: Option<Arc<Plan>>, now: Instant) {
        let Whole { drill, counters, recorded, replaced, .. } = whole;
        let current = self.stage.load_full();
        let scene = scene(drill, self.seed, self.pass_through.is_none(), now);
        let stage = if plan.is_none() && !scene.injecting && scene.position == current.position {
            current.at_rest(scene)
        } else {
            let plan = plan.unwrap_or_else(|| Arc::clone(&current.plan));
            Stage::new(plan, &self.ledger, counters, scene)
        };
        recorded.book(booked(&stage.plan, drill.position()), now);
        self.stage.store(Arc::new(stage));
        self.changed.notify_one();
        let finished = drill.state() == State::Finished;
        if scene.releasing && (!current.releasing || finished) {
            let second = self.second(now);
            let mut per_second = RELEASE_PER_SECOND.max(2.0 * self.ledger.recent_rate(second));
            if finished {
                // The end does not wait for ever: all who can be held are out within five seconds.
                per_second = per_second.max(f64::from(current.plan.proxy.max_held) / 5.0);
            }
            self.release.send_modify(|release| {
                *release = Release { epoch: release.epoch + 1, per_second };
            });
        }
        replaced.push(current);
    }

    /// Replaced stages that no request holds any more, for the caller to drop: a plan of ten
    /// thousand routes takes a while to take apart, and whoever drops the last reference does it.
    pub fn unused(&self) -> Vec<Arc<Stage>> {
        let mut whole = self.whole();
        whole.replaced.extract_if(.., |stage| Arc::strong_count(stage) == 1).collect()
    }

    /// Puts another plan in the place of the one in force: one swap. The drill's clock, its place
    /// in the script and all counts go on.
    pub fn adopt(&self, plan: Arc<Plan>, now: Instant) -> Adopted {
        let mut whole = self.whole();
        let adopted = whole.drill.adopt(now, script(&plan));
        self.publish(&mut whole, Some(plan), now);
        drop(whole);
        if let Adopted::Gone(phase) = &adopted {
            tracing::warn!(%phase, "the running phase is gone: paused where what followed it begins");
        }
        adopted
    }

    /// The panic button: latching, always possible. True when this call did it.
    pub fn halt(&self, now: Instant, by: &str, reason: &str) -> bool {
        let mut whole = self.whole();
        let note = Halt { by: by.to_owned(), reason: reason.to_owned() };
        let change = whole.drill.halt(now, note);
        if change == Change::Made {
            self.publish(&mut whole, None, now);
        }
        drop(whole);
        if change == Change::Made {
            tracing::warn!(by, reason, "HALTED: nothing is injected until `rearm` and `resume`");
        }
        change == Change::Made
    }

    /// Why it was halted, where that came after the halt.
    pub fn halted_because(&self, reason: &str) {
        self.whole().drill.give_reason(reason);
        tracing::warn!(reason, "HALTED for this reason");
    }

    /// Lifts a halt into a pause and deletes the HALT file.
    pub fn rearm(&self, now: Instant, reason: &str) -> Result<Change, Refusal> {
        let mut whole = self.whole();
        if let Some(path) = self.halt_file.as_ref().filter(|path| path.exists())
            && whole.drill.state() == State::Halted
            && !reason.trim().is_empty()
        {
            // First the file: left behind, it would halt the drill again at once.
            std::fs::remove_file(path)
                .map_err(|error| Refusal(format!("cannot delete {}: {error}", path.display())))?;
        }
        let change = whole.drill.rearm(now, reason)?;
        self.publish(&mut whole, None, now);
        tracing::info!(reason, "rearmed: paused until `resume`");
        Ok(change)
    }

    pub fn pause(&self, now: Instant) -> Result<Change, Refusal> {
        self.change(now, Drill::pause)
    }
    pub fn resume(&self, now: Instant) -> Result<Change, Refusal> {
        self.change(now, Drill::resume)
    }
    pub fn start(&self, now: Instant) -> Result<Change, Refusal> {
        self.change(now, Drill::start)
    }
    /// Ends the phase, or goes to the one that is named.
    pub fn next(&self, now: Instant, to: Option<&str>) -> Result<Change, Refusal> {
        let phased = self.plan().is_phased();
        self.change(now, |drill, now| {
            if !phased {
                let why = "cannot go on: the scenario has no phases; `pause` stops injection, \
                           `finish` ends the drill";
                return Err(Refusal(why.to_owned()));
            }
            drill.next(now, to)
        })
    }

    fn change(
        &self,
        now: Instant,
        how: impl FnOnce(&mut Drill, Instant) -> Result<Change, Refusal>,
    ) -> Result<Change, Refusal> {
        let mut whole = self.whole();
        let change = how(&mut whole.drill, now)?;
        if change == Change::Made {
            self.publish(&mut whole, None, now);
            log(&whole.drill);
        }
        Ok(change)
    }

    pub fn finish(&self, now: Instant) {
        let mut whole = self.whole();
        if whole.drill.finish(now) == Change::Made {
            self.publish(&mut whole, None, now);
        }
    }

    /// Goes on to the next phase, and ends injection, when it is time.
    pub fn tick(&self, now: Instant) {
        self.watch(now);
        let mut whole = self.whole();
        let passed = whole.drill.tick(now);
        if passed.anything() {
            self.publish(&mut whole, None, now);
        }
        if passed.phase {
            log(&whole.drill);
        }
        if passed.drill {
            tracing::info!("max_drill is over: nothing is injected any more, recording goes on");
        }
    }

    /// Looks at what was counted, once a second: alerts, slices, allowances.
    fn watch(&self, now: Instant) {
        let second = self.second(now);
        self.look(second, Some(Duration::from_secs(second)), now);
    }

    /// Nothing is counted any more: takes in what the last look has not seen, and operations that
    /// were waited for.
    pub fn settle(&self, now: Instant) {
        self.look(self.second(now) + 1, None, now);
    }

    /// `over`: operations that have been quiet until then are; `None`: all are.
    fn look(&self, second: u64, over: Option<Duration>, now: Instant) {
        let mut watched = self.watched();
        if !watched.watch.is_due(second) {
            return;
        }
        let plan = self.plan();
        let whole = self.whole();
        let phase = booked(&plan, whole.drill.position());
        let may_inject = whole.drill.may_inject() && self.pass_through.is_none();
        // A halt waits for nobody.
        drop(whole);
        self.ledger.settle(over, second.saturating_sub(1));
        let seen = watched.watch.look(second, &plan, &self.ledger, (&phase, may_inject));
        let mut spent = None;
        for seen in seen {
            match seen {
                Seen::Alert(alert) => {
                    say(&alert);
                    if watched.alerts.len() >= NOTES {
                        watched.alerts.remove(0);
                    }
                    watched.alerts.push(alert);
                }
                Seen::Spent(why) => spent = spent.or(Some(why)),
            }
        }
        drop(watched);
        if let Some((slo, why)) = spent {
            self.halt(now, &format!("the allowance of {slo}"), &why);
        }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An SLO's past, as far as it goes beyond its counts; `None`: not counted yet.
    pub fn figures(&self, slo: &str) -> Option<Figures> {
        self.watched().watch.figures(slo)
    }

    /// The first page that an SLO's alerts would fire in what is expected to come.
    pub fn ahead(&self, slo: &str, to_come: &[Stretch]) -> Option<Ahead> {
        self.watched().watch.ahead(slo, to_come)
    }

    /// All that is known of an SLO over time: its events as sums, by seconds since the beginning.
    pub fn points(&self, slo: &str) -> Vec<(u64, crate::budget::Totals)> {
        self.watched().watch.points(slo)
    }

    /// Alerts that would have fired or been over so far, oldest first.
    pub fn alerts(&self) -> Vec<Alert> {
        self.watched().alerts.clone()
    }

    /// When [`Control::tick`] is due; `None`: not before something else happens.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.whole().drill.due(now)
    }

    /// Writes something down, with the time and the phase.
    pub fn note(&self, text: String, team: Option<String>, toil_minutes: Option<u32>) -> Note {
        let mut whole = self.whole();
        let phase = booked(&self.stage.load().plan, whole.drill.position());
        let note = Note { at: crate::clock::wall(), phase, text, team, toil_minutes };
        if whole.notes.len() >= NOTES {
            whole.notes.remove(0);
        }
        whole.notes.push(note.clone());
        tracing::info!(phase = %note.phase, text = %note.text, "note");
        note
    }

    pub fn notes(&self) -> Vec<Note> {
        self.whole().notes.clone()
    }
}

fn script(plan: &Plan) -> Vec<Step> {
    plan.phases.iter().map(Step::from).collect()
}

fn scene(drill: &Drill, seed: u64, allowed: bool, now: Instant) -> Scene {
    Scene {
        seed,
        position: drill.position(),
        injecting: drill.may_inject() && allowed,
        releasing: drill.releases(),
        phase_began: now.checked_sub(drill.phase_elapsed(now)).unwrap_or(now),
    }
}

fn say(alert: &Alert) {
    let Alert { slo, tier, dialect, after, .. } = alert;
    let (severity, name) = (tier.severity.label(), &tier.name);
    let after = crate::units::show_duration(Duration::from_secs(*after));
    match alert.happened {
        Happened::Fired => tracing::warn!(
            "ALERT {severity} on {slo} would fire now: {name} of {} (after {after})",
            dialect.name()
        ),
        Happened::Resolved => tracing::info!(
            "alert {severity} on {slo} would be over now: {name} of {} (after {after})",
            dialect.name()
        ),
    }
}

fn log(drill: &Drill) {
    let place =
        drill.step().map_or("in no phase".to_owned(), |step| format!("phase {}", step.name));
    tracing::info!("{}, {place}", drill.state());
}

/// Why this environment gets pass-through only.
fn outside(allowed: &[String], environment: Option<&str>) -> Option<String> {
    if allowed.is_empty() || environment.is_some_and(|name| allowed.iter().any(|a| a == name)) {
        return None;
    }
    let allowed = allowed.join(", ");
    Some(match environment {
        Some(name) => format!("environment `{name}` is not one of {allowed}"),
        None => format!("no `--env NAME` given, and the scenario is for {allowed} only"),
    })
}

fn drill_id(began: SystemTime, name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().take(60) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    let slug = if slug.is_empty() { "drill" } else { slug };
    let when = jiff::Timestamp::try_from(began).unwrap_or_default();
    format!("{}-{slug}", when.strftime("%Y%m%d-%H%M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments() {
        let staging = ["staging".to_owned()];
        assert_eq!(outside(&[], None), None);
        assert_eq!(outside(&staging, Some("staging")), None);
        assert!(outside(&staging, Some("prod")).is_some());
        assert!(outside(&staging, None).is_some());
    }

    #[test]
    fn ids_are_file_names() {
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_500_300);
        assert_eq!(
            drill_id(began, "Checkout  brownout/../x!"),
            "20261124-0605-checkout-brownout-x"
        );
        assert!(drill_id(began, "").ends_with("-drill"));
    }

    /// A stage that a request holds is kept for it, so that whoever asks is the last to drop it.
    #[test]
    fn replaced_stages_wait_for_those_who_hold_them() {
        let text = "[proxy]\nupstream = \"http://127.0.0.1:9000\"\n".to_owned();
        let (scenario, _) = crate::scenario::read(vec![("t".to_owned(), text)], &[]);
        let (plan, notes) = crate::plan::compile(&scenario);
        let plan = Arc::new(plan.unwrap_or_else(|| panic!("{notes:?}")));
        let settings = Settings { seed: 1, environment: None, hold: false, halt_file: None };
        let now = crate::clock::now();
        let control = Control::new(Arc::new(Ledger::new(1)), plan, settings, now);
        let held = control.stage.load_full();
        control.pause(now).unwrap();
        control.resume(now).unwrap();
        assert_eq!(control.unused().len(), 1, "the paused one; nobody held it");
        drop(held);
        assert_eq!((control.unused().len(), control.unused().len()), (1, 0));
    }
}
