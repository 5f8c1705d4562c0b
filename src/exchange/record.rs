//! A drill's events over time, as plain data: what is kept of it for tools that replay it. A journal
//! can carry it as it is.

use serde::{Deserialize, Serialize};

/// The version of the format: another one is not read.
pub const FORMAT: u32 = 1;

/// One drill.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`].
    pub backburn_record: u32,
    pub drill: String,
    /// RFC 3339: the beginning of counting, which all seconds are counted from.
    pub began: String,
    /// How long was counted.
    pub seconds: u64,
    pub slos: Vec<Series>,
}

/// One SLO over time, and the alerts it is held against.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    /// What its events are: `requests`, `operations` or `slices`; older records do not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// In billionths, so that it is exact.
    pub objective_billionths: u32,
    pub window_seconds: u64,
    pub dialect: String,
    pub min_bad: u64,
    pub evaluation_interval_seconds: u64,
    /// Events a second assumed before the drill.
    pub pad_events_per_second: f64,
    /// The share of those that is bad, in billionths; 0 in older records.
    #[serde(default)]
    pub pad_bad_billionths: u32,
    /// Whose doing the bad events were, over the whole drill: injected, masked, organic. They add up
    /// to the last sum's. Older records do not say, nor do seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_by_cause: Option<ByCause>,
    pub tiers: Vec<RecordedTier>,
    /// Sums at moments: seconds since the beginning, events, bad events. Whole seconds for the
    /// last hour, coarser before.
    pub sums: Vec<[u64; 3]>,
}

/// Bad events by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ByCause {
    pub injected: u64,
    pub masked: u64,
    pub organic: u64,
}

/// One alert of a series, and when it fired.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RecordedTier {
    pub name: String,
    pub severity: String,
    pub long_window_seconds: u64,
    pub short_window_seconds: u64,
    /// Numerator and denominator.
    pub factor: [u64; 2],
    pub for_seconds: u64,
    /// Seconds since the beginning; the second is when it was over, if it was.
    pub fired: Vec<(u64, Option<u64>)>,
}

impl Record {
    /// Reads what `GET /api/v1/record` answered.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn read(text: &str) -> Result<Self, String> {
        let record: Self = serde_json::from_str(text)
            .map_err(|why| format!("this is no record of a drill: {why}"))?;
        if record.backburn_record != FORMAT {
            let found = record.backburn_record;
            return Err(format!("a record of format {found}; this backburn reads {FORMAT}"));
        }
        for series in &record.slos {
            if !series.is_sane() {
                return Err(format!("the record of `{}` contradicts itself", series.name));
            }
        }
        Ok(record)
    }
}

impl Series {
    /// Nothing runs backwards, and nothing lasts longer than anything can.
    fn is_sane(&self) -> bool {
        let longest = crate::units::LONGEST.as_secs();
        let ordered = self.sums.windows(2).all(|pair| {
            let [a, b] = [pair[0], pair[1]];
            a[0] < b[0] && a[1] <= b[1] && a[2] <= b[2]
        });
        let sums = self.sums.iter().all(|[second, n, bad]| *second <= longest && bad <= n);
        let tiers = self.tiers.iter().all(|tier| {
            let windows = [tier.short_window_seconds, tier.long_window_seconds];
            let fired = tier.fired.iter().flat_map(|(from, to)| [*from, to.unwrap_or(*from)]);
            tier.factor.iter().all(|part| *part > 0)
                && windows.iter().all(|window| (1..=longest).contains(window))
                && fired.into_iter().all(|second| second <= longest)
        });
        let all = self.sums.last().map_or(0, |[.., bad]| *bad);
        let causes = self.bad_by_cause.is_none_or(|ByCause { injected, masked, organic }| {
            [injected, masked, organic].into_iter().try_fold(0_u64, u64::checked_add) == Some(all)
        });
        ordered
            && sums
            && tiers
            && causes
            && self.pad_bad_billionths <= 1_000_000_000
            && self.objective_billionths < 1_000_000_000
            && (0.0..1e12).contains(&self.pad_events_per_second)
    }
}
