//! `backburn demo`: the sample shop, traffic and the seed scenario in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;

use super::progress::{Progress, ProgressArgs};
use super::{exit, load, output, run};
use crate::app::{self, Options, Running, Source};
use crate::demo::load::{Load, Meter, run as send};
use crate::demo::shop::{self, Shop};
use crate::report::summary;

const SCENARIO: &str = include_str!("../../scenarios/seed-chaos.toml");

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn demo
  backburn demo --for 90s --seed 7")]
pub(super) struct DemoArgs {
    /// How long the traffic lasts.
    #[arg(long = "for", env = "BACKBURN_DEMO_FOR", default_value = "30s", value_parser = load::duration, value_name = "DURATION")]
    duration: Duration,
    /// Requests a second.
    #[arg(long, env = "BACKBURN_DEMO_RPS", default_value_t = 50.0)]
    rps: f64,
    /// The same seed gives the same faults.
    #[arg(long, env = "BACKBURN_SEED")]
    seed: Option<u64>,
    #[command(flatten)]
    progress: ProgressArgs,
}

pub(super) fn demo(args: &DemoArgs) -> u8 {
    if !load::is_rate(args.rps) {
        output::say(load::BAD_RATE);
        return exit::USAGE;
    }
    let Some(runtime) = output::runtime() else { return exit::NO_START };
    let code = match runtime.block_on(show(args)) {
        Ok(code) => code,
        Err(error) => {
            output::say(&format!("error: {error}"));
            exit::NO_START
        }
    };
    runtime.shutdown_background();
    code
}

async fn show(args: &DemoArgs) -> Result<u8, String> {
    let mut signals = run::Signals::catch().map_err(|error| error.to_string())?;
    let mut progress = Progress::open(&args.progress).map_err(|error| error.to_string())?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bind = async || TcpListener::bind(any).await.map_err(|error| error.to_string());
    let (payments, checkout) = (bind().await?, bind().await?);
    let address = |listener: &TcpListener| listener.local_addr().map_err(|error| error.to_string());
    let (payments_at, checkout_at) = (address(&payments)?, address(&checkout)?);
    // Ends with the set, when this function does.
    let mut shops = tokio::task::JoinSet::new();
    shops.spawn(shop::serve(checkout, payments, Shop::new(format!("http://{payments_at}"))));

    let source = Source {
        built_in: Some(("built-in".to_owned(), SCENARIO.to_owned())),
        sets: vec![format!("proxy.upstream=\"http://{checkout_at}\"")],
        ..Source::default()
    };
    let scenario = run::Scenario::load(source).ok_or("the built-in scenario is wrong")?;
    let options = Options {
        seed: args.seed,
        listen: Some(any),
        admin_listen: Some(any),
        ..scenario.options()
    };
    let running = app::start(options).await.map_err(|error| error.to_string())?;
    run::announce(
        &running,
        &[format!(
            "shop      checkout http://{checkout_at}, calling payments http://{payments_at}"
        )],
    );
    output::say(&format!(
        "traffic   {} requests a second for {} s; 10% wait 2 s more, 5% get a 500, never both; /flaky fails 1 in 20 by itself",
        args.rps,
        args.duration.as_secs()
    ));
    let load = Load {
        url: running.instance.proxy.clone(),
        rate_per_second: args.rps,
        duration: args.duration,
        connections: 256,
        requests: ["GET /api/items", "POST /api/checkout/{n}?fallback=1", "GET /flaky"]
            .iter()
            .filter_map(|entry| entry.parse().ok())
            .collect(),
        slow: Duration::from_secs(2),
        timeout: Duration::from_secs(30),
    };
    let slow = load.slow;
    let meter = Meter::default();
    let tally = tokio::select! {
        tally = send(load, &meter) => tally.map_err(|bad| bad.to_string())?,
        why = show_until_it_dies(&running, &mut progress) => {
            output::say(&format!("error: {why}"));
            return Ok(exit::NO_START);
        }
        () = signals.end() => {
            output::say("interrupted");
            running.stop().await;
            return Ok(exit::INTERRUPTED);
        }
    };
    let Some(view) = run::end(running, &mut signals, &mut progress).await else {
        output::say("interrupted");
        return Ok(exit::INTERRUPTED);
    };
    output::say(summary::render(&view).trim_end());
    output::say(&format!("what the clients saw: {}", load::table(&tally, slow)));
    output::say(
        "next: your own service: backburn run scenarios/seed-chaos.toml --upstream http://127.0.0.1:3000",
    );
    Ok(0)
}

/// Never returns, unless a worker has died, with what it died of.
async fn show_until_it_dies(running: &Running, progress: &mut Progress) -> String {
    let tending = running.tend();
    tokio::pin!(tending);
    loop {
        tokio::select! {
            why = &mut tending => return why,
            () = progress.second() => progress.show(&running.live),
        }
    }
}
