//! Quantities that cannot be held wrong: parsed once, checked once.

use std::fmt;
use std::time::Duration;

mod amount;
mod spent;

pub use amount::{
    Bandwidth, Bytes, Rate, bandwidth, bandwidth_readings, bytes, bytes_readings, rate,
    rate_readings,
};
pub use spent::{Spent, spent, spent_readings};

/// The longest duration the language knows: 366 days. Keeps every sum of times far from overflow.
pub const LONGEST: Duration = Duration::from_hours(366 * 24);

/// A share of a whole, exact to one part in a billion: `"5%"` is 50,000,000 parts.
/// Range `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Share(u32);

impl Share {
    /// Nothing: `"0%"`.
    pub const ZERO: Self = Self(0);
    /// The whole: `"100%"`.
    pub const ONE: Self = Self(1_000_000_000);

    /// From parts per billion; `None` above the whole.
    pub const fn from_billionths(parts: u32) -> Option<Self> {
        if parts <= 1_000_000_000 { Some(Self(parts)) } else { None }
    }
    /// Parts per billion.
    pub const fn billionths(self) -> u32 {
        self.0
    }
    /// As a number from 0 to 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e9
    }
    /// Everything that is left over: `1 - self`.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(1_000_000_000 - self.0)
    }
}

impl fmt::Display for Share {
    /// As a user would write it: `5%`, `99.95%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        percentage(f, u64::from(self.0))
    }
}

/// Parts per billion as a percentage, with no more digits than it has.
fn percentage(f: &mut fmt::Formatter<'_>, parts: u64) -> fmt::Result {
    let (whole, part) = (parts / 10_000_000, parts % 10_000_000);
    if part == 0 {
        write!(f, "{whole}%")
    } else {
        write!(f, "{whole}.{}%", format!("{part:07}").trim_end_matches('0'))
    }
}

/// Why a text is not the quantity it should be, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// Lower case, no full stop; quotes the text.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Misread {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

/// Nanoseconds in one of each unit, largest first.
const UNITS: &[(&str, u128)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads `"250ms"`, `"1h30m"`, `"1.5s"`; units d, h, m, s, ms, us (or µs), ns, each at most once and
/// largest first. Errors: no unit, unknown unit, a sign, more digits than nanoseconds hold, more
/// than [`LONGEST`].
pub fn duration(text: &str) -> Result<Duration, Misread> {
    let like = "a duration is a number and a unit, such as \"250ms\" or \"1h30m\"";
    if text.is_empty() {
        return Err(Misread::new("an empty string is not a duration", like));
    }
    if text.starts_with('-') {
        return Err(Misread::new(
            format!("\"{text}\" is negative"),
            "a duration cannot be negative",
        ));
    }
    let unreadable = || Misread::new(format!("\"{text}\" is not a duration"), like);
    let too_long =
        || Misread::new(format!("\"{text}\" is too long"), "the longest duration is 366d");
    let (mut rest, mut nanos, mut next_unit) = (text, 0_u128, 0_usize);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        if number.is_empty() {
            return Err(unreadable());
        }
        if unit.is_empty() {
            return Err(Misread::new(format!("\"{text}\" has no unit"), duration_readings(text)));
        }
        if unit.contains(char::is_whitespace) {
            let without: String = text.split_whitespace().collect();
            if duration(&without).is_ok() {
                let hint = format!("write \"{without}\"");
                return Err(Misread::new(format!("\"{text}\" has a blank in it"), hint));
            }
        }
        let unit = unit.trim();
        let name = if unit == "µs" || unit == "μs" { "us" } else { unit };
        let Some(index) = UNITS.iter().position(|(known, _)| *known == name) else {
            let hint = "the units are d, h, m, s, ms, us and ns";
            return Err(Misread::new(format!("\"{unit}\" is not a unit of time"), hint));
        };
        if index < next_unit {
            let hint = "write each unit once, largest first: \"1h30m\"";
            return Err(Misread::new(format!("\"{text}\" repeats or mixes up its units"), hint));
        }
        next_unit = index + 1;
        nanos += scaled(number, UNITS[index].1).map_err(|why| match why {
            Unscaled::NotANumber => unreadable(),
            Unscaled::TooLarge => too_long(),
            Unscaled::TooFine => {
                Misread::new(format!("\"{text}\" is finer than a nanosecond"), "use fewer digits")
            }
        })?;
        if nanos > LONGEST.as_nanos() {
            return Err(too_long());
        }
        rest = tail;
    }
    // At most LONGEST: fits.
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| too_long())
}

/// Reads `"10%"`, `"99.95%"`: a percentage from 0 to 100, exact to seven decimals.
pub fn share(text: &str) -> Result<Share, Misread> {
    let like = "a share is a percentage from 0% to 100%, such as \"5%\" or \"99.95%\"";
    if text.starts_with('-') {
        return Err(Misread::new(format!("\"{text}\" is negative"), like));
    }
    let Some(number) = text.strip_suffix('%') else {
        return Err(match text.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                Misread::new(format!("\"{text}\" has no unit"), share_readings(text))
            }
            _ => Misread::new(format!("\"{text}\" is not a share"), like),
        });
    };
    match scaled(number.trim_end(), 10_000_000) {
        Ok(parts) => u32::try_from(parts)
            .ok()
            .and_then(Share::from_billionths)
            .ok_or_else(|| Misread::new(format!("\"{text}\" is more than the whole"), like)),
        Err(Unscaled::NotANumber) => Err(Misread::new(format!("\"{text}\" is not a share"), like)),
        Err(Unscaled::TooLarge) => {
            Err(Misread::new(format!("\"{text}\" is more than the whole"), like))
        }
        Err(Unscaled::TooFine) => Err(Misread::new(
            format!("\"{text}\" has too many digits"),
            "a percentage is exact to seven decimals",
        )),
    }
}

/// Reads `"p99"`, `"p99.9"`: the share of samples below.
pub fn quantile(text: &str) -> Result<Share, Misread> {
    let read = text.strip_prefix('p').and_then(|number| share(&format!("{number}%")).ok());
    read.ok_or_else(|| {
        let message = format!("\"{text}\" is not a quantile");
        Misread::new(message, "a quantile is p and a percentage, such as p50 or \"p99.9\"")
    })
}

/// What a bare number may have meant as a duration: `300` → write "300ms" or "300s".
pub fn duration_readings(number: &str) -> String {
    format!("write \"{number}ms\" or \"{number}s\"")
}

/// What a bare number may have meant as a share: `1` → write "1%" or "100%"; `5` → write "5%".
pub fn share_readings(number: &str) -> String {
    let whole = number.parse::<f64>().unwrap_or(f64::NAN);
    let literal = share(&format!("{number}%")).ok();
    // 0.05 × 100 is exact in billionths, not in f64.
    let fraction = scaled(number, 1_000_000_000)
        .ok()
        .and_then(|parts| u32::try_from(parts).ok())
        .and_then(Share::from_billionths)
        .filter(|_| whole > 0.0);
    match (literal, fraction) {
        (Some(literal), Some(fraction)) => format!("write \"{literal}\" or \"{fraction}\""),
        (Some(one), None) | (None, Some(one)) => format!("write \"{one}\""),
        (None, None) => "write a percentage from \"0%\" to \"100%\"".to_owned(),
    }
}

/// A duration as a user would write it: `1h30m`, `250ms`, `0s`; reads back as the same duration.
pub fn show_duration(time: Duration) -> String {
    let mut rest = time.as_nanos();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        let count = rest / nanos;
        rest %= nanos;
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
        }
    }
    text
}

#[derive(Debug)]
enum Unscaled {
    NotANumber,
    TooLarge,
    TooFine,
}

/// `"1.25"` × `unit`, in whole numbers only.
fn scaled(number: &str, unit: u128) -> Result<u128, Unscaled> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(Unscaled::NotANumber);
    }
    // 20 digits are beyond any bound above, and far within u128 when scaled.
    let whole = whole.trim_start_matches('0');
    if whole.len() > 18 {
        return Err(Unscaled::TooLarge);
    }
    let part = part.trim_end_matches('0');
    if part.len() > 18 {
        return Err(Unscaled::TooFine);
    }
    let integer = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u128>() };
    let whole = integer(whole).map_err(|_| Unscaled::NotANumber)?;
    let fraction = integer(part).map_err(|_| Unscaled::NotANumber)? * unit;
    let scale = 10_u128.pow(u32::try_from(part.len()).map_err(|_| Unscaled::TooFine)?);
    if !fraction.is_multiple_of(scale) {
        return Err(Unscaled::TooFine);
    }
    Ok(whole * unit + fraction / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_exactly() {
        let cases = [
            ("250ms", 250_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            ("28d", 28 * 86_400_000_000_000),
            ("0s", 0),
            ("10µs", 10_000),
            ("3ns", 3),
        ];
        for (text, nanos) in cases {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn durations_that_are_none_say_why() {
        for (text, message) in [
            ("", "an empty string is not a duration"),
            ("300", "\"300\" has no unit"),
            ("-3s", "\"-3s\" is negative"),
            ("3 s", "\"3 s\" has a blank in it"),
            ("1m 30s", "\"1m 30s\" has a blank in it"),
            ("2 sec onds", "\"sec onds\" is not a unit of time"),
            ("3sec", "\"sec\" is not a unit of time"),
            ("ms", "\"ms\" is not a duration"),
            ("1..5s", "\"1..5s\" is not a duration"),
            ("nan", "\"nan\" is not a duration"),
            ("5m1h", "\"5m1h\" repeats or mixes up its units"),
            ("367d", "\"367d\" is too long"),
            ("99999999999999999999999999d", "\"99999999999999999999999999d\" is too long"),
            ("0.5ns", "\"0.5ns\" is finer than a nanosecond"),
        ] {
            assert_eq!(duration(text).map_err(|m| m.message), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn shares_read_exactly_and_show_as_written() {
        for (text, parts) in [
            ("5%", 50_000_000),
            ("99.95%", 999_500_000),
            ("0.0000001%", 1),
            ("100%", 1_000_000_000),
        ] {
            let read = share(text).unwrap();
            assert_eq!(read.billionths(), parts, "{text}");
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "5", "-1%", "101%", "nan%", "%", "1e2%", "0.00000001%", "inf"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quantiles_are_shares_below() {
        assert_eq!(quantile("p99.9").map(Share::billionths), Ok(999_000_000));
        for text in ["99", "p101", "p", "q50", "p-1", "50%"] {
            assert!(quantile(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bare_numbers_get_their_readings() {
        assert_eq!(share_readings("1"), "write \"1%\" or \"100%\"");
        assert_eq!(share_readings("0.05"), "write \"0.05%\" or \"5%\"");
        assert_eq!(share_readings("5"), "write \"5%\"");
        assert_eq!(duration_readings("300"), "write \"300ms\" or \"300s\"");
    }

    proptest::proptest! {
        #[test]
        fn shown_durations_read_back(nanos in 0_u64..=31_622_400_000_000_000) {
            let time = Duration::from_nanos(nanos);
            proptest::prop_assert_eq!(duration(&show_duration(time)), Ok(time));
        }

        #[test]
        fn no_text_panics(text in ".*", numbers in "[0-9.]{0,60}[a-zµ%]{0,3}") {
            let _ = (duration(&text), share(&text), duration(&numbers), share(&numbers));
            let _ = (quantile(&text), quantile(&numbers));
            let _ = (share_readings(&text), share_readings(&numbers));
        }
    }
}
