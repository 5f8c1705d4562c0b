//! `backburn sample-service`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;

use super::signals::Ending;
use super::{args, exit, output};
use crate::app;
use crate::demo::client::Client;
use crate::demo::shop::{self, Shop};

#[derive(Debug, Args)]
#[command(after_help = super::braced("\
Examples:
  backburn sample-service
  backburn sample-service --payments-url http://127.0.0.1:8910   payments behind backburn

checkout: POST /api/checkout/{cart} (?fallback=1), POST /echo,
          GET /api/items /flaky /slow?ms=N /bytes/{n} /healthz;
          standing in for others: GET /api/search /api/suggestions/{item}, POST /v1/messages
payments: POST /v2/charges (one charge an idempotency-key), GET /healthz"))]
pub(super) struct SampleArgs {
    /// Where checkout listens; port 0 takes a free one.
    #[arg(
        long,
        env = "BACKBURN_SAMPLE_LISTEN",
        default_value = "127.0.0.1:9000",
        value_parser = args::address,
        value_name = "ADDR"
    )]
    listen: SocketAddr,
    /// Where payments listens.
    #[arg(
        long,
        env = "BACKBURN_SAMPLE_PAYMENTS_LISTEN",
        default_value = "127.0.0.1:9100",
        value_parser = args::address,
        value_name = "ADDR"
    )]
    payments_listen: SocketAddr,
    /// Where checkout finds payments [default: the payments it starts itself].
    #[arg(
        long,
        alias = "payments",
        env = "BACKBURN_SAMPLE_PAYMENTS_URL",
        value_parser = callable,
        value_name = "URL"
    )]
    payments_url: Option<String>,
    /// How long checkout waits for one attempt at payments; it tries twice.
    #[arg(
        long,
        env = "BACKBURN_SAMPLE_PAYMENTS_TIMEOUT",
        default_value = "800ms",
        value_parser = args::duration,
        value_name = "DURATION"
    )]
    payments_timeout: Duration,
    /// How long payments takes for a charge.
    #[arg(
        long,
        env = "BACKBURN_SAMPLE_CHARGE_TAKES",
        default_value = "5ms",
        value_parser = args::duration,
        value_name = "DURATION"
    )]
    charge_takes: Duration,
    /// Written, by rename, once both answer.
    #[arg(long, env = "BACKBURN_SAMPLE_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// A URL that checkout can call.
fn callable(url: &str) -> Result<String, String> {
    Client::new(url).map(|_| url.to_owned()).map_err(|bad| bad.to_string())
}

pub(super) fn sample(args: &SampleArgs) -> u8 {
    let Some(runtime) = output::runtime() else { return exit::NO_START };
    match runtime.block_on(serve(args)) {
        Ok(()) => 0,
        Err(error) => {
            output::say(&format!("error: {error}"));
            exit::NO_START
        }
    }
}

async fn serve(args: &SampleArgs) -> Result<(), String> {
    let bind = async |address: SocketAddr| {
        TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen on {address}: {error}"))
    };
    let mut ending = Ending::catch().map_err(|error| error.to_string())?;
    let unready = |path: &PathBuf, error| format!("cannot write {}: {error}", path.display());
    if let Some(path) = &args.ready_file {
        app::not_ready(path).map_err(|error| unready(path, error))?;
    }
    let payments = bind(args.payments_listen).await?;
    let checkout = bind(args.listen).await?;
    let local = |listener: &TcpListener| listener.local_addr().map_err(|error| error.to_string());
    let payments_at = format!("http://{}", local(&payments)?);
    let checkout_at = format!("http://{}", local(&checkout)?);
    let url = args.payments_url.as_deref().unwrap_or(&payments_at);
    output::say(&format!("checkout  {checkout_at}  (calls payments at {url})"));
    output::say(&format!("payments  {payments_at}"));
    let shop = Shop {
        payments_url: url.to_owned(),
        payments_timeout: args.payments_timeout,
        charge_takes: args.charge_takes,
    };
    let shop = tokio::spawn(shop::serve(checkout, payments, shop));
    if let Some(path) = &args.ready_file {
        let ready =
            json!({ "checkout": checkout_at, "payments": payments_at, "pid": std::process::id() });
        app::write_by_rename(path, format!("{ready:#}\n").as_bytes())
            .map_err(|error| unready(path, error))?;
    }
    tokio::select! {
        () = ending.asked() => Ok(()),
        ended = shop => Err(format!("the shop has ended: {ended:?}")),
    }
}
