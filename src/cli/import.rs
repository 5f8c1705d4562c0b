//! `backburn import`: other tools' rules as a scenario, and what they have counted.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::export::{self, ScenarioArgs};
use super::{exit, output};
use crate::diagnostic::{Severity, render};
use crate::exchange::{self, Imported, openslo};
use crate::report::words;

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// Toxiproxy's proxies and toxics: its config file, or what its API answers.
    #[command(after_help = "\
Examples:
  backburn import toxiproxy toxiproxy.json -o scenario.toml
  curl -s http://127.0.0.1:8474/proxies | backburn import toxiproxy -     toxics included

What has no equivalent is told, and written among the comments.")]
    Toxiproxy(ImportArgs),
    /// Envoy's HTTP fault filter, as YAML or JSON: alone, or anywhere in a configuration; or
    /// Istio's virtual services.
    #[command(after_help = "\
Examples:
  backburn import envoy-fault envoy.yaml -o scenario.toml
  backburn import envoy-fault fault.json          to look at first: it goes to stdout
  kubectl get virtualservice -A -o yaml | backburn import envoy-fault -

What has no equivalent is told, and written among the comments. What narrows a fault and cannot be
said leaves it off.")]
    EnvoyFault(ImportArgs),
    /// OpenSLO v1: SLOs, and their alerts, as `[slos]` to be given beside a scenario.
    #[command(after_help = "\
Examples:
  backburn import openslo slos.yaml -o slos.toml
  backburn run scenario.toml slos.toml

What has no equivalent is told, and written among the comments. Queries are not taken over:
backburn counts requests itself.")]
    Openslo(ImportArgs),
    /// What production has counted of a scenario's SLOs over their windows, from Prometheus: their
    /// `production`, a line each, as `--set` takes it.
    #[command(after_help = "\
Examples:
  curl -s http://prometheus:9090/api/v1/query --data-urlencode query@history.promql > answer.json
  backburn import history answer.json scenario.toml
  backburn run scenario.toml --set \"$(backburn import history answer.json scenario.toml)\"

history.promql:
  label_replace(sum(increase(http_requests_total{code=~\"5..\"}[28d])),
    \"outcome\", \"bad\", \"\", \"\") or
  label_replace(sum(increase(http_requests_total{code!~\"5..\"}[28d])),
    \"outcome\", \"good\", \"\", \"\")

The increases are over as long as the SLO's window. With several SLOs, the label `slo` says which.")]
    History(HistoryArgs),
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// What Prometheus answered to an instant query; `-` reads it from stdin.
    answer: PathBuf,
    #[command(flatten)]
    scenario: ScenarioArgs,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The rules; `-` reads them from stdin.
    file: PathBuf,
    /// Where the scenario goes, a file that is not there yet [default: stdout].
    #[arg(short, long, env = "BACKBURN_IMPORT_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn import(what: &Import) -> u8 {
    match what {
        Import::Toxiproxy(args) => {
            rules(args, |name, text| exchange::TOXIPROXY.import(name, text), "")
        }
        Import::EnvoyFault(args) => {
            rules(args, |name, text| exchange::ENVOY_FAULT.import(name, text), "")
        }
        Import::Openslo(args) => rules(args, openslo::import, "scenario.toml "),
        Import::History(args) => history(args),
    }
}

/// `with`: what has to be given beside what came out.
fn rules(args: &ImportArgs, import: impl Fn(&str, &str) -> Imported, with: &str) -> u8 {
    let (name, text) = match text(&args.file) {
        Ok(read) => read,
        Err(why) => return refused(&why),
    };
    let Imported { sources, notes, scenario } = import(&name, &text);
    if !notes.is_empty() {
        output::say(render(&notes, &sources, output::colour()).trim_end());
    }
    let Some(scenario) = scenario else {
        let errors = notes.iter().filter(|note| note.severity == Severity::Error).count();
        output::say(&words::count(errors as u64, "mistake"));
        return exit::USAGE;
    };
    let Some(path) = &args.output else {
        output::data(&scenario);
        return 0;
    };
    if let Err(error) = output::write_new(path, &scenario) {
        return refused(&format!("cannot write {}: {error}", path.display()));
    }
    output::say(&format!("written   {0}; next: backburn check {with}{0}", path.display()));
    0
}

fn history(args: &HistoryArgs) -> u8 {
    let (name, text) = match text(&args.answer) {
        Ok(read) => read,
        Err(why) => return refused(&why),
    };
    let Some(plan) = export::plan(&args.scenario) else { return exit::USAGE };
    match exchange::history::history(&name, &text, &plan) {
        Ok(production) => {
            output::data(&production);
            0
        }
        Err(why) => refused(&why),
    }
}

fn refused(why: &str) -> u8 {
    output::say(&format!("error: {why}"));
    exit::USAGE
}

/// The file's name and what is in it.
fn text(path: &Path) -> Result<(String, String), String> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "stdin".to_owned() } else { path.display().to_string() };
    let wrong = |error: std::io::Error| format!("cannot read {name}: {error}");
    let mut bytes = Vec::new();
    let most = exchange::LARGEST_FILE;
    let read = if stdin {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
    };
    read.map_err(wrong)?;
    if bytes.len() as u64 > most {
        return Err(format!("{name} is larger than {} MiB", most >> 20));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?;
    Ok((name, text))
}
