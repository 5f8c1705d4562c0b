//! What a drill is expected to cost before it has begun, or from here to its end: the sum over its
//! stretches of how many requests come and how likely each goes bad.

use super::interval::{Confidence, Interval};

/// Part of a drill with one rate and one probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    pub seconds: f64,
    /// Requests a second.
    pub rate: f64,
    /// How likely a request goes bad.
    pub bad: f64,
}

/// How many bad events there will be: the mean and the variance of independent draws.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Expected {
    pub events: f64,
    pub bad: f64,
    pub variance: f64,
}

impl Expected {
    /// Σ d · λ · q, with variance Σ d · λ · q (1 − q).
    pub fn over(stretches: impl IntoIterator<Item = Stretch>) -> Self {
        stretches.into_iter().fold(Self::default(), |sum, stretch| {
            let Stretch { seconds, rate, bad } = stretch;
            let events = seconds.max(0.0) * rate.max(0.0);
            let bad = bad.clamp(0.0, 1.0);
            Self {
                events: sum.events + events,
                bad: sum.bad + events * bad,
                variance: sum.variance + events * bad * (1.0 - bad),
            }
        })
    }

    /// Normal, never below 0.
    pub fn interval(self, confidence: Confidence) -> Interval {
        let half = confidence.z() * self.variance.sqrt();
        Interval { low: (self.bad - half).max(0.0), high: self.bad + half }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::close;

    /// V23: two minutes of nothing, five of 10 % that all fail, five of 5 % of which 40 % fail.
    #[test]
    fn vector() {
        let stretch = |seconds, bad| Stretch { seconds, rate: 50.0, bad };
        let found =
            Expected::over([stretch(120.0, 0.0), stretch(300.0, 0.1), stretch(300.0, 0.02)]);
        close(found.bad, 1_800.0);
        close(found.variance.sqrt(), 40.546_270);
        let budget = 0.001 * 50.0 * 2_419_200.0;
        close(found.bad / budget, 0.014_881);
        let Interval { low, high } = found.interval(Confidence::P80);
        close(low / budget, 0.014_451);
        close(high / budget, 0.015_311);
        close(found.bad / found.events / 0.001 * 720.0 / 2_419_200.0, 0.014_881);
    }

    #[test]
    fn nonsense_costs_nothing() {
        let odd = Stretch { seconds: -1.0, rate: 5.0, bad: 2.0 };
        assert_eq!(Expected::over([odd]), Expected::default());
        assert_eq!(Expected::default().interval(Confidence::P95).low.to_bits(), 0);
    }
}
