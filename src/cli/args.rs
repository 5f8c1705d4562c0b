//! What several verbs take, and how it is read.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::exchange::quoted;
use crate::units::{self, Share};

/// What is put over the scenario's files.
#[derive(Debug, Args)]
pub(super) struct Over {
    /// The one service to stand before, where the files name none: http://127.0.0.1:3000. Where
    /// they do, --set services.NAME.url=http://127.0.0.1:3000 says where one of them is.
    #[arg(long, env = "BACKBURN_UPSTREAM", value_name = "URL")]
    pub upstream: Option<String>,
    /// Sets a key over the files: `faults.slow.probability=5%`.
    #[arg(long = "set", env = "BACKBURN_SET", value_delimiter = '\n', value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl Over {
    /// All of it as `--set` has it.
    pub(super) fn sets(&self) -> Vec<String> {
        let upstream = self.upstream.as_deref().map(quoted);
        let upstream = upstream.map(|url| format!("proxy.upstream={url}"));
        self.sets.iter().cloned().chain(upstream).collect()
    }
}

/// Where an instance is reached.
#[derive(Debug, Args)]
pub(super) struct Listen {
    /// Where requests come in [default: 127.0.0.1:8900]; port 0 takes a free one.
    #[arg(long, env = "BACKBURN_LISTEN", value_parser = address, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Where the API and metrics are [default: 127.0.0.1:8901].
    #[arg(long, env = "BACKBURN_ADMIN_LISTEN", value_parser = address, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address is an IP and a port, such as 127.0.0.1:8900".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(in_one_line)
}

pub(super) fn share(text: &str) -> Result<Share, String> {
    units::share(text).map_err(in_one_line)
}

/// Requests a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= 1e6);
    rate.ok_or_else(|| "a rate is above 0 and at most 1000000".to_owned())
}

/// How many seconds apart something is said; 0: never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace(pub u64);

pub(super) fn pace(text: &str) -> Result<Pace, String> {
    if text == "none" {
        return Ok(Pace(0));
    }
    match duration(text)? {
        time if time.subsec_nanos() == 0 && !time.is_zero() => Ok(Pace(time.as_secs())),
        _ => Err("a pace is in whole seconds, such as \"10s\", or \"none\"".to_owned()),
    }
}

/// The status of a whole answer.
pub(super) fn status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|status| (200..=599).contains(status));
    status.ok_or_else(|| "a status is a number from 200 to 599, such as 503".to_owned())
}

fn in_one_line(why: units::Misread) -> String {
    match why.hint {
        Some(hint) => format!("{}; {hint}", why.message),
        None => why.message,
    }
}
