//! Lines through what was measured, to hold a forecast against: they lag behind every step.

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
        slope.is_finite().then_some(Self { intercept: y - slope * x, slope })
    }

    /// Where y is reached; `None`: never.
    pub fn reaches(self, y: f64) -> Option<f64> {
        let x = (y - self.intercept) / self.slope;
        (self.slope > 0.0 && x.is_finite()).then_some(x)
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
        assert_eq!(Line { intercept: 1.0, slope: -1.0 }.reaches(5.0), None);
    }
}
