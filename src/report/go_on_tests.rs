use super::*;
use crate::report::budgets::{Alerts, Budget, Confidence, Firing, Page, Tier};
use crate::report::view::{Consumed, Events, Halt};

const DAYS_28: u64 = 28 * 86_400;

/// 0.8 % burned of a budget of which 2 % may be, and 1.2 % in all at the end.
fn pay() -> Slo {
    Slo {
        name: "pay".to_owned(),
        objective: 0.995,
        window_seconds: DAYS_28,
        total: 20_000,
        unit: "requests".to_owned(),
        last_minute: Events { events: 3_000, ..Events::default() },
        budget_consumed: Consumed { ratio: Some(0.008), ..Consumed::default() },
        budget: Budget {
            remaining_ratio: Some(0.992),
            more_drills: Some(124),
            allowance_ratio: Some(0.02),
            ..Budget::default()
        },
        confidence: Confidence {
            verdict: "fail".to_owned(),
            least_events: Some(598),
            ..Confidence::default()
        },
        alerts: Alerts {
            dialect: "sloth-28d".to_owned(),
            tiers: vec![tier("page-quick", "page"), tier("ticket-slow", "ticket")],
            ..Alerts::default()
        },
        forecasts: crate::report::budgets::Forecasts {
            drill: Some(AtTheEnd {
                consumed_ratio: 0.012,
                low_ratio: 0.011,
                high_ratio: 0.013,
                ..AtTheEnd::default()
            }),
            ..Default::default()
        },
        time_to_exhaustion_seconds: Some(50_000.0),
        ..Slo::default()
    }
}

fn tier(name: &str, severity: &str) -> Tier {
    Tier {
        name: name.to_owned(),
        severity: severity.to_owned(),
        state: "inactive".to_owned(),
        pressure_ratio: Some(0.3),
        ..Tier::default()
    }
}

fn drill(state: &str, slos: Vec<Slo>) -> View {
    View { state: state.to_owned(), slos, ..View::default() }
}

fn answer(view: &View) -> (String, String, String, String) {
    let GoOn { answer, reason, colour, sentence, .. } = go_on(view);
    (answer, reason, colour, sentence)
}

/// Each reason there is, by what one thing makes of a drill that could go on.
#[test]
fn every_branch_while_it_runs() {
    type Change = fn(&mut Slo);
    let rows: Vec<(Change, &str, &str, &str, &str)> = vec![
        (
            |_| {},
            "yes",
            "within_limits",
            "green",
            "Safe to go on: the rest of the plan is expected to cost pay 0.40% of its budget, and \
             1.2% of the 2% it may burn is left.",
        ),
        (
            |slo| {
                slo.budget.allowance_ratio = None;
                slo.forecasts.drill.as_mut().unwrap().consumed_ratio = 0.008;
            },
            "yes",
            "within_limits",
            "green",
            "Safe to go on: the rest of the plan is expected to cost pay nothing of its budget, and \
             99.2% of it is left.",
        ),
        (
            |slo| {
                slo.forecasts.drill.as_mut().unwrap().faults_elsewhere =
                    vec!["payments".to_owned()];
            },
            "yes",
            "within_limits",
            "green",
            "Safe to go on: the rest of the plan is expected to cost pay 0.40% of its budget (what \
             it makes of faults on payments is not known), and 1.2% of the 2% it may burn is left.",
        ),
        (
            |slo| slo.alerts.tiers[0].pressure_ratio = Some(0.63),
            "yes",
            "within_limits",
            "green",
            "Safe to go on: the rest of the plan is expected to cost pay 0.40% of its budget, and \
             1.2% of the 2% it may burn is left; page-quick of sloth-28d is at 63.0% of its \
             threshold.",
        ),
        (
            |slo| slo.alerts.tiers[1].state = "firing".to_owned(),
            "yes",
            "within_limits",
            "amber",
            "Safe to go on: the rest of the plan is expected to cost pay 0.40% of its budget, and \
             1.2% of the 2% it may burn is left; a ticket would be open (ticket-slow).",
        ),
        (
            |slo| {
                slo.budget.allowance_ratio = None;
                slo.budget.consumed_before_ratio = Some(0.8);
                slo.budget.remaining_ratio = Some(0.192);
            },
            "yes",
            "within_limits",
            "amber",
            "Safe to go on: the rest of the plan is expected to cost pay 0.40% of its budget, and \
             19.2% of it is left.",
        ),
        (
            |slo| slo.budget.remaining_ratio = Some(-0.1),
            "no",
            "budget_gone",
            "red",
            "Not safe to go on: the 28-day budget of pay is gone.",
        ),
        (
            |slo| slo.budget_consumed.ratio = Some(1.0),
            "no",
            "budget_gone",
            "red",
            "Not safe to go on: the 28-day budget of pay is gone.",
        ),
        (
            |slo| slo.alerts.tiers[0].state = "firing".to_owned(),
            "no",
            "page",
            "red",
            "Not safe to go on: production would be paged for pay now, by page-quick of sloth-28d.",
        ),
        (
            |slo| slo.budget_consumed.ratio = Some(0.02),
            "no",
            "allowance_spent",
            "red",
            "Not safe to go on: pay has burned 2.0% of its budget, and may burn 2%.",
        ),
        (
            |slo| {
                let end = slo.forecasts.drill.as_mut().unwrap();
                (end.consumed_ratio, end.low_ratio, end.high_ratio) = (0.032, 0.031, 0.033);
            },
            "no",
            "allowance_expected",
            "red",
            "Not safe to go on: at its end the drill is expected to have burned 3.2% of the budget \
             of pay (3.1% to 3.3%), more than the 2% it may: it will be halted.",
        ),
        (
            |slo| slo.forecasts.drill.as_mut().unwrap().high_ratio = 0.021,
            "unknown",
            "close",
            "amber",
            "Nobody can tell yet if it is safe to go on: at its end the drill will have burned 1.1% \
             to 2.1% of the budget of pay, and 2% is what it may burn.",
        ),
        (
            |slo| {
                slo.budget.allowance_ratio = None;
                slo.budget.consumed_before_ratio = Some(0.99);
            },
            "no",
            "budget_expected",
            "red",
            "Not safe to go on: the 28-day budget of pay will be gone before the drill is over.",
        ),
        (
            |slo| {
                slo.budget.allowance_ratio = None;
                slo.budget.consumed_before_ratio = Some(0.987_5);
            },
            "unknown",
            "close",
            "amber",
            "Nobody can tell yet if it is safe to go on: at its end the drill will have burned 1.1% \
             to 1.3% of the budget of pay, and 1.2% is what was left.",
        ),
        (
            |slo| {
                slo.forecasts.page =
                    Some(Page { tier: "page-quick".to_owned(), after_seconds: 400.0 });
            },
            "no",
            "page_expected",
            "red",
            "Not safe to go on: a page for pay is to be expected in about 6m: page-quick of \
             sloth-28d.",
        ),
        (
            |slo| {
                slo.total = 12;
                slo.confidence.verdict = "inconclusive".to_owned();
            },
            "unknown",
            "too_few",
            "amber",
            "Nobody can tell yet if it is safe to go on: 12 requests of pay so far, 598 needed.",
        ),
        // Few, and yet proven to be too bad.
        (|slo| slo.total = 12, "yes", "within_limits", "green", ""),
        (
            |slo| slo.total = 0,
            "unknown",
            "no_traffic",
            "grey",
            "Nobody can tell yet if it is safe to go on: nothing of pay has been counted so far.",
        ),
        (
            |slo| slo.last_minute = Events::default(),
            "unknown",
            "no_traffic",
            "grey",
            "Nobody can tell yet if it is safe to go on: pay has had no request for a minute.",
        ),
        (
            |slo| slo.forecasts.drill = None,
            "unknown",
            "open_end",
            "amber",
            "Nobody can tell yet if it is safe to go on: its end is not known, and at this rate the \
             28-day budget of pay is gone in 13h53m.",
        ),
        (
            |slo| {
                slo.forecasts.drill = None;
                slo.time_to_exhaustion_seconds = Some(900_000.0);
            },
            "yes",
            "lasts",
            "green",
            "Safe to go on: at this rate the 28-day budget of pay lasts for 10d10h.",
        ),
        (
            |slo| {
                slo.forecasts.drill = None;
                slo.time_to_exhaustion_seconds = None;
            },
            "yes",
            "lasts",
            "green",
            "Safe to go on: nothing burns the 28-day budget of pay now, and 99.2% of it is left.",
        ),
    ];
    for (change, want, reason, colour, sentence) in rows {
        let mut slo = pay();
        change(&mut slo);
        let found = answer(&drill("running", vec![slo]));
        let sentence = if sentence.is_empty() { found.3.clone() } else { sentence.to_owned() };
        assert_eq!(found, (want.to_owned(), reason.to_owned(), colour.to_owned(), sentence));
    }
}

/// The state asks its own question, in its own tense.
#[test]
fn the_question_fits_the_state() {
    let asked = |view: &View| {
        let GoOn { question, answer, sentence, .. } = go_on(view);
        (question, answer, sentence.split(':').next().unwrap_or_default().to_owned())
    };
    let row = |question: &str, answer: &str, lead: &str| {
        (question.to_owned(), answer.to_owned(), lead.to_owned())
    };
    let of = |state: &str| drill(state, vec![pay()]);
    assert_eq!(asked(&of("waiting")), row("start", "yes", "Safe to start"));
    assert_eq!(asked(&of("running")), row("go_on", "yes", "Safe to go on"));
    assert_eq!(asked(&of("paused")), row("resume", "yes", "Safe to resume"));
    assert_eq!(asked(&of("finished")), row("run_again", "yes", "It can be run again"));
    let over = View { over: true, ..of("running") };
    assert_eq!(asked(&over), row("run_again", "yes", "It can be run again"));
    let halt = |state: &str| View {
        halted: true,
        halt: Some(Halt { by: "SIGUSR1".to_owned(), reason: "checkout pages".to_owned() }),
        ..of(state)
    };
    assert_eq!(
        go_on(&halt("halted")).sentence,
        "Not safe to go on: it was halted by SIGUSR1: checkout pages; nothing is injected until \
         `backburn rearm`."
    );
    assert_eq!(
        go_on(&halt("finished")).sentence,
        "Not fit to be run again: it was halted by SIGUSR1: checkout pages, and nobody has lifted \
         that."
    );
    // Whatever else is unknown: nothing is injected.
    let through =
        |slo| View { pass_through: Some("not staging".to_owned()), ..drill("running", vec![slo]) };
    assert_eq!(answer(&through(Slo::default())).1, "pass_through");
    let mut paged = pay();
    paged.alerts.tiers[0].state = "firing".to_owned();
    assert_eq!(answer(&through(paged)).1, "page");
    assert_eq!(answer(&drill("running", Vec::new())).1, "no_slo");
}

#[test]
fn every_branch_after_the_end() {
    let of = |change: fn(&mut Slo)| {
        let mut slo = pay();
        change(&mut slo);
        answer(&drill("finished", vec![slo]))
    };
    let row = |answer: &str, reason: &str, colour: &str, sentence: &str| {
        (answer.to_owned(), reason.to_owned(), colour.to_owned(), sentence.to_owned())
    };
    assert_eq!(
        of(|_| {}),
        row(
            "yes",
            "affordable",
            "green",
            "It can be run again: it cost pay 0.80% of its 28-day budget, and 99.2% is left."
        )
    );
    assert_eq!(
        of(|slo| slo.alerts.tiers[0].fired = vec![Firing::default()]),
        row(
            "yes",
            "affordable",
            "amber",
            "It can be run again: it cost pay 0.80% of its 28-day budget, and 99.2% is left; \
             production would be paged again."
        )
    );
    assert_eq!(
        of(|slo| slo.budget.remaining_ratio = Some(0.0)),
        row(
            "no",
            "budget_gone",
            "red",
            "Not fit to be run again: the 28-day budget of pay is gone."
        )
    );
    assert_eq!(
        of(|slo| {
            slo.budget_consumed.ratio = Some(0.6);
            slo.budget.remaining_ratio = Some(0.4);
            slo.budget.more_drills = Some(0);
        }),
        row(
            "no",
            "unaffordable",
            "red",
            "Not fit to be run again: it cost pay 60.0% of its budget, and 40.0% is left."
        )
    );
    assert_eq!(of(|slo| slo.total = 0).1, "no_traffic");
    assert_eq!(
        of(|slo| {
            slo.total = 12;
            slo.confidence.verdict = "inconclusive".to_owned();
        })
        .3,
        "Nobody can tell yet if it is fit to be run again: 12 requests of pay so far, 598 needed."
    );
}

/// The worst of several decides; of those that are well the one with the least to spare is told.
#[test]
fn several_slos() {
    let named = |name: &str, change: fn(&mut Slo)| {
        let mut slo = Slo { name: name.to_owned(), ..pay() };
        change(&mut slo);
        slo
    };
    let tight = named("tight", |slo| slo.forecasts.drill.as_mut().unwrap().consumed_ratio = 0.0125);
    let quiet = named("quiet", |slo| slo.total = 0);
    let paged = named("paged", |slo| slo.alerts.tiers[0].state = "firing".to_owned());
    let gone = named("gone", |slo| slo.budget.remaining_ratio = Some(0.0));
    let of =
        |slos: &[&Slo]| go_on(&drill("running", slos.iter().map(|slo| (*slo).clone()).collect()));
    let found = of(&[&pay(), &tight, &pay()]);
    assert_eq!(found.slo.as_deref(), Some("tight"));
    assert!(found.sentence.contains("cost tight, which can afford it least, 0.45%"), "{found:?}");
    let found = of(&[&pay(), &quiet, &quiet]);
    assert_eq!((found.answer.as_str(), found.slo.as_deref()), ("unknown", Some("quiet")));
    assert!(found.sentence.ends_with("so far; another SLO cannot tell either."), "{found:?}");
    let found = of(&[&quiet, &paged, &gone, &paged, &tight]);
    assert_eq!((found.reason.as_str(), found.slo.as_deref()), ("budget_gone", Some("gone")));
    assert!(found.sentence.ends_with("is gone; 2 other SLOs say no as well."), "{found:?}");
}

/// A service that was in the red before the drill, whatever else holds.
#[test]
fn nothing_was_left_before() {
    let red = |change: fn(&mut Slo)| {
        let mut slo = pay();
        slo.budget.consumed_before_ratio = Some(1.15);
        slo.budget.remaining_ratio = Some(-0.158);
        slo.budget.more_drills = Some(0);
        change(&mut slo);
        slo
    };
    let left =
        "nothing is left of the 28-day budget of pay (115% of it was gone before the drill).";
    for (state, lead) in [
        ("waiting", "Not safe to start"),
        ("running", "Not safe to go on"),
        ("paused", "Not safe to resume"),
        ("finished", "Not fit to be run again"),
    ] {
        let changes: [fn(&mut Slo); 3] =
            [|_| {}, |slo| slo.budget.allowance_ratio = None, |slo| slo.total = 0];
        for change in changes {
            let found = answer(&drill(state, vec![red(change)]));
            let wanted = ["no", "budget_gone", "red", &format!("{lead}: {left}")];
            assert_eq!([&*found.0, &*found.1, &*found.2, &*found.3], wanted);
        }
    }
}
