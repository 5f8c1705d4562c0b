//! `latency`: the request waits before the service sees it.
//!
//! `inject.latency = "300ms"` delays every request that is hit by the same time; `delay` can be a
//! distribution instead: `inject.latency = { delay = { lognormal = { median = "120ms", p99 = "2s" }
//! }, cap = "5s" }`. Samples below 0 or above `cap` (default 60s) are drawn again, so the shape
//! inside the bounds is kept; a distribution that would lose more than half of its samples that
//! way is refused. Delays are whole microseconds.

use std::time::Duration;

use rand_distr::{Distribution, Exp, LogNormal, Normal, Uniform};

use super::{Action, Fault, Kind, Spec, Written};
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Place};
use crate::dice::Dice;
use crate::document::{Key, Node, TableKeys, Value};
use crate::units::show_duration;

/// The kind's line in [`super::KINDS`].
pub const KIND: Kind = Kind {
    key: Key::new(
        "latency",
        Value::Table(&KEYS),
        "Let the request wait before the service sees it.",
    ),
    read,
};

/// What the kind takes.
pub static KEYS: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency",
    doc: "Let the request wait before the service sees it.",
    keys: &[
        Key::new("delay", Value::OneOf(&DELAY), "How long: a duration, or a distribution.")
            .required(),
        Key::new("cap", Value::Duration, "No delay is longer; samples above are drawn again.")
            .default("\"60s\""),
    ],
    short: Some(Value::Duration),
};

static DELAY: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay",
    doc: "How long a request waits.",
    keys: &[
        Key::new("uniform", Value::Table(&UNIFORM), "Any time between two, alike."),
        Key::new("normal", Value::Table(&NORMAL), "A bell around a mean."),
        Key::new("lognormal", Value::Table(&LOGNORMAL), "A long tail, as most services have."),
        Key::new("exponential", Value::Table(&EXPONENTIAL), "Mostly short, sometimes long."),
    ],
    short: Some(Value::Duration),
};

static UNIFORM: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay.uniform",
    doc: "Any time from `min` to `max`, all alike.",
    keys: &[
        Key::new("min", Value::Duration, "The shortest.").required(),
        Key::new("max", Value::Duration, "The longest.").required(),
    ],
    short: None,
};

static NORMAL: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay.normal",
    doc: "A bell around `mean`.",
    keys: &[
        Key::new("mean", Value::Duration, "The middle.").required(),
        Key::new("std_dev", Value::Duration, "68% lie within this of the mean.").required(),
    ],
    short: None,
};

static LOGNORMAL: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay.lognormal",
    doc: "A long tail, as most services have.",
    keys: &[
        Key::new("median", Value::Duration, "Half are shorter.").required(),
        Key::new("p99", Value::Duration, "99% are shorter.").required(),
    ],
    short: None,
};

static EXPONENTIAL: TableKeys = TableKeys {
    name: "faults.NAME.inject.latency.delay.exponential",
    doc: "Mostly short, sometimes long.",
    keys: &[Key::new("mean", Value::Duration, "63% are shorter.").required()],
    short: None,
};

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;
/// Chance that as many redraws all miss: below 2⁻⁶⁴, as at least half of the samples are kept.
const TRIES: u32 = 64;

#[derive(Debug)]
enum Delay {
    Fixed(Duration),
    Uniform { min: Duration, max: Duration },
    Normal { mean: Duration, std_dev: Duration },
    LogNormal { median: Duration, p99: Duration },
    Exponential { mean: Duration },
}

#[derive(Debug)]
struct AsWritten {
    delay: Located<Delay>,
    cap: Option<Located<Duration>>,
}

fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Spec> {
    if !node.is_table() {
        let Located { value, at } = node.duration(notes)?;
        let delay = Located { value: Delay::Fixed(value), at };
        return Some(Spec::new(AsWritten { delay, cap: None }));
    }
    let mut table = node.table(notes)?;
    let cap = table.duration("cap");
    let delay = table.node("delay").and_then(|node| delay(&node, notes));
    Some(Spec::new(AsWritten { delay: delay?, cap }))
}

fn delay(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Located<Delay>> {
    if !node.is_table() {
        let Located { value, at } = node.duration(notes)?;
        return Some(Located { value: Delay::Fixed(value), at });
    }
    let mut read = None;
    for (name, node) in node.variants(notes) {
        let at = node.key_at;
        let Some(mut table) = node.table(notes) else { continue };
        let mut get = |key| table.duration(key).map(|read| read.value);
        let value = match name {
            "uniform" => get("min").zip(get("max")).map(|(min, max)| Delay::Uniform { min, max }),
            "normal" => {
                let both = get("mean").zip(get("std_dev"));
                both.map(|(mean, std_dev)| Delay::Normal { mean, std_dev })
            }
            "lognormal" => {
                let both = get("median").zip(get("p99"));
                both.map(|(median, p99)| Delay::LogNormal { median, p99 })
            }
            _ => get("mean").map(|mean| Delay::Exponential { mean }),
        };
        read = read.or(value.map(|value| Located { value, at }));
    }
    read
}

impl Written for AsWritten {
    fn compile(&self) -> Result<Box<dyn Fault>, Diagnostics> {
        let cap = self.cap.as_ref().map_or(Duration::from_mins(1), |cap| cap.value);
        let at = self.delay.at;
        if cap.is_zero() {
            let at = self.cap.as_ref().map_or(at, |cap| cap.at);
            return Err(vec![Diagnostic::error(at, "a cap of no time leaves no delay")]);
        }
        let (draw, kept) = shape(&self.delay.value, cap, at)?;
        if kept < 0.5 {
            let shown = show_duration(cap);
            let message = match self.delay.value {
                Delay::Fixed(_) => format!("the delay is above its cap of {shown}"),
                _ => format!("most of these delays lie below 0s or above the cap of {shown}"),
            };
            let note = Diagnostic::error(at, message).hint("raise `cap`, or shorten the delay");
            return Err(vec![match &self.cap {
                Some(cap) => note.also(cap.at, "the cap"),
                None => note,
            }]);
        }
        Ok(Box::new(Compiled { draw, cap }))
    }
}

/// The distribution in seconds, and the share of its samples between 0 and `cap`.
fn shape(delay: &Delay, cap: Duration, at: Place) -> Result<(Draw, f64), Diagnostics> {
    let limit = cap.as_secs_f64();
    let refuse = |message: &str| Err(vec![Diagnostic::error(at, message)]);
    // Bounds are checked before each constructor, whose own errors are then out of reach.
    let odd = || vec![Diagnostic::error(at, "this distribution has no samples")];
    match *delay {
        Delay::Fixed(time) if time.is_zero() => refuse("a delay of no time does nothing"),
        Delay::Fixed(time) => Ok((Draw::Fixed(time), if time > cap { 0.0 } else { 1.0 })),
        Delay::Uniform { min, max } if min >= max => refuse("`max` has to be longer than `min`"),
        Delay::Uniform { min, max } => {
            let (min, max) = (min.as_secs_f64(), max.as_secs_f64());
            let draw = Uniform::new_inclusive(min, max).map_err(|_| odd())?;
            Ok((Draw::Uniform(draw), ((limit - min) / (max - min)).clamp(0.0, 1.0)))
        }
        Delay::Normal { std_dev, .. } if std_dev.is_zero() => {
            refuse("a `std_dev` of no time: write the mean as a plain delay")
        }
        Delay::Normal { mean, std_dev } => {
            let (mean, deviation) = (mean.as_secs_f64(), std_dev.as_secs_f64());
            let draw = Normal::new(mean, deviation).map_err(|_| odd())?;
            let kept = normal_cdf((limit - mean) / deviation) - normal_cdf(-mean / deviation);
            Ok((Draw::Normal(draw), kept))
        }
        Delay::LogNormal { median, p99 } if median.is_zero() || p99 <= median => {
            refuse("`p99` has to be longer than `median`, and `median` longer than 0s")
        }
        Delay::LogNormal { median, p99 } => {
            let mu = median.as_secs_f64().ln();
            let sigma = (p99.as_secs_f64().ln() - mu) / Z99;
            let draw = LogNormal::new(mu, sigma).map_err(|_| odd())?;
            Ok((Draw::LogNormal(draw), normal_cdf((limit.ln() - mu) / sigma)))
        }
        Delay::Exponential { mean } if mean.is_zero() => refuse("a mean of no time does nothing"),
        Delay::Exponential { mean } => {
            let mean = mean.as_secs_f64();
            let draw = Exp::new(mean.recip()).map_err(|_| odd())?;
            Ok((Draw::Exponential(draw), -(-limit / mean).exp_m1()))
        }
    }
}

/// Φ by its Taylor series around 0 (Marsaglia 2004), exact to double precision within ±8 and 0
/// or 1 beyond.
fn normal_cdf(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term, mut odd) = (x, x, 1.0);
    loop {
        odd += 2.0;
        term *= x * x / odd;
        let next = sum + term;
        // The terms shrink to nothing from odd > x² on, so this ends.
        #[allow(clippy::float_cmp, reason = "until adding a term changes no bit")]
        if next == sum {
            break;
        }
        sum = next;
    }
    0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[derive(Debug)]
enum Draw {
    Fixed(Duration),
    Uniform(Uniform<f64>),
    Normal(Normal<f64>),
    LogNormal(LogNormal<f64>),
    Exponential(Exp<f64>),
}

#[derive(Debug)]
struct Compiled {
    draw: Draw,
    cap: Duration,
}

impl Compiled {
    fn sample(&self, dice: &mut Dice) -> Duration {
        let rng = dice.rng();
        for _ in 0..TRIES {
            let seconds = match &self.draw {
                Draw::Fixed(time) => return *time,
                Draw::Uniform(of) => of.sample(rng),
                Draw::Normal(of) => of.sample(rng),
                Draw::LogNormal(of) => of.sample(rng),
                Draw::Exponential(of) => of.sample(rng),
            };
            if let Ok(time) = Duration::try_from_secs_f64(seconds)
                && time <= self.cap
            {
                return time;
            }
        }
        self.cap
    }
}

impl Fault for Compiled {
    fn kind(&self) -> &'static str {
        KIND.key.name
    }
    fn decide(&self, dice: &mut Dice) -> Action {
        // Whole microseconds: the last bits of a libm do not show.
        let nanos = self.sample(dice).as_nanos().saturating_add(500) / 1_000;
        Action::Delay(Duration::from_micros(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
#[path = "latency_tests.rs"]
mod tests;
