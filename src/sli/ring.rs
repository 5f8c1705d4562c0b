//! One-second cells: what happened in each of the last 64 seconds, for rates and windows.

use std::sync::atomic::{AtomicU64, Ordering};

use super::judge::{Cause, Event};
use super::series::add;

const SECONDS: usize = 64;

/// What one second saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Second {
    pub good: u64,
    /// Injected, masked, organic.
    pub bad: [u64; 3],
}

#[derive(Debug, Default)]
struct Cell {
    /// The second it holds, plus one; 0: none yet.
    tag: AtomicU64,
    good: AtomicU64,
    bad: [AtomicU64; 3],
}

/// Written by one worker, read by anybody.
#[derive(Debug)]
pub struct Ring(Box<[Cell]>);

impl Default for Ring {
    fn default() -> Self {
        Self((0..SECONDS).map(|_| Cell::default()).collect())
    }
}

impl Ring {
    pub fn record(&self, second: u64, event: Event, by: u64) {
        let cell = &self.0[(second % SECONDS as u64) as usize];
        if cell.tag.load(Ordering::Relaxed) != second + 1 {
            // A reader that saw the old tag before and the new one after throws its copy away.
            cell.tag.store(0, Ordering::Release);
            cell.good.store(0, Ordering::Release);
            for bad in &cell.bad {
                bad.store(0, Ordering::Release);
            }
            cell.tag.store(second + 1, Ordering::Release);
        }
        match event {
            Event::Good => add(&cell.good, by),
            Event::Bad(cause) => add(&cell.bad[cause as usize], by),
            Event::Excluded(_) => {}
        }
    }

    /// A second that is over; zeros when nothing happened or it is too long ago.
    pub fn read(&self, second: u64) -> Second {
        let cell = &self.0[(second % SECONDS as u64) as usize];
        let tag = || cell.tag.load(Ordering::Acquire);
        if tag() != second + 1 {
            return Second::default();
        }
        let seen = Second {
            good: cell.good.load(Ordering::Acquire),
            bad: [Cause::Injected, Cause::Masked, Cause::Organic]
                .map(|cause| cell.bad[cause as usize].load(Ordering::Acquire)),
        };
        if tag() == second + 1 { seen } else { Second::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_kept_for_a_minute() {
        let ring = Ring::default();
        for second in 0..200 {
            ring.record(second, Event::Good, 1);
            ring.record(second, Event::Bad(Cause::Masked), 1);
        }
        assert_eq!(ring.read(199), Second { good: 1, bad: [0, 1, 0] });
        assert_eq!(ring.read(136), Second { good: 1, bad: [0, 1, 0] });
        assert_eq!(ring.read(135), Second::default());
        assert_eq!(ring.read(200), Second::default());
    }
}
