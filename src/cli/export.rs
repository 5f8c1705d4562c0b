//! `backburn export`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{args, client, exit, output};
use crate::app::{Compiled, Source};
use crate::budget::Severity;
use crate::diagnostic::render;
use crate::exchange::prometheus::Shape;
use crate::exchange::proof::Options;
use crate::exchange::record::Record;
use crate::exchange::{grafana, openslo, prometheus, proof};
use crate::plan::Plan;

#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// The scenario language as JSON Schema, for editors (`#:schema FILE` in the first line).
    JsonSchema,
    /// The scenario language as a reference page in Markdown.
    Reference,
    /// The alerts of a scenario's SLOs as Prometheus rules, over backburn's own metrics.
    #[command(after_help = "\
Examples:
  backburn export prometheus-rules scenario.toml > rules.yml
  backburn export prometheus-rules scenario.toml --dialect pyrra
  promtool check rules rules.yml")]
    PrometheusRules(RulesArgs),
    /// A scenario's SLOs and their alerts as OpenSLO v1.
    Openslo(ScenarioArgs),
    /// A Grafana dashboard over backburn's metrics.
    Grafana(ScenarioArgs),
    /// A drill's events over time, from a running instance: what `alert-proof` takes.
    Record(client::ClientArgs),
    /// A unit test for promtool: the recorded drill's events, and the alerts that the rules have to
    /// fire.
    #[command(after_help = "\
Examples:
  backburn export record > drill.json                       while the drill runs
  backburn export prometheus-rules scenario.toml > rules.yml
  backburn export alert-proof drill.json --severity page > pages.yml
  promtool test rules pages.yml
  backburn export alert-proof drill.json --severity ticket > tickets.yml    takes promtool a minute")]
    AlertProof(ProofArgs),
}

#[derive(Debug, Args)]
pub(super) struct ScenarioArgs {
    /// Scenario files or directories, merged in this order.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    over: args::Over,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum RulesOf {
    Sloth,
    Pyrra,
}

impl RulesOf {
    fn shape(self) -> Shape {
        match self {
            Self::Sloth => Shape::Sloth,
            Self::Pyrra => Shape::Pyrra,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Whose names and groups the rules have [default: of each SLO its own].
    #[arg(long, env = "BACKBURN_DIALECT", value_name = "DIALECT")]
    dialect: Option<RulesOf>,
    /// How often Prometheus scrapes: a rate needs two samples within the shortest window.
    #[arg(
        long,
        env = "BACKBURN_SCRAPE_INTERVAL",
        default_value = "15s",
        value_parser = args::duration,
        value_name = "DURATION"
    )]
    scrape_interval: Duration,
}

#[derive(Debug, Args)]
pub(super) struct ProofArgs {
    /// The record; `-` reads it from stdin.
    record: PathBuf,
    /// The rules file, as the test is to name it: relative to the test.
    #[arg(long, env = "BACKBURN_RULES", default_value = "rules.yml", value_name = "FILE")]
    rules: String,
    /// Whose rules they are [default: of each SLO its own].
    #[arg(long, env = "BACKBURN_DIALECT", value_name = "DIALECT")]
    dialect: Option<RulesOf>,
    /// Which alerts are proved [default: both]. Pages, whose windows are shorter, are looked at
    /// every 15 s when they are by themselves.
    #[arg(long, env = "BACKBURN_SEVERITY", value_name = "SEVERITY")]
    severity: Option<AlertsOf>,
    /// Between two samples, and two evaluations, in whole seconds [default: 15s, or as short as
    /// promtool can do with the longest window: 1m for tickets over three days].
    #[arg(
        long,
        env = "BACKBURN_INTERVAL",
        value_parser = args::duration,
        value_name = "DURATION"
    )]
    interval: Option<Duration>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AlertsOf {
    Page,
    Ticket,
}

pub(super) fn export(what: &Export) -> u8 {
    let made = match what {
        Export::JsonSchema => Ok(format!("{:#}\n", crate::scenario::json_schema())),
        Export::Reference => {
            Ok(crate::document::reference(&crate::scenario::ROOT, crate::fault::page))
        }
        Export::Record(args) => {
            match client::on(args, &http::Method::GET, "/api/v1/record", &Value::Null) {
                Ok(record) => Ok(format!("{record}\n")),
                Err(refused) => return refused.tell(),
            }
        }
        Export::AlertProof(args) => alert_proof(args),
        Export::PrometheusRules(args) => {
            let Some(plan) = plan(&args.scenario) else { return exit::USAGE };
            let shape = args.dialect.map(RulesOf::shape);
            prometheus::rules(&plan, shape, args.scrape_interval)
        }
        Export::Openslo(args) => {
            let Some(plan) = plan(args) else { return exit::USAGE };
            let (text, lost) = openslo::export(&plan);
            for what in lost {
                output::say(&format!("warning: {what}"));
            }
            Ok(text)
        }
        Export::Grafana(args) => {
            let Some(plan) = plan(args) else { return exit::USAGE };
            Ok(format!("{:#}\n", grafana::dashboard(&plan)))
        }
    };
    match made {
        Ok(text) => {
            output::data(&text);
            0
        }
        Err(why) => {
            output::say(&format!("error: {why}"));
            exit::USAGE
        }
    }
}

/// A scenario that has no mistakes; `None` after saying what is wrong.
/// The scenario's plan; what keeps it from being one is said.
pub(super) fn plan(args: &ScenarioArgs) -> Option<Plan> {
    let source = Source { paths: args.files.clone(), sets: args.over.sets(), ..Source::default() };
    let Compiled { plan, notes, scenario } = source.read().compile(&[], None);
    if plan.is_none() {
        output::say(render(&notes, &scenario.sources, output::colour()).trim_end());
    }
    plan
}

fn alert_proof(args: &ProofArgs) -> Result<String, String> {
    let fits = |interval: &Duration| interval.as_secs() > 0 && interval.subsec_nanos() == 0;
    if args.interval.is_some_and(|interval| !fits(&interval)) {
        return Err("--interval takes whole seconds".to_owned());
    }
    let text = read(&args.record)?;
    let record = Record::read(&text)?;
    let options = Options {
        severity: args.severity.map(|alerts| match alerts {
            AlertsOf::Page => Severity::Page,
            AlertsOf::Ticket => Severity::Ticket,
        }),
        interval: args.interval.map(|interval| interval.as_secs()),
        shape: args.dialect.map(RulesOf::shape),
    };
    let test = proof::proof(&record, &args.rules, options)?;
    for what in proof::unproven(&record, options) {
        output::say(&format!("warning: {what}"));
    }
    Ok(test)
}

fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(crate::exchange::LARGEST_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(crate::exchange::LARGEST_FILE).read_to_string(&mut text))
    };
    read.map_err(|why| format!("cannot read {name}: {why}"))?;
    Ok(text)
}
