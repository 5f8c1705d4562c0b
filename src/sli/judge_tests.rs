use super::*;
use crate::budget::Dialect;
use crate::plan::{Alerts, Production};
use crate::units::Share;
use http::Method;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn outcome(status: u16, origin: Origin, end: End, hit: bool, total: u64, added: u64) -> Outcome {
    Outcome {
        route: 0,
        method: Method::GET,
        status,
        origin,
        end,
        hit: if hit { Hit::Yes } else { Hit::No },
        served: None,
        grpc: None,
        total: ms(total),
        first_byte: (status != 0).then(|| ms(total / 2)),
        added: ms(added),
        operation: None,
        health_check: false,
        excludes: 0,
        checked: None,
    }
}

fn slo(sli: Sli) -> Slo {
    Slo {
        name: "s".into(),
        counts: Box::default(),
        valid: Valid::default(),
        objective: Share::from_billionths(999_000_000).unwrap(),
        window: Duration::from_secs(28 * 86400),
        sli,
        slices: None,
        alerts: Alerts { dialect: Dialect::Custom, tiers: Box::default(), min_bad: 0, interval: 1 },
        production: Production::default(),
        allowance: None,
    }
}

#[test]
fn every_row() {
    use Cause::{Injected, Masked, Organic};
    use End::{Abandoned, BadRequestBody, Complete, Cut};
    use Event::{Bad, Excluded as Out, Good};
    let up = slo(Sli::Availability {
        bad_status: BAD_STATUS.into(),
        exclude_status: [StatusPattern { low: 404, high: 404 }].into(),
        abandoned_after: ms(1000),
    });
    let fast =
        slo(Sli::Latency { threshold: ms(800), of: Population::Good, clock: Clock::LastByte });
    let down = Origin::Unreachable("connection_refused");
    let gone = Abandoned { while_held: false };
    let held = Abandoned { while_held: true };
    let not_good = Out(Excluded::NotGood);
    let left = Out(Excluded::ClientGone);
    let (service, fault) = (Origin::Service, Origin::Fault(0));
    // status, origin, end, hit, total, added → availability, latency
    let rows = [
        (200, service, Complete, false, 10, 0, Good, Good),
        (200, service, Complete, false, 800, 0, Good, Good),
        (200, service, Complete, false, 801, 0, Good, Bad(Organic)),
        (200, service, Complete, true, 2010, 2000, Good, Bad(Injected)),
        (200, service, Complete, true, 3000, 2000, Good, Bad(Masked)),
        (200, service, Complete, true, 500, 400, Good, Good),
        (404, service, Complete, false, 10, 0, Out(Excluded::Status), Good),
        (429, service, Complete, false, 10, 0, Bad(Organic), not_good),
        (408, service, Complete, false, 10, 0, Bad(Organic), not_good),
        (500, service, Complete, false, 10, 0, Bad(Organic), not_good),
        (500, service, Complete, true, 2010, 2000, Bad(Masked), not_good),
        (500, fault, Complete, true, 1, 0, Bad(Injected), not_good),
        (200, fault, Complete, true, 1, 0, Good, Good),
        (0, fault, Complete, true, 1, 0, Bad(Injected), not_good),
        (502, down, Complete, false, 1, 0, Bad(Organic), not_good),
        (502, down, Complete, true, 2001, 2000, Bad(Masked), not_good),
        (200, service, Cut, false, 10, 0, Bad(Organic), not_good),
        (200, service, Cut, true, 2010, 2000, Bad(Masked), not_good),
        (0, service, held, true, 500, 500, Bad(Injected), Bad(Injected)),
        (0, service, gone, true, 510, 500, Bad(Injected), Bad(Injected)),
        (0, service, gone, false, 100, 0, left, left),
        (0, service, gone, false, 900, 0, left, Bad(Organic)),
        (0, service, gone, false, 1000, 0, Bad(Organic), Bad(Organic)),
        (0, service, gone, false, 800, 0, left, left),
        (
            400,
            Origin::Refused("x"),
            BadRequestBody,
            false,
            1,
            0,
            Out(Excluded::BadRequest),
            Out(Excluded::BadRequest),
        ),
        (
            200,
            service,
            End::Refused("write_stall"),
            false,
            1,
            0,
            Out(Excluded::Refused),
            Out(Excluded::Refused),
        ),
        (
            200,
            service,
            End::Unfinished,
            false,
            1,
            0,
            Out(Excluded::Unfinished),
            Out(Excluded::Unfinished),
        ),
        (
            503,
            Origin::Refused("x"),
            Complete,
            false,
            1,
            0,
            Out(Excluded::Refused),
            Out(Excluded::Refused),
        ),
    ];
    // A fault in the place of an answer, or inside it, or in the request: what the service had
    // said decides, unless it was not asked what the caller asked.
    let lost = Outcome { served: Some(200), ..outcome(503, fault, Complete, true, 1, 0) };
    let bad_lost = Outcome { served: Some(500), ..lost.clone() };
    let cut = outcome(200, service, End::Destroyed, true, 1, 0);
    let bad_cut = outcome(500, service, End::Destroyed, true, 1, 0);
    let altered = Outcome { hit: Hit::Altered, ..outcome(500, service, Complete, true, 1, 0) };
    let grpc = Outcome { grpc: Some(14), ..outcome(200, fault, Complete, true, 1, 0) };
    let fine = Outcome { grpc: Some(5), ..grpc.clone() };
    for (outcome, event) in [
        (&lost, Bad(Injected)),
        (&bad_lost, Bad(Masked)),
        (&cut, Bad(Injected)),
        (&bad_cut, Bad(Masked)),
        (&altered, Bad(Injected)),
        (&Outcome { end: Cut, ..altered.clone() }, Bad(Injected)),
        (&Outcome { end: gone, total: ms(2000), ..altered.clone() }, Bad(Injected)),
        (&grpc, Bad(Injected)),
        (&fine, Good),
    ] {
        assert_eq!(judge(&up, outcome), event, "availability of {outcome:?}");
    }
    let slow = Outcome { hit: Hit::Altered, ..outcome(200, service, Complete, true, 900, 0) };
    assert_eq!(judge(&fast, &slow), Bad(Injected));
    for (status, origin, end, hit, total, added, available, quick) in rows {
        let outcome = outcome(status, origin, end, hit, total, added);
        assert_eq!(judge(&up, &outcome), available, "availability of {outcome:?}");
        assert_eq!(judge(&fast, &outcome), quick, "latency of {outcome:?}");
    }
}
