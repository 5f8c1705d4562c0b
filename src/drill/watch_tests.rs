use http::Method;

use super::*;
use crate::plan::RouteId;
use crate::sli::ledger::{Books, Durations};
use crate::sli::{Attempt, End, Hit, Origin, Outcome};

/// A plan, its books, and a clock in seconds.
struct Drill {
    plan: Arc<Plan>,
    ledger: Ledger,
    books: Books,
    durations: Durations,
    watch: Watch,
    phase: Arc<str>,
    second: u64,
    injecting: bool,
}

fn plan(slos: &str) -> Arc<Plan> {
    let text = format!("[proxy]\nupstream = \"http://127.0.0.1:9000\"\n{slos}");
    let (scenario, notes) = crate::scenario::read(vec![("t".to_owned(), text)], &[]);
    assert!(notes.is_empty(), "{notes:?}");
    let (plan, notes) = crate::plan::compile(&scenario);
    Arc::new(plan.unwrap_or_else(|| panic!("{notes:?}")))
}

impl Drill {
    fn new(slos: &str) -> Self {
        let (plan, ledger, phase) = (plan(slos), Ledger::new(1), Arc::from("drill"));
        let books = ledger.open(Arc::clone(&plan), &phase, None);
        let durations = ledger.durations();
        Self {
            plan,
            ledger,
            books,
            durations,
            watch: Watch::default(),
            phase,
            second: 0,
            injecting: true,
        }
    }

    fn reload(&mut self, slos: &str) {
        self.plan = plan(slos);
        self.books = self.ledger.open(Arc::clone(&self.plan), &self.phase, None);
    }

    fn request(&mut self, status: u16, hit: Hit) {
        self.attempt(status, hit, None);
    }

    /// With a key: an attempt at an operation, which takes no time.
    fn attempt(&mut self, status: u16, hit: Hit, key: Option<u64>) {
        let arrived = Duration::from_secs(self.second);
        let operation = key.map(|key| Attempt { key, arrived });
        if let Some(attempt) = operation {
            self.books.arrives(0, attempt);
        }
        let outcome = Outcome {
            route: 0 as RouteId,
            method: Method::GET,
            status,
            origin: if hit == Hit::No { Origin::Service } else { Origin::Fault(0) },
            end: End::Complete,
            hit,
            served: None,
            grpc: None,
            total: Duration::from_millis(1),
            first_byte: None,
            added: Duration::ZERO,
            operation,
            health_check: false,
            excludes: 0,
            checked: None,
        };
        self.books.record(0, &mut self.durations, &outcome, self.second);
    }

    /// `seconds` with so many good, injected and organic requests each.
    fn run(&mut self, seconds: u64, good: u64, injected: u64, organic: u64) -> Vec<Seen> {
        let mut seen = Vec::new();
        for _ in 0..seconds {
            (0..good).for_each(|_| self.request(200, Hit::No));
            (0..injected).for_each(|_| self.request(503, Hit::Yes));
            (0..organic).for_each(|_| self.request(500, Hit::No));
            seen.extend(self.look(1));
        }
        seen
    }

    fn look(&mut self, seconds: u64) -> Vec<Seen> {
        self.second += seconds;
        self.ledger.settle(Some(Duration::from_secs(self.second)), self.second - 1);
        self.watch.look(self.second, &self.plan, &self.ledger, (&self.phase, self.injecting))
    }

    fn counts(&self, slo: usize) -> Counts {
        self.ledger.snapshot(&self.plan).slos[slo].counts
    }
}

fn times(seen: &[Seen]) -> Vec<(String, Happened, u64)> {
    let alerts = seen.iter().filter_map(|seen| match seen {
        Seen::Alert(alert) => Some((alert.tier.name.to_string(), alert.happened, alert.after)),
        Seen::Spent(_) => None,
    });
    alerts.collect()
}

const SLO: &str = "[slos.up]\nobjective = \"99.9%\"\nsli.availability = {}\n";

/// The golden drill G2, by requests: 5 % from 120 s to 420 s, then 15 % to 720 s.
#[test]
fn a_golden_drill_through_the_ledger() {
    let mut drill = Drill::new(SLO);
    let mut seen = drill.run(120, 20, 0, 0);
    seen.extend(drill.run(300, 19, 1, 0));
    seen.extend(drill.run(300, 17, 2, 1));
    seen.extend(drill.run(300, 20, 0, 0));
    let page = "page-quick".to_owned();
    assert_eq!(
        times(&seen),
        [(page.clone(), Happened::Fired, 643), (page, Happened::Resolved, 994)]
    );
    let figures = drill.watch.figures("up").unwrap();
    assert_eq!(figures.seconds, 1_020);
    assert_eq!(figures.trend.last().unwrap().1, Totals { n: 20_400, bad: 1_200 });
    assert!(figures.trend.len() as u64 <= POINTS);
    let points = drill.watch.points("up");
    assert_eq!((points.len(), points[720].1), (1_021, Totals { n: 14_400, bad: 1_200 }));
}

/// The golden drill G1, which comes to 93 % of a page and to 1.86 %, and then nobody asks any more:
/// its mean rate is what it was.
#[test]
fn waiting_after_the_traffic_costs_nothing() {
    let mut drill = Drill::new(&format!("{SLO}allowance = \"2%\"\n"));
    let mut seen = drill.run(120, 20, 0, 0);
    seen.extend(drill.run(300, 19, 1, 0));
    seen.extend(drill.run(300, 18, 2, 0));
    seen.extend(drill.run(200, 0, 0, 0));
    assert!(seen.is_empty(), "{seen:?}");
    let figures = drill.watch.figures("up").unwrap();
    assert_eq!((figures.seconds, figures.span), (920, 720));
}

#[test]
fn the_allowance_is_told_once_until_it_is_changed() {
    let with = |allowance: &str| format!("{SLO}allowance = \"{allowance}\"\nwindow = \"1h\"\n");
    let mut drill = Drill::new(&with("50%"));
    // All bad: the hour's budget, 3.6 s of it, is half gone within 1.8 s.
    let seen = drill.run(10, 0, 1, 0);
    let spent: Vec<_> = seen.iter().filter(|seen| matches!(seen, Seen::Spent(_))).collect();
    assert_eq!(spent.len(), 1);
    let why = "55.56% of the 1h budget is burned, 50% was allowed".to_owned();
    assert_eq!(*spent[0], Seen::Spent(("up".into(), why)));
    drill.reload(&with("60%"));
    // Nothing is injected that could be halted.
    drill.injecting = false;
    assert!(!drill.run(1, 0, 1, 0).iter().any(|seen| matches!(seen, Seen::Spent(_))));
    drill.injecting = true;
    let seen = drill.run(1, 0, 1, 0);
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Spent(_))));
}

/// A reload mid-drill: the past stays, the rules change, and an SLO that comes back is known.
#[test]
fn objectives_may_change() {
    let mut drill = Drill::new(SLO);
    let seen = drill.run(50, 0, 20, 0);
    assert_eq!(times(&seen), [("page-quick".to_owned(), Happened::Fired, 49)]);
    drill.reload(&SLO.replace("99.9%", "90%"));
    let seen = drill.run(1, 0, 20, 0);
    assert_eq!(times(&seen), [("page-quick".to_owned(), Happened::Resolved, 51)]);
    drill.reload("");
    drill.run(5, 20, 0, 0);
    drill.reload(SLO);
    assert_eq!(drill.run(1, 20, 0, 0).len(), 1, "it fires again: the past is still there");
    assert_eq!(drill.watch.figures("up").unwrap().seconds, 57);
}

#[test]
fn slices_are_the_events() {
    let slo = "budgeting = \"timeslices\"\nslice = \"10s\"\nslice_target = \"90%\"\n";
    let mut drill = Drill::new(&format!("{SLO}{slo}"));
    drill.run(10, 20, 0, 0);
    drill.run(10, 17, 3, 0);
    drill.run(10, 17, 1, 2);
    drill.run(10, 10, 1, 9);
    // Nothing comes, and nobody looks, for five slices.
    drill.look(50);
    drill.run(5, 20, 0, 0);
    let counts = Counts { good: 1, injected: 2, masked: 0, organic: 1 };
    assert_eq!(drill.counts(0), counts);
    assert_eq!(drill.watch.figures("up").unwrap().trend.last().unwrap().1.n, 4);
    // From slices to requests: all of them were counted all the while.
    drill.reload(SLO);
    assert_eq!(drill.counts(0).total(), 900);
}

#[test]
fn throughput_is_enough_good_answers() {
    let slo = "[slos.flow]\nobjective = \"99%\"\n\
               sli.throughput = { at_least = \"10/s\", slice = \"5s\" }\nempty_slice = \"bad\"\n";
    let mut drill = Drill::new(slo);
    drill.run(5, 10, 0, 7);
    drill.run(5, 9, 1, 0);
    drill.run(5, 9, 0, 20);
    drill.run(5, 0, 0, 0);
    let counts = Counts { good: 1, injected: 1, masked: 0, organic: 2 };
    assert_eq!(drill.counts(0), counts);
}

/// A request good for one and bad for another is bad for both together.
#[test]
fn all_is_counted_by_request() {
    let slos = "[slos.up]\nobjective = \"99.9%\"\nsli.availability = {}\n\
                [slos.fast]\nobjective = \"99%\"\nsli.latency = { threshold = \"100us\" }\n\
                [composites.both]\nof = [\"up\", \"fast\"]\nmode = \"all\"\n";
    let mut drill = Drill::new(slos);
    drill.run(1, 5, 2, 1);
    let both = drill.counts(2);
    assert_eq!(both, Counts { good: 0, injected: 2, masked: 0, organic: 6 });
    assert_eq!(drill.plan.slos[2].objective.to_string(), "98.901%");
}

const OPERATIONS: &str = "[routes.pay]\npath = \"/a\"\noperation = \"header:k\"\n\
    [slos.up]\nobjective = \"99.9%\"\nsli.availability = { per = \"operation\" }\n\
    [slos.each]\nobjective = \"99.9%\"\nsli.availability = {}\n";

/// Retries save what they save, later, in the phase of the attempt that decides; what has no key is
/// an operation at once; at the end nothing is waited for.
#[test]
fn operations_are_the_events() {
    let mut drill = Drill::new(OPERATIONS);
    // Each second: one that a retry saves, one that it does not, one that needs none.
    for key in 0..20 {
        drill.attempt(503, Hit::Yes, Some(10 * key));
        drill.attempt(200, Hit::No, Some(10 * key));
        drill.attempt(503, Hit::Yes, Some(10 * key + 1));
        drill.attempt(500, Hit::No, Some(10 * key + 1));
        drill.attempt(200, Hit::No, Some(10 * key + 2));
        drill.request(500, Hit::No);
        drill.look(1);
    }
    // Of twenty seconds, those after which eleven have passed, and more.
    let settled = Counts { good: 18, injected: 0, masked: 0, organic: 9 + 20 };
    assert_eq!(drill.counts(0), settled);
    let each = Counts { good: 40, injected: 40, masked: 0, organic: 40 };
    assert_eq!(drill.counts(1), each);
    drill.phase = Arc::from("later");
    drill.reload(OPERATIONS);
    drill.attempt(200, Hit::No, Some(191));
    drill.look(1);
    drill.look(1);
    drill.ledger.settle(None, drill.second);
    drill.look(1);
    let all = Counts { good: 41, injected: 0, masked: 0, organic: 19 + 20 };
    assert_eq!(drill.counts(0), all);
    let slo = drill.ledger.snapshot(&drill.plan).slos.swap_remove(0);
    let later = Counts { good: 1, ..Counts::default() };
    let by_phase: Vec<_> = slo.phases.iter().map(|seen| (&*seen.phase, seen.counts)).collect();
    assert_eq!(by_phase[1], ("later", later));
    assert_eq!(by_phase[0].1 + later, all);
    let figures = drill.watch.figures("up").unwrap();
    assert_eq!(figures.seen, all);
    let sum = figures.trend.last().unwrap().1;
    assert_eq!((sum.n, sum.bad), (all.total(), all.bad()));
    assert_eq!(drill.ledger.recent("up", drill.second, 60), all, "all of it within the minute");
}

/// From requests to operations and back: neither takes the other for a burst of its own.
#[test]
fn what_counts_may_change() {
    let each = OPERATIONS.replace(" per = \"operation\" ", "");
    let mut drill = Drill::new(&each);
    drill.run(20, 20, 0, 0);
    drill.reload(OPERATIONS);
    for key in 0..3 {
        drill.attempt(500, Hit::No, Some(key));
        drill.attempt(200, Hit::No, Some(key));
    }
    drill.look(1);
    assert_eq!(drill.counts(0).total(), 0, "operations begin with the reload");
    let seen = drill.run(20, 0, 0, 0);
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(drill.counts(0), Counts { good: 3, ..Counts::default() });
    assert_eq!(drill.watch.figures("up").unwrap().trend.last().unwrap().1.n, 3);
    drill.reload(&each);
    let counts = Counts { good: 403, organic: 3, ..Counts::default() };
    assert_eq!(drill.counts(0), counts, "all requests were counted all the while");
    drill.run(1, 5, 0, 0);
    // The second in which it changed has what nobody can tell apart any more.
    assert_eq!(drill.watch.figures("up").unwrap().trend.last().unwrap().1.n, 0);
    drill.run(1, 5, 0, 0);
    assert_eq!(drill.watch.figures("up").unwrap().trend.last().unwrap().1.n, 5);
}
