//! The request log: what became of single requests, and which draws decided. On the data path a
//! record goes into a bounded queue, one a worker, or is dropped and counted; everything else
//! happens on a thread of its own. Counts never come from here.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use http::Uri;

use crate::dice::Stream;
use crate::drill::Stage;
use crate::drill::stage::Drawn;
use crate::plan::{Failed, FaultId};
use crate::sli::Outcome;
use crate::units::Share;

mod line;
mod writer;

pub use writer::{Log, open};

/// Records a worker may have on their way; at 50 ms from one look to the next, 80,000 a second.
const QUEUE: usize = 4096;

/// What is noted of a request while it is under way.
#[derive(Debug)]
pub struct Trace {
    /// As the caller sent it.
    pub target: Uri,
    /// Every draw, in file order of the faults; also those that spared it.
    pub draws: Vec<Drawn>,
    /// What the faults that struck ask for.
    pub asked: Vec<Asked>,
    /// The faults that took effect.
    pub applied: RefCell<Vec<FaultId>>,
    /// What the answer does not say that it should, by [`crate::plan::Check::place`].
    pub failed: Vec<(u8, Failed)>,
}

/// What one kind of a fault asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub fault: FaultId,
    pub kind: &'static str,
    /// Where it asks for a wait.
    pub delay: Option<Duration>,
}

impl Trace {
    pub fn of(target: &Uri) -> Box<Self> {
        Box::new(Self {
            target: target.clone(),
            draws: Vec::new(),
            asked: Vec::new(),
            applied: RefCell::default(),
            failed: Vec::new(),
        })
    }

    fn was_struck(&self) -> bool {
        self.draws.iter().any(|drawn| drawn.hit)
    }
}

/// One finished request on its way to the log.
#[derive(Debug)]
struct Record {
    stage: Arc<Stage>,
    arrived: Instant,
    outcome: Outcome,
    trace: Box<Trace>,
    /// For how many requests it stands.
    weight: f64,
}

/// What became of records.
#[derive(Debug, Default)]
pub struct Counts {
    pub written: AtomicU64,
    /// The queue was full.
    pub dropped: AtomicU64,
    /// The file could not be written.
    pub failed: AtomicU64,
    /// The file is as large as it may be.
    pub full: AtomicU64,
}

/// A worker's end of the log.
#[derive(Debug)]
pub struct Queue {
    sender: SyncSender<Record>,
    counts: Arc<Counts>,
    /// For the draw that decides which of the rest are kept.
    stream: Stream,
    seen: Cell<u64>,
}

impl Queue {
    fn new(worker: usize, counts: &Arc<Counts>) -> (Self, Receiver<Record>) {
        let (sender, receiver) = sync_channel(QUEUE);
        let stream = Stream::new(worker as u64, "request log");
        let counts = Arc::clone(counts);
        (Self { sender, counts, stream, seen: Cell::new(0) }, receiver)
    }

    /// Offers a finished request: kept when it is `bad` for some SLO or a fault struck it; of the
    /// others, the `rest`. Never waits.
    pub fn offer(
        &self,
        stage: &Arc<Stage>,
        arrived: Instant,
        outcome: &Outcome,
        trace: Box<Trace>,
        bad: bool,
    ) {
        let Some(sampling) = &stage.plan.sampling else { return };
        let weight = if bad || trace.was_struck() {
            1.0
        } else {
            let n = self.seen.replace(self.seen.get() + 1);
            if self.stream.hit(n) >= sampling.rest.billionths() {
                return;
            }
            weight_of(sampling.rest)
        };
        let (stage, outcome) = (Arc::clone(stage), outcome.clone());
        let record = Record { stage, arrived, outcome, trace, weight };
        if self.sender.try_send(record).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// For how many requests each stands of which so many are kept.
fn weight_of(share: Share) -> f64 {
    1.0 / share.as_f64()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::drill::counters::Counters;
    use crate::drill::stage::Scene;
    use crate::drill::state::Position;
    use crate::sli::{End, Hit, Ledger, Origin};

    fn stage(rest: &str) -> Arc<Stage> {
        let text = format!(
            "[proxy]\nupstream = \"http://127.0.0.1:9\"\n[sampling]\nfile = \"x\"\nrest = \"{rest}\"\n"
        );
        let (scenario, _) = crate::scenario::read(vec![("t".to_owned(), text)], &[]);
        let plan = Arc::new(crate::plan::compile(&scenario).0.unwrap());
        let now = crate::clock::now();
        let scene = Scene {
            seed: 1,
            position: Position::Phase(0),
            injecting: true,
            releasing: false,
            phase_began: now,
        };
        Arc::new(Stage::new(plan, &Ledger::new(1), &mut Counters::default(), scene))
    }

    fn outcome() -> Outcome {
        Outcome {
            route: 0,
            method: http::Method::GET,
            status: 200,
            origin: Origin::Service,
            end: End::Complete,
            hit: Hit::No,
            served: None,
            grpc: None,
            total: Duration::ZERO,
            first_byte: None,
            added: Duration::ZERO,
            operation: None,
            health_check: false,
            excludes: 0,
            checked: None,
        }
    }

    fn offered(queue: &Queue, stage: &Arc<Stage>, hit: bool, bad: bool) {
        let mut trace = Trace::of(&Uri::from_static("/a?secret"));
        trace.draws.push(Drawn { fault: 0, n: 0, drawn: None, hit });
        queue.offer(stage, crate::clock::now(), &outcome(), trace, bad);
    }

    /// A full queue drops, counts, and keeps nobody waiting.
    #[test]
    fn a_full_queue_drops() {
        let (counts, stage) = (Arc::default(), stage("100%"));
        let (queue, records) = Queue::new(0, &counts);
        for _ in 0..QUEUE + 10 {
            offered(&queue, &stage, false, false);
        }
        assert_eq!(counts.dropped.load(Ordering::Relaxed), 10);
        assert_eq!(records.try_iter().count(), QUEUE);
    }

    /// What is bad or struck is kept; of the rest a share, each of which stands for the others.
    #[test]
    fn the_rest_is_weighed() {
        let (counts, stage) = (Arc::default(), stage("10%"));
        let (queue, records) = Queue::new(0, &counts);
        for _ in 0..10_000 {
            offered(&queue, &stage, false, false);
        }
        let kept: Vec<f64> = records.try_iter().map(|record| record.weight).collect();
        assert!(kept.iter().all(|weight| (weight - 10.0).abs() < 1e-9));
        // Four standard deviations of 10,000 draws at 10 %.
        assert!((880..=1120).contains(&kept.len()), "{}", kept.len());
        for (hit, bad) in [(true, false), (false, true)] {
            offered(&queue, &stage, hit, bad);
        }
        let weights: Vec<f64> = records.try_iter().map(|record| record.weight).collect();
        assert_eq!(weights, [1.0, 1.0]);
    }

    /// What stands in a line, and what does not.
    #[test]
    fn a_line() {
        let stage = stage("100%");
        let record = Record {
            stage: Arc::clone(&stage),
            arrived: crate::clock::now(),
            outcome: outcome(),
            trace: Trace::of(&Uri::from_static("/a?secret=1")),
            weight: 1.0,
        };
        let clocks = line::Clocks { at: record.arrived, wall: std::time::SystemTime::UNIX_EPOCH };
        let told = line::line(&record, clocks);
        let told: HashMap<String, serde_json::Value> = serde_json::from_value(told).unwrap();
        assert_eq!(told["at"], "1970-01-01T00:00:00.000000Z");
        assert_eq!((&told["path"], &told["status"]), (&"/a".into(), &200.into()));
        assert!(!serde_json::to_string(&told).unwrap().contains("secret"));
    }
}
