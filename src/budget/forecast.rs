//! How long the rest of the budget lasts if things go on as they are.

use std::time::Duration;

use super::interval::{Confidence, Interval, poisson};

/// An exhaustion time with its bounds, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// `None`: at this rate, never.
    pub point: Option<f64>,
    pub low: f64,
    /// `None`: without an end.
    pub high: Option<f64>,
}

/// `remaining` bad events are left and `bad` came within `over`: R / λ with Garwood's bounds of λ.
/// 90,120 left and 600 in two minutes: 18,024 s, at 95 % from 16,638 s to 19,557 s. `None`: nothing
/// was looked at.
pub fn steady(
    remaining: f64,
    bad: u64,
    over: Duration,
    confidence: Confidence,
) -> Option<Forecast> {
    if over.is_zero() || !remaining.is_finite() {
        return None;
    }
    if remaining <= 0.0 {
        return Some(Forecast { point: Some(0.0), low: 0.0, high: Some(0.0) });
    }
    let after = |count: f64| remaining * over.as_secs_f64() / count;
    let Interval { low, high } = poisson(bad, confidence);
    Some(Forecast {
        point: (bad > 0).then(|| after(bad as f64)),
        low: after(high),
        high: (low > 0.0).then(|| after(low)),
    })
}

/// What a forecast looks back on: a quarter of what it forecasts, from a minute to five. It moves
/// only when that moved by more than a fifth, so that it does not chase itself.
pub fn lookback(before: Duration, exhaustion: Option<f64>) -> Duration {
    let wanted = exhaustion.unwrap_or(f64::INFINITY) / 4.0;
    let wanted = if wanted.is_nan() { 300.0 } else { wanted.clamp(60.0, 300.0) };
    let was = before.as_secs_f64();
    if (wanted - was).abs() > was / 5.0 { Duration::from_secs(wanted as u64) } else { before }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 5e-7 * b.abs().max(1.0) && (a - b).abs() < 1e-5, "{a} is not {b}");
    }

    /// V21.
    #[test]
    fn vector() {
        let two_minutes = Duration::from_secs(120);
        for (confidence, low, high) in [
            (Confidence::P80, 17_094.515_345, 19_011.641_148),
            (Confidence::P95, 16_637.816_566, 19_557.824_308),
        ] {
            let found = steady(90_120.0, 600, two_minutes, confidence).unwrap();
            close(found.point.unwrap(), 18_024.0);
            close(found.low, low);
            close(found.high.unwrap(), high);
        }
        let none = steady(90_120.0, 0, two_minutes, Confidence::P95).unwrap();
        assert_eq!((none.point, none.high), (None, None));
        assert!((none.low - 2_931_621.955_805).abs() < 5e-5, "{}", none.low);
        let gone = steady(-1.0, 5, two_minutes, Confidence::P95).unwrap();
        assert_eq!((gone.point, gone.high), (Some(0.0), Some(0.0)));
        assert_eq!(steady(1.0, 5, Duration::ZERO, Confidence::P95), None);
        assert_eq!(steady(f64::NAN, 5, two_minutes, Confidence::P95), None);
    }

    #[test]
    fn looking_back() {
        let seconds = Duration::from_secs;
        assert_eq!(lookback(seconds(60), None), seconds(300));
        assert_eq!(lookback(seconds(300), Some(10.0)), seconds(60));
        assert_eq!(lookback(seconds(60), Some(440.0)), seconds(110));
        assert_eq!(lookback(seconds(110), Some(480.0)), seconds(110), "too small a step");
        assert_eq!(lookback(seconds(60), Some(f64::NAN)), seconds(300));
    }

    proptest::proptest! {
        /// The point lies between its bounds, and more certainty is a wider interval.
        #[test]
        fn bounds(remaining in 0.1..1e9, bad in 1_u64..1_000_000, over in 1_u64..100_000) {
            let of = |confidence| {
                steady(remaining, bad, Duration::from_secs(over), confidence).unwrap()
            };
            let (narrow, wide) = (of(Confidence::P80), of(Confidence::P95));
            let point = narrow.point.unwrap();
            proptest::prop_assert!(wide.low <= narrow.low && narrow.low <= point);
            proptest::prop_assert!(point <= narrow.high.unwrap() && narrow.high <= wide.high);
        }
    }
}
