//! Any view at all, numbers that are none and names of any text among them: no line too wide, no
//! control character, no number that is none.

use backburn::report::budgets::{
    Alerts, AtTheEnd, Closest, Collateral, Composite, Firing, Light, Tier,
};
use backburn::report::line::width_shown;
use backburn::report::view::{
    Consumed, Events, Fault, Halt, Hits, Note, Operations, Override, Pending, Phase, Reload, Slo,
};
use backburn::report::{Canvas, View, meter, summary};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z-]{0,12}",
        ".{0,80}",
        "[\u{0}-\u{1f}\u{7f}-\u{9f}日本é\u{202e}❤\u{fe0f}👩\u{200d}]{0,40}"
    ]
}

/// Any number there is, and some that are none.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        0.0..2.0,
        0.0..1e7,
        any::<f64>(),
    ]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 0_u64..50, 0_u64..1_000_000, any::<u64>()]
}

fn maybe(number: impl Strategy<Value = f64>) -> impl Strategy<Value = Option<f64>> {
    proptest::option::of(number)
}

fn any_events() -> impl Strategy<Value = Events> {
    (proptest::array::uniform5(count()), maybe(number())).prop_map(|(counts, burn_rate)| {
        let [events, bad, injected, masked, organic] = counts;
        Events { events, bad, injected, masked, organic, burn_rate }
    })
}

fn any_slo() -> impl Strategy<Value = Slo> {
    (
        (text(), proptest::collection::vec(text(), 0..3), number(), count()),
        proptest::array::uniform3(any_events()),
        count(),
        proptest::array::uniform5(maybe(number())),
        any_promise(),
    )
        .prop_map(
            |((name, services, objective, window_seconds), seen, good, numbers, promise)| {
                let [now, last_minute, all] = seen;
                let [ratio, injected_ratio, masked_ratio, organic_ratio, left] = numbers;
                Slo {
                    name,
                    services,
                    objective,
                    window_seconds,
                    total: all.events,
                    good,
                    bad: all.bad,
                    injected: all.injected,
                    masked: all.masked,
                    organic: all.organic,
                    burn_rate: all.burn_rate,
                    now,
                    last_minute,
                    budget_consumed: Consumed {
                        basis: "scaled".to_owned(),
                        ratio,
                        injected_ratio,
                        masked_ratio,
                        organic_ratio,
                    },
                    time_to_exhaustion_seconds: left,
                    ..*promise
                }
            },
        )
}

fn any_alerts() -> BoxedStrategy<Alerts> {
    let firing = (text(), count(), proptest::option::of(count())).prop_map(
        |(at, after_seconds, resolved_after_seconds)| Firing {
            resolved_at: resolved_after_seconds.map(|_| at.clone()),
            at,
            after_seconds,
            resolved_after_seconds,
        },
    );
    let severity = prop_oneof!["page|ticket", text()];
    let tier = (text(), severity, text(), proptest::collection::vec(firing.boxed(), 0..3));
    let tier = tier.prop_map(|(name, severity, state, fired)| Tier {
        name,
        severity,
        state,
        fired,
        ..Tier::default()
    });
    let closest = (text(), number(), count()).prop_map(|(tier, pressure_ratio, after_seconds)| {
        Closest { tier, pressure_ratio, after_seconds, ..Closest::default() }
    });
    (
        text().boxed(),
        proptest::collection::vec(tier.boxed(), 0..4),
        proptest::option::of(closest.boxed()),
    )
        .prop_map(|(dialect, tiers, closest)| Alerts {
            dialect,
            tiers,
            closest,
            ..Alerts::default()
        })
        .boxed()
}

/// What is told of budgets and alerts, of any numbers and texts.
fn any_promise() -> BoxedStrategy<Box<Slo>> {
    let numbers = proptest::array::uniform8(maybe(number()));
    let words = ("PAGE|TICKET|LOW|GONE|SPENDING|", text(), "pass|fail|inconclusive|x");
    let more = (proptest::option::of(count()), any::<bool>());
    (numbers.boxed(), any_alerts(), words.boxed(), more.boxed())
        .prop_map(|(numbers, alerts, (word, other, verdict), (some, yes))| {
            let number = |at: usize| numbers[at].unwrap_or(f64::NAN);
            let mut slo = Box::<Slo>::default();
            slo.unit.push_str(if yes { "slices" } else { "operations" });
            slo.light = Light { word, ..Light::default() };
            slo.budget.remaining_ratio = numbers[0];
            slo.budget.consumed_before_ratio = numbers[1];
            slo.budget.allowance_ratio = numbers[2];
            slo.budget.more_drills = some;
            slo.alerts = alerts;
            slo.forecasts.drill = Some(AtTheEnd {
                consumed_ratio: number(4),
                low_ratio: number(5),
                high_ratio: number(6),
                exceeds_allowance: yes,
                ..AtTheEnd::default()
            });
            slo.confidence.bad_low_ratio = numbers[5];
            slo.confidence.bad_high_ratio = numbers[6];
            slo.confidence.verdict = verdict;
            slo.confidence.needed_events = some;
            slo.collateral = Some(Collateral {
                events: number(7),
                low_events: number(6),
                high_events: number(5),
                compared_with: other,
            });
            slo
        })
        .boxed()
}

fn any_composite() -> BoxedStrategy<Composite> {
    (
        text(),
        text(),
        proptest::collection::vec(text(), 0..3),
        proptest::array::uniform3(maybe(number())),
    )
        .prop_map(|(name, mode, of, [burn_rate, last_minute_burn_rate, left])| Composite {
            name,
            mode,
            of,
            burn_rate,
            last_minute_burn_rate,
            time_to_exhaustion_seconds: left,
        })
        .boxed()
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let hits = || {
        (count(), count(), maybe(number())).prop_map(|(eligible, hit, applied_ratio)| Hits {
            eligible,
            hit,
            applied_ratio,
        })
    };
    (
        (text(), proptest::collection::vec(text(), 0..3), any::<bool>(), text()),
        (maybe(number()), hits(), hits()),
        proptest::collection::btree_map(text(), count(), 0..3),
    )
        .prop_map(|((name, services, active, who), (asked_ratio, drill, phase), skipped)| {
            let in_burst = active.then_some(drill.hit % 2 == 0);
            Fault { name, services, active, in_burst, who, asked_ratio, drill, phase, skipped }
        })
}

fn any_phase() -> impl Strategy<Value = Phase> {
    (text(), any::<(usize, usize, bool)>(), number(), maybe(number()), maybe(number())).prop_map(
        |(name, (index, of, until_next), elapsed_seconds, remaining_seconds, ramp_ratio)| Phase {
            name,
            index,
            of,
            elapsed_seconds,
            remaining_seconds,
            until_next,
            ramp_ratio,
        },
    )
}

prop_compose! {
    fn any_reload()(
        result in prop_oneof!["applied|unchanged|rejected|held", text()],
        age_seconds in number(),
        generation in count(),
        summary in text(),
        errors in proptest::collection::vec(text(), 0..3),
        needs_restart in proptest::collection::vec(text(), 0..2),
    ) -> Reload {
        Reload { result, at: String::new(), age_seconds, generation, summary, errors, needs_restart }
    }
}

/// In boxed halves: whole, it would not fit a test's stack.
fn any_view() -> BoxedStrategy<View> {
    (any_drill(), any_figures(), any_events_of_the_day())
        .prop_map(|(drill, figures, day)| View {
            slos: figures.slos,
            faults: figures.faults,
            operations: figures.operations,
            composites: figures.composites,
            refused: figures.refused,
            reload: day.reload,
            scenario_wrong: day.scenario_wrong,
            pending: day.pending,
            overrides: day.overrides,
            notes: day.notes,
            ..drill
        })
        .boxed()
}

fn any_drill() -> BoxedStrategy<View> {
    let words = (
        prop_oneof!["waiting|running|paused|halted|finished", text()],
        text(),
        proptest::option::of(text()),
        proptest::option::of((text(), text())),
        proptest::option::of(text()),
    );
    let numbers = (
        any::<(bool, bool, i64)>(),
        proptest::array::uniform3(number()),
        proptest::array::uniform2(count()),
        maybe(number()),
    );
    let phases = (proptest::option::of(any_phase()), proptest::option::of(text()));
    (words.boxed(), numbers.boxed(), phases.boxed())
        .prop_map(|(words, numbers, (phase, next_phase))| {
            let (state, name, hypothesis, halt, pass_through) = words;
            let ((injecting, over, active), seconds, [requests, held], ends_in_seconds) = numbers;
            let [elapsed_seconds, recorded_seconds, requests_per_second] = seconds;
            View {
                state,
                name,
                hypothesis,
                halt: halt.map(|(by, reason)| Halt { by, reason }),
                pass_through,
                injecting,
                over,
                active,
                elapsed_seconds,
                recorded_seconds,
                requests_per_second,
                requests,
                held,
                ends_in_seconds,
                phase,
                next_phase,
                ..View::default()
            }
        })
        .boxed()
}

fn any_figures() -> BoxedStrategy<View> {
    let operations = (text(), proptest::array::uniform4(count())).prop_map(|(route, counts)| {
        let [attempts, operations, recovered, early] = counts;
        Operations { route, attempts, operations, recovered, early }
    });
    (
        proptest::collection::vec(any_slo().boxed(), 0..14),
        proptest::collection::vec(any_fault().boxed(), 0..22),
        proptest::collection::vec(operations.boxed(), 0..3),
        proptest::collection::btree_map(text(), count(), 0..3),
        proptest::collection::vec(any_composite(), 0..3),
    )
        .prop_map(|(slos, faults, operations, refused, composites)| View {
            slos,
            composites,
            faults,
            operations,
            refused,
            ..View::default()
        })
        .boxed()
}

fn any_events_of_the_day() -> BoxedStrategy<View> {
    let pending = (text(), proptest::collection::vec(text(), 0..3))
        .prop_map(|(summary, widens)| Pending { summary, widens });
    let change = (text(), text()).prop_map(|(key, value)| Override { key, value });
    let note = (number(), text()).prop_map(|(age_seconds, text)| Note {
        at: String::new(),
        age_seconds,
        phase: String::new(),
        text,
    });
    (
        (proptest::option::of(any_reload().boxed()), any::<bool>()),
        proptest::option::of(pending.boxed()),
        proptest::collection::vec(change.boxed(), 0..3),
        proptest::collection::vec(note.boxed(), 0..4),
    )
        .prop_map(|((reload, scenario_wrong), pending, overrides, notes)| View {
            reload,
            scenario_wrong,
            pending,
            overrides,
            notes,
            ..View::default()
        })
        .boxed()
}

/// Words that a number must never be.
fn is_honest(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.into_iter().all(|word| !["NaN", "inf"].contains(&word))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_view_breaks_the_block(
        view in any_view(),
        columns in prop_oneof![0_usize..20, 40_usize..200],
        rows in proptest::option::of(0_usize..40),
        (colour, unicode) in any::<(bool, bool)>(),
    ) {
        let canvas = Canvas { columns, rows, colour, unicode };
        let lines = meter::render(&view, &canvas);
        prop_assert!(rows.is_none_or(|rows| lines.len() <= rows));
        for line in &lines {
            prop_assert!(width_shown(line) <= columns, "{}: {line:?}", width_shown(line));
            let bare = line.replace("\x1b[", "");
            prop_assert!(!bare.contains(char::is_control), "{line:?}");
        }
        let (plain, summary) = (meter::plain(&view), summary::render(&view));
        prop_assert!(!plain.contains(char::is_control), "{plain:?}");
        prop_assert!(!summary.contains(|c: char| c.is_control() && c != '\n'), "{summary:?}");
        // Whoever names an SLO NaN is told of it.
        let said = lines.join("\n") + &plain + &summary;
        let named = serde_json::to_string(&view).unwrap();
        prop_assert!(is_honest(&said) || !is_honest(&named), "{said}");
    }

    /// A share below one never reads 100 %, one above nothing never 0 %.
    #[test]
    fn shares_are_true(a in count(), b in count()) {
        use backburn::report::words::{good_share, part_share};
        let (part, of) = (a.min(b), a.max(b).max(1));
        for text in [good_share(part, of).unwrap(), part_share(part, of).unwrap()] {
            prop_assert_eq!(text == "100%", part == of, "{}", text);
            prop_assert_eq!(text == "0%", part == 0, "{}", text);
        }
    }
}
