//! `backburn check`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::{args, exit, output};
use crate::app::{Compiled, Source};
use crate::diagnostic::{Diagnostic, Severity, render, to_json};
use crate::report::words;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn check scenario.toml
  backburn check drill/ --strict           its *.toml as one scenario; warnings fail as well
  backburn check scenario.toml --json      for editors and CI")]
pub(super) struct CheckArgs {
    /// Scenario files or directories: together one scenario, merged in this order.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    over: args::Over,
    /// Warnings fail as well.
    #[arg(long, env = "BACKBURN_STRICT", value_parser = FalseyValueParser::new())]
    strict: bool,
    /// The mistakes as JSON on stdout.
    #[arg(long, env = "BACKBURN_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(super) fn check(args: CheckArgs) -> u8 {
    let directory = args.files.iter().any(|path| path.is_dir());
    let source = Source { paths: args.files, sets: args.over.sets(), ..Source::default() };
    let Compiled { plan, notes, scenario } = source.read().compile(&[], None);
    let sources = &scenario.sources;
    if args.json {
        output::data(&format!("{:#}\n", to_json(&notes, sources)));
    } else if !notes.is_empty() {
        output::say(render(&notes, sources, output::colour()).trim_end());
    }
    let errors = notes.iter().filter(|note| note.severity == Severity::Error).count();
    let warnings = notes.len() - errors;
    match plan {
        Some(plan) if !(args.strict && warnings > 0) => {
            if !args.json {
                output::say(&format!(
                    "ok: {}, {}",
                    output::sizes(&plan, plan.faults.len()),
                    counted(warnings, "warning")
                ));
            }
            0
        }
        _ => {
            if !args.json {
                let strict = if errors == 0 { " (--strict)" } else { "" };
                output::say(&format!(
                    "{}, {}{strict}",
                    counted(errors, "mistake"),
                    counted(warnings, "warning")
                ));
                if directory && notes.iter().any(across_files) {
                    output::say(
                        "hint: a directory is read as one scenario; name a file in it if each is \
                         a scenario of its own",
                    );
                }
            }
            exit::USAGE
        }
    }
}

/// What is there twice, in two files.
fn across_files(note: &Diagnostic) -> bool {
    let also = note.also.as_ref().map(|(also, _)| also.file);
    note.severity == Severity::Error && note.at.zip(also).is_some_and(|(at, also)| at.file != also)
}

fn counted(number: usize, what: &str) -> String {
    words::count(number as u64, what)
}
