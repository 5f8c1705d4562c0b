//! The command line: one file a verb.

mod args;
mod attempt;
mod check;
mod client;
mod demo;
mod explain;
mod export;
mod import;
mod load;
mod output;
mod plan;
mod progress;
mod run;
mod sample;
mod signals;
mod steer;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;

/// A chaos-injection reverse proxy: injects latency, errors and other faults per route from a
/// scenario file, counts every request, and tells what it injected from what the service did.
#[derive(Debug, Parser)]
#[command(
    name = "backburn",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  backburn demo                                        everything in one process, nothing to set up
  backburn try http://127.0.0.1:3000 --latency 300ms   one fault, no file, for two minutes
  backburn run scenario.toml                           the proxy with a drill
  backburn run --upstream http://127.0.0.1:3000        a plain recording proxy
  backburn check scenario.toml                         every mistake at once
  backburn halt                                        the panic button"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// A sample shop, traffic, and a drill of three phases, in one process; ends with a summary.
    Demo(demo::DemoArgs),
    /// The proxy with a drill.
    Run(run::RunArgs),
    /// One fault without a file; it always has an end.
    Try(attempt::TryArgs),
    /// Parses and compiles a scenario; shows every mistake at once.
    Check(check::CheckArgs),
    /// A dry run: what the drill will inject, burn and set off at a rate of requests.
    Plan(plan::PlanArgs),
    /// Which route and which faults a request would meet, and why not the others.
    Explain(explain::ExplainArgs),
    /// What a running instance is doing.
    Status(client::ClientArgs),
    /// The panic button: stops injection in every instance found. No confirmation.
    Halt(client::HaltArgs),
    /// Lifts a halt; the drill is paused afterwards.
    Rearm(client::RearmArgs),
    /// Stops injection; recording goes on.
    Pause(client::ClientArgs),
    /// Injects again after a pause.
    Resume(client::ClientArgs),
    /// Begins a drill that waits (`run --hold`).
    Start(client::ClientArgs),
    /// Ends the running phase, or goes to the one that is named.
    Next(steer::NextArgs),
    /// Writes down what was seen, with the time and the phase.
    Note(steer::NoteArgs),
    /// Changes a fault's key live, over what the files say; or clears what was changed.
    Set(steer::SetArgs),
    /// Reads the scenario's files again.
    Reload(steer::ReloadArgs),
    /// Ends the drill and the instance, in order.
    Finish(client::ClientArgs),
    /// The demo's shop on its own: checkout calling payments.
    SampleService(sample::SampleArgs),
    /// Open-loop traffic with a tally of its own.
    Load(load::LoadArgs),
    /// Writes what other tools read.
    #[command(subcommand)]
    Export(export::Export),
    /// Makes a scenario of another tool's rules.
    #[command(subcommand)]
    Import(import::Import),
}

/// Help in which `{n}` stands: clap takes it for a line break, unless it is parted by what nobody
/// sees.
fn braced(help: &str) -> String {
    help.replace("{n}", "{\x1b[0mn}")
}

/// Exit codes (see README).
pub(crate) mod exit {
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const INCONCLUSIVE: u8 = 3;
    pub(crate) const HALTED: u8 = 4;
    pub(crate) const NO_START: u8 = 5;
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// Parses the arguments, runs the verb, returns its exit code.
pub fn main() -> ExitCode {
    let code = match Cli::parse().verb {
        Verb::Demo(args) => demo::demo(&args),
        Verb::Run(args) => run::run(args),
        Verb::Try(args) => attempt::attempt(args),
        Verb::Check(args) => check::check(args),
        Verb::Plan(args) => plan::plan(&args),
        Verb::Explain(args) => explain::explain(args),
        Verb::Next(args) => steer::next(&args),
        Verb::Note(args) => steer::note(&args),
        Verb::Set(args) => steer::set(&args),
        Verb::Reload(args) => steer::reload(&args),
        Verb::Status(args) => client::status(&args),
        Verb::Halt(args) => client::halt(&args),
        Verb::Rearm(args) => client::rearm(&args),
        Verb::Pause(args) => client::drill(&args, "pause", &Value::Null),
        Verb::Resume(args) => client::drill(&args, "resume", &Value::Null),
        Verb::Start(args) => client::drill(&args, "start", &Value::Null),
        Verb::Finish(args) => client::drill(&args, "finish", &Value::Null),
        Verb::SampleService(args) => sample::sample(&args),
        Verb::Load(args) => load::load(&args),
        Verb::Export(what) => export::export(&what),
        Verb::Import(what) => import::import(&what),
    };
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::builder::PossibleValue;
    use clap::{ArgAction, CommandFactory};

    use super::Cli;

    #[test]
    fn every_flag_has_help_and_a_variable() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for verb in cli.get_subcommands() {
            for arg in verb.get_arguments().filter(|arg| arg.get_long().is_some()) {
                let name = format!("{} --{}", verb.get_name(), arg.get_id());
                assert!(arg.get_help().is_some(), "{name} has no help");
                let variable = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                assert!(variable.starts_with("BACKBURN_"), "{name} has no BACKBURN_ variable");
            }
        }
    }

    /// `BACKBURN_JSON=1`, as everybody writes it; clap's own reading of a flag knows `true` alone.
    #[test]
    fn a_variable_sets_a_flag_with_1() {
        let mut flags = 0;
        for verb in Cli::command().get_subcommands() {
            let arguments = verb.get_arguments().filter(|arg| arg.get_env().is_some());
            for arg in arguments.filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue)) {
                let known = arg.get_value_parser().possible_values().into_iter().flatten();
                let known: Vec<PossibleValue> = known.collect();
                let one = known.iter().any(|value| value.matches("1", false));
                assert!(one, "{} --{}: {known:?}", verb.get_name(), arg.get_id());
                flags += 1;
            }
        }
        assert!(flags >= 10, "only {flags} flags");
    }

    #[test]
    fn help_keeps_its_braces() {
        for (verb, path) in [("load", "/carts/{n}"), ("sample-service", "/bytes/{n}")] {
            let mut cli = Cli::command();
            let help = cli.find_subcommand_mut(verb).expect("a verb").render_long_help();
            assert!(help.to_string().contains(path), "{help}");
        }
    }
}
