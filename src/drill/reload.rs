//! What reloads and live overrides are asked for and what comes of them. Whoever reads the files
//! carries them out, one after the other; the API and signals only ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::plan::diff::Changes;
use crate::scenario::Override;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Read the files again. `accept`: also what widens, when that was held.
    Reload { accept: bool },
    /// Put these over the files, in place of what is overridden at the same keys.
    Set(Vec<Override>),
    /// Take away what is overridden of this fault.
    Clear(String),
    /// This scenario in place of the one that is in no file.
    Replace(String),
}

/// An order on its way.
#[derive(Debug)]
pub struct Call {
    pub order: Order,
    /// Who asks: `API`, `SIGHUP`.
    pub by: &'static str,
    pub reply: oneshot::Sender<Report>,
}

/// What came of an order, or of a file that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The new plan is in force.
    Applied,
    /// It is the plan in force already.
    Unchanged,
    /// It has mistakes; nothing has changed.
    Rejected,
    /// It widens what faults may do, and waits to be accepted; nothing has changed.
    Held,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Applied, Self::Unchanged, Self::Rejected, Self::Held];

    pub fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
            Self::Held => "held",
        }
    }
}

/// What a reload did, or why it did nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub result: Outcome,
    /// Who asked: `watch` (a file changed), `API`, `SIGHUP`.
    pub by: String,
    /// When, as RFC 3339 has it.
    pub at: String,
    /// How many plans have been put in force since the start, the first being 1.
    pub generation: u64,
    #[serde(flatten)]
    pub changes: Changes,
    /// Overrides that are no more, and why.
    pub overrides_cleared: Vec<String>,
    /// The phase that was running and is gone: the drill is paused.
    pub phase_gone: Option<String>,
    /// Mistakes and warnings, as `check --json` shows them.
    pub notes: Value,
    /// The same as a person reads them.
    pub text: String,
}

/// Keys in a headline; there are more only where many services change their ports.
const NAMED: usize = 8;

impl Report {
    /// One line for people.
    pub fn headline(&self) -> String {
        let count = |what: &str, lines: &[String]| {
            (!lines.is_empty()).then(|| format!("{} {what}", lines.len()))
        };
        let changes = &self.changes;
        let counts = [
            count("widened", &changes.widened),
            count("added", &changes.added),
            count("removed", &changes.removed),
            count("changed", &changes.changed),
            count(
                if changes.needs_restart.len() == 1 { "needs a restart" } else { "need a restart" },
                &changes.needs_restart,
            ),
        ];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        let counts =
            if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
        match self.result {
            Outcome::Applied => format!("reloaded, generation {}{counts}", self.generation),
            Outcome::Unchanged if changes.needs_restart.is_empty() => {
                "nothing has changed".to_owned()
            }
            Outcome::Unchanged => {
                let mut keys = changes.needs_restart.clone();
                let more = keys.split_off(keys.len().min(NAMED)).len();
                if more > 0 {
                    keys.push(format!("{more} more"));
                }
                format!("changed, and not applied until a restart: {}", keys.join(", "))
            }
            Outcome::Rejected => "rejected, the old plan is still live".to_owned(),
            Outcome::Held => {
                format!("held{counts}; `backburn reload --accept` applies it")
            }
        }
    }
}

/// What stands of the scenario: for status and metrics.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// See [`Report::generation`].
    pub generation: u64,
    /// The last report but those that found nothing new.
    pub last: Option<Report>,
    /// The report of what waits to be accepted.
    pub pending: Option<Report>,
    /// The last report was a rejection, and the files are still as they were then.
    pub wrong: bool,
    pub overrides: Vec<Override>,
    /// By [`Outcome::ALL`].
    pub results: [u64; 4],
    /// Seconds since 1970 of the last success, the start included.
    pub last_success: f64,
    /// What is watched, and how.
    pub watched: String,
    /// What is in force, as written: names and texts.
    pub scenario: Arc<[(String, String)]>,
}

/// Where orders go and what stands, for the control plane.
#[derive(Debug)]
pub struct Reloads {
    calls: mpsc::Sender<Call>,
    standing: Mutex<Standing>,
}

impl Reloads {
    /// The handle, and where its orders come out. Few wait at once: more have to wait outside.
    pub fn new() -> (Self, mpsc::Receiver<Call>) {
        let (calls, orders) = mpsc::channel(64);
        (Self { calls, standing: Mutex::default() }, orders)
    }

    /// Has an order carried out; `None`: the process is ending.
    pub async fn order(&self, order: Order, by: &'static str) -> Option<Report> {
        let (reply, report) = oneshot::channel();
        self.calls.send(Call { order, by, reply }).await.ok()?;
        report.await.ok()
    }

    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    pub fn update(&self, how: impl FnOnce(&mut Standing)) {
        how(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
