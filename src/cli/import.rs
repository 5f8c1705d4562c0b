//! `backburn import`: other tools' rules as a scenario.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

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
    let (Import::Toxiproxy(args) | Import::EnvoyFault(args) | Import::Openslo(args)) = what;
    let (name, text) = match text(&args.file) {
        Ok(read) => read,
        Err(why) => {
            output::say(&format!("error: {why}"));
            return exit::USAGE;
        }
    };
    let Imported { sources, notes, scenario } = match what {
        Import::Toxiproxy(_) => exchange::TOXIPROXY.import(&name, &text),
        Import::EnvoyFault(_) => exchange::ENVOY_FAULT.import(&name, &text),
        Import::Openslo(_) => openslo::import(&name, &text),
    };
    if !notes.is_empty() {
        output::say(render(&notes, &sources, output::colour()).trim_end());
    }
    let Some(scenario) = scenario else {
        let errors = notes.iter().filter(|note| note.severity == Severity::Error).count();
        output::say(&words::count(errors as u64, "mistake"));
        return exit::USAGE;
    };
    if let Some(path) = &args.output {
        if let Err(error) = output::write_new(path, &scenario) {
            output::say(&format!("error: cannot write {}: {error}", path.display()));
            return exit::USAGE;
        }
        let with = if matches!(what, Import::Openslo(_)) { "scenario.toml " } else { "" };
        output::say(&format!("written   {0}; next: backburn check {with}{0}", path.display()));
    } else {
        output::data(&scenario);
    }
    0
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
