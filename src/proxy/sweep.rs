//! Everything that may not wait for ever, looked at four times a second: one pass a worker over
//! what its connections, bodies and upstream exchanges last did. hyper's own timers could not tell
//! a first byte from an idle connection, and would cost each request a timer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::conn::{Conn, Overdue};
use crate::plan::proxy::Timeouts;

/// How often a worker looks.
pub const TICK: Duration = Duration::from_millis(250);

/// A moment, in ticks since the worker began; never 0, which stands for "not now".
pub type Tick = u32;

/// A duration in ticks, rounded up, so that nothing is cut before its time.
fn ticks(time: Duration) -> Tick {
    let whole = time.as_millis().div_ceil(TICK.as_millis());
    Tick::try_from(whole).unwrap_or(Tick::MAX).max(1)
}

/// The limits of a connection, in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub first_byte: Tick,
    pub request_head: Tick,
    pub write_stall: Tick,
    pub idle: Tick,
}

impl Patience {
    fn of(timeouts: &Timeouts) -> Self {
        Self {
            first_byte: ticks(timeouts.first_byte),
            request_head: ticks(timeouts.request_head),
            write_stall: ticks(timeouts.write_stall),
            idle: ticks(timeouts.idle),
        }
    }
}

#[derive(Debug)]
pub struct Sweep {
    now: Cell<Tick>,
    waits: RefCell<Slots<Entry>>,
    conns: RefCell<Slots<Rc<Conn>>>,
    blocked: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Entry {
    /// 0: nobody waits just now.
    since: Tick,
    limit: Tick,
    over: bool,
    waker: Option<Waker>,
}

/// Places that are used again.
#[derive(Debug)]
struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slots<T> {
    const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    fn insert(&mut self, value: T) -> usize {
        if let Some(place) = self.free.pop() {
            self.places[place] = Some(value);
            return place;
        }
        self.places.push(Some(value));
        self.places.len() - 1
    }

    fn remove(&mut self, place: usize) -> Option<T> {
        let taken = self.places.get_mut(place)?.take();
        if taken.is_some() {
            self.free.push(place);
        }
        taken
    }
}

impl Sweep {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(1),
            waits: RefCell::new(Slots::new()),
            conns: RefCell::new(Slots::new()),
            blocked: Arc::default(),
        })
    }

    /// How many connections, and streams on those that are shared, wait for their clients to take
    /// something.
    pub fn blocked(&self) -> &Arc<AtomicUsize> {
        &self.blocked
    }

    /// The tick we are in.
    pub fn now(&self) -> Tick {
        self.now.get()
    }

    /// Begins to watch a wait that may take `limit`, and up to two ticks more.
    pub fn watch(self: &Rc<Self>, limit: Duration) -> Watch {
        let limit = ticks(limit);
        let entry = Entry { since: self.now.get(), limit, over: false, waker: None };
        let place = self.waits.borrow_mut().insert(entry);
        Watch { sweep: Rc::clone(self), place }
    }

    /// Puts a connection on the list until the guard is dropped.
    pub fn list(self: &Rc<Self>, conn: &Rc<Conn>) -> Listed {
        let place = self.conns.borrow_mut().insert(Rc::clone(conn));
        Listed { sweep: Rc::clone(self), place }
    }

    /// One look at everything. `cut` is told of every connection that has used up its patience.
    pub fn look(&self, timeouts: &Timeouts, cut: impl Fn(&Conn, Overdue)) {
        let now = self.now.get().wrapping_add(1).max(1);
        self.now.set(now);
        let mut woken = Vec::new();
        for entry in self.waits.borrow_mut().places.iter_mut().flatten() {
            // One tick more: the wait may have begun late in its first.
            if entry.since != 0 && !entry.over && now.wrapping_sub(entry.since) > entry.limit {
                entry.over = true;
                woken.extend(entry.waker.take());
            }
        }
        for waker in woken {
            waker.wake();
        }
        let patience = Patience::of(timeouts);
        self.each(|conn| {
            if let Some(overdue) = conn.overdue(now, &patience) {
                cut(conn, overdue);
            }
        });
    }

    /// Every connection there is.
    pub fn each(&self, mut see: impl FnMut(&Conn)) {
        for conn in self.conns.borrow().places.iter().flatten() {
            see(conn);
        }
    }
}

/// A wait under watch; dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    sweep: Rc<Sweep>,
    place: usize,
}

impl Watch {
    /// Ready once the wait has taken too long.
    pub fn poll_over(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut waits = self.sweep.waits.borrow_mut();
        let Some(entry) = waits.places.get_mut(self.place).and_then(Option::as_mut) else {
            return Poll::Ready(());
        };
        if entry.over {
            return Poll::Ready(());
        }
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            entry.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Returns once the wait has taken too long.
    pub async fn over(&self) {
        std::future::poll_fn(|context| self.poll_over(context)).await;
    }

    /// Waits from now on, unless it does already.
    pub fn start(&self) {
        let now = self.sweep.now.get();
        self.change(|entry| entry.since = if entry.since == 0 { now } else { entry.since });
    }

    /// There was progress: waits anew from now on.
    pub fn restart(&self) {
        let now = self.sweep.now.get();
        self.change(|entry| (entry.since, entry.over) = (now, false));
    }

    /// Nobody waits just now.
    pub fn rest(&self) {
        self.change(|entry| (entry.since, entry.over) = (0, false));
    }

    /// From now on, with another limit: one watch for what comes one after the other.
    pub fn renew(&self, limit: Duration) {
        let now = self.sweep.now.get();
        self.change(|entry| (entry.since, entry.limit, entry.over) = (now, ticks(limit), false));
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(Some(entry)) = self.sweep.waits.borrow_mut().places.get_mut(self.place) {
            change(entry);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let taken = self.sweep.waits.borrow_mut().remove(self.place);
        // Its waker may drop a task, which may drop a watch.
        drop(taken);
    }
}

/// A connection's place on the list.
#[derive(Debug)]
pub struct Listed {
    sweep: Rc<Sweep>,
    place: usize,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let taken = self.sweep.conns.borrow_mut().remove(self.place);
        drop(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        first_byte: Duration::from_secs(10),
        request_head: Duration::from_secs(10),
        body_stall: Duration::from_secs(30),
        write_stall: Duration::from_secs(30),
        idle: Duration::from_secs(60),
        connect: Duration::from_secs(2),
        response_head: Duration::from_secs(30),
        drain: Duration::from_secs(10),
    };

    fn is_over(watch: &Watch) -> bool {
        watch.poll_over(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn never_early_and_at_most_two_ticks_late() {
        let sweep = Sweep::new();
        let look = || sweep.look(&TIMEOUTS, |_, _| {});
        // 600 ms are three ticks, begun somewhere within the first.
        let watch = sweep.watch(Duration::from_millis(600));
        for _ in 0..3 {
            assert!(!is_over(&watch));
            look();
        }
        assert!(!is_over(&watch));
        look();
        assert!(is_over(&watch));
    }

    #[test]
    fn progress_starts_it_anew() {
        let sweep = Sweep::new();
        let watch = sweep.watch(Duration::from_millis(250));
        for _ in 0..20 {
            assert!(!is_over(&watch));
            sweep.look(&TIMEOUTS, |_, _| {});
            watch.restart();
        }
        watch.rest();
        for _ in 0..20 {
            sweep.look(&TIMEOUTS, |_, _| {});
        }
        assert!(!is_over(&watch), "nobody waits");
        watch.start();
        sweep.look(&TIMEOUTS, |_, _| {});
        sweep.look(&TIMEOUTS, |_, _| {});
        assert!(is_over(&watch));
        // Just before anybody has looked.
        watch.restart();
        assert!(!is_over(&watch));
    }

    #[test]
    fn places_are_used_again() {
        let sweep = Sweep::new();
        for _ in 0..1000 {
            let _watch = sweep.watch(Duration::from_secs(1));
        }
        assert_eq!(sweep.waits.borrow().places.len(), 1);
    }
}
