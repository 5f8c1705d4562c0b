//! The alert conditions production runs: multiwindow, multi-burn-rate, in the dialects of the tools
//! that write them. There is no one rule set, so every time an alert is told of, so is its dialect.

use std::borrow::Cow;
use std::time::Duration;

use crate::units::Share;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// Whose alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Sloth's rules for a 28-day window: four tiers at 13.44, 5.6, 2.8 and 0.93 times.
    Sloth28,
    /// Sloth's rules for a 30-day window: 14.4, 6, 3 and 1 times.
    Sloth30,
    /// The SRE Workbook's table, chapter 5: 30 days, 14.4, 6 and 1 times, three tiers.
    Workbook30,
    /// Pyrra's: 14, 7, 2 and 1 times, windows in proportion to the objective's, with `for`.
    Pyrra,
    /// The scenario's own tiers.
    Custom,
}

impl Dialect {
    /// As the scenario spells them, in this order.
    pub const NAMES: [&str; 5] = ["sloth-28d", "sloth-30d", "workbook-30d", "pyrra", "custom"];
    const ALL: [Self; 5] =
        [Self::Sloth28, Self::Sloth30, Self::Workbook30, Self::Pyrra, Self::Custom];

    pub fn named(name: &str) -> Option<Self> {
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self::ALL[at])
    }

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Its tiers for an objective over `window`, the quickest first; none of [`Dialect::Custom`],
    /// nor those whose windows come to less than a minute (Pyrra rounds to whole minutes, and
    /// writes rules that cannot be loaded).
    pub fn tiers(self, window: Duration) -> Vec<Tier> {
        match self {
            Self::Sloth28 => by_share(28 * DAY, true),
            Self::Sloth30 => by_share(30 * DAY, true),
            Self::Workbook30 => by_share(30 * DAY, false),
            Self::Pyrra => pyrra(window.as_secs()),
            Self::Custom => Vec::new(),
        }
    }
}

/// What an alert of a tier is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody is woken.
    Page,
    /// Somebody looks at it on the next working day.
    Ticket,
}

impl Severity {
    pub fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// How many times faster than allowed: an exact fraction, 336/25 for 13.44.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Factor {
    num: u64,
    den: u64,
}

impl Factor {
    /// In lowest terms; `None` of nothing or by nothing.
    pub fn new(num: u64, den: u64) -> Option<Self> {
        if num == 0 || den == 0 {
            return None;
        }
        let (mut a, mut b) = (num, den);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        Some(Self { num: num / a, den: den / a })
    }

    /// The factor at which `share` of the budget of `window` is gone within `long`: p · W / L.
    pub fn spending(share: Share, window: Duration, long: Duration) -> Option<Self> {
        let num = u64::from(share.billionths()).checked_mul(window.as_secs())?;
        Self::new(num, long.as_secs().checked_mul(1_000_000_000)?)
    }

    pub fn as_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    /// Numerator and denominator, in lowest terms.
    pub fn parts(self) -> (u64, u64) {
        (self.num, self.den)
    }
}

/// One condition: over `long` and over `short` the share of bad events is above `factor · e`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// `page-quick`, `page-slow`, `ticket-quick`, `ticket-slow`, or the scenario's own.
    pub name: Cow<'static, str>,
    pub severity: Severity,
    /// In seconds; more than none.
    pub long: u64,
    pub short: u64,
    pub factor: Factor,
    /// For how many seconds the condition has to hold before the alert fires (`for`).
    pub hold: u64,
}

impl Tier {
    /// The share of bad events above which the condition holds: f · e. Above 1 it never does.
    pub fn threshold(&self, objective: Share) -> f64 {
        self.factor.as_f64() * objective.rest().as_f64()
    }

    /// Whether this tier can fire at all at this objective: f · e < 1.
    pub fn can_fire(&self, objective: Share) -> bool {
        let allowed = u128::from(self.factor.num) * u128::from(objective.rest().billionths());
        allowed < u128::from(self.factor.den) * 1_000_000_000
    }

    /// Seconds from a rise to the condition, at constant traffic, when `before` of the events were
    /// bad and now `share` are: (f · e − ε₀) · L / (ε − ε₀). 483.84 s at 99.9 %, 13.44 times, 1 h
    /// and 10 % after a clean past. `None`: never; 0: it held before.
    pub fn fires_after(&self, objective: Share, before: f64, share: f64) -> Option<f64> {
        let threshold = self.threshold(objective);
        if before > threshold {
            return Some(0.0);
        }
        let rise = (threshold - before) * self.long as f64 / (share - before);
        (share > threshold).then_some(rise)
    }
}

const NAMES: [(&str, Severity); 4] = [
    ("page-quick", Severity::Page),
    ("page-slow", Severity::Page),
    ("ticket-quick", Severity::Ticket),
    ("ticket-slow", Severity::Ticket),
];

/// 2 % of the budget in an hour, 5 % in six, 10 % in a day (which the Workbook has not) and in
/// three days; short windows are a twelfth.
fn by_share(window: u64, four: bool) -> Vec<Tier> {
    let rows = [(2, HOUR), (5, 6 * HOUR), (10, DAY), (10, 3 * DAY)];
    let tiers = NAMES.iter().zip(rows).filter(|((name, _), _)| four || *name != "ticket-quick");
    let tiers = tiers.filter_map(|((name, severity), (percent, long))| {
        Some(Tier {
            name: Cow::Borrowed(name),
            severity: *severity,
            long,
            short: long / 12,
            factor: Factor::new(percent * window, 100 * long)?,
            hold: 0,
        })
    });
    tiers.collect()
}

/// Parts of the objective's window: long, short, `for`; and the factor. At 28 days they are 1 h,
/// 5 m, 2 m · 6 h, 30 m, 15 m · 1 d, 2 h, 1 h · 4 d, 6 h, 3 h.
fn pyrra(window: u64) -> Vec<Tier> {
    let rows = [
        (14, [672, 8_064, 20_160]),
        (7, [112, 1_344, 2_688]),
        (2, [28, 336, 672]),
        (1, [7, 112, 224]),
    ];
    // To whole minutes, halves up.
    let part = |of: u64| (window * 2 / of + MINUTE) / (2 * MINUTE) * MINUTE;
    let tiers = NAMES.iter().zip(rows).filter_map(|((name, severity), (factor, parts))| {
        let [long, short, hold] = parts.map(part);
        let factor = Factor::new(factor, 1)?;
        let tier =
            Tier { name: Cow::Borrowed(name), severity: *severity, long, short, factor, hold };
        (short > 0).then_some(tier)
    });
    tiers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::close;

    fn factors(dialect: Dialect) -> Vec<f64> {
        let tiers = dialect.tiers(Duration::from_secs(28 * DAY));
        tiers.iter().map(|tier| tier.factor.as_f64()).collect()
    }

    /// Slo-maths 2.2.
    #[test]
    fn tables() {
        let rows = [
            (Dialect::Sloth28, &[13.44, 5.6, 2.8, 0.933_333][..]),
            (Dialect::Sloth30, &[14.4, 6.0, 3.0, 1.0]),
            (Dialect::Workbook30, &[14.4, 6.0, 1.0]),
            (Dialect::Pyrra, &[14.0, 7.0, 2.0, 1.0]),
        ];
        for (dialect, want) in rows {
            let found = factors(dialect);
            assert_eq!(found.len(), want.len());
            found.iter().zip(want).for_each(|(found, want)| close(*found, *want));
            assert_eq!(Dialect::named(dialect.name()), Some(dialect));
        }
        let week = by_share(7 * DAY, true);
        let found = week.iter().map(|tier| tier.factor.as_f64());
        found.zip([3.36, 1.4, 0.7, 0.233_333]).for_each(|(found, want)| close(found, want));
        // The lowest objective that can fire, 1 − 1/f; events that one bad cannot trip, 1/(f·e).
        let objective = |billionths| Share::from_billionths(billionths).unwrap();
        let rows = [
            (0.925_595, 74.404_762, 14.880_952),
            (0.821_429, 178.571_429, 35.714_286),
            (0.642_857, 357.142_857, 71.428_571),
        ];
        let sloth = Dialect::Sloth28.tiers(Duration::ZERO);
        for (tier, (lowest, at_999, at_995)) in sloth.iter().zip(rows) {
            close(1.0 - 1.0 / tier.factor.as_f64(), lowest);
            close(1.0 / tier.threshold(objective(999_000_000)), at_999);
            close(1.0 / tier.threshold(objective(995_000_000)), at_995);
            let billionths = (lowest * 1e9) as u32;
            assert!(!tier.can_fire(objective(billionths - 1_000)));
            assert!(tier.can_fire(objective(billionths + 1_000)));
        }
        assert!(sloth[3].can_fire(objective(1)));
    }

    #[test]
    fn pyrras_windows() {
        let minutes = |window| -> Vec<(u64, u64)> {
            Dialect::Pyrra
                .tiers(Duration::from_secs(window))
                .iter()
                .map(|tier| (tier.long / MINUTE, tier.short / MINUTE))
                .collect()
        };
        assert_eq!(minutes(30 * DAY), [(64, 5), (386, 32), (1_543, 129), (6_171, 386)]);
        assert_eq!(minutes(28 * DAY), [(60, 5), (360, 30), (1_440, 120), (5_760, 360)]);
        let holds: Vec<u64> = Dialect::Pyrra
            .tiers(Duration::from_secs(28 * DAY))
            .iter()
            .map(|tier| tier.hold / MINUTE)
            .collect();
        assert_eq!(holds, [2, 15, 60, 180]);
        // Its own answer is windows of no length.
        assert_eq!(minutes(12 * HOUR).len(), 3);
        assert_eq!(minutes(HOUR).len(), 1);
        assert_eq!(minutes(MINUTE).len(), 0);
    }

    /// The second table of 2.3: from the start of the errors to the condition.
    #[test]
    fn detection() {
        let objective = Share::from_billionths(999_000_000).unwrap();
        let quick = &Dialect::Sloth28.tiers(Duration::ZERO)[0];
        for (share, after) in [
            (0.02, 2_419.2),
            (0.05, 967.68),
            (0.1, 483.84),
            (0.2, 241.92),
            (0.5, 96.768),
            (1.0, 48.384),
        ] {
            close(quick.fires_after(objective, 0.0, share).unwrap(), after);
        }
        let quick = &Dialect::Sloth30.tiers(Duration::ZERO)[0];
        close(quick.fires_after(objective, 0.0, 1.0).unwrap(), 51.84);
        close(quick.fires_after(objective, 0.0, 0.2).unwrap(), 259.2);
        assert_eq!(quick.fires_after(objective, 0.0, 0.0144), None);
        let slow = &Dialect::Sloth30.tiers(Duration::ZERO)[1];
        close(slow.fires_after(objective, 0.0, 0.2).unwrap(), 648.0);
        let pyrra = &Dialect::Pyrra.tiers(Duration::from_secs(28 * DAY))[0];
        close(pyrra.fires_after(objective, 0.0, 0.2).unwrap() + pyrra.hold as f64, 372.0);
        // Errors before it bring it forward, and fire it if they are enough.
        let quick = &Dialect::Sloth28.tiers(Duration::ZERO)[0];
        close(quick.fires_after(objective, 0.0005, 0.2).unwrap(), 233.503_759);
        assert_eq!(quick.fires_after(objective, 0.02, 0.2), Some(0.0));
    }

    /// V11 and V18: what a drill in compressed time needs, and the threshold as a count of events.
    #[test]
    fn traffic_that_a_tier_needs() {
        let t999 = Share::from_billionths(999_000_000).unwrap();
        let tiers = Dialect::Sloth28.tiers(Duration::ZERO);
        // 28 days in 45 minutes.
        let rows = [
            (4.017_857, 0.334_821, 222.222_222),
            (24.107_143, 2.008_929, 88.888_889),
            (96.428_571, 8.035_714, 44.444_444),
            (289.285_714, 24.107_143, 44.444_444),
        ];
        for (tier, (long, short, rate)) in tiers.iter().zip(rows) {
            let within = [tier.long, tier.short].map(|window| window as f64 / 896.0);
            close(within[0], long);
            close(within[1], short);
            close(1.0 / tier.threshold(t999) / within[1], rate);
        }
        // 200 a second: as many bad events are p · e of the whole window's, however few come.
        let bad = tiers[0].threshold(t999) * tiers[0].long as f64 * 200.0;
        close(bad, 9_676.8);
        for (events, share) in [(36_000.0, 0.2688), (720_000.0, 0.013_44), (1_440_000.0, 0.006_72)]
        {
            close(bad / events, share);
        }
    }

    #[test]
    fn factors_are_exact() {
        assert_eq!(Dialect::Sloth28.tiers(Duration::ZERO)[0].factor.parts(), (336, 25));
        assert_eq!(Factor::new(0, 1), None);
        assert_eq!(Factor::new(1, 0), None);
        let two_percent = Share::from_billionths(20_000_000).unwrap();
        let spending = |window, long| {
            Factor::spending(two_percent, Duration::from_secs(window), Duration::from_secs(long))
        };
        assert_eq!(spending(28 * DAY, HOUR), Factor::new(336, 25));
        assert_eq!(spending(28 * DAY, 0), None);
    }
}
