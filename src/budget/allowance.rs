//! How much of the budget a drill may spend.

use std::time::Duration;

use crate::units::Share;

/// The share of the window's budget that a drill may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance(pub Share);

/// What a drill will have spent when it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Projection {
    /// Share of the budget.
    pub consumed: f64,
    pub exceeds: bool,
}

impl Allowance {
    /// The burn rate that spends it over the whole drill: a · W / D. 26.88 for 2 % in half an hour.
    pub fn burn_rate(self, drill: Duration, window: Duration) -> f64 {
        self.0.as_f64() * window.as_secs_f64() / drill.as_secs_f64()
    }

    /// The share of bad events that spends it over the whole drill: a · W / D · e. Above 1 it is
    /// out of reach: the drill is too short to spend so much.
    pub fn bad_share(self, drill: Duration, window: Duration, objective: Share) -> f64 {
        self.burn_rate(drill, window) * objective.rest().as_f64()
    }

    /// `consumed` so far, and what `left` at this burn rate adds.
    pub fn projected(
        self,
        consumed: f64,
        burn_rate: f64,
        left: Duration,
        window: Duration,
    ) -> Projection {
        let consumed = consumed + burn_rate * left.as_secs_f64() / window.as_secs_f64();
        Projection { consumed, exceeds: consumed > self.0.as_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::close;

    const WINDOW: Duration = Duration::from_secs(28 * 86_400);

    fn allowance(percent: u32) -> Allowance {
        Allowance(Share::from_billionths(percent * 10_000_000).unwrap())
    }

    /// Slo-maths 2.5 C, and V12.
    #[test]
    fn vectors() {
        let objective = |billionths| Share::from_billionths(billionths).unwrap();
        let rows = [
            (300, [80.64, 161.28, 403.2], 0.161_28, 0.806_4),
            (900, [26.88, 53.76, 134.4], 0.053_76, 0.268_8),
            (1_800, [13.44, 26.88, 67.2], 0.026_88, 0.134_4),
            (3_600, [6.72, 13.44, 33.6], 0.013_44, 0.067_2),
        ];
        for (seconds, burns, at_999, at_995) in rows {
            let drill = Duration::from_secs(seconds);
            for (percent, burn) in [1, 2, 5].into_iter().zip(burns) {
                close(allowance(percent).burn_rate(drill, WINDOW), burn);
            }
            close(allowance(2).bad_share(drill, WINDOW, objective(999_000_000)), at_999);
            close(allowance(2).bad_share(drill, WINDOW, objective(995_000_000)), at_995);
        }
        let unreachable =
            allowance(5).bad_share(Duration::from_secs(300), WINDOW, objective(995_000_000));
        close(unreachable, 2.016);
        let left = Duration::from_secs(600);
        let over = allowance(2).projected(0.008, 96.0, left, WINDOW);
        close(over.consumed, 0.031_810);
        let fine = allowance(2).projected(0.004, 20.0, left, WINDOW);
        close(fine.consumed, 0.008_960);
        assert!(over.exceeds && !fine.exceeds);
    }
}
