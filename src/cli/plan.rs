//! `backburn plan`: a drill before it is run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::{args, exit, output};
use crate::app::{Compiled, Source};
use crate::diagnostic::render;
use crate::plan::Plan;
use crate::report::rehearsal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn plan scenario.toml --rps 50                 all routes together, evenly
  backburn plan scenario.toml --rps pay=20 --rps 30    20 on route pay, the others 30 together
  backburn plan scenario.toml --rps 50 --for 10m       how long phases without an end last

What services make of faults in the services behind them is not known before the drill.")]
pub(super) struct PlanArgs {
    /// Scenario files or directories, merged in this order.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Requests a second: of all routes together, or of one of them.
    #[arg(
        long,
        env = "BACKBURN_RPS",
        required = true,
        value_delimiter = ',',
        value_parser = route_rate,
        value_name = "[ROUTE=]N"
    )]
    rps: Vec<(Option<String>, f64)>,
    /// How long phases without an end last.
    #[arg(long = "for", env = "BACKBURN_FOR", value_parser = args::duration, value_name = "DURATION")]
    length: Option<Duration>,
    #[command(flatten)]
    over: args::Over,
    /// The answer as JSON on stdout.
    #[arg(long, env = "BACKBURN_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

fn route_rate(text: &str) -> Result<(Option<String>, f64), String> {
    match text.split_once('=') {
        Some((route, rate)) => Ok((Some(route.to_owned()), args::rate(rate)?)),
        None => Ok((None, args::rate(text)?)),
    }
}

pub(super) fn plan(args: &PlanArgs) -> u8 {
    let source = Source { paths: args.files.clone(), sets: args.over.sets(), ..Source::default() };
    let Compiled { plan, notes, scenario } = source.read().compile(&[], None);
    if !notes.is_empty() {
        output::say(render(&notes, &scenario.sources, output::colour()).trim_end());
    }
    let Some(plan) = plan else { return exit::USAGE };
    let rates = match rates(&plan, &args.rps) {
        Ok(rates) => rates,
        Err(why) => {
            output::say(&format!("error: {why}"));
            return exit::USAGE;
        }
    };
    let plan = Arc::new(plan);
    let rate = |route: &crate::plan::Route| {
        let at = plan.routes.iter().position(|known| known.name == route.name);
        at.map_or(0.0, |at| rates[at])
    };
    let drill = rehearsal::rehearse(&plan, rate, args.length);
    if args.json {
        let text = serde_json::to_string_pretty(&drill).unwrap_or_default();
        output::data(&format!("{text}\n"));
    } else {
        output::data(&rehearsal::render(&drill));
    }
    0
}

/// Requests a second, by the plan's routes: what has no rate of its own shares the rest evenly, but
/// for protected routes.
fn rates(plan: &Plan, asked: &[(Option<String>, f64)]) -> Result<Vec<f64>, String> {
    let mut rates = vec![None; plan.routes.len()];
    let mut shared = 0.0;
    for (route, rate) in asked {
        let Some(name) = route else {
            shared += rate;
            continue;
        };
        let at = plan.routes.iter().position(|known| *known.name == **name);
        let at = at.ok_or_else(|| {
            let known: Vec<&str> = plan.routes.iter().map(|route| &*route.name).collect();
            format!("there is no route `{name}`; there is {}", known.join(", "))
        })?;
        rates[at] = Some(*rate);
    }
    let free = |at: usize| {
        let route = &plan.routes[at];
        rates[at].is_none() && route.rule.is_some() && !route.protected
    };
    let count = (0..rates.len()).filter(|at| free(*at)).count();
    let each = shared / count.max(1) as f64;
    Ok((0..rates.len()).map(|at| rates[at].unwrap_or(if free(at) { each } else { 0.0 })).collect())
}
