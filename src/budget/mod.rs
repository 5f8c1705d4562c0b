//! Pure maths on counts: how fast an error budget burns, when its alerts would fire, how long it
//! lasts, and how far the counts can be trusted. Nothing here waits, fails or asks for the time.
//!
//! The notation of the docs: T objective, e = 1 − T, W the objective's window, n events, b bad
//! ones, ε = b / n.

mod ahead;
mod allowance;
mod burn;
mod collateral;
mod composite;
mod expected;
mod forecast;
mod history;
mod interval;
mod replay;
mod slices;
mod tail;
mod tier;
mod trend;
mod verdict;

pub use ahead::Ahead;
pub use allowance::{Allowance, Projection};
pub use burn::{
    burn_rate, consumed_absolute, consumed_scaled, remaining, rolled, time_to_exhaustion,
};
pub use collateral::{Collateral, Exposure, Risk};
pub use composite::{Member, Mode, composite_burn};
pub use expected::{Expected, Stretch};
pub use forecast::{Forecast, lookback, steady};
pub use history::{History, Pad, Totals};
pub use interval::{Confidence, Interval, clopper_pearson, jeffreys, poisson, wilson};
pub use replay::{Change, Closest, Happened, Replay, TierState};
pub use slices::{Empty, Slice, Sliced, occurrences, ratio_mean, sliced};
pub use tier::{Dialect, Factor, Severity, Tier};
pub use trend::{Holt, Line, ewma};
pub use verdict::{Verdict, judged, needed};

/// To the six digits of the reference's vectors.
#[cfg(test)]
pub(crate) fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 5e-7, "{a} is not {b}");
}
