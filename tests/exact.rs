//! What we count equals what an independent client saw, to the request.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Program, proxy, python, shop};

const SEED_CHAOS: &str = include_str!("../scenarios/seed-chaos.toml");

fn count(tally: &Value, status: &str) -> u64 {
    tally["statuses"][status].as_u64().unwrap_or(0)
}

fn seed_chaos(upstream: &Program, more: &[&str]) -> Program {
    let mut arguments =
        vec!["--set", "faults.chaos-delay.inject.latency=\"400ms\"", "--seed", "42"];
    arguments.extend(more);
    proxy(SEED_CHAOS, &upstream.url("checkout"), &arguments)
}

/// The training text's rule, 4,000 requests over 8 connections.
#[test]
fn the_seeds_rule() {
    let shop = shop();
    let proxy = seed_chaos(
        &shop,
        &["--workers", "2", "--set", "slos.fast-answers.sli.latency.threshold=\"350ms\""],
    );
    let tally = python("tally.py", &[&proxy.url("proxy"), "4000", "8", "chaos-delay=0.4"]);
    let (errors, good) = (count(&tally, "500"), count(&tally, "200"));
    let slow = tally["slow"].as_u64().unwrap();
    assert_eq!(errors + good, 4000, "{tally}");
    assert_eq!(tally["both"], 0, "never both: {tally}");
    assert_eq!(tally["early"], 0, "each waited as long as it was to: {tally}");

    let injected =
        |kind: &str| proxy.metric("backburn_faults_injected_total", &[&format!("kind=\"{kind}\"")]);
    assert_eq!(injected("error"), errors);
    assert_eq!(injected("latency"), slow);
    let events = |labels: &[&str]| proxy.metric("backburn_slo_events_total", labels);
    let answers = "slo=\"answers\"";
    assert_eq!(events(&[answers, "outcome=\"good\""]), good);
    assert_eq!(events(&[answers, "cause=\"injected\""]), errors);
    assert_eq!(events(&[answers, "cause=\"masked\""]), 0);
    assert_eq!(events(&[answers, "cause=\"organic\""]), 0);
    // The latency SLO counts good answers only; every delayed one is over its threshold.
    let fast = "slo=\"fast-answers\"";
    // A machine that is too busy for 350 ms on end makes some of them masked.
    let by_fault = ["injected", "masked"].map(|cause| events(&[fast, &format!("\"{cause}\"")]));
    assert_eq!(by_fault[0] + by_fault[1], slow, "{by_fault:?}");
    assert_eq!(proxy.metric("backburn_slo_excluded_events_total", &[fast, "not_good"]), errors);
    assert_eq!(proxy.metric("http_server_request_duration_seconds_count", &[]), 4000);

    // 5 % and 10 % within four standard deviations.
    let within =
        |hit: u64, p: f64| (hit as f64 - 4000.0 * p).abs() < 4.0 * (4000.0 * p * (1.0 - p)).sqrt();
    assert!(within(errors, 0.05), "{errors} errors of 4,000");
    assert!(within(slow, 0.10), "{slow} delays of 4,000");
}

const CATALOGUE: &str = include_str!("../scenarios/fault-catalogue.toml");

/// Every kind at once: what an independent client found whole is what we count as good.
#[test]
fn every_kind_at_once() {
    let shop = shop();
    let proxy = proxy(CATALOGUE, &shop.url("checkout"), &["--workers", "2"]);
    let tally = python("whole.py", &[&proxy.url("proxy"), &shop.url("checkout"), "2000", "8"]);
    let seen = |what: &str| tally[what].as_u64().unwrap_or(0);
    assert_eq!((seen("sent"), seen("gave_up")), (2000, 0), "{tally}");
    let answers = "slo=\"answers\"";
    let events = |labels: &[&str]| proxy.metric("backburn_slo_events_total", labels);
    proxy.until("all are counted", |proxy| {
        proxy.metric("backburn_slo_events_total", &[answers]) == 2000
    });
    assert_eq!(events(&[answers, "outcome=\"good\""]), seen("whole"), "{tally}");
    // The service never fails, so everything else was made here.
    assert_eq!(events(&[answers, "cause=\"injected\""]), 2000 - seen("whole"), "{tally}");
    for fault in ["unavailable", "answer-lost", "reset", "cut-short", "bit-rot", "no-agent"] {
        let label = format!("fault=\"{fault}\"");
        assert!(proxy.metric("backburn_faults_injected_total", &[&label]) > 0, "{fault}");
    }
}

/// Callers that give up at random: each is counted once, as whole or as gone, and every exchange
/// that was read to its end agrees.
#[test]
fn every_kind_at_once_and_callers_that_give_up() {
    let shop = shop();
    let proxy = proxy(CATALOGUE, &shop.url("checkout"), &["--workers", "2"]);
    let arguments = [&proxy.url("proxy"), &shop.url("checkout"), "2000", "8", "0.5", "0.03"];
    let tally = python("whole.py", &arguments);
    let seen = |what: &str| tally[what].as_u64().unwrap_or(0);
    assert!(seen("gave_up") > 20, "{tally}");
    let answers = "slo=\"answers\"";
    proxy.until("all are counted", |proxy| {
        proxy.metric("backburn_slo_events_total", &[answers])
            + proxy.metric("backburn_slo_excluded_events_total", &[answers])
            == 2000
            && proxy.metric("http_server_active_requests", &[]) == 0
    });
    let good = proxy.metric("backburn_slo_events_total", &[answers, "outcome=\"good\""]);
    // Whoever gave up may have been sent a whole answer all the same.
    assert!((seen("whole")..=seen("whole") + seen("gave_up")).contains(&good), "{good}: {tally}");
}

/// Everything at once, callers that give up at random, and a reload every 200 ms that changes
/// faults, adds them and takes them away: what a client read to its end agrees to the request, and
/// each that gave up is counted once. Ten seconds, or as many as `BACKBURN_TEST_SECONDS` says.
#[test]
fn every_kind_at_once_while_reloading() {
    let seconds = std::env::var("BACKBURN_TEST_SECONDS").map_or(10, |it| it.parse().unwrap());
    let shop = shop();
    // On a busy machine who gives up may be noticed late, and that is no event of the service's.
    let patient = "sli.availability = { abandoned_after = \"60s\" }";
    let catalogue = CATALOGUE.replace("sli.availability = {}", patient);
    let proxy = proxy(&catalogue, &shop.url("checkout"), &["--workers", "2"]);
    let file = proxy.scratch.0.join("scenario.toml");
    let answers = "slo=\"answers\"";
    let over = std::sync::atomic::AtomicBool::new(false);
    let (sent, whole, gave_up) = std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            let mut reloads = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                reloads += 1;
                let more = match reloads % 3 {
                    0 => "",
                    1 => "\n[faults.more]\nroutes = [\"*\"]\nprobability = \"5%\"\ninject.error = 500\n",
                    _ => "\n[faults.more]\nroutes = [\"*\"]\nprobability = \"5%\"\ninject.latency = \"20ms\"\n",
                };
                let share = format!("\"{}%\"", 1 + reloads % 7);
                let text = catalogue.replace("\"3%\"", &share) + more;
                std::fs::write(&file, text).unwrap();
                let (status, report) = proxy.admin("POST", "/api/v1/reload", "");
                assert_eq!(status, 200, "{report}");
                std::thread::sleep(Duration::from_millis(200));
            }
            reloads
        });
        let (began, mut sums) = (Instant::now(), (0, 0, 0));
        // With those that give up, and without, in turns.
        for turn in 0.. {
            let share = if turn % 2 == 0 { "0" } else { "0.4" };
            let before = proxy.metric("backburn_slo_events_total", &[answers, "outcome=\"good\""]);
            let arguments = [&proxy.url("proxy"), &shop.url("checkout"), "800", "8", share, "0.03"];
            let tally = python("whole.py", &arguments);
            let seen = |what: &str| tally[what].as_u64().unwrap_or(0);
            let (sent, whole, gave_up) = (seen("sent"), seen("whole"), seen("gave_up"));
            sums = (sums.0 + sent, sums.1 + whole, sums.2 + gave_up);
            proxy.until("all are counted", |proxy| {
                proxy.metric("backburn_slo_events_total", &[answers])
                    + proxy.metric("backburn_slo_excluded_events_total", &[answers])
                    == sums.0
                    && proxy.metric("http_server_active_requests", &[]) == 0
            });
            let good = proxy.metric("backburn_slo_events_total", &[answers, "outcome=\"good\""]);
            let good = good - before;
            // Whoever gave up may have been sent a whole answer all the same.
            assert!((whole..=whole + gave_up).contains(&good), "{good}: {tally}");
            if began.elapsed() > Duration::from_secs(seconds) && turn > 0 {
                break;
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reloading.join().unwrap() > 10);
        sums
    });
    assert!(gave_up > 20, "{gave_up}");
    let events = |labels: &[&str]| proxy.metric("backburn_slo_events_total", labels);
    let good = events(&[answers, "outcome=\"good\""]);
    assert!((whole..=whole + gave_up).contains(&good), "{good}, {whole}, {gave_up}");
    // The service never fails: what is bad is injected, or a caller's that left.
    let excluded = proxy.metric("backburn_slo_excluded_events_total", &[answers]);
    assert_eq!(events(&[answers, "outcome=\"bad\""]), sent - good - excluded);
    assert_eq!(events(&[answers, "cause=\"masked\""]), 0);
    assert_eq!(events(&[answers, "cause=\"organic\""]), 0);
    assert!(excluded <= gave_up, "{excluded} excluded, {gave_up} gave up");
    assert_eq!(proxy.metric("backburn_refused_total", &[]), 0);
    assert!(proxy.metric("backburn_scenario_reloads_total", &["applied"]) > 10);
}

/// The same seed gives the same sequence, whatever the number of workers.
#[test]
fn the_same_faults_every_run() {
    let shop = shop();
    let sequences: Vec<Value> = ["1", "2", "4"]
        .iter()
        .map(|workers| {
            let proxy = seed_chaos(&shop, &["--workers", workers]);
            python("tally.py", &[&proxy.url("proxy"), "120", "1", "chaos-delay=0.4"])["sequence"]
                .take()
        })
        .collect();
    assert_eq!(sequences[0].as_array().unwrap().len(), 120);
    assert!(sequences[0].as_array().unwrap().iter().any(|answer| answer[0] == 500));
    assert_eq!(sequences[0], sequences[1]);
    assert_eq!(sequences[0], sequences[2]);
}

/// An injected answer reaches a client that is still sending.
#[test]
fn an_injected_answer_to_an_upload() {
    let shop = shop();
    let scenario = "[faults.no]\nroutes = [\"*\"]\ninject.error = 503\n[slos.a]\nobjective = \"99%\"\nsli.availability = {}";
    let proxy = proxy(scenario, &shop.url("checkout"), &[]);
    let tally =
        python("tally.py", &[&proxy.url("proxy"), "200", "4", "-", "POST", "1048576", "/echo"]);
    assert_eq!(count(&tally, "503"), 200, "{tally}");
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"injected\""]), 200);
}

/// The service's own failures are organic, and a service that is gone is its own failure.
#[test]
fn organic_is_told_from_injected() {
    let shop = shop();
    let scenario = "[slos.a]\nobjective = \"99%\"\nsli.availability = {}";
    let upstream = shop.url("checkout");
    let proxy = proxy(scenario, &upstream, &[]);
    let tally = python("tally.py", &[&proxy.url("proxy"), "400", "4", "-", "GET", "0", "/flaky"]);
    assert_eq!(count(&tally, "500"), 20, "1 in 20 of its own accord: {tally}");
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"organic\""]), 20);
    drop(shop);
    let url = proxy.url("proxy");
    let request = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    let answer = crate::support::exchange(crate::support::host(&url), request);
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("x-backburn-error: connection_refused"), "{answer}");
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"organic\""]), 21);
    assert_eq!(proxy.metric("backburn_slo_events_total", &["cause=\"injected\""]), 0);
}
