//! V13: a latency SLI counts at its threshold; a histogram's buckets do not know what happened there.

use std::time::Duration;

use http::Method;

use super::series::Histogram;
use super::snapshot::Buckets;
use super::{End, Event, Hit, Origin, Outcome, judge};
use crate::plan::{Plan, Slo};

fn plan() -> Plan {
    let text = "[proxy]\nupstream = \"http://127.0.0.1:9000\"\n[slos.fast]\nobjective = \"90%\"\n\
                sli.latency.threshold = \"200ms\"\n";
    let (scenario, _) = crate::scenario::read(vec![("t".to_owned(), text.to_owned())], &[]);
    crate::plan::compile(&scenario).0.unwrap()
}

fn answered(total: Duration) -> Outcome {
    Outcome {
        route: 0,
        method: Method::GET,
        status: 200,
        origin: Origin::Service,
        end: End::Complete,
        hit: Hit::No,
        served: None,
        grpc: None,
        total,
        first_byte: Some(total),
        added: Duration::ZERO,
        operation: None,
        health_check: false,
        excludes: 0,
        checked: None,
    }
}

/// What a query over buckets makes of them: straight between two edges.
fn interpolated(edges: [(f64, u64); 2], at: f64, n: u64) -> f64 {
    let [(low, below), (high, up_to)] = edges;
    (below as f64 + (up_to - below) as f64 * (at - low) / (high - low)) / n as f64
}

#[test]
fn counted_and_not_interpolated() {
    let plan = plan();
    let slo: &Slo = &plan.slos[0];
    let (mut good, histogram) = (0_u64, Histogram::default());
    // 900 within 100 ms, 5 up to 200 ms (the last exactly there), 45 up to 250 ms, 50 beyond.
    let requests = (0..900)
        .map(|at| 10 + at / 10)
        .chain([120, 150, 180, 199, 200])
        .chain((0..45).map(|at| 205 + at))
        .chain((0..50).map(|at| 251 + at));
    for milliseconds in requests {
        let outcome = answered(Duration::from_millis(milliseconds));
        good += u64::from(judge(slo, &outcome) == Event::Good);
        histogram.record(outcome.total);
    }
    assert_eq!(good, 905);
    let just_over = answered(Duration::from_nanos(200_000_001));
    assert!(matches!(judge(slo, &just_over), Event::Bad(_)));
    let mut seen = Buckets::default();
    histogram.add_to(&mut seen);
    let up_to = |edge: f64| -> u64 {
        let edges = super::series::EDGES.iter().zip(&seen.counts);
        edges.filter(|(known, _)| **known <= edge).map(|(_, count)| count).sum()
    };
    assert_eq!((up_to(0.1), up_to(0.25)), (900, 950));
    let naive = interpolated([(0.1, up_to(0.1)), (0.25, up_to(0.25))], 0.2, 1_000);
    crate::budget::close(naive, 0.933_333);
    crate::budget::close(good as f64 / 1_000.0, 0.905);
}
