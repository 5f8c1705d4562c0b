//! Each distribution against its own formula, at a pinned seed.

use super::*;
use crate::fault::compile;
use crate::scenario::tests::injected;

fn samples(written: &str) -> Vec<f64> {
    let fault = compile(&injected(&format!("latency = {written}"))).unwrap();
    let mut all: Vec<f64> = (0..4_000)
        .map(|n| match fault.decide(&mut Dice::new(7, "ks", n, "latency")) {
            Action::Delay(time) => time.as_secs_f64(),
            other => panic!("{other:?}"),
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all
}

/// Kolmogorov–Smirnov: the largest gap between what was drawn and the formula; 1.63/√n is the
/// bound that one sample in a hundred misses, and the seed is pinned.
fn assert_follows(written: &str, cdf: impl Fn(f64) -> f64) {
    let all = samples(written);
    let n = all.len() as f64;
    let gap = all
        .iter()
        .enumerate()
        .map(|(i, x)| (cdf(*x) - i as f64 / n).abs().max((cdf(*x) - (i + 1) as f64 / n).abs()))
        .fold(0.0, f64::max);
    assert!(gap < 1.63 / n.sqrt(), "{written}: {gap}");
}

#[test]
fn samples_follow_their_distribution() {
    assert_follows("{ delay = { uniform = { min = \"1s\", max = \"3s\" } } }", |x| (x - 1.0) / 2.0);
    assert_follows("{ delay = { exponential = { mean = \"200ms\" } } }", |x| {
        1.0 - (-x / 0.2).exp()
    });
    let below = normal_cdf(-1.0);
    assert_follows("{ delay = { normal = { mean = \"1s\", std_dev = \"1s\" } } }", move |x| {
        (normal_cdf(x - 1.0) - below) / (1.0 - below)
    });
    let sigma = (2.0_f64.ln() - 0.12_f64.ln()) / Z99;
    assert_follows("{ delay = { lognormal = { median = \"120ms\", p99 = \"2s\" } } }", move |x| {
        normal_cdf((x.ln() - 0.12_f64.ln()) / sigma)
    });
}

#[test]
fn no_sample_is_above_the_cap_and_all_are_whole_microseconds() {
    let all = samples("{ delay = { exponential = { mean = \"1s\" } }, cap = \"1s\" }");
    assert!(all.iter().all(|x| (0.0..=1.0).contains(x)));
    assert!(all.iter().all(|x| ((x * 1e6).round() - x * 1e6).abs() < 1e-6));
    assert!((samples("\"300ms\"")[0] - 0.3).abs() < 1e-12);
}

#[test]
fn phi_matches_its_table() {
    for (x, phi) in [(0.0, 0.5), (1.0, 0.841_344_746_068_543), (Z99, 0.99), (-8.5, 0.0)] {
        assert!((normal_cdf(x) - phi).abs() < 1e-12, "{x}");
    }
}

#[test]
fn degenerate_numbers_are_refused() {
    for written in [
        "\"0s\"",
        "\"90s\"",
        "{ delay = \"5s\", cap = \"1s\" }",
        "{ delay = \"5s\", cap = \"0s\" }",
        "{ delay = { uniform = { min = \"2s\", max = \"2s\" } } }",
        "{ delay = { uniform = { min = \"0s\", max = \"5m\" } } }",
        "{ delay = { normal = { mean = \"1s\", std_dev = \"0s\" } } }",
        "{ delay = { normal = { mean = \"61s\", std_dev = \"1s\" } } }",
        "{ delay = { normal = { mean = \"0s\", std_dev = \"100s\" } } }",
        "{ delay = { lognormal = { median = \"2s\", p99 = \"1s\" } } }",
        "{ delay = { lognormal = { median = \"61s\", p99 = \"70s\" } } }",
        "{ delay = { exponential = { mean = \"0s\" } } }",
        "{ delay = { exponential = { mean = \"90s\" } } }",
    ] {
        assert!(compile(&injected(&format!("latency = {written}"))).is_err(), "{written}");
    }
}
