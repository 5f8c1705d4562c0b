//! OpenSLO v1 documents as `[slos]` tables, to be given beside a scenario.

use std::sync::Arc;
use std::time::Duration;

use super::{DIALECT, SHORT_WINDOW, TIER};
use crate::budget::Dialect;
use crate::diagnostic::{Diagnostic, Severity, Source, Sources, without_passwords};
use crate::exchange::document::{self, Fields, Node};
use crate::exchange::draft::{Draft, aligned, comment, quoted};
use crate::exchange::{Imported, Wrong, mistake};
use crate::units::{self, Share, show_duration};

/// Tables of `[slos]`, as text; or what is wrong.
pub fn import(name: &str, text: &str) -> Imported {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let shown = without_passwords(text).unwrap_or_else(|| text.to_owned());
    let source = Source { name: name.to_owned(), text: shown };
    let sources = Sources { files: vec![Arc::new(source)], ..Sources::default() };
    let mut draft = Draft::new(&sources);
    let mut out = String::new();
    comment(&mut out, "", &format!("Made from {name} by `backburn import openslo`."));
    comment(&mut out, "", "Give it beside a scenario: `backburn run scenario.toml THIS_FILE`.");
    match document::parse(text) {
        Ok(documents) => {
            let before = out.len();
            for document in &documents {
                if let Err(wrong) = read(document, &documents, &mut draft, &mut out) {
                    draft.notes.push(*wrong);
                }
            }
            if out.len() == before && draft.notes.is_empty() {
                let note = Diagnostic::nowhere("no SLO in it");
                draft
                    .notes
                    .push(note.hint("a document with `apiVersion: openslo/v1`, `kind: SLO`"));
            }
        }
        Err(wrong) => draft.notes.push(*wrong),
    }
    let mut notes = draft.notes;
    notes.sort_by_key(|note| (note.at, note.severity));
    let failed = notes.iter().any(|note| note.severity == Severity::Error);
    let wrong = (!failed).then(|| mistake(&alone(&out))).flatten();
    if let Some(wrong) = &wrong {
        let message = format!("what came out is no scenario: {}", wrong.message);
        notes.push(Diagnostic { hint: wrong.hint.clone(), ..Diagnostic::nowhere(message) });
    }
    let scenario = (!failed && wrong.is_none()).then_some(out);
    Imported { sources, notes, scenario }
}

/// With something to stand before.
fn alone(text: &str) -> String {
    format!("proxy.upstream = \"http://host\"\n{text}")
}

fn kind(document: &Node) -> &str {
    document.get("kind").and_then(Node::scalar).unwrap_or_default()
}

fn read(
    document: &Node,
    all: &[Node],
    draft: &mut Draft<'_>,
    out: &mut String,
) -> Result<(), Wrong> {
    let version = document.get("apiVersion").and_then(Node::scalar).unwrap_or_default();
    if !version.starts_with("openslo/v1") || version == "openslo/v1alpha" {
        let message = format!("`apiVersion` is \"{version}\"; `openslo/v1` is what is read here");
        return Err(Diagnostic::error(document.at, message).into());
    }
    match kind(document) {
        "SLO" => slo(document, all, draft, out),
        // Those are looked up where an SLO names them.
        "AlertPolicy"
        | "AlertCondition"
        | "AlertNotificationTarget"
        | "DataSource"
        | "SLI"
        | "Service" => Ok(()),
        other => {
            Err(Diagnostic::error(document.at, format!("`kind` is \"{other}\", which is none"))
                .into())
        }
    }
}

fn slo(
    document: &Node,
    all: &[Node],
    draft: &mut Draft<'_>,
    out: &mut String,
) -> Result<(), Wrong> {
    let metadata = document.get("metadata");
    let name = metadata.and_then(|metadata| metadata.get("name")).and_then(Node::scalar);
    let name = name.ok_or_else(|| Diagnostic::error(document.at, "an SLO without a name"))?;
    let spec = document
        .get("spec")
        .ok_or_else(|| Diagnostic::error(document.at, "an SLO without `spec`"))?;
    let mut fields = Fields::of(spec)?;
    let mut comments = Vec::new();
    let mut keys = Vec::new();
    let service = fields.text("service")?;
    if let Some(description) = fields.text("description")? {
        comments.push(description.to_owned());
    }
    let objectives = fields.list("objectives")?;
    let [first, more @ ..] = objectives else {
        return Err(Diagnostic::error(spec.at, "an SLO without `objectives`").into());
    };
    if let Some(other) = more.first() {
        draft.lost(&mut comments, other.at, "more than one objective", "only the first is kept");
    }
    let mut objective = Fields::of(first)?;
    let target = match (objective.text("target")?, objective.text("targetPercent")?) {
        (Some(target), _) => ratio(target),
        (None, Some(percent)) => units::share(&format!("{percent}%")).ok(),
        (None, None) => None,
    };
    let target = target.filter(|target| *target != Share::ZERO && *target != Share::ONE);
    let target = target.ok_or_else(|| {
        Diagnostic::error(first.at, "a `target` between 0 and 1, or a `targetPercent` below 100")
    })?;
    keys.push(("objective", quoted(&target.to_string())));
    let window = window(fields.list("timeWindow")?, draft, &mut comments)?;
    if let Some(window) = window {
        keys.push(("window", quoted(&show_duration(window))));
    }
    let method = fields.take("budgetingMethod");
    match method.and_then(|method| method.value.scalar()) {
        Some("Timeslices") => {
            keys.push(("budgeting", quoted("timeslices")));
            let slice = objective.text("timeSliceWindow")?.and_then(duration);
            let slice = slice.unwrap_or(Duration::from_secs(60));
            keys.push(("slice", quoted(&show_duration(slice))));
            let share = objective.text("timeSliceTarget")?.and_then(ratio).unwrap_or(Share::ONE);
            keys.push(("slice_target", quoted(&share.to_string())));
        }
        Some("RatioTimeslices") => {
            let at = method.map_or(spec.at, |method| method.value.at);
            let why = "every event counts alike here: a mean of ratios misleads";
            draft.lost(&mut comments, at, "`RatioTimeslices`", why);
        }
        _ => {}
    }
    let indicator = fields.take("indicator").or_else(|| fields.take("indicatorRef"));
    if let Some(indicator) = indicator {
        let why =
            "backburn counts the requests itself: see whether `availability` is what is meant";
        draft.told(&mut comments, indicator.key_at, "its query is not taken over", why);
    }
    let policies = fields.list("alertPolicies")?;
    let dialect = metadata.and_then(|metadata| annotation(metadata, DIALECT));
    let mut tiers = Vec::new();
    for policy in policies {
        policy_tiers(policy, all, window, draft, &mut comments, &mut tiers)?;
    }
    let known = dialect.and_then(Dialect::named).filter(|known| *known != Dialect::Custom);
    let text = draft.name(name);
    out.push('\n');
    if let Some(service) = service {
        comments.push(format!("service {service}: name its routes, or its service, here"));
    }
    for line in &comments {
        comment(out, "", line);
    }
    out.push_str(&format!("[slos.{text}]\n"));
    keys.push(("sli.availability", "{}".to_owned()));
    if let Some(known) = known {
        keys.push(("alerts", quoted(known.name())));
    }
    aligned(out, keys);
    if known.is_none() {
        for tier in tiers {
            out.push_str(&format!("[slos.{text}.alerts.tiers.{}]\n", draft.name(&tier.name)));
            let mut keys = vec![
                ("severity", quoted(tier.severity)),
                ("long", quoted(&show_duration(tier.long))),
                ("budget", quoted(&tier.budget.to_string())),
            ];
            keys.extend(tier.short.map(|short| ("short", quoted(&show_duration(short)))));
            if !tier.hold.is_zero() {
                keys.push(("for", quoted(&show_duration(tier.hold))));
            }
            aligned(out, keys);
        }
    }
    Ok(())
}

struct Tier {
    name: String,
    severity: &'static str,
    long: Duration,
    short: Option<Duration>,
    budget: Share,
    hold: Duration,
}

/// An annotation, whose key has characters that others have not.
fn annotation<'d>(metadata: &'d Node, key: &str) -> Option<&'d str> {
    let found = metadata.get("annotations")?.entries().iter().find(|entry| entry.key == key)?;
    found.value.scalar()
}

/// What stands here, or in the document that is named here.
fn named<'d>(node: &'d Node, of: &str, reference: &str, all: &'d [Node]) -> Option<&'d Node> {
    match node.get(reference).and_then(Node::scalar) {
        None => Some(node),
        Some(name) => find(all, of, name),
    }
}

/// The document of a kind and name.
fn find<'d>(all: &'d [Node], of: &str, name: &str) -> Option<&'d Node> {
    let named = |node: &&Node| {
        node.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::scalar)
            == Some(name)
    };
    all.iter().filter(|node| kind(node) == of).find(named)
}

fn policy_tiers(
    policy: &Node,
    all: &[Node],
    window: Option<Duration>,
    draft: &mut Draft<'_>,
    comments: &mut Vec<String>,
    tiers: &mut Vec<Tier>,
) -> Result<(), Wrong> {
    let Some(policy) = named(policy, "AlertPolicy", "alertPolicyRef", all) else {
        draft.lost(comments, policy.at, "an alert policy", "it is in another file");
        return Ok(());
    };
    let Some(spec) = policy.get("spec") else { return Ok(()) };
    let metadata = policy.get("metadata");
    let text = |key: &str| metadata.and_then(|metadata| annotation(metadata, key));
    for condition in spec.get("conditions").map_or(&[][..], Node::items) {
        let Some(condition) = named(condition, "AlertCondition", "conditionRef", all) else {
            draft.lost(comments, condition.at, "an alert condition", "it is in another file");
            continue;
        };
        let Some(spec) = condition.get("spec") else { continue };
        let mut fields = Fields::of(spec)?;
        let severity = fields.text("severity")?.unwrap_or("page");
        let Some(inner) = spec.get("condition") else { continue };
        let mut inner_fields = Fields::of(inner)?;
        let op = inner_fields.text("op")?.unwrap_or("gt");
        if !op.starts_with("gt") {
            let what = format!("`op: {op}`");
            draft.told(comments, inner.at, &what, "a budget burns when it is above: taken as gt");
        }
        let threshold = inner_fields.number("threshold")?;
        let long = inner_fields.text("lookbackWindow")?.and_then(duration);
        let hold = inner_fields.text("alertAfter")?.and_then(duration).unwrap_or_default();
        let of = window.unwrap_or(Duration::from_secs(28 * 86_400)).as_secs_f64();
        let budget = threshold.zip(long).and_then(|(threshold, long)| {
            let share = (threshold * long.as_secs_f64() / of * 1e9).round();
            let share = (1.0..=1e9).contains(&share).then_some(share as u32);
            share.and_then(Share::from_billionths)
        });
        let (Some(long), Some(budget)) = (long, budget) else {
            draft.lost(
                comments,
                inner.at,
                "an alert condition",
                "it is no burn rate over a window",
            );
            continue;
        };
        let metadata = policy.get("metadata").and_then(|metadata| metadata.get("name"));
        let name = text(TIER).or_else(|| metadata.and_then(Node::scalar)).unwrap_or("alert");
        tiers.push(Tier {
            name: name.to_owned(),
            severity: if severity == "page" { "page" } else { "ticket" },
            long,
            short: text(SHORT_WINDOW).and_then(|short| units::duration(short).ok()),
            budget,
            hold,
        });
    }
    Ok(())
}

fn window(
    windows: &[Node],
    draft: &mut Draft<'_>,
    comments: &mut Vec<String>,
) -> Result<Option<Duration>, Wrong> {
    let Some(first) = windows.first() else { return Ok(None) };
    let mut fields = Fields::of(first)?;
    let text = fields.text("duration")?;
    let found = text.and_then(duration).ok_or_else(|| {
        Diagnostic::error(first.at, "`duration` has to be a number and m, h, d, w, M, Q or Y")
    })?;
    if fields.boolean("isRolling")? == Some(false) {
        draft.lost(comments, first.at, "a calendar window", "windows roll here");
    }
    Ok(Some(found))
}

/// A number and one of m, h, d, w, M (30 days), Q (90 days), Y (365 days); more than none.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().ok()?;
    let day = 86_400;
    let seconds = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => day,
        'w' => 7 * day,
        'M' => 30 * day,
        'Q' => 90 * day,
        'Y' => 365 * day,
        _ => return None,
    };
    let time = Duration::from_secs(number.checked_mul(seconds)?);
    (!time.is_zero() && time <= units::LONGEST).then_some(time)
}

/// An exact decimal from 0 to 1: `0.999`.
fn ratio(text: &str) -> Option<Share> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.trim_end_matches('0');
    if digits.len() > 9 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    let part: u32 = format!("{digits:0<9}").parse().ok()?;
    Share::from_billionths(whole * 1_000_000_000 + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_and_windows() {
        let billionths = |text| ratio(text).map(Share::billionths);
        assert_eq!(billionths("0.999"), Some(999_000_000));
        assert_eq!(billionths("0.9990000000000"), Some(999_000_000));
        assert_eq!(billionths("1"), Some(1_000_000_000));
        for text in ["", ".5x", "1.1", "-0.5", "2", "0.1234567891", "1e-3", "99.9"] {
            assert_eq!(billionths(text), None, "{text}");
        }
        assert_eq!(duration("4w"), Some(Duration::from_secs(28 * 86_400)));
        for text in ["", "4", "w", "4s", "-1d", "9999999999d", "1é"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
