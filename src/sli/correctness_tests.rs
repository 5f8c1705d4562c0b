use http::Method;
use proptest::prelude::*;

use super::*;
use crate::plan::Check;
use crate::sli::Checked;

/// The bit of the check asked about; the next one is somebody else's.
const CHECK: u64 = 1 << 3;
const OTHER: u64 = 1 << 4;

const RIGHT: Checked = Checked { right: CHECK, wrong: OTHER, unread: 0, own_wrong: OTHER };
const WRONG: Checked = Checked { right: OTHER, wrong: CHECK, unread: 0, own_wrong: 0 };
const WRONG_BY_ITSELF: Checked = Checked { own_wrong: CHECK, ..WRONG };
const UNREAD: Checked = Checked { right: 0, wrong: 0, unread: CHECK, own_wrong: 0 };
const NONE: Checked = Checked { right: OTHER, wrong: 0, unread: 0, own_wrong: 0 };

fn outcome(status: u16, origin: Origin, end: End, hit: Hit, checked: Option<Checked>) -> Outcome {
    Outcome {
        route: 0,
        method: Method::GET,
        status,
        origin,
        end,
        hit,
        served: None,
        grpc: None,
        total: Duration::from_millis(5),
        first_byte: Some(Duration::from_millis(1)),
        added: Duration::ZERO,
        operation: None,
        health_check: false,
        excludes: 0,
        checked,
    }
}

#[test]
fn every_row() {
    use Cause::{Injected, Masked, Organic};
    use End::{Complete, Cut, Destroyed};
    use Event::{Bad, Excluded as Out, Good};
    let (service, fault) = (Origin::Service, Origin::Fault(0));
    let gone = End::Abandoned { while_held: true };
    let (not_good, left) = (Out(Excluded::NotGood), Out(Excluded::ClientGone));
    // status, origin, end, hit, what was found
    let rows = [
        (200, service, Complete, Hit::No, Some(RIGHT), Good),
        (404, service, Complete, Hit::No, Some(RIGHT), Good),
        (200, service, Complete, Hit::No, Some(WRONG_BY_ITSELF), Bad(Organic)),
        // Late, and wrong by itself.
        (200, service, Complete, Hit::Yes, Some(WRONG_BY_ITSELF), Bad(Masked)),
        // Another head, other bytes, another answer.
        (200, service, Complete, Hit::Yes, Some(WRONG), Bad(Injected)),
        (200, service, Destroyed, Hit::Yes, Some(WRONG), Bad(Injected)),
        (200, service, Destroyed, Hit::Yes, Some(WRONG_BY_ITSELF), Bad(Masked)),
        (200, fault, Complete, Hit::Yes, Some(WRONG), Bad(Injected)),
        (200, fault, Complete, Hit::Yes, Some(WRONG_BY_ITSELF), Bad(Masked)),
        // Mended.
        (200, service, Destroyed, Hit::Yes, Some(RIGHT), Good),
        // It was not asked what the caller asked.
        (200, service, Complete, Hit::Altered, Some(WRONG_BY_ITSELF), Bad(Injected)),
        (200, service, Complete, Hit::No, Some(UNREAD), Out(Excluded::Unread)),
        (200, service, Destroyed, Hit::Yes, Some(UNREAD), Out(Excluded::Unread)),
        (200, service, Complete, Hit::No, Some(NONE), Out(Excluded::NoBody)),
        (101, service, Complete, Hit::No, None, Out(Excluded::NoBody)),
        // What availability is for.
        (500, service, Complete, Hit::No, Some(WRONG), not_good),
        (429, service, Complete, Hit::No, None, not_good),
        (503, fault, Complete, Hit::Yes, None, not_good),
        (0, fault, Complete, Hit::Yes, None, not_good),
        (200, service, Cut, Hit::No, None, not_good),
        (200, service, Destroyed, Hit::Yes, None, not_good),
        (502, Origin::Unreachable("x"), Complete, Hit::No, None, not_good),
        (200, service, gone, Hit::Yes, None, left),
        (0, service, End::Abandoned { while_held: false }, Hit::No, None, left),
    ];
    for (status, origin, end, hit, checked, want) in rows {
        let outcome = outcome(status, origin, end, hit, checked);
        assert_eq!(correctness(CHECK, &outcome), want, "{outcome:?}");
    }
    // Its trailers say that it failed; it had failed, and a fault answered something else.
    let fine = outcome(200, service, Complete, Hit::No, Some(RIGHT));
    assert_eq!(correctness(CHECK, &Outcome { grpc: Some(14), ..fine.clone() }), not_good);
    assert_eq!(correctness(CHECK, &Outcome { grpc: Some(5), ..fine }), Good);
    let lost =
        Outcome { served: Some(500), ..outcome(200, fault, Complete, Hit::Yes, Some(WRONG)) };
    assert_eq!(correctness(CHECK, &lost), Bad(Masked));
}

/// One event, one verdict: also together with others.
#[test]
fn with_others() {
    let check = Check {
        place: 3,
        header: Box::default(),
        content_type: None,
        json: None,
        body: None,
        read_up_to: 1,
    };
    let available = Sli::Availability {
        bad: Failures::COMMON,
        exclude_status: Box::default(),
        abandoned_after: Duration::from_secs(1),
    };
    let of = [available, Sli::Correctness(check.into())].map(|sli| {
        let (valid, routes) = (Valid::default(), Box::from([0]));
        Member { valid, sli, routes }
    });
    let all = Sli::All(of.into());
    let (complete, damaged) = (End::Complete, End::Destroyed);
    for (status, end, hit, checked, want) in [
        (200, complete, Hit::No, Some(RIGHT), Event::Good),
        (200, complete, Hit::No, Some(WRONG_BY_ITSELF), Event::Bad(Cause::Organic)),
        (200, complete, Hit::No, Some(NONE), Event::Good),
        (500, complete, Hit::No, None, Event::Bad(Cause::Organic)),
        (200, damaged, Hit::Yes, Some(WRONG), Event::Bad(Cause::Injected)),
        (200, damaged, Hit::Yes, Some(RIGHT), Event::Bad(Cause::Injected)),
        // Bad without the fault as well.
        (200, damaged, Hit::Yes, Some(WRONG_BY_ITSELF), Event::Bad(Cause::Masked)),
    ] {
        let outcome = outcome(status, Origin::Service, end, hit, checked);
        assert_eq!(by(&Valid::EVERYTHING, &all, &outcome), want, "{outcome:?}");
    }
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let end = prop_oneof![
        5 => Just(End::Complete),
        2 => Just(End::Destroyed),
        1 => Just(End::Cut),
        1 => Just(End::Unfinished),
        1 => any::<bool>().prop_map(|while_held| End::Abandoned { while_held }),
    ];
    let origin = prop_oneof![3 => Just(Origin::Service), 1 => Just(Origin::Fault(0))];
    let hit = prop_oneof![Just(Hit::No), Just(Hit::Yes), Just(Hit::Altered)];
    let status = prop_oneof![4 => Just(200), 1 => Just(0), 1 => Just(404), 1 => Just(500)];
    let found = (0..4_u8, any::<bool>()).prop_map(|(found, own)| {
        let bits = |is: bool| if is { CHECK } else { 0 };
        let (right, wrong, unread) = (bits(found == 0), bits(found == 1), bits(found == 2));
        Checked { right, wrong, unread, own_wrong: bits(own) & wrong }
    });
    (status, origin, end, hit, proptest::option::of(found))
        .prop_map(|(status, origin, end, hit, checked)| outcome(status, origin, end, hit, checked))
}

proptest! {
    /// The causes add up to what is bad, and to all that is wrong of what is looked at; nobody is
    /// blamed who had no part in it; what availability charges is charged once, but for damage.
    #[test]
    fn causes_add_up(outcomes in proptest::collection::vec(outcomes(), 0..50)) {
        let available = Sli::Availability {
            bad: Failures::COMMON,
            exclude_status: Box::default(),
            abandoned_after: Duration::from_secs(1),
        };
        let (mut causes, mut good, mut excluded) = ([0; 3], 0, 0);
        for outcome in &outcomes {
            match correctness(CHECK, outcome) {
                Event::Good => good += 1,
                Event::Excluded(_) => excluded += 1,
                Event::Bad(cause) => {
                    causes[cause as usize] += 1;
                    prop_assert_eq!(cause == Cause::Organic, outcome.hit == Hit::No);
                    let own = outcome.checked.unwrap().own_wrong != 0;
                    prop_assert_eq!(cause == Cause::Masked, outcome.hit == Hit::Yes && own);
                    let charged = by(&Valid::default(), &available, outcome) != Event::Good;
                    prop_assert_eq!(charged, outcome.end == End::Destroyed);
                }
            }
        }
        let looked_at = outcomes.iter().filter(|outcome| {
            [200, 404].contains(&outcome.status)
                && matches!(outcome.end, End::Complete | End::Destroyed)
        });
        let found = |bits: fn(Checked) -> u64| {
            looked_at.clone().filter(|it| it.checked.is_some_and(|it| bits(it) != 0)).count()
        };
        prop_assert_eq!(causes.iter().sum::<usize>(), found(|it| it.wrong));
        prop_assert_eq!(good, found(|it| it.right));
        prop_assert_eq!(good + excluded + causes.iter().sum::<usize>(), outcomes.len());
    }
}
