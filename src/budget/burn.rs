//! How fast a budget burns, what a stretch has cost of it, and how long the rest lasts.

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

/// Share of the budget that `bad` events have spent when the whole window is to see `per_window`
/// events (basis `absolute`): `b / (e · N_W)`. 600 bad at 99.9 % and 200 a second over 28 days is
/// 0.124 %. `None`: nothing is expected. May exceed 1; never clamped.
pub fn consumed_absolute(bad: u64, objective: Share, per_window: f64) -> Option<f64> {
    let allowed = objective.rest().as_f64() * per_window;
    (allowed > 0.0 && allowed.is_finite()).then(|| bad as f64 / allowed)
}

/// Share of the budget that is spent when a stretch rolls into a window with a past: `(b_past + b)
/// / (e · (n_past + n))`. Not the sum of the two shares: the stretch's own events raise the budget.
pub fn rolled(past: (u64, u64), drill: (u64, u64), objective: Share) -> Option<f64> {
    let (bad, n) = (past.0.checked_add(drill.0)?, past.1.checked_add(drill.1)?);
    burn_rate(bad, n, objective)
}

/// What is left of a budget of which this share has been spent: `1 − consumed`. Below zero when it
/// is overspent; never clamped. What was spent before the drill is not known, and not in here.
pub fn remaining(consumed: f64) -> f64 {
    1.0 - consumed
}

/// Time until the `remaining` share of a budget is gone at this rate: `remaining · window / burn
/// rate`, basis `scaled`. Zero when nothing is left; `None`: it is not being spent. At burn rate
/// 354.816, 96.8 % of 28 days' budget last 6,600 s. What falls out of the window meanwhile is not
/// given back, so it errs towards too soon.
pub fn time_to_exhaustion(burn_rate: f64, remaining: f64, window: Duration) -> Option<Duration> {
    if remaining <= 0.0 {
        return Some(Duration::ZERO);
    }
    if burn_rate <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(remaining * window.as_secs_f64() / burn_rate).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::close;

    const WINDOW: Duration = Duration::from_secs(28 * 86_400);

    fn share(billionths: u32) -> Share {
        Share::from_billionths(billionths).unwrap()
    }

    /// The vectors of the design: V1 to V8.
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
        close(consumed_scaled(37, 100_000, t999, WINDOW, WINDOW).unwrap(), 0.37);
        let left = |rate, remaining| {
            time_to_exhaustion(rate, remaining, WINDOW).map(|time| time.as_secs_f64())
        };
        close(left(1.0, 1.0).unwrap(), 2_419_200.0);
        close(left(2.5, 1.0).unwrap(), 967_680.0);
        close(left(1000.0, 1.0).unwrap(), 2_419.2);
        assert_eq!(left(0.0, 1.0), None);
        // The fastest a full budget can go: everything bad.
        for (objective, seconds) in [
            (990_000_000, 24_192.0),
            (995_000_000, 12_096.0),
            (999_000_000, 2_419.2),
            (999_500_000, 1_209.6),
            (999_900_000, 241.92),
        ] {
            close(left(rate(7, 7, share(objective)), 1.0).unwrap(), seconds);
        }
        close(left(354.816, remaining(0.032)).unwrap(), 6_600.0);
        assert_eq!(left(20.0, remaining(1.32)), Some(0.0));
        assert_eq!(left(0.0, remaining(1.0)), Some(0.0));
        let ten_minutes = Duration::from_secs(600);
        close(consumed_scaled(600, 30_000, t999, ten_minutes, WINDOW).unwrap(), 0.004_960);
        let seconds = WINDOW.as_secs_f64();
        close(consumed_absolute(600, t999, 50.0 * seconds).unwrap(), 0.004_960);
        close(consumed_absolute(600, t999, 200.0 * seconds).unwrap(), 0.001_240);
        assert_eq!(consumed_absolute(600, t999, 0.0), None);
        // V10: as slokit has it, of 483,840,000 events 483,840 may be bad.
        close(consumed_absolute(483_840, t999, 483_840_000.0).unwrap(), 1.0);
        close(consumed_absolute(600, t999, 483_840_000.0).unwrap(), 0.001_240);
        // V9: the sum of the shares is not the share of the sums.
        close(rate(250, 1_000_000, t999) + 0.6, 0.85);
        close(rolled((250, 1_000_000), (600, 30_000), t999).unwrap(), 0.825_243);
    }

    #[test]
    fn extremes() {
        let finest = share(999_999_999);
        close(burn_rate(1, 1_000_000_000, finest).unwrap(), 1.0);
        assert!((burn_rate(u64::MAX, u64::MAX, finest).unwrap() / 1e9 - 1.0).abs() < 1e-12);
        assert_eq!(rolled((u64::MAX, 1), (1, 1), finest), None);
        assert_eq!(time_to_exhaustion(f64::MIN_POSITIVE, 1.0, WINDOW), None, "beyond all time");
        assert_eq!(time_to_exhaustion(f64::NAN, 1.0, WINDOW), None);
    }

    proptest::proptest! {
        /// Both bases say the same exactly when the window's traffic is the stretch's.
        #[test]
        fn bases(
            bad in 1_u64..10_000,
            good in 0_u64..10_000_000,
            objective in 1_u32..1_000_000_000,
            seconds in 1_u64..2_419_200,
            times in 0.1_f64..10.0,
        ) {
            let (n, t) = (good + bad, share(objective));
            let elapsed = Duration::from_secs(seconds);
            let scaled = consumed_scaled(bad, n, t, elapsed, WINDOW).unwrap();
            let as_here = n as f64 * WINDOW.as_secs_f64() / elapsed.as_secs_f64();
            let same = consumed_absolute(bad, t, as_here).unwrap();
            proptest::prop_assert!((same / scaled - 1.0).abs() < 1e-12);
            let other = consumed_absolute(bad, t, as_here * times).unwrap();
            proptest::prop_assert!((other * times / scaled - 1.0).abs() < 1e-12);
        }

        /// What two stretches cost together is the sum of what each costs: of the same traffic, and
        /// whatever the traffic where it is production's that counts.
        #[test]
        fn stretches_add_up(
            rate in 1_u64..1_000,
            seconds in proptest::array::uniform2(1_u64..86_400),
            parts in proptest::array::uniform2(0.0..=1.0),
            objective in 1_u32..1_000_000_000,
        ) {
            let t = share(objective);
            let bad = [0, 1].map(|at| ((rate * seconds[at]) as f64 * parts[at]) as u64);
            let cost = |bad, seconds| {
                consumed_scaled(bad, rate * seconds, t, Duration::from_secs(seconds), WINDOW).unwrap()
            };
            let whole = cost(bad[0] + bad[1], seconds[0] + seconds[1]);
            let sum = cost(bad[0], seconds[0]) + cost(bad[1], seconds[1]);
            proptest::prop_assert!((whole - sum).abs() <= whole * 1e-9, "{} {}", whole, sum);
            let absolute = |bad| consumed_absolute(bad, t, 1e9).unwrap();
            let (whole, sum) = (absolute(bad[0] + bad[1]), absolute(bad[0]) + absolute(bad[1]));
            proptest::prop_assert!((whole - sum).abs() <= whole * 1e-9, "{} {}", whole, sum);
        }

        /// The causes' shares add up to the whole, and no rate empties a budget sooner than
        /// everything being bad does.
        #[test]
        fn parts_and_bounds(
            bad in proptest::array::uniform3(0_u64..1_000_000),
            good in 0_u64..1_000_000_000,
            objective in 1_u32..1_000_000_000,
            elapsed in 0_u64..86_400,
            before in 0.0..1.0,
        ) {
            let n: u64 = good + bad.iter().sum::<u64>();
            let t = share(objective);
            let of = |bad| consumed_scaled(bad, n, t, Duration::from_secs(elapsed), WINDOW);
            let Some(whole) = of(bad.iter().sum()) else {
                proptest::prop_assert_eq!(n, 0);
                return Ok(());
            };
            let sum: f64 = bad.iter().filter_map(|bad| of(*bad)).sum();
            proptest::prop_assert!((whole - sum).abs() <= whole * 1e-9);
            if let Some(rate) = burn_rate(bad.iter().sum(), n, t)
                && let Some(left) = time_to_exhaustion(rate, remaining(before), WINDOW)
            {
                let bound = (1.0 - before) * WINDOW.as_secs_f64() * t.rest().as_f64();
                proptest::prop_assert!(left.as_secs_f64() >= bound * (1.0 - 1e-9));
            }
        }
    }
}
