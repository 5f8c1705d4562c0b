use super::*;
use crate::budget::Dialect;
use crate::fault::grpc;
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
        per: crate::scenario::Per::Attempt,
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
        bad: Failures::COMMON,
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

/// Which statuses of gRPC are bad is the SLO's word; that of HTTP says nothing of a call.
#[test]
fn what_grpc_says() {
    use Cause::{Injected, Masked, Organic};
    let of = |grpc: &[u8]| {
        let bad = Failures { grpc: grpc::Statuses::of(grpc), ..Failures::COMMON };
        slo(Sli::Availability { bad, exclude_status: Box::default(), abandoned_after: ms(1000) })
    };
    let common = slo(Sli::Availability {
        bad: Failures::COMMON,
        exclude_status: Box::default(),
        abandoned_after: ms(1000),
    });
    let (strict, lenient) = (of(&[5, 13, 14]), of(&[]));
    let said = |status, origin, hit| Outcome {
        grpc: Some(status),
        ..outcome(200, origin, End::Complete, hit, 1, 0)
    };
    for status in 0..=16_u8 {
        let call = said(status, Origin::Service, false);
        let want = |bad: bool| if bad { Event::Bad(Organic) } else { Event::Good };
        // By the names of google.rpc.Code.
        let name = grpc::Status::new(status).unwrap().name();
        let failure = "UNKNOWN DEADLINE_EXCEEDED RESOURCE_EXHAUSTED UNIMPLEMENTED INTERNAL \
                       UNAVAILABLE DATA_LOSS";
        let failure = failure.split(' ').any(|known| known == name);
        assert_eq!(judge(&common, &call), want(failure), "{name}");
        assert_eq!(judge(&strict, &call), want(matches!(status, 5 | 13 | 14)), "{name}");
        assert_eq!(judge(&lenient, &call), Event::Good, "{name}");
    }
    let (fault, service) = (Origin::Fault(0), Origin::Service);
    assert_eq!(judge(&strict, &said(5, fault, true)), Event::Bad(Injected));
    assert_eq!(judge(&strict, &said(5, service, true)), Event::Bad(Masked));
    assert_eq!(judge(&common, &said(5, fault, true)), Event::Good);
    // What is no answer is none, whatever the trailers would have been.
    let cut = Outcome { end: End::Cut, ..said(0, service, false) };
    assert_eq!(judge(&lenient, &cut), Event::Bad(Organic));
}

/// What is left out is, however it ended; each by its own reason.
#[test]
fn what_an_slo_does_not_count() {
    use Excluded::{Exclude, HealthCheck, Options};
    let exclusion = |place| {
        Some(std::sync::Arc::new(crate::plan::Exclusion {
            place,
            conditions: crate::plan::Conditions::default(),
        }))
    };
    let asked = |valid: Valid| {
        let sli = Sli::Availability {
            bad: Failures::COMMON,
            exclude_status: Box::default(),
            abandoned_after: ms(1000),
        };
        Slo { valid, ..slo(sli) }
    };
    let plain = || asked(Valid::default());
    let health = || asked(Valid { health_checks: true, ..Valid::default() });
    let options = || asked(Valid { options: true, ..Valid::default() });
    let without = |place| asked(Valid { exclude: exclusion(place), ..Valid::EVERYTHING });
    let rows = [
        // health check, OPTIONS, what takes it → what becomes of it
        (plain(), false, false, u64::MAX, None),
        (plain(), true, false, 0, Some(HealthCheck)),
        (plain(), false, true, 0, Some(Options)),
        (plain(), true, true, 0, Some(HealthCheck)),
        (health(), true, false, 0, None),
        (health(), true, true, 0, Some(Options)),
        (options(), false, true, 0, None),
        (options(), true, true, 0, Some(HealthCheck)),
        (without(0), true, true, 1, Some(Exclude)),
        (without(0), true, true, !1, None),
        (without(63), false, false, 1 << 63, Some(Exclude)),
        (without(63), false, false, !(1 << 63), None),
    ];
    for (slo, health_check, options, excludes, reason) in rows {
        let method = if options { Method::OPTIONS } else { Method::GET };
        let of = |status, end| Outcome {
            method: method.clone(),
            health_check,
            excludes,
            ..outcome(status, Origin::Service, end, false, 1, 0)
        };
        let unfinished = of(200, End::Unfinished);
        let out = |reason| Event::Excluded(reason);
        let good = reason.map_or(Event::Good, out);
        let bad = reason.map_or(Event::Bad(Cause::Organic), out);
        assert_eq!(judge(&slo, &of(200, End::Complete)), good, "{:?} {reason:?}", slo.valid);
        assert_eq!(judge(&slo, &of(500, End::Complete)), bad, "{:?} {reason:?}", slo.valid);
        assert_eq!(judge(&slo, &of(200, End::Cut)), bad, "{:?} {reason:?}", slo.valid);
        let left = reason.unwrap_or(Excluded::Unfinished);
        assert_eq!(judge(&slo, &unfinished), Event::Excluded(left), "{:?}", slo.valid);
    }
    // Of several as one: out only where all leave it out, and then as the first says.
    let member = |slo: Slo| Member { valid: slo.valid, sli: slo.sli, routes: Box::from([0]) };
    let all = |of: [Slo; 2]| Slo {
        valid: Valid::EVERYTHING,
        ..slo(Sli::All(of.into_iter().map(member).collect()))
    };
    let check =
        Outcome { health_check: true, ..outcome(500, Origin::Service, End::Complete, false, 1, 0) };
    assert_eq!(judge(&all([plain(), options()]), &check), Event::Excluded(HealthCheck));
    assert_eq!(judge(&all([plain(), health()]), &check), Event::Bad(Cause::Organic));
}
