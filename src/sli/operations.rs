//! Attempts and operations: what callers' retries saved, and what an SLO counts that is about
//! operations.
//!
//! Requests with the same key (`operation = "header:idempotency-key"`) are attempts at one
//! operation, as long as the next one comes within ten seconds of the end of those before it. Only
//! routes that say so pay for this: two short locks an attempt, at its beginning and its end, on one
//! of many shards.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::judge::Event;

/// An attempt that comes later than this, with no other under way, is another operation's.
pub const WITHIN: Duration = Duration::from_secs(10);
/// For an attempt that came in time, and whose worker has been slow to say so.
const GRACE: Duration = Duration::from_secs(1);
const SHARDS: usize = 16;
/// Operations a shard waits for at the same time, beside those with an attempt under way; the one
/// that has been quiet for longest goes first.
const WAITING: usize = 16_384;

/// One attempt at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The same for all attempts at an operation.
    pub key: u64,
    /// Since counting began.
    pub arrived: Duration,
}

/// What an attempt is to an SLO that counts operations, and after it the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// The SLO's place among all that were ever counted.
    pub slo: u32,
    /// The phase's, in which the attempt arrived.
    pub phase: u32,
    pub event: Event,
}

/// Operations that are over, by what they were.
pub type Settled = HashMap<Verdict, u64>;

/// One route's operations.
#[derive(Debug, Default)]
pub struct Operations {
    shards: [Mutex<Shard>; SHARDS],
    attempts: AtomicU64,
    begun: AtomicU64,
    recovered: AtomicU64,
    early: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    known: HashMap<u64, Operation>,
    /// Those with no attempt under way: when the last one ended, and the key.
    quiet: BTreeSet<(Duration, u64)>,
    /// Over, and not booked yet; there are as many as there are verdicts to tell apart.
    settled: Settled,
}

#[derive(Debug, Default)]
struct Operation {
    under_way: u32,
    /// The end of the attempt that ended last; `None`: none has.
    ended: Option<Duration>,
    /// When the one that decides so far arrived.
    arrived: Duration,
    failed: bool,
    recovered: bool,
    /// One for each SLO, and when its attempt arrived.
    verdicts: Vec<(Duration, Verdict)>,
}

/// The sums of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OperationCounts {
    /// Requests with a key.
    pub attempts: u64,
    /// Keys, told apart by more than ten seconds.
    pub operations: u64,
    /// Operations of which an attempt failed and a later one succeeded.
    pub recovered: u64,
    /// Operations that were not waited for, for want of room: a retry would have been another one.
    pub early: u64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Operations {
    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(key % SHARDS as u64) as usize])
    }

    /// An attempt has come. Its end must be told too.
    pub fn arrives(&self, attempt: Attempt) {
        let Attempt { key, arrived } = attempt;
        let shard = &mut *self.shard(key);
        let operation = shard.known.entry(key).or_default();
        if operation.under_way == 0
            && let Some(ended) = operation.ended
        {
            shard.quiet.remove(&(ended, key));
            if arrived > ended + WITHIN {
                std::mem::take(operation).settle(&mut shard.settled);
            }
        }
        operation.under_way += 1;
    }

    /// An attempt has ended `at` a time since counting began; `good`: the caller got a whole answer
    /// that is no failure.
    pub fn ends(&self, attempt: Attempt, at: Duration, good: bool, verdicts: Vec<Verdict>) {
        let Attempt { key, arrived } = attempt;
        let shard = &mut *self.shard(key);
        count(&self.attempts);
        let operation = shard.known.entry(key).or_default();
        operation.under_way = operation.under_way.saturating_sub(1);
        if operation.ended.is_none() {
            count(&self.begun);
        }
        if operation.takes(arrived, good, verdicts) {
            count(&self.recovered);
        }
        let ended = operation.ended.map_or(at, |before| before.max(at));
        operation.ended = Some(ended);
        if operation.under_way > 0 {
            return;
        }
        shard.quiet.insert((ended, key));
        if shard.quiet.len() > WAITING
            && let Some(oldest) = shard.quiet.pop_first()
        {
            count(&self.early);
            shard.settle(oldest.1);
        }
    }

    /// Takes those that are over by `now`: ten seconds, and one more, after their last attempt.
    /// `None`: nothing comes any more, all are over.
    pub fn settle(&self, now: Option<Duration>, into: &mut Settled) {
        for shard in &self.shards {
            let shard = &mut *lock(shard);
            let over = |(ended, _): &(Duration, u64)| {
                now.is_none_or(|now| ended.saturating_add(WITHIN + GRACE) <= now)
            };
            while let Some((_, key)) = shard.quiet.first().copied().filter(&over) {
                shard.quiet.pop_first();
                shard.settle(key);
            }
            if now.is_none() {
                for (_, operation) in shard.known.drain() {
                    operation.settle(&mut shard.settled);
                }
            }
            for (verdict, count) in shard.settled.drain() {
                *into.entry(verdict).or_default() += count;
            }
        }
    }

    pub fn counts(&self) -> OperationCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OperationCounts {
            attempts: read(&self.attempts),
            operations: read(&self.begun),
            recovered: read(&self.recovered),
            early: read(&self.early),
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn settle(&mut self, key: u64) {
        if let Some(operation) = self.known.remove(&key) {
            operation.settle(&mut self.settled);
        }
    }
}

impl Operation {
    /// Takes an attempt in that has ended; true: it is the one that makes a failed operation a
    /// recovered one.
    fn takes(&mut self, arrived: Duration, good: bool, verdicts: Vec<Verdict>) -> bool {
        let first = self.ended.is_none();
        let later = arrived >= self.arrived;
        let recovers = !first
            && !self.recovered
            && if later { self.failed && good } else { !self.failed && !good };
        if first || later {
            (self.arrived, self.failed) = (arrived, !good);
        }
        self.recovered |= recovers;
        for verdict in verdicts {
            match self.verdicts.iter_mut().find(|(_, known)| known.slo == verdict.slo) {
                Some(known) if replaces(*known, (arrived, verdict)) => *known = (arrived, verdict),
                Some(_) => {}
                None => self.verdicts.push((arrived, verdict)),
            }
        }
        recovers
    }

    fn settle(self, into: &mut Settled) {
        for (_, verdict) in self.verdicts {
            *into.entry(verdict).or_default() += 1;
        }
    }
}

/// The attempt that arrived last decides. One that is no event decides only where all are none: that
/// nothing can be said of it takes nothing back of what another one said.
fn replaces(known: (Duration, Verdict), new: (Duration, Verdict)) -> bool {
    let says = |(_, verdict): (Duration, Verdict)| !matches!(verdict.event, Event::Excluded(_));
    if says(known) == says(new) { new.0 >= known.0 } else { says(new) }
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
