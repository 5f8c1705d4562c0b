//! Whether an objective is met, missed, or not to be told yet: exact one-sided binomial tests.

use super::tail;
use crate::units::Share;

/// What counts prove about an objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Were the objective missed, so few bad events would be less likely than α.
    Pass,
    /// Were the objective met, so many bad events would be less likely than α.
    Fail,
    Inconclusive,
}

impl Verdict {
    pub fn label(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Fail where `P(X ≥ b | n, e) < α`, pass where `P(X ≤ b | n, e) < α`. 3 bad of 1,000 prove nothing
/// about 99.9 %; 4 prove that it is missed.
pub fn judged(b: u64, n: u64, objective: Share, alpha: f64) -> Verdict {
    let e = objective.rest().as_f64();
    if n == 0 {
        Verdict::Inconclusive
    } else if tail::at_least(b, n, e) < alpha {
        Verdict::Fail
    } else if tail::at_most(b, n, e) < alpha {
        Verdict::Pass
    } else {
        Verdict::Inconclusive
    }
}

/// How many events with `bad` bad ones among them prove that the objective is met: without a bad
/// one ⌈ln α / ln T⌉, 2,995 at 99.9 % and α = 5 %. `None`: more than a million million.
pub fn needed(bad: u64, objective: Share, alpha: f64) -> Option<u64> {
    let e = objective.rest().as_f64();
    let proves = |n: u64| tail::at_most(bad, n, e) < alpha;
    let (mut low, mut high) = (bad, (bad + 1).checked_mul(2)?);
    while !proves(high) {
        low = high;
        high = high.checked_mul(2).filter(|n| *n < 1_000_000_000_000)?;
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        if proves(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective(e: f64) -> Share {
        Share::from_billionths(1_000_000_000 - (e * 1e9).round() as u32).unwrap()
    }

    /// V20.
    #[test]
    fn vectors() {
        use Verdict::{Fail, Inconclusive, Pass};
        let rows = [
            (3, 1_000, 0.001, 0.080_209, 0.981_073, Inconclusive),
            (4, 1_000, 0.001, 0.018_927, 0.996_363, Fail),
            (12, 4_000, 0.001, 0.000_909, 0.999_729, Fail),
            (0, 2_994, 0.001, 1.0, 0.050_012, Inconclusive),
            (0, 2_995, 0.001, 1.0, 0.049_962, Pass),
            (1, 4_743, 0.001, 0.991_308, 0.049_958, Pass),
            (14, 4_000, 0.005, 0.934_347, 0.104_282, Inconclusive),
            (1, 1_000, 0.005, 0.993_346, 0.040_091, Pass),
        ];
        for (b, n, e, more, fewer, verdict) in rows {
            let found = (tail::at_least(b, n, e), tail::at_most(b, n, e));
            assert!((found.0 - more).abs() <= 5e-7 && (found.1 - fewer).abs() <= 5e-7, "{found:?}");
            assert_eq!(judged(b, n, objective(e), 0.05), verdict, "{b} of {n}");
        }
        for (e, n) in [(0.1, 29), (0.01, 299), (0.005, 598), (0.001, 2_995), (0.0001, 29_956)] {
            assert_eq!(needed(0, objective(e), 0.05), Some(n));
        }
        assert_eq!(needed(1, objective(0.001), 0.05), Some(4_742));
    }

    #[test]
    fn extremes() {
        let finest = Share::from_billionths(999_999_999).unwrap();
        assert_eq!(judged(0, 0, finest, 0.05), Verdict::Inconclusive);
        assert_eq!(judged(5, 5, finest, 0.05), Verdict::Fail);
        assert_eq!(judged(u64::MAX, u64::MAX, finest, 0.05), Verdict::Fail);
        assert_eq!(judged(0, u64::MAX, finest, 0.05), Verdict::Pass);
        assert_eq!(needed(0, finest, 0.05), Some(2_995_732_273));
        assert_eq!(needed(u64::MAX / 2, finest, 0.05), None);
        let coarsest = Share::from_billionths(1).unwrap();
        assert_eq!(needed(0, coarsest, 0.05), Some(1));
    }
}
