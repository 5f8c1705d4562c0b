//! The shipped scenarios, run before the sample shop under independent callers: each does what its
//! comments say. (`seed-chaos.toml` is in `exact.rs`.)

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{BACKBURN, Program, Scratch, free_port, python};

/// A shipped scenario with the sample shop behind it.
struct Drill {
    proxy: Program,
    _shop: Program,
}

impl Drill {
    /// `services`: those that checkout stands in for; none: the scenario has one, without a name.
    /// Ramps take minutes and are left out.
    fn start(name: &str, services: &[&str], more: &[&str]) -> Self {
        let path = format!("{}/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("ramp ")).collect();
        let scratch = Scratch::new();
        let file = scratch.file("scenario.toml", &text.join("\n"));

        let payments = format!("127.0.0.1:{}", free_port());
        let shop = Program::start(
            "sample-service",
            &[
                "--listen",
                "127.0.0.1:0",
                "--payments-listen",
                "127.0.0.1:0",
                "--payments-url",
                &format!("http://{payments}"),
                // A slow machine is not what retries are for.
                "--payments-timeout",
                "30s",
            ],
        );
        let mut sets: Vec<String> = services
            .iter()
            .map(|service| format!("services.{service}.url=\"{}\"", shop.url("checkout")))
            .collect();
        if services.is_empty() {
            sets.push(format!("proxy.upstream=\"{}\"", shop.url("checkout")));
        } else {
            sets.push(format!("services.payments.url=\"{}\"", shop.url("payments")));
            sets.push(format!("services.payments.listen=\"{payments}\""));
        }
        let mut arguments = vec![file.to_str().unwrap()];
        arguments.extend(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
        arguments.extend(more);
        let proxy = Program::start_in(scratch, "run", &arguments);
        Self { proxy, _shop: shop }
    }

    /// Goes to a phase.
    fn go(&self, phase: &str) {
        let body = json!({ "to": phase }).to_string();
        let (status, said) = self.proxy.admin("POST", "/api/v1/drill/next", &body);
        assert_eq!(status, 200, "{said}");
    }

    /// What callers got, one list of answers for each kind of request: `METHOD /path`, how many,
    /// header fields; `{n}` is the request's number.
    fn callers(&self, requests: &[(&str, u32, Value)]) -> Vec<Vec<Value>> {
        let specs = requests.iter().map(|(request, count, headers)| {
            let url = self.proxy.url("proxy");
            json!({ "url": url, "request": request, "count": count, "headers": headers })
        });
        let specs: Vec<String> = specs.map(|spec| spec.to_string()).collect();
        let mut arguments = vec!["16"];
        arguments.extend(specs.iter().map(String::as_str));
        serde_json::from_value(python("callers.py", &arguments)).unwrap()
    }

    fn one_kind(&self, request: &str, count: u32) -> Vec<Value> {
        self.callers(&[(request, count, json!({}))]).remove(0)
    }

    fn phase(&self, name: &str) -> Value {
        named(&self.proxy.json("/api/v1/phases"), name)
    }

    /// One SLO's events in one phase, when there are so many.
    fn slo(&self, phase: &str, slo: &str, total: usize) -> Value {
        let seen = || named(&self.phase(phase)["slos"], slo);
        self.proxy.until("counted", |_| seen()["total"] == total);
        seen()
    }

    /// How many requests a fault has hit in one phase.
    fn hits(&self, phase: &str, fault: &str) -> u64 {
        named(&self.phase(phase)["hits"], fault)["hit"].as_u64().unwrap_or(0)
    }

    /// Of the charges: attempts, operations, recovered.
    fn operations(&self) -> [u64; 3] {
        let operations = &named(&self.proxy.json("/api/v1/routes"), "charge")["operations"];
        ["attempts", "operations", "recovered"].map(|key| operations[key].as_u64().unwrap())
    }
}

fn named(list: &Value, name: &str) -> Value {
    let found = list.as_array().unwrap().iter().find(|item| item["name"] == name);
    found.cloned().unwrap_or(Value::Null)
}

fn count(answers: &[Value], is: impl Fn(&Value) -> bool) -> u64 {
    answers.iter().filter(|answer| is(answer)).count() as u64
}

/// Bad events that a fault had to do with.
fn by_faults(slo: &Value) -> u64 {
    slo["injected"].as_u64().unwrap() + slo["masked"].as_u64().unwrap()
}

/// Within four standard deviations.
fn about(share: f64, hit: u64, of: u64) -> bool {
    let (hit, of) = (hit as f64, of as f64);
    (hit - of * share).abs() <= 4.0 * (of * share * (1.0 - share)).sqrt()
}

/// What README shows of the language compiles: its first example, and each other together with it.
#[test]
fn readme() {
    let readme = include_str!("../README.md");
    let blocks = readme.split("```toml\n").skip(1);
    let examples: Vec<&str> = blocks.map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 4);
    let scratch = Scratch::new();
    let whole = scratch.file("whole.toml", examples[0]);
    for example in &examples[1..] {
        // Ways to write one key of a fault get a fault each.
        let lines = example.lines().enumerate().map(|(at, line)| match line.split_once('.') {
            Some(("inject", _)) => {
                format!("[faults.f{at}]\nroutes = [\"charge\"]\nevery = 1000\n{line}\n")
            }
            _ => format!("{line}\n"),
        });
        let part = scratch.file("part.toml", &lines.collect::<String>());
        let mut command = Command::new(BACKBURN);
        let output = command.args(["check", "--strict"]).args([&whole, &part]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// One retry makes 0.6 % failed orders of 8 % failed calls, and 9 % of 30 %. What the callers saw
/// of attempts is what was counted, to the attempt.
#[test]
fn flaky_dependency() {
    let drill = Drill::start("flaky-dependency", &["checkout"], &[]);
    let mut before = [0; 3];
    let mut phase = |name: &str, orders: u32| {
        drill.go(name);
        let answers = drill.one_kind("POST /api/checkout/{n}", orders);
        let attempts: u64 =
            answers.iter().map(|answer| answer["body"]["attempts"].as_u64().unwrap()).sum();
        let failed = count(&answers, |answer| answer["status"] == 502);
        let paid = count(&answers, |answer| answer["status"] == 200);
        let recovered =
            count(&answers, |answer| answer["status"] == 200 && answer["body"]["attempts"] == 2);
        let orders = u64::from(orders);
        assert_eq!(paid + failed, orders, "{name}");
        let want = [before[0] + attempts, before[1] + orders, before[2] + recovered];
        drill.proxy.until(&format!("{name}: {want:?}"), |_| drill.operations() == want);
        before = want;
        // Payments' own hop: what was injected. The hop above: what checkout made of it.
        let charge = drill.slo(name, "charge", attempts as usize);
        assert_eq!(
            (&charge["injected"], &charge["bad"]),
            (&json!(attempts - paid), &charge["injected"])
        );
        let pay = drill.slo(name, "pay", orders as usize);
        assert_eq!((&pay["organic"], &pay["bad"]), (&json!(failed), &json!(failed)));
        (attempts, recovered, failed)
    };
    assert_eq!(phase("baseline", 60), (60, 0, 0));
    assert_eq!(phase("first-attempt", 60), (120, 60, 0));
    let (_, recovered, failed) = phase("flaky", 800);
    assert!(about(0.08 * 0.92, recovered, 800), "{recovered} recovered");
    assert!(failed < 800 / 40, "{failed} failed");
    let (_, recovered, failed) = phase("too-flaky", 400);
    assert!(about(0.3 * 0.7, recovered, 400), "{recovered} recovered");
    assert!(about(0.3 * 0.3, failed, 400), "{failed} failed");
    assert_eq!(phase("recovery", 60), (60, 0, 0));
    assert!(drill.hits("flaky", "unavailable") > 0 && drill.hits("flaky", "cut-off") > 0);
}

/// A tail hurts the objective that looks at the tail, a floor the one that looks at the middle, and
/// neither the one that looks for errors.
#[test]
fn slow_tail() {
    let drill = Drill::start("slow-tail", &[], &[]);
    let bad = |phase: &str, share: f64| {
        drill.go(phase);
        let answers = drill.one_kind("GET /api/items", 500);
        assert_eq!(count(&answers, |answer| answer["status"] == 200), 500);
        assert_eq!(drill.slo(phase, "answers", 500)["good"], 500);
        let marked = |from: f64| {
            count(&answers, |answer| {
                answer["fault"] == phase && answer["took"].as_f64().unwrap() >= from
            })
        };
        assert_eq!(drill.hits(phase, phase), marked(0.0));
        assert!(about(share, marked(0.0), 500), "{phase}: {}", marked(0.0));
        let [fast, usual] = ["fast", "usual"].map(|slo| by_faults(&drill.slo(phase, slo, 500)));
        // Who was slow by a fault was slow for the caller as well.
        assert!(fast <= marked(0.5) && usual <= marked(0.2), "{phase}: {fast}, {usual}");
        if phase == "cold-cache" {
            assert_eq!(marked(0.25), marked(0.0), "the floor holds");
        }
        (fast, usual)
    };
    // Of 500 requests, 5 may be slower than `fast` says, and 50 than `usual`.
    for (phase, share) in [("long-tail", 0.05), ("as-measured", 0.1)] {
        let (fast, usual) = bad(phase, share);
        assert!(fast > 5 && usual <= 50, "{phase}: {fast}, {usual}");
    }
    let (fast, usual) = bad("cold-cache", 0.3);
    assert!(usual > 50 && fast < usual / 4, "{fast}, {usual}");
    assert_eq!(bad("recovery", 0.0), (0, 0));
}

/// The same users are in every time; more join and none leaves; who has no name is out.
#[test]
fn canary_cohort() {
    let drill = Drill::start("canary-cohort", &[], &[]);
    let user = || json!({ "x-user": "user-{n}" });
    let ask = || {
        drill.callers(&[
            ("GET /api/items", 400, user()),
            ("GET /api/items?preview=1", 60, user()),
            ("GET /api/items", 20, json!({})),
        ])
    };
    let members = |answers: &[Value]| -> BTreeSet<usize> {
        let hit = |answer: &Value| {
            let hit = answer["fault"] == "broken-canary";
            assert_eq!(answer["status"], if hit { 500 } else { 200 });
            hit
        };
        (0..answers.len()).filter(|user| hit(&answers[*user])).collect()
    };
    let spared = |answers: &[Vec<Value>]| {
        answers[1..].iter().flatten().all(|answer| answer["status"] == 200)
    };
    assert!(members(&ask()[0]).is_empty());

    drill.go("staff");
    let staff = drill.callers(&[
        ("GET /api/items", 10, json!({ "x-staff": "ops-{n}" })),
        ("GET /api/items", 10, json!({ "x-staff": "guest" })),
        ("GET /api/items", 10, user()),
    ]);
    assert_eq!(count(&staff[0], |answer| answer["fault"] == "staff-first"), 10);
    assert_eq!(count(&staff[1], |answer| answer["status"] == 200), 10);
    assert!(members(&staff[2]).is_empty());

    drill.go("canary");
    let (once, again) = (ask(), ask());
    let few = members(&once[0]);
    assert_eq!(few, members(&again[0]), "the same users");
    assert!(about(0.2, few.len() as u64, 400), "{}", few.len());
    assert!(spared(&once) && spared(&again));
    let items = drill.slo("canary", "items", 840);
    assert_eq!(items["injected"], 2 * few.len());
    assert_eq!(drill.slo("canary", "preview", 120)["bad"], 0);
    let nobody = || drill.proxy.metric("backburn_faults_skipped_total", &["no_value"]);
    assert_eq!(nobody(), 40);

    drill.go("rolled-out");
    let more = ask();
    assert!(spared(&more));
    let more = members(&more[0]);
    assert!(more.is_superset(&few), "nobody leaves");
    assert!(about(0.4, more.len() as u64, 400), "{}", more.len());

    drill.go("recovery");
    assert!(members(&ask()[0]).is_empty());
}

/// A game day with checkout in the place of what the shop does not have.
fn game_day_in(environment: &str) -> Drill {
    let services = ["checkout", "catalogue", "search", "suggestions", "mail"];
    // Silence as long as the file's would keep the test waiting.
    let brief = "faults.silent-mail.inject.abort.cap=\"200ms\"";
    Drill::start("game-day", &services, &["--set", brief, "--env", environment])
}

/// 80 of each kind of request, and where each kind's answers are.
fn a_bit_of_everything(drill: &Drill) -> Vec<Vec<Value>> {
    let kinds = [
        "POST /api/checkout/{n}",
        "GET /api/items",
        "GET /api/search?q=tea",
        "GET /api/suggestions/{n}",
        "POST /v1/messages",
        "GET /healthz",
    ];
    drill.callers(&kinds.map(|kind| (kind, 80, json!({}))))
}
const PAY: usize = 0;
const SEARCH: usize = 2;
const SUGGEST: usize = 3;
const SEND: usize = 4;

/// Everybody has a good answer and no fault had a hand in it, but for these kinds.
fn calm(answers: &[Vec<Value>], but: &[usize]) {
    for (kind, answers) in answers.iter().enumerate().filter(|(kind, _)| !but.contains(kind)) {
        let well = |answer: &Value| answer["status"] == 200 && answer["fault"].is_null();
        let odd: Vec<_> = answers.iter().filter(|answer| !well(answer)).collect();
        assert!(odd.is_empty(), "kind {kind}: {odd:?}");
    }
}

/// Six services: faults only where and when the script says, each tier with its objective.
#[test]
fn game_day() {
    let drill = game_day_in("staging");
    let slos = drill.proxy.json("/api/v1/slos");
    for (slo, objective) in
        [("pay", 0.999), ("pay-fast", 0.99), ("find", 0.995), ("find-fast", 0.95), ("extras", 0.99)]
    {
        assert_eq!(named(&slos, slo)["objective"], objective, "{slo}");
    }
    calm(&a_bit_of_everything(&drill), &[]);

    drill.go("bronze");
    let answers = a_bit_of_everything(&drill);
    calm(&answers, &[SUGGEST, SEND]);
    let none = count(&answers[SUGGEST], |answer| answer["fault"] == "no-suggestions");
    let silent = count(&answers[SEND], |answer| answer["status"] == 0);
    assert!(about(0.5, none, 80) && about(0.2, silent, 80), "{none} {silent}");
    assert_eq!(drill.slo("bronze", "extras", 160)["injected"], none + silent);
    assert_eq!(drill.slo("bronze", "find", 160)["bad"], 0);
    assert_eq!(drill.slo("bronze", "pay", 80)["bad"], 0);

    drill.go("silver");
    let answers = a_bit_of_everything(&drill);
    calm(&answers, &[SEARCH]);
    assert_eq!(count(&answers[SEARCH], |answer| answer["status"] == 200), 80);
    let slow = count(&answers[SEARCH], |answer| answer["fault"] == "slow-search");
    assert!(about(0.4, slow, 80), "{slow}");
    assert!(by_faults(&drill.slo("silver", "find-fast", 160)) > 160 / 20, "the objective is hurt");
    assert_eq!(drill.slo("silver", "find", 160)["bad"], 0);

    // Payments is faulted. Of what checkout answers no fault has a mark: it is its own doing.
    for (phase, surprise) in [("gold", false), ("gold-harder", true)] {
        drill.go(phase);
        if surprise {
            let body = json!({ "enabled": true }).to_string();
            let (status, said) =
                drill.proxy.admin("PATCH", "/api/v1/faults/surprise/override", &body);
            assert_eq!(status, 200, "{said}");
        }
        let answers = a_bit_of_everything(&drill);
        calm(&answers, &[PAY]);
        let paid = count(&answers[PAY], |answer| answer["status"] == 200);
        assert_eq!(count(&answers[PAY], |answer| answer["fault"].is_null()), 80);
        let pay = drill.slo(phase, "pay", 80);
        assert_eq!((&pay["good"], &pay["organic"]), (&json!(paid), &json!(80 - paid)));
        assert!(drill.hits(phase, "payments-fail") > 0);
        assert_eq!(drill.hits(phase, "surprise") > 0, surprise);
    }

    drill.go("recovery");
    calm(&a_bit_of_everything(&drill), &[]);
}

/// Anywhere but in staging nothing happens, whatever the phase.
#[test]
fn game_day_elsewhere() {
    let drill = game_day_in("production");
    drill.go("bronze");
    calm(&a_bit_of_everything(&drill), &[]);
    assert!(drill.proxy.json("/api/v1/status")["pass_through"].is_string());
}

/// Payments is faulted, checkout is judged: what it made of that is its own doing.
#[test]
fn checkout_brownout() {
    let drill = Drill::start("checkout-brownout", &["checkout"], &["--env", "staging"]);
    let orders = |count| drill.one_kind("POST /api/checkout/{n}", count);
    assert_eq!(count(&orders(40), |answer| answer["status"] == 200), 40);
    for (phase, failing) in [("brownout", 0.05), ("harder", 0.12)] {
        drill.go(phase);
        let answers = orders(240);
        let paid = count(&answers, |answer| answer["status"] == 200);
        let refused = count(&answers, |answer| answer["status"] == 502);
        assert_eq!(paid + refused, 240);
        let pay = drill.slo(phase, "pay", 240);
        assert_eq!((&pay["good"], &pay["organic"]), (&json!(paid), &json!(refused)));
        // Retries make more charges than there were shoppers.
        let attempts: u64 =
            answers.iter().map(|answer| answer["body"]["attempts"].as_u64().unwrap()).sum();
        let eligible = named(&drill.phase(phase)["hits"], "slow-payments")["eligible"].clone();
        assert_eq!(eligible, attempts);
        let failed = drill.hits(phase, "payments-time-out");
        assert!(about(failing, failed, attempts), "{failed} of {attempts}");
        assert!(about(0.2, drill.hits(phase, "slow-payments"), attempts));
    }
    drill.go("recovery");
    assert_eq!(count(&orders(40), |answer| answer["status"] == 200), 40);
    assert_eq!(drill.proxy.metric("backburn_faults_injected_total", &["route=\"pay\""]), 0);
}
