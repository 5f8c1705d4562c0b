//! Pure maths on counts: how fast the error budget burns. Nothing here waits or fails.

use std::time::Duration;

use crate::units::Share;

/// Burn rate: how many times faster than allowed the budget is being spent, `(bad / n) / (1 − T)`.
/// 1.0 spends exactly the budget over the objective's window; 250 bad of 20,000 at 99.5 % is 2.5.
/// Range `[0, 1/(1 − T)]`, no unit; `None` without events. Source: SRE Workbook, chapter 5.
pub fn burn_rate(bad: u64, n: u64, objective: Share) -> Option<f64> {
    if n == 0 || objective.rest() == Share::ZERO {
        return None;
    }
    let allowed = f64::from(objective.rest().billionths());
    Some(bad as f64 * 1e9 / (n as f64 * allowed))
}

/// Share of the whole window's budget that a stretch of `elapsed` has spent, if the window's
/// traffic is as this stretch's: `burn rate · elapsed / window` (basis `scaled`). 600 bad of 30,000
/// in ten minutes at 99.9 % over 28 days is 0.496 %. May exceed 1; never clamped.
pub fn consumed_scaled(
    bad: u64,
    n: u64,
    objective: Share,
    elapsed: Duration,
    window: Duration,
) -> Option<f64> {
    if window.is_zero() {
        return None;
    }
    Some(burn_rate(bad, n, objective)? * elapsed.as_secs_f64() / window.as_secs_f64())
}

/// Time until a full budget is gone at this rate: `remaining · window / burn rate`, basis
/// `scaled`; `None`: it is not being spent.
pub fn time_to_exhaustion(burn_rate: f64, remaining: f64, window: Duration) -> Option<Duration> {
    if burn_rate <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64((remaining * window.as_secs_f64() / burn_rate).max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(28 * 86_400);

    fn share(billionths: u32) -> Share {
        Share::from_billionths(billionths).unwrap()
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 5e-7, "{a} is not {b}");
    }

    #[test]
    fn vectors() {
        let (t999, t995, t99) = (share(999_000_000), share(995_000_000), share(990_000_000));
        let rate = |bad, n, t| burn_rate(bad, n, t).unwrap();
        close(rate(37, 100_000, t999), 0.37);
        close(rate(1, 1000, t999), 1.0);
        close(rate(250, 20_000, t995), 2.5);
        close(rate(0, 500, t99), 0.0);
        close(rate(3, 3, t999), 1000.0);
        assert_eq!(burn_rate(0, 0, t999), None);
        let tte = |rate: f64| time_to_exhaustion(rate, 1.0, WINDOW).map(|t| t.as_secs_f64());
        close(tte(1.0).unwrap(), 2_419_200.0);
        close(tte(2.5).unwrap(), 967_680.0);
        close(tte(1000.0).unwrap(), 2_419.2);
        assert_eq!(tte(0.0), None);
        let ten_minutes = Duration::from_secs(600);
        close(consumed_scaled(600, 30_000, t999, ten_minutes, WINDOW).unwrap(), 0.004_960);
    }
}
