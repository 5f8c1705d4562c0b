//! Drawing delays.

use std::time::Duration;

use rand::RngExt;
use rand_distr::{Distribution, Exp, Gamma, LogNormal, Normal, Pareto, Uniform, Weibull};

use super::Written;
use super::special::{gamma_p, normal_cdf};
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::dice::Dice;
use crate::units::{Share, show_duration};

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;
/// Chance that as many redraws all miss: below 2⁻⁶⁴, as at least half of the samples are kept.
const TRIES: u32 = 64;

/// A delay ready to be drawn: whole microseconds from 0 to its cap.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    shape: Shape,
    cap: Duration,
    /// As a person would say it.
    shown: String,
}

impl std::fmt::Display for Draw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// In seconds.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Fixed(f64),
    Uniform(Uniform<f64>),
    Normal(Normal<f64>),
    LogNormal(LogNormal<f64>),
    Exponential(Exp<f64>),
    Pareto(Pareto<f64>),
    Gamma(Gamma<f64>),
    Weibull(Weibull<f64>),
    Quantiles(Quantiles),
}

impl Draw {
    /// One delay.
    pub fn sample(&self, dice: &mut Dice) -> Duration {
        let rng = dice.rng();
        for _ in 0..TRIES {
            let seconds = match &self.shape {
                Shape::Fixed(seconds) => *seconds,
                Shape::Uniform(of) => of.sample(rng),
                Shape::Normal(of) => of.sample(rng),
                Shape::LogNormal(of) => of.sample(rng),
                Shape::Exponential(of) => of.sample(rng),
                Shape::Pareto(of) => of.sample(rng),
                Shape::Gamma(of) => of.sample(rng),
                Shape::Weibull(of) => of.sample(rng),
                Shape::Quantiles(of) => of.at(rng.random()),
            };
            // Whole microseconds: the last bits of a libm do not show.
            if let Ok(time) = Duration::try_from_secs_f64(seconds)
                && let Ok(micros) = u64::try_from((time.as_nanos() + 500) / 1_000)
                && Duration::from_micros(micros) <= self.cap
            {
                return Duration::from_micros(micros);
            }
        }
        self.cap
    }
}

/// The draw, and the share of its samples between 0 and `cap`.
pub(super) fn of(delay: &Located<Written>, cap: Duration) -> Result<(Draw, f64), Diagnostics> {
    let (shape, kept) = shape(delay, cap)?;
    // Whole microseconds too, for whoever asks for less.
    let shown = match delay.value {
        Written::Fixed(_) => delay.value.to_string(),
        _ => format!("{}, at most {}", delay.value, show_duration(cap)),
    };
    Ok((Draw { shape, cap: Duration::from_micros(cap.as_micros() as u64), shown }, kept))
}

fn shape(delay: &Located<Written>, cap: Duration) -> Result<(Shape, f64), Diagnostics> {
    let limit = cap.as_secs_f64();
    let at = delay.at;
    let refuse = |message: &str| Err(vec![Diagnostic::error(at, message)]);
    // Bounds are checked before each constructor, whose own errors are then out of reach.
    let odd = || vec![Diagnostic::error(at, "this distribution has no samples")];
    match &delay.value {
        Written::Fixed(time)
        | Written::Exponential { mean: time }
        | Written::Gamma { mean: time, .. }
            if time.is_zero() =>
        {
            refuse("a delay of no time does nothing")
        }
        Written::Fixed(time) => {
            Ok((Shape::Fixed(time.as_secs_f64()), if *time > cap { 0.0 } else { 1.0 }))
        }
        Written::Uniform { min, max } if min >= max => refuse("`max` has to be longer than `min`"),
        Written::Uniform { min, max } => {
            let (min, max) = (min.as_secs_f64(), max.as_secs_f64());
            let draw = Uniform::new_inclusive(min, max).map_err(|_| odd())?;
            Ok((Shape::Uniform(draw), ((limit - min) / (max - min)).clamp(0.0, 1.0)))
        }
        Written::Normal { std_dev, .. } if std_dev.is_zero() => {
            refuse("a `std_dev` of no time: write the mean as a plain delay")
        }
        Written::Normal { mean, std_dev } => {
            let (mean, deviation) = (mean.as_secs_f64(), std_dev.as_secs_f64());
            let draw = Normal::new(mean, deviation).map_err(|_| odd())?;
            let kept = normal_cdf((limit - mean) / deviation) - normal_cdf(-mean / deviation);
            Ok((Shape::Normal(draw), kept))
        }
        Written::LogNormal { median, p99 } if median.is_zero() || p99 <= median => {
            refuse("`p99` has to be longer than `median`, and `median` longer than 0s")
        }
        Written::LogNormal { median, p99 } => {
            let mu = median.as_secs_f64().ln();
            let sigma = (p99.as_secs_f64().ln() - mu) / Z99;
            let draw = LogNormal::new(mu, sigma).map_err(|_| odd())?;
            Ok((Shape::LogNormal(draw), normal_cdf((limit.ln() - mu) / sigma)))
        }
        Written::Exponential { mean } => {
            let mean = mean.as_secs_f64();
            let draw = Exp::new(mean.recip()).map_err(|_| odd())?;
            Ok((Shape::Exponential(draw), -(-limit / mean).exp_m1()))
        }
        Written::Pareto { scale, .. } | Written::Weibull { scale, .. } if scale.is_zero() => {
            refuse("a `scale` of no time does nothing")
        }
        Written::Pareto { scale, shape } => {
            let scale = scale.as_secs_f64();
            let draw = Pareto::new(scale, *shape).map_err(|_| odd())?;
            Ok((Shape::Pareto(draw), (1.0 - (scale / limit).powf(*shape)).max(0.0)))
        }
        Written::Gamma { mean, shape } => {
            let scale = mean.as_secs_f64() / shape;
            let draw = Gamma::new(*shape, scale).map_err(|_| odd())?;
            Ok((Shape::Gamma(draw), gamma_p(*shape, limit / scale)))
        }
        Written::Weibull { scale, shape } => {
            let scale = scale.as_secs_f64();
            let draw = Weibull::new(scale, *shape).map_err(|_| odd())?;
            Ok((Shape::Weibull(draw), -(-(limit / scale).powf(*shape)).exp_m1()))
        }
        Written::Quantiles(points) => {
            let quantiles = Quantiles::of(delay, points)?;
            let kept = quantiles.share_below(limit);
            Ok((Shape::Quantiles(quantiles), kept))
        }
    }
}

/// Shares and the seconds below which they lie, both rising: joined by straight lines, from 0 at
/// p0 where nothing else is said, to the last point and no further: at `{ p50 = "80ms", p99 = "2s" }`
/// one sample in a hundred takes two seconds, and none takes longer.
#[derive(Debug, Clone, PartialEq)]
struct Quantiles(Box<[(f64, f64)]>);

impl Quantiles {
    fn of(
        delay: &Located<Written>,
        points: &[(Located<Share>, Located<Duration>)],
    ) -> Result<Self, Diagnostics> {
        let mut points: Vec<_> = points.iter().collect();
        points.sort_by_key(|(share, _)| share.value);
        let mut notes = Diagnostics::new();
        for pair in points.windows(2) {
            let [(lower, shorter), (higher, longer)] = pair else { continue };
            if lower.value == higher.value {
                let note = Diagnostic::error(higher.at, "this quantile is given twice");
                notes.push(note.also(lower.at, "the other"));
            } else if longer.value < shorter.value {
                let note = Diagnostic::error(longer.at, "a higher quantile cannot be shorter");
                notes.push(note.also(shorter.at, "than this"));
            }
        }
        match points.last() {
            None => notes.push(Diagnostic::error(delay.at, "no quantile is given")),
            Some((_, last)) if last.value.is_zero() => {
                notes.push(Diagnostic::error(last.at, "a delay of no time does nothing"));
            }
            Some(_) => {}
        }
        if !notes.is_empty() {
            return Err(notes);
        }
        let given =
            points.iter().map(|(share, time)| (share.value.as_f64(), time.value.as_secs_f64()));
        let zero = points.first().is_some_and(|(share, _)| share.value > Share::ZERO);
        Ok(Self(zero.then_some((0.0, 0.0)).into_iter().chain(given).collect()))
    }

    /// The delay that a share of `u` lies below.
    fn at(&self, u: f64) -> f64 {
        between(&self.0, u, |point| point)
    }

    /// The share of delays up to so many seconds; the other way round.
    fn share_below(&self, seconds: f64) -> f64 {
        if self.0.last().is_none_or(|(_, last)| *last <= seconds) {
            return 1.0;
        }
        between(&self.0, seconds, |(share, time)| (time, share))
    }
}

/// Along straight lines from point to point; level before the first and after the last.
fn between(points: &[(f64, f64)], x: f64, axes: fn((f64, f64)) -> (f64, f64)) -> f64 {
    let after = points.partition_point(|point| axes(*point).0 <= x);
    let Some(before) = after.checked_sub(1) else {
        return points.first().map_or(0.0, |p| axes(*p).1);
    };
    let (x0, y0) = axes(points[before]);
    let Some((x1, y1)) = points.get(after).map(|point| axes(*point)) else { return y0 };
    y0 + (y1 - y0) * (x - x0) / (x1 - x0)
}
