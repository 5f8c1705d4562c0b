//! `backburn load`.

use std::time::Duration;

use clap::Args;

use super::{exit, output};
use crate::demo::load::{Load, Tally, run};
use crate::units;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn load http://127.0.0.1:8900 --rps 50 --for 30s
  backburn load http://127.0.0.1:8900 --request 'GET /api/items' --request 'POST /api/checkout/{n}' --json

Open loop: requests leave by the clock and their time counts from when they were due. {n} in a path
is the request's number. The exit code says whether the load could run, not what it saw.")]
pub(super) struct LoadArgs {
    /// http://HOST:PORT
    url: String,
    /// Requests a second.
    #[arg(long, default_value_t = 50.0)]
    rps: f64,
    #[arg(long = "for", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    duration: Duration,
    /// Connections; when all are busy, requests queue.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// METHOD PATH, several are taken in turn [default: GET /].
    #[arg(long = "request", value_name = "METHOD PATH")]
    requests: Vec<String>,
    /// Answers that take this long are counted as slow.
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    slow: Duration,
    /// The tally as JSON on stdout.
    #[arg(long)]
    json: bool,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|why| match why.hint {
        Some(hint) => format!("{}; {hint}", why.message),
        None => why.message,
    })
}

pub(super) fn load(args: &LoadArgs) -> u8 {
    let mut requests = Vec::new();
    for request in &args.requests {
        let Some((method, path)) =
            request.split_once(' ').filter(|(_, path)| path.starts_with('/'))
        else {
            output::say(&format!("`{request}` is not METHOD PATH, as in 'GET /api/items'"));
            return exit::USAGE;
        };
        requests.push((method.to_owned(), path.to_owned()));
    }
    if requests.is_empty() {
        requests.push(("GET".to_owned(), "/".to_owned()));
    }
    if !(args.rps.is_finite() && args.rps > 0.0 && args.rps <= 1e6) {
        output::say("--rps is above 0 and at most 1000000");
        return exit::USAGE;
    }
    let load = Load {
        url: args.url.clone(),
        rate: args.rps,
        duration: args.duration,
        connections: usize::from(args.connections),
        requests,
        slow: args.slow,
    };
    let Some(runtime) = output::runtime() else { return exit::NO_START };
    match runtime.block_on(run(load)) {
        Ok(tally) if args.json => output::data(&format!("{:#}\n", tally.to_json())),
        Ok(tally) => output::data(&table(&tally, args.slow)),
        Err(failed) => {
            output::say(&format!("error: {}", failed.0));
            return exit::NO_START;
        }
    }
    0
}

/// The tally for people.
pub(super) fn table(tally: &Tally, slow: Duration) -> String {
    let mut out = format!("sent {}", tally.sent);
    for (status, count) in &tally.statuses {
        out.push_str(&format!(", {status}: {count}"));
    }
    out.push_str(&format!(
        ", no answer: {}, over {}: {} ({} of them 5xx)",
        tally.failed,
        units::show_duration(slow),
        tally.slow,
        tally.slow_and_failed
    ));
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        if let Some(latency) = tally.quantile(share) {
            out.push_str(&format!(", {name} {:.1} ms", latency.as_secs_f64() * 1e3));
        }
    }
    out.push('\n');
    out
}
