//! Token buckets, as the generic cell rate algorithm keeps them: one number each, the time at which
//! the bucket is full again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::kept::State;

const SHARDS: usize = 16;
/// Values remembered a shard, 65,536 in all; the oldest go first, start anew, and are counted.
const REMEMBERED: usize = 4096;

/// One bucket for all, or one for each value of a part of the request. Times are nanoseconds since
/// an epoch of the caller's.
#[derive(Debug, Default)]
pub struct Buckets {
    all: AtomicU64,
    /// Only limits by value pay for it: one short lock a request, on one of many shards.
    by_value: [Mutex<Shard>; SHARDS],
    evicted: AtomicU64,
}

impl State for Buckets {
    fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Shard {
    full_at: HashMap<u64, u64>,
    oldest_first: VecDeque<u64>,
}

impl PartialEq for Buckets {
    /// The same ones.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// How fast tokens come, and how many a full bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub interval: Duration,
    pub burst: u64,
}

impl Pace {
    /// The bucket's next number when a token is taken, or how long until there is one.
    fn take(self, full_at: u64, now: u64) -> Result<u64, Duration> {
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        let full_at = full_at.max(now);
        let room = interval.saturating_mul(self.burst.saturating_sub(1));
        match (full_at - now).checked_sub(room) {
            None | Some(0) => Ok(full_at.saturating_add(interval)),
            Some(missing) => Err(Duration::from_nanos(missing)),
        }
    }
}

impl Buckets {
    /// Takes a token, or says how long until there is one. `value`: whose bucket it is.
    pub fn take(&self, pace: Pace, value: Option<u64>, now: Duration) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let Some(value) = value else {
            let mut missing = Duration::ZERO;
            let next = |full_at| match pace.take(full_at, now) {
                Ok(next) => Some(next),
                Err(time) => {
                    missing = time;
                    None
                }
            };
            let taken = self.all.try_update(Ordering::Relaxed, Ordering::Relaxed, next);
            return taken.map(|_| ()).map_err(|_| missing);
        };
        let shard = &self.by_value[(value % SHARDS as u64) as usize];
        let Shard { full_at, oldest_first } =
            &mut *shard.lock().unwrap_or_else(PoisonError::into_inner);
        if !full_at.contains_key(&value) {
            if full_at.len() >= REMEMBERED
                && let Some(oldest) = oldest_first.pop_front()
            {
                full_at.remove(&oldest);
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            oldest_first.push_back(value);
        }
        let full_at = full_at.entry(value).or_default();
        *full_at = pace.take(*full_at, now)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { interval: Duration::from_millis(100), burst: 3 };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_then_the_rate_and_true_times_to_wait() {
        let buckets = Buckets::default();
        let take = |now| buckets.take(PACE, None, at(now));
        assert_eq!([take(1000), take(1000), take(1000)], [Ok(()); 3]);
        assert_eq!(take(1000), Err(at(100)));
        assert_eq!(take(1040), Err(at(60)));
        assert_eq!((take(1100), take(1100)), (Ok(()), Err(at(100))));
        // Full again after three intervals, and not fuller.
        assert_eq!([take(9000), take(9000), take(9000)], [Ok(()); 3]);
        assert_eq!(take(9000), Err(at(100)));
    }

    /// Over any stretch no more than the burst and what the rate gives.
    #[test]
    fn never_more_than_the_rate() {
        let buckets = Buckets::default();
        let taken: Vec<u64> =
            (0..10_000).filter(|now| buckets.take(PACE, None, at(*now)).is_ok()).collect();
        assert_eq!(taken.len(), 3 + 99);
        let mut stretches = taken.windows(5).map(|w| w[4] - w[0]);
        assert!(stretches.all(|stretch| stretch >= 2 * 100));
    }

    #[test]
    fn each_value_has_a_bucket_and_they_are_bounded() {
        let buckets = Buckets::default();
        let one = Pace { burst: 1, ..PACE };
        assert_eq!(buckets.take(one, Some(7), at(0)), Ok(()));
        assert_eq!(buckets.take(one, Some(8), at(0)), Ok(()));
        assert_eq!(buckets.take(one, Some(7), at(0)), Err(at(100)));
        for value in 0..200_000 {
            let _ = buckets.take(one, Some(value), at(1));
        }
        let known = buckets.by_value.iter().map(|shard| shard.lock().unwrap().full_at.len());
        assert_eq!(known.sum::<usize>(), SHARDS * REMEMBERED);
    }

    #[test]
    fn no_numbers_overflow() {
        let buckets = Buckets::default();
        let most = Pace { interval: Duration::MAX, burst: u64::MAX };
        for now in [Duration::ZERO, Duration::MAX] {
            for value in [None, Some(1)] {
                let _ = buckets.take(most, value, now);
                let _ = buckets.take(Pace { burst: 1, ..most }, value, now);
            }
        }
    }

    /// Of ever new values the first are forgotten, and counted.
    #[test]
    fn what_is_forgotten_is_counted() {
        let buckets = Buckets::default();
        for value in 0..70_000 {
            assert_eq!(buckets.take(PACE, Some(value), at(0)), Ok(()));
        }
        assert_eq!(buckets.evicted(), 70_000 - 65_536);
    }
}
