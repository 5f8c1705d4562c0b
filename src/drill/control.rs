//! The handle through which the API, signals, the HALT file and the clock act on the drill. It
//! publishes what follows: first the new stage, then the order to let held requests go, so that a
//! request that starts to wait after the order finds that it need not.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::stage::Stage;
use super::state::{Change, Drill, Halt, Refusal, State};
use crate::plan::Plan;
use crate::sli::{Ledger, Snapshot};

/// Held requests go on at this many a second at least.
const RELEASE_PER_SECOND: f64 = 4000.0;

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
    drill: Mutex<Drill>,
    ledger: Arc<Ledger>,
    id: String,
    seed: u64,
    began: SystemTime,
    epoch: Instant,
    /// Why nothing is ever injected in this run.
    pass_through: Option<String>,
    halt_file: Option<PathBuf>,
}

/// A drill as seen from outside.
#[derive(Debug, Clone)]
pub struct Standing {
    pub state: State,
    pub injecting: bool,
    pub over: bool,
    pub halt: Option<Halt>,
    pub elapsed: Duration,
}

impl Control {
    pub fn new(ledger: Arc<Ledger>, plan: Arc<Plan>, settings: Settings, now: Instant) -> Self {
        let pass_through = outside(&plan.safety.environments, settings.environment.as_deref());
        let began = crate::clock::wall();
        let drill = Drill::new(now, settings.hold, plan.safety.max_drill);
        let injecting = drill.may_inject() && pass_through.is_none();
        let books = Arc::new(ledger.open(Arc::clone(&plan)));
        let id = drill_id(began, &plan.name);
        let stage = Stage::new(plan, books, settings.seed, injecting, None);
        Self {
            stage: Arc::new(ArcSwap::from_pointee(stage)),
            release: watch::Sender::new(Release::default()),
            drill: Mutex::new(drill),
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

    fn drill(&self) -> MutexGuard<'_, Drill> {
        // A panic elsewhere leaves the drill as it was: every change is made whole.
        self.drill.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn standing(&self, now: Instant) -> Standing {
        let drill = self.drill();
        Standing {
            state: drill.state(),
            injecting: self.injects(&drill),
            over: drill.is_over(),
            halt: drill.halt_note().cloned(),
            elapsed: drill.elapsed(now),
        }
    }

    pub fn is_halted(&self) -> bool {
        self.drill().state() == State::Halted
    }

    pub fn snapshot(&self) -> Snapshot {
        self.stage.load().books.snapshot()
    }

    fn injects(&self, drill: &Drill) -> bool {
        drill.may_inject() && self.pass_through.is_none()
    }

    /// Makes the stage follow the drill; when injection ends, lets held requests go.
    fn publish(&self, drill: &Drill, now: Instant) {
        let injecting = self.injects(drill);
        let current = self.stage.load_full();
        if current.injecting == injecting {
            return;
        }
        let second = now.saturating_duration_since(self.epoch).as_secs();
        self.stage.store(Arc::new(Stage::new(
            Arc::clone(&current.plan),
            Arc::clone(&current.books),
            self.seed,
            injecting,
            Some(&current),
        )));
        if !injecting {
            let mut per_second = RELEASE_PER_SECOND.max(2.0 * self.ledger.recent_rate(second));
            if drill.state() == State::Finished {
                // The end does not wait for ever: all who can be held are out within five seconds.
                per_second = per_second.max(f64::from(current.plan.proxy.max_held) / 5.0);
            }
            self.release.send_modify(|release| {
                *release = Release { epoch: release.epoch + 1, per_second };
            });
        }
    }

    /// The panic button: latching, always possible. True when this call did it.
    pub fn halt(&self, now: Instant, by: &str, reason: &str) -> bool {
        let mut drill = self.drill();
        let change = drill.halt(now, Halt { by: by.to_owned(), reason: reason.to_owned() });
        self.publish(&drill, now);
        drop(drill);
        if change == Change::Made {
            tracing::warn!(by, reason, "HALTED: nothing is injected until `rearm` and `resume`");
        }
        change == Change::Made
    }

    /// Lifts a halt into a pause and deletes the HALT file.
    pub fn rearm(&self, now: Instant, reason: &str) -> Result<Change, Refusal> {
        let mut drill = self.drill();
        if let Some(path) = self.halt_file.as_ref().filter(|path| path.exists())
            && drill.state() == State::Halted
            && !reason.trim().is_empty()
        {
            // First the file: left behind, it would halt the drill again at once.
            std::fs::remove_file(path)
                .map_err(|error| Refusal(format!("cannot delete {}: {error}", path.display())))?;
        }
        let change = drill.rearm(now, reason)?;
        self.publish(&drill, now);
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

    fn change(
        &self,
        now: Instant,
        how: impl FnOnce(&mut Drill, Instant) -> Result<Change, Refusal>,
    ) -> Result<Change, Refusal> {
        let mut drill = self.drill();
        let change = how(&mut drill, now)?;
        self.publish(&drill, now);
        if change == Change::Made {
            tracing::info!(state = drill.state().as_str(), "drill");
        }
        Ok(change)
    }

    pub fn finish(&self, now: Instant) {
        let mut drill = self.drill();
        drill.finish(now);
        self.publish(&drill, now);
    }

    /// Ends injection when the drill's longest time is over.
    pub fn tick(&self, now: Instant) {
        let mut drill = self.drill();
        if drill.tick(now) {
            self.publish(&drill, now);
            tracing::info!("max_drill is over: nothing is injected any more, recording goes on");
        }
    }
}

/// Why this environment gets pass-through only.
fn outside(allowed: &[String], environment: Option<&str>) -> Option<String> {
    if allowed.is_empty() || environment.is_some_and(|name| allowed.iter().any(|a| a == name)) {
        return None;
    }
    let allowed = allowed.join(", ");
    Some(match environment {
        Some(name) => format!("environment `{name}` is not one of {allowed}"),
        None => format!("no --env given, and the scenario is for {allowed} only"),
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
}
