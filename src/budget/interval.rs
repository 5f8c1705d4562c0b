//! How far a count can be trusted. All assume that events are independent; failures that come in
//! clusters prove less than they say.

use super::tail::{self, bisect};

/// How sure an interval is, both sides together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    P80,
    P95,
}

impl Confidence {
    /// What is left outside.
    pub fn alpha(self) -> f64 {
        match self {
            Self::P80 => 0.2,
            Self::P95 => 0.05,
        }
    }

    /// The standard normal distribution's quantile at `1 − α/2`.
    pub fn z(self) -> f64 {
        match self {
            Self::P80 => 1.281_551_565_544_600_4,
            Self::P95 => 1.959_963_984_540_054,
        }
    }
}

/// From one number to another, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Wilson's score interval of a share: for display. 3 of 1,000 is 0.102 % to 0.878 %. `None` of
/// nothing. Source: Wilson (1927).
pub fn wilson(b: u64, n: u64, confidence: Confidence) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let (z, n, b) = (confidence.z(), n as f64, b.min(n) as f64);
    let (share, z2) = (b / n, z * z / n);
    let half = z * ((share * (1.0 - share) + z2 / 4.0) / n).sqrt();
    let at = |side: f64| ((share + z2 / 2.0 + side) / (1.0 + z2)).clamp(0.0, 1.0);
    let low = if b <= 0.0 { 0.0 } else { at(-half) };
    Some(Interval { low, high: if b >= n { 1.0 } else { at(half) } })
}

/// The exact interval of a share (Clopper and Pearson, 1934). `None` of nothing.
pub fn clopper_pearson(b: u64, n: u64, confidence: Confidence) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let (b, outside) = (b.min(n), confidence.alpha() / 2.0);
    let low = if b == 0 { 0.0 } else { bisect(|p| tail::at_least(b, n, p) < outside) };
    let high = if b == n { 1.0 } else { bisect(|p| tail::at_most(b, n, p) >= outside) };
    Some(Interval { low, high })
}

/// Jeffreys' interval: the quantiles of Beta(b + ½, n − b + ½), as they are. Shorter than the exact
/// one and right on average, which the exact one errs from on the safe side; it reaches neither 0 nor
/// 1. 3 of 1,000 is 0.085 % to 0.798 %. `None` of nothing. Source: Brown, Cai and `DasGupta` (2001).
pub fn jeffreys(b: u64, n: u64, confidence: Confidence) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let (b, outside) = (b.min(n), confidence.alpha() / 2.0);
    let at = |chance: f64| bisect(|p| tail::share_at_most(p, b, n) < chance);
    Some(Interval { low: at(outside), high: at(1.0 - outside) })
}

/// How many were to be expected where `k` came (Garwood, 1936): 5 is 1.62 to 11.67.
pub fn poisson(k: u64, confidence: Confidence) -> Interval {
    let (count, outside) = (k as f64, confidence.alpha() / 2.0);
    let z = confidence.z();
    let low = if k == 0 { 0.0 } else { mean_of(count - 1.0, 1.0 - outside, -z) };
    Interval { low, high: mean_of(count, outside, z) }
}

/// The mean at which at most k come with probability `chance`: Newton's steps from Wilson and
/// Hilferty's approximation, which few counts need more than three of.
fn mean_of(k: f64, chance: f64, z: f64) -> f64 {
    let shape = k + 1.0;
    let root = 1.0 - 1.0 / (9.0 * shape) + z / (3.0 * shape.sqrt());
    let mut mean = (shape * root.powi(3)).max(1e-3);
    // Beyond, the approximation is as good as a double.
    if k > 1e8 {
        return mean;
    }
    for _ in 0..40 {
        let step = (tail::poisson_at_most(k, mean) - chance) / tail::poisson_at(k, mean);
        let next = (mean + step).max(mean / 2.0);
        if (next - mean).abs() <= mean * 1e-13 {
            return next;
        }
        mean = next;
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::close;

    /// Slo-maths 2.11.
    #[test]
    fn vectors() {
        let rows = [
            (0, 20, [0.0, 0.161_125, 0.0, 0.168_433, 0.000_024, 0.116_639]),
            (1, 50, [0.003_539, 0.104_954, 0.000_506, 0.106_470, 0.002_166, 0.089_680]),
            (3, 1_000, [0.001_021, 0.008_783, 0.000_619, 0.008_742, 0.000_846, 0.007_984]),
            (5, 10, [0.236_593, 0.763_407, 0.187_086, 0.812_914, 0.223_529, 0.776_471]),
            (12, 4_000, [0.001_717, 0.005_237, 0.001_551, 0.005_235, 0.001_641, 0.005_075]),
            (0, 3_000, [0.0, 0.001_279, 0.0, 0.001_229, 0.0, 0.000_837]),
            (20, 20, [0.838_875, 1.0, 0.831_567, 1.0, 0.883_361, 0.999_976]),
        ];
        for (b, n, [w_low, w_high, c_low, c_high, j_low, j_high]) in rows {
            let j = jeffreys(b, n, Confidence::P95).unwrap();
            close(j.low, j_low);
            close(j.high, j_high);
            let (w, c) = (wilson(b, n, Confidence::P95), clopper_pearson(b, n, Confidence::P95));
            close(w.unwrap().low, w_low);
            close(w.unwrap().high, w_high);
            close(c.unwrap().low, c_low);
            close(c.unwrap().high, c_high);
        }
        let garwood = [
            (0, 0.0, 3.688_879),
            (1, 0.025_318, 5.571_643),
            (5, 1.623_486, 11.668_332),
            (36, 25.213_957, 49.839_174),
            (400, 361.756_297, 441.186_648),
        ];
        for (k, low, high) in garwood {
            let found = poisson(k, Confidence::P95);
            close(found.low, low);
            close(found.high, high);
        }
    }

    #[test]
    fn extremes() {
        assert_eq!(wilson(0, 0, Confidence::P95), None);
        assert_eq!(clopper_pearson(0, 0, Confidence::P95), None);
        assert_eq!(jeffreys(0, 0, Confidence::P95), None);
        let few = jeffreys(u64::MAX / 1_000, u64::MAX, Confidence::P95).unwrap();
        assert!(few.low > 0.000_99 && few.high < 0.001_01, "{few:?}");
        let all = clopper_pearson(1, 1, Confidence::P95).unwrap();
        close(all.low, 0.025);
        close(all.high, 1.0);
        for k in [1_000_000, 99_999_999, 100_000_001, u64::MAX] {
            let Interval { low, high } = poisson(k, Confidence::P95);
            let (k, root) = (k as f64, (k as f64).sqrt());
            assert!((low - (k - 1.96 * root)).abs() < root * 0.01, "{k}: {low}");
            assert!((high - (k + 1.96 * root)).abs() < root * 0.01, "{k}: {high}");
        }
        let Interval { low, high } = wilson(u64::MAX, u64::MAX, Confidence::P95).unwrap();
        assert!(low > 0.999_999 && high <= 1.0);
    }

    proptest::proptest! {
        #[test]
        fn the_share_lies_within(n in 1_u64..1_000_000, part in 0.0..=1.0) {
            let b = (n as f64 * part) as u64;
            let share = b as f64 / n as f64;
            let within = jeffreys(b, n, Confidence::P95).unwrap();
            let exact = clopper_pearson(b, n, Confidence::P95).unwrap();
            if 0 < b && b < n {
                proptest::prop_assert!(exact.low <= within.low && within.high <= exact.high);
            }
            for found in [wilson(b, n, Confidence::P95), Some(exact)] {
                let Interval { low, high } = found.unwrap();
                proptest::prop_assert!(0.0 <= low && low <= share + 1e-12);
                proptest::prop_assert!(share - 1e-12 <= high && high <= 1.0);
            }
            let Interval { low, high } = poisson(b, Confidence::P80);
            proptest::prop_assert!(low <= b as f64 && b as f64 <= high, "{low} {b} {high}");
        }
    }
}
