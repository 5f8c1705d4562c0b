use super::*;

const BASE: &str = r#"
name = "t"
[services.shop]
url = "http://127.0.0.1:9000"
[services.pay]
url = "http://127.0.0.1:9100"
[routes.items]
service = "shop"
path = "/items"
[routes.charge]
service = "pay"
path = "/charge"
methods = ["POST"]
[routes.admin]
service = "shop"
path = "/admin"
protected = true
[faults.slow]
routes = ["charge"]
probability = "5%"
limit = 100
inject.latency = "300ms"
[faults.broken]
routes = ["charge"]
probability = "1%"
only = { methods = ["POST"] }
inject.error = 503
[slos.all]
objective = "99%"
sli.availability = {}
[[phases]]
name = "calm"
for = "1m"
[[phases]]
name = "storm"
for = "5m"
ramp = "30s"
faults = ["slow"]
"#;

fn plan(text: &str) -> Plan {
    let (scenario, notes) = crate::scenario::read(vec![("t".to_owned(), text.to_owned())], &[]);
    let (plan, more) = crate::plan::compile(&scenario);
    plan.unwrap_or_else(|| panic!("{notes:?} {more:?}"))
}

/// The base with one text in the place of another.
fn with(from: &str, to: &str) -> Changes {
    assert!(BASE.contains(from), "{from}");
    changes(&plan(BASE), &plan(&BASE.replace(from, to)))
}

#[test]
fn a_comment_and_another_spelling_are_no_change() {
    let found = with("[faults.slow]", "# a comment\n[faults.slow]");
    assert!(found.is_none() && found.needs_restart.is_empty(), "{found:?}");
    assert!(found.kept.contains(&"fault `slow`".to_owned()));
    assert!(with("\"300ms\"", "\"0.3s\"").is_none());
    assert!(with("\"5%\"", "\"5.0%\"").is_none());
}

#[test]
fn what_widens_is_told_first() {
    let cases = [
        ("\"5%\"", "\"25%\"", "fault `slow`: 5% → 25%"),
        ("probability = \"5%\"", "", "fault `slow`: 5% → all"),
        ("limit = 100", "", "fault `slow`: its `limit` is higher or gone"),
        ("limit = 100", "limit = 101", "fault `slow`: its `limit` is higher or gone"),
        (
            "routes = [\"charge\"]\nprobability = \"5%\"",
            "routes = [\"charge\", \"items\"]\nprobability = \"5%\"",
            "fault `slow` is now on items too",
        ),
        (
            "only = { methods = [\"POST\"] }",
            "",
            "fault `broken` is not `only` for the same requests any more",
        ),
        ("\"300ms\"", "\"3s\"", "fault `slow` does something else: waits 300ms → waits 3s"),
        ("protected = true", "", "route `admin` is no longer protected"),
        (
            "[routes.admin]\nservice = \"shop\"\npath = \"/admin\"\nprotected = true\n",
            "",
            "route `admin`, which was protected, is gone",
        ),
        (
            "[routes.items]\nservice = \"shop\"\npath = \"/items\"\n",
            "",
            "route `items`, which had no fault, is gone",
        ),
        (
            "path = \"/admin\"",
            "path = \"/admins\"",
            "route `admin`, which is protected, matches other requests",
        ),
        (
            "[routes.charge]\nservice = \"pay\"",
            "[routes.charge]\nservice = \"shop\"",
            "route `charge`, which has faults, is now of `shop`",
        ),
        (
            "limit = 100",
            "limit = 100\nper = \"client-ip\"",
            "fault `slow` is counted for each client-ip",
        ),
        (
            "path = \"/items\"",
            "path = \"/item\"",
            "route `items`, which has no fault, matches other requests",
        ),
        (
            "probability = \"5%\"",
            "probability = \"5%\"\ncohort = \"client-ip\"",
            "fault `slow` hits a share of client-ip",
        ),
        (
            "path = \"/charge\"",
            "path = \"/{*rest}\"",
            "route `charge`, which has faults, matches other requests",
        ),
        (
            "faults = [\"slow\"]",
            "faults = [\"slow\", \"broken\"]",
            "phase `storm`: fault `broken` is active: 1% of charge; answers 503",
        ),
        (
            "faults = [\"slow\"]",
            "faults = [\"slow\"]\nset.slow.probability = \"50%\"",
            "phase `storm`: fault `slow`: 5% → 50%",
        ),
        ("ramp = \"30s\"", "", "phase `storm`: probabilities climb faster: 30s → at once"),
        ("for = \"5m\"", "for = \"6m\"", "phase `storm`, which has faults, is longer: 5m → 6m"),
        (
            "for = \"5m\"",
            "until = \"next\"",
            "phase `storm`, which has faults, is longer: 5m → until `next`",
        ),
        (
            "\"http://127.0.0.1:9100\"",
            "\"http://127.0.0.1:9101\"",
            "service `pay`, which has faults, is elsewhere",
        ),
        (
            "[[phases]]\nname = \"calm\"",
            "[[phases]]\nname = \"new\"\nfor = \"1s\"\nfaults = [\"*\"]\n[[phases]]\nname = \"calm\"",
            "phase `new` is new, with slow, broken",
        ),
        (
            "[slos.all]",
            "[faults.more]\nroutes = [\"items\"]\nevery = 3\ninject.abort = \"reset\"\n[slos.all]",
            "fault `more` is new: every 3 of items; resets the connection",
        ),
    ];
    for (from, to, want) in cases {
        let found = with(from, to);
        assert!(found.widened.iter().any(|line| line == want), "{want}: {found:#?}");
        assert!(!found.is_none());
    }
}

/// Callers that could opt out, and a fault that came in bursts only.
#[test]
fn what_spared_some_widens_when_it_goes() {
    let with = |control: &str, bursts: &str| {
        let text = BASE.replace("limit = 100", &format!("limit = 100\n{bursts}"));
        plan(&format!("proxy.client_control = {control}\n{text}"))
    };
    let often = "bursts = { on = \"5s\", off = \"30s\" }";
    let seldom = "bursts = { on = \"4s\", off = \"40s\" }";
    for (was, is, widened) in [
        (often, "", " is not on in bursts only any more"),
        (seldom, often, ": its bursts: 4s on, 40s off → 5s on, 30s off"),
    ] {
        let found = changes(&with("true", was), &with("true", is));
        assert_eq!(found.widened, [format!("fault `slow`{widened}")]);
        let found = changes(&with("true", is), &with("true", was));
        assert!(found.widened.is_empty() && found.changed.contains(&"fault `slow`".to_owned()));
    }
    let phase = |set: &str| {
        let text = BASE.replace("limit = 100", &format!("limit = 100\n{often}"));
        plan(&text.replace("faults = [\"slow\"]", &format!("faults = [\"slow\"]\n{set}")))
    };
    let found = changes(&phase(""), &phase("set.slow.bursts.off = \"10s\""));
    let widened = "phase `storm`: fault `slow`: its bursts: 5s on, 30s off → 5s on, 10s off";
    assert_eq!(found.widened, [widened]);
    for (was, widened) in [
        ("per = \"client-ip\"", " is counted for all alike"),
        ("cohort = \"client-ip\"", " hits a share of requests, whoever sends them"),
    ] {
        let found = changes(&with("true", was), &with("true", ""));
        assert_eq!(found.widened, [format!("fault `slow`{widened}")]);
    }
    let found = changes(&with("true", ""), &with("false", ""));
    assert_eq!(found.widened, ["callers cannot opt out of faults any more"]);
    assert_eq!(found.changed, ["proxy.client_control: true → false"]);
    assert!(changes(&with("false", ""), &with("true", "")).widened.is_empty());
}

#[test]
fn what_narrows_is_only_told_as_changed() {
    for (from, to, changed) in [
        ("\"5%\"", "\"4%\"", "fault `slow`"),
        ("limit = 100", "limit = 99", "fault `slow`"),
        ("limit = 100", "limit = 100\nspread = \"even\"", "fault `slow`"),
        ("limit = 100", "limit = 100\nbursts = { on = \"1s\", off = \"1s\" }", "fault `slow`"),
        ("faults = [\"slow\"]", "", "phase `storm`"),
        ("for = \"5m\"", "for = \"4m\"", "phase `storm`"),
        ("for = \"1m\"", "for = \"2m\"", "phase `calm`"),
        ("objective = \"99%\"", "objective = \"99.9%\"", "SLO `all`"),
        ("\"http://127.0.0.1:9000\"", "\"http://127.0.0.1:9001\"", "service `shop`"),
    ] {
        let found = with(from, to);
        assert!(found.changed.iter().any(|line| line == changed), "{changed}: {found:#?}");
        assert!(found.widened.is_empty(), "{changed}: {found:#?}");
    }
}

#[test]
fn added_and_removed_by_name() {
    let found = with("[slos.all]", "[slos.every]");
    assert_eq!(
        (found.added, found.removed),
        (vec!["SLO `every`".into()], vec!["SLO `all`".into()])
    );
    let slow = &BASE[BASE.find("[faults.slow]").unwrap()..BASE.find("[faults.broken]").unwrap()];
    let moved = BASE.replace(slow, "").replace("[slos.all]", &format!("{slow}[slos.all]"));
    let found = changes(&plan(BASE), &plan(&moved));
    assert_eq!(found.changed, ["the order of faults"]);
}

#[test]
fn what_only_a_start_can_change_stays_and_is_named() {
    let live = plan(BASE);
    let text = BASE
        .replace(
            "name = \"t\"",
            "name = \"t\"\nseed = 3\n[safety]\nmax_drill = \"1h\"\nnever = [\"10.0.0.0/8\"]\n\
             [proxy]\nworkers = 3",
        )
        .replace("[services.pay]", "[services.pay]\nlisten = \"127.0.0.1:8910\"");
    let mut new = plan(&text);
    let restart = settle(&live, &mut new, &[]);
    let keys = ["safety.max_drill", "safety.never", "seed", "proxy.workers", "services.pay.listen"];
    assert_eq!(restart, keys);
    assert!(changes(&live, &new).is_none());
    assert_eq!(new.safety, live.safety);
}

/// Its name is what a scenario without phases calls its only one.
#[test]
fn a_phase_called_drill_is_a_phase() {
    let one = |length: &str| {
        let faults = &BASE[..BASE.find("[[phases]]").unwrap()];
        plan(&format!("{faults}[[phases]]\nname = \"drill\"\nfor = \"{length}\"\n"))
    };
    assert_eq!(changes(&one("1m"), &one("2m")).changed, ["phase `drill`"]);
}

#[test]
fn the_order_of_services_says_where_the_rest_goes() {
    let turned = BASE
        .replace("services.shop", "services.x")
        .replace("services.pay", "services.shop")
        .replace("services.x", "services.pay")
        .replace(":9000", ":x")
        .replace(":9100", ":9000")
        .replace(":x", ":9100");
    let found = changes(&plan(BASE), &plan(&turned));
    assert_eq!(found.changed, ["what no route matches goes to `pay` instead of `shop`"]);
}

/// Where its bit is is no part of what an objective asks.
#[test]
fn a_check_before_another_one() {
    let check = |name: &str, pointer: &str| {
        format!(
            "[slos.{name}]\nobjective = \"99%\"\nsli.correctness.json_pointer = \"{pointer}\"\n"
        )
    };
    let told = |before: &str, after: &str| {
        let changes =
            changes(&plan(&(BASE.to_owned() + before)), &plan(&(BASE.to_owned() + after)));
        (changes.added, changes.changed)
    };
    let (a, b) = (check("a", "/a"), check("b", "/b"));
    assert_eq!(told(&b, &(a + &b)), (vec!["SLO `a`".to_owned()], vec![]));
    assert_eq!(told(&b, &check("b", "/c")), (vec![], vec!["SLO `b`".to_owned()]));
}

#[test]
fn what_an_slo_counts_is_part_of_it() {
    let slo = "sli.availability = {}";
    for keys in [
        "include = [\"health_checks\"]",
        "include = [\"options\"]",
        "exclude = { query = { from = \"bot\" } }",
    ] {
        let found = with(slo, &format!("{keys}\n{slo}"));
        assert_eq!(
            (found.changed, found.widened),
            (vec!["SLO `all`".to_owned()], vec![]),
            "{keys}"
        );
    }
    let grpc = with(slo, "sli.availability = { bad_grpc_status = [\"NOT_FOUND\"] }");
    assert_eq!(grpc.changed, ["SLO `all`"]);
    // The default, written out, in another order and by number.
    let default =
        "sli.availability = { bad_grpc_status = [15, 14, \"INTERNAL\", 12, 8, 4, \"UNKNOWN\"] }";
    assert!(with(slo, default).is_none());
    // What another SLO leaves out moves this one's bit, and nothing else.
    let here = "[slos.all]\nexclude = { query = { from = \"bot\" } }";
    let other = "[slos.first]\nobjective = \"99%\"\nexclude = { methods = [\"PUT\"] }\n\
                 sli.availability = {}\n";
    let alone = plan(&BASE.replace("[slos.all]", here));
    let both = plan(&BASE.replace("[slos.all]", &format!("{other}{here}")));
    let found = changes(&alone, &both);
    assert_eq!((found.added, found.changed), (vec!["SLO `first`".to_owned()], vec![]));
}

/// What a retry saves costs an allowance of operations nothing.
#[test]
fn an_allowance_of_operations_is_wider() {
    let paid = |per: &str| {
        plan(&format!(
            "{}[slos.paid]\nroutes = [\"charge\"]\nobjective = \"99%\"\nallowance = \"2%\"\n\
             sli.availability.per = \"{per}\"\n",
            BASE.replace("path = \"/charge\"", "path = \"/charge\"\noperation = \"header:k\"")
        ))
    };
    let (each, whole) = (paid("attempt"), paid("operation"));
    let widened = "SLO `paid`, which has an allowance, counts operations";
    assert_eq!(changes(&each, &whole).widened, [widened]);
    let back = changes(&whole, &each);
    assert!(back.widened.is_empty() && back.changed == ["SLO `paid`"], "{back:?}");
}
