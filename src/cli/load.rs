//! `backburn load`.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::signals::Ending;
use super::{args, exit, output};
use crate::demo::load::{Load, Meter, Template, run};
use crate::demo::tally::Tally;
use crate::units::show_duration;

#[derive(Debug, Args)]
#[command(after_help = super::braced("\
Examples:
  backburn load http://127.0.0.1:8900 --rps 50 --for 30s
  backburn load http://127.0.0.1:8900 --request '3 GET /items' --request 'POST /carts/{n}'

Open loop: requests leave by the clock and their time counts from when they were due; when all
connections are busy they queue, none is dropped. {n} in a path is the request's number. Ctrl-C ends
it with the tally so far. The exit code says whether the load ran to its end, not what it saw: 0 it
did · 2 usage · 130 interrupted."))]
pub(super) struct LoadArgs {
    /// http://HOST:PORT
    #[arg(env = "BACKBURN_URL")]
    url: String,
    /// Requests a second.
    #[arg(long, env = "BACKBURN_LOAD_RPS", default_value = "50", value_parser = args::rate)]
    rps: f64,
    /// For how long requests are due.
    #[arg(
        long = "for",
        env = "BACKBURN_LOAD_FOR",
        default_value = "30s",
        value_parser = args::duration,
        value_name = "DURATION"
    )]
    duration: Duration,
    /// Connections; when all are busy, requests queue.
    #[arg(
        long,
        env = "BACKBURN_LOAD_CONNECTIONS",
        default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(1..=10_000)
    )]
    connections: u16,
    /// What to send, several are mixed by weight (1 where none is written).
    #[arg(
        long = "request",
        env = "BACKBURN_LOAD_REQUEST",
        default_value = "GET /",
        value_delimiter = '\n',
        value_name = "[WEIGHT] METHOD PATH"
    )]
    requests: Vec<Template>,
    /// Requests that take longer are counted as delayed.
    #[arg(
        long,
        env = "BACKBURN_LOAD_SLOW",
        default_value = "1s",
        value_parser = args::duration,
        value_name = "DURATION"
    )]
    slow: Duration,
    /// A request without a whole answer after this is an error.
    #[arg(
        long,
        env = "BACKBURN_LOAD_TIMEOUT",
        default_value = "30s",
        value_parser = args::duration,
        value_name = "DURATION"
    )]
    timeout: Duration,
    /// The tally as JSON on stdout.
    #[arg(long, env = "BACKBURN_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(super) fn load(args: &LoadArgs) -> u8 {
    let load = Load {
        url: args.url.clone(),
        rate_per_second: args.rps,
        duration: args.duration,
        connections: usize::from(args.connections),
        requests: args.requests.clone(),
        slow: args.slow,
        timeout: args.timeout,
    };
    let Some(runtime) = output::runtime() else { return exit::NO_START };
    let meter = Meter::default();
    let code = match runtime.block_on(watch(load, &meter)) {
        Ok(code) => code,
        Err((code, why)) => {
            output::say(&format!("error: {why}"));
            return code;
        }
    };
    runtime.shutdown_background();
    let tally = meter.read();
    if args.json {
        output::data(&format!("{:#}\n", tally.to_json()));
    } else {
        output::data(&format!("{}\n", table(&tally, args.slow)));
    }
    code
}

/// Runs the load; on a terminal, a line a second. The exit code, and where it could not run, why.
async fn watch(load: Load, meter: &Meter) -> Result<u8, (u8, String)> {
    let mut ending = Ending::catch().map_err(|error| (exit::NO_START, error.to_string()))?;
    let mut traffic = std::pin::pin!(run(load, meter));
    let shown = std::io::stderr().is_terminal();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    let mut before = 0;
    loop {
        tokio::select! {
            ran = &mut traffic => {
                return ran.map(|()| 0).map_err(|bad| (exit::USAGE, bad.to_string()));
            }
            () = ending.asked() => return Ok(exit::INTERRUPTED),
            _ = tick.tick(), if shown => {
                let tally = meter.read();
                output::say(&format!(
                    "{:>7}/s  {:>8} done  {:>6} 5xx  {:>6} no answer  {:>6} delayed  p99 {} ms",
                    tally.done - before,
                    tally.done,
                    tally.server_errors(),
                    tally.failed(),
                    tally.delayed,
                    tally.latency.quantile(0.99).as_millis(),
                ));
                before = tally.done;
            }
        }
    }
}

/// The tally for people, on one line.
pub(super) fn table(tally: &Tally, slow: Duration) -> String {
    let mut parts = vec![format!("sent {}", tally.done)];
    parts.extend(tally.status.iter().map(|(status, count)| format!("{status}: {count}")));
    parts.extend(
        tally.errors.iter().map(|(reason, count)| format!("no answer ({reason}): {count}")),
    );
    parts.push(format!(
        "over {}: {} ({} of them 5xx)",
        show_duration(slow),
        tally.delayed,
        tally.delayed_and_failed
    ));
    let latency = &tally.latency;
    for (name, took) in
        [("p50", latency.quantile(0.5)), ("p99", latency.quantile(0.99)), ("max", latency.max())]
    {
        parts.push(format!("{name} {:.1} ms", took.as_secs_f64() * 1e3));
    }
    parts.join(", ")
}
