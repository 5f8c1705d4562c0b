//! Attempts and operations: what callers' retries saved.
//!
//! Two requests that carry the same key (`operation = "header:idempotency-key"`) within ten seconds
//! are attempts of one operation. Only routes that say so pay for this: one short lock an attempt,
//! on one of many shards, at the very end of the exchange.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Keys apart by more than this are different operations, in seconds.
const WITHIN: u64 = 10;
const SHARDS: usize = 16;
/// Operations remembered a shard; the oldest go first.
const REMEMBERED: usize = 4096;

/// One route's operations.
#[derive(Debug, Default)]
pub struct Operations {
    shards: [Mutex<Shard>; SHARDS],
    attempts: AtomicU64,
    begun: AtomicU64,
    recovered: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    known: HashMap<u64, Operation>,
    oldest_first: VecDeque<u64>,
}

#[derive(Debug)]
struct Operation {
    last: u64,
    failed: bool,
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
}

impl Operations {
    /// Counts an attempt that ended in `second`; `good`: the caller got a whole answer that is no
    /// failure.
    pub fn attempt(&self, key: u64, good: bool, second: u64) {
        let shard = &self.shards[(key % SHARDS as u64) as usize];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let Shard { known, oldest_first } = &mut *shard;
        let one = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        one(&self.attempts);
        match known.get_mut(&key) {
            Some(operation) if second.saturating_sub(operation.last) <= WITHIN => {
                operation.last = second.max(operation.last);
                if operation.failed && good {
                    one(&self.recovered);
                }
                operation.failed = !good;
            }
            Some(operation) => {
                one(&self.begun);
                *operation = Operation { last: second, failed: !good };
            }
            None => {
                one(&self.begun);
                if known.len() >= REMEMBERED
                    && let Some(oldest) = oldest_first.pop_front()
                {
                    known.remove(&oldest);
                }
                known.insert(key, Operation { last: second, failed: !good });
                oldest_first.push_back(key);
            }
        }
    }

    pub fn counts(&self) -> OperationCounts {
        OperationCounts {
            attempts: self.attempts.load(Ordering::Relaxed),
            operations: self.begun.load(Ordering::Relaxed),
            recovered: self.recovered.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_attempts_of_one_operation() {
        let operations = Operations::default();
        operations.attempt(1, false, 0);
        operations.attempt(1, false, 1);
        operations.attempt(1, true, 2);
        operations.attempt(2, true, 2);
        let counts = OperationCounts { attempts: 4, operations: 2, recovered: 1 };
        assert_eq!(operations.counts(), counts);
        // Recovered once, not again by a repeat; a key that comes back later is a new operation.
        operations.attempt(1, true, 3);
        operations.attempt(1, true, 14);
        let counts = OperationCounts { attempts: 6, operations: 3, recovered: 1 };
        assert_eq!(operations.counts(), counts);
    }

    #[test]
    fn memory_is_bounded() {
        let operations = Operations::default();
        for key in 0..200_000 {
            operations.attempt(key, true, 0);
        }
        let known: usize =
            operations.shards.iter().map(|shard| shard.lock().unwrap().known.len()).sum();
        assert_eq!(known, SHARDS * REMEMBERED);
        assert_eq!(operations.counts().operations, 200_000);
    }
}
