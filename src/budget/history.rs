//! What was counted, second by second, in bounded memory: cumulative sums at the edges of ever
//! coarser cells, so that any window is the difference of two of them.

/// Cells: length in seconds, and how many. Whole seconds for an hour, then 10 s for six, minutes
/// for three days, hours for 54 days. 178 KiB when all are in use, whatever the traffic.
const LEVELS: [(u64, usize); 4] = [(1, 3_601), (10, 2_161), (60, 4_321), (3_600, 1_297)];
/// An event is so many parts: windows begin and end within cells.
const PARTS: u128 = 1_000_000;

/// Events since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub n: u64,
    pub bad: u64,
}

/// What is assumed to have been before the beginning: a window that reaches back further is filled
/// up with it. A fresh window would take one bad request of the first fifty for an outage.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pad {
    /// Events a second; `None`: the mean of what has been counted so far, while there was traffic.
    pub rate: Option<f64>,
    /// The share of them that is bad, in billionths.
    pub bad: u32,
}

/// The events of a window, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Parts {
    pub(super) n: u128,
    pub(super) bad: u128,
    /// Of those, counted and not assumed.
    pub(super) counted_bad: u128,
}

/// One SLO's events over time.
#[derive(Debug, Clone, Default)]
pub struct History {
    seconds: u64,
    total: Totals,
    /// When the first events were counted, and when the last: the seconds' beginning and end.
    traffic: Option<(u64, u64)>,
    /// By level: the sums at multiples of its step, from the first on, in a ring.
    levels: [Vec<Totals>; LEVELS.len()],
}

impl History {
    /// How long it has been counted, in seconds.
    pub fn seconds(&self) -> u64 {
        self.seconds
    }

    /// From the first event's second to the last one's, in seconds: how long there was traffic. A
    /// drill's mean rate is taken over it, so that waiting before and after does not thin it out.
    pub fn span(&self) -> u64 {
        self.traffic.map_or(0, |(first, last)| last - first)
    }

    pub fn total(&self) -> Totals {
        self.total
    }

    /// Bytes in use.
    pub fn size(&self) -> usize {
        let points: usize = self.levels.iter().map(Vec::capacity).sum();
        points * size_of::<Totals>() + size_of::<Self>()
    }

    /// Adds what was counted since the last call, which ends `until` seconds after the beginning.
    /// After a stall it is booked in the last of the seconds; a call that comes too late for a
    /// second that is over is booked in the next.
    pub fn record(&mut self, until: u64, counted: Totals) {
        let (before, was) = (self.total, self.seconds);
        self.total.n = before.n.saturating_add(counted.n);
        self.total.bad = before.bad.saturating_add(counted.bad);
        if counted.n > 0 {
            let end = until.max(was).max(1);
            let (first, _) = self.traffic.unwrap_or((was.min(end - 1), end));
            self.traffic = Some((first, end));
        }
        if until <= was {
            return;
        }
        self.seconds = until;
        for (points, (step, most)) in self.levels.iter_mut().zip(LEVELS) {
            let (first, last) = (was / step + 1, until / step);
            for at in first.max((last + 1).saturating_sub(most as u64))..=last {
                let sum = if at * step == until { self.total } else { before };
                put(points, at, most, sum);
            }
        }
    }

    /// The sum at one moment, in millionths; within a cell as if its events came evenly.
    fn at(&self, second: u64) -> (u128, u128) {
        let whole = |sum: Totals| (u128::from(sum.n) * PARTS, u128::from(sum.bad) * PARTS);
        if second >= self.seconds {
            return whole(self.total);
        }
        for (points, (step, most)) in self.levels.iter().zip(LEVELS) {
            let (below, last) = (second / step, self.seconds / step);
            if below + most as u64 <= last {
                continue;
            }
            let low = get(points, below, most);
            let into = second - below * step;
            if into == 0 {
                return whole(low);
            }
            let (high, span) = if below < last {
                (get(points, below + 1, most), step)
            } else {
                (self.total, self.seconds - below * step)
            };
            let between = |low: u64, high: u64| {
                let more = u128::from(high.saturating_sub(low)) * PARTS;
                u128::from(low) * PARTS + more * u128::from(into) / u128::from(span)
            };
            return (between(low.n, high.n), between(low.bad, high.bad));
        }
        // Longer ago than is kept: the oldest there is.
        let (step, most) = LEVELS[LEVELS.len() - 1];
        let oldest = (self.seconds / step + 1).saturating_sub(most as u64);
        whole(get(&self.levels[LEVELS.len() - 1], oldest, most))
    }

    /// The last `long` seconds, filled up with `pad` where they reach back before the beginning.
    pub(super) fn window(&self, long: u64, pad: Pad) -> Parts {
        let all = (u128::from(self.total.n) * PARTS, u128::from(self.total.bad) * PARTS);
        if long <= self.seconds {
            let (n, bad) = self.at(self.seconds - long);
            let counted_bad = all.1.saturating_sub(bad);
            return Parts { n: all.0.saturating_sub(n), bad: counted_bad, counted_bad };
        }
        let missing = u128::from(long - self.seconds);
        let assumed = match pad.rate {
            Some(rate) => (rate.max(0.0) * PARTS as f64) as u128 * missing,
            None if self.span() == 0 => 0,
            None => all.0.saturating_mul(missing) / u128::from(self.span()),
        };
        let bad = assumed / 1_000_000_000 * u128::from(pad.bad)
            + assumed % 1_000_000_000 * u128::from(pad.bad) / 1_000_000_000;
        Parts { n: all.0 + assumed, bad: all.1 + bad, counted_bad: all.1 }
    }

    /// Events and bad ones of the last `long` seconds, whole ones, without any pad.
    pub fn recent(&self, long: u64) -> Totals {
        let seen = self.window(long, Pad { rate: Some(0.0), bad: 0 });
        Totals { n: (seen.n / PARTS) as u64, bad: (seen.bad / PARTS) as u64 }
    }

    /// The sum up to a moment, in whole events.
    pub fn sum_at(&self, second: u64) -> Totals {
        let (n, bad) = self.at(second);
        Totals { n: (n / PARTS) as u64, bad: (bad / PARTS) as u64 }
    }

    /// All that is known, as sums at moments, oldest first, each as fine as it is kept: `(seconds
    /// since the beginning, sum up to there)`. The last is the present.
    pub fn points(&self) -> Vec<(u64, Totals)> {
        let mut found = vec![(self.seconds, self.total)];
        let mut before = self.seconds;
        for (points, (step, most)) in self.levels.iter().zip(LEVELS) {
            let last = self.seconds / step;
            let oldest = (last + 1).saturating_sub(most as u64);
            for at in (oldest..=last).rev().filter(|at| at * step < before) {
                found.push((at * step, get(points, at, most)));
            }
            before = before.min(oldest * step);
        }
        found.reverse();
        found
    }
}

/// The first point, at 0, is not kept: nothing had been counted.
fn put(points: &mut Vec<Totals>, at: u64, most: usize, sum: Totals) {
    let place = (at % most as u64) as usize;
    if place >= points.len() {
        if place >= points.capacity() {
            // By half at a time, and never beyond the ring.
            let room = (place + 1 + points.len() / 2 + 64).min(most);
            points.reserve_exact(room - points.len());
        }
        points.resize(place + 1, Totals::default());
    }
    points[place] = sum;
}

fn get(points: &[Totals], at: u64, most: usize) -> Totals {
    points.get((at % most as u64) as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(n: u64, bad: u64) -> Totals {
        Totals { n, bad }
    }

    /// What waits before and after the traffic does not change its rate.
    #[test]
    fn mean_rate_of_the_traffic() {
        let mut history = History::default();
        history.record(30, Totals::default());
        assert_eq!(history.span(), 0);
        for second in 31..=120 {
            history.record(second, counted(10, 1));
        }
        assert_eq!((history.span(), history.seconds()), (90, 120));
        let padded = |history: &History, long| history.window(long, Pad::default()).n / PARTS;
        assert_eq!(padded(&history, 220), 900 + 10 * 100);
        history.record(170, Totals::default());
        assert_eq!((history.span(), history.seconds()), (90, 170));
        assert_eq!(padded(&history, 220), 900 + 10 * 50);
        // It goes on: the pause within is the traffic's own.
        history.record(180, counted(900, 0));
        assert_eq!(history.span(), 150);
        // Late for a second that is over.
        let mut late = History::default();
        late.record(0, counted(5, 0));
        assert_eq!(late.span(), 1);
        late.record(5, counted(5, 0));
        late.record(5, counted(5, 0));
        assert_eq!(late.span(), 5);
    }

    #[test]
    fn memory_is_bounded() {
        let mut history = History::default();
        for second in 1..=60 * 86_400 {
            history.record(second, counted(1_000_000, 3));
        }
        assert!(history.size() <= 200 * 1024, "{} bytes", history.size());
        assert_eq!(history.recent(3_600), counted(3_600_000_000, 10_800));
        assert_eq!(history.recent(54 * 86_400).bad, 54 * 86_400 * 3);
        assert!(history.points().len() < 11_400);
    }

    #[test]
    fn stalls_and_latecomers_lose_nothing() {
        let mut history = History::default();
        history.record(1, counted(10, 1));
        history.record(5, counted(40, 0));
        history.record(5, counted(2, 2));
        assert_eq!(history.total(), counted(52, 3));
        assert_eq!(history.recent(1).bad, 2);
        assert_eq!(history.recent(4).n, 42);
        assert_eq!(history.recent(5), counted(52, 3));
        history.record(u64::MAX / 2, counted(1, 0));
        assert_eq!(history.total().n, 53);
        assert_eq!(history.recent(60).n, 1);
        history.record(u64::MAX / 2 + 1, counted(u64::MAX, u64::MAX));
        assert_eq!(history.total().n, u64::MAX);
    }

    #[test]
    fn what_is_told_adds_up() {
        let mut history = History::default();
        for second in 1..=20_005 {
            history.record(second, counted(second % 7, u64::from(second % 11 == 0)));
        }
        let points = history.points();
        assert_eq!(points[0], (0, Totals::default()));
        assert_eq!(points[points.len() - 1], (20_005, history.total()));
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1.n <= pair[1].1.n));
        let fine = points.iter().filter(|(second, _)| *second > 20_005 - 3_600).count();
        assert_eq!(fine, 3_600);
        for (second, sum) in points.iter().rev().step_by(97) {
            assert_eq!(history.sum_at(*second), *sum, "{second}");
        }
    }

    /// Windows of hours and days, by their cells: within one of them.
    #[test]
    fn coarse_windows() {
        let mut history = History::default();
        let (mut bad, mut seen) = (0, vec![0_u64]);
        for second in 1..=400_000_u64 {
            // Outages of uneven lengths at uneven times.
            let now = u64::from(second * second % 10_007 < 400) * 7;
            history.record(second, counted(10, now));
            bad += now;
            seen.push(bad);
        }
        for (window, cell) in
            [(3_600, 1), (21_600, 10), (86_400, 60), (259_200, 60), (345_600, 3_600)]
        {
            let exact = bad - seen[400_000 - window];
            let found = history.recent(window as u64).bad;
            assert!(found.abs_diff(exact) <= 7 * cell, "{window}: {found} {exact}");
        }
    }

    proptest::proptest! {
        /// Any window is what a list of all seconds says; beyond an hour within one cell.
        #[test]
        fn windows(
            seconds in proptest::collection::vec((0_u64..50, 0_u64..5), 1..9_000),
            long in 1_u64..9_000,
        ) {
            let mut history = History::default();
            for (second, (good, bad)) in (1..).zip(&seconds) {
                history.record(second, counted(good + bad, *bad));
            }
            let from = seconds.len().saturating_sub(long as usize);
            let bad: u64 = seconds[from..].iter().map(|(_, bad)| bad).sum();
            let found = history.recent(long).bad;
            if long <= 3_600 || long as usize >= seconds.len() {
                proptest::prop_assert_eq!(found, bad);
            } else {
                proptest::prop_assert!(found.abs_diff(bad) <= 50, "{} {}", found, bad);
            }
        }
    }
}
