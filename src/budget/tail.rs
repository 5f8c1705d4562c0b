//! Exact tails of the binomial and the Poisson distribution, summed term by term from the count
//! outwards. Own code: the incomplete beta function of the crate that would do (`statrs`) is a
//! continued fraction of at most 140 steps, which is too few from some ten thousand events on.
//!
//! The first term is Loader's ("Fast and Accurate Computation of Binomial Probabilities", 2000):
//! no difference of large logarithms, so that it is right at any count.

use std::f64::consts::PI;

/// Variance above which counts are scaled down: a million terms and no more.
const MOST: f64 = 1e10;

/// ln n! beyond Stirling's formula: `ln n! − (n + ½) ln n + n − ½ ln 2π`.
fn stirling_error(n: f64) -> f64 {
    if n <= 15.0 {
        let factorial: f64 = (1..=n as u32).map(f64::from).product();
        return factorial.ln() - (n + 0.5) * n.ln() + n - 0.5 * (2.0 * PI).ln();
    }
    let r = 1.0 / (n * n);
    (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r / 1188.0)))) / n
}

/// `x ln(x / m) + m − x`, without the cancellation where x is near m.
fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() + m - x;
    }
    let v = (x - m) / (x + m);
    let (mut sum, mut term) = ((x - m) * v, 2.0 * x * v);
    for odd in (3..).step_by(2) {
        term *= v * v;
        let next = sum + term / f64::from(odd);
        if next.to_bits() == sum.to_bits() {
            break;
        }
        sum = next;
    }
    sum
}

fn binomial_at(k: f64, n: f64, p: f64) -> f64 {
    let q = 1.0 - p;
    if k <= 0.0 {
        return (n * (-p).ln_1p()).exp();
    }
    if k >= n {
        return (n * p.ln()).exp();
    }
    let errors = stirling_error(n) - stirling_error(k) - stirling_error(n - k);
    let exponent = errors - deviance(k, n * p) - deviance(n - k, n * q);
    exponent.exp() * (n / (2.0 * PI * k * (n - k))).sqrt()
}

/// A sum of terms each of which is the one before times `ratio(i)`, i from 0; the ratios fall.
fn series(first: f64, mut ratio: impl FnMut(f64) -> f64) -> f64 {
    let (mut term, mut sum, mut i) = (first, first, 0.0);
    while term > sum * f64::EPSILON / 4.0 {
        term *= ratio(i);
        sum += term;
        i += 1.0;
    }
    sum.min(1.0)
}

/// Counts whose sum would be endless, with less weight: they prove less than they could.
fn bounded(b: u64, n: u64, p: f64) -> (f64, f64) {
    let (b, n) = (b as f64, n as f64);
    let shrink = (n * p * (1.0 - p) / MOST).max(1.0);
    ((b / shrink).round(), (n / shrink).round())
}

/// P(X ≤ b) of n events that are bad with probability p each.
pub(super) fn at_most(b: u64, n: u64, p: f64) -> f64 {
    let (b, n) = bounded(b, n, p);
    if b >= n || p <= 0.0 {
        1.0
    } else if p >= 1.0 {
        0.0
    } else if b > n * p {
        1.0 - above(b + 1.0, n, p)
    } else {
        below(b, n, p)
    }
}

/// P(X ≥ b) of n events that are bad with probability p each.
pub(super) fn at_least(b: u64, n: u64, p: f64) -> f64 {
    let (b, n) = bounded(b, n, p);
    if b <= 0.0 || p >= 1.0 {
        1.0
    } else if b > n || p <= 0.0 {
        0.0
    } else if b <= n * p {
        1.0 - below(b - 1.0, n, p)
    } else {
        above(b, n, p)
    }
}

fn below(b: f64, n: f64, p: f64) -> f64 {
    let odds = (1.0 - p) / p;
    series(binomial_at(b, n, p), |i| (b - i) / (n - b + i + 1.0) * odds)
}

fn above(b: f64, n: f64, p: f64) -> f64 {
    let odds = p / (1.0 - p);
    series(binomial_at(b, n, p), |i| (n - b - i) / (b + i + 1.0) * odds)
}

/// P(X = k) where `mean` are expected.
pub(super) fn poisson_at(k: f64, mean: f64) -> f64 {
    if k <= 0.0 {
        return (-mean).exp();
    }
    (-stirling_error(k) - deviance(k, mean)).exp() / (2.0 * PI * k).sqrt()
}

/// P(X ≤ k) where `mean` are expected.
pub(super) fn poisson_at_most(k: f64, mean: f64) -> f64 {
    if k > mean {
        return 1.0 - series(poisson_at(k + 1.0, mean), |i| mean / (k + i + 2.0));
    }
    series(poisson_at(k, mean), |i| (k - i) / mean)
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{Binomial, DiscreteCDF, Poisson};

    use super::*;

    /// Somebody else's incomplete beta and gamma functions, where they are good.
    #[test]
    fn as_others_have_it() {
        for n in [1_u64, 2, 15, 16, 17, 400, 5_000] {
            for p in [1e-9, 0.001, 0.3, 0.5, 0.97] {
                let law = Binomial::new(p, n).unwrap();
                for b in [0, 1, 3, n / 3, n / 2, n - 1, n] {
                    let (low, high) = (at_most(b, n, p), at_least(b, n, p));
                    assert!((low - law.cdf(b)).abs() < 1e-9, "{b} of {n} at {p}: {low}");
                    let more = if b == 0 { 1.0 } else { law.sf(b - 1) };
                    assert!((high - more).abs() < 1e-9, "{b} of {n} at {p}: {high} {more}");
                }
            }
        }
        for mean in [0.01, 1.0, 36.5, 900.0] {
            let law = Poisson::new(mean).unwrap();
            for k in [0_u64, 1, 5, 36, 37, 880, 1_000] {
                let found = poisson_at_most(k as f64, mean);
                assert!((found - law.cdf(k)).abs() < 1e-9, "{k} at {mean}: {found}");
            }
        }
    }

    #[test]
    fn no_count_is_too_large() {
        for n in [1_u64 << 40, u64::MAX] {
            for p in [1e-9, 0.001, 0.5] {
                let mean = (n as f64 * p) as u64;
                let (low, high) = (at_most(mean, n, p), at_least(mean, n, p));
                assert!((low - 0.5).abs() < 0.02 && (high - 0.5).abs() < 0.02, "{n} {p}");
                assert!(at_most(0, n, p) < 1e-9 && at_least(n, n, p) < 1e-9, "{n} {p}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn tails_meet(n in 1_u64..100_000, part in 0.0..=1.0, p in 1e-9..1.0) {
            let b = (n as f64 * part) as u64;
            let (low, high) = (at_most(b, n, p), at_least(b + 1, n, p));
            proptest::prop_assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
            proptest::prop_assert!((low + high - 1.0).abs() < 1e-9, "{low} {high}");
        }
    }
}
