//! `latency`: the request waits before the service sees it. Fixed, or drawn from a distribution;
//! samples above `cap` or below 0 are drawn again, and a distribution that would need that more
//! often than not is refused. Whole microseconds, so that every platform draws the same.

use std::time::Duration;

use rand_distr::{Distribution, Exp, LogNormal, Normal, Uniform};

use super::{Action, Fault, Spec};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::dice::Dice;
use crate::document::{Key, Node, Table, TableKeys, Value};

pub(super) static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency",
    doc: "The request waits before the service sees it.",
    keys: &[
        Key::new("delay", Value::OneOf(&DELAY), "How long.").required(),
        Key::new("cap", Value::Duration, "Longer samples are drawn again.").default("\"60s\""),
    ],
    short: Some(Value::Duration),
};

static DELAY: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay",
    doc: "A duration, or a distribution of durations.",
    keys: &[
        Key::new("uniform", Value::Table(&UNIFORM), "Anything between two bounds, equally likely."),
        Key::new("normal", Value::Table(&NORMAL), "The bell curve, cut at 0."),
        Key::new(
            "lognormal",
            Value::Table(&LOGNORMAL),
            "Most are near the median, a few take very long.",
        ),
        Key::new(
            "exponential",
            Value::Table(&EXPONENTIAL),
            "Waiting for something that happens at random.",
        ),
    ],
    short: Some(Value::Duration),
};

static UNIFORM: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay.uniform",
    doc: "Equally likely between two bounds.",
    keys: &[
        Key::new("min", Value::Duration, "The shortest.").required(),
        Key::new("max", Value::Duration, "The longest.").required(),
    ],
    short: None,
};

static NORMAL: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay.normal",
    doc: "Normally distributed.",
    keys: &[
        Key::new("mean", Value::Duration, "The middle.").required(),
        Key::new("std_dev", Value::Duration, "Two thirds lie within this of the mean.").required(),
    ],
    short: None,
};

static LOGNORMAL: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay.lognormal",
    doc: "Log-normally distributed, given by two of its quantiles.",
    keys: &[
        Key::new("median", Value::Duration, "Half are shorter.").required(),
        Key::new("p99", Value::Duration, "One in a hundred is longer.").required(),
    ],
    short: None,
};

static EXPONENTIAL: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay.exponential",
    doc: "Exponentially distributed.",
    keys: &[Key::new("mean", Value::Duration, "The average.").required()],
    short: None,
};

/// The standard normal's 99 % quantile.
const Z99: f64 = 2.326_347_874_040_841;
/// Draws before a sample is cut to its bounds instead: at worst half are drawn again, so that this
/// many in a row fail once in 2^64.
const TRIES: u32 = 64;
const CAP: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
enum Delay {
    Fixed(Duration),
    Uniform { min: Duration, max: Duration },
    Normal { mean: Duration, std_dev: Duration },
    LogNormal { median: Duration, p99: Duration },
    Exponential { mean: Duration },
}

#[derive(Debug, Clone)]
struct LatencySpec {
    delay: Located<Delay>,
    cap: Duration,
}

pub(super) fn read(node: Node<'_>, notes: &mut Diagnostics) -> Option<Box<dyn Spec>> {
    if !node.is_table() {
        let fixed = node.duration(notes)?;
        // A fixed delay in short form is its own cap.
        let delay = Located { value: Delay::Fixed(fixed.value), at: fixed.at };
        return Some(Box::new(LatencySpec { delay, cap: fixed.value.max(CAP) }));
    }
    let mut table = node.table(notes)?;
    let cap = table.duration("cap");
    let delay = table.node("delay").and_then(|node| delay(node, table.notes))?;
    let cap = match (&delay.value, cap) {
        (_, Some(cap)) => cap.value,
        (Delay::Fixed(fixed), None) => CAP.max(*fixed),
        (_, None) => CAP,
    };
    Some(Box::new(LatencySpec { delay, cap }))
}

fn delay(node: Node<'_>, notes: &mut Diagnostics) -> Option<Located<Delay>> {
    let at = node.at();
    if !node.is_table() {
        return Some(Located { value: Delay::Fixed(node.duration(notes)?.value), at });
    }
    let (shape, node) = *node.variants(notes).first()?;
    let mut table = node.table(notes)?;
    let two = |table: &mut Table<'_, '_>, one, other| {
        let (one, other) = (table.duration(one), table.duration(other));
        Some((one?.value, other?))
    };
    let value = match shape {
        "uniform" => {
            let (min, max) = two(&mut table, "min", "max")?;
            ordered(min, &max, "`max` is below `min`", notes)?;
            Delay::Uniform { min, max: max.value }
        }
        "normal" => {
            let (mean, std_dev) = two(&mut table, "mean", "std_dev")?;
            Delay::Normal { mean, std_dev: std_dev.value }
        }
        "lognormal" => {
            let (median, p99) = two(&mut table, "median", "p99")?;
            ordered(median, &p99, "`p99` is below the median", notes)?;
            if median.is_zero() {
                notes.push(Diagnostic::error(at, "a lognormal's median is above 0"));
                return None;
            }
            Delay::LogNormal { median, p99: p99.value }
        }
        _ => Delay::Exponential { mean: table.duration("mean")?.value },
    };
    Some(Located { value, at })
}

fn ordered(
    low: Duration,
    high: &Located<Duration>,
    message: &str,
    notes: &mut Diagnostics,
) -> Option<()> {
    if high.value < low {
        notes.push(Diagnostic::error(high.at, message));
        return None;
    }
    Some(())
}

impl Spec for LatencySpec {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let at = self.delay.at;
        let shape = shape(&self.delay.value)
            .ok_or_else(|| vec![Diagnostic::error(at, "no distribution has these numbers")])?;
        let within = inside(&self.delay.value, self.cap);
        if within < 0.5 {
            return Err(vec![too_often(at, within)]);
        }
        Ok(Box::new(Latency { shape, cap_us: self.cap.as_secs_f64() * 1e6 }))
    }
    fn boxed(&self) -> Box<dyn Spec> {
        Box::new(self.clone())
    }
}

fn too_often(at: Place, within: f64) -> Diagnostic {
    let message = format!("only {:.1}% of the samples lie between 0 and `cap`", within * 100.0);
    Diagnostic::error(at, message)
        .hint("the others would be drawn again; raise `cap`, or lower the delay")
}

/// The share of samples between 0 and `cap`, from the exact distribution functions.
fn inside(delay: &Delay, cap: Duration) -> f64 {
    let cap = cap.as_secs_f64();
    match delay {
        Delay::Fixed(fixed) => f64::from(u8::from(fixed.as_secs_f64() <= cap)),
        Delay::Uniform { min, max } => {
            let (min, max) = (min.as_secs_f64(), max.as_secs_f64());
            if max > min {
                ((cap - min) / (max - min)).clamp(0.0, 1.0)
            } else {
                f64::from(u8::from(min <= cap))
            }
        }
        Delay::Normal { mean, std_dev } => {
            let (mean, deviation) = (mean.as_secs_f64(), std_dev.as_secs_f64());
            if deviation > 0.0 {
                phi((cap - mean) / deviation) - phi(-mean / deviation)
            } else {
                f64::from(u8::from(mean <= cap))
            }
        }
        Delay::LogNormal { median, p99 } => {
            let sigma = sigma(*median, *p99);
            let distance = (cap / median.as_secs_f64()).ln();
            if sigma > 0.0 { phi(distance / sigma) } else { f64::from(u8::from(distance >= 0.0)) }
        }
        Delay::Exponential { mean } if mean.is_zero() => 1.0,
        Delay::Exponential { mean } => 1.0 - (-cap / mean.as_secs_f64()).exp(),
    }
}

fn sigma(median: Duration, p99: Duration) -> f64 {
    (p99.as_secs_f64() / median.as_secs_f64()).ln() / Z99
}

/// The standard normal distribution function, by Abramowitz and Stegun 26.2.17 (error below
/// 7.5e-8: ample for a check against one half).
fn phi(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let upper = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if x >= 0.0 { 1.0 - upper } else { upper }
}

/// A distribution over microseconds.
#[derive(Debug)]
enum Shape {
    Fixed(Duration),
    Uniform(Uniform<f64>),
    Normal(Normal<f64>),
    LogNormal(LogNormal<f64>),
    Exponential(Exp<f64>),
}

fn shape(delay: &Delay) -> Option<Shape> {
    let us = |duration: &Duration| duration.as_secs_f64() * 1e6;
    Some(match delay {
        Delay::Fixed(fixed) => Shape::Fixed(*fixed),
        Delay::Uniform { min, max } => {
            Shape::Uniform(Uniform::new_inclusive(us(min), us(max)).ok()?)
        }
        Delay::Normal { mean, std_dev } => Shape::Normal(Normal::new(us(mean), us(std_dev)).ok()?),
        Delay::LogNormal { median, p99 } => {
            Shape::LogNormal(LogNormal::new(us(median).ln(), sigma(*median, *p99)).ok()?)
        }
        Delay::Exponential { mean } if mean.is_zero() => Shape::Fixed(Duration::ZERO),
        Delay::Exponential { mean } => Shape::Exponential(Exp::new(1.0 / us(mean)).ok()?),
    })
}

#[derive(Debug)]
struct Latency {
    shape: Shape,
    cap_us: f64,
}

impl Latency {
    fn draw_us(&self, dice: &mut Dice) -> f64 {
        let rng = dice.rng();
        match &self.shape {
            Shape::Fixed(fixed) => fixed.as_secs_f64() * 1e6,
            Shape::Uniform(uniform) => uniform.sample(rng),
            Shape::Normal(normal) => normal.sample(rng),
            Shape::LogNormal(lognormal) => lognormal.sample(rng),
            Shape::Exponential(exponential) => exponential.sample(rng),
        }
    }
}

impl Fault for Latency {
    fn kind(&self) -> &'static str {
        "latency"
    }

    fn decide(&self, dice: &mut Dice) -> Action {
        if let Shape::Fixed(fixed) = self.shape {
            return Action::Delay(fixed);
        }
        let mut us = self.draw_us(dice);
        for _ in 1..TRIES {
            if (0.0..=self.cap_us).contains(&us) {
                break;
            }
            us = self.draw_us(dice);
        }
        Action::Delay(Duration::from_micros(us.clamp(0.0, self.cap_us).round() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(delay: Delay, cap: Duration) -> Vec<f64> {
        let spec = LatencySpec { delay: Located { value: delay, at: Place::default() }, cap };
        let fault = spec.compile().unwrap();
        let mut seconds: Vec<f64> = (0..20_000)
            .map(|n| match fault.decide(&mut Dice::new(42, "slow", n, "latency")) {
                Action::Delay(delay) => delay.as_secs_f64(),
                other => panic!("{other:?}"),
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    }

    /// Kolmogorov and Smirnov's distance, against its bound for 20,000 draws at α = 0.001.
    fn fits(draws: &[f64], cdf: impl Fn(f64) -> f64) {
        let n = draws.len() as f64;
        let distance = draws
            .iter()
            .enumerate()
            .map(|(at, x)| {
                (cdf(*x) - at as f64 / n).abs().max((cdf(*x) - (at + 1) as f64 / n).abs())
            })
            .fold(0.0, f64::max);
        assert!(distance < 1.949 / n.sqrt(), "distance {distance}");
    }

    #[test]
    fn distributions() {
        let ms = Duration::from_millis;
        let long = Duration::from_secs(3600);
        fits(&draws(Delay::Uniform { min: ms(10), max: ms(30) }, long), |x| (x - 0.01) / 0.02);
        fits(&draws(Delay::Normal { mean: ms(100), std_dev: ms(10) }, long), |x| {
            phi((x - 0.1) / 0.01)
        });
        fits(&draws(Delay::LogNormal { median: ms(120), p99: ms(2000) }, long), |x| {
            phi((x / 0.12).ln() / ((2.0f64 / 0.12).ln() / Z99))
        });
        fits(&draws(Delay::Exponential { mean: ms(50) }, long), |x| 1.0 - (-x / 0.05).exp());
        // Cut at the cap: the rest keeps its shape.
        fits(&draws(Delay::Exponential { mean: ms(50) }, ms(50)), |x| {
            (1.0 - (-x / 0.05).exp()) / (1.0 - (-1.0f64).exp())
        });
    }

    #[test]
    fn what_would_be_drawn_again_too_often_is_refused() {
        let delay = Located {
            value: Delay::Exponential { mean: Duration::from_secs(10) },
            at: Place::default(),
        };
        assert!(LatencySpec { delay, cap: Duration::from_secs(1) }.compile().is_err());
    }
}
