//! Whether the alerts would fire in what is still to come: the conditions asked of the past and of
//! what is expected, at moments of the future.

use super::expected::Stretch;
use super::history::{History, Pad};
use super::replay::Replay;
use super::tier::{Severity, Tier};

/// Moments that are looked at in each stretch.
const MOMENTS: u32 = 32;

/// A page that is to be expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Ahead {
    pub tier: Tier,
    /// Seconds from now; late by at most a thirty-second part of the stretch it falls into.
    pub after: f64,
}

/// Expected events, and bad ones.
type Sum = (f64, f64);

impl Replay {
    /// The first page that fires if the stretches to come go as expected. Not one that fires already.
    pub fn ahead(&self, history: &History, to_come: &[Stretch]) -> Option<Ahead> {
        let (pages, mut since): (Vec<&Tier>, Vec<Option<f64>>) = self
            .tiers()
            .filter(|(tier, state)| tier.severity == Severity::Page && !state.firing)
            .map(|(tier, state)| (tier, state.since.map(|_| 0.0)))
            .unzip();
        let mut pad = self.pad();
        if history.total().n == 0 {
            // Nothing has been counted whose mean could be assumed.
            pad.rate = pad.rate.or(to_come.first().map(|stretch| stretch.rate));
        }
        let ends = |seconds: &mut f64, stretch: &Stretch| {
            *seconds += stretch.seconds.max(0.0);
            Some((*seconds, stretch.seconds.max(0.0)))
        };
        for (end, length) in to_come.iter().scan(0.0, ends) {
            for moment in 1..=MOMENTS {
                let now = end - length * f64::from(MOMENTS - moment) / f64::from(MOMENTS);
                for (tier, since) in pages.iter().zip(&mut since) {
                    if !self.will_hold(tier, (history, pad), to_come, now) {
                        *since = None;
                        continue;
                    }
                    if now - *since.get_or_insert(now) >= tier.hold as f64 {
                        return Some(Ahead { tier: (*tier).clone(), after: now });
                    }
                }
            }
        }
        None
    }

    fn will_hold(
        &self,
        tier: &Tier,
        (history, pad): (&History, Pad),
        to_come: &[Stretch],
        now: f64,
    ) -> bool {
        let threshold = tier.threshold(self.objective());
        let seen = |window: u64| {
            let (n, bad) = between(to_come, now - window as f64, now);
            // What of the window lies behind us.
            let behind = window.saturating_sub(now as u64);
            let past = history.window(behind, pad);
            let counted = bad + past.counted_bad as f64 / 1e6;
            (n + past.n as f64 / 1e6, bad + past.bad as f64 / 1e6, counted)
        };
        let holds = |(n, bad, _): (f64, f64, f64)| n > 0.0 && bad / n > threshold;
        let short = seen(tier.short);
        holds(short) && short.2 >= self.min_bad() as f64 && holds(seen(tier.long))
    }
}

/// What is expected from one moment to another.
fn between(to_come: &[Stretch], from: f64, to: f64) -> Sum {
    let mut begin = 0.0;
    to_come.iter().fold((0.0, 0.0), |(n, bad), stretch| {
        let end = begin + stretch.seconds.max(0.0);
        let seconds = (end.min(to) - f64::max(begin, from)).max(0.0);
        begin = end;
        let events = seconds * stretch.rate.max(0.0);
        (n + events, bad + events * stretch.bad.clamp(0.0, 1.0))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::budget::{Dialect, Totals};
    use crate::units::Share;

    const WINDOW: Duration = Duration::from_secs(28 * 86_400);

    fn replay(dialect: Dialect) -> Replay {
        let t999 = Share::from_billionths(999_000_000).unwrap();
        Replay::new(dialect.tiers(WINDOW), t999, Pad::default(), 0, 1)
    }

    /// Plays a thousand requests a second through; when the first page fired, and the past so far.
    fn play(replay: &mut Replay, history: &mut History, stretches: &[(u64, u64)]) -> Option<u64> {
        let mut fired = None;
        for bad in stretches.iter().flat_map(|(seconds, bad)| (0..*seconds).map(|_| *bad)) {
            history.record(history.seconds() + 1, Totals { n: 1_000, bad });
            let changes = replay.ask(history);
            let page = changes.iter().find(|change| change.tier.severity == Severity::Page);
            fired = fired.or(page.map(|page| page.at));
        }
        fired
    }

    /// What is foreseen at any moment of a drill is what comes, to a thirty-second part.
    #[test]
    fn as_it_comes() {
        let drills: [&[(u64, u64)]; 5] = [
            // G1: it stays away; G2: after 643 s; G3: after 114 s.
            &[(120, 0), (300, 50), (300, 100)],
            &[(120, 0), (300, 50), (300, 150)],
            &[(60, 0), (300, 900), (600, 0)],
            &[(100, 1), (2_000, 20)],
            &[(10, 500), (400, 0), (900, 60)],
        ];
        for dialect in [Dialect::Sloth28, Dialect::Pyrra] {
            for drill in drills {
                let comes = play(&mut replay(dialect), &mut History::default(), drill);
                for begun in 0..drill.len() {
                    let (mut here, mut past) = (replay(dialect), History::default());
                    if play(&mut here, &mut past, &drill[..begun]).is_some() {
                        continue;
                    }
                    let to_come: Vec<Stretch> = drill[begun..]
                        .iter()
                        .map(|(seconds, bad)| Stretch {
                            seconds: *seconds as f64,
                            rate: 1_000.0,
                            bad: *bad as f64 / 1_000.0,
                        })
                        .collect();
                    let ahead = here.ahead(&past, &to_come);
                    let seen = ahead.map(|ahead| ahead.after + past.seconds() as f64);
                    let what = format!("{dialect:?} {drill:?} {begun}: {seen:?} {comes:?}");
                    match (seen, comes) {
                        (None, None) => {}
                        (Some(seen), Some(comes)) => {
                            assert!((seen - comes as f64).abs() <= 2_000.0 / 32.0 + 2.0, "{what}");
                        }
                        _ => panic!("{what}"),
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_to_come_and_too_few() {
        let outage = [Stretch { seconds: 600.0, rate: 0.01, bad: 1.0 }];
        let mut past = History::default();
        past.record(60, Totals { n: 1, bad: 0 });
        assert_eq!(replay(Dialect::Sloth28).ahead(&past, &[]), None);
        assert!(replay(Dialect::Sloth28).ahead(&past, &outage).is_some());
        let t999 = Share::from_billionths(999_000_000).unwrap();
        let guarded = Replay::new(Dialect::Sloth28.tiers(WINDOW), t999, Pad::default(), 100, 1);
        assert_eq!(guarded.ahead(&past, &outage), None);
    }
}
