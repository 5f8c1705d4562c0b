//! How much of a budget is gone, which may be more than there was.

use std::fmt;

use super::{Misread, Unscaled, scaled};

/// A share of a budget that is spent, exact to one part in a billion; no [`Share`](super::Share),
/// for a budget can be overspent: `"130%"` is 1,300,000,000 parts. At most a million per cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Spent(u64);

/// Ten thousand budgets.
const MOST: u64 = 10_000 * 1_000_000_000;

impl Spent {
    /// As a number: 1.3 is 30 % more than there was.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl fmt::Display for Spent {
    /// As a user would write it: `18%`, `130.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::percentage(f, self.0)
    }
}

/// Reads `"18%"`, `"130%"`: a percentage, exact to seven decimals. Errors: no unit, a sign, more
/// than `"1000000%"`.
pub fn spent(text: &str) -> Result<Spent, Misread> {
    let like = "it is a percentage, such as \"18%\", and \"130%\" when more than all of it is gone";
    if text.starts_with('-') {
        return Err(Misread::new(format!("\"{text}\" is negative"), like));
    }
    let wrong = || Misread::new(format!("\"{text}\" is not a percentage"), like);
    let Some(number) = text.strip_suffix('%') else {
        return Err(match text.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                Misread::new(format!("\"{text}\" has no unit"), spent_readings(text))
            }
            _ => wrong(),
        });
    };
    let too_much = || Misread::new(format!("\"{text}\" is too much"), "at most \"1000000%\"");
    match scaled(number.trim_end(), 10_000_000) {
        Ok(parts) => match u64::try_from(parts) {
            Ok(parts @ ..=MOST) => Ok(Spent(parts)),
            _ => Err(too_much()),
        },
        Err(Unscaled::NotANumber) => Err(wrong()),
        Err(Unscaled::TooLarge) => Err(too_much()),
        Err(Unscaled::TooFine) => Err(Misread::new(
            format!("\"{text}\" has too many digits"),
            "a percentage is exact to seven decimals",
        )),
    }
}

/// What a bare number may have meant: `0.18` → write "0.18%" or "18%"; `1.3` → "1.3%" or "130%".
pub fn spent_readings(number: &str) -> String {
    let literal = spent(&format!("{number}%")).ok();
    let whole = number.parse::<f64>().unwrap_or(f64::NAN);
    // Nobody writes ten times its budget, but many write a share as a fraction.
    let fraction = scaled(number, 1_000_000_000).ok().and_then(|parts| u64::try_from(parts).ok());
    let fraction = fraction.map(Spent).filter(|_| whole > 0.0 && whole < 10.0);
    match (literal, fraction) {
        (Some(literal), Some(fraction)) => format!("write \"{literal}\" or \"{fraction}\""),
        (Some(one), None) | (None, Some(one)) => format!("write \"{one}\""),
        (None, None) => "write a percentage such as \"18%\" or \"130%\"".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_can_be_overspent() {
        for (text, parts) in [
            ("0%", 0),
            ("18%", 180_000_000),
            ("100%", 1_000_000_000),
            ("130.5%", 1_305_000_000),
            ("1000000%", MOST),
        ] {
            let read = spent(text).unwrap();
            assert_eq!((read.0, read.to_string().as_str()), (parts, text));
        }
        for text in ["", "5", "-1%", "nan%", "inf%", "%", "1e2%", "0.00000001%", "1000001%"] {
            assert!(spent(text).is_err(), "{text}");
        }
        assert_eq!(spent_readings("0.18"), "write \"0.18%\" or \"18%\"");
        assert_eq!(spent_readings("1.3"), "write \"1.3%\" or \"130%\"");
        assert_eq!(spent_readings("130"), "write \"130%\"");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*", numbers in "[0-9.]{0,60}%?") {
            let _ = (spent(&text), spent(&numbers), spent_readings(&text), spent_readings(&numbers));
        }
    }
}
