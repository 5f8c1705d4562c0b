//! `backburn run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use super::progress::{Progress, ProgressArgs};
use super::signals::{Signals, Told};
use super::{args, exit, output, terminal};
use crate::app::{self, Compiled, Options, Running, Source, Start, Texts};
use crate::diagnostic::render;
use crate::drill::reload::Order;
use crate::plan::Plan;
use crate::report::{View, summary, words};
use crate::units::show_duration;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn run scenario.toml
  backburn run scenario.toml --env staging --seed 42
  backburn run --upstream http://127.0.0.1:3000          record only, no faults
  backburn run scenario.toml --set faults.slow.probability=1% --listen 127.0.0.1:0
  backburn halt                                          from another terminal

Exit codes: 0 an orderly end · 2 usage or scenario · 4 the same, with a halt that nobody lifted ·
5 could not start · 130 interrupted a second time, before the end was reached")]
pub(super) struct RunArgs {
    /// Scenario files or directories, merged in this order.
    files: Vec<PathBuf>,
    #[command(flatten)]
    over: args::Over,
    #[command(flatten)]
    listen: args::Listen,
    /// The same seed gives the same faults [default: the file's, else random].
    #[arg(long, env = "BACKBURN_SEED")]
    seed: Option<u64>,
    /// Where the drill is kept and the HALT file is looked for; `none` keeps nothing.
    #[arg(long, env = "BACKBURN_DATA", default_value = ".backburn", value_name = "DIR|none")]
    data: PathBuf,
    /// Which environment this is; a scenario may be for some only.
    #[arg(long = "env", env = "BACKBURN_ENV", value_name = "NAME")]
    environment: Option<String>,
    /// Worker threads [default: the file's, else one a core].
    #[arg(long, env = "BACKBURN_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// How much is logged.
    #[arg(
        long,
        env = "BACKBURN_LOG",
        default_value = "info",
        value_parser = ["error", "warn", "info", "debug", "trace"],
        value_name = "LEVEL"
    )]
    log: String,
    /// How log lines look.
    #[arg(long, env = "BACKBURN_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Wait for `backburn start` before anything is injected.
    #[arg(long, env = "BACKBURN_HOLD", value_parser = FalseyValueParser::new())]
    hold: bool,
    /// End when nothing is injected any more: after the last phase, or `max_drill`.
    #[arg(long, env = "BACKBURN_EXIT_WHEN_DONE", value_parser = FalseyValueParser::new())]
    exit_when_done: bool,
    /// Written, by rename, once traffic is accepted: addresses, pid, drill and seed as JSON.
    #[arg(long, env = "BACKBURN_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    progress: ProgressArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

pub(super) fn run(args: RunArgs) -> u8 {
    if args.files.is_empty() && args.over.upstream.is_none() {
        output::say(
            "error: there is no scenario; give its file, or say what to stand before to record only, as in \
             `backburn run --upstream http://127.0.0.1:3000`",
        );
        return exit::USAGE;
    }
    let source = source_of(&args);
    let Some(scenario) = Scenario::load(source) else { return exit::USAGE };
    init_log(&args.log, args.log_format);
    let data = (args.data.as_os_str() != "none").then_some(args.data);
    run_drill(
        Options {
            seed: args.seed,
            listen: args.listen.listen,
            admin_listen: args.listen.admin_listen,
            data,
            environment: args.environment,
            workers: args.workers,
            hold: args.hold,
            ready_file: args.ready_file,
            ..scenario.options()
        },
        &args.progress,
        args.exit_when_done,
        || Ok(()),
    )
}

/// Runs a drill to its end, shown all the while; the exit code. `started`: what is left to do once
/// it could be started, or the exit code where that fails.
pub(super) fn run_drill(
    options: Options,
    progress: &ProgressArgs,
    exit_when_done: bool,
    started: impl FnOnce() -> Result<(), u8>,
) -> u8 {
    let Some(runtime) = output::runtime() else { return exit::NO_START };
    let code = runtime.block_on(drill(options, progress, exit_when_done, started));
    let code = code.unwrap_or_else(|code| code);
    // Whatever the control plane still does must not keep the process.
    runtime.shutdown_background();
    code
}

/// The data directory, where it can be written; else nothing is kept, which is said.
pub(super) fn data_or_none(data: &Path) -> Option<PathBuf> {
    if data.as_os_str() == "none" {
        return None;
    }
    match app::open_data(data) {
        Ok(data) => Some(data),
        Err(error) => {
            output::say(&format!(
                "data      {} cannot be written ({error}): nothing is kept,\n          and only --admin-url or the process id find this run",
                data.display()
            ));
            None
        }
    }
}

fn source_of(args: &RunArgs) -> Source {
    let mut sets = args.over.sets();
    if args.files.is_empty() {
        // What a recording proxy can say about a service nobody described.
        sets.push("name=\"recording\"".to_owned());
        sets.push("slos.availability={ objective = \"99.9%\", sli.availability = {} }".to_owned());
    }
    Source { paths: args.files.clone(), sets, ..Source::default() }
}

/// A scenario that has no mistakes, ready to be started.
pub(super) struct Scenario {
    source: Source,
    texts: Texts,
    start: Start,
    pub(super) plan: Plan,
}

impl Scenario {
    /// Reads and compiles, and says what is wrong; `None`: it cannot be started.
    pub(super) fn load(source: Source) -> Option<Self> {
        let texts = source.read();
        let Compiled { plan, notes, scenario } = texts.compile(&[], None);
        if !notes.is_empty() {
            output::say(render(&notes, &scenario.sources, output::colour()).trim_end());
        }
        let plan = plan?;
        let start = Start::of(&scenario, &plan);
        Some(Self { source, texts, start, plan })
    }

    /// With everything else as it is by default.
    pub(super) fn options(self) -> Options {
        let Self { source, texts, start, plan } = self;
        Options {
            plan,
            source,
            texts,
            start,
            seed: None,
            listen: None,
            admin_listen: None,
            data: None,
            environment: None,
            workers: None,
            hold: false,
            ready_file: None,
        }
    }
}

pub(super) fn init_log(level: &str, format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(terminal::Log);
    // Set once a process; a second time there is one already, which will do.
    let _ = match format {
        LogFormat::Text => log.with_target(false).with_ansi(output::colour()).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}

/// The exit code; an error where there was no orderly end.
async fn drill(
    options: Options,
    progress: &ProgressArgs,
    exit_when_done: bool,
    started: impl FnOnce() -> Result<(), u8>,
) -> Result<u8, u8> {
    let failed = |why: &dyn std::fmt::Display| {
        output::say(&format!("error: {why}"));
        exit::NO_START
    };
    let files = options.source.built_in.is_none();
    let mut signals = Signals::catch(files).map_err(|error| failed(&error))?;
    let mut progress = Progress::open(progress).map_err(|error| failed(&error))?;
    let facts = facts(&options.plan);
    let running = app::start(options).await.map_err(|error| failed(&error))?;
    started()?;
    announce(&running, &facts);
    let over = over(&running, exit_when_done);
    if let Watched::Died(why) = watch(&running, &mut signals, &mut progress, over).await {
        return Err(failed(&format!("{why}; ending")));
    }
    let Some(view) = end(running, &mut signals, &mut progress).await else {
        output::say("interrupted before an orderly end");
        return Err(exit::INTERRUPTED);
    };
    output::say(summary::render(&view).trim_end());
    Ok(code(&view))
}

/// The exit code of a drill that has ended in order.
pub(super) fn code(view: &View) -> u8 {
    // Whoever asked for the end: a halt that nobody lifted is not how a drill is meant to end.
    if view.halted { exit::HALTED } else { 0 }
}

/// The orderly end, shown while it lasts; `None`: interrupted.
pub(super) async fn end(
    running: Running,
    signals: &mut Signals,
    progress: &mut Progress,
) -> Option<View> {
    let live = Arc::clone(&running.live);
    let stopping = running.stop();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            view = &mut stopping => return Some(view),
            () = signals.end() => return None,
            () = progress.second() => progress.show(&live),
        }
    }
}

/// Scenario facts for the start lines, one a line.
fn facts(plan: &Plan) -> Vec<String> {
    let mut facts = vec![format!(
        "scenario  {}: {}",
        words::clean(&plan.name),
        output::sizes(plan, plan.faults.iter().filter(|fault| fault.enabled).count())
    )];
    for service in &plan.services {
        facts.push(format!("service   {} -> {}", service.name, service.url));
    }
    if let Some(hypothesis) = &plan.hypothesis {
        facts.push(format!("question  {}", words::clean(hypothesis)));
    }
    if !plan.faults.is_empty() {
        facts.push(ends(plan));
    }
    facts
}

/// When nothing is injected any more.
fn ends(plan: &Plan) -> String {
    let phases = plan.phases.iter().map(|phase| phase.length).sum::<Option<Duration>>();
    let script = phases.filter(|_| plan.is_phased()).map(|length| (length, "the last phase"));
    let longest = plan.safety.max_drill.map(|length| (length, "max_drill"));
    match script.into_iter().chain(longest).min_by_key(|(length, _)| *length) {
        Some((length, by)) => {
            format!("ends      injection stops by itself after {} ({by})", show_duration(length))
        }
        None => "ends      only by hand: max_drill is \"none\"".to_owned(),
    }
}

/// One start line a fact.
pub(super) fn announce(running: &Running, facts: &[String]) {
    let instance = &running.instance;
    output::say(&format!("proxy     {}", instance.proxy));
    for (name, url) in &instance.services {
        output::say(&format!("proxy     {url} (service {name})"));
    }
    output::say(&format!("admin     {}/api/v1/status  {}/metrics", instance.admin, instance.admin));
    for fact in facts {
        output::say(fact);
    }
    output::say(&format!("drill     {}  seed {}", instance.drill, instance.seed));
    output::say(&format!("limits    {} client connections", running.connections));
    let file = running
        .halt_file
        .as_ref()
        .map_or(String::new(), |path| format!(",\n          or `touch {}`", path.display()));
    output::say(&format!(
        "halt      `backburn halt`, or `kill -USR1 {}`{file}",
        std::process::id()
    ));
    if let Some(why) = running.control.pass_through() {
        output::say(&format!("PASS-THROUGH ONLY: {why}"));
    }
    let view = running.live.view(crate::clock::now());
    output::say(&match &view.phase {
        _ if view.faults.iter().any(|fault| fault.active) => "ready     injecting".to_owned(),
        Some(phase) => format!("ready     {}, phase {}: no fault is on", view.state, phase.name),
        None => format!("ready     {}: no fault is on", view.state),
    });
}

/// When the time is over, if that is to be an end.
async fn over(running: &Running, wanted: bool) {
    let mut look = tokio::time::interval(Duration::from_secs(1));
    loop {
        look.tick().await;
        if wanted && running.control.standing(crate::clock::now()).over {
            return;
        }
    }
}

/// Why a running instance is watched no longer.
pub(super) enum Watched<T> {
    /// What was waited for has come.
    Done(T),
    /// A signal, or `backburn finish`, asks for the end.
    Asked,
    /// This has died.
    Died(String),
}

/// Keeps an instance going, shows it, and does what signals say, until `done`.
pub(super) async fn watch<T>(
    running: &Running,
    signals: &mut Signals,
    progress: &mut Progress,
    done: impl Future<Output = T>,
) -> Watched<T> {
    let tending = running.tend();
    tokio::pin!(tending, done);
    loop {
        tokio::select! {
            why = &mut tending => return Watched::Died(why),
            what = &mut done => return Watched::Done(what),
            () = running.finish.notified() => return Watched::Asked,
            told = signals.next() => match told {
                Told::End => return Watched::Asked,
                Told::Halt => {
                    running.control.halt(crate::clock::now(), "SIGUSR1", "");
                }
                Told::Reload => {
                    // Its own task: the rest goes on meanwhile, a halt above all.
                    let reloads = Arc::clone(&running.reloads);
                    tokio::spawn(async move {
                        reloads.order(Order::Reload { accept: false }, "SIGHUP").await
                    });
                }
            },
            () = progress.second() => progress.show(&running.live),
        }
    }
}
