//! Whatever a file says, there is a clear mistake or a scenario that compiles.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Holds what came out of a text to what is promised; the scenario, if there is one.
fn held(format: &Format, text: &str) -> Result<Option<String>, TestCaseError> {
    let Imported { notes, scenario, .. } = format.import("rules", text);
    let errors: Vec<&str> = notes
        .iter()
        .filter(|note| note.severity == Severity::Error)
        .map(|note| note.message.as_str())
        .collect();
    prop_assert_eq!(scenario.is_none(), !errors.is_empty(), "{:?}", errors);
    // Told where it is found, not when it is too late.
    let late = errors.iter().any(|error| error.starts_with("what came out"));
    prop_assert!(!late, "{:?} from {}", errors, text);
    if let Some(scenario) = &scenario {
        prop_assert_eq!(mistake(scenario).map(|note| note.message), None, "{}", scenario);
        prop_assert!(!scenario.contains(|c: char| c.is_control() && c != '\n'));
    }
    Ok(scenario)
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (0_u64..100_000).prop_map(Value::from),
        1 => Just(json!(0)),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => text().prop_map(Value::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z_]{1,8}", 1 => ".{0,12}", 1 => Just("${X:-\"'\\}\u{1}".to_owned())]
}

fn maybe<T: Strategy<Value = Value>>(value: T) -> impl Strategy<Value = Value> {
    prop_oneof![5 => value, 1 => Just(Value::Null)]
}

/// A map of some keys; what is null may as well not be there.
fn map(keys: &[&'static str]) -> impl Strategy<Value = Value> + use<> {
    let keys = keys.to_vec();
    prop::collection::vec(maybe(number()), keys.len()).prop_map(move |values| {
        keys.iter()
            .map(|key| (*key).to_owned())
            .zip(values)
            .collect::<serde_json::Map<_, _>>()
            .into()
    })
}

fn toxic() -> impl Strategy<Value = Value> {
    let kinds = [
        "latency",
        "bandwidth",
        "slow_close",
        "timeout",
        "reset_peer",
        "slicer",
        "limit_data",
        "noop",
        "other",
    ];
    let attributes = [
        "latency",
        "jitter",
        "rate",
        "delay",
        "timeout",
        "average_size",
        "size_variation",
        "bytes",
    ];
    let stream = prop_oneof![Just("upstream"), Just("downstream"), Just("Upstream")];
    let toxicity = prop_oneof![4 => (0.0..=1.0).prop_map(|share: f64| json!(share)), 1 => number()];
    let parts =
        (prop::sample::select(kinds.to_vec()), stream, maybe(toxicity), map(&attributes), text());
    parts.prop_map(|(kind, stream, toxicity, attributes, name)| {
        json!({ "name": name, "type": kind, "stream": stream, "toxicity": toxicity,
                "attributes": attributes })
    })
}

fn proxy() -> impl Strategy<Value = Value> {
    let listen = prop_oneof![
        3 => (1_u16..).prop_map(|port| format!("127.0.0.1:{port}")),
        1 => (0_u16..).prop_map(|port| format!(":{port}")),
        1 => Just("[::1]:0".to_owned()),
        1 => text(),
    ];
    let upstream = prop_oneof![
        8 => "[a-z]{1,5}(\\.[a-z]{1,3})?:[1-9][0-9]{0,3}",
        1 => Just("[::1]:80".to_owned()),
        1 => text(),
    ];
    let toxics = prop::collection::vec(toxic(), 0..4);
    (text(), listen, upstream, any::<bool>(), toxics).prop_map(
        |(name, listen, upstream, enabled, toxics)| {
            json!({ "name": name, "listen": listen, "upstream": upstream, "enabled": enabled,
                    "toxics": toxics })
        },
    )
}

fn percentage() -> impl Strategy<Value = Value> {
    let of = prop::sample::select(vec!["HUNDRED", "TEN_THOUSAND", "MILLION", "0", "2"]);
    maybe((number(), of).prop_map(|(n, of)| json!({ "numerator": n, "denominator": of })))
}

fn matcher() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        4 => "x-[a-z]{1,3}",
        1 => prop::sample::select(vec![":method", ":path", ":authority", "Host"])
            .prop_map(str::to_owned),
        1 => text(),
    ];
    let keys = vec!["exact", "prefix", "suffix", "contains", "ignore_case", "custom"];
    let says = prop_oneof![
        (prop::sample::select(keys), text())
            .prop_map(|(key, text)| { json!({ "string_match": { key: text } }) }),
        "[a-z(\\[{^$.*+?\\\\]{0,6}".prop_map(|it| json!({ "safe_regex_match": { "regex": it } })),
        any::<bool>().prop_map(|there| json!({ "present_match": there })),
        text().prop_map(|text| json!({ "exact_match": text })),
        Just(json!({ "range_match": { "start": 1, "end": 2 } })),
        Just(json!({})),
    ];
    (name, says, any::<bool>()).prop_map(|(name, mut says, inverted)| {
        says["name"] = name.into();
        says["invert_match"] = inverted.into();
        says
    })
}

fn filter() -> impl Strategy<Value = Value> {
    let time = prop_oneof![
        3 => (1_u32..).prop_map(|millis| format!("{}s", f64::from(millis) / 1e3)),
        1 => text(),
    ];
    let delay = (time, percentage())
        .prop_map(|(time, share)| json!({ "fixed_delay": time, "percentage": share }));
    let status = prop_oneof![3 => (200_u16..600).prop_map(Value::from), 1 => number()];
    let abort = prop_oneof![
        (status, percentage())
            .prop_map(|(status, share)| json!({ "http_status": status, "percentage": share })),
        (0_u8..18, percentage())
            .prop_map(|(status, share)| json!({ "grpcStatus": status, "percentage": share })),
    ];
    let limit = (number(), percentage()).prop_map(
        |(limit, share)| json!({ "fixed_limit": { "limit_kbps": limit }, "percentage": share }),
    );
    let cluster = text().prop_map(Value::from);
    let headers = prop::collection::vec(matcher(), 0..3);
    let nodes = prop::collection::vec(text(), 0..3);
    (maybe(delay), maybe(abort), maybe(limit), maybe(cluster), headers, nodes, maybe(number()))
        .prop_map(|(delay, abort, limit, cluster, headers, nodes, most)| {
            json!({ "delay": delay, "abort": abort, "response_rate_limit": limit,
                    "upstream_cluster": cluster, "headers": headers, "downstream_nodes": nodes,
                    "max_active_faults": most })
        })
}

fn string_match() -> impl Strategy<Value = Value> {
    let keys = prop_oneof![4 => Just("exact"), 2 => Just("prefix"), 1 => Just("regex"), 1 => Just("other")];
    let value = prop_oneof![4 => "/?[a-z]{0,3}(/[a-z{]{0,2})?/?", 1 => text()];
    prop_oneof![8 => (keys, value).prop_map(|(key, value)| json!({ key: value })), 1 => Just(json!({}))]
}

fn virtual_service() -> impl Strategy<Value = Value> {
    let word = || prop_oneof![20 => "[a-z]{1,6}", 1 => text()];
    let whole = |value| prop_oneof![20 => value, 1 => number()];
    let or_not = |value| prop_oneof![1 => value, 1 => Just(Value::Null)];
    let matches = (or_not(string_match().boxed()), string_match(), word())
        .prop_map(|(uri, header, name)| json!({ "uri": uri, "headers": { name: header } }));
    let percentage = whole((0_u32..101).prop_map(Value::from).boxed());
    let status = whole((200_u32..600).prop_map(Value::from).boxed());
    let fault =
        (percentage, or_not(whole(Just(json!("2s")).boxed()).boxed()), or_not(status.boxed()))
            .prop_map(|(percent, delay, status)| {
                let percentage = json!({ "value": percent });
                json!({
                    "delay": { "percentage": percentage, "fixedDelay": delay },
                    "abort": { "percentage": percentage, "httpStatus": status },
                })
            });
    let destination = (word(), whole((1_u32..65_536).prop_map(Value::from).boxed())).prop_map(
        |(host, port)| json!({ "destination": { "host": host, "port": { "number": port } } }),
    );
    let http = (
        prop::collection::vec(matches, 0..4),
        prop::collection::vec(destination, 0..3),
        or_not(fault.boxed()),
    )
        .prop_map(
            |(matches, route, fault)| json!({ "match": matches, "route": route, "fault": fault }),
        );
    (word(), prop::collection::vec(http, 1..4)).prop_map(|(name, http)| {
        json!({ "kind": "VirtualService", "metadata": { "name": name }, "spec": { "http": http } })
    })
}

proptest! {
    #[test]
    fn any_virtual_services(
        services in prop::collection::vec(virtual_service(), 1..3)
    ) {
        held(&ENVOY_FAULT, &json!({ "items": services }).to_string())?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn proxies_become_scenarios(proxies in prop::collection::vec(proxy(), 1..4)) {
        held(&TOXIPROXY, &Value::from(proxies).to_string())?;
    }

    #[test]
    fn filters_become_scenarios(filters in prop::collection::vec(filter(), 1..4)) {
        let filters: Vec<Value> = filters
            .into_iter()
            .map(|filter| json!({ "name": "envoy.filters.http.fault", "typed_config": filter }))
            .collect();
        held(&ENVOY_FAULT, &Value::from(filters).to_string())?;
    }

    #[test]
    fn no_text_panics(text in ".{0,100}", yaml in "(delay|abort|name|listen|upstream|[-a: \\[{}\n,]){0,12}") {
        for format in [&TOXIPROXY, &ENVOY_FAULT] {
            for text in [&text, &yaml] {
                held(format, text)?;
            }
        }
    }
}

/// The generators are not all mistakes, or the properties above say little.
#[test]
fn most_of_what_is_generated_has_a_scenario() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut good = [0; 3];
    for _ in 0..64 {
        let rules = [
            (&TOXIPROXY, json!([proxy().new_tree(&mut runner).unwrap().current()])),
            (&ENVOY_FAULT, filter().new_tree(&mut runner).unwrap().current()),
            (&ENVOY_FAULT, virtual_service().new_tree(&mut runner).unwrap().current()),
        ];
        for (good, (format, rules)) in good.iter_mut().zip(rules) {
            *good += usize::from(held(format, &rules.to_string()).unwrap().is_some());
        }
    }
    assert!(good.iter().all(|good| *good >= 6), "{good:?}");
}

fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..10_000, 1 => any::<u64>()]
}

/// An OpenSLO value of any kind where one is expected, and what stands for it in others.
fn openslo() -> impl Strategy<Value = Value> {
    let odd = || prop_oneof![3 => text().prop_map(Value::from), 1 => number()];
    let duration = prop_oneof![
        3 => "[0-9]{1,3}[mhdwMQYs]".prop_map(Value::from),
        1 => odd()
    ];
    let target =
        prop_oneof![3 => (0_u32..=1_000).prop_map(|t| json!(f64::from(t) / 1e3)), 1 => odd()];
    let method = prop_oneof![
        Just(json!("Occurrences")),
        Just(json!("Timeslices")),
        Just(json!("RatioTimeslices")),
        odd()
    ];
    let condition = (number(), duration.clone(), duration.clone(), odd()).prop_map(
        |(threshold, long, after, op)| {
            json!({ "kind": "AlertCondition", "spec": { "severity": "page", "condition": {
                "kind": "burnrate", "op": op, "threshold": threshold,
                "lookbackWindow": long, "alertAfter": after,
            } } })
        },
    );
    let policy = prop::collection::vec(maybe(condition), 0..3).prop_map(|conditions| {
        json!({ "kind": "AlertPolicy", "metadata": { "name": "p" }, "spec": { "conditions": conditions } })
    });
    let policy = prop_oneof![3 => policy, 1 => Just(json!({ "alertPolicyRef": "p" })), 1 => odd()];
    let parts =
        (maybe(text().prop_map(Value::from)), maybe(target), maybe(duration), maybe(method));
    (parts, prop::collection::vec(policy, 0..3), maybe(odd())).prop_map(
        |((name, target, window, method), policies, more)| {
            json!({
                "apiVersion": "openslo/v1",
                "kind": "SLO",
                "metadata": { "name": name },
                "spec": {
                    "description": more,
                    "service": "s",
                    "indicator": { "spec": more },
                    "objectives": [{ "target": target, "timeSliceWindow": window, "timeSliceTarget": target }],
                    "timeWindow": [{ "duration": window, "isRolling": true }],
                    "budgetingMethod": method,
                    "alertPolicies": policies,
                },
            })
        },
    )
}

proptest! {
    #[test]
    fn any_openslo(documents in prop::collection::vec(openslo(), 0..4), torn in ".{0,60}") {
        for text in [documents.iter().map(|one| format!("---\n{one}\n")).collect(), torn] {
            let Imported { notes, scenario, .. } = super::openslo::import("rules", &text);
            let errors: Vec<&str> = notes
                .iter()
                .filter(|note| note.severity == Severity::Error)
                .map(|note| note.message.as_str())
                .collect();
            prop_assert!(!errors.iter().any(|error| error.starts_with("what came out")), "{:?} {}", errors, text);
            if let Some(scenario) = scenario {
                let whole = format!("proxy.upstream = \"http://host\"\n{scenario}");
                prop_assert_eq!(mistake(&whole).map(|note| note.message), None, "{}", scenario);
            }
        }
    }

    /// Records are files: whatever they say is refused or replayed, and never a panic.
    #[test]
    fn any_record(
        sums in prop::collection::vec(prop::array::uniform3(moment()), 0..5),
        fired in prop::collection::vec((moment(), prop::option::of(moment())), 0..3),
        windows in prop::array::uniform3(moment()),
        pad in any::<f64>(),
        torn in ".{0,60}",
    ) {
        let record = json!({ "backburn_record": 1, "drill": "d", "began": "", "seconds": 1, "slos": [{
            "name": "up\"\n", "objective_billionths": 999_000_000, "window_seconds": windows[0],
            "dialect": "sloth-28d", "min_bad": 0, "evaluation_interval_seconds": 1,
            "pad_events_per_second": if pad.is_finite() { pad } else { 1.0 },
            "tiers": [{
                "name": "t", "severity": "page", "long_window_seconds": windows[1],
                "short_window_seconds": windows[2], "factor": [1, 2], "for_seconds": 0, "fired": fired,
            }],
            "sums": sums,
        }] });
        for text in [record.to_string(), torn] {
            if let Ok(record) = record::Record::read(&text) {
                let options = proof::Options::default();
                let _ = proof::proof(&record, "rules.yml", options);
            }
        }
    }
}
