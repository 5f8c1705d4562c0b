//! Delays as a client measures them: from the distribution that was asked for, and never early.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use statrs::distribution::{
    ContinuousCDF, Exp, Gamma, LogNormal, Normal, Pareto, Uniform, Weibull,
};

use crate::faults::{OK, Service};
use crate::support::{Holding, Program, dial, host, proxy};

/// Each distribution's delays.
const DELAYS: usize = 2_000;
/// Callers of each.
const CALLERS: usize = 40;

/// From one request without a fault to the next.
const PAUSE: Duration = Duration::from_millis(5);

/// The share of delays that are at most so many seconds.
type Share = Box<dyn Fn(f64) -> f64>;

/// A formula's shares, with what lies below 0 or above the cap drawn again.
fn capped(cdf: impl Fn(f64) -> f64 + 'static) -> Share {
    let (low, high) = (cdf(0.0), cdf(CAP));
    Box::new(move |x| ((cdf(x) - low) / (high - low)).clamp(0.0, 1.0))
}

/// In seconds; what is above it is drawn again.
const CAP: f64 = 1.0;

fn distributions() -> [(&'static str, Share); 8] {
    let z99 = Normal::standard().inverse_cdf(0.99);
    let lognormal = LogNormal::new(0.08_f64.ln(), (0.6_f64 / 0.08).ln() / z99).unwrap();
    let uniform = Uniform::new(0.05, 0.25).unwrap();
    let normal = Normal::new(0.12, 0.08).unwrap();
    let exponential = Exp::new(1.0 / 0.12).unwrap();
    let pareto = Pareto::new(0.05, 1.5).unwrap();
    let gamma = Gamma::new(2.0, 2.0 / 0.12).unwrap();
    let weibull = Weibull::new(1.5, 0.15).unwrap();
    let quantiles = |x: f64| match x {
        x if x <= 0.08 => x / 0.08 * 0.5,
        x if x < 0.4 => 0.5 + (x - 0.08) / 0.32 * 0.49,
        _ => 1.0,
    };
    [
        ("uniform = { min = \"50ms\", max = \"250ms\" }", capped(move |x| uniform.cdf(x))),
        ("normal = { mean = \"120ms\", std_dev = \"80ms\" }", capped(move |x| normal.cdf(x))),
        ("lognormal = { median = \"80ms\", p99 = \"600ms\" }", capped(move |x| lognormal.cdf(x))),
        ("exponential = { mean = \"120ms\" }", capped(move |x| exponential.cdf(x))),
        ("pareto = { scale = \"50ms\", shape = 1.5 }", capped(move |x| pareto.cdf(x))),
        ("gamma = { mean = \"120ms\", shape = 2.0 }", capped(move |x| gamma.cdf(x))),
        ("weibull = { scale = \"150ms\", shape = 1.5 }", capped(move |x| weibull.cdf(x))),
        ("quantiles = { p50 = \"80ms\", p99 = \"400ms\" }", capped(quantiles)),
    ]
}

/// A caller with a connection of its own.
struct Caller {
    stream: TcpStream,
    request: String,
}

impl Caller {
    fn new(proxy: &Program, path: &str) -> Self {
        let stream = dial(host(&proxy.url("proxy")));
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream, request: format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n") }
    }

    /// How long an answer takes, in seconds.
    fn ask(&mut self) -> f64 {
        let began = Instant::now();
        self.stream.write_all(self.request.as_bytes()).unwrap();
        let mut answer = [0; 1024];
        let mut seen = 0;
        while !answer[..seen].ends_with(b"hello") {
            let count = self.stream.read(&mut answer[seen..]).unwrap();
            assert!(count > 0, "closed");
            seen += count;
        }
        began.elapsed().as_secs_f64()
    }
}

fn sorted(mut all: Vec<f64>) -> Vec<f64> {
    all.sort_by(f64::total_cmp);
    all
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// A hundred numbers that stand for these, the sums of two of them.
fn twice(sorted: &[f64]) -> Vec<f64> {
    let some: Vec<f64> =
        (0..100).map(|at| quantile(sorted, (f64::from(at) + 0.5) / 100.0)).collect();
    let mut sums: Vec<f64> =
        some.iter().flat_map(|one| some.iter().map(move |other| one + other)).collect();
    sums.sort_by(f64::total_cmp);
    sums.chunks(100).map(|chunk| chunk[chunk.len() / 2]).collect()
}

/// Kolmogorov–Smirnov at α = 0.001, 2,000 delays of each kind, all kinds at the same time.
///
/// At no x are more of them below it than the formula says: nothing is early, however busy the
/// machine. And not many less, when the baseline is taken off: what a route without a fault takes
/// meanwhile. Taken off is a distribution, not a number, and twice, since a request that waits meets
/// the machine's moods when it comes and when it goes.
#[test]
fn delays_are_from_the_distribution_asked_for() {
    let service = Service::start(OK);
    let distributions = distributions();
    let mut scenario = "seed = 5\n".to_owned();
    for (n, (written, _)) in distributions.iter().enumerate() {
        scenario += &format!(
            "[routes.r{n}]\npath = \"/{n}\"\n[faults.f{n}]\nroutes = [\"r{n}\"]\n\
             inject.latency = {{ delay.{written}, cap = \"{CAP}s\" }}\n"
        );
    }
    scenario += "[routes.calm]\npath = \"/calm\"\n";
    let proxy = proxy(&scenario, &service.url, &["--workers", "2"]);
    let over = AtomicBool::new(false);
    let (measured, baseline) = std::thread::scope(|scope| {
        let calm = scope.spawn(|| {
            let (mut caller, mut all) = (Caller::new(&proxy, "/calm"), Vec::new());
            while !over.load(Ordering::Relaxed) {
                // Whoever had come during a long wait would have waited too: a caller that waits
                // asks less often just when it matters.
                let mut took = caller.ask();
                while took > 0.0 {
                    all.push(took);
                    took -= PAUSE.as_secs_f64();
                }
                std::thread::sleep(PAUSE);
            }
            all
        });
        let callers: Vec<_> = (0..distributions.len())
            .map(|n| {
                let (left, proxy) = (AtomicUsize::new(DELAYS), &proxy);
                scope.spawn(move || {
                    let ask = || {
                        let (mut caller, mut all) = (Caller::new(proxy, &format!("/{n}")), vec![]);
                        let take = |left: usize| left.checked_sub(1);
                        let more = || left.try_update(Ordering::Relaxed, Ordering::Relaxed, take);
                        while more().is_ok() {
                            all.push(caller.ask());
                        }
                        all
                    };
                    std::thread::scope(|scope| {
                        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(ask)).collect();
                        callers.into_iter().flat_map(|it| it.join().unwrap()).collect::<Vec<_>>()
                    })
                })
            })
            .collect();
        let measured: Vec<Vec<f64>> = callers.into_iter().map(|it| it.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        (measured, sorted(calm.join().unwrap()))
    });
    assert!(baseline.len() > 100, "{} requests without a fault", baseline.len());
    let moods = twice(&baseline);
    let bound = 1.949 / (DELAYS as f64).sqrt();
    let mut told = format!("without a fault {} s, {} s\n", baseline[0], quantile(&baseline, 0.99));
    let mut wrong = false;
    for ((written, share), measured) in distributions.iter().zip(measured) {
        assert_eq!(measured.len(), DELAYS);
        let (mut early, mut late) = (0.0_f64, 0.0_f64);
        for (at, x) in sorted(measured).iter().enumerate() {
            early = early.max((at + 1) as f64 / DELAYS as f64 - share(*x));
            if at % 10 == 0 {
                let expected = moods.iter().map(|mood| share(x - mood)).sum::<f64>() / 100.0;
                late = late.max(expected - at as f64 / DELAYS as f64);
            }
        }
        // Moods come in stretches: their sample is worth less than its size.
        let most = bound + 0.02;
        told +=
            &format!("{written}: early {early:.4} of {bound:.4}, late {late:.4} of {most:.4}\n");
        wrong |= early > bound || late > most;
    }
    println!("{told}");
    assert!(!wrong, "{told}");
}

/// Of 2,000 that are held at the same time each is held for as long as it was to be, or longer:
/// one by one by the request log, and all together by `backburn_fault_delay_seconds`.
#[test]
fn two_thousand_held_and_none_early() {
    let service = Service::start(OK);
    let scenario = "seed = 9\n[sampling]\nfile = \"requests.jsonl\"\n[faults.it]\nroutes = [\"*\"]\n\
                    inject.latency = { delay.uniform = { min = \"15s\", max = \"17s\" } }\n";
    let proxy = proxy(scenario, &service.url, &["--workers", "2"]);
    let holding = Holding::start(&[&proxy.url("proxy"), "2000", "60"]);
    let result = holding.result();
    assert_eq!(result["statuses"]["200"], 2000, "{result}");
    proxy.until("all are written", |proxy| {
        proxy.metric("backburn_request_log_total", &["written"]) == 2000
    });
    let text = std::fs::read_to_string(proxy.scratch.0.join("requests.jsonl")).unwrap();
    let mut late: Vec<f64> = Vec::new();
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let asked = line["draws"][0]["asks"][0]["delay_us"].as_u64().unwrap();
        let held = line["held_us"].as_u64().unwrap();
        assert!(held >= asked && (15_000_000..=17_000_000).contains(&asked), "{line}");
        late.push((held - asked) as f64 / 1e6);
        let at: jiff::Timestamp = line["at"].as_str().unwrap().parse().unwrap();
        begins.push(at);
        ends.push(at + jiff::SignedDuration::from_micros(i64::try_from(asked).unwrap()));
    }
    // They were held together: nobody's time was up before the last one came, for which a busy
    // machine has 15 s.
    assert!(begins.iter().max() < ends.iter().min());
    let (_, metrics) = proxy.admin("GET", "/metrics", "");
    let read = |which: &str, of: &str| -> Vec<f64> {
        let name = format!("backburn_fault_delay_seconds_{of}{{");
        let lines = metrics.lines().filter(|line| line.starts_with(&name) && line.contains(which));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
    };
    let (asked, actual) = ("\"asked\"", "\"actual\"");
    assert_eq!((read(asked, "count"), read(actual, "count")), (vec![2000.0], vec![2000.0]));
    assert!(read(asked, "sum")[0] <= read(actual, "sum")[0]);
    let (asked, actual) = (read(asked, "bucket"), read(actual, "bucket"));
    assert!(asked.len() > 10 && asked.iter().zip(&actual).all(|(asked, actual)| actual <= asked));
    late.sort_by(f64::total_cmp);
    println!("late by {} s at the median, {} s at p99", late[1000], late[1980]);
}
