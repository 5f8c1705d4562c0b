//! Time cut into slices, each good or bad as a whole, as against counting every event
//! ("occurrences"). Ratios are never averaged over events; where they are averaged over slices, it
//! is called so.

use crate::units::Share;

/// What becomes of a slice without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Empty {
    Good,
    /// It is no slice at all.
    #[default]
    Skip,
    Bad,
}

/// What one slice saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slice {
    pub n: u64,
    pub bad: u64,
}

impl Slice {
    /// Whether so many of its events are good that it is; `None`: it is skipped.
    pub fn is_good(self, target: Share, empty: Empty) -> Option<bool> {
        if self.n == 0 {
            return match empty {
                Empty::Good => Some(true),
                Empty::Skip => None,
                Empty::Bad => Some(false),
            };
        }
        let good = u128::from(self.n.saturating_sub(self.bad)) * 1_000_000_000;
        Some(good >= u128::from(self.n) * u128::from(target.billionths()))
    }
}

/// Slices, as events of an SLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sliced {
    pub n: u64,
    pub bad: u64,
}

/// Timeslices: how many there are, and how many of them are bad.
pub fn sliced(slices: &[Slice], target: Share, empty: Empty) -> Sliced {
    let judged = slices.iter().filter_map(|slice| slice.is_good(target, empty));
    judged.fold(Sliced::default(), |sum, good| Sliced {
        n: sum.n + 1,
        bad: sum.bad + u64::from(!good),
    })
}

/// Ratio-timeslices: the mean of the slices' shares of good events. `None`: no slice.
pub fn ratio_mean(slices: &[Slice], empty: Empty) -> Option<f64> {
    let ratios = slices.iter().filter_map(|slice| match (slice.n, empty) {
        (0, Empty::Good) => Some(1.0),
        (0, Empty::Skip) => None,
        (0, Empty::Bad) => Some(0.0),
        (n, _) => Some(1.0 - slice.bad as f64 / n as f64),
    });
    let (sum, count) = ratios.fold((0.0, 0_u32), |(sum, count), ratio| (sum + ratio, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Occurrences: all events of all slices.
pub fn occurrences(slices: &[Slice]) -> Sliced {
    slices.iter().fold(Sliced::default(), |sum, slice| Sliced {
        n: sum.n.saturating_add(slice.n),
        bad: sum.bad.saturating_add(slice.bad),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::burn_rate;
    use crate::budget::close;

    fn share(billionths: u32) -> Share {
        Share::from_billionths(billionths).unwrap()
    }

    /// V15.
    #[test]
    fn ten_slices() {
        let seen = [
            (100, 0),
            (100, 1),
            (100, 6),
            (0, 0),
            (2, 1),
            (400, 200),
            (100, 0),
            (100, 0),
            (0, 0),
            (100, 0),
        ];
        let slices = seen.map(|(n, bad)| Slice { n, bad });
        let (t, target) = (share(900_000_000), share(950_000_000));
        let rows = [
            (Empty::Good, 0.7, 3.0, 0.893, 1.07),
            (Empty::Skip, 0.625, 3.75, 0.866_25, 1.337_5),
            (Empty::Bad, 0.5, 5.0, 0.693, 3.07),
        ];
        for (empty, sli, burn, mean, mean_burn) in rows {
            let Sliced { n, bad } = sliced(&slices, target, empty);
            close(1.0 - bad as f64 / n as f64, sli);
            close(burn_rate(bad, n, t).unwrap(), burn);
            let found = ratio_mean(&slices, empty).unwrap();
            close(found, mean);
            close((1.0 - found) / 0.1, mean_burn);
        }
        let Sliced { n, bad } = occurrences(&slices);
        assert_eq!((n, bad), (1_002, 208));
        close(1.0 - bad as f64 / n as f64, 0.792_415);
        close(burn_rate(bad, n, t).unwrap(), 2.075_848);
        // A 28-day window of minutes.
        let minutes = 28.0 * 1_440.0;
        close(minutes * share(1_000_000).as_f64(), 40.32);
        close(10.0 / (minutes * 0.001), 0.248_016);
        close(10.0 / (minutes * 0.005), 0.049_603);
    }

    /// V16: a quiet slice says as much as a busy one, where ratios are averaged.
    #[test]
    fn averages_mislead() {
        let mut slices = vec![Slice { n: 100_000, bad: 0 }; 5];
        slices.push(Slice { n: 10, bad: 5 });
        let Sliced { n, bad } = occurrences(&slices);
        close(bad as f64 / n as f64, 0.000_009_999_8);
        close(burn_rate(bad, n, share(999_000_000)).unwrap(), 0.01);
        let mean = 1.0 - ratio_mean(&slices, Empty::Skip).unwrap();
        close(mean, 0.083_333);
        close(mean / 0.001, 83.333_333);
        // V14: two minutes pooled, and averaged.
        let two = [Slice { n: 1_000, bad: 10 }, Slice { n: 10, bad: 10 }];
        let Sliced { n, bad } = occurrences(&two);
        close(1.0 - bad as f64 / n as f64, 0.980_198);
        close(ratio_mean(&two, Empty::Skip).unwrap(), 0.495);
    }

    #[test]
    fn extremes() {
        assert_eq!(sliced(&[], share(1), Empty::Skip), Sliced::default());
        assert_eq!(ratio_mean(&[Slice::default()], Empty::Skip), None);
        let full = Slice { n: u64::MAX, bad: u64::MAX };
        assert_eq!(full.is_good(share(1), Empty::Skip), Some(false));
        assert_eq!(occurrences(&[full, full]).n, u64::MAX);
        // Exactly the target is good.
        assert_eq!(Slice { n: 100, bad: 5 }.is_good(share(950_000_000), Empty::Skip), Some(true));
    }
}
