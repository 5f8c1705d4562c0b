//! Lines through what was measured, to hold a forecast against: they lag behind every step.

use super::interval::{Confidence, Interval};
use super::tail;

/// A mean that forgets by half in `half_life` seconds, over samples `(when, value)` at any times:
/// the weight of a sample is `1 − 2^(−Δt / h)`. `None` without samples.
pub fn ewma(samples: &[(f64, f64)], half_life: f64) -> Option<f64> {
    let (&(mut then, mut mean), rest) = samples.split_first()?;
    for (now, value) in rest {
        let weight = 1.0 - (-(now - then) / half_life).exp2();
        mean += weight * (value - mean);
        then = *now;
    }
    Some(mean)
}

/// Holt's double exponential smoothing over evenly spaced values: a level and a trend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Holt {
    pub level: f64,
    /// Per step.
    pub trend: f64,
}

impl Holt {
    /// `alpha` smooths the level, `beta` the trend; this is the state before the first value.
    #[must_use]
    pub fn over(mut self, values: &[f64], alpha: f64, beta: f64) -> Self {
        for value in values {
            let level = alpha * value + (1.0 - alpha) * (self.level + self.trend);
            self.trend = beta * (level - self.level) + (1.0 - beta) * self.trend;
            self.level = level;
        }
        self
    }

    /// The value so many steps on.
    pub fn ahead(self, steps: f64) -> f64 {
        self.level + steps * self.trend
    }

    /// How many steps on the value is reached; `None`: never.
    pub fn reaches(self, value: f64) -> Option<f64> {
        let steps = (value - self.level) / self.trend;
        (self.trend > 0.0 && steps.is_finite()).then_some(steps.max(0.0))
    }
}

/// An ordinary least-squares line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub intercept: f64,
    pub slope: f64,
    /// How the points lie about it.
    about: About,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct About {
    points: u64,
    /// The middle of the points.
    x: f64,
    y: f64,
    /// Squared distances of the points' x from their middle.
    xx: f64,
    /// Squared distances of the points from the line.
    off: f64,
}

impl Line {
    /// Through `(x, y)`; `None` of fewer than two different x.
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let (mut xx, mut xy) = (0.0, 0.0);
        for point in points {
            xx += (point.0 - x).powi(2);
            xy += (point.0 - x) * (point.1 - y);
        }
        let slope = xy / xx;
        let intercept = y - slope * x;
        let off = points.iter().map(|point| (point.1 - intercept - slope * point.0).powi(2)).sum();
        let about = About { points: points.len() as u64, x, y, xx, off };
        slope.is_finite().then_some(Self { intercept, slope, about })
    }

    /// Where y is reached; `None`: never.
    pub fn reaches(self, y: f64) -> Option<f64> {
        let x = (y - self.intercept) / self.slope;
        (self.slope > 0.0 && x.is_finite()).then_some(x)
    }

    /// Between what a further point at x would lie: y ± t · s · √(1 + 1/n + (x − x̄)² / Sxx).
    /// `None` of two points, which nothing is off. Source: any textbook of regression.
    pub fn prediction(self, x: f64, confidence: Confidence) -> Option<Interval> {
        let About { points, x: middle, xx, .. } = self.about;
        let wide = 1.0 + 1.0 / points as f64 + (x - middle).powi(2) / xx;
        let (y, half) = (self.intercept + self.slope * x, self.standard(confidence)? * wide.sqrt());
        Some(Interval { low: y - half, high: y + half })
    }

    /// Where the prediction's upper bound reaches y, and where its lower one does (`None`: never).
    pub fn reaches_between(self, y: f64, confidence: Confidence) -> Option<(f64, Option<f64>)> {
        let About { points, x, y: middle, xx, .. } = self.about;
        let wide = self.standard(confidence)?.powi(2);
        let (up, one) = (y - middle, 1.0 + 1.0 / points as f64);
        // (d − b u)² = k² (c + u² / Sxx) in u = x − x̄, with d = `up`, k² = `wide`, c = `one`.
        let slope = self.slope;
        let steep = slope * slope - wide / xx;
        let root = (up * up * wide / xx + steep * wide * one).max(0.0).sqrt();
        let low = x + (up * up - wide * one) / (up * slope + root);
        let high = (steep > 0.0 && slope > 0.0).then(|| x + (up * slope + root) / steep);
        low.is_finite().then_some((low, high.filter(|high| high.is_finite())))
    }

    /// t · s: how far off a point is, as far as the confidence says.
    fn standard(self, confidence: Confidence) -> Option<f64> {
        let freedom = self.about.points.checked_sub(2).filter(|freedom| *freedom > 0)?;
        let t = tail::student(confidence.alpha() / 2.0, freedom);
        Some(t * (self.about.off / freedom as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::close;

    const CONSUMED: [f64; 10] = [0.0, 0.1, 0.3, 0.7, 1.1, 1.7, 2.3, 2.9, 3.7, 4.5];

    /// V22.
    #[test]
    fn forgetting() {
        let samples = [(0.0, 0.0), (10.0, 4.0), (20.0, 4.0), (40.0, 10.0), (45.0, 10.0)];
        close(ewma(&samples, 30.0).unwrap(), 5.218_400);
        // A fixed weight of 0.3 is a half-life of one step at 0.3 = 1 − 2^(−1/h).
        let half_life = -1.0 / 0.7_f64.log2();
        let values = [0.0, 0.0, 2.0, 4.0, 4.0, 6.0, 6.0, 6.0, 8.0, 8.0];
        let samples: Vec<_> = (0..).map(f64::from).zip(values).collect();
        close(ewma(&samples, half_life).unwrap(), 6.403_855);
        assert_eq!(ewma(&[], 30.0), None);
    }

    /// F3 of the forecasts: as statsmodels has it with known initial values.
    #[test]
    fn holts_line() {
        let fitted = Holt { level: 0.0, trend: 0.1 }.over(&CONSUMED, 0.5, 0.3);
        close(fitted.level, 4.232_176);
        close(fitted.trend, 0.636_768);
        let next = [4.868_944, 5.505_712, 6.142_480];
        (1..).zip(next).for_each(|(steps, value)| close(fitted.ahead(f64::from(steps)), value));
        close(fitted.reaches(100.0).unwrap(), 150.396_744);
        assert_eq!(Holt { level: 1.0, trend: 0.0 }.reaches(2.0), None);
        assert_eq!(Holt { level: 3.0, trend: 1.0 }.reaches(2.0), Some(0.0));
    }

    /// F4: the straight line, over all points and over the last five.
    #[test]
    fn straight_line() {
        let points: Vec<_> = (0..).map(f64::from).zip(CONSUMED).collect();
        let line = Line::through(&points).unwrap();
        close(line.intercept, -0.563_636);
        close(line.slope, 0.509_697);
        close(line.reaches(100.0).unwrap(), 197.300_832);
        let last = Line::through(&points[5..]).unwrap();
        close(last.slope, 0.7);
        close(last.reaches(100.0).unwrap(), 145.542_857);
        assert_eq!(Line::through(&[(1.0, 2.0)]), None);
        assert_eq!(Line::through(&[]), None);
        let falling = Line::through(&[(0.0, 2.0), (1.0, 1.0)]).unwrap();
        assert_eq!((falling.reaches(5.0), falling.prediction(2.0, Confidence::P95)), (None, None));
        // Between what the next one would lie, in half an hour.
        let Interval { low, high } = line.prediction(30.0, Confidence::P95).unwrap();
        close(low, 12.322_969);
        close(high, 17.131_576);
        // And when that is reached: where the bounds themselves are there.
        let (soonest, latest) = line.reaches_between(100.0, Confidence::P95).unwrap();
        close(line.prediction(soonest, Confidence::P95).unwrap().high, 100.0);
        close(line.prediction(latest.unwrap(), Confidence::P95).unwrap().low, 100.0);
        assert!(soonest < 197.300_832 && 197.300_832 < latest.unwrap());
    }

    /// Points that say little bound nothing from above.
    #[test]
    fn a_line_that_may_be_flat() {
        let noisy = Line::through(&[(0.0, 0.0), (1.0, 3.0), (2.0, 0.5), (3.0, 2.0)]).unwrap();
        let (soonest, latest) = noisy.reaches_between(100.0, Confidence::P95).unwrap();
        assert!(noisy.slope > 0.0 && latest.is_none());
        close(noisy.prediction(soonest, Confidence::P95).unwrap().high, 100.0);
    }
}
