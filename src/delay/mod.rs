//! How long something takes: a duration or a distribution, as the language writes it.
//!
//! `"300ms"` is always the same; `{ lognormal = { median = "120ms", p99 = "2s" } }` is drawn anew
//! for each request. Samples below 0 or above a cap are drawn again, so the shape inside the bounds
//! is kept; a distribution that would lose more than half of its samples that way is refused.

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::document::{Key, Node, TableKeys, Value};
use crate::units::{Share, show_duration};

mod draw;
mod special;

pub use draw::Draw;

/// What a key takes that is a delay.
pub const VALUE: Value = Value::OneOf(&DELAY);

/// No cap was written.
pub const DEFAULT_CAP: Duration = Duration::from_mins(1);

static DELAY: TableKeys = TableKeys {
    name: "delay",
    doc: "A duration, or one of these distributions. Drawn anew for each request.",
    keys: &[
        Key::new("uniform", Value::Table(&UNIFORM), "Any time between two, alike."),
        Key::new("normal", Value::Table(&NORMAL), "A bell around a mean."),
        Key::new("lognormal", Value::Table(&LOGNORMAL), "A long tail, as most services have."),
        Key::new("exponential", Value::Table(&EXPONENTIAL), "Mostly short, sometimes long."),
        Key::new("pareto", Value::Table(&PARETO), "The longest tail: no delay is typical."),
        Key::new("gamma", Value::Table(&GAMMA), "The sum of several waits."),
        Key::new("weibull", Value::Table(&WEIBULL), "The first of several to be over."),
        Key::new("quantiles", Value::Quantiles, "Measured points, joined by straight lines."),
    ],
    short: Some(Value::Duration),
};

static UNIFORM: TableKeys = TableKeys {
    name: "delay.uniform",
    doc: "Any time from `min` to `max`, all alike.",
    keys: &[
        Key::new("min", Value::Duration, "The shortest.").required(),
        Key::new("max", Value::Duration, "The longest.").required(),
    ],
    short: None,
};

static NORMAL: TableKeys = TableKeys {
    name: "delay.normal",
    doc: "A bell around `mean`.",
    keys: &[
        Key::new("mean", Value::Duration, "The middle.").required(),
        Key::new("std_dev", Value::Duration, "68% lie within this of the mean.").required(),
    ],
    short: None,
};

static LOGNORMAL: TableKeys = TableKeys {
    name: "delay.lognormal",
    doc: "A long tail, as most services have.",
    keys: &[
        Key::new("median", Value::Duration, "Half are shorter.").required(),
        Key::new("p99", Value::Duration, "99% are shorter.").required(),
    ],
    short: None,
};

static EXPONENTIAL: TableKeys = TableKeys {
    name: "delay.exponential",
    doc: "Mostly short, sometimes long.",
    keys: &[Key::new("mean", Value::Duration, "63% are shorter.").required()],
    short: None,
};

/// Beyond these a shape is a constant, or lies all but wholly at 0.
const SHAPE: Value = Value::Number { min: 0.1, max: 1000.0 };

static PARETO: TableKeys = TableKeys {
    name: "delay.pareto",
    doc: "The longest tail: above `scale`, a share of (scale/t)^shape is longer than t.",
    keys: &[
        Key::new("scale", Value::Duration, "The shortest.").required(),
        Key::new("shape", SHAPE, "1.16 is the 80/20 rule; less is wilder.").required(),
    ],
    short: None,
};

static GAMMA: TableKeys = TableKeys {
    name: "delay.gamma",
    doc: "The sum of `shape` exponential waits.",
    keys: &[
        Key::new("mean", Value::Duration, "The mean of the sum.").required(),
        Key::new("shape", SHAPE, "1 is exponential; more is narrower.").required(),
    ],
    short: None,
};

static WEIBULL: TableKeys = TableKeys {
    name: "delay.weibull",
    doc: "A share of exp(-(t/scale)^shape) is longer than t.",
    keys: &[
        Key::new("scale", Value::Duration, "63% are shorter.").required(),
        Key::new("shape", SHAPE, "1 is exponential; less has a longer tail, more is narrower.")
            .required(),
    ],
    short: None,
};

/// A delay as written.
#[derive(Debug, Clone, PartialEq)]
enum Written {
    Fixed(Duration),
    Uniform { min: Duration, max: Duration },
    Normal { mean: Duration, std_dev: Duration },
    LogNormal { median: Duration, p99: Duration },
    Exponential { mean: Duration },
    Pareto { scale: Duration, shape: f64 },
    Gamma { mean: Duration, shape: f64 },
    Weibull { scale: Duration, shape: f64 },
    Quantiles(Vec<(Located<Share>, Located<Duration>)>),
}

impl std::fmt::Display for Written {
    /// As a person would say it: `300ms`, `lognormal (median 120ms, p99 2s)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |time: &Duration| show_duration(*time);
        match self {
            Self::Fixed(time) => f.write_str(&show(time)),
            Self::Uniform { min, max } => write!(f, "{} to {}", show(min), show(max)),
            Self::Normal { mean, std_dev } => {
                write!(f, "normal (mean {}, std_dev {})", show(mean), show(std_dev))
            }
            Self::LogNormal { median, p99 } => {
                write!(f, "lognormal (median {}, p99 {})", show(median), show(p99))
            }
            Self::Exponential { mean } => write!(f, "exponential (mean {})", show(mean)),
            Self::Pareto { scale, shape } => {
                write!(f, "pareto (scale {}, shape {shape})", show(scale))
            }
            Self::Gamma { mean, shape } => write!(f, "gamma (mean {}, shape {shape})", show(mean)),
            Self::Weibull { scale, shape } => {
                write!(f, "weibull (scale {}, shape {shape})", show(scale))
            }
            Self::Quantiles(points) => {
                f.write_str("quantiles (")?;
                for (n, (share, time)) in points.iter().enumerate() {
                    let comma = if n > 0 { ", " } else { "" };
                    let quantile = share.value.as_f64() * 100.0;
                    write!(f, "{comma}p{quantile} {}", show(&time.value))?;
                }
                f.write_str(")")
            }
        }
    }
}

/// A delay as written, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Delay(Located<Written>);

impl Delay {
    /// A plain duration.
    pub fn fixed(time: Located<Duration>) -> Self {
        Self(Located { value: Written::Fixed(time.value), at: time.at })
    }

    /// Reads the value of a key that takes [`VALUE`].
    pub fn read(node: &Node<'_>, notes: &mut Diagnostics) -> Option<Self> {
        if !node.is_table() {
            return node.duration(notes).map(Self::fixed);
        }
        let mut read = None;
        for (name, node) in node.variants(notes) {
            let at = node.key_at;
            if name == "quantiles" {
                let points = node.quantiles(notes);
                read = read.or(Some(Self(Located { value: Written::Quantiles(points), at })));
                continue;
            }
            let Some(mut table) = node.table(notes) else { continue };
            let shape = matches!(name, "pareto" | "gamma" | "weibull")
                .then(|| table.number("shape").map(|shape| shape.value));
            let mut get = |key| table.duration(key).map(|read| read.value);
            let value = match name {
                "uniform" => {
                    get("min").zip(get("max")).map(|(min, max)| Written::Uniform { min, max })
                }
                "normal" => {
                    let both = get("mean").zip(get("std_dev"));
                    both.map(|(mean, std_dev)| Written::Normal { mean, std_dev })
                }
                "lognormal" => {
                    let both = get("median").zip(get("p99"));
                    both.map(|(median, p99)| Written::LogNormal { median, p99 })
                }
                "exponential" => get("mean").map(|mean| Written::Exponential { mean }),
                "pareto" => {
                    let both = get("scale").zip(shape.flatten());
                    both.map(|(scale, shape)| Written::Pareto { scale, shape })
                }
                "gamma" => {
                    let both = get("mean").zip(shape.flatten());
                    both.map(|(mean, shape)| Written::Gamma { mean, shape })
                }
                _ => {
                    let both = get("scale").zip(shape.flatten());
                    both.map(|(scale, shape)| Written::Weibull { scale, shape })
                }
            };
            read = read.or(value.map(|value| Self(Located { value, at })));
        }
        read
    }

    /// Checks the numbers against each other and against the cap, above which samples are drawn
    /// again. Refused: no time at all, no samples, more than half of them redrawn.
    pub fn compile(&self, cap: Option<&Located<Duration>>) -> Result<Draw, Diagnostics> {
        let limit = cap.map_or(DEFAULT_CAP, |cap| cap.value);
        let at = self.0.at;
        if limit.is_zero() {
            let at = cap.map_or(at, |cap| cap.at);
            return Err(vec![Diagnostic::error(at, "a cap of no time leaves no delay")]);
        }
        let (draw, kept) = draw::of(&self.0, limit)?;
        if kept < 0.5 {
            let shown = show_duration(limit);
            let message = match self.0.value {
                Written::Fixed(_) => format!("the delay is above its cap of {shown}"),
                Written::Normal { .. } => {
                    format!("most of these delays lie below 0s or above the cap of {shown}")
                }
                _ => format!("most of these delays lie above the cap of {shown}"),
            };
            let note = Diagnostic::error(at, message);
            return Err(vec![match cap {
                Some(cap) => note.also(cap.at, "the cap").hint("raise `cap`, or shorten the delay"),
                None => note.hint(format!("write a longer `cap`; without one it is {shown}")),
            }]);
        }
        Ok(draw)
    }
}

#[cfg(test)]
mod tests;
