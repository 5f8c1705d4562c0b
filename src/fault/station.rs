//! A service at capacity: so many slots, a line of bounded length before them, first come, first
//! served. [`Station`] is the rules alone, in nobody's time; [`Pool`] lets requests of all workers
//! stand in its line.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many are served at once, and how many may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    pub slots: u32,
    pub line: u32,
}

/// The rules. `T` is what is known of who waits.
#[derive(Debug)]
struct Station<T> {
    busy: u32,
    line: VecDeque<(u64, T)>,
    next_ticket: u64,
}

impl<T> Default for Station<T> {
    fn default() -> Self {
        Self { busy: 0, line: VecDeque::new(), next_ticket: 0 }
    }
}

/// What becomes of who comes.
#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    Served,
    /// In line, with this ticket.
    Waits(u64),
    Full,
}

impl<T> Station<T> {
    fn arrive(&mut self, capacity: Capacity, who: T) -> Arrival {
        if self.busy < capacity.slots && self.line.is_empty() {
            self.busy += 1;
            return Arrival::Served;
        }
        if self.line.len() >= capacity.line as usize {
            return Arrival::Full;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.line.push_back((ticket, who));
        Arrival::Waits(ticket)
    }

    /// A slot is free again.
    fn leave(&mut self) {
        self.busy = self.busy.saturating_sub(1);
    }

    /// Who is served next, if a slot is free.
    fn next(&mut self, capacity: Capacity) -> Option<(u64, T)> {
        if self.busy >= capacity.slots {
            return None;
        }
        let next = self.line.pop_front()?;
        self.busy += 1;
        Some(next)
    }

    /// Leaves the line; false: it is no longer in it.
    fn give_up(&mut self, ticket: u64) -> bool {
        let place = self.line.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        place.is_ok_and(|place| self.line.remove(place).is_some())
    }
}

/// A station that requests stand in. Only requests that the fault hits touch its lock, and none
/// waits while holding it.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    /// As the last to come found it: a reload may have changed it.
    capacity: Capacity,
    station: Station<Option<Waker>>,
    /// Tickets whose turn has come and who have not seen it yet.
    called: Vec<u64>,
}

impl super::kept::State for Pool {}

impl PartialEq for Pool {
    /// The same one.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Pool {
    /// Gets in line; `None`: it is full. The turn comes at once where a slot is free.
    pub fn arrive(self: &Arc<Self>, capacity: Capacity) -> Option<Turn> {
        let mut inside = self.inside();
        inside.capacity = capacity;
        inside.call();
        let place = match inside.station.arrive(capacity, None) {
            Arrival::Served => Place::Called,
            Arrival::Waits(ticket) => Place::Line(ticket),
            Arrival::Full => return None,
        };
        Some(Turn { pool: Arc::clone(self), place })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) {
        let mut inside = self.inside();
        inside.station.leave();
        inside.call();
    }
}

impl Inside {
    /// Lets in whom there is room for.
    fn call(&mut self) {
        while let Some((ticket, waker)) = self.station.next(self.capacity) {
            self.called.push(ticket);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// True: it was called.
    fn answer(&mut self, ticket: u64) -> bool {
        let called = self.called.iter().position(|called| *called == ticket);
        called.map(|at| self.called.swap_remove(at)).is_some()
    }
}

/// A place in line; resolves to a slot. Dropping it leaves the line.
#[derive(Debug)]
pub struct Turn {
    pool: Arc<Pool>,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Line(u64),
    Called,
    /// The slot was handed over.
    Gone,
}

impl Future for Turn {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Slot> {
        if let Place::Line(ticket) = self.place {
            let mut inside = self.pool.inside();
            if !inside.answer(ticket) {
                let line = &mut inside.station.line;
                if let Ok(at) = line.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
                    line[at].1 = Some(context.waker().clone());
                }
                return Poll::Pending;
            }
        }
        self.place = Place::Gone;
        Poll::Ready(Slot(Arc::clone(&self.pool)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let called = match self.place {
            Place::Gone => false,
            Place::Called => true,
            Place::Line(ticket) => {
                let mut inside = self.pool.inside();
                !inside.station.give_up(ticket) && inside.answer(ticket)
            }
        };
        if called {
            self.pool.leave();
        }
    }
}

/// Held for as long as a request is served; dropping it makes room.
#[derive(Debug)]
pub struct Slot(Arc<Pool>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use rand_distr::{Distribution, Exp};

    /// The mean time in line of a million arrivals, in virtual time: arrivals come at `rate`, each
    /// is served for a mean of 1, both exponential.
    fn mean_wait(slots: u32, rate: f64) -> f64 {
        const ARRIVALS: u64 = 1_000_000;
        let capacity = Capacity { slots, line: u32::MAX };
        let mut station: Station<f64> = Station::default();
        let mut arrivals = Dice::new(7, "arrivals", 0, "queue");
        let mut services = Dice::new(7, "services", 0, "queue");
        let (between, takes) = (Exp::new(rate).unwrap(), Exp::new(1.0).unwrap());
        // Times at which a slot is free again, soonest last.
        let mut leaving: Vec<f64> = Vec::new();
        let (mut now, mut waited) = (0.0, 0.0);
        let mut serve = |leaving: &mut Vec<f64>, from: f64| {
            let until: f64 = from + takes.sample(services.rng());
            let at = leaving.partition_point(|other| *other > until);
            leaving.insert(at, until);
        };
        for _ in 0..ARRIVALS {
            now += between.sample(arrivals.rng());
            while let Some(free) = leaving.pop_if(|free| *free <= now) {
                station.leave();
                while let Some((_, since)) = station.next(capacity) {
                    waited += free - since;
                    serve(&mut leaving, free);
                }
            }
            if station.arrive(capacity, now) == Arrival::Served {
                serve(&mut leaving, now);
            }
        }
        waited / ARRIVALS as f64
    }

    /// Erlang's C formula for the mean wait, services taking a mean of 1.
    fn erlang_wait(slots: u32, rate: f64) -> f64 {
        let (c, load) = (f64::from(slots), rate);
        let (mut term, mut sum) = (1.0, 0.0);
        for n in 0..slots {
            sum += term;
            term *= load / (f64::from(n) + 1.0);
        }
        let waits = term / (1.0 - load / c);
        waits / (sum + waits) / (c - load)
    }

    #[test]
    fn waits_agree_with_queueing_theory() {
        for (slots, rate) in [(1, 0.7), (2, 1.4), (4, 3.2)] {
            let (measured, theory) = (mean_wait(slots, rate), erlang_wait(slots, rate));
            let off = measured / theory - 1.0;
            assert!(off.abs() < 0.02, "{slots} slots at {rate}: {measured}, theory {theory}");
        }
    }

    fn poll(turn: &mut Turn) -> Option<Slot> {
        match Pin::new(turn).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slot) => Some(slot),
            Poll::Pending => None,
        }
    }

    #[test]
    fn first_come_first_served_and_no_more_than_fit() {
        let pool = Arc::new(Pool::default());
        let capacity = Capacity { slots: 1, line: 2 };
        let arrive = || pool.arrive(capacity);
        let slot = poll(&mut arrive().unwrap()).unwrap();
        let (mut second, mut third) = (arrive().unwrap(), arrive().unwrap());
        assert!(arrive().is_none(), "the line is full");
        assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
        drop(slot);
        assert!(poll(&mut third).is_none(), "not before the second");
        let slot = poll(&mut second).unwrap();
        drop(slot);
        assert!(poll(&mut third).is_some());
    }

    /// Whoever leaves, in line, called, or served, makes room for exactly one.
    #[test]
    fn nobody_takes_a_slot_along() {
        let pool = Arc::new(Pool::default());
        let capacity = Capacity { slots: 1, line: 3 };
        let arrive = || pool.arrive(capacity).unwrap();
        let slot = poll(&mut arrive()).unwrap();
        let (second, third, mut fourth) = (arrive(), arrive(), arrive());
        drop(second);
        drop(slot);
        // The third is called and goes without having looked.
        drop(third);
        let slot = poll(&mut fourth).unwrap();
        assert!(poll(&mut arrive()).is_none());
        drop(slot);
        // Called at once, and gone.
        drop(arrive());
        assert!(poll(&mut arrive()).is_some());
        assert_eq!(pool.inside().station.busy, 0);
    }

    #[test]
    fn a_reload_makes_room() {
        let pool = Arc::new(Pool::default());
        let narrow = Capacity { slots: 1, line: 5 };
        let _slot = poll(&mut pool.arrive(narrow).unwrap()).unwrap();
        let mut waiting = pool.arrive(narrow).unwrap();
        assert!(poll(&mut waiting).is_none());
        let mut newer = pool.arrive(Capacity { slots: 2, line: 5 }).unwrap();
        assert!(poll(&mut waiting).is_some(), "it was there first");
        assert!(poll(&mut newer).is_some(), "and has left again");
    }
}
