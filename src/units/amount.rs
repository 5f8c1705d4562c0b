//! How much, and how much in a time: rates, sizes, bandwidths.

use std::fmt;
use std::time::Duration;

use super::{Misread, Unscaled, scaled};

/// So many events a second, minute, hour or day: `"200/s"`, `"1.2M/d"`. More than none, exact to a
/// millionth of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    millionths: u64,
    per: RatePer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RatePer {
    Second,
    Minute,
    Hour,
    Day,
}

impl RatePer {
    const ALL: [(&'static str, Self); 4] =
        [("s", Self::Second), ("m", Self::Minute), ("h", Self::Hour), ("d", Self::Day)];

    const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

impl Rate {
    /// Events a second.
    pub fn per_second(self) -> f64 {
        self.millionths as f64 / 1e6 / self.per.seconds() as f64
    }
    /// From one event to the next when they come evenly: 5 ms at `"200/s"`. Rounded up to whole
    /// nanoseconds, so that who keeps to it never exceeds the rate.
    pub fn interval(self) -> Duration {
        let nanos = u128::from(self.per.seconds()) * 1_000_000_000 * 1_000_000;
        let nanos = nanos.div_ceil(u128::from(self.millionths));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Rate {
    /// Reads back as the same rate: `200/s`, `1200000/d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.millionths / 1_000_000, self.millionths % 1_000_000);
        write!(f, "{whole}")?;
        if part > 0 {
            write!(f, ".{}", format!("{part:06}").trim_end_matches('0'))?;
        }
        let name =
            RatePer::ALL.iter().find(|(_, per)| *per == self.per).map_or("s", |(name, _)| name);
        write!(f, "/{name}")
    }
}

/// A size: `"10KiB"`, `"1.5MB"`. Whole bytes, at most 1 PiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    /// In the largest unit that shows it whole: `64KiB`, `1500B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = largest_whole(SIZES, self.0);
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// Bits a second: `"1MB/s"` is 8,000,000, `"56kbit/s"` 56,000. At least one byte a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// Bits a second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
    /// How long so many bytes take; rounded up to whole nanoseconds.
    pub fn time_for(self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 8_000_000_000).div_ceil(u128::from(self.0));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(8) {
            return write!(f, "{}/s", Bytes(self.0 / 8));
        }
        let (name, unit) = largest_whole(BITS, self.0);
        write!(f, "{}{name}/s", self.0 / unit)
    }
}

fn largest_whole(units: &[(&'static str, u64)], value: u64) -> (&'static str, u64) {
    let whole = units.iter().rev().find(|(_, unit)| value >= *unit && value.is_multiple_of(*unit));
    whole.copied().unwrap_or(units[0])
}

/// Reads `"200/s"`, `"90/m"`, `"1.2M/d"`: a number, perhaps `k` or `M`, and s, m, h or d.
/// Errors: no unit, nothing at all, more than 10¹² at once, finer than a millionth.
pub fn rate(text: &str) -> Result<Rate, Misread> {
    let like = "a rate is a number per s, m, h or d, such as \"200/s\" or \"1.2M/d\"";
    let unreadable = || Misread::new(format!("\"{text}\" is not a rate"), like);
    let Some((count, per)) = text.split_once('/') else {
        return Err(match scaled(text, 1) {
            Err(Unscaled::NotANumber) => unreadable(),
            _ => Misread::new(format!("\"{text}\" has no unit"), rate_readings(text)),
        });
    };
    let Some((_, per)) = RatePer::ALL.iter().find(|(name, _)| *name == per) else {
        let message = format!("\"{per}\" is not a unit of time for a rate");
        return Err(Misread::new(message, "write /s, /m, /h or /d"));
    };
    let (number, unit) = match count.as_bytes().last() {
        Some(b'k' | b'K') => (&count[..count.len() - 1], 1_000),
        Some(b'M') => (&count[..count.len() - 1], 1_000_000),
        _ => (count, 1),
    };
    match scaled(number, unit * 1_000_000) {
        Ok(0) => Err(Misread::new(format!("\"{text}\" is no rate"), "it has to be more than 0")),
        Ok(millionths) if millionths <= 1_000_000_000_000_000_000 => {
            Ok(Rate { millionths: millionths as u64, per: *per })
        }
        Ok(_) | Err(Unscaled::TooLarge) => {
            Err(Misread::new(format!("\"{text}\" is too much"), "the highest rate is 1000000M/s"))
        }
        Err(Unscaled::NotANumber) => Err(unreadable()),
        Err(Unscaled::TooFine) => {
            Err(Misread::new(format!("\"{text}\" has too many digits"), "use fewer"))
        }
    }
}

/// Units of size; `kB` is read as well.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

const BITS: &[(&str, u64)] =
    &[("bit", 1), ("kbit", 1_000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000)];

/// 1 PiB, far beyond any body and far from overflow.
const LARGEST: u128 = 1 << 50;

/// Reads `"10KiB"`, `"1.5MB"`, `"512B"`. Errors: no unit, no whole number of bytes, above 1 PiB.
pub fn bytes(text: &str) -> Result<Bytes, Misread> {
    let like = "a size is a number and B, KB, KiB, MB, MiB, GB or GiB, such as \"64KiB\"";
    let (number, unit) = split_unit(text, "a size", like, bytes_readings)?;
    let known = SIZES.iter().find(|(name, _)| *name == unit || (unit == "kB" && *name == "KB"));
    let Some((_, scale)) = known else {
        return Err(Misread::new(format!("\"{unit}\" is not a unit of size"), like));
    };
    Ok(Bytes(measure(text, number, *scale, ("a size", "1024TiB"), like)?))
}

/// Reads `"1MB/s"`, `"64KiB/s"`, `"56kbit/s"`. Errors: as [`bytes()`]; less than a byte a second.
pub fn bandwidth(text: &str) -> Result<Bandwidth, Misread> {
    let like = "a bandwidth is a size per second, such as \"64KiB/s\", \"1MB/s\" or \"56kbit/s\"";
    let (number, unit) = split_unit(text, "a bandwidth", like, bandwidth_readings)?;
    let known = unit.strip_suffix("/s").and_then(|unit| {
        let sizes = SIZES.iter().map(|(name, scale)| (*name, 8 * scale));
        let mut units = sizes.chain(BITS.iter().copied()).chain([("kB", 8_000)]);
        units.find(|(name, _)| *name == unit)
    });
    let Some((_, scale)) = known else {
        return Err(Misread::new(format!("\"{unit}\" is not a unit of bandwidth"), like));
    };
    let bits = measure(text, number, scale, ("a bandwidth", "128TiB/s"), like)?;
    if bits < 8 {
        let message = format!("\"{text}\" is less than a byte a second");
        return Err(Misread::new(message, "to stop a body altogether, `abort` it with a hang"));
    }
    Ok(Bandwidth(bits))
}

fn split_unit<'t>(
    text: &'t str,
    what: &str,
    like: &str,
    readings: fn(&str) -> String,
) -> Result<(&'t str, &'t str), Misread> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    match text.split_at(digits) {
        ("", _) => Err(Misread::new(format!("\"{text}\" is not {what}"), like)),
        (number, "") => Err(Misread::new(format!("\"{text}\" has no unit"), readings(number))),
        both => Ok(both),
    }
}

/// `what` it is, and the most there may be of it.
fn measure(
    text: &str,
    number: &str,
    unit: u64,
    (what, most): (&str, &str),
    like: &str,
) -> Result<u64, Misread> {
    match scaled(number, u128::from(unit)) {
        Ok(value) if value <= LARGEST => Ok(value as u64),
        Ok(_) | Err(Unscaled::TooLarge) => {
            Err(Misread::new(format!("\"{text}\" is too much"), format!("the most is {most}")))
        }
        Err(Unscaled::NotANumber) => Err(Misread::new(format!("\"{text}\" is not {what}"), like)),
        Err(Unscaled::TooFine) => {
            Err(Misread::new(format!("\"{text}\" is no whole number"), "use a smaller unit"))
        }
    }
}

/// What a bare number may have meant as a rate.
pub fn rate_readings(number: &str) -> String {
    format!("write \"{number}/s\" or \"{number}/m\"")
}

/// What a bare number may have meant as a size.
pub fn bytes_readings(number: &str) -> String {
    format!("write \"{number}B\" or \"{number}KiB\"")
}

/// What a bare number may have meant as a bandwidth.
pub fn bandwidth_readings(number: &str) -> String {
    format!("write \"{number}KB/s\" or \"{number}kbit/s\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read<'a> = &'a dyn Fn(&'static str) -> Result<(), String>;

    #[test]
    fn rates_sizes_and_bandwidths_read_exactly() {
        for (text, per_second, shown) in [
            ("200/s", 200.0, "200/s"),
            ("1.2M/d", 1.2e6 / 86_400.0, "1200000/d"),
            ("90/m", 1.5, "90/m"),
            ("0.5k/h", 500.0 / 3600.0, "500/h"),
            ("0.000001/d", 1e-6 / 86_400.0, "0.000001/d"),
        ] {
            let read = rate(text).unwrap();
            assert!((read.per_second() / per_second - 1.0).abs() < 1e-12, "{text}");
            assert_eq!(read.to_string(), shown);
        }
        assert_eq!(rate("200/s").unwrap().interval(), Duration::from_millis(5));
        assert_eq!(rate("1.2M/d").unwrap().interval(), Duration::from_millis(72));
        assert_eq!(rate("3/s").unwrap().interval(), Duration::from_nanos(333_333_334));
        for (text, bytes_read) in
            [("10KiB", 10_240), ("1.5MB", 1_500_000), ("512B", 512), ("2kB", 2000), ("0B", 0)]
        {
            assert_eq!(bytes(text), Ok(Bytes(bytes_read)), "{text}");
        }
        for (text, bits) in [
            ("1MB/s", 8_000_000),
            ("64KiB/s", 524_288),
            ("56kbit/s", 56_000),
            ("1.5Mbit/s", 1_500_000),
            ("1B/s", 8),
        ] {
            assert_eq!(bandwidth(text), Ok(Bandwidth(bits)), "{text}");
        }
        assert_eq!(bandwidth("56kbit/s").unwrap().time_for(7_000), Duration::from_secs(1));
    }

    #[test]
    fn rates_sizes_and_bandwidths_that_are_none_say_why() {
        let rate = |text| rate(text).map(|_| ()).map_err(|why| why.message);
        let bytes = |text| bytes(text).map(|_| ()).map_err(|why| why.message);
        let bandwidth = |text| bandwidth(text).map(|_| ()).map_err(|why| why.message);
        let cases: [(Read<'_>, &'static str, &str); 15] = [
            (&rate, "200", "\"200\" has no unit"),
            (&rate, "200/w", "\"w\" is not a unit of time for a rate"),
            (&rate, "/s", "\"/s\" is not a rate"),
            (&rate, "0/s", "\"0/s\" is no rate"),
            (&rate, "-1/s", "\"-1/s\" is not a rate"),
            (&rate, "2000000M/s", "\"2000000M/s\" is too much"),
            (&rate, "0.0000001/s", "\"0.0000001/s\" has too many digits"),
            (&bytes, "10", "\"10\" has no unit"),
            (&bytes, "10Kb", "\"Kb\" is not a unit of size"),
            (&bytes, "0.5B", "\"0.5B\" is no whole number"),
            (&bytes, "2000TiB", "\"2000TiB\" is too much"),
            (&bytes, "", "\"\" is not a size"),
            (&bandwidth, "1MB", "\"MB\" is not a unit of bandwidth"),
            (&bandwidth, "7bit/s", "\"7bit/s\" is less than a byte a second"),
            (&bandwidth, "5", "\"5\" has no unit"),
        ];
        for (read, text, message) in cases {
            assert_eq!(read(text), Err(message.to_owned()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn shown_quantities_read_back(millionths in 1_u64..=1_000_000_000_000_000_000, per in 0_usize..4, size in 0_u64..=1 << 50) {
            let of = Rate { millionths, per: RatePer::ALL[per].1 };
            proptest::prop_assert_eq!(rate(&of.to_string()), Ok(of));
            proptest::prop_assert!(of.interval().as_secs_f64() * of.per_second() >= 1.0 - 1e-9);
            proptest::prop_assert_eq!(bytes(&Bytes(size).to_string()), Ok(Bytes(size)));
            let of = Bandwidth(size.max(8));
            proptest::prop_assert_eq!(bandwidth(&of.to_string()), Ok(of));
        }

        #[test]
        fn no_text_panics(text in ".*", numbers in "[0-9.]{0,60}[kKMGiBbt/smhd]{0,6}") {
            for text in [&text, &numbers] {
                let _ = (rate(text), bytes(text), bandwidth(text));
            }
        }
    }
}
