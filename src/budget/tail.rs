//! Exact tails of the binomial and the Poisson distribution, summed term by term from the count
//! outwards. Own code: the incomplete beta function of the crate that would do (`statrs`) is a
//! continued fraction of at most 140 steps, which is too few from some ten thousand events on.
//!
//! The first term is Loader's ("Fast and Accurate Computation of Binomial Probabilities", 2000):
//! no difference of large logarithms, so that it is right at any count.

use std::f64::consts::PI;

/// Variance above which counts are scaled down: a million terms and no more.
const MOST: f64 = 1e10;

/// ln n! beyond Stirling's formula: `ln n! − (n + ½) ln n + n − ½ ln 2π`, of whole and half numbers.
fn stirling_error(n: f64) -> f64 {
    if n <= 15.0 {
        let whole = n.floor();
        let (start, half) = if n > whole { (PI.sqrt() / 2.0, 0.5) } else { (1.0, 0.0) };
        let factorial =
            (1..=whole as u32).fold(start, |product, at| product * (f64::from(at) + half));
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

/// Steps of a continued fraction; as many as the square root of the larger parameter are usual.
const STEPS: u32 = 10_000_000;

/// The regularised incomplete beta function I_x(a, b), of whole and half numbers a and b: the chance
/// that what is distributed so is at most x.
pub(super) fn beta_at_most(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let side = |x: f64, a: f64, b: f64| {
        let first = binomial_at(a, a + b, x) * b / (a + b);
        (first * beta_fraction(x, a, b)).min(1.0)
    };
    if x <= (a + 1.0) / (a + b + 2.0) { side(x, a, b) } else { 1.0 - side(1.0 - x, b, a) }
}

/// The continued fraction of the incomplete beta function (Abramowitz and Stegun, 26.5.8), from the
/// side of x where it is quick, by Lentz's method.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let apart =
        |value: f64| if value.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { value };
    let (mut up, mut down) = (1.0, 1.0 / apart(1.0 - (a + b) * x / (a + 1.0)));
    let mut found = down;
    for step in 1..STEPS {
        let step = f64::from(step);
        let place = a + 2.0 * step;
        let even = step * (b - step) * x / ((place - 1.0) * place);
        let odd = -(a + step) * (a + b + step) * x / (place * (place + 1.0));
        let before = found;
        for term in [even, odd] {
            down = 1.0 / apart(1.0 + term * down);
            up = apart(1.0 + term / up);
            found *= up * down;
        }
        if (found - before).abs() <= before.abs() * f64::EPSILON {
            break;
        }
    }
    found
}

/// How likely the share that `b` bad of `n` come from is at most p, by Jeffreys' prior.
pub(super) fn share_at_most(p: f64, b: u64, n: u64) -> f64 {
    let (b, n) = bounded(b, n, p);
    beta_at_most(p, b + 0.5, n - b + 0.5)
}

/// Student's t quantile at `1 − outside`: how many standard errors of `freedom` degrees of freedom
/// are exceeded with probability `outside` (below a half). 2.306 of 8 at 2.5 %.
pub(super) fn student(outside: f64, freedom: u64) -> f64 {
    let v = freedom as f64;
    // P(T > t) = I_{v / (v + t²)}(v / 2, ½) / 2.
    let x = bisect(|x| beta_at_most(x, v / 2.0, 0.5) / 2.0 < outside);
    (v * (1.0 - x) / x).sqrt()
}

/// Where in [0, 1] a condition stops to hold.
pub(super) fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle: f64 = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
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
    use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF, Poisson, StudentsT};

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
        for (a, b) in [(0.5, 0.5), (0.5, 20.5), (1.5, 49.5), (29.0, 0.5), (12.5, 3_988.5)] {
            let law = Beta::new(a, b).unwrap();
            for x in [1e-9, 0.001, 0.003, 0.2, 0.5, 0.97, 0.999_99] {
                let found = beta_at_most(x, a, b);
                assert!((found - law.cdf(x)).abs() < 1e-9, "{x} of {a}, {b}: {found}");
            }
        }
        for freedom in [1, 2, 3, 8, 58] {
            let law = StudentsT::new(0.0, 1.0, freedom as f64).unwrap();
            for outside in [0.1, 0.025] {
                let (found, theirs) = (student(outside, freedom), law.inverse_cdf(1.0 - outside));
                assert!((found / theirs - 1.0).abs() < 1e-9, "{freedom}: {found} {theirs}");
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
