//! Fills a [`Record`] from what runs.

use std::time::Instant;

use super::Live;
use crate::clock::rfc3339;
use crate::exchange::record::{ByCause, FORMAT, Record, RecordedTier, Series};
use crate::plan::Slo as Promised;

impl Live {
    /// The drill so far.
    pub fn record(&self, now: Instant) -> Record {
        let plan = self.control.plan();
        Record {
            backburn_record: FORMAT,
            drill: self.control.drill_id().to_owned(),
            began: rfc3339(self.control.began()),
            seconds: self.control.second(now),
            slos: plan.slos.iter().filter_map(|slo| self.series(slo)).collect(),
        }
    }

    fn series(&self, slo: &Promised) -> Option<Series> {
        let figures = self.control.figures(&slo.name)?;
        let points = self.control.points(&slo.name);
        let total = points.last()?.1;
        // Of slices, and of events that a reload has left behind, nobody knows by second.
        let causes = Some(figures.seen).filter(|_| slo.slices.is_none());
        let observed = total.n as f64 / figures.span.max(1) as f64;
        let pad = slo.per_window().map(|events| events / slo.window.as_secs_f64());
        Some(Series {
            name: slo.name.to_string(),
            unit: slo.unit().label().to_owned(),
            objective_billionths: slo.objective.billionths(),
            window_seconds: slo.window.as_secs(),
            dialect: slo.alerts.dialect.name().to_owned(),
            min_bad: slo.alerts.min_bad,
            evaluation_interval_seconds: slo.alerts.interval,
            pad_events_per_second: pad.unwrap_or(observed),
            pad_bad_billionths: slo.production.error_rate.billionths(),
            bad_by_cause: causes.filter(|causes| causes.bad() == total.bad).map(|causes| ByCause {
                injected: causes.injected,
                masked: causes.masked,
                organic: causes.organic,
            }),
            tiers: figures
                .replay
                .tiers()
                .map(|(tier, state)| RecordedTier {
                    name: tier.name.to_string(),
                    severity: tier.severity.label().to_owned(),
                    long_window_seconds: tier.long,
                    short_window_seconds: tier.short,
                    factor: tier.factor.parts().into(),
                    for_seconds: tier.hold,
                    fired: state.fired.clone(),
                })
                .collect(),
            sums: points.iter().map(|(second, sum)| [*second, sum.n, sum.bad]).collect(),
        })
    }
}
