//! Each distribution against an independent implementation of its formula, at pinned seeds.

use super::*;
use crate::dice::Dice;
use crate::document::Table;
use statrs::distribution::{
    ContinuousCDF, Exp, Gamma, LogNormal, Normal, Pareto, Uniform, Weibull,
};

static ROOT: TableKeys = TableKeys {
    name: "",
    doc: "For these tests.",
    keys: &[
        Key::new("delay", VALUE, "The delay.").required(),
        Key::new("cap", Value::Duration, "Its cap."),
    ],
    short: None,
};

fn compiled(written: &str) -> Result<Draw, Diagnostics> {
    let mut notes = Diagnostics::new();
    let (entries, _) = crate::document::tree::parse(written, 0, &mut notes);
    let mut table = Table::root(&ROOT, &entries, &mut notes);
    let cap = table.duration("cap");
    let delay = table.node("delay").and_then(|node| Delay::read(&node, table.notes));
    if !notes.is_empty() {
        return Err(notes);
    }
    delay.unwrap().compile(cap.as_ref())
}

const DRAWS: u64 = 20_000;

fn samples(written: &str) -> Vec<f64> {
    let draw = compiled(written).unwrap_or_else(|notes| panic!("{written}: {notes:?}"));
    let one = |n| draw.sample(&mut Dice::new(7, "ks", n, "latency")).as_secs_f64();
    let mut all: Vec<f64> = (0..DRAWS).map(one).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// Kolmogorov–Smirnov: the largest gap between the share of draws up to x and the share that the
/// formula gives; 1.949/√n is exceeded once in a thousand, and the seed is pinned. `below` is the
/// formula's limit from the left, for the one that jumps.
fn gap(all: &[f64], upto: impl Fn(f64) -> f64, below: impl Fn(f64) -> f64) -> f64 {
    let n = all.len() as f64;
    let mut gap: f64 = 0.0;
    let mut at = 0;
    while at < all.len() {
        let x = all[at];
        let past = all.partition_point(|y| *y <= x);
        gap = gap.max((upto(x) - past as f64 / n).abs()).max((below(x) - at as f64 / n).abs());
        at = past;
    }
    gap
}

/// The formula's shares, with what lies below 0 or above the cap left out.
fn truncated(cdf: impl Fn(f64) -> f64, cap: f64) -> impl Fn(f64) -> f64 {
    let (low, high) = (cdf(0.0), cdf(cap));
    move |x: f64| ((cdf(x) - low) / (high - low)).clamp(0.0, 1.0)
}

fn assert_follows(written: &str, cap: f64, cdf: impl Fn(f64) -> f64) {
    let all = samples(written);
    assert!(all.iter().all(|x| (0.0..=cap).contains(x)), "{written}");
    let cdf = truncated(cdf, cap);
    let gap = gap(&all, &cdf, &cdf);
    assert!(gap < 1.949 / (DRAWS as f64).sqrt(), "{written}: {gap}");
}

/// 0.12 s at the median, 2 s at the 99th percentile.
fn lognormal() -> LogNormal {
    let z99 = Normal::standard().inverse_cdf(0.99);
    LogNormal::new(0.12_f64.ln(), (2.0_f64 / 0.12).ln() / z99).unwrap()
}

#[test]
fn uniform() {
    let of = Uniform::new(1.0, 3.0).unwrap();
    assert_follows("delay.uniform = { min = \"1s\", max = \"3s\" }", 60.0, |x| of.cdf(x));
    let capped = "delay.uniform = { min = \"1s\", max = \"3s\" }\ncap = \"2500ms\"";
    assert_follows(capped, 2.5, |x| of.cdf(x));
}

#[test]
fn normal() {
    let of = Normal::new(1.0, 1.0).unwrap();
    assert_follows("delay.normal = { mean = \"1s\", std_dev = \"1s\" }", 60.0, |x| of.cdf(x));
    let capped = "delay.normal = { mean = \"1s\", std_dev = \"1s\" }\ncap = \"1500ms\"";
    assert_follows(capped, 1.5, |x| of.cdf(x));
}

#[test]
fn lognormal_by_median_and_p99() {
    let of = lognormal();
    let written = "delay.lognormal = { median = \"120ms\", p99 = \"2s\" }";
    assert_follows(written, 60.0, |x| of.cdf(x));
    assert_follows(&format!("{written}\ncap = \"150ms\""), 0.15, |x| of.cdf(x));
}

#[test]
fn exponential() {
    let of = Exp::new(5.0).unwrap();
    assert_follows("delay.exponential = { mean = \"200ms\" }", 60.0, |x| of.cdf(x));
    assert_follows("delay.exponential = { mean = \"200ms\" }\ncap = \"140ms\"", 0.14, |x| {
        of.cdf(x)
    });
}

#[test]
fn pareto() {
    let of = Pareto::new(0.05, 1.16).unwrap();
    let written = "delay.pareto = { scale = \"50ms\", shape = 1.16 }";
    assert_follows(written, 60.0, |x| of.cdf(x));
    assert_follows(&format!("{written}\ncap = \"1s\""), 1.0, |x| of.cdf(x));
}

#[test]
fn gamma() {
    // statrs takes the rate, 1 / scale.
    for (shape, rate) in [(0.5, 2.5), (1.0, 5.0), (4.0, 20.0)] {
        let of = Gamma::new(shape, rate).unwrap();
        let written = format!("delay.gamma = {{ mean = \"200ms\", shape = {shape} }}");
        assert_follows(&written, 60.0, |x| of.cdf(x));
        assert_follows(&format!("{written}\ncap = \"300ms\""), 0.3, |x| of.cdf(x));
    }
}

#[test]
fn weibull() {
    for shape in [0.7, 2.0] {
        let of = Weibull::new(shape, 0.3).unwrap();
        let written = format!("delay.weibull = {{ scale = \"300ms\", shape = {shape} }}");
        assert_follows(&written, 60.0, |x| of.cdf(x));
        assert_follows(&format!("{written}\ncap = \"400ms\""), 0.4, |x| of.cdf(x));
    }
}

/// Straight lines from 0 at p0 over 80 ms at p50 to 2 s at p99, where one in a hundred ends.
#[test]
fn quantiles() {
    let all = samples("delay.quantiles = { p99 = \"2s\", p50 = \"80ms\" }");
    let below = |x: f64| {
        if x <= 0.08 { x / 0.08 * 0.5 } else { 0.5 + (x - 0.08) / (2.0 - 0.08) * 0.49 }
    };
    let upto = |x: f64| if x >= 2.0 { 1.0 } else { below(x) };
    let off = gap(&all, upto, below);
    assert!(off < 1.949 / (DRAWS as f64).sqrt(), "{off}");
    assert!(all.iter().all(|x| *x <= 2.0));
    // Level stretches, a p0 of one's own, the last point alone.
    let all = samples("delay.quantiles = { p0 = \"10ms\", p50 = \"10ms\", \"p99.9\" = \"20ms\" }");
    let micros = |share: f64| (all[(DRAWS as f64 * share) as usize] * 1e6).round() as u64;
    assert_eq!((micros(0.0), micros(0.45), micros(0.9999)), (10_000, 10_000, 20_000));
    assert!(micros(0.55) > 10_000);
    // Capped: the sixth above is drawn again.
    let all = samples("delay.quantiles = { p100 = \"1200ms\" }\ncap = \"1s\"");
    let off = gap(&all, |x| x.min(1.0), |x| x.min(1.0));
    assert!(off < 1.949 / (DRAWS as f64).sqrt(), "{off}");
}

#[test]
fn delays_are_whole_microseconds() {
    let all = samples("delay.exponential = { mean = \"1s\" }\ncap = \"1s\"");
    assert!(all.iter().all(|x| ((x * 1e6).round() - x * 1e6).abs() < 1e-6));
    assert!((samples("delay = \"300ms\"")[0] - 0.3).abs() < 1e-12);
}

#[test]
fn degenerate_numbers_are_refused() {
    for written in [
        "delay = \"0s\"",
        "delay = \"90s\"",
        "delay = \"5s\"\ncap = \"1s\"",
        "delay = \"5s\"\ncap = \"0s\"",
        "delay.uniform = { min = \"2s\", max = \"2s\" }",
        "delay.uniform = { min = \"0s\", max = \"5m\" }",
        "delay.normal = { mean = \"1s\", std_dev = \"0s\" }",
        "delay.normal = { mean = \"61s\", std_dev = \"1s\" }",
        "delay.normal = { mean = \"0s\", std_dev = \"100s\" }",
        "delay.lognormal = { median = \"2s\", p99 = \"1s\" }",
        "delay.lognormal = { median = \"61s\", p99 = \"70s\" }",
        "delay.exponential = { mean = \"0s\" }",
        "delay.exponential = { mean = \"90s\" }",
        "delay.pareto = { scale = \"0s\", shape = 1 }",
        "delay.pareto = { scale = \"1s\", shape = 0 }",
        "delay.pareto = { scale = \"1s\", shape = nan }",
        "delay.pareto = { scale = \"1s\", shape = 0.16 }",
        "delay.gamma = { mean = \"0s\", shape = 2 }",
        "delay.gamma = { mean = \"65s\", shape = 100 }",
        "delay.weibull = { scale = \"0s\", shape = 2 }",
        "delay.weibull = { scale = \"1s\", shape = 2000.0 }",
        "delay.weibull = { scale = \"2m\", shape = 2 }",
        "delay.quantiles = {}",
        "delay.quantiles = { p50 = \"0s\" }",
        "delay.quantiles = { p50 = \"2s\", p99 = \"1s\" }",
        "delay.quantiles = { p50 = \"2s\", \"p50.0\" = \"3s\" }",
        "delay.quantiles = { p101 = \"2s\" }",
        "delay.quantiles = { p50 = 2 }",
        "delay.quantiles = { p10 = \"61s\", p50 = \"62s\" }",
        "delay.quantiles = \"2s\"",
    ] {
        assert!(compiled(written).is_err(), "{written}");
    }
}

proptest::proptest! {
    /// Whatever the numbers: refused, or within the bounds.
    #[test]
    fn no_numbers_panic(
        a in 0_u64..100_000_000_000,
        b in 0_u64..100_000_000_000,
        shape in 0.1_f64..1000.0,
        cap in 0_u64..100_000_000_000,
        n in 0_u64..u64::MAX,
    ) {
        for delay in [
            format!("delay = \"{a}ns\""),
            format!("delay.uniform = {{ min = \"{a}ns\", max = \"{b}ns\" }}"),
            format!("delay.normal = {{ mean = \"{a}ns\", std_dev = \"{b}ns\" }}"),
            format!("delay.lognormal = {{ median = \"{a}ns\", p99 = \"{b}ns\" }}"),
            format!("delay.exponential = {{ mean = \"{a}ns\" }}"),
            format!("delay.pareto = {{ scale = \"{a}ns\", shape = {shape:?} }}"),
            format!("delay.gamma = {{ mean = \"{a}ns\", shape = {shape:?} }}"),
            format!("delay.weibull = {{ scale = \"{a}ns\", shape = {shape:?} }}"),
            format!("delay.quantiles = {{ p50 = \"{a}ns\", p99 = \"{b}ns\" }}"),
        ] {
            if let Ok(draw) = compiled(&format!("{delay}\ncap = \"{cap}ns\"")) {
                let time = draw.sample(&mut Dice::new(n, "it", n, "latency"));
                proptest::prop_assert!(time.as_nanos() <= u128::from(cap), "{delay}: {time:?}");
            }
        }
    }
}
