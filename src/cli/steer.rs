//! Steering a running drill: next, note, set, reload.

use clap::Args;
use clap::builder::FalseyValueParser;
use http::Method;
use serde_json::{Value, json};

use super::client::{ClientArgs, Refused, drill, on};
use super::{exit, output};
use crate::drill::reload::{Outcome, Report};
use crate::scenario::{Override, adjustable};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn next                       ends the running phase
  backburn next --to recovery         goes to a phase, forward or back")]
pub(super) struct NextArgs {
    #[command(flatten)]
    at: ClientArgs,
    /// The phase to go to [default: the one that follows].
    #[arg(long, env = "BACKBURN_TO", value_name = "PHASE")]
    to: Option<String>,
}

pub(super) fn next(args: &NextArgs) -> u8 {
    let body = args.to.as_ref().map_or(Value::Null, |to| json!({ "to": to }));
    drill(&args.at, "next", &body)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn note \"carts look fine, retries visible in checkout's log\"
  backburn note \"restarted the worker by hand\" --team payments --toil-minutes 5")]
pub(super) struct NoteArgs {
    #[command(flatten)]
    at: ClientArgs,
    /// What was seen.
    #[arg(value_name = "TEXT")]
    text: String,
    /// Whose note it is.
    #[arg(long, env = "BACKBURN_TEAM")]
    team: Option<String>,
    /// Work done by hand, in minutes.
    #[arg(long, env = "BACKBURN_TOIL_MINUTES", value_name = "MINUTES")]
    toil_minutes: Option<u32>,
}

pub(super) fn note(args: &NoteArgs) -> u8 {
    let body = json!({ "text": args.text, "team": args.team, "toil_minutes": args.toil_minutes });
    match on(&args.at, &Method::POST, "/api/v1/notes", &body) {
        Ok(note) if args.at.json => output::data(&format!("{note:#}\n")),
        Ok(note) => {
            output::say(&format!("noted in phase {}", note["phase"].as_str().unwrap_or_default()));
        }
        Err(refused) => return refused.tell(),
    }
    0
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backburn set faults.slow-payments.probability=25%
  backburn set slow-payments.inject.latency=800ms      the same, for short
  backburn set slow-payments --clear                   back to what the files say

What is set stays until it is cleared, its fault is removed, or a reload changes that very key.")]
pub(super) struct SetArgs {
    #[command(flatten)]
    at: ClientArgs,
    /// KEY=VALUE, or a fault's name with --clear.
    #[arg(value_name = "KEY=VALUE")]
    what: String,
    /// Takes away what was set of this fault.
    #[arg(long, env = "BACKBURN_CLEAR", value_parser = FalseyValueParser::new())]
    clear: bool,
}

pub(super) fn set(args: &SetArgs) -> u8 {
    let usage = |why: &str| {
        output::say(&format!("error: {why}"));
        exit::USAGE
    };
    let (method, fault, body) = if args.clear {
        let fault = args.what.strip_prefix("faults.").unwrap_or(&args.what);
        (Method::DELETE, fault.to_owned(), Value::Null)
    } else {
        let Ok(Override { path, value }) = args.what.parse() else {
            return usage("write it as faults.NAME.probability=5%, or NAME --clear");
        };
        match adjustable(&path) {
            Ok((fault, key)) => (Method::PATCH, fault.to_owned(), json!({ key: json_of(&value) })),
            Err(why) => return usage(&why),
        }
    };
    if !fault.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return usage(&format!("`{fault}` is not the name of a fault"));
    }
    told(&args.at, on(&args.at, &method, &format!("/api/v1/faults/{fault}/override"), &body))
}

/// A TOML value as JSON; what is neither is a string.
fn json_of(value: &str) -> Value {
    let read = toml::from_str::<toml::Table>(&format!("value = {value}"));
    let read = read.ok().and_then(|mut table| table.remove("value"));
    read.and_then(|value| serde_json::to_value(value).ok())
        .unwrap_or_else(|| Value::String(value.to_owned()))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 applied, or nothing to apply (what needs a restart is named) · 2 the scenario has mistakes, and the old plan is
still live · 3 held, because it widens what faults may do (`[safety] widening = \"hold\"`)")]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    at: ClientArgs,
    /// Also what widens what faults may do, when that was held.
    #[arg(long, env = "BACKBURN_ACCEPT", value_parser = FalseyValueParser::new())]
    accept: bool,
}

pub(super) fn reload(args: &ReloadArgs) -> u8 {
    let body = json!({ "accept": args.accept });
    told(&args.at, on(&args.at, &Method::POST, "/api/v1/reload", &body))
}

fn told(at: &ClientArgs, answer: Result<Value, Refused>) -> u8 {
    let value = match answer {
        Ok(value) => value,
        // What is wrong with the scenario is an answer, not a failure to ask.
        Err(Refused { body: Some(body), .. }) if body["result"].is_string() => body,
        Err(refused) => return refused.tell(),
    };
    if at.json {
        output::data(&format!("{value:#}\n"));
    }
    let Ok(report) = serde_json::from_value::<Report>(value) else {
        output::say("error: the answer cannot be read; is the instance of the same version?");
        return exit::NO_START;
    };
    if !at.json {
        output::say(&page(&report));
    }
    match report.result {
        Outcome::Applied | Outcome::Unchanged => 0,
        Outcome::Rejected => exit::USAGE,
        Outcome::Held => exit::INCONCLUSIVE,
    }
}

/// A report as a person reads it: first what widens.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    if !report.text.is_empty() {
        page.push_str(report.text.trim_end());
        page.push('\n');
    }
    page.push_str(&report.headline());
    let changes = &report.changes;
    // Alone, they are in the headline.
    let restart = match report.result {
        Outcome::Unchanged => &[][..],
        _ => &changes.needs_restart,
    };
    for (what, lines) in [
        ("WIDENED", &changes.widened[..]),
        ("added", &changes.added),
        ("removed", &changes.removed),
        ("changed", &changes.changed),
        ("restart", restart),
        ("cleared", &report.overrides_cleared),
    ] {
        for line in lines {
            page.push_str(&format!("\n  {what:<8} {line}"));
        }
    }
    if let Some(phase) = &report.phase_gone {
        let text = format!(
            "\n  GONE     the running phase `{phase}`: nothing is injected until `resume`, or \
             `next --to NAME` where none followed it"
        );
        page.push_str(&text);
    }
    page
}
