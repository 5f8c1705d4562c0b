//! `backburn explain`: which route and which faults one request meets, and why not the others.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::{args, exit, output};
use crate::app::{Compiled, Source};
use crate::diagnostic::render;
use crate::plan::explain::{Explanation, InPhase, Question};
use crate::report::words;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn explain scenario.toml --request 'POST /api/checkout/42'
  backburn explain scenario.toml --request '/api/items?page=2' -H 'x-tenant: gold' --phase brownout
  backburn explain scenario.toml --request 'POST /v2/charges' --service payments")]
pub(super) struct ExplainArgs {
    /// Scenario files or directories, merged in this order.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Method and path, as in 'POST /api/checkout/42'; GET where none is written.
    #[arg(long, env = "BACKBURN_REQUEST", value_name = "METHOD PATH")]
    request: String,
    /// A header of the request; may be given more than once.
    #[arg(
        short = 'H',
        long = "header",
        env = "BACKBURN_HEADER",
        value_delimiter = '\n',
        value_name = "NAME: VALUE"
    )]
    headers: Vec<String>,
    /// Only this phase [default: all of them].
    #[arg(long, env = "BACKBURN_PHASE", value_name = "NAME")]
    phase: Option<String>,
    /// As if it came in by this service's own port.
    #[arg(long, env = "BACKBURN_SERVICE", value_name = "NAME")]
    service: Option<String>,
    /// The client's address, for `client-ip` and `clients`.
    #[arg(long, env = "BACKBURN_CLIENT", value_name = "IP")]
    client: Option<IpAddr>,
    #[command(flatten)]
    over: args::Over,
    /// The answer as JSON on stdout.
    #[arg(long, env = "BACKBURN_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(super) fn explain(args: ExplainArgs) -> u8 {
    let source = Source { paths: args.files, sets: args.over.sets(), ..Source::default() };
    let Compiled { plan, notes, scenario } = source.read().compile(&[], None);
    let Some(plan) = plan else {
        output::say(render(&notes, &scenario.sources, output::colour()).trim_end());
        return exit::USAGE;
    };
    let answer = Question::parse(&args.request, &args.headers, args.client).and_then(|question| {
        question.explain(&plan, args.service.as_deref(), args.phase.as_deref())
    });
    match answer {
        Ok(answer) if args.json => {
            let text = serde_json::to_string_pretty(&answer).unwrap_or_default();
            output::data(&format!("{text}\n"));
            0
        }
        Ok(answer) => {
            output::data(&told(&args.request, &answer, plan.is_phased()));
            0
        }
        Err(why) => {
            output::say(&format!("error: {why}"));
            exit::USAGE
        }
    }
}

fn told(request: &str, answer: &Explanation, phased: bool) -> String {
    let mut out = format!(
        "{request}\n  route    {} of service {} (path as compared: {})\n",
        answer.route, answer.service, answer.canonical_path
    );
    if let Some(what) = &answer.operation {
        let _ = writeln!(out, "  operation  {what}");
    }
    for other in &answer.other_routes {
        let _ = writeln!(out, "  not      {}: {}", other.name, other.why_not);
    }
    if !answer.slos.is_empty() {
        let _ = writeln!(out, "  counts   in {}", answer.slos.join(", "));
    }
    for other in &answer.other_slos {
        let _ = writeln!(out, "  not      in {}: {}", other.name, other.why_not);
    }
    if let Some(why) = &answer.spared {
        let _ = writeln!(out, "  faults   none can hit it: {why}");
        return out;
    }
    for phase in &answer.phases {
        in_phase(&mut out, phase, phased);
    }
    out
}

fn in_phase(out: &mut String, phase: &InPhase, phased: bool) {
    if phased {
        let _ = writeln!(out, "  phase    {}", phase.phase);
    }
    if phase.faults.is_empty() {
        let _ = writeln!(out, "    faults   none");
    }
    for fault in &phase.faults {
        let but = if fault.but.is_empty() {
            String::new()
        } else {
            format!(" ({})", fault.but.join("; "))
        };
        let does = fault.does.join(" and ");
        let _ = writeln!(out, "    fault    {}: hits {}{but}: {does}", fault.name, fault.who);
    }
    if let Some(any) = phase.any.filter(|_| phase.faults.len() > 1) {
        let _ = writeln!(out, "    any      {} of such requests are hit", words::budget_share(any));
    }
    for other in &phase.other_faults {
        let _ = writeln!(out, "    not      {}: {}", other.name, other.why_not);
    }
}
