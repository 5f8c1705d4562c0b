//! `backburn demo`: a shop of two services behind backburn, traffic, and a drill of three phases, in
//! one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;

use super::progress::{Progress, ProgressArgs};
use super::run::Watched;
use super::signals::Signals;
use super::{args, exit, load, output, run};
use crate::app::{self, Options, Source};
use crate::demo::load::{Load, Meter, run as send};
use crate::demo::shop::{self, Shop};
use crate::report::words::{count, good_share, thousands};
use crate::report::{View, summary};
use crate::units::show_duration;

const SCENARIO: &str = include_str!("../../scenarios/demo.toml");
/// How long each of its phases is, as it stands there.
const PHASE: &str = "\"30s\"";
const PHASES: u32 = 3;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn demo
  backburn demo --for 30s --seed 7        a third of the time for each phase
  backburn status                         from another terminal: the same block
  backburn halt                           the panic button

Exit codes: as `run` has them.")]
pub(super) struct DemoArgs {
    /// How long it takes, a third for each phase.
    #[arg(
        long = "for",
        env = "BACKBURN_DEMO_FOR",
        default_value = "90s",
        value_parser = args::duration,
        value_name = "DURATION"
    )]
    duration: Duration,
    /// Requests a second.
    #[arg(long, env = "BACKBURN_DEMO_RPS", default_value = "50", value_parser = args::rate)]
    rps: f64,
    /// The same seed gives the same faults.
    #[arg(long, env = "BACKBURN_SEED")]
    seed: Option<u64>,
    /// Where `backburn status` and `backburn halt` find it; goes on without where it cannot be
    /// written.
    #[arg(long, env = "BACKBURN_DATA", default_value = ".backburn", value_name = "DIR|none")]
    data: std::path::PathBuf,
    #[command(flatten)]
    progress: ProgressArgs,
}

pub(super) fn demo(args: &DemoArgs) -> u8 {
    if phase(args).is_zero() {
        output::say("--for is too short for three phases");
        return exit::USAGE;
    }
    run::init_log("info", run::LogFormat::Text);
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

/// How long each phase is, in whole milliseconds.
fn phase(args: &DemoArgs) -> Duration {
    Duration::from_millis((args.duration / PHASES).as_millis() as u64)
}

async fn show(args: &DemoArgs) -> Result<u8, String> {
    let mut signals = Signals::catch(false).map_err(|error| error.to_string())?;
    let mut progress = Progress::open(&args.progress).map_err(|error| error.to_string())?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bind = async || TcpListener::bind(any).await.map_err(|error| error.to_string());
    let (payments, checkout) = (bind().await?, bind().await?);
    let address = |listener: &TcpListener| listener.local_addr().map_err(|error| error.to_string());
    let (payments_at, checkout_at) = (address(&payments)?, address(&checkout)?);
    let length = show_duration(phase(args));
    let source = Source {
        built_in: Some(("demo".to_owned(), SCENARIO.replace(PHASE, &format!("\"{length}\"")))),
        sets: vec![
            format!("services.checkout.url=\"http://{checkout_at}\""),
            format!("services.payments.url=\"http://{payments_at}\""),
            "services.payments.listen=\"127.0.0.1:0\"".to_owned(),
        ],
        ..Source::default()
    };
    let scenario = run::Scenario::load(source).ok_or("the built-in scenario is wrong")?;
    let options = Options {
        seed: args.seed,
        listen: Some(any),
        admin_listen: Some(any),
        data: run::data_or_none(&args.data),
        ..scenario.options()
    };
    let running = app::start(options).await.map_err(|error| error.to_string())?;
    // Checkout finds payments behind backburn.
    let payments_url = running
        .instance
        .services
        .iter()
        .find(|(name, _)| name == "payments")
        .map(|(_, url)| url.clone())
        .unwrap_or_default();
    // Ends with the set, when this function does.
    let mut shops = tokio::task::JoinSet::new();
    shops.spawn(shop::serve(checkout, payments, Shop::new(payments_url)));
    run::announce(
        &running,
        &[
            "shop      shoppers -> backburn -> checkout -> backburn -> payments".to_owned(),
            format!(
                "traffic   {} requests a second: 3 in 5 pay, 1 in 5 meets a page that",
                args.rps
            ),
            "          fails 1 in 20 by itself".to_owned(),
            format!(
                "script    {length} baseline, {length} brownout, {length} recovery; in the brownout"
            ),
            "          10% of calls to payments fail, and 10% take 2 s more".to_owned(),
            "watch     payments is hurt; what does checkout, which retries, make of it?".to_owned(),
        ],
    );
    let load = Load {
        url: running.instance.proxy.clone(),
        rate_per_second: args.rps,
        duration: args.duration,
        connections: 256,
        requests: ["3 POST /api/checkout/{n}", "GET /api/items", "GET /flaky"]
            .iter()
            .filter_map(|entry| entry.parse().ok())
            .collect(),
        slow: Duration::from_secs(1),
        timeout: Duration::from_secs(30),
    };
    let slow = load.slow;
    let meter = Meter::default();
    let traffic = send(load, &meter);
    let whole = match run::watch(&running, &mut signals, &mut progress, traffic).await {
        Watched::Done(sent) => {
            sent.map_err(|bad| bad.to_string())?;
            true
        }
        Watched::Asked => false,
        Watched::Died(why) => {
            output::say(&format!("error: {why}; ending"));
            return Ok(exit::NO_START);
        }
    };
    let Some(view) = run::end(running, &mut signals, &mut progress).await else {
        output::say("interrupted before an orderly end");
        return Ok(exit::INTERRUPTED);
    };
    output::say(summary::render(&view).trim_end());
    let table = load::table(&meter.read(), slow);
    let (counts, times) = table.split_once(", over ").unwrap_or((&table, ""));
    output::say(&format!("  shoppers saw {counts}\n      over {times}"));
    if !whole {
        output::say("ended before its time: there is no before, during and after to compare");
        return Ok(run::code(&view));
    }
    output::say(&in_plain_words(&view));
    output::say(
        "\nnext      your own service, one fault, two minutes:\n          \
         backburn try http://127.0.0.1:3000 --latency 300ms --probability 10%",
    );
    Ok(run::code(&view))
}

/// What the numbers of this very drill mean.
fn in_plain_words(view: &View) -> String {
    let slo = |name: &str| view.slos.iter().find(|slo| slo.name == name);
    let mut lines = vec![String::new(), "in plain words".to_owned()];
    if let Some(charge) = slo("charge") {
        lines.push(format!(
            "  backburn hurt payments: {} of its {} failed or were too slow because",
            thousands(charge.injected),
            count(charge.total, "call"),
        ));
        lines
            .push(format!("  of it, {} by themselves.", thousands(charge.masked + charge.organic)));
    }
    if let (Some(pay), Some(retries)) = (slo("pay"), view.operations.first()) {
        lines.push(format!(
            "  No fault touched checkout. Its retries saved {} of the {} that",
            thousands(retries.recovered),
            count(retries.recovered + pay.bad, "order"),
        ));
        lines.push(format!(
            "  payments failed at first; {} failed for the shopper too.",
            thousands(pay.bad)
        ));
        let share = |phase: &str| {
            let seen = view.phases.iter().find(|seen| seen.phase == phase)?;
            let seen = seen.slos.iter().find(|seen| seen.name == "pay")?;
            good_share(seen.events.good(), seen.events.events)
        };
        if let (Some(before), Some(during), Some(after)) =
            (share("baseline"), share("brownout"), share("recovery"))
        {
            lines.push(format!(
                "  Orders that went through: {before} before, {during} during, {after} after:"
            ));
            lines.push(
                "  that is what trouble at payments costs shoppers. The failed ones are organic:\n  \
                 no fault hit them; what checkout makes of payments' faults is its own doing."
                    .to_owned(),
            );
        }
    }
    if let Some(browse) = slo("browse") {
        lines.push(format!(
            "  Browsing failed {} of {} times, before, during and after: organic too,",
            thousands(browse.bad),
            thousands(browse.total),
        ));
        lines.push("  and nothing of it is the drill's doing.".to_owned());
    }
    lines.join("\n")
}
