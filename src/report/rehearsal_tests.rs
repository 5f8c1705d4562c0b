use super::*;

fn rehearsed(text: &str, rps: f64, length: Option<Duration>) -> Rehearsal {
    rehearsed_at(text, |_| rps, length)
}

fn rehearsed_at(text: &str, rate: impl Fn(&Route) -> f64, length: Option<Duration>) -> Rehearsal {
    let text = format!("[proxy]\nupstream = \"http://127.0.0.1:9000\"\n{text}");
    let (scenario, notes) = crate::scenario::read(vec![("t".to_owned(), text)], &[]);
    assert!(notes.is_empty(), "{notes:?}");
    let (plan, notes) = crate::plan::compile(&scenario);
    let plan = Arc::new(plan.unwrap_or_else(|| panic!("{notes:?}")));
    rehearse(&plan, rate, length)
}

const FAULT: &str = "[faults.down]\nroutes = [\"*\"]\ninject.error = 503\n\
                     [slos.up]\nobjective = \"99.9%\"\nsli.availability = {}\n";

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 5e-7 * b.max(1.0), "{a} is not {b}");
}

/// V23, and the golden drill G2, from scenarios.
#[test]
fn known_drills() {
    let v23 = format!(
        "{FAULT}[[phases]]\nname = \"idle\"\nfor = \"2m\"\n\
         [[phases]]\nname = \"ten\"\nfor = \"5m\"\nfaults = [\"down\"]\nset.down.probability = \"10%\"\n\
         [[phases]]\nname = \"two\"\nfor = \"5m\"\nfaults = [\"down\"]\nset.down.probability = \"2%\"\n"
    );
    let drill = rehearsed(&v23, 50.0, None);
    let slo = &drill.slos[0];
    close(slo.bad, 1_800.0);
    close(slo.consumed_ratio, 0.014_881);
    close(slo.low_ratio, 0.014_451);
    close(slo.high_ratio, 0.015_311);
    close(drill.phases[1].injections[0].hits, 1_500.0);
    assert_eq!((slo.needed_events, slo.alerts.len()), (Some(2_995), 0));
    let absolute = rehearsed(&format!("{v23}[slos.up.production]\nrate = \"200/s\"\n"), 50.0, None);
    close(absolute.slos[0].consumed_ratio, 0.014_881 / 4.0);
    let g2 = v23.replace("10%", "5%").replace("\"2%\"", "\"15%\"");
    let slo = &rehearsed(&g2, 50.0, None).slos[0];
    close(slo.consumed_ratio, 0.024_802);
    let page = &slo.alerts[0];
    assert_eq!((page.tier.as_str(), page.fires_after_seconds), ("page-quick", 643));
    assert_eq!(page.resolves_after_seconds, None, "not within the drill");
}

/// Answers that are no event of an SLO are not counted as good ones either.
#[test]
fn what_is_left_out_is_not_good() {
    let text = "[faults.fails]\nroutes = [\"*\"]\ngroup = \"g\"\nprobability = \"50%\"\n\
        inject.error = 500\n[faults.late]\nroutes = [\"*\"]\ngroup = \"g\"\nprobability = \"20%\"\n\
        inject.latency = \"1s\"\n[slos.fast]\nobjective = \"90%\"\n\
        sli.latency.threshold = \"200ms\"\n";
    let drill = rehearsed(text, 10.0, Some(Duration::from_secs(60)));
    let slo = &drill.slos[0];
    close(slo.events, 300.0);
    close(slo.bad, 120.0);
    // Of one that draws for itself, a half of those that are late failed as well.
    let drill =
        rehearsed(&text.replace("group = \"g\"\n", ""), 10.0, Some(Duration::from_secs(60)));
    close(drill.slos[0].events, 300.0);
    close(drill.slos[0].bad, 60.0);
}

#[test]
fn without_phases_it_lasts_as_long_as_it_is_told() {
    let drill = rehearsed(FAULT, 10.0, Some(Duration::from_secs(100)));
    close(drill.seconds, 100.0);
    assert_eq!(drill.slos[0].alerts[0].fires_after_seconds, 49);
    let allowed = format!("{FAULT}allowance = \"1%\"\n");
    let drill = rehearsed(&allowed, 10.0, Some(Duration::from_secs(100)));
    // 1 % of 28 days at 99.9 % is 24.192 s of an outage.
    assert_eq!(drill.slos[0].halts_after_seconds, Some(25));
    assert!(render(&drill).contains("its allowance halts the drill after 0:25"));
}

/// Each kind's harm by the judge: delays against a threshold, members of a group, limits, and what
/// nobody can know.
#[test]
fn every_kind_is_judged() {
    let of = |faults: &str| {
        let text = format!(
            "{faults}[slos.up]\nobjective = \"99.9%\"\nsli.availability = {{}}\n\
             [slos.fast]\nobjective = \"99%\"\nsli.latency = {{ threshold = \"500ms\", of = \"all\" }}\n"
        );
        let drill = rehearsed(&text, 100.0, Some(Duration::from_secs(10)));
        let bad: Vec<f64> = drill.slos.iter().map(|slo| slo.bad.round()).collect();
        (bad[0] as u64, bad[1] as u64, drill.slos[0].without.len())
    };
    let fault =
        |who: &str, inject: &str| format!("[faults.it]\nroutes = [\"*\"]\n{who}\n{inject}\n");
    assert_eq!(of(&fault("probability = \"10%\"", "inject.error = 503")), (100, 0, 0));
    assert_eq!(of(&fault("probability = \"10%\"", "inject.error = 404")), (0, 0, 0));
    assert_eq!(of(&fault("every = 4", "inject.latency = \"600ms\"")), (0, 250, 0));
    assert_eq!(of(&fault("first = 7", "inject.abort = \"reset\"")), (7, 7, 0));
    assert_eq!(of(&fault("limit = 30", "inject.truncate.after = \"1KiB\"")), (30, 30, 0));
    assert_eq!(of(&fault("", "inject.rate_limit = \"60/s\"")), (400, 0, 0));
    assert_eq!(of(&fault("", "inject.throttle = \"1KiB/s\"")).2, 1);
    assert_eq!(of(&fault("bursts = { on = \"5s\", off = \"15s\" }", "inject.error = 500")).0, 250);
    let exponential = "inject.latency = { delay.exponential.mean = \"500ms\" }";
    let (up, fast, _) = of(&fault("", exponential));
    assert!(up == 0 && fast.abs_diff(368) < 15, "{fast}");
    let group = "[faults.a]\nroutes = [\"*\"]\ngroup = \"g\"\nprobability = \"40%\"\ninject.error = 500\n\
                 [faults.b]\nroutes = [\"*\"]\ngroup = \"g\"\nprobability = \"40%\"\ninject.error = 502\n";
    assert_eq!(of(group).0, 800);
    assert_eq!(of(&group.replace("group = \"g\"\n", "")).0, 640);
}

/// What a fault makes of what an answer says: told where it is known.
#[test]
fn what_answers_say_is_judged() {
    let of = |inject: &str| {
        let text = format!(
            "[faults.it]\nroutes = [\"*\"]\ninject.{inject}\n[slos.head]\nobjective = \"99%\"\n\
             sli.correctness = {{ content_type = \"application/json\", header = {{ x-a = \"1\" }} }}\n\
             [slos.body]\nobjective = \"99%\"\nsli.correctness = {{ json_pointer = \"/a\" }}\n"
        );
        let drill = rehearsed(&text, 10.0, Some(Duration::from_secs(10)));
        let of = |at: usize| (drill.slos[at].bad.round() as u64, drill.slos[at].without.len());
        (of(0), of(1))
    };
    let (good, bad, guessed) = ((0, 0), (100, 0), (100, 1));
    for (inject, want) in [
        ("error = 503", (good, good)),
        ("error = { status = 200, body = \"no\" }", (bad, bad)),
        ("error = { status = 200, body = '{\"a\": 1}' }", (bad, good)),
        ("abort = \"reset\"", (good, good)),
        ("truncate = { after = \"1KiB\" }", (good, good)),
        ("latency = \"1s\"", (good, good)),
        ("corrupt = { replace = \"no\" }", (good, bad)),
        ("corrupt = { replace = '{\"a\": 1}' }", (good, good)),
        ("corrupt = { flip = \"1%\" }", (good, guessed)),
        ("headers = { remove = [\"x-a\"] }", (bad, good)),
        ("headers = { set = { x-a = \"2\" } }", (bad, good)),
        ("headers = { set = { x-a = \"1\" }, add = { x-a = \"2\" } }", (good, good)),
        ("headers = { add = { x-a = \"2\" } }", (good, good)),
        ("headers = { set = { content-type = \"application/json\" } }", (good, good)),
        ("headers = { set = { content-type = \"text/html\" } }", (bad, good)),
    ] {
        assert_eq!(of(inject), want, "{inject}");
    }
}

#[test]
fn what_will_not_work_is_said() {
    let text = "[faults.rare]\nroutes = [\"a\"]\nprobability = \"0.001%\"\ninject.error = 503\n\
                [routes.a]\npath = \"/a\"\n[routes.b]\npath = \"/b\"\n\
                [slos.up]\nobjective = \"99.9%\"\nsli.availability = {}\n";
    let drill = rehearsed(text, 10.0, Some(Duration::from_secs(60)));
    let said = render(&drill);
    assert!(said.contains("fault `rare` is not expected to hit anything: 0.01 requests"), "{said}");
    assert!(said.contains("no fault touches route `b`"), "{said}");
    assert!(said.contains("2,995 requests without a bad one prove it kept, more than will come"));
}

/// What production has spent already is part of what a drill leaves.
#[test]
fn what_was_gone_before_is_told() {
    let of = |before: &str| {
        let text = format!("{FAULT}production.consumed = \"{before}\"\n");
        render(&rehearsed(&text, 10.0, Some(Duration::from_secs(100))))
    };
    let (full, close, red) = (of("18%"), of("96%"), of("112.5%"));
    assert!(!full.contains(" left"), "{full}");
    // 100 s of an outage burn 4.1 % of what 28 days may lose.
    assert!(close.contains("nothing will be left of its budget: 96.0% of it was gone before\n"));
    assert!(red.contains("nothing is left of its budget: 112% of it was gone before the drill\n"));
}

/// A route that no fault touches is told apart from one of which no rate is known.
#[test]
fn no_rate_is_not_no_fault() {
    let text = "[faults.both]\nroutes = [\"a\", \"b\"]\nprobability = \"10%\"\ninject.error = 503\n\
                [faults.unknown]\nroutes = [\"b\"]\ninject.error = 500\n\
                [faults.off]\nroutes = [\"d\"]\nprobability = \"0%\"\ninject.error = 500\n\
                [routes.a]\npath = \"/a\"\n[routes.b]\npath = \"/b\"\n[routes.c]\npath = \"/c\"\n\
                [routes.d]\npath = \"/d\"\n[slos.up]\nroutes = [\"b\"]\nobjective = \"99.9%\"\n\
                sli.availability = {}\n";
    let rate = |route: &Route| if &*route.name == "b" { 0.0 } else { 10.0 };
    let drill = rehearsed_at(text, rate, Some(Duration::from_secs(60)));
    assert_eq!(
        drill.warnings,
        [
            "fault `unknown` is on routes without a rate only: what it does is not told",
            "fault `off` is not expected to hit anything: 0.00 requests",
            "route `b` has no rate: what its faults do is not told",
            "no fault touches route `c`",
            "the faults of route `d` hit none of its requests",
        ]
    );
    let said = render(&drill);
    assert!(said.contains("slo       up: its routes have no rate\n"), "{said}");
    assert!(said.contains("    both on b: its route has no rate\n"), "{said}");
}

/// Nobody knows how callers retry: it is said, and each request taken as an operation.
#[test]
fn operations_are_as_many_as_requests() {
    let text = "[faults.down]\nroutes = [\"a\"]\nprobability = \"10%\"\ninject.error = 503\n\
                [routes.a]\npath = \"/a\"\noperation = \"header:k\"\n[slos.up]\nroutes = [\"a\"]\n\
                objective = \"99%\"\nsli.availability = { per = \"operation\" }\n";
    let drill = rehearsed(text, 10.0, Some(Duration::from_secs(60)));
    close(drill.slos[0].bad, 60.0);
    let said = render(&drill);
    for what in [
        "not known: it counts operations, and how callers retry is theirs: as if none did",
        "299 operations without a bad one prove it kept",
    ] {
        assert!(said.contains(what), "{said}");
    }
}
