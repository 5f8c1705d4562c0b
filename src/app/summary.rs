//! The closing summary, and the line a running drill prints every few seconds.

use std::fmt::Write as _;
use std::time::Duration;

use crate::budget;
use crate::sli::{SloCounts, Snapshot};

/// What the drill cost and what it did: per SLO and per fault.
pub fn summary(snapshot: &Snapshot, elapsed: Duration, title: &str) -> String {
    let mut out = String::new();
    let seconds = elapsed.as_secs_f64();
    let _ = writeln!(
        out,
        "\nsummary   {title}: {} requests in {seconds:.1} s",
        thousands(snapshot.requests)
    );
    for slo in &snapshot.slos {
        let _ = writeln!(out, "  slo {}", line(slo, elapsed));
        let excluded: Vec<String> = slo
            .excluded
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{reason} {}", thousands(*count)))
            .collect();
        if !excluded.is_empty() {
            let _ = writeln!(out, "      not counted: {}", excluded.join(", "));
        }
    }
    for fault in &snapshot.faults {
        let applied = if fault.eligible == 0 {
            "no request was eligible".to_owned()
        } else {
            format!("applied {}", percent(fault.hit as f64 / fault.eligible as f64))
        };
        let _ = write!(
            out,
            "  fault {:<18} asked {:<8} {applied} ({} of {} eligible)",
            fault.name,
            fault.who,
            thousands(fault.hit),
            thousands(fault.eligible)
        );
        for (reason, count) in fault.skipped.iter().filter(|(_, count)| *count > 0) {
            let _ = write!(out, ", skipped {} ({reason})", thousands(*count));
        }
        out.push('\n');
    }
    let refused: u64 = snapshot.refused.iter().map(|(_, count)| count).sum();
    if refused > 0 {
        let reasons: Vec<String> =
            snapshot.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let _ = writeln!(out, "  refused {} ({})", thousands(refused), reasons.join(", "));
    }
    out
}

/// One SLO in one line: good share, bad by cause, budget burned.
fn line(slo: &SloCounts, elapsed: Duration) -> String {
    let name = &slo.name;
    if slo.total() == 0 {
        return format!("{name:<20} no traffic");
    }
    let good = slo.good as f64 / slo.total() as f64;
    let burned =
        budget::consumed_scaled(slo.bad(), slo.total(), slo.objective, elapsed, slo.window)
            .unwrap_or(0.0);
    let rate = budget::burn_rate(slo.bad(), slo.total(), slo.objective).unwrap_or(0.0);
    format!(
        "{name:<20} {} good (objective {})  {} events, {} bad: {} injected, {} masked, {} organic  \
         burn rate {rate:.1}x, {} of the {}-day budget",
        percent(good),
        percent(slo.objective.as_f64()),
        thousands(slo.total()),
        thousands(slo.bad()),
        thousands(slo.injected),
        thousands(slo.masked),
        thousands(slo.organic),
        percent(burned),
        slo.window.as_secs() / 86_400,
    )
}

/// The line of a running drill.
pub fn progress(
    snapshot: &Snapshot,
    before: &Snapshot,
    over: Duration,
    state: &str,
    held: usize,
) -> String {
    let rate = (snapshot.requests - before.requests) as f64 / over.as_secs_f64().max(1e-9);
    let mut out = format!("{state:<9} {rate:.0} rps, {held} held");
    for slo in &snapshot.slos {
        if slo.total() == 0 {
            let _ = write!(out, " | {} no traffic", slo.name);
        } else {
            let _ = write!(
                out,
                " | {} {} good, bad {} injected {} masked {} organic",
                slo.name,
                percent(slo.good as f64 / slo.total() as f64),
                slo.injected,
                slo.masked,
                slo.organic
            );
        }
    }
    out
}

/// `0.99512` as `99.512%`: two to four significant digits, never rounded up to 100 %.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let shown = if percent > 0.0 && percent < 0.01 {
        format!("{percent:.4}")
    } else {
        format!("{percent:.2}")
    };
    if shown.starts_with("100") && share < 1.0 { "99.99+%".to_owned() } else { format!("{shown}%") }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(percent(0.999_999_9), "99.99+%");
        assert_eq!(percent(1.0), "100.00%");
        assert_eq!(percent(0.000_012), "0.0012%");
    }
}
