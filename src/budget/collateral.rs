//! How much of what no fault hit went bad because of the drill all the same: a comparison of
//! requests under a drill with requests without one. Always an estimate, with its interval.

use super::interval::{Confidence, Interval, wilson};

/// A group of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exposure {
    pub n: u64,
    pub bad: u64,
}

/// What a drill did to events that no fault hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Collateral {
    /// Bad events above what the comparison leads one to expect; never below 0.
    pub excess: f64,
    /// 95 %, within [0, bad].
    pub interval: Interval,
}

/// Two groups' shares compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Risk {
    pub exposed: f64,
    pub control: f64,
    /// Exposed over control, 95 % by Katz (1978); `None` where either has no bad event.
    pub ratio: Option<(f64, Interval)>,
    /// The share of the exposed's bad events that the exposure accounts for, from the ratio.
    pub attributable: Option<(f64, Interval)>,
    /// Exposed − control, 95 % by Newcombe (1998, method 10).
    pub difference: Interval,
}

impl Risk {
    /// `None` where either group is empty.
    pub fn of(exposed: Exposure, control: Exposure) -> Option<Self> {
        let confidence = Confidence::P95;
        let share = |group: Exposure| group.bad as f64 / group.n as f64;
        let one = wilson(exposed.bad, exposed.n, confidence)?;
        let zero = wilson(control.bad, control.n, confidence)?;
        let (r1, r0) = (share(exposed), share(control));
        let side = |a: f64, b: f64| (a * a + b * b).sqrt();
        let difference = Interval {
            low: r1 - r0 - side(r1 - one.low, zero.high - r0),
            high: r1 - r0 + side(one.high - r1, r0 - zero.low),
        };
        let ratio = (exposed.bad > 0 && control.bad > 0).then(|| {
            let spread = |group: Exposure| 1.0 / group.bad as f64 - 1.0 / group.n as f64;
            let wide = (confidence.z() * (spread(exposed) + spread(control)).sqrt()).exp();
            let ratio = r1 / r0;
            (ratio, Interval { low: ratio / wide, high: ratio * wide })
        });
        let part = |ratio: f64| 1.0 - 1.0 / ratio;
        let attributable = ratio.map(|(ratio, Interval { low, high })| {
            (part(ratio), Interval { low: part(low), high: part(high) })
        });
        Some(Self { exposed: r1, control: r0, ratio, attributable, difference })
    }
}

impl Collateral {
    /// `b1 − n1 · b0 / n0`. `None` where there is nothing to compare, or with.
    pub fn of(exposed: Exposure, control: Exposure) -> Option<Self> {
        let risk = Risk::of(exposed, control)?;
        let (n, bad) = (exposed.n as f64, exposed.bad as f64);
        let events = |difference: f64| (difference * n).clamp(0.0, bad);
        Some(Self {
            excess: events(risk.exposed - risk.control),
            interval: Interval {
                low: events(risk.difference.low),
                high: events(risk.difference.high),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::close;

    /// V19.
    #[test]
    fn vector() {
        let (exposed, control) = (Exposure { n: 1_000, bad: 180 }, Exposure { n: 9_000, bad: 45 });
        let risk = Risk::of(exposed, control).unwrap();
        close(risk.exposed, 0.18);
        close(risk.control, 0.005);
        let (ratio, interval) = risk.ratio.unwrap();
        close(ratio, 36.0);
        close(interval.low, 26.139_777);
        close(interval.high, 49.579_613);
        let (part, interval) = risk.attributable.unwrap();
        close(part, 0.972_222);
        close(interval.low, 0.961_744);
        close(interval.high, 0.979_830);
        close(risk.difference.low, 0.152_364);
        close(risk.difference.high, 0.200_054);
        let collateral = Collateral::of(exposed, control).unwrap();
        close(collateral.excess, 175.0);
        close(collateral.excess / (180.0 + 45.0), 0.777_778);
        assert!((collateral.interval.low / 1_000.0 - 0.152_364).abs() <= 5e-7);
    }

    #[test]
    fn extremes() {
        let (some, none) = (Exposure { n: 10, bad: 5 }, Exposure::default());
        assert_eq!(Collateral::of(some, none), None);
        assert_eq!(Collateral::of(none, some), None);
        let clean = Collateral::of(Exposure { n: 100, bad: 0 }, some).unwrap();
        assert_eq!((clean.excess.to_bits(), clean.interval.high.to_bits()), (0, 0));
        let all = Collateral::of(Exposure { n: 7, bad: 7 }, Exposure { n: 7, bad: 0 }).unwrap();
        close(all.excess, 7.0);
        assert!(all.interval.low > 0.0 && all.interval.high <= 7.0);
    }
}
