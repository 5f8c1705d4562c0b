//! Events that the control plane books, once it is known what they came to: slices of time, and
//! operations that no further attempt has come for.

use std::sync::Arc;
use std::time::Duration;

use super::judge::Event;
use super::ledger::{Ledger, lock};
use super::operations::{Operations, Settled};

impl Ledger {
    /// Counts slices of time as an SLO's events. Called by one thread at a time, and no worker.
    pub fn slices(&self, slo: &str, phase: &Arc<str>, second: u64, events: &[(Event, u64)]) {
        let mut names = lock(&self.names);
        let Some(known) = names.slos.get_mut(slo) else { return };
        let tally = known.slices.open(phase);
        for (event, count) in events {
            tally.count(0, *event, *count, second);
        }
    }

    /// Counts operations that are over `now` (since counting began; `None`: nothing comes any more)
    /// as events of `second`. Called by one thread at a time, and no worker.
    pub fn settle(&self, now: Option<Duration>, second: u64) {
        let routes: Vec<Arc<Operations>> =
            lock(&self.names).operations.values().map(Arc::clone).collect();
        let mut settled = Settled::new();
        for operations in routes {
            operations.settle(now, &mut settled);
        }
        if settled.is_empty() {
            return;
        }
        let names = &mut *lock(&self.names);
        for (verdict, count) in settled {
            let (slo, phase) = (verdict.slo as usize, verdict.phase as usize);
            // Whoever judged it had both.
            let Some((phase, _)) = names.phases.get(phase) else { continue };
            let slo = names.counted.get(slo).and_then(|slo| names.slos.get_mut(slo));
            let Some(known) = slo else { continue };
            let writer = self.workers.len();
            known.operations.open(phase).count(writer, verdict.event, count, second);
        }
    }
}
