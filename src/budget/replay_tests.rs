use std::time::Duration;

use super::*;
use crate::budget::history::Totals;
use crate::budget::tier::{Dialect, Factor};

const WINDOW: Duration = Duration::from_secs(28 * 86_400);

fn objective(billionths: u32) -> Share {
    Share::from_billionths(billionths).unwrap()
}

fn replay(dialect: Dialect, of: Share) -> Replay {
    Replay::new(dialect.tiers(WINDOW), of, Pad::default(), 0, 1)
}

/// Runs constant traffic, `bad(second)` of a thousand a second being bad, until `end`.
fn run(replay: &mut Replay, end: u64, bad: impl Fn(u64) -> u64) -> Vec<(String, Happened, u64)> {
    let mut history = History::default();
    let mut seen = Vec::new();
    for second in 0..end {
        history.record(second + 1, Totals { n: 1_000, bad: bad(second) });
        let changes = replay.ask(&history);
        seen.extend(changes.into_iter().map(|c| (c.tier.name.to_string(), c.happened, c.at)));
    }
    seen
}

fn told(rows: &[(&str, Happened, u64)]) -> Vec<(String, Happened, u64)> {
    rows.iter().map(|(name, what, at)| ((*name).to_owned(), *what, *at)).collect()
}

/// G1 to G5: to the second.
#[test]
fn golden_drills() {
    use Happened::{Fired, Resolved};
    let t999 = objective(999_000_000);
    let step = |first: u64, then: u64| {
        move |second| match second {
            120..420 => first,
            420..720 => then,
            _ => 0,
        }
    };
    let mut g1 = replay(Dialect::Sloth28, t999);
    assert_eq!(run(&mut g1, 800, step(50, 100)), []);
    let closest = g1.closest().unwrap();
    assert_eq!((&*closest.tier.name, closest.at), ("page-quick", 720));
    assert!((closest.pressure - 0.930_060).abs() <= 5e-7, "{}", closest.pressure);

    let mut g2 = replay(Dialect::Sloth28, t999);
    let seen = run(&mut g2, 4_000, step(50, 150));
    assert_eq!(seen, told(&[("page-quick", Fired, 643), ("page-quick", Resolved, 994)]));

    let mut g3 = replay(Dialect::Sloth28, t999);
    let seen = run(&mut g3, 25_000, |second| if (60..360).contains(&second) { 900 } else { 0 });
    let want = [
        ("page-quick", Fired, 114),
        ("page-slow", Fired, 195),
        ("ticket-quick", Fired, 329),
        ("ticket-slow", Fired, 329),
        ("page-quick", Resolved, 656),
        ("page-slow", Resolved, 2_149),
        ("ticket-quick", Resolved, 7_538),
        ("ticket-slow", Resolved, 21_938),
    ];
    assert_eq!(seen, told(&want));

    // One bad of the first fifty: every window would be an outage without its past.
    let t30 = Duration::from_secs(30 * 86_400);
    let mut g4 = Replay::new(Dialect::Sloth30.tiers(t30), t999, Pad::default(), 0, 1);
    let mut history = History::default();
    history.record(1, Totals { n: 50, bad: 1 });
    assert_eq!(g4.ask(&history), []);
    let hour = history.window(3_600, Pad::default());
    assert!((hour.bad as f64 / hour.n as f64 / 0.001 - 0.005_556).abs() <= 5e-7);
    let bare = history.window(3_600, Pad { rate: Some(0.0), bad: 0 });
    assert!((bare.bad as f64 / bare.n as f64 / 0.001 - 20.0).abs() <= 5e-7);
    let none = Pad { rate: Some(0.0), bad: 0 };
    let mut unpadded = Replay::new(Dialect::Sloth30.tiers(t30), t999, none, 0, 1);
    assert_eq!(unpadded.ask(&history).len(), 4);

    let t995 = objective(995_000_000);
    let until = |end: u64, bad: u64| move |second| if second < end { bad } else { 0 };
    assert_eq!(run(&mut replay(Dialect::Sloth28, t995), 2_000, until(900, 200)), []);
    let seen = run(&mut replay(Dialect::Sloth28, t995), 2_000, until(900, 500));
    assert_eq!(seen, told(&[("page-quick", Fired, 484), ("page-quick", Resolved, 1_160)]));
}

/// The first table of 2.3: closed forms rounded up to the tick.
#[test]
fn detection_and_reset() {
    use Happened::{Fired, Resolved};
    let t999 = objective(999_000_000);
    let rows = [
        (Dialect::Sloth30, t999, 0, 1_000, 400, 52, 696),
        (Dialect::Sloth30, t999, 0, 200, 400, 260, 679),
        (Dialect::Sloth28, t999, 0, 200, 400, 242, 680),
        (Dialect::Sloth30, t999, 1, 200, 1_900, 649, 3_646),
        (Dialect::Sloth30, objective(995_000_000), 0, 200, 1_400, 1_297, 1_592),
    ];
    for (dialect, of, tier, bad, stop, fires, resolves) in rows {
        let tiers = vec![dialect.tiers(WINDOW).swap_remove(tier)];
        let mut replay = Replay::new(tiers, of, Pad::default(), 0, 1);
        let seen = run(&mut replay, 4_000, |second| if second < stop { bad } else { 0 });
        let times: Vec<_> = seen.iter().map(|(_, what, at)| (*what, *at)).collect();
        assert_eq!(times, [(Fired, fires), (Resolved, resolves)], "{dialect:?} {tier} {bad}");
    }
    // At the threshold exactly, it does not fire: 14.4 of a thousand, over a whole hour and more.
    let mut history = History::default();
    let mut at =
        Replay::new(Dialect::Sloth30.tiers(WINDOW)[..1].into(), t999, Pad::default(), 0, 1);
    for second in 1..=5_000 {
        history.record(second, Totals { n: 10_000, bad: 144 });
        assert_eq!(at.ask(&history), []);
    }
    assert!((at.closest().unwrap().pressure - 1.0).abs() < 1e-12);
    // Organic errors in the past bring it forward: 233.503759 s.
    let pad = Pad { rate: None, bad: 500_000 };
    let mut early = Replay::new(Dialect::Sloth28.tiers(WINDOW)[..1].into(), t999, pad, 0, 1);
    assert_eq!(run(&mut early, 300, |_| 200)[0].2, 234);
}

/// Pyrra's `for`, an interval, and the guard against few bad events.
#[test]
fn what_delays_an_alert() {
    let t999 = objective(999_000_000);
    let mut pyrra = replay(Dialect::Pyrra, t999);
    assert_eq!(run(&mut pyrra, 400, |_| 200)[0], ("page-quick".to_owned(), Happened::Fired, 373));
    let quick = || Dialect::Sloth30.tiers(WINDOW)[..1].to_vec();
    // Promtool, at five seconds and at fifteen: within an interval of the closed form.
    for (interval, fires) in [(5, 260), (15, 270), (60, 300)] {
        let mut slow = Replay::new(quick(), t999, Pad::default(), 0, interval);
        assert_eq!(run(&mut slow, 400, |_| 200)[0].2, fires);
    }
    let mut history = History::default();
    let mut guarded = Replay::new(quick(), t999, Pad::default(), 5, 1);
    history.record(1, Totals { n: 2, bad: 2 });
    for second in 2..400 {
        history.record(second, Totals::default());
        assert_eq!(guarded.ask(&history), []);
    }
    assert!(guarded.closest().unwrap().pressure <= 0.4);
}

#[test]
fn nothing_is_made_of_nothing() {
    let mut replay = replay(Dialect::Sloth28, objective(999_999_999));
    let mut history = History::default();
    for second in 1..100 {
        history.record(second, Totals::default());
        assert_eq!(replay.ask(&history), []);
    }
    assert!(replay.tiers().all(|(_, state)| state.pressure.is_none()));
    assert_eq!(replay.closest(), None);
    history.record(100, Totals { n: u64::MAX, bad: u64::MAX });
    assert_eq!(replay.ask(&history).len(), 4);
    // The clock stood still for a year: everything is long ago.
    history.record(100 + 366 * 86_400, Totals::default());
    assert_eq!(replay.ask(&history).len(), 4);
    assert!(replay.tiers().all(|(_, state)| !state.firing && state.fired.len() == 1));
}

#[test]
fn a_reload_takes_the_state_along() {
    let t999 = objective(999_000_000);
    let mut before = replay(Dialect::Sloth28, t999);
    let mut history = History::default();
    for second in 1..=60 {
        history.record(second, Totals { n: 100, bad: 100 });
        before.ask(&history);
    }
    let firing = |replay: &Replay| replay.tiers().filter(|(_, state)| state.firing).count();
    assert_eq!(firing(&before), 1);
    let mut after = replay(Dialect::Workbook30, objective(990_000_000)).following(&before);
    assert_eq!((firing(&after), after.tiers().count()), (1, 3));
    history.record(61, Totals { n: 100, bad: 100 });
    let changes = after.ask(&history);
    assert_eq!((changes.len(), changes[0].happened), (1, Happened::Resolved));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Pressure above 1, the condition and the alert are the same thing, as whoever adds up the
    /// seconds of each window has it; below, pressure is what the weaker window makes of it.
    #[test]
    fn pressure_is_the_condition(
        seconds in proptest::collection::vec((0_u64..100, 0_u64..20), 1..300),
        billionths in 900_000_000_u32..1_000_000_000,
    ) {
        let of = objective(billionths);
        let own = |long, short, percent| Tier {
            name: "own".into(),
            long,
            short,
            factor: Factor::new(percent, 100).unwrap(),
            ..Dialect::Sloth28.tiers(WINDOW).swap_remove(0)
        };
        let mut tiers = Dialect::Sloth28.tiers(WINDOW);
        tiers.extend([own(60, 5, 150), own(10, 10, 400), own(120, 1, 99)]);
        let mut replay = Replay::new(tiers, of, Pad::default(), 0, 1);
        let mut history = History::default();
        for (second, (good, bad)) in (1..).zip(&seconds) {
            history.record(second, Totals { n: good + bad, bad: *bad });
            replay.ask(&history);
            // What there was before is as much as there has been on average, from the first second
            // with traffic to the last, and good.
            let busy = |(good, bad): &(u64, u64)| good + bad > 0;
            let so_far = &seconds[..second as usize];
            let first = so_far.iter().position(busy).unwrap_or(0);
            let last = so_far.iter().rposition(busy).unwrap_or(0);
            let total: u64 = so_far.iter().map(|(good, bad)| good + bad).sum();
            let mean = total as f64 / (last + 1 - first) as f64;
            let share = |window: u64| -> Option<f64> {
                let here = &seconds[second.saturating_sub(window) as usize..second as usize];
                let (good, bad) = here.iter().fold((0, 0), |(g, b), (h, c)| (g + h, b + c));
                let n = (good + bad) as f64 + mean * window.saturating_sub(second) as f64;
                (n > 0.0).then(|| bad as f64 / n)
            };
            for (tier, state) in replay.tiers() {
                let threshold = tier.factor.as_f64() * (1.0 - of.as_f64());
                let both = share(tier.long).zip(share(tier.short));
                let naive = both.map(|(long, short)| long.min(short) / threshold);
                let Some(naive) = naive.filter(|naive| (naive - 1.0).abs() > 1e-4) else { continue };
                let found = state.pressure.unwrap_or(0.0);
                proptest::prop_assert!((found - naive).abs() <= naive * 1e-3, "{} {}", found, naive);
                proptest::prop_assert_eq!(found > 1.0, naive > 1.0);
                proptest::prop_assert_eq!(state.firing, naive > 1.0);
            }
        }
    }

    #[test]
    fn a_page_is_its_share_of_the_budget(bad in 20_u64..1_000, seconds in 1_u64..3_000) {
        let of = objective(999_000_000);
        let mut replay = replay(Dialect::Sloth28, of);
        run(&mut replay, seconds, |_| bad);
        // Error-seconds over p · e · W, in thousandths.
        let spent = bad * seconds * 1_000_000 > 48_384 * 1_000_000;
        let (_, quick) = replay.tiers().next().unwrap();
        proptest::prop_assert_eq!(quick.firing, spent);
    }
}
