//! `backburn try`: one fault without a file. It always has an end.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::progress::ProgressArgs;
use super::{args, exit, output, run};
use crate::app::{Options, Source};
use crate::exchange::quoted;
use crate::units::{Share, show_duration};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn try http://127.0.0.1:3000 --latency 300ms
  backburn try http://127.0.0.1:3000 --error 503 --probability 5% --route 'GET /api/{*rest}'
  backburn try http://127.0.0.1:3000 --abort reset --for 30s --write drill.toml

Several of --latency, --error and --abort act together, on the same requests. When the time is over
the run ends, with a summary; Ctrl-C ends it sooner, `backburn halt` stops the fault.")]
pub(super) struct TryArgs {
    /// The service to stand before: http://HOST:PORT
    #[arg(env = "BACKBURN_UPSTREAM")]
    url: String,
    #[command(flatten)]
    harm: Harm,
    /// The share of requests that is hit [default: all].
    #[arg(long, env = "BACKBURN_TRY_PROBABILITY", value_parser = args::share, value_name = "SHARE")]
    probability: Option<Share>,
    /// Which requests: a method and a path, or a path alone [default: all but health checks].
    #[arg(long, env = "BACKBURN_TRY_ROUTE", value_name = "[METHOD] PATH")]
    route: Option<String>,
    /// For how long.
    #[arg(
        long = "for",
        env = "BACKBURN_TRY_FOR",
        default_value = "2m",
        value_parser = args::duration,
        value_name = "DURATION"
    )]
    length: Duration,
    /// Writes the same as a scenario, to a file that is not there yet.
    #[arg(long, env = "BACKBURN_TRY_WRITE", value_name = "FILE")]
    write: Option<PathBuf>,
    #[command(flatten)]
    listen: args::Listen,
    /// The same seed gives the same faults [default: random].
    #[arg(long, env = "BACKBURN_SEED")]
    seed: Option<u64>,
    /// Where `backburn halt` finds it; goes on without where it cannot be written.
    #[arg(long, env = "BACKBURN_DATA", default_value = ".backburn", value_name = "DIR|none")]
    data: PathBuf,
    /// Written, by rename, once traffic is accepted: addresses, pid, drill and seed as JSON.
    #[arg(long, env = "BACKBURN_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    progress: ProgressArgs,
}

/// What the requests that are hit get.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Harm {
    /// They wait this much longer.
    #[arg(long, env = "BACKBURN_TRY_LATENCY", value_parser = args::duration, value_name = "DURATION")]
    latency: Option<Duration>,
    /// They are answered with this status.
    #[arg(long, env = "BACKBURN_TRY_ERROR", value_parser = args::status, value_name = "STATUS")]
    error: Option<u16>,
    /// They get no answer: reset, close or hang.
    #[arg(
        long,
        env = "BACKBURN_TRY_ABORT",
        value_parser = ["reset", "close", "hang"],
        value_name = "HOW"
    )]
    abort: Option<String>,
}

pub(super) fn attempt(args: TryArgs) -> u8 {
    let text = match scenario(&args) {
        Ok(text) => text,
        Err(why) => {
            output::say(&format!("error: {why}"));
            return exit::USAGE;
        }
    };
    let source = Source { built_in: Some(("try".to_owned(), text.clone())), ..Source::default() };
    let Some(scenario) = run::Scenario::load(source) else { return exit::USAGE };
    let unwritten = |path: &Path, why: &str| {
        output::say(&format!("error: cannot write {}: {why}", path.display()));
        exit::USAGE
    };
    let there = "it is there already";
    if let Some(path) = args.write.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
        return unwritten(path, there);
    }
    // Only what could be started is worth keeping.
    let keep = || {
        let Some(path) = &args.write else { return Ok(()) };
        output::write_new(path, &text).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => unwritten(path, there),
            _ => unwritten(path, &error.to_string()),
        })?;
        output::say(&format!("written   {0}; later: backburn run {0}", path.display()));
        Ok(())
    };
    let data = run::data_or_none(&args.data);
    run::init_log("info", run::LogFormat::Text);
    run::run_drill(
        Options {
            seed: args.seed,
            listen: args.listen.listen,
            admin_listen: args.listen.admin_listen,
            data,
            ready_file: args.ready_file.clone(),
            ..scenario.options()
        },
        &args.progress,
        true,
        keep,
    )
}

/// The same thing as a scenario, as a person would write it.
fn scenario(args: &TryArgs) -> Result<String, String> {
    let mut text = format!(
        "# Made by `backburn try`: one fault, with an end.\n\
         name = \"try\"\n\n[services.target]\nurl = {}\n\n",
        quoted(&args.url)
    );
    let route = match &args.route {
        None => "*",
        Some(route) => {
            let (methods, path) = match route.split_whitespace().collect::<Vec<_>>()[..] {
                [path] => (String::new(), path),
                [method, path] => (format!("methods = [{}]\n", quoted(method)), path),
                _ => {
                    let example = "write it as 'GET /api/{*rest}'";
                    return Err(format!("\"{route}\" is not a method and a path; {example}"));
                }
            };
            // Whatever does not match is proxied and counted, and never faulted.
            let _ = writeln!(text, "[routes.tried]\npath = {}\n{methods}", quoted(path));
            "tried"
        }
    };
    let _ = writeln!(text, "[faults.tried]\nroutes = [\"{route}\"]");
    if let Some(share) = args.probability {
        let _ = writeln!(text, "probability = \"{share}\"");
    }
    if let Some(delay) = args.harm.latency {
        let _ = writeln!(text, "inject.latency = \"{}\"", show_duration(delay));
    }
    if let Some(status) = args.harm.error {
        let _ = writeln!(text, "inject.error = {status}");
    }
    if let Some(how) = &args.harm.abort {
        let _ = writeln!(text, "inject.abort = \"{how}\"");
    }
    let _ = write!(
        text,
        "\n[slos.answers]\nobjective = \"99.9%\"\nsli.availability = {{}}\n\n\
         [[phases]]\nname = \"try\"\nfor = \"{}\"\nfaults = [\"tried\"]\n",
        show_duration(args.length)
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: TryArgs,
    }

    fn written(arguments: &[&str]) -> Result<String, String> {
        let arguments = [&["try", "http://127.0.0.1:3000"], arguments].concat();
        scenario(&Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.args)
    }

    #[test]
    fn what_is_written_is_a_scenario_without_a_mistake() {
        let cases: [&[&str]; 5] = [
            &["--latency", "300ms"],
            &["--error", "503", "--probability", "5%", "--route", "GET /api/{*rest}"],
            &["--abort", "hang", "--latency", "1s", "--for", "30s"],
            &["--abort", "reset", "--route", "/a\"b"],
            // Said in TOML as it is, not as Rust would say it.
            &["--abort", "reset", "--route", "/a\u{7f}\u{feff}b"],
        ];
        for arguments in cases {
            let text = written(arguments).unwrap();
            let source = Source { built_in: Some(("t".to_owned(), text)), ..Source::default() };
            let compiled = source.read().compile(&[], None);
            let mistakes = compiled
                .notes
                .iter()
                .filter(|note| note.severity == crate::diagnostic::Severity::Error);
            assert_eq!(mistakes.count(), 0, "{:?}", compiled.notes);
            let plan = compiled.plan.unwrap();
            assert!(plan.phases[0].length.is_some(), "it has an end");
        }
    }

    #[test]
    fn it_needs_something_to_do() {
        assert!(written(&[]).is_err());
        assert!(written(&["--probability", "5%"]).is_err());
        assert!(written(&["--error", "99"]).is_err());
        assert!(written(&["--latency", "5"]).unwrap_err().contains("no unit"));
        assert!(written(&["--error", "503", "--route", "GET /a /b"]).is_err());
    }
}
