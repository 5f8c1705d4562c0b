//! What outlives a stage: ordinals, hits and the like, by name. A reload, a pause or a change of
//! phase makes a new stage; the counters go on.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::Memory;

/// A counter on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Ordinal(AtomicU64);

impl Ordinal {
    /// The number before this call's.
    pub fn take(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts one more unless `limit` has been reached; never beyond it, so that a limit raised
    /// later lets through exactly the difference.
    pub fn take_below(&self, limit: u64) -> bool {
        let more = |n| (n < limit).then_some(n + 1);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub fn give_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many requests a fault is hitting right now.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Busy(AtomicU32);

/// One of the requests that a fault with `max_active` is hitting, until dropped.
#[derive(Debug)]
pub struct Active(Arc<Busy>);

impl Active {
    /// `None`: as many as may be are there already.
    pub fn take(busy: &Arc<Busy>, most: u32) -> Option<Self> {
        let more = |n| (n < most).then_some(n + 1);
        busy.0.try_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(busy)))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PartialEq for Active {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

const SHARDS: usize = 16;
/// Values remembered a shard, 65,536 in all; the oldest go first, and are counted.
const REMEMBERED: usize = 4096;

/// Counters for each value of a fault's `per`. Only such faults pay for it: one short lock a
/// request, on one of many shards.
#[derive(Debug, Default)]
pub struct PerValue {
    shards: [Mutex<Shard>; SHARDS],
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    known: HashMap<u64, u64>,
    oldest_first: VecDeque<u64>,
}

impl PerValue {
    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[(key % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value's number before this call's.
    pub fn take(&self, key: u64) -> u64 {
        self.count(key, u64::MAX).unwrap_or(u64::MAX)
    }

    /// As [`Ordinal::take_below`], for one value.
    pub fn take_below(&self, key: u64, limit: u64) -> bool {
        self.count(key, limit).is_some()
    }

    fn count(&self, key: u64, limit: u64) -> Option<u64> {
        let mut shard = self.shard(key);
        let Shard { known, oldest_first } = &mut *shard;
        if !known.contains_key(&key) {
            if known.len() >= REMEMBERED
                && let Some(oldest) = oldest_first.pop_front()
            {
                known.remove(&oldest);
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            oldest_first.push_back(key);
        }
        let count = known.entry(key).or_default();
        let before = *count;
        (before < limit).then(|| {
            *count += 1;
            before
        })
    }

    pub fn give_back(&self, key: u64) {
        if let Some(count) = self.shard(key).known.get_mut(&key) {
            *count = count.saturating_sub(1);
        }
    }

    /// Values forgotten for want of room; each starts anew when it comes back.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// One fault's counters that do not begin anew with a phase.
#[derive(Debug, Default, Clone)]
pub struct OfFault {
    /// How often it fired in the drill.
    pub fired: Arc<Ordinal>,
    /// The same for each value of its `per`.
    pub fired_per: Arc<PerValue>,
    pub busy: Arc<Busy>,
}

/// Everything that is counted, by name. A name nobody had starts at zero. Control plane only.
#[derive(Debug, Default)]
pub struct Counters {
    /// How many requests were eligible, by what is booked and by stream: the members of a group
    /// have one in common.
    ordinals: HashMap<(Arc<str>, Arc<str>), Arc<Ordinal>>,
    faults: HashMap<Arc<str>, OfFault>,
    /// What the kinds of a fault keep.
    memories: HashMap<Arc<str>, Memory>,
    /// By what is booked and by fault.
    per: HashMap<(Arc<str>, Arc<str>), Arc<PerValue>>,
}

impl Counters {
    pub fn ordinal(&mut self, booked: &Arc<str>, stream: &Arc<str>) -> Arc<Ordinal> {
        let key = (Arc::clone(booked), Arc::clone(stream));
        Arc::clone(self.ordinals.entry(key).or_default())
    }

    pub fn of(&mut self, fault: &Arc<str>) -> OfFault {
        self.faults.entry(Arc::clone(fault)).or_default().clone()
    }

    pub fn memory(&mut self, fault: &Arc<str>) -> &mut Memory {
        self.memories.entry(Arc::clone(fault)).or_default()
    }

    pub fn per(&mut self, booked: &Arc<str>, fault: &Arc<str>) -> Arc<PerValue> {
        let key = (Arc::clone(booked), Arc::clone(fault));
        Arc::clone(self.per.entry(key).or_default())
    }

    /// Values that were forgotten, over all phases of a fault.
    pub fn evicted(&self, fault: &str) -> u64 {
        let places = self.per.iter().filter(|((_, name), _)| **name == *fault);
        let places: u64 = places.map(|(_, per)| per.evicted()).sum();
        let kinds = self.memories.get(fault).map_or(0, Memory::evicted);
        places + kinds + self.faults.get(fault).map_or(0, |own| own.fired_per.evicted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_active_than_may_be() {
        let busy = Arc::default();
        let one = Active::take(&busy, 2);
        let two = Active::take(&busy, 2);
        assert!(one.is_some() && two.is_some() && Active::take(&busy, 2).is_none());
        drop(one);
        assert!(Active::take(&busy, 2).is_some());
    }

    #[test]
    fn each_value_counts_for_itself_within_bounds() {
        let per = PerValue::default();
        assert_eq!([per.take(1), per.take(2), per.take(1)], [0, 0, 1]);
        assert!(per.take_below(1, 3) && !per.take_below(1, 3) && per.take_below(2, 3));
        per.give_back(1);
        assert!(per.take_below(1, 3));
        assert_eq!(per.evicted(), 0);
        for key in 0..100_000 {
            per.take(key);
        }
        let known: usize = per.shards.iter().map(|shard| shard.lock().unwrap().known.len()).sum();
        assert_eq!((known, per.evicted()), (SHARDS * REMEMBERED, 100_000 - 65_536));
    }
}
