//! Faults that come and go: a two-state Markov process on the drill's clock, looked up at any time
//! without its history, so that the data path keeps and shares nothing.
//!
//! To go off at the rate 1/on and on at the rate 1/off is the same process as this one: at the
//! moments of a Poisson process of rate 1/on + 1/off the state is drawn anew, on with the chance
//! on / (on + off), whatever it was before. (The rate from on to off is then
//! (1/on + 1/off) · off / (on + off) = 1/on, as it should be.) So the state is what the last moment
//! drew; and as moments in one stretch of time know nothing of those in another, each stretch has
//! dice of its own.

use std::time::Duration;

use rand::Rng;
use rand_distr::{Distribution, Exp1};

use crate::dice::{Dice, Stream};
use crate::plan;

#[derive(Debug, Clone, Copy)]
pub struct Bursts {
    stream: Stream,
    /// How much of the clock shares dice, in nanoseconds: two mean gaps, so that few are drawn for
    /// nothing and few stretches have none.
    stretch: u64,
    /// Between two moments at which the state is drawn, in nanoseconds.
    mean_gap: f64,
    /// A draw of 64 bits below this is on.
    on_below: u64,
    /// Until the first moment: as likely as in the long run.
    at_first: bool,
}

impl Bursts {
    pub fn new(seed: u64, fault: &str, bursts: plan::Bursts) -> Self {
        let stream = Stream::new(seed, fault);
        let (on, off) = (bursts.on.as_nanos() as f64, bursts.off.as_nanos() as f64);
        let mean_gap = on * off / (on + off);
        let on_below = (bursts.duty() * 2_f64.powi(64)) as u64;
        Self {
            stream,
            stretch: ((2.0 * mean_gap) as u64).max(1),
            mean_gap,
            on_below,
            at_first: stream.dice(0, "bursts at first").rng().next_u64() < on_below,
        }
    }

    /// Whether it is on, so long after its phase began.
    pub fn is_on(&self, elapsed: Duration) -> bool {
        // 2^64 nanoseconds are 584 years.
        let elapsed = elapsed.as_nanos() as u64;
        let mut within = elapsed % self.stretch;
        // Each step back is needed once in e^2 times.
        for stretch in (0..=elapsed / self.stretch).rev() {
            if let Some(on) = self.last(self.stream.dice(stretch, "bursts"), within) {
                return on;
            }
            within = self.stretch;
        }
        self.at_first
    }

    /// What a stretch's last moment drew, of those in its first so many nanoseconds.
    fn last(&self, mut dice: Dice, within: u64) -> Option<bool> {
        let (within, rng) = (within as f64, dice.rng());
        let (mut at, mut on) = (0.0, None);
        loop {
            let gap: f64 = Exp1.sample(rng);
            at += gap * self.mean_gap;
            if at > within {
                return on;
            }
            on = Some(rng.next_u64() < self.on_below);
        }
    }
}

#[cfg(test)]
#[path = "bursts_tests.rs"]
mod tests;
