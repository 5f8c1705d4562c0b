//! `backburn check`.

use std::path::PathBuf;

use clap::Args;

use super::{exit, output};
use crate::app::Source;
use crate::diagnostic::{Severity, render, to_json};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn check scenario.toml
  backburn check drills/ --strict          warnings fail as well
  backburn check scenario.toml --json      for editors and CI")]
pub(super) struct CheckArgs {
    /// Scenario files or directories, merged in this order.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Sets a key over the files: `faults.slow.probability="5%"`.
    #[arg(long = "set", env = "BACKBURN_SET", value_delimiter = '\n', value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Warnings fail as well.
    #[arg(long, env = "BACKBURN_STRICT")]
    strict: bool,
    /// The mistakes as JSON on stdout.
    #[arg(long, env = "BACKBURN_JSON")]
    json: bool,
}

pub(super) fn check(args: CheckArgs) -> u8 {
    let source = Source { paths: args.files, sets: args.sets };
    let (plan, notes, sources) = source.read().compile(&[]);
    if args.json {
        output::data(&format!("{:#}\n", to_json(&notes, &sources)));
    } else if !notes.is_empty() {
        output::say(render(&notes, &sources, output::colour()).trim_end());
    }
    let errors = notes.iter().filter(|note| note.severity == Severity::Error).count();
    let warnings = notes.len() - errors;
    match plan {
        Some(plan) if !(args.strict && warnings > 0) => {
            if !args.json {
                output::say(&format!(
                    "ok: {} services, {} routes, {} faults, {} SLOs, {warnings} warnings",
                    plan.services.len(),
                    plan.routes.len() - plan.services.len(),
                    plan.faults.len(),
                    plan.slos.len()
                ));
            }
            0
        }
        _ => {
            if !args.json {
                let plural = if errors == 1 { "mistake" } else { "mistakes" };
                output::say(&format!("{errors} {plural}, {warnings} warnings"));
            }
            exit::USAGE
        }
    }
}
