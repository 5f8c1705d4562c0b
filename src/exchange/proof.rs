//! A recorded drill as a unit test for `promtool test rules`: the drill's own events, after a past as
//! long as the longest window and as bad as production is anyway, and the alerts at the moments the
//! replay has them.

use std::fmt::Write as _;

use super::prometheus::{self, Selector, Shape, yaml};
use super::record::{Record, RecordedTier, Series};
use crate::budget::{Dialect, Severity};
use crate::units::show_duration;

/// How the test looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Which alerts are asked for; both where `None`.
    pub severity: Option<Severity>,
    /// Between two samples, and two evaluations, in seconds. `None`: as short as promtool can do
    /// with the longest window.
    pub interval: Option<u64>,
    /// Whose rules are tested; of each SLO its own dialect's where `None`.
    pub shape: Option<Shape>,
}

/// promtool's tests fail at 10,000 samples a query, and a window may have one more at its edge.
const MOST_SAMPLES: u64 = 9_900;
/// Every evaluation looks at all samples of the longest window: its time grows with their square.
/// Three days of minutes take a minute.
const SAMPLES: u64 = 4_800;
/// Intervals that people use, in seconds.
const INTERVALS: [u64; 6] = [15, 30, 60, 120, 300, 600];

impl Options {
    /// The tiers of a series that are asked for.
    fn tiers(self, series: &Series, severity: Severity) -> Vec<&RecordedTier> {
        let asked = self.severity.is_none_or(|asked| asked == severity);
        let tiers = series.tiers.iter().filter(|tier| asked && tier.severity == severity.label());
        tiers.collect()
    }

    /// The longest window with the drill behind it, in seconds.
    fn span(self, record: &Record) -> u64 {
        let asked = record.slos.iter().flat_map(|series| {
            let end = series.sums.last().map_or(0, |[second, ..]| *second);
            let tiers = [Severity::Page, Severity::Ticket].map(|one| self.tiers(series, one));
            tiers
                .into_iter()
                .flatten()
                .map(move |tier| end.saturating_add(tier.long_window_seconds))
        });
        asked.max().unwrap_or(0)
    }

    /// Between two samples, in seconds.
    ///
    /// # Errors
    /// An interval that promtool cannot do, for people.
    pub fn interval(self, record: &Record) -> Result<u64, String> {
        let span = self.span(record);
        let Some(interval) = self.interval else {
            let common = INTERVALS.into_iter().find(|interval| span / interval <= SAMPLES);
            return Ok(common.unwrap_or(span / SAMPLES + 1));
        };
        let interval = interval.max(1);
        if span / interval <= MOST_SAMPLES {
            return Ok(interval);
        }
        let seconds = |seconds| show_duration(std::time::Duration::from_secs(seconds));
        Err(format!(
            "promtool takes 10,000 samples a query, and {} every {} are more: give an --interval \
             of {} or more, or prove pages by themselves, whose windows are shorter (--severity page)",
            seconds(span),
            seconds(interval),
            seconds(span / MOST_SAMPLES + 1)
        ))
    }
}

/// The test file; `rules`: the file of rules, as the test names it.
///
/// # Errors
/// What a record does not have, or promtool cannot do, for people.
pub fn proof(record: &Record, rules: &str, options: Options) -> Result<String, String> {
    let interval = options.interval(record)?;
    let mut out = format!(
        "# Proof from drill {}: the rules in {rules} fire when the drill's replay does.\n\
         # promtool test rules THIS_FILE\nrule_files:\n  - {}\nevaluation_interval: {interval}s\n\
         tests:\n",
        record.drill.replace(char::is_control, " "),
        yaml(rules)
    );
    let mut any = false;
    for series in record.slos.iter().filter(|series| series.sums.len() > 1) {
        for severity in [Severity::Page, Severity::Ticket] {
            let tiers = options.tiers(series, severity);
            if !tiers.is_empty() {
                test(&mut out, series, &tiers, severity, interval, options.shape);
                any = true;
            }
        }
    }
    if any { Ok(out) } else { Err("the record has no SLO with events and such alerts".to_owned()) }
}

/// What the test cannot show, for people: alerts that fired too near the record's end to be looked
/// at, or none at all, so that silence is all it asks for.
pub fn unproven(record: &Record, options: Options) -> Vec<String> {
    let Ok(interval) = options.interval(record) else { return Vec::new() };
    let mut told = Vec::new();
    let mut fired = false;
    for series in &record.slos {
        let end = series.sums.last().map_or(0, |[second, ..]| *second);
        for severity in [Severity::Page, Severity::Ticket] {
            let tiers = options.tiers(series, severity);
            if tiers.iter().all(|tier| tier.fired.is_empty()) {
                continue;
            }
            fired = true;
            if !moments(&tiers, interval, end, LOOKS).iter().any(|(_, firing, _)| *firing) {
                told.push(format!(
                    "the {} on {} fired for less than twice {} within the record: the test does \
                     not ask for it; record for longer, or {}",
                    severity.label(),
                    series.name,
                    show_duration(std::time::Duration::from_secs(interval)),
                    if options.severity.is_none() && severity == Severity::Page {
                        "prove pages by themselves, in shorter intervals (--severity page)"
                    } else {
                        "give a shorter --interval"
                    }
                ));
            }
        }
    }
    if !fired {
        told.push("no alert fired in this drill: the test asks for silence only".to_owned());
    }
    told
}

fn test(
    out: &mut String,
    series: &Series,
    tiers: &[&RecordedTier],
    severity: Severity,
    interval: u64,
    shape: Option<Shape>,
) {
    let longest = tiers.iter().map(|tier| tier.long_window_seconds).max().unwrap_or(0);
    // Whole intervals of past, one more than the longest window.
    let lead = (longest / interval + 2) * interval;
    let end = series.sums.last().map_or(0, |[second, ..]| *second);
    let dialect = Dialect::named(&series.dialect).unwrap_or(Dialect::Custom);
    let shape = shape.unwrap_or(Shape::of(dialect));
    let name = yaml(&format!("{}: {}", series.name, severity.label()));
    let _ = writeln!(out, "  - name: {name}\n    interval: {interval}s\n    input_series:");
    let past = series.pad_events_per_second;
    let steps = end / interval + 1;
    for (outcome, cause) in [("good", ""), ("bad", "injected")] {
        let of = |[_, n, bad]: [u64; 3]| if outcome == "bad" { bad } else { n - bad };
        let labels = format!(
            "backburn_slo_events_total{{slo={},outcome=\"{outcome}\",cause=\"{cause}\"}}",
            yaml(&series.name)
        );
        let errors = f64::from(series.pad_bad_billionths) / 1e9;
        let share = if outcome == "bad" { errors } else { 1.0 - errors };
        let each = share * past * interval as f64;
        let count = lead / interval;
        let before = each * count as f64;
        let mut values = format!("0+{each}x{count}");
        // As runs of equal steps.
        let at = |step: u64| before + of(series_at(series, step * interval)) as f64;
        let mut step = 1;
        while step <= steps {
            let change = at(step) - at(step - 1);
            let mut run = 0;
            while step + run < steps
                && (at(step + run + 1) - at(step + run) - change).abs() < f64::EPSILON
            {
                run += 1;
            }
            let _ = write!(values, " {}+{change}x{run}", at(step));
            step += run + 1;
        }
        let _ =
            writeln!(out, "      - series: {}\n        values: {}", quoted(&labels), yaml(&values));
    }
    let _ = writeln!(out, "    promql_expr_test:");
    let Selector { alert, matchers } = prometheus::selector(shape, &series.name, severity);
    let expression = format!(
        "(count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",{matchers}}}) > bool 0) or \
         vector(0)"
    );
    for (second, firing, why) in moments(tiers, interval, end, LOOKS) {
        let _ = writeln!(
            out,
            "      # {why}\n      - expr: {}\n        eval_time: {}\n        exp_samples:\n          \
             - labels: '{{}}'\n            value: {}",
            quoted(&expression),
            show_duration(std::time::Duration::from_secs(lead + second)),
            u8::from(firing)
        );
    }
}

/// Looks between the changes, over the whole drill: rules that fire too easily are over it again when
/// it ends.
const LOOKS: u64 = 24;

/// When to look, and what is to be seen: two intervals before and after each change, where nothing
/// else changes meanwhile, and evenly spread.
fn moments(
    tiers: &[&RecordedTier],
    interval: u64,
    end: u64,
    looks: u64,
) -> Vec<(u64, bool, String)> {
    let slack = 2 * interval;
    let firing = |second: u64| {
        tiers.iter().any(|tier| {
            let held = |(from, to): &(u64, Option<u64>)| {
                *from <= second && to.is_none_or(|to| second < to)
            };
            tier.fired.iter().any(held)
        })
    };
    let mut changes: Vec<u64> = tiers
        .iter()
        .flat_map(|tier| &tier.fired)
        .flat_map(|(from, to)| [Some(*from), *to])
        .flatten()
        .collect();
    changes.sort_unstable();
    changes.dedup();
    let steady = |second: u64| {
        second <= end && !changes.iter().any(|change| change.abs_diff(second) < slack)
    };
    let mut found = Vec::new();
    if steady(0) {
        found.push((0, firing(0), "before the drill".to_owned()));
    }
    for change in &changes {
        for second in [change.checked_sub(slack), Some(change + slack)].into_iter().flatten() {
            if steady(second) && second > 0 {
                let what = if firing(second) { "firing" } else { "silent" };
                let text = format!("{what}: the replay changes {change} s into the drill");
                found.push((second, firing(second), text));
            }
        }
    }
    for second in (1..looks).map(|look| end * look / looks).filter(|second| *second > 0) {
        if steady(second) {
            let what = if firing(second) { "firing" } else { "silent" };
            found.push((second, firing(second), format!("{what} as it is in the replay")));
        }
    }
    if steady(end) && end > 0 {
        let what = if firing(end) { "firing" } else { "silent" };
        found.push((end, firing(end), format!("{what} at the end of the record")));
    }
    found.sort_by_key(|(second, ..)| *second);
    found.dedup_by_key(|(second, ..)| *second);
    found
}

/// The sum at a second, straight between two that are known.
fn series_at(series: &Series, second: u64) -> [u64; 3] {
    let sums = &series.sums;
    let after = sums.partition_point(|[known, ..]| *known < second);
    let Some(high) = sums.get(after) else { return sums.last().copied().unwrap_or_default() };
    let Some(low) = after.checked_sub(1).map(|before| sums[before]) else { return *high };
    if high[0] == second {
        return *high;
    }
    let part = |from: u64, to: u64| {
        let more =
            u128::from(to - from) * u128::from(second - low[0]) / u128::from(high[0] - low[0]);
        from + more as u64
    };
    [second, part(low[1], high[1]), part(low[2], high[2])]
}

/// A YAML scalar in single quotes: PromQL is full of double ones.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(fired: Vec<(u64, Option<u64>)>) -> RecordedTier {
        RecordedTier { fired, ..RecordedTier::default() }
    }

    #[test]
    fn moments_keep_away_from_changes() {
        let (a, b) = (tier(vec![(100, Some(200))]), tier(vec![(105, None)]));
        let at = |tiers: &[&RecordedTier], end| -> Vec<(u64, bool)> {
            moments(tiers, 5, end, 0).into_iter().map(|(at, firing, _)| (at, firing)).collect()
        };
        assert_eq!(
            at(&[&a], 300),
            [(0, false), (90, false), (110, true), (190, true), (210, false), (300, false)]
        );
        assert_eq!(at(&[&a, &b], 205), [(0, false), (90, false), (115, true), (190, true)]);
        assert_eq!(at(&[&tier(Vec::new())], 30), [(0, false), (30, false)]);
        let looks = moments(&[&a], 5, 400, 4);
        let at: Vec<(u64, bool)> = looks.into_iter().map(|(at, firing, _)| (at, firing)).collect();
        // Not at 100 and 200, where it changes.
        let want = [(0, false), (90, false), (110, true), (190, true), (210, false), (300, false)];
        assert_eq!(at, [&want[..], &[(400, false)]].concat());
    }

    #[test]
    fn what_is_not_shown_is_told() {
        let told = |fired, end| {
            let page = RecordedTier { severity: "page".to_owned(), ..tier(fired) };
            let series = Series {
                name: "pay".to_owned(),
                sums: vec![[0, 0, 0], [end, 100, 10]],
                tiers: vec![page],
                ..Series::default()
            };
            let record = Record { slos: vec![series], ..Record::default() };
            unproven(&record, Options { interval: Some(60), ..Options::default() }).join("\n")
        };
        assert_eq!(told(vec![(100, None)], 220), "");
        assert_eq!(told(vec![(100, None), (500, Some(510))], 700), "");
        assert!(told(vec![(100, None)], 219).starts_with("the page on pay fired for less than"));
        assert!(told(Vec::new(), 400).starts_with("no alert fired"));
    }

    #[test]
    fn intervals_that_promtool_can_do() {
        let of = |severity: &str, hours: u64| RecordedTier {
            severity: severity.to_owned(),
            long_window_seconds: hours * 3_600,
            ..RecordedTier::default()
        };
        let tiers = vec![of("page", 6), of("ticket", 72)];
        let series = Series { sums: vec![[0, 0, 0], [600, 9, 1]], tiers, ..Series::default() };
        let record = Record { slos: vec![series], ..Record::default() };
        let asked = |severity, interval| {
            Options { severity, interval, ..Options::default() }.interval(&record)
        };
        assert_eq!(asked(None, None), Ok(60));
        assert_eq!(asked(Some(Severity::Page), None), Ok(15));
        assert_eq!(asked(Some(Severity::Page), Some(5)), Ok(5));
        assert_eq!(asked(None, Some(30)), Ok(30));
        let refused = asked(None, Some(15)).unwrap_err();
        assert!(refused.contains("--interval of 27s or more"), "{refused}");
    }

    #[test]
    fn sums_between_two_seconds() {
        let sums = vec![[0, 0, 0], [10, 100, 10], [11, 200, 20]];
        let series = Series { sums, ..Series::default() };
        assert_eq!(series_at(&series, 5), [5, 50, 5]);
        assert_eq!(series_at(&series, 10), [10, 100, 10]);
        assert_eq!(series_at(&series, 99), [11, 200, 20]);
    }
}
