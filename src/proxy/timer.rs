//! One timer a worker: a heap of deadlines over one kernel alarm. Held requests wait here, so that
//! a halt can let them go at a pace instead of all at once.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::os::Alarm;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Its time was up.
    Elapsed,
    /// It was let go before its time.
    Released,
}

#[derive(Debug)]
pub struct Timer {
    alarm: Alarm,
    due: RefCell<Due>,
}

#[derive(Debug, Default)]
struct Due {
    /// Entries whose ticket is stale (dropped, or given an earlier deadline) are skipped.
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    live: usize,
    next_ticket: u64,
    alarm_at: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    ticket: u64,
    deadline: Instant,
    wake: Option<Wake>,
    released: bool,
    waker: Option<Waker>,
}

/// A wait in progress; dropping it takes it out.
#[derive(Debug)]
pub struct Wait {
    timer: Rc<Timer>,
    slot: Cell<usize>,
}

impl Timer {
    /// Must be called inside the worker's runtime.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { alarm: Alarm::new()?, due: RefCell::default() })
    }

    /// Runs the timer; one task a worker does this for ever.
    pub async fn drive(self: Rc<Self>) {
        loop {
            self.alarm.ring().await;
            let next = self.due.borrow_mut().fire(crate::clock::now());
            if let Some(deadline) = next {
                self.alarm.set(deadline.saturating_duration_since(crate::clock::now()));
            }
        }
    }

    /// Waits until `deadline`, never less.
    pub fn wait_until(self: &Rc<Self>, deadline: Instant) -> Wait {
        let (slot, earliest) = self.due.borrow_mut().insert(deadline);
        if earliest {
            self.alarm.set(deadline.saturating_duration_since(crate::clock::now()));
        }
        Wait { timer: Rc::clone(self), slot: Cell::new(slot) }
    }

    /// How many are waiting.
    pub fn waiting(&self) -> usize {
        self.due.borrow().live
    }

    /// Lets everyone who waits go, in order of arrival, `gap` apart; who would have gone sooner
    /// anyway keeps its time.
    pub fn release(&self, now: Instant, gap: Duration) {
        let first = self.due.borrow_mut().release(now, gap);
        if let Some(deadline) = first {
            self.alarm.set(deadline.saturating_duration_since(now));
        }
    }
}

impl Due {
    /// The slot, and whether the alarm must be set anew.
    fn insert(&mut self, deadline: Instant) -> (usize, bool) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let entry = Some(Slot { ticket, deadline, wake: None, released: false, waker: None });
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot] = entry;
            slot
        } else {
            self.slots.push(entry);
            self.slots.len() - 1
        };
        self.live += 1;
        self.heap.push(Reverse((deadline, ticket, slot)));
        let earliest = self.alarm_at.is_none_or(|at| deadline < at);
        if earliest {
            self.alarm_at = Some(deadline);
        }
        (slot, earliest)
    }

    fn remove(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
        self.live -= 1;
        // Waits that were given up leave their mark in the heap; sweep before they pile up.
        if self.heap.len() > 2 * self.live + 1024 {
            let slots = &self.slots;
            self.heap.retain(|Reverse((_, ticket, slot))| {
                slots[*slot].as_ref().is_some_and(|entry| entry.ticket == *ticket)
            });
        }
    }

    /// Wakes all that are due and returns the next deadline.
    fn fire(&mut self, now: Instant) -> Option<Instant> {
        self.alarm_at = None;
        while let Some(Reverse((deadline, ticket, slot))) = self.heap.peek().copied() {
            let current = self.slots[slot].as_mut().filter(|entry| {
                entry.ticket == ticket && entry.deadline == deadline && entry.wake.is_none()
            });
            let Some(entry) = current else {
                self.heap.pop();
                continue;
            };
            if deadline > now {
                self.alarm_at = Some(deadline);
                return Some(deadline);
            }
            entry.wake = Some(if entry.released { Wake::Released } else { Wake::Elapsed });
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
            self.heap.pop();
        }
        None
    }

    fn release(&mut self, now: Instant, gap: Duration) -> Option<Instant> {
        let mut waiting: Vec<(u64, usize)> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(slot, entry)| entry.as_ref().map(|entry| (slot, entry)))
            .filter(|(_, entry)| entry.wake.is_none())
            .map(|(slot, entry)| (entry.ticket, slot))
            .collect();
        waiting.sort_unstable();
        for (place, (ticket, slot)) in (0u32..).zip(waiting) {
            let at = now + gap.saturating_mul(place);
            if let Some(entry) = self.slots[slot].as_mut()
                && at < entry.deadline
            {
                entry.deadline = at;
                entry.released = true;
                self.heap.push(Reverse((at, ticket, slot)));
            }
        }
        let next = self.heap.peek().map(|Reverse((deadline, ..))| *deadline);
        self.alarm_at = next;
        next
    }
}

impl Future for Wait {
    type Output = Wake;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Wake> {
        let mut due = self.timer.due.borrow_mut();
        let Some(entry) = due.slots[self.slot.get()].as_mut() else {
            return Poll::Ready(Wake::Released);
        };
        if let Some(wake) = entry.wake {
            Poll::Ready(wake)
        } else {
            match &mut entry.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            Poll::Pending
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.timer.due.borrow_mut().remove(self.slot.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_in_order_and_never_early() {
        let start = crate::clock::now();
        let mut due = Due::default();
        let (late, first) = due.insert(start + Duration::from_secs(2));
        assert!(first);
        let (soon, first) = due.insert(start + Duration::from_secs(1));
        assert!(first);
        assert_eq!(due.fire(start), Some(start + Duration::from_secs(1)));
        assert_eq!(due.fire(start + Duration::from_secs(1)), Some(start + Duration::from_secs(2)));
        assert_eq!(due.slots[soon].as_ref().and_then(|s| s.wake), Some(Wake::Elapsed));
        assert_eq!(due.slots[late].as_ref().and_then(|s| s.wake), None);
    }

    #[test]
    fn release_is_paced_in_order_of_arrival() {
        let start = crate::clock::now();
        let mut due = Due::default();
        let slots: Vec<usize> =
            (0..10).map(|_| due.insert(start + Duration::from_secs(30)).0).collect();
        due.release(start, Duration::from_millis(1));
        for step in 0..10u64 {
            due.fire(start + Duration::from_millis(step));
            let gone = slots
                .iter()
                .filter(|slot| {
                    due.slots[**slot].as_ref().is_some_and(|s| s.wake == Some(Wake::Released))
                })
                .count();
            assert_eq!(gone as u64, step + 1);
        }
    }

    #[test]
    fn given_up_waits_do_not_pile_up() {
        let start = crate::clock::now();
        let mut due = Due::default();
        for _ in 0..100_000 {
            let (slot, _) = due.insert(start + Duration::from_secs(60));
            due.remove(slot);
        }
        assert!(due.heap.len() < 2000, "{} marks left", due.heap.len());
        assert_eq!(due.slots.len(), 1);
    }
}
