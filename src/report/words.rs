//! Numbers and times as people read them: no more digits than the counts carry, and never a word
//! that is not true (a share below one does not read 100 %, nor one above nothing 0 %).

use std::collections::BTreeMap;

/// What is said for a number that is none.
const UNKNOWN: &str = "?";

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The share of good events, rounded down: 1,499 of 1,500 is `99.93%`. `None` without events.
pub fn good_share(good: u64, of: u64) -> Option<String> {
    share(good, of, 0)
}

/// A share that is neither good nor bad, rounded to the nearest: 7 of 150 is `4.7%`.
pub fn part_share(part: u64, of: u64) -> Option<String> {
    share(part, of, 1)
}

/// `half` of a half is added before cutting off: 0 rounds down, 1 to the nearest. As many decimals
/// as one event of `of` is worth, and not more than tell the smaller side's first two digits. In
/// whole numbers: `0.999 * 100` is not 99.9 in floating point.
fn share(part: u64, of: u64, half: u128) -> Option<String> {
    let (part, of) = (u128::from(part), u128::from(of));
    if of == 0 {
        return None;
    }
    if part >= of {
        return Some("100%".to_owned());
    }
    if part == 0 {
        return Some("0%".to_owned());
    }
    let worth = match of {
        0..=100 => 0,
        101..=1_000 => 1,
        1_001..=10_000 => 2,
        _ => 3,
    };
    let smaller = part.min(of - part) * 1_000;
    let told = match smaller / of {
        10.. => 1,
        1..10 => 2,
        _ => 3,
    };
    let decimals: u32 = worth.min(told);
    let scale = 10_u128.pow(decimals);
    let whole = 100 * scale;
    let steps = ((part * whole * 2 + half * of) / (of * 2)).min(whole - 1);
    let text = fixed(steps.max(1), scale, decimals);
    Some(if steps == 0 { format!("<{text}") } else { text })
}

/// `steps / scale` per cent.
fn fixed(steps: u128, scale: u128, decimals: u32) -> String {
    let (whole, part) = (steps / scale, steps % scale);
    match decimals {
        0 => format!("{whole}%"),
        _ => format!("{whole}.{part:0width$}%", width = decimals as usize),
    }
}

/// The objective as it was written: `0.999` is `99.9%`.
pub fn objective(ratio: f64) -> String {
    if !ratio.is_finite() {
        return UNKNOWN.to_owned();
    }
    let parts = (ratio.clamp(0.0, 1.0) * 1e9).round() as u32;
    crate::units::Share::from_billionths(parts).unwrap_or_default().to_string()
}

/// A share of a budget: two decimals below 1 %, one above, none from 100 % on; `<0.01%` is the
/// least that is told.
pub fn budget_share(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent.is_nan() {
        return UNKNOWN.to_owned();
    }
    match percent {
        ..=0.0 => "0%".to_owned(),
        ..0.01 => "<0.01%".to_owned(),
        ..0.995 => format!("{percent:.2}%"),
        ..99.95 => format!("{percent:.1}%"),
        ..100.0 => "99.9%".to_owned(),
        // 1.15 as a float is a little less; and it saturates.
        _ => format!("{}%", thousands((percent * (1.0 + 1e-12)) as u64)),
    }
}

/// What is left of a budget, rounded down: what 0.02 % were spent of is `99.98%`, not `99.9%`.
pub fn budget_left(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        // So little is gone that a share without decimals of its own would say ten times as much.
        99.9..100.0 => format!("{:.2}%", (percent * 100.0).floor() / 100.0),
        _ => budget_share(ratio),
    }
}

/// A share of a budget and the parts it is made of, rounded so that the parts still add up to it
/// (largest remainders first): 0.314 % = 0.289 % + 0.025 % reads 0.31, 0.29, 0.02.
pub fn budget_parts<const N: usize>(total: f64, parts: [f64; N]) -> (String, [String; N]) {
    let decimals = match total * 100.0 {
        ..0.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let scale = 10_f64.powi(decimals);
    let steps = |ratio: f64| ratio * 100.0 * scale;
    let sum: f64 = parts.iter().map(|part| steps(*part).max(0.0)).sum();
    // Beyond this, whole steps are not exact; nor do they matter.
    if !sum.is_finite() || sum > 1e15 {
        return (budget_share(total), parts.map(budget_share));
    }
    let mut whole = parts.map(|part| steps(part).max(0.0).floor() as u64);
    let mut left = (sum.round() as u64).saturating_sub(whole.iter().sum());
    while left > 0 {
        let rest = |at: usize| steps(parts[at]).max(0.0) - whole[at] as f64;
        let Some(most) = (0..N).max_by(|a, b| rest(*a).total_cmp(&rest(*b))) else { break };
        whole[most] += 1;
        left -= 1;
    }
    let text = |steps: u64| fixed(u128::from(steps), scale as u128, decimals as u32);
    let mut shown = whole.map(text);
    for (shown, (whole, part)) in shown.iter_mut().zip(whole.iter().zip(parts)) {
        if *whole == 0 {
            *shown = if part > 0.0 { format!("<{}", text(1)) } else { "0%".to_owned() };
        }
    }
    (budget_share(total), shown)
}

/// A burn rate: `69x`, `2.5x`, `<0.1x`.
pub fn burn(rate: f64) -> String {
    if rate.is_nan() {
        return UNKNOWN.to_owned();
    }
    match rate {
        ..=0.0 => "0x".to_owned(),
        ..0.1 => "<0.1x".to_owned(),
        ..9.95 => format!("{rate:.1}x"),
        // Saturates.
        _ => format!("{}x", thousands(rate.round() as u64)),
    }
}

/// Requests per second: `50`, `0.4`.
pub fn rate(per_second: f64) -> String {
    if per_second.is_nan() {
        return UNKNOWN.to_owned();
    }
    match per_second {
        ..=0.0 => "0".to_owned(),
        ..0.1 => "<0.1".to_owned(),
        ..9.95 => format!("{per_second:.1}"),
        _ => thousands(per_second.round() as u64),
    }
}

/// A running clock: `0:41`, `12:05`, `1:02:33`, from two days on `5d3h`. Rounded down.
pub fn clock(seconds: f64) -> String {
    if seconds.is_nan() {
        return UNKNOWN.to_owned();
    }
    let seconds = seconds.max(0.0) as u64;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{rest:02}"),
        1..48 => format!("{hours}:{minutes:02}:{rest:02}"),
        _ => format!("{}d{}h", hours / 24, hours % 24),
    }
}

/// How long something took: `32.0 s`, from ten minutes on as a clock.
pub fn took(seconds: f64) -> String {
    match seconds {
        0.0..600.0 => format!("{seconds:.1} s"),
        _ => clock(seconds),
    }
}

/// A time that is an estimate, rounded down to whole minutes: `2h10m`, `11d4h`.
pub fn estimate(seconds: f64) -> String {
    if seconds.is_nan() {
        return UNKNOWN.to_owned();
    }
    let minutes = (seconds.max(0.0) / 60.0) as u64;
    let (days, hours) = (minutes / 1440, minutes / 60 % 24);
    match (days, hours) {
        (0, 0) if minutes == 0 => "less than a minute".to_owned(),
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h{}m", minutes % 60),
        (1..=366, _) => format!("{days}d{hours}h"),
        _ => "more than a year".to_owned(),
    }
}

/// How long ago: `12s ago`, `3m ago`, `5h ago`.
pub fn ago(seconds: f64) -> String {
    if seconds.is_nan() {
        return UNKNOWN.to_owned();
    }
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..120 => format!("{seconds}s ago"),
        120..7_200 => format!("{}m ago", seconds / 60),
        7_200..172_800 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// A budget's window as an adjective: `28-day`, `1h30m`.
pub fn window(seconds: u64) -> String {
    match (seconds / 86_400, seconds % 86_400) {
        (days @ 1.., 0) => format!("{days}-day"),
        _ => crate::units::show_duration(std::time::Duration::from_secs(seconds)),
    }
}

/// `1 request`, `2 requests`.
pub fn count(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {what}{s}", thousands(number))
}

/// "max_held 3, never 1", without those that never were.
pub fn named(counts: &BTreeMap<String, u64>) -> String {
    let told = counts.iter().filter(|(_, count)| **count > 0);
    let told: Vec<String> =
        told.map(|(reason, count)| format!("{} {}", clean(reason), thousands(*count))).collect();
    told.join(", ")
}

/// Text that somebody else wrote, safe on a terminal and on one line: line breaks and tabs become
/// spaces; every other control character goes, and so do the invisible ones that reorder text or
/// change the width of their neighbours.
pub fn clean(text: &str) -> String {
    let kept = text.chars().filter_map(|c| match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0000}'..='\u{e0fff}' => None,
        c if c.is_control() => None,
        c => Some(c),
    });
    kept.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_carry_the_digits_of_their_counts() {
        let good = |good, of| good_share(good, of).unwrap_or_default();
        assert_eq!(good_share(0, 0), None);
        assert_eq!(good(3, 3), "100%");
        assert_eq!(good(9, 10), "90%");
        assert_eq!(good(497, 498), "99.7%");
        assert_eq!(good(1_499, 1_500), "99.93%");
        assert_eq!(good(999, 1_000), "99.9%");
        assert_eq!(good(9_999, 10_000), "99.99%");
        assert_eq!(good(999_999_999, 1_000_000_000), "99.999%");
        assert_eq!(good(u64::MAX - 1, u64::MAX), "99.999%");
        assert_eq!(good(1, 300), "0.3%");
        assert_eq!(good(1, 1_000_000), "<0.001%");
        assert_eq!(good(6_595, 6_912), "95.4%");
        assert_eq!(good(3_888_000, 4_320_000), "90.0%");
        assert_eq!(good(0, 7), "0%");
        assert_eq!(part_share(70, 1_500).unwrap(), "4.7%");
        assert_eq!(part_share(999_999, 1_000_000).unwrap(), "99.999%");
    }

    #[test]
    fn budgets_and_burn_rates() {
        assert_eq!(budget_share(0.0), "0%");
        assert_eq!(budget_share(0.000_03), "<0.01%");
        assert_eq!(budget_share(0.0031), "0.31%");
        assert_eq!(budget_share(0.024_802), "2.5%");
        assert_eq!(budget_share(0.9996), "99.9%");
        assert_eq!(budget_share(1.32), "132%");
        assert_eq!(budget_share(f64::NAN), "?");
        assert_eq!(budget_left(0.999_8), "99.98%");
        assert_eq!(budget_left(0.999_999), "99.99%");
        assert_eq!(budget_left(0.992), "99.2%");
        assert_eq!(budget_left(0.975_198), "97.5%");
        assert_eq!(budget_left(1.0), "100%");
        assert_eq!(budget_left(-0.2), "0%");
        assert_eq!(budget_left(f64::NAN), "?");
        assert_eq!(burn(69.4), "69x");
        assert_eq!(burn(2.5), "2.5x");
        assert_eq!(burn(0.37), "0.4x");
        assert_eq!(burn(0.01), "<0.1x");
        assert_eq!(burn(1e9), "1,000,000,000x");
        assert_eq!(objective(0.999), "99.9%");
        assert_eq!(objective(0.9999), "99.99%");
        assert_eq!(rate(0.4), "0.4");
        assert_eq!(rate(1_500.2), "1,500");
    }

    #[test]
    fn parts_add_up() {
        let (total, parts) = budget_parts(0.00314, [0.00289, 0.0, 0.00025]);
        assert_eq!((total.as_str(), parts), ("0.31%", ["0.29%", "0%", "0.02%"].map(str::to_owned)));
        let (total, parts) = budget_parts(0.0301, [0.03, 0.000_04, 0.000_06]);
        assert_eq!(total, "3.0%");
        assert_eq!(parts, ["3.0%", "<0.1%", "<0.1%"].map(str::to_owned));
        let (_, parts) = budget_parts(f64::INFINITY, [f64::NAN, f64::INFINITY, 1.0]);
        assert_eq!(parts[0], "?");
    }

    #[test]
    fn times() {
        assert_eq!(clock(41.9), "0:41");
        assert_eq!(clock(725.0), "12:05");
        assert_eq!(clock(3_753.0), "1:02:33");
        assert_eq!(clock(442_800.0), "5d3h");
        assert_eq!(took(31.96), "32.0 s");
        assert_eq!(took(3_753.0), "1:02:33");
        assert_eq!(took(f64::NAN), "?");
        assert_eq!(estimate(6_600.0), "1h50m");
        assert_eq!(estimate(7_859.9), "2h10m");
        assert_eq!(estimate(967_680.0), "11d4h");
        assert_eq!(estimate(59.0), "less than a minute");
        assert_eq!(estimate(f64::INFINITY), "more than a year");
        assert_eq!(ago(12.0), "12s ago");
        assert_eq!(window(28 * 86_400), "28-day");
        assert_eq!(window(5_400), "1h30m");
        assert_eq!(count(1, "request"), "1 request");
    }

    #[test]
    fn what_would_steer_a_terminal_goes() {
        assert_eq!(clean("a\x1b[2Jb\u{9b}c\u{7f}\r\nd\te"), "a[2Jbc  d e");
        assert_eq!(clean("\u{202e}evil\u{2066}\u{200d}"), "evil");
        assert_eq!(clean("Ünïcode ✓ 日本"), "Ünïcode ✓ 日本");
    }
}
