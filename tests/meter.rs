//! The meter, as it is drawn: each standing of a drill at 60, 80 and 120 columns, beside
//! `meter/NAME.txt`. `BACKBURN_BLESS=1` writes what is drawn now; read the difference before
//! committing it.

use std::path::Path;

use backburn::report::budgets::{
    Alerts, AtTheEnd, Budget, Collateral, Composite, Confidence, Firing, Light, Tier,
};
use backburn::report::view::{
    Consumed, Events, Fault, Halt, Hits, Note, Operations, Override, Pending, Phase, PhaseCounts,
    PhaseFault, PhaseSlo, Reload, Slo,
};
use backburn::report::{Canvas, View, go_on, meter, summary};

const CANVAS: Canvas = Canvas { columns: 80, rows: None, colour: false, unicode: true };
const WINDOW: u64 = 28 * 86_400;

fn events(events: u64, [injected, masked, organic]: [u64; 3], budget: f64) -> Events {
    let bad = injected + masked + organic;
    let burn_rate = (events > 0).then(|| bad as f64 / events as f64 / budget);
    Events { events, bad, injected, masked, organic, burn_rate }
}

/// An SLO as the live view would fill it, `seconds` into the drill.
fn slo(name: &str, objective: f64, seconds: f64, now: Events, minute: Events, all: Events) -> Slo {
    let budget = 1.0 - objective;
    let cost = |bad: u64| {
        (all.events > 0).then(|| bad as f64 / all.events as f64 / budget * seconds / WINDOW as f64)
    };
    let left = 1.0 - cost(all.bad).unwrap_or(0.0);
    Slo {
        name: name.to_owned(),
        services: vec!["checkout".to_owned()],
        objective,
        window_seconds: WINDOW,
        window: "28d".to_owned(),
        total: all.events,
        good: all.events - all.bad,
        bad: all.bad,
        injected: all.injected,
        masked: all.masked,
        organic: all.organic,
        now,
        last_minute: minute,
        burn_rate: all.burn_rate,
        budget_consumed: Consumed {
            basis: "scaled".to_owned(),
            ratio: cost(all.bad),
            injected_ratio: cost(all.injected),
            masked_ratio: cost(all.masked),
            organic_ratio: cost(all.organic),
        },
        time_to_exhaustion_seconds: minute
            .burn_rate
            .filter(|rate| *rate > 0.0)
            .map(|rate| (left * WINDOW as f64 / rate).max(0.0)),
        ..Slo::default()
    }
}

fn pay(now: [u64; 3], minute: [u64; 3], all: [u64; 3]) -> Slo {
    let of = |count, bad| events(count, bad, 0.001);
    slo("pay", 0.999, 139.0, of(500, now), of(3_000, minute), of(6_912, all))
}

fn fault(name: &str, who: &str, asked: Option<f64>, active: bool, hits: Hits) -> Fault {
    Fault {
        name: name.to_owned(),
        services: vec!["payments".to_owned()],
        active,
        who: who.to_owned(),
        asked_ratio: asked,
        drill: hits,
        phase: hits,
        ..Fault::default()
    }
}

/// A drill that may burn 2 %, and is to cost 0.4 % more.
fn planned(mut slo: Slo) -> Slo {
    slo.budget.allowance_ratio = Some(0.02);
    let consumed = slo.budget_consumed.ratio.unwrap_or(0.0);
    slo.forecasts.drill = Some(AtTheEnd {
        consumed_ratio: consumed + 0.004,
        low_ratio: consumed + 0.003,
        high_ratio: consumed + 0.005,
        faults_elsewhere: vec!["payments".to_owned()],
        ..AtTheEnd::default()
    });
    slo
}

/// A drill in its brownout, nothing wrong.
fn healthy() -> View {
    let fast = |count| events(count, [0; 3], 0.01);
    View {
        name: "checkout brownout".to_owned(),
        hypothesis: Some(
            "Shoppers can still pay while payments is slow and fails 1 in 20.".to_owned(),
        ),
        drill: "20261122-1405-checkout-brownout".to_owned(),
        seed: 42,
        state: "running".to_owned(),
        injecting: true,
        elapsed_seconds: 139.0,
        recorded_seconds: 139.0,
        phase: Some(Phase {
            name: "brownout".to_owned(),
            index: 2,
            of: 3,
            elapsed_seconds: 79.0,
            remaining_seconds: Some(41.0),
            ..Phase::default()
        }),
        next_phase: Some("recovery".to_owned()),
        requests: 7_140,
        requests_per_second: 50.2,
        active: 9,
        held: 3,
        slos: [
            pay([0; 3], [0; 3], [0; 3]),
            slo("pay-fast", 0.99, 139.0, fast(500), fast(3_000), fast(6_912)),
        ]
        .map(planned)
        .into(),
        faults: vec![
            fault("slow-payments", "20%", Some(0.2), true, Hits::new(4_001, 792)),
            fault("payments-time-out", "5%", Some(0.05), true, Hits::new(4_001, 197)),
            fault("payments-reset", "every 50", Some(0.02), false, Hits::default()),
        ],
        ..View::default()
    }
}

fn burning_injected() -> View {
    let mut view = healthy();
    view.slos[0] = pay([32, 0, 2], [187, 3, 17], [290, 5, 22]);
    view.faults[0].services = vec!["checkout".to_owned()];
    view.operations = vec![Operations {
        route: "charge".to_owned(),
        attempts: 4_001,
        operations: 3_760,
        recovered: 211,
        early: 0,
    }];
    "operations".clone_into(&mut view.slos[0].unit);
    view
}

fn burning_organic() -> View {
    let mut view = healthy();
    view.slos[0] = pay([0, 0, 21], [0, 0, 118], [0, 0, 143]);
    view.slos[0].collateral = Some(Collateral {
        events: 138.0,
        low_events: 121.3,
        high_events: 143.0,
        compared_with: "baseline".to_owned(),
    });
    view
}

fn exhausted() -> View {
    let mut view = burning_injected();
    let of = |count, bad| events(count, bad, 0.001);
    // A day at one bad in ten.
    let (minute, all) = (of(3_000, [300, 0, 30]), of(4_320_000, [400_000, 1_000, 31_000]));
    view.slos[0] = slo("pay", 0.999, 86_400.0, of(500, [50, 0, 5]), minute, all);
    view
}

/// The golden drill G2 of the design on one SLO; a ticket on the other.
fn paged() -> View {
    let mut view = burning_injected();
    (view.elapsed_seconds, view.recorded_seconds, view.requests) = (720.0, 720.0, 36_036);
    view.faults[0].drill = Hits::new(20_743, 4_107);
    view.faults[1].drill = Hits::new(20_743, 1_021);
    let operations = &mut view.operations[0];
    (operations.attempts, operations.operations, operations.recovered) = (20_743, 19_494, 1_094);
    let start: jiff::Timestamp = "2026-11-22T14:06:00Z".parse().unwrap();
    let firing = |after: u64| Firing {
        at: (start + std::time::Duration::from_secs(after)).to_string(),
        after_seconds: after,
        ..Firing::default()
    };
    let tier = |name: &str, severity: &str, state: &str, fired| Tier {
        name: name.to_owned(),
        severity: severity.to_owned(),
        state: state.to_owned(),
        fired,
        ..Tier::default()
    };
    let (minute, all) = (events(3_000, [450, 0, 0], 0.001), events(36_000, [3_000, 0, 0], 0.001));
    view.slos[0] = slo("pay", 0.999, 720.0, events(500, [75, 0, 0], 0.001), minute, all);
    let pay = &mut view.slos[0];
    pay.light = Light { colour: "red".to_owned(), word: "PAGE".to_owned(), ..Light::default() };
    pay.budget =
        Budget { remaining_ratio: Some(0.975_198), more_drills: Some(39), ..Budget::default() };
    pay.alerts = Alerts {
        dialect: "sloth-28d".to_owned(),
        tiers: vec![tier("page-quick", "page", "firing", vec![firing(643)])],
        ..Alerts::default()
    };
    pay.forecasts.drill = Some(AtTheEnd {
        consumed_ratio: 0.031,
        low_ratio: 0.030,
        high_ratio: 0.032,
        ..AtTheEnd::default()
    });
    pay.confidence = Confidence {
        bad_low_ratio: Some(0.0805),
        bad_high_ratio: Some(0.0862),
        verdict: "fail".to_owned(),
        needed_events: None,
        least_events: None,
    };
    let of = |count, bad| events(count, [bad, 0, 0], 0.01);
    let fast = slo("pay-fast", 0.99, 720.0, of(500, 50), of(3_000, 300), of(36_000, 2_000));
    view.slos[1] = planned(fast);
    let fast = &mut view.slos[1];
    fast.light = Light { colour: "amber".into(), word: "TICKET".into(), ..Light::default() };
    fast.alerts = Alerts {
        dialect: "pyrra".to_owned(),
        tiers: vec![tier("ticket-slow", "ticket", "firing", vec![firing(300)])],
        ..Alerts::default()
    };
    view.composites = vec![Composite {
        name: "journey".to_owned(),
        mode: "worst".to_owned(),
        of: vec!["pay".to_owned(), "pay-fast".to_owned()],
        burn_rate: Some(83.3),
        last_minute_burn_rate: Some(150.0),
        time_to_exhaustion_seconds: Some(15_728.0),
    }];
    view
}

fn halted() -> View {
    let mut view = burning_injected();
    view.state = "halted".into();
    view.injecting = false;
    view.halted = true;
    view.halt = Some(Halt { by: "SIGUSR1".to_owned(), reason: "checkout pages".to_owned() });
    view.held = 0;
    view.faults.iter_mut().for_each(|fault| fault.active = false);
    view
}

fn paused() -> View {
    let mut view = burning_injected();
    view.state = "paused".into();
    view.injecting = false;
    view.faults.iter_mut().for_each(|fault| fault.active = false);
    view.slos[0].now = events(500, [0; 3], 0.001);
    view
}

fn waiting() -> View {
    let mut view = no_traffic();
    view.state = "waiting".into();
    view.injecting = false;
    view.phase = None;
    view.next_phase = Some("baseline".to_owned());
    view.faults.iter_mut().for_each(|fault| fault.active = false);
    view
}

fn no_traffic() -> View {
    let mut view = healthy();
    let none = Events::default();
    view.slos[0] = slo("pay", 0.999, 3.0, none, none, none);
    view.slos[1] = slo("pay-fast", 0.99, 3.0, none, none, none);
    view.faults.iter_mut().for_each(|fault| {
        (fault.drill, fault.phase) = (Hits::default(), Hits::default());
    });
    (view.requests, view.requests_per_second, view.active, view.held) = (0, 0.0, 0, 0);
    view
}

fn held_reload() -> View {
    let mut view = burning_injected();
    view.phase = Some(Phase {
        name: "harder".to_owned(),
        index: 3,
        of: 4,
        until_next: true,
        ramp_ratio: Some(0.4),
        ..Phase::default()
    });
    view.faults[0].asked_ratio = Some(0.082);
    view.reload = Some(Reload {
        result: "held".to_owned(),
        age_seconds: 12.0,
        generation: 2,
        summary: "held: 1 widened, 1 changed; `backburn reload --accept` applies it".to_owned(),
        ..Reload::default()
    });
    view.pending = Some(Pending {
        summary: "1 fault widened".to_owned(),
        widens: vec!["slow-payments: probability 20% -> 40%".to_owned()],
    });
    view.overrides = vec![Override {
        key: "faults.payments-time-out.probability".to_owned(),
        value: "\"3%\"".to_owned(),
    }];
    view
}

fn rejected_reload() -> View {
    let mut view = burning_injected();
    view.scenario_wrong = true;
    view.generation = 2;
    view.reload = Some(Reload {
        result: "rejected".to_owned(),
        age_seconds: 4.0,
        generation: 2,
        errors: vec![
            "checkout.toml:14:44: unknown fault kind `latnecy`; did you mean `latency`?".to_owned(),
            "checkout.toml:15:1: x".to_owned(),
        ],
        ..Reload::default()
    });
    view.notes = vec![Note {
        age_seconds: 130.0,
        text: "ana: cart retries\x1b[2J look fine\n\u{202e}really".to_owned(),
        ..Note::default()
    }];
    view
}

/// Twelve SLOs and twenty faults on 80x24.
fn crowded() -> View {
    let mut view = burning_injected();
    view.slos = (1..=12)
        .map(|n| {
            let mut slo = if n % 4 == 0 {
                pay([n, 0, 2], [60 + n, 3, 7], [90 + n, 5, 9])
            } else {
                pay([0; 3], [0; 3], [0; 3])
            };
            slo.name = format!("slo-number-{n}");
            slo
        })
        .collect();
    view.faults = (1..=20)
        .map(|n| {
            let name = format!("fault-number-{n}");
            fault(&name, "5%", Some(0.05), n % 3 == 0, Hits::new(1_000 * n, 49 * n))
        })
        .collect();
    view
}

fn few_requests() -> View {
    let mut view = healthy();
    let of = |count, bad| events(count, bad, 0.001);
    view.slos[0] = slo("pay", 0.999, 139.0, of(2, [0; 3]), of(12, [2, 0, 0]), of(30, [2, 0, 1]));
    view.slos[0].confidence = Confidence {
        verdict: "inconclusive".to_owned(),
        least_events: Some(2_995),
        ..Confidence::default()
    };
    view.faults[0].phase = Hits::new(3, 1);
    view.faults[1].skipped = [("max_held".to_owned(), 30)].into();
    view.requests_per_second = 0.2;
    view
}

fn recovered() -> View {
    let mut view = burning_injected();
    view.phase = Some(Phase {
        name: "recovery".to_owned(),
        index: 3,
        of: 3,
        remaining_seconds: Some(12.0),
        ..Phase::default()
    });
    view.next_phase = None;
    view.slos[0].now = events(500, [0; 3], 0.001);
    view.faults.iter_mut().for_each(|fault| fault.active = false);
    view.reload = Some(Reload {
        result: "applied".to_owned(),
        age_seconds: 200.0,
        generation: 2,
        summary: "reloaded, generation 2: 1 changed, 1 need a restart".to_owned(),
        needs_restart: vec!["[safety]".to_owned()],
        ..Reload::default()
    });
    view
}

fn pass_through() -> View {
    let mut view = no_traffic();
    view.injecting = false;
    view.pass_through = Some("environment `prod` is not one of staging".to_owned());
    view.faults.iter_mut().for_each(|fault| fault.active = false);
    view
}

fn cases() -> Vec<(&'static str, View, Option<usize>)> {
    vec![
        ("no-traffic", no_traffic(), None),
        ("healthy", healthy(), None),
        ("burning-injected", burning_injected(), None),
        ("burning-organic", burning_organic(), None),
        ("few-requests", few_requests(), None),
        ("recovered", recovered(), None),
        ("exhausted", exhausted(), None),
        ("paged", paged(), None),
        ("halted", halted(), None),
        ("paused", paused(), None),
        ("waiting", waiting(), None),
        ("pass-through", pass_through(), None),
        ("held-reload", held_reload(), None),
        ("rejected-reload", rejected_reload(), None),
        ("crowded", crowded(), Some(24)),
        ("tight", rejected_reload(), Some(14)),
    ]
    .into_iter()
    .map(|(name, view, rows)| (name, answered(view), rows))
    .collect()
}

/// With what the live view works out at last.
fn answered(view: View) -> View {
    View { go_on: go_on(&view), ..view }
}

fn golden(name: &str, drawn: &str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/meter").join(format!("{name}.txt"));
    if std::env::var_os("BACKBURN_BLESS").is_some() {
        std::fs::write(&path, drawn).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(drawn, want, "{name}");
}

#[test]
fn every_standing_is_drawn() {
    for (name, view, rows) in cases() {
        let mut drawn = String::new();
        for columns in [60, 80, 120] {
            let canvas = Canvas { columns, rows, ..CANVAS };
            drawn += &format!("{:=^columns$}\n", format!(" {columns} "));
            drawn += &(meter::render(&view, &canvas).join("\n") + "\n");
        }
        drawn += &format!("{:=^80}\n{}\n", " plain ", meter::plain(&view));
        golden(name, &drawn);
    }
}

#[test]
fn without_utf8_it_is_ascii_and_colours_only_add() {
    let view = answered(burning_injected());
    let ascii = meter::render(&view, &Canvas { unicode: false, ..CANVAS });
    golden("ascii", &(ascii.join("\n") + "\n"));
    for (name, view, rows) in cases() {
        let ascii = meter::render(&view, &Canvas { unicode: false, rows, ..CANVAS });
        assert!(ascii.iter().all(|line| line.is_ascii()), "{name}: {ascii:#?}");
        let coloured = meter::render(&view, &Canvas { colour: true, rows, ..CANVAS }).join("\n");
        let mut bare = String::new();
        for (at, part) in coloured.split("\x1b[").enumerate() {
            bare += if at == 0 { part } else { part.split_once('m').unwrap().1 };
        }
        let plain = meter::render(&view, &Canvas { rows, ..CANVAS });
        let bare: Vec<&str> = bare.lines().map(str::trim_end).collect();
        assert_eq!(bare, plain, "{name}");
    }
}

#[test]
fn the_summary_tells_who_did_what() {
    let mut view = burning_injected();
    view.state = "finished".to_owned();
    view.slos[0].excluded = [("client_gone".to_owned(), 3), ("refused".to_owned(), 0)].into();
    view.refused = [("bad_request".to_owned(), 2)].into();
    let phase = |name: &str, bad: [u64; 3]| PhaseCounts {
        phase: name.to_owned(),
        elapsed_seconds: 30.0,
        requests: 1_500,
        slos: vec![PhaseSlo {
            name: "pay".to_owned(),
            events: events(1_500, bad, 0.001),
            budget_consumed: Consumed::default(),
        }],
        faults: vec![PhaseFault {
            name: "slow-payments".to_owned(),
            hits: Hits::new(1_500, bad.iter().sum()),
        }],
    };
    view.phases = vec![
        phase("baseline", [0, 0, 1]),
        phase("brownout", [290, 5, 20]),
        phase("recovery", [0, 0, 1]),
    ];
    view.slos.push(no_traffic().slos[0].clone());
    golden("summary", &summary::render(&answered(view)));
    golden("summary-quiet", &summary::render(&answered(no_traffic())));
}

/// What the API tells is all there is to draw.
#[test]
fn a_view_survives_its_json() {
    for (name, view, _) in cases() {
        let text = serde_json::to_string(&view).unwrap();
        let read: View = serde_json::from_str(&text).unwrap();
        assert_eq!(meter::render(&read, &CANVAS), meter::render(&view, &CANVAS), "{name}");
        assert_eq!(summary::render(&read), summary::render(&view), "{name}");
    }
    // What an older instance does not tell is empty.
    let view: View = serde_json::from_str("{\"state\": \"running\", \"requests\": 3}").unwrap();
    assert_eq!((view.state.as_str(), view.requests, view.slos.len()), ("running", 3, 0));
}

/// The API's status is a view, and `backburn status` draws it.
#[test]
fn status_is_a_view() {
    let shop = crate::support::shop();
    let scenario = "name = \"all fail\"\n[faults.no]\nroutes = [\"*\"]\ninject.error = 503\n\
                    [slos.a]\nobjective = \"99.9%\"\nsli.availability = {}\n";
    let proxy = crate::support::proxy(scenario, &shop.url("checkout"), &["--seed", "7"]);
    let url = proxy.url("proxy");
    for _ in 0..30 {
        let request = b"GET /api/items HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        let answer = crate::support::exchange(crate::support::host(&url), request);
        assert_eq!(crate::support::status_of(&answer), 503);
    }
    // The last minute is made of whole seconds.
    proxy.until("a second is over", |proxy| {
        proxy.json("/api/v1/status")["slos"][0]["last_minute"]["events"] == 30
    });
    let status = proxy.json("/api/v1/status");
    // Names that programs rely on.
    let keys = [
        "name",
        "hypothesis",
        "drill",
        "seed",
        "dice_version",
        "state",
        "injecting",
        "halted",
        "halt",
        "over",
        "pass_through",
        "began",
        "elapsed_seconds",
        "requests",
        "active",
        "held",
        "instance",
        "slos",
        "go_on",
    ];
    assert!(keys.iter().all(|key| status.get(key).is_some()), "{status:#}");
    assert_eq!(status["instance"]["pid"], proxy.pid());
    let slo = &status["slos"][0];
    let keys = [
        "name",
        "objective",
        "window_seconds",
        "window",
        "total",
        "good",
        "bad",
        "injected",
        "masked",
        "organic",
        "excluded",
        "burn_rate",
        "budget_consumed",
    ];
    assert!(keys.iter().all(|key| slo.get(key).is_some()), "{slo:#}");
    assert_eq!((&slo["total"], &slo["window"]), (&30.into(), &"28d".into()));
    assert_eq!(proxy.json("/api/v1/slos")[0]["bad"], 30);

    let view: View = serde_json::from_value(status).unwrap();
    assert_eq!(view.slos[0].last_minute, events(30, [30, 0, 0], 0.001));
    assert_eq!(view.faults[0].phase, Hits::new(30, 30));
    assert!(view.faults[0].active);
    let mut command = std::process::Command::new(crate::support::BACKBURN);
    command.args(["status", "--admin-url", &proxy.url("admin")]).env("LC_ALL", "C");
    let output = command.output().unwrap();
    let drawn = String::from_utf8(output.stdout).unwrap();
    assert!(drawn.starts_with("> RUNNING  injection ends in "), "{drawn}");
    assert!(drawn.contains("! BURNING"), "{drawn}");
    assert!(drawn.contains("INJECTING  no  asked all  applied 100%"), "{drawn}");
    assert!(drawn.lines().all(|line| line.is_ascii() && line.len() <= 80), "{drawn}");
}
