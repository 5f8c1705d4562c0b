use proptest::prelude::*;

use super::*;
use crate::sli::{Cause, Excluded};

const GOOD: Event = Event::Good;
const BAD: Event = Event::Bad(Cause::Organic);
const HIT: Event = Event::Bad(Cause::Injected);
const GONE: Event = Event::Excluded(Excluded::ClientGone);
const OUT: Event = Event::Excluded(Excluded::Unfinished);

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap()
}

fn attempt(key: u64, arrived: f64) -> Attempt {
    Attempt { key, arrived: seconds(arrived) }
}

/// From, to, and what it was to the only SLO, in phase 0.
fn whole(operations: &Operations, key: u64, from: f64, to: f64, event: Event) {
    operations.arrives(attempt(key, from));
    end(operations, key, from, to, event);
}

fn end(operations: &Operations, key: u64, from: f64, to: f64, event: Event) {
    let verdicts = vec![Verdict { slo: 0, phase: 0, event }];
    operations.ends(attempt(key, from), seconds(to), event == GOOD, verdicts);
}

/// What is over by then.
fn over(operations: &Operations, now: Option<f64>) -> Vec<(Event, u64)> {
    let mut settled = Settled::new();
    operations.settle(now.map(seconds), &mut settled);
    let mut found: Vec<_> = settled.into_iter().map(|(verdict, n)| (verdict.event, n)).collect();
    found.sort_by_key(|found| format!("{found:?}"));
    found
}

fn counts(operations: &Operations) -> (u64, u64, u64) {
    let OperationCounts { attempts, operations, recovered, .. } = operations.counts();
    (attempts, operations, recovered)
}

#[test]
fn retries_are_attempts_of_one_operation() {
    let operations = Operations::default();
    whole(&operations, 1, 0.0, 0.1, BAD);
    whole(&operations, 1, 1.0, 1.1, BAD);
    whole(&operations, 1, 2.0, 2.1, GOOD);
    whole(&operations, 2, 2.0, 2.1, GOOD);
    assert_eq!(counts(&operations), (4, 2, 1));
    // Recovered once, not again by a repeat, nor by another failure and what came after it.
    whole(&operations, 1, 3.0, 3.1, GOOD);
    whole(&operations, 1, 4.0, 4.1, BAD);
    whole(&operations, 1, 5.0, 5.1, GOOD);
    assert_eq!(counts(&operations), (7, 2, 1));
    // A key that comes back later is a new operation.
    whole(&operations, 1, 15.2, 15.3, GOOD);
    assert_eq!(counts(&operations), (8, 3, 1));
}

/// Rows of attempts at one operation (from, to, event), and what it was.
#[test]
fn the_last_attempt_decides() {
    type Row<'r> = (&'r [(f64, f64, Event)], Event);
    let rows: [Row<'_>; 9] = [
        (&[(0.0, 1.0, BAD)], BAD),
        (&[(0.0, 1.0, BAD), (2.0, 3.0, GOOD)], GOOD),
        (&[(0.0, 1.0, GOOD), (2.0, 3.0, HIT)], HIT),
        // Ten seconds are from the end of one to the beginning of the next.
        (&[(0.0, 1.0, BAD), (11.0, 40.0, GOOD)], GOOD),
        (&[(0.0, 30.0, BAD), (40.0, 41.0, GOOD)], GOOD),
        // What says nothing takes nothing back, and decides where nothing else was said.
        (&[(0.0, 1.0, GONE), (2.0, 3.0, GOOD)], GOOD),
        (&[(0.0, 1.0, BAD), (2.0, 3.0, GONE)], BAD),
        (&[(0.0, 1.0, GOOD), (2.0, 3.0, OUT), (4.0, 5.0, GONE)], GOOD),
        (&[(0.0, 1.0, OUT), (2.0, 3.0, GONE)], GONE),
    ];
    for (attempts, event) in rows {
        let operations = Operations::default();
        for (from, to, event) in attempts {
            whole(&operations, 7, *from, *to, *event);
        }
        assert_eq!(over(&operations, None), [(event, 1)], "{attempts:?}");
        assert_eq!(over(&operations, None), [], "once");
    }
}

/// The last is the one that arrived last, whichever ends first: nobody waits for the other.
#[test]
fn attempts_may_end_out_of_order() {
    for (first, second) in [(BAD, GOOD), (GOOD, BAD)] {
        let operations = Operations::default();
        operations.arrives(attempt(1, 0.0));
        whole(&operations, 1, 3.0, 4.0, second);
        assert_eq!(over(&operations, Some(1_000.0)), [], "one is under way");
        end(&operations, 1, 0.0, 25.0, first);
        assert_eq!(over(&operations, Some(35.9)), []);
        assert_eq!(over(&operations, Some(36.0)), [(second, 1)]);
        let recovered = u64::from(second == GOOD);
        assert_eq!(counts(&operations), (2, 1, recovered));
    }
}

#[test]
fn they_are_settled_when_no_further_attempt_has_come() {
    let operations = Operations::default();
    whole(&operations, 1, 0.0, 0.5, BAD);
    whole(&operations, 2, 0.0, 0.5, GOOD);
    assert_eq!(over(&operations, Some(11.0)), []);
    // In time; it takes longer than that.
    operations.arrives(attempt(1, 10.5));
    assert_eq!(over(&operations, Some(11.5)), [(GOOD, 1)]);
    assert_eq!(over(&operations, Some(60.0)), []);
    end(&operations, 1, 10.5, 70.0, HIT);
    assert_eq!(over(&operations, Some(80.9)), []);
    assert_eq!(over(&operations, Some(81.0)), [(HIT, 1)]);
    assert_eq!(counts(&operations), (3, 2, 0));
    // Too late, and nobody has looked in the meantime.
    whole(&operations, 3, 100.0, 101.0, BAD);
    whole(&operations, 3, 111.1, 112.0, GOOD);
    assert_eq!(over(&operations, Some(112.0)), [(BAD, 1)]);
    assert_eq!(over(&operations, None), [(GOOD, 1)]);
}

/// Its phase is the deciding attempt's; each SLO has its own.
#[test]
fn each_slo_has_its_own_verdict() {
    let operations = Operations::default();
    let verdict = |slo, phase, event| Verdict { slo, phase, event };
    operations.arrives(attempt(1, 0.0));
    let first = vec![verdict(0, 0, BAD), verdict(1, 0, GOOD)];
    operations.ends(attempt(1, 0.0), seconds(1.0), false, first);
    // A reload has put another SLO before the others.
    operations.arrives(attempt(1, 2.0));
    let second = vec![verdict(2, 1, GOOD), verdict(0, 1, GONE), verdict(1, 1, BAD)];
    operations.ends(attempt(1, 2.0), seconds(3.0), false, second);
    let mut settled = Settled::new();
    operations.settle(None, &mut settled);
    let want = [verdict(0, 0, BAD), verdict(1, 1, BAD), verdict(2, 1, GOOD)];
    assert_eq!(settled, want.into_iter().map(|verdict| (verdict, 1)).collect());
}

/// The quiet for longest are settled first, counted, and never lost.
#[test]
fn memory_is_bounded() {
    let operations = Operations::default();
    let (all, room) = (300_000_u64, (SHARDS * WAITING) as u64);
    // One stays under way: it is never one of those.
    operations.arrives(attempt(u64::MAX, 0.0));
    for key in 0..all {
        whole(&operations, key, 0.0, key as f64 / 1e6, if key < 1_000 { BAD } else { GOOD });
    }
    let known: usize = operations.shards.iter().map(|shard| lock(shard).known.len()).sum();
    assert_eq!(known as u64, room + 1);
    assert_eq!(operations.counts().early, all - room);
    assert_eq!(over(&operations, Some(0.0)), [(BAD, 1_000), (GOOD, all - room - 1_000)]);
    end(&operations, u64::MAX, 0.0, 5.0, GONE);
    assert_eq!(over(&operations, None), [(GONE, 1), (GOOD, room)]);
    assert_eq!(operations.counts().operations, all + 1);
}

/// One attempt of a made-up drill.
#[derive(Debug, Clone)]
struct Try {
    key: u64,
    from: u32,
    to: u32,
    event: Event,
}

/// What a list knows: by key, in the order they came, one operation after the other.
fn naively(tries: &[Try]) -> (usize, Vec<Event>) {
    let mut all = Vec::new();
    for key in 0..4 {
        let mut open: Option<(u32, Vec<Event>)> = None;
        for one in tries.iter().filter(|one| one.key == key) {
            match &mut open {
                Some((until, events)) if one.from <= *until + 100 => {
                    *until = one.to.max(*until);
                    events.push(one.event);
                }
                open => all.extend(open.replace((one.to, vec![one.event]))),
            }
        }
        all.extend(open);
    }
    let decides = |events: &Vec<Event>| {
        let says = events.iter().rfind(|event| !matches!(event, Event::Excluded(_)));
        *says.or(events.last()).unwrap()
    };
    let mut events: Vec<Event> = all.iter().map(|(_, events)| decides(events)).collect();
    events.sort_by_key(|event| format!("{event:?}"));
    (all.len(), events)
}

proptest! {
    /// Attempts that overlap, come too late, or at the same time as the control plane looks, at any
    /// of its moments: as many operations as a list finds, of the same kinds.
    #[test]
    fn sums_are_what_a_list_finds(
        tries in prop::collection::vec((0..4_u64, 1..60_u32, 0..250_u32, 0..4_usize), 1..40),
        looks in prop::collection::vec(0..2_400_u32, 0..20),
    ) {
        // Tenths of seconds, all of them at different times.
        let mut from = 0;
        let tries: Vec<Try> = tries.into_iter().map(|(key, gap, lasts, event)| {
            from += gap;
            let event = [GOOD, BAD, HIT, GONE][event];
            Try { key, from, to: from + lasts, event }
        }).collect();
        // Beginnings first: one that comes at the very end of those ten seconds is in time.
        let mut moments: Vec<(u32, u8, usize)> = Vec::new();
        for (at, one) in tries.iter().enumerate() {
            moments.extend([(one.from, 0, at), (one.to, 1, at)]);
        }
        moments.extend(looks.iter().map(|look| (*look, 2, 0)));
        moments.sort_unstable();
        let operations = Operations::default();
        let mut settled = Settled::new();
        for (time, what, at) in moments {
            let now = f64::from(time) / 10.0;
            match what {
                0 => operations.arrives(attempt(tries[at].key, now)),
                1 => {
                    let Try { key, from, event, .. } = tries[at];
                    end(&operations, key, f64::from(from) / 10.0, now, event);
                }
                _ => operations.settle(Some(seconds(now)), &mut settled),
            }
        }
        operations.settle(None, &mut settled);
        let (count, want) = naively(&tries);
        let each = settled.iter().flat_map(|(verdict, n)| vec![verdict.event; *n as usize]);
        let mut found: Vec<Event> = each.collect();
        found.sort_by_key(|event| format!("{event:?}"));
        prop_assert_eq!(found, want);
        prop_assert_eq!(operations.counts().operations as usize, count);
        prop_assert_eq!(operations.counts().attempts as usize, tries.len());
        prop_assert!(operations.shards.iter().all(|shard| lock(shard).known.is_empty()));
    }
}
