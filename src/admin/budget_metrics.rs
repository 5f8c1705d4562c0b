//! `/metrics`: what budgets and alerts come to.

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType::Gauge;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::metrics::{Encoded, family};
use crate::report::view::Slo;
use crate::units::show_duration;

/// The gauges of all SLOs. What has no value is not there: never NaN, never a 0 that is none.
pub(super) fn encode(slos: &[Slo], encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    burn_rates(slos, encoder)?;
    remaining(slos, encoder)?;
    exhaustion(slos, encoder)?;
    consumed(slos, encoder)?;
    alerts(slos, encoder)
}

fn burn_rates(slos: &[Slo], encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let help = "How many times faster than allowed the budget burns, over a window, filled up with \
                what is assumed to have been before the drill; over the drill without";
    let mut burn = family(encoder, "backburn_slo_burn_rate_ratio", help, None, Gauge)?;
    for slo in slos {
        let mut put = |window: &str, rate: Option<f64>| -> Encoded {
            let Some(rate) = rate else { return Ok(()) };
            burn.put(&[("slo", slo.name.as_str()), ("window", window)], ConstGauge::new(rate))
        };
        put("drill", slo.burn_rate)?;
        for window in &slo.alerts.windows {
            let name = show_duration(std::time::Duration::from_secs(window.seconds));
            put(&name, window.burn_rate)?;
        }
    }
    Ok(())
}

/// What the drill consumed, on every basis that is known.
fn bases(slo: &Slo) -> impl Iterator<Item = (&'static str, f64)> {
    let known = [("scaled", slo.budget.scaled_ratio), ("absolute", slo.budget.absolute_ratio)];
    known.into_iter().filter_map(|(basis, spent)| Some((basis, spent?)))
}

fn remaining(slos: &[Slo], encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let help = "What is left of the budget; below 0 when it is overspent";
    let name = "backburn_slo_error_budget_remaining_ratio";
    let mut remaining = family(encoder, name, help, None, Gauge)?;
    for slo in slos {
        let before = slo.budget.consumed_before_ratio.unwrap_or(0.0);
        for (basis, spent) in bases(slo) {
            let labels = [("slo", slo.name.as_str()), ("basis", basis)];
            remaining.put(&labels, ConstGauge::new(1.0 - before - spent))?;
        }
    }
    Ok(())
}

fn exhaustion(slos: &[Slo], encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let help = "Until the budget is gone at the recent rate, with an 80 % interval; not there while \
                it is not being spent";
    let name = "backburn_slo_time_to_exhaustion";
    let mut exhaustion = family(encoder, name, help, Some(&Unit::Seconds), Gauge)?;
    for slo in slos {
        let Some(steady) = slo.forecasts.exhaustion.first() else { continue };
        let bounds = [
            ("lower", steady.low_seconds),
            ("point", steady.seconds),
            ("upper", steady.high_seconds),
        ];
        for (bound, seconds) in bounds {
            if let Some(seconds) = seconds {
                let labels = [("slo", slo.name.as_str()), ("bound", bound)];
                exhaustion.put(&labels, ConstGauge::new(seconds))?;
            }
        }
    }
    Ok(())
}

fn consumed(slos: &[Slo], encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let help = "What the drill consumed of the budget, by cause";
    let name = "backburn_drill_budget_consumed_ratio";
    let mut consumed = family(encoder, name, help, None, Gauge)?;
    for slo in slos {
        for (basis, spent) in bases(slo) {
            // One bad event costs the same, whosever it is.
            let each = if slo.bad == 0 { 0.0 } else { spent / slo.bad as f64 };
            for (cause, count) in
                [("injected", slo.injected), ("masked", slo.masked), ("organic", slo.organic)]
            {
                let labels = [("slo", slo.name.as_str()), ("cause", cause), ("basis", basis)];
                consumed.put(&labels, ConstGauge::new(each * count as f64))?;
            }
        }
    }
    Ok(())
}

fn alerts(slos: &[Slo], encoder: &mut DescriptorEncoder<'_>) -> Encoded {
    let help = "How near an alert of production would be to firing; above 1 its condition holds";
    let name = "backburn_alert_pressure_ratio";
    let mut pressure = family(encoder, name, help, None, Gauge)?;
    for slo in slos {
        for tier in &slo.alerts.tiers {
            if let Some(ratio) = tier.pressure_ratio {
                let labels = [("slo", slo.name.as_str()), ("tier", tier.name.as_str())];
                pressure.put(&labels, ConstGauge::new(ratio))?;
            }
        }
    }
    let help = "1: an alert of production would be firing";
    let mut firing = family(encoder, "backburn_alert_firing", help, None, Gauge)?;
    for slo in slos {
        for tier in &slo.alerts.tiers {
            let labels = [
                ("slo", slo.name.as_str()),
                ("tier", tier.name.as_str()),
                ("dialect", slo.alerts.dialect.as_str()),
            ];
            firing.put(&labels, ConstGauge::new(i64::from(tier.state == "firing")))?;
        }
    }
    Ok(())
}
