//! `/metrics`: the counts as Prometheus text. Everything the configuration names is there from
//! the start, at zero, so that rates and alerts see the first event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::AdminState;
use crate::drill::control::Standing;
use crate::drill::reload::Outcome;
use crate::plan::Plan;
use crate::proxy::open::{Open, Spoken};
use crate::requests::Counts;
use crate::sli::Snapshot;
use crate::sli::series::EDGES;
use crate::sli::snapshot::Buckets;

pub(super) async fn metrics(State(state): State<Arc<AdminState>>, headers: HeaderMap) -> Response {
    let stage = state.control.stage.load_full();
    let view = View {
        snapshot: state.control.ledger().snapshot(&stage.plan),
        standing: state.control.standing(crate::clock::now()),
        plan: Arc::clone(&stage.plan),
        drill: state.control.drill_id().to_owned(),
        seed: state.control.seed(),
        held: state.live.held(),
        open: Spoken::ALL.map(|what| (what.label(), connections(&state.open, what))),
        slos: state.live.view(crate::clock::now()).slos,
        reloads: state.reloads.standing(),
        logged: state.requests.iter().flat_map(|log| logged(&log.counts)).collect(),
        evicted: stage
            .plan
            .faults
            .iter()
            .filter(|fault| fault.tells_values_apart())
            .map(|fault| (fault.name.to_string(), state.control.evicted(&fault.name)))
            .collect(),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(view));
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
        return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let open = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let kind = if open {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        // The older format: the same lines, with a counter's HELP and TYPE under its full name.
        text = plain(&text);
        "text/plain; version=0.0.4; charset=utf-8"
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn connections(workers: &[Open], what: Spoken) -> usize {
    workers.iter().map(|open| open.count(what)).sum()
}

fn logged(counts: &Counts) -> [(&'static str, u64); 4] {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    [
        ("written", read(&counts.written)),
        ("dropped", read(&counts.dropped)),
        ("failed", read(&counts.failed)),
        ("full", read(&counts.full)),
    ]
}

/// OpenMetrics → Prometheus text 0.0.4.
fn plain(text: &str) -> String {
    let counters: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(&name) => {
                out.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// One scrape's numbers.
#[derive(Debug)]
struct View {
    snapshot: Snapshot,
    standing: Standing,
    plan: Arc<Plan>,
    drill: String,
    seed: u64,
    held: usize,
    /// Client connections, by what is spoken on them.
    open: [(&'static str, usize); 4],
    slos: Vec<crate::report::view::Slo>,
    reloads: crate::drill::reload::Standing,
    /// The request log's records, by what became of them.
    logged: Vec<(&'static str, u64)>,
    /// By fault: values of `per` forgotten for want of room.
    evicted: Vec<(String, u64)>,
}

pub(super) type Encoded = Result<(), std::fmt::Error>;

/// One family of counters, gauges or histograms.
pub(super) struct Family<'e>(prometheus_client::encoding::MetricEncoder<'e>);

impl Family<'_> {
    pub(super) fn put<M: EncodeMetric>(
        &mut self,
        labels: &impl EncodeLabelSet,
        value: M,
    ) -> Encoded {
        value.encode(self.0.encode_family(labels)?)
    }
}

pub(super) fn family<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &'e str,
    unit: Option<&'e Unit>,
    kind: MetricType,
) -> Result<Family<'e>, std::fmt::Error> {
    Ok(Family(encoder.encode_descriptor(name, help, unit, kind)?))
}

struct Distribution<'a>(&'a Buckets);

impl EncodeMetric for Distribution<'_> {
    fn encode(&self, mut encoder: prometheus_client::encoding::MetricEncoder<'_>) -> Encoded {
        let edges = EDGES.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().copied().chain(std::iter::repeat(0));
        let buckets: Vec<(f64, u64)> = edges.zip(counts).collect();
        let count = self.0.counts.iter().sum();
        encoder.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
            self.0.sum.as_secs_f64(),
            count,
            &buckets,
            None,
        )
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl Collector for View {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        self.traffic(&mut encoder)?;
        self.slos(&mut encoder)?;
        super::budget_metrics::encode(&self.slos, &mut encoder)?;
        self.faults(&mut encoder)?;
        self.drill(&mut encoder)
    }
}

impl View {
    fn traffic(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let help = "Requests by route, method and status: from the head's arrival to the last byte handed on";
        let mut seconds = family(
            encoder,
            "http_server_request_duration",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for series in &self.snapshot.durations {
            let labels = [
                ("http_route", series.route.to_string()),
                ("http_request_method", series.method.to_owned()),
                ("http_response_status_code", series.status.to_string()),
                ("error_type", series.error_type.to_owned()),
            ];
            seconds.put(&labels, Distribution(&series.buckets))?;
        }
        let none: [(&str, &str); 0] = [];
        family(
            encoder,
            "http_server_active_requests",
            "Requests under way",
            None,
            MetricType::Gauge,
        )?
        .put(&none, ConstGauge::new(self.snapshot.active))?;
        family(
            encoder,
            "backburn_streams_interrupted",
            "Streams cut by their service or a fault after they had been counted",
            None,
            MetricType::Counter,
        )?
        .put(&none, ConstCounter::new(self.snapshot.interrupted))?;
        let help = "Client connections open now, by what is spoken on them; unknown: nothing yet";
        let mut open = family(encoder, "backburn_connections", help, None, MetricType::Gauge)?;
        for (protocol, count) in self.open {
            open.put(&[("protocol", protocol)], ConstGauge::new(count as i64))?;
        }
        let mut refused = family(
            encoder,
            "backburn_refused",
            "Requests backburn refused, by reason",
            None,
            MetricType::Counter,
        )?;
        for (reason, count) in &self.snapshot.refused {
            refused.put(&[("reason", *reason)], ConstCounter::new(*count))?;
        }
        Ok(())
    }

    fn slos(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let help = "SLI events: good, or bad with a cause; the causes sum to bad. Of an SLO per \
                    operation they are operations, some ten seconds after their last attempt";
        let mut events = family(encoder, "backburn_slo_events", help, None, MetricType::Counter)?;
        for slo in &self.snapshot.slos {
            let rows = [
                ("good", "", slo.good),
                ("bad", "injected", slo.injected),
                ("bad", "masked", slo.masked),
                ("bad", "organic", slo.organic),
            ];
            for (outcome, cause, count) in rows {
                let labels = [("slo", &*slo.name), ("outcome", outcome), ("cause", cause)];
                events.put(&labels, ConstCounter::new(count))?;
            }
        }
        let help = "Requests (of an SLO per operation: operations) that are no event of the SLO, by \
                    reason";
        let mut excluded =
            family(encoder, "backburn_slo_excluded_events", help, None, MetricType::Counter)?;
        for slo in &self.snapshot.slos {
            for (reason, count) in &slo.excluded {
                excluded
                    .put(&[("slo", &*slo.name), ("reason", *reason)], ConstCounter::new(*count))?;
            }
        }
        let help = "The share of good events asked for";
        let mut objective =
            family(encoder, "backburn_slo_objective_ratio", help, None, MetricType::Gauge)?;
        for slo in &self.snapshot.slos {
            objective.put(&[("slo", &*slo.name)], ConstGauge::new(slo.objective.as_f64()))?;
        }
        Ok(())
    }

    fn faults(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let help = "Requests a fault took effect on, by kind";
        let mut injected =
            family(encoder, "backburn_faults_injected", help, None, MetricType::Counter)?;
        for fault in self.snapshot.all_faults() {
            for (route, _, kinds) in &fault.routes {
                for (kind, count) in kinds {
                    let labels = [("fault", &*fault.name), ("route", &**route), ("kind", *kind)];
                    injected.put(&labels, ConstCounter::new(*count))?;
                }
            }
        }
        let help = "Requests a fault could have hit";
        let mut eligible =
            family(encoder, "backburn_faults_eligible", help, None, MetricType::Counter)?;
        for fault in self.snapshot.all_faults() {
            for (route, count, _) in &fault.routes {
                eligible.put(
                    &[("fault", &*fault.name), ("route", &**route)],
                    ConstCounter::new(*count),
                )?;
            }
        }
        let help = "Times a fault was due and did not act";
        let mut skipped =
            family(encoder, "backburn_faults_skipped", help, None, MetricType::Counter)?;
        for fault in self.snapshot.all_faults() {
            for (reason, count) in &fault.skipped {
                skipped.put(
                    &[("fault", &*fault.name), ("reason", *reason)],
                    ConstCounter::new(*count),
                )?;
            }
        }
        let help = "Values of `per` that were forgotten for want of room";
        let mut evicted =
            family(encoder, "backburn_fault_values_evicted", help, None, MetricType::Counter)?;
        for (fault, count) in &self.evicted {
            evicted.put(&[("fault", fault.as_str())], ConstCounter::new(*count))?;
        }
        let help = "Injected delays, as asked and as carried out";
        let mut delay = family(
            encoder,
            "backburn_fault_delay",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        delay.put(&[("which", "asked")], Distribution(&self.snapshot.asked))?;
        delay.put(&[("which", "actual")], Distribution(&self.snapshot.actual))
    }

    fn drill(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let none: [(&str, &str); 0] = [];
        let rows = [
            ("backburn_held_requests", "Requests that faults hold now", self.held as i64),
            ("backburn_injecting", "1: faults may fire", i64::from(self.standing.injecting)),
            ("backburn_halted", "1: halted until `rearm`", i64::from(self.standing.halt.is_some())),
        ];
        for (name, help, value) in rows {
            family(encoder, name, help, None, MetricType::Gauge)?
                .put(&none, ConstGauge::new(value))?;
        }
        let labels = [
            ("drill", self.drill.clone()),
            ("name", self.plan.name.clone()),
            ("seed", self.seed.to_string()),
            ("state", self.standing.state.as_str().to_owned()),
            ("phase", self.standing.booked.to_string()),
        ];
        family(encoder, "backburn_drill_info", "The drill", None, MetricType::Gauge)?
            .put(&labels, ConstGauge::new(1i64))?;
        let help = "Reloads and live overrides, by what came of them";
        let mut reloads =
            family(encoder, "backburn_scenario_reloads", help, None, MetricType::Counter)?;
        for (outcome, count) in Outcome::ALL.into_iter().zip(self.reloads.results) {
            reloads.put(&[("result", outcome.label())], ConstCounter::new(count))?;
        }
        family(
            encoder,
            "backburn_scenario_last_reload_success_timestamp",
            "When the scenario was last read without a mistake",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?
        .put(&none, ConstGauge::new(self.reloads.last_success))?;
        if !self.logged.is_empty() {
            let help = "Requests for the request log, by what became of them";
            let mut logged =
                family(encoder, "backburn_request_log", help, None, MetricType::Counter)?;
            for (result, count) in &self.logged {
                logged.put(&[("result", *result)], ConstCounter::new(*count))?;
            }
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        family(encoder, "backburn_build_info", "This program", None, MetricType::Gauge)?
            .put(&version, ConstGauge::new(1i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_names_counters_in_full() {
        let open = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n# TYPE c gauge\nc 1\n# EOF\n";
        let want = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n# TYPE c gauge\nc 1\n";
        assert_eq!(plain(open), want);
    }
}
