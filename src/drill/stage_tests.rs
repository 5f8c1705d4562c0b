use http::{HeaderMap, HeaderValue, Method};
use statrs::distribution::{Binomial, DiscreteCDF};

use super::*;

/// What outlives stages.
struct Kept {
    ledger: Ledger,
    counters: Counters,
}

fn kept() -> Kept {
    Kept { ledger: Ledger::new(8), counters: Counters::default() }
}

fn plan(faults: &str) -> Arc<Plan> {
    let text = format!("[proxy]\nupstream = \"http://127.0.0.1:9000\"\n{faults}");
    let (scenario, notes) = crate::scenario::read(vec![("test".to_owned(), text)], &[]);
    assert!(notes.is_empty(), "{notes:?}");
    let (plan, notes) = crate::plan::compile(&scenario);
    Arc::new(plan.unwrap_or_else(|| panic!("{notes:?}")))
}

fn scene(seed: u64) -> Scene {
    let phase_began = crate::clock::now();
    Scene { seed, position: Position::Phase(0), injecting: true, releasing: false, phase_began }
}

fn stage(faults: &str, seed: u64) -> Stage {
    let Kept { ledger, mut counters } = kept();
    Stage::new(plan(faults), &ledger, &mut counters, scene(seed))
}

/// A phase of what outlives it.
fn in_phase(kept: &mut Kept, plan: &Arc<Plan>, id: u16) -> Stage {
    let scene = Scene { position: Position::Phase(id), ..scene(7) };
    Stage::new(Arc::clone(plan), &kept.ledger, &mut kept.counters, scene)
}

fn asked(headers: &HeaderMap) -> Asked<'_> {
    Asked {
        only: None,
        method: &Method::GET,
        host: "t",
        path: "/",
        query: None,
        headers,
        client: None,
    }
}

/// Which faults hit one request, at `now`.
fn hit_at(stage: &Stage, headers: &HeaderMap, now: Instant) -> Vec<FaultId> {
    let mut struck = Vec::new();
    stage.decide(0, 0, &asked(headers), now, &mut struck, &mut ());
    struck.iter().map(|struck| struck.fault).collect()
}

/// For each of `n` requests, which faults hit it.
fn hits(stage: &Stage, n: usize) -> Vec<Vec<FaultId>> {
    let (none, now) = (HeaderMap::new(), crate::clock::now());
    (0..n).map(|_| hit_at(stage, &none, now)).collect()
}

fn user(name: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-user", HeaderValue::from_str(name).unwrap());
    headers
}

fn fault(name: &str, who: &str) -> String {
    format!("[faults.{name}]\nroutes = [\"*\"]\n{who}\ninject.error = 500\n")
}

/// So many of `n` are no surprise: as few, or as many, come about at least five times in ten
/// thousand by the exact binomial distribution.
fn close(hit: usize, n: f64, p: f64) {
    let of = Binomial::new(p, n as u64).unwrap();
    let few = of.cdf(hit as u64);
    let many = if hit == 0 { 1.0 } else { 1.0 - of.cdf(hit as u64 - 1) };
    assert!(few >= 0.0005 && many >= 0.0005, "{hit} of {n} at {p}: {few}, {many}");
}

/// From never to always.
#[test]
fn shares_hold() {
    for (share, p) in
        [("0%", 0.0), ("0.1%", 0.001), ("1%", 0.01), ("50%", 0.5), ("99%", 0.99), ("100%", 1.0)]
    {
        for seed in [7, 8, 9] {
            let stage = stage(&fault("a", &format!("probability = \"{share}\"")), seed);
            assert_eq!(stage.is_quiet(0), share == "0%", "{share}");
            let hit = hits(&stage, 100_000).iter().filter(|hit| !hit.is_empty()).count();
            match share {
                "0%" => assert_eq!(hit, 0),
                "100%" => assert_eq!(hit, 100_000),
                _ => close(hit, 1e5, p),
            }
        }
    }
}

#[test]
fn the_same_seed_decides_the_same() {
    let faults = fault("a", "probability = \"20%\"");
    assert_eq!(hits(&stage(&faults, 7), 1000), hits(&stage(&faults, 7), 1000));
    assert_ne!(hits(&stage(&faults, 7), 1000), hits(&stage(&faults, 8), 1000));
}

#[test]
fn raising_a_share_keeps_those_already_hit() {
    let low = hits(&stage(&fault("a", "probability = \"5%\""), 7), 10_000);
    let high = hits(&stage(&fault("a", "probability = \"25%\""), 7), 10_000);
    assert!(low.iter().zip(&high).all(|(low, high)| low.is_empty() || !high.is_empty()));
}

#[test]
fn members_of_a_group_never_meet() {
    let group = |name, share| fault(name, &format!("group = \"g\"\nprobability = \"{share}\""));
    let seen = hits(&stage(&(group("a", "10%") + &group("b", "5%")), 7), 100_000);
    assert!(seen.iter().all(|hit| hit.len() < 2));
    close(seen.iter().filter(|hit| **hit == [0]).count(), 1e5, 0.10);
    close(seen.iter().filter(|hit| **hit == [1]).count(), 1e5, 0.05);
    // A member at 0 % leaves its slice empty: nobody else's victims change.
    let without =
        hits(&stage(&(group("a", "10%") + &group("b", "5%") + &group("c", "0%")), 7), 100_000);
    assert_eq!(seen, without);
}

#[test]
fn independent_faults_combine() {
    let both = fault("a", "probability = \"20%\"") + &fault("b", "probability = \"5%\"");
    let seen = hits(&stage(&both, 7), 100_000);
    close(seen.iter().filter(|hit| !hit.is_empty()).count(), 1e5, 0.24);
    close(seen.iter().filter(|hit| hit.len() == 2).count(), 1e5, 0.01);
}

#[test]
fn first_every_limit_and_nothing() {
    let which = |who: &str| -> Vec<usize> {
        let seen = hits(&stage(&fault("a", who), 7), 20);
        (0..20).filter(|n| !seen[*n].is_empty()).collect()
    };
    assert_eq!(which("first = 3"), [0, 1, 2]);
    assert_eq!(which("every = 7"), [6, 13]);
    assert_eq!(which("limit = 2"), [0, 1]);
    assert_eq!(which("every = 3\nlimit = 2"), [2, 5]);
    assert_eq!(which("probability = \"0%\""), [0usize; 0]);
    assert_eq!(which("enabled = false"), [0usize; 0]);
}

/// Counters outlive the stage: pausing and resuming shifts nothing.
#[test]
fn counters_go_on() {
    let whole = hits(&stage(&fault("a", "every = 7"), 7), 40);
    let (mut kept, plan) = (kept(), plan(&fault("a", "every = 7")));
    let mut parts = hits(&in_phase(&mut kept, &plan, 0), 10);
    parts.extend(hits(&in_phase(&mut kept, &plan, 0), 30));
    assert_eq!(whole, parts);
}

/// Threads together hit exactly as many as one alone: every ordinal is taken once.
#[test]
fn threads_share_the_ordinals() {
    let faults = fault("a", "probability = \"30%\"") + &fault("b", "limit = 100");
    let count = |seen: &[Vec<FaultId>], id| seen.iter().filter(|hit| hit.contains(&id)).count();
    let alone = hits(&stage(&faults, 7), 40_000);
    let shared = Arc::new(stage(&faults, 7));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let stage = Arc::clone(&shared);
            std::thread::spawn(move || hits(&stage, 10_000))
        })
        .collect();
    let together: Vec<_> =
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect();
    assert_eq!(together.len(), 40_000);
    assert_eq!(count(&together, 0), count(&alone, 0));
    assert_eq!(count(&together, 1), 100);
}

/// How many of `n` requests are hit under a scenario that takes the place of another.
fn goes_on(kept: &mut Kept, faults: &str, n: usize) -> usize {
    let stage = in_phase(kept, &plan(faults), 0);
    hits(&stage, n).iter().filter(|hit| !hit.is_empty()).count()
}

/// Also through a reload that switches the fault off, or brings it a limit.
#[test]
fn a_limit_raised_lets_through_the_difference() {
    let kept = &mut kept();
    assert_eq!(goes_on(kept, &fault("a", "limit = 4"), 100), 4);
    assert_eq!(goes_on(kept, &fault("a", "limit = 6\nenabled = false"), 100), 0);
    assert_eq!(goes_on(kept, &fault("a", "limit = 6"), 100), 2);
    assert_eq!(goes_on(kept, &fault("renamed", "limit = 6"), 100), 6, "a new name is a new fault");
    goes_on(kept, &fault("c", ""), 10);
    assert_eq!(goes_on(kept, &fault("c", "limit = 12"), 100), 2);
    let limited = in_phase(kept, &plan(&fault("c", "limit = 12")), 0);
    let back = Struck { fault: 0, n: 0, actions: Vec::new(), active: None, per: None };
    limited.take_back(&[back]);
    assert_eq!(hits(&limited, 10).concat(), [0], "what was taken back is free again");
}

#[test]
fn no_ordinal_is_taken_at_zero_or_while_nothing_is_injected() {
    let kept = &mut kept();
    assert_eq!(goes_on(kept, &fault("a", "probability = \"0%\""), 100), 0);
    let plan = plan(&fault("a", ""));
    let scene = Scene { injecting: false, ..scene(7) };
    let paused = Stage::new(Arc::clone(&plan), &kept.ledger, &mut kept.counters, scene);
    assert_eq!(hits(&paused, 100).concat(), [0; 0]);
    assert!(paused.is_quiet(0) && paused.armed(0).next().is_none(), "nothing was put together");
    assert_eq!(kept.counters.ordinal(&"drill".into(), &"a".into()).take(), 0);
}

const PHASES: &str = "
[[phases]]
name = \"few\"
for = \"1m\"
faults = [\"a\"]
[[phases]]
name = \"many\"
for = \"1m\"
faults = [\"a\"]
set.a.probability = \"25%\"
[[phases]]
name = \"ramp\"
for = \"1m\"
ramp = \"10s\"
faults = [\"a\"]
[[phases]]
name = \"none\"
for = \"1m\"
";

/// A phase that raises 5 % to 25 % needs no second fault, and those hit at 5 % stay hit; requests
/// more in one phase shift nothing in the next.
#[test]
fn a_phase_raises_a_share() {
    let plan = plan(&(fault("a", "probability = \"5%\"") + PHASES));
    let low = hits(&in_phase(&mut kept(), &plan, 0), 10_000);
    let mut other = kept();
    hits(&in_phase(&mut other, &plan, 0), 123);
    let high = hits(&in_phase(&mut other, &plan, 1), 10_000);
    assert!(low.iter().zip(&high).all(|(low, high)| low.is_empty() || !high.is_empty()));
    close(low.concat().len(), 1e4, 0.05);
    close(high.concat().len(), 1e4, 0.25);
    assert!(hits(&in_phase(&mut other, &plan, 3), 1000).concat().is_empty());
    // Back in a phase, it goes on where it was.
    assert_eq!(hits(&in_phase(&mut other, &plan, 0), 1000), low[123..1123]);
}

#[test]
fn probabilities_climb() {
    let plan = plan(&(fault("a", "probability = \"50%\"") + PHASES));
    let stage = in_phase(&mut kept(), &plan, 2);
    let (from, none) = (stage.ramp.unwrap().from, HeaderMap::new());
    let hit = |after: u64| {
        let now = from + Duration::from_millis(after);
        (0..20_000).filter(|_| !hit_at(&stage, &none, now).is_empty()).count()
    };
    assert_eq!(hit(0), 0);
    for (after, share) in [(1_000, 0.05), (5_000, 0.25), (10_000, 0.5), (50_000, 0.5)] {
        close(hit(after), 2e4, share);
    }
}

/// 20 % of the callers grown to 40 % keeps every one of them; the same caller is always in or out.
#[test]
fn a_cohort_grows_around_its_members() {
    let cohort = |share: &str| {
        stage(&fault("a", &format!("cohort = \"header:x-user\"\nprobability = \"{share}\"")), 7)
    };
    let (small, large) = (cohort("20%"), cohort("40%"));
    let now = crate::clock::now();
    let (mut inside, mut more) = (0, 0);
    for n in 0..10_000 {
        let user = user(&format!("user-{n}"));
        let member = |stage: &Stage| !hit_at(stage, &user, now).is_empty();
        let (was, is) = (member(&small), member(&large));
        assert_eq!((was, is), (member(&small), member(&large)), "the same again");
        assert!(is || !was, "user-{n} was dropped");
        inside += usize::from(was);
        more += usize::from(is);
    }
    close(inside, 1e4, 0.2);
    close(more, 1e4, 0.4);
    // Without a value nobody is hit.
    assert!(hits(&large, 1000).concat().is_empty());
}

#[test]
fn each_caller_is_counted_for_itself() {
    let who = "per = \"header:x-user\"\nfirst = 2";
    let stage = stage(&fault("a", who), 7);
    let now = crate::clock::now();
    let hit = |name: &str| !hit_at(&stage, &user(name), now).is_empty();
    assert_eq!(
        [hit("a"), hit("b"), hit("a"), hit("a"), hit("b"), hit("b")],
        [true, true, true, false, true, false]
    );
    assert!(hits(&stage, 10).concat().is_empty(), "no value, no hit");
}

/// `limit` is the drill's, also for each caller: a new phase does not begin anew.
/// What each caller had for itself counts for all when a reload takes `per` away.
#[test]
fn a_limit_knows_what_was_counted_for_each() {
    let mut kept = kept();
    let each = plan(&fault("a", "limit = 2\nper = \"header:x-user\""));
    let each = Stage::new(each, &kept.ledger, &mut kept.counters, scene(7));
    let now = crate::clock::now();
    let hit = |stage: &Stage, name: &str| !hit_at(stage, &user(name), now).is_empty();
    let seen = ["a", "a", "a", "b"].map(|name| hit(&each, name));
    assert_eq!(seen, [true, true, false, true]);
    let all = plan(&fault("a", "limit = 4"));
    let all = Stage::new(all, &kept.ledger, &mut kept.counters, scene(7));
    assert_eq!(["c", "c"].map(|name| hit(&all, name)), [true, false]);
}

#[test]
fn a_limit_lasts_through_phases() {
    let phases = "[[phases]]\nname = \"x\"\nfor = \"1m\"\nfaults = [\"*\"]\n\
                  [[phases]]\nname = \"y\"\nfor = \"1m\"\nfaults = [\"*\"]\n";
    let plan = plan(&(fault("a", "per = \"header:x-user\"\nlimit = 3") + phases));
    let mut kept = kept();
    let now = crate::clock::now();
    let hit = |stage: &Stage, name: &str| {
        (0..2).filter(|_| !hit_at(stage, &user(name), now).is_empty()).count()
    };
    let first = in_phase(&mut kept, &plan, 0);
    assert_eq!(hit(&first, "u"), 2);
    let second = in_phase(&mut kept, &plan, 1);
    assert_eq!([hit(&second, "u"), hit(&second, "v")], [1, 2]);
}

#[test]
fn only_those_asked_for_are_eligible() {
    let only =
        "only = { methods = [\"GET\"], headers = { x-user = { regex = \"^a\" } } }\nfirst = 1";
    let stage = stage(&fault("a", only), 7);
    let now = crate::clock::now();
    let hit = |name: &str| !hit_at(&stage, &user(name), now).is_empty();
    // Who is not eligible takes no place.
    assert_eq!([hit("bob"), hit("bob"), hit("ann"), hit("ann")], [false, false, true, false]);
}

#[test]
fn no_more_than_max_active_at_once() {
    let stage = stage(&fault("a", "max_active = 2"), 7);
    let (none, now) = (HeaderMap::new(), crate::clock::now());
    let mut struck = Vec::new();
    for _ in 0..5 {
        stage.decide(0, 0, &asked(&none), now, &mut struck, &mut ());
    }
    assert_eq!(struck.len(), 2);
    struck.pop();
    stage.decide(0, 0, &asked(&none), now, &mut struck, &mut ());
    assert_eq!(struck.len(), 2, "one place was free again");
}

#[test]
fn verdicts_are_in_file_order_though_a_group_draws_at_its_first_member() {
    let text = fault("a", "group = \"g\"\nprobability = \"0.1%\"")
        + &fault("alone", "")
        + &fault("b", "group = \"g\"\nprobability = \"99.9%\"");
    let seen = hits(&stage(&text, 7), 1_000);
    assert!(seen.iter().all(|hit| hit.len() == 2 && hit.is_sorted()), "{seen:?}");
}

/// Also after a change of the share, in a phase with a ramp, and when a reload begins another
/// stage.
#[test]
fn an_even_spread_goes_on() {
    let even = |share: &str| fault("a", &format!("probability = \"{share}\"\nspread = \"even\""));
    let plan = plan(&(even("5%") + PHASES));
    for (id, share) in [(0, 0.05), (1, 0.25)] {
        let mut kept = kept();
        let mut seen = hits(&in_phase(&mut kept, &plan, id), 333);
        seen.extend(hits(&in_phase(&mut kept, &plan, id), 667));
        for k in [1, 7, 40, 500] {
            for window in seen.windows(k) {
                let hit = window.concat().len() as f64;
                assert!((hit - k as f64 * share).abs() < 1.0, "{hit} of {k}");
            }
        }
    }
    let ramp = in_phase(&mut kept(), &plan, 2);
    let (from, none) = (ramp.began, HeaderMap::new());
    let hit = |after: u64| {
        let now = from + Duration::from_secs(after);
        (0..2_000).filter(|_| !hit_at(&ramp, &none, now).is_empty()).count()
    };
    assert_eq!(hit(0), 0);
    for (after, want) in [(2, 20.0), (5, 50.0), (10, 100.0), (60, 100.0)] {
        assert!((hit(after) as f64 - want).abs() < 5.0, "{after} s");
    }
}

const BURSTS: &str = "bursts = { on = \"5s\", off = \"5s\" }";

/// Which of so many requests, a second apart from `from` on, are hit.
fn each_second(stage: &Stage, from: Instant, seconds: std::ops::Range<u64>) -> Vec<u64> {
    let none = HeaderMap::new();
    let hit = |n: &u64| !hit_at(stage, &none, from + Duration::from_secs(*n)).is_empty();
    seconds.filter(hit).collect()
}

/// In a calm nobody is eligible and no ordinal is taken; a member of a group leaves its slice empty.
#[test]
fn a_calm_takes_no_ordinal() {
    let alone = stage(&fault("a", BURSTS), 7);
    let hit = each_second(&alone, alone.began, 0..400);
    assert!((100..300).contains(&hit.len()), "{}", hit.len());
    assert_eq!(alone.draws[0].ordinal.take(), hit.len() as u64);

    let group = |name, more| fault(name, &format!("group = \"g\"\nprobability = \"50%\"\n{more}"));
    let both = stage(&(group("a", BURSTS) + &group("b", "")), 7);
    let none = HeaderMap::new();
    let seen: Vec<_> =
        (0..400).map(|n| hit_at(&both, &none, both.began + Duration::from_secs(n))).collect();
    let steady = hits(&stage(&(group("a", "") + &group("b", "")), 7), 400);
    for (n, (seen, steady)) in seen.iter().zip(&steady).enumerate() {
        let calm = !hit.contains(&(n as u64));
        assert_eq!(*seen, if calm && *steady == [0] { vec![] } else { steady.clone() }, "{n}");
    }
}

/// A pause stops the clock they go by, and a reload does not disturb it; the next phase has the
/// same bursts from its own beginning.
#[test]
fn bursts_go_by_the_drill_clock() {
    use crate::drill::control::{Control, Settings};
    let phases = "[[phases]]\nname = \"x\"\nfor = \"400s\"\nfaults = [\"a\"]\n\
                  [[phases]]\nname = \"y\"\nfor = \"400s\"\nfaults = [\"a\"]\n";
    let plan = plan(&(fault("a", BURSTS) + phases));
    let other = self::plan(&(fault("b", "first = 1") + &fault("a", BURSTS) + phases));
    let settings = Settings { seed: 7, environment: None, hold: false, halt_file: None };
    let start = crate::clock::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let control = Control::new(Arc::new(Ledger::new(1)), plan, settings, start);
    let alone = stage(&fault("a", BURSTS), 7);
    let want = each_second(&alone, alone.began, 0..400);

    let mut seen = each_second(&control.stage.load(), start, 0..100);
    control.pause(at(100)).unwrap();
    assert_eq!(each_second(&control.stage.load(), start, 100..600), [0; 0]);
    control.resume(at(600)).unwrap();
    seen.extend(each_second(&control.stage.load(), at(500), 100..200));
    control.adopt(other, at(700));
    seen.extend(each_second(&control.stage.load(), at(500), 200..400));
    assert_eq!(seen, want);
    control.tick(at(900));
    assert_eq!(each_second(&control.stage.load(), at(900), 0..400), want);
}
