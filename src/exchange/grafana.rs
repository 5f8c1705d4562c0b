//! A Grafana dashboard over backburn's metrics: a row of panels for whichever SLOs there are.

use serde_json::{Value, json};

use crate::plan::Plan;

/// The dashboard, as Grafana's import takes it. It asks for a Prometheus data source.
pub fn dashboard(plan: &Plan) -> Value {
    let mut panels = Vec::new();
    let mut add = |title: &str, unit: &str, kind: &str, queries: &[(&str, &str)]| {
        let place = panels.len();
        let targets: Vec<Value> = queries
            .iter()
            .zip(["A", "B", "C", "D"])
            .map(|((expr, legend), id)| {
                json!({
                    "refId": id,
                    "expr": expr,
                    "legendFormat": legend,
                    "datasource": SOURCE.clone(),
                })
            })
            .collect();
        panels.push(json!({
            "id": place + 1,
            "title": title,
            "type": kind,
            "datasource": SOURCE.clone(),
            "gridPos": { "h": 8, "w": 12, "x": place % 2 * 12, "y": place / 2 * 8 },
            "fieldConfig": { "defaults": { "unit": unit }, "overrides": [] },
            "targets": targets,
        }));
    };
    let lines = "timeseries";
    add(
        "Budget left",
        "percentunit",
        "bargauge",
        &[("backburn_slo_error_budget_remaining_ratio{slo=~\"$slo\"}", "{{slo}} ({{basis}})")],
    );
    add(
        "Alerts that would fire",
        "none",
        "stat",
        &[("backburn_alert_firing{slo=~\"$slo\"} == 1", "{{slo}}: {{tier}} of {{dialect}}")],
    );
    add(
        "Burn rate",
        "none",
        lines,
        &[("backburn_slo_burn_rate_ratio{slo=~\"$slo\"}", "{{slo}} over {{window}}")],
    );
    add(
        "Alert pressure (1 fires)",
        "percentunit",
        lines,
        &[("backburn_alert_pressure_ratio{slo=~\"$slo\"}", "{{slo}}: {{tier}}")],
    );
    add(
        "Bad events a second, by cause",
        "reqps",
        lines,
        &[(
            "sum by (slo, cause) (rate(backburn_slo_events_total{slo=~\"$slo\",outcome=\"bad\"}[1m]))",
            "{{slo}}: {{cause}}",
        )],
    );
    add(
        "What the drill cost, by cause",
        "percentunit",
        lines,
        &[(
            "backburn_drill_budget_consumed_ratio{slo=~\"$slo\"}",
            "{{slo}}: {{cause}} ({{basis}})",
        )],
    );
    add(
        "Time until the budget is gone",
        "s",
        lines,
        &[("backburn_slo_time_to_exhaustion_seconds{slo=~\"$slo\"}", "{{slo}}: {{bound}}")],
    );
    add(
        "Faults applied a second",
        "reqps",
        lines,
        &[(
            "sum by (fault, kind) (rate(backburn_faults_injected_total[1m]))",
            "{{fault}}: {{kind}}",
        )],
    );
    json!({
        "title": format!("backburn: {}", plan.name),
        "uid": "backburn",
        "tags": ["backburn"],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "5s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": [
            { "name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus" },
            {
                "name": "slo",
                "type": "query",
                "label": "SLO",
                "datasource": SOURCE.clone(),
                "query": "label_values(backburn_slo_objective_ratio, slo)",
                "refresh": 2,
                "includeAll": true,
                "multi": true,
                "current": { "text": "All", "value": "$__all" },
            },
        ] },
        "annotations": { "list": [{
            "name": "phases",
            "datasource": SOURCE.clone(),
            "enable": true,
            "expr": "backburn_drill_info",
            "titleFormat": "{{name}}: {{phase}}",
            "useValueForTime": false,
        }] },
        "panels": panels,
    })
}

static SOURCE: std::sync::LazyLock<Value> =
    std::sync::LazyLock::new(|| json!({ "type": "prometheus", "uid": "${source}" }));
