//! What production has counted already, from Prometheus: the answer to a query of increases over an
//! SLO's window becomes what `production` says of it.

use std::fmt::Write as _;

use serde::Deserialize;

use super::quoted;
use crate::plan::{Plan, Slo};

/// What Prometheus answers, or the part of it that `promtool query instant` prints.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Whole { data: Data },
    Refused { error: String },
    Samples(Vec<Sample>),
}

#[derive(Debug, Deserialize)]
struct Data {
    result: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
struct Sample {
    metric: Labels,
    /// When, and what.
    value: (f64, String),
}

#[derive(Debug, Deserialize)]
struct Labels {
    slo: Option<String>,
    outcome: Option<String>,
}

/// One SLO's events in production.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Counted {
    good: f64,
    bad: f64,
}

/// What production has counted of a scenario's SLOs over their windows, a line each:
/// `slos.NAME.production={ … }`, as `--set` takes it. `name`: the file of the answer. Samples of one
/// SLO and outcome add up; those without an `slo` are of the scenario's only one.
///
/// # Errors
/// An answer that says nothing of the scenario's SLOs, for people.
pub fn history(name: &str, text: &str, plan: &Plan) -> Result<String, String> {
    let samples = match serde_json::from_str(text) {
        Ok(Answer::Whole { data: Data { result } } | Answer::Samples(result)) => result,
        Ok(Answer::Refused { error }) => return Err(format!("Prometheus refused: {error}")),
        Err(_) => return Err(format!("{name} is no answer to an instant query of Prometheus")),
    };
    let mut counted = vec![Counted::default(); plan.slos.len()];
    for sample in &samples {
        let at = place(sample, plan)?;
        let count: f64 = sample.value.1.parse().unwrap_or(f64::NAN);
        if !(0.0..1e18).contains(&count) {
            return Err(format!("{} is no count of events", sample.value.1));
        }
        match sample.metric.outcome.as_deref() {
            Some("good") => counted[at].good += count,
            Some("bad") => counted[at].bad += count,
            other => {
                return Err(format!(
                    "an `outcome` is `good` or `bad`, not `{}`: what is neither does not count",
                    other.unwrap_or_default()
                ));
            }
        }
    }
    let mut out = String::new();
    for (slo, counted) in plan.slos.iter().zip(counted) {
        if let Some(known) = production(slo, counted) {
            let _ = writeln!(out, "slos.{}.production={known}", slo.name);
        }
    }
    if out.is_empty() { Err(format!("{name} has no events of any SLO")) } else { Ok(out) }
}

/// Which SLO a sample is of.
fn place(sample: &Sample, plan: &Plan) -> Result<usize, String> {
    let names = || {
        let names: Vec<String> = plan.slos.iter().map(|slo| quoted(&slo.name)).collect();
        names.join(", ")
    };
    match (&sample.metric.slo, plan.slos.len()) {
        (Some(name), _) => plan
            .slos
            .iter()
            .position(|slo| *slo.name == **name)
            .ok_or_else(|| format!("no SLO is called {}; there are {}", quoted(name), names())),
        (None, 1) => Ok(0),
        (None, _) => Err(format!("label the samples with the `slo` they are of: {}", names())),
    }
}

/// `{ rate, consumed, error_rate }`; `None`: nothing was counted.
fn production(slo: &Slo, Counted { good, bad }: Counted) -> Option<String> {
    let all = good + bad;
    let window = slo.window.as_secs_f64();
    if all <= 0.0 || window <= 0.0 {
        return None;
    }
    let budget = all * (1.0 - slo.objective.as_f64());
    let rate = all / window;
    // A rate is written to a millionth.
    let rate = if rate >= 1.0 { plain(rate) + "/s" } else { plain(rate * 86_400.0) + "/d" };
    // More than a million per cent is not to be written, nor to be told from it.
    let consumed = plain((100.0 * bad / budget).min(1e6));
    let errors = plain((100.0 * bad / all).min(99.999_999));
    Some(format!("{{ rate = \"{rate}\", consumed = \"{consumed}%\", error_rate = \"{errors}%\" }}"))
}

/// To six decimals, without zeros at the end; never nothing.
fn plain(number: f64) -> String {
    let text = format!("{:.6}", number.max(0.0));
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(slos: &[&str]) -> Plan {
        let mut text = "[proxy]\nupstream = \"http://127.0.0.1:9000\"\n".to_owned();
        for slo in slos {
            let _ = write!(text, "[slos.{slo}]\nobjective = \"99.9%\"\nsli.availability = {{}}\n");
        }
        let (scenario, _) = crate::scenario::read(vec![("t".to_owned(), text)], &[]);
        let (plan, notes) = crate::plan::compile(&scenario);
        plan.unwrap_or_else(|| panic!("{notes:?}"))
    }

    fn sample(labels: &str, value: &str) -> String {
        format!("{{\"metric\":{{{labels}}},\"value\":[1764450000.1,\"{value}\"]}}")
    }

    /// 140 events a second over 28 days, of which 0.018 % were bad: 18 % of the budget.
    #[test]
    fn what_was_counted_is_what_is_known() {
        let all = 140.0 * 28.0 * 86_400.0;
        let bad = all * 0.000_18;
        let samples = [
            sample("\"slo\":\"pay\",\"outcome\":\"good\"", &(all - bad).to_string()),
            sample("\"slo\":\"pay\",\"outcome\":\"bad\",\"cause\":\"a\"", &(bad / 4.0).to_string()),
            sample(
                "\"slo\":\"pay\",\"outcome\":\"bad\",\"cause\":\"b\"",
                &(bad * 0.75).to_string(),
            ),
        ]
        .join(",");
        let whole = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{samples}]}}}}"
        );
        for text in [whole, format!("[{samples}]")] {
            let made = history("h.json", &text, &plan(&["pay", "find"])).unwrap();
            let want = "{ rate = \"140/s\", consumed = \"18%\", error_rate = \"0.018%\" }";
            assert_eq!(made, format!("slos.pay.production={want}\n"));
        }
        // Overspent, and rare; of the only SLO there is.
        let few = [sample("\"outcome\":\"good\"", "90"), sample("\"outcome\":\"bad\"", "10")];
        let made = history("h.json", &format!("[{}]", few.join(",")), &plan(&["pay"])).unwrap();
        let want = "{ rate = \"3.571429/d\", consumed = \"10000%\", error_rate = \"10%\" }";
        assert_eq!(made, format!("slos.pay.production={want}\n"));
    }

    #[test]
    fn what_says_nothing_is_told() {
        let good = |labels: &str| format!("[{}]", sample(labels, "5"));
        let outcome = "\"outcome\":\"good\"";
        for (text, slos, why) in [
            ("nonsense".to_owned(), &["pay"][..], "h.json is no answer"),
            ("{\"status\":\"error\",\"error\":\"bad query\"}".to_owned(), &["pay"], "bad query"),
            ("[]".to_owned(), &["pay"], "no events of any SLO"),
            (good(outcome), &["pay", "find"], "label the samples with the `slo`"),
            (good("\"slo\":\"pai\",\"outcome\":\"good\""), &["pay"], "no SLO is called \"pai\""),
            (good("\"outcome\":\"excluded\""), &["pay"], "not `excluded`"),
            (good(""), &["pay"], "an `outcome` is"),
            (format!("[{}]", sample(outcome, "NaN")), &["pay"], "NaN is no count"),
            (format!("[{}]", sample(outcome, "-1")), &["pay"], "-1 is no count"),
        ] {
            let told = history("h.json", &text, &plan(slos)).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
