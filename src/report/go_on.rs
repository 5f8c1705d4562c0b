//! Is it safe to go on? One answer for the whole drill, in a word for programs and in a sentence for
//! people, from what the view has already. After the end the question is another: can it be run again?

use serde::{Deserialize, Serialize};

use super::budgets::AtTheEnd;
use super::told;
use super::view::{Slo, View};
use super::words::{self, clean, thousands};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GoOn {
    /// `start`, `go_on`, `resume` or `run_again`.
    pub question: String,
    /// `yes`, `no` or `unknown`.
    pub answer: String,
    /// Why, in a word: `within_limits`, `page`, `too_few`, …
    pub reason: String,
    /// The SLO that decides; `None`: it is about the whole drill.
    pub slo: Option<String>,
    /// `green`, `amber`, `red`, or `grey`: no data.
    pub colour: String,
    /// "Safe to go on: the rest of the plan is expected to cost pay …".
    pub sentence: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Start,
    GoOn,
    Resume,
    RunAgain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Yes,
    Unknown,
    No,
}

/// One SLO's answer. Of several the greatest counts: by answer, then by weight.
#[derive(Debug)]
struct Finding {
    answer: Answer,
    /// Which of several reasons is told.
    weight: f64,
    reason: &'static str,
    colour: &'static str,
    why: String,
}

/// Of a budget of which less is left.
const LOW: f64 = 0.25;
/// A budget that is gone sooner is no reason to say yes where nobody knows how long it goes on.
const SOON: f64 = 86_400.0;
/// A page that is so near is told of.
const NEAR: f64 = 0.5;

/// Answers for a drill as it stands.
pub fn go_on(view: &View) -> GoOn {
    let question = match view.state.as_str() {
        "finished" => Question::RunAgain,
        _ if view.over => Question::RunAgain,
        "waiting" => Question::Start,
        "paused" => Question::Resume,
        _ => Question::GoOn,
    };
    if view.halted {
        return answered(question, halted(view, question), None, "");
    }
    let several = view.slos.len() > 1;
    let found = view.slos.iter().map(|slo| {
        let finding = match question {
            Question::RunAgain => again(slo, several),
            _ => on(slo, several),
        };
        (slo, finding)
    });
    let mut found: Vec<(&Slo, Finding)> = found.collect();
    let greater = |a: &Finding, b: &Finding| {
        a.answer.cmp(&b.answer).then(a.weight.total_cmp(&b.weight)).is_gt()
    };
    let mut first = 0;
    for at in 1..found.len() {
        if greater(&found[at].1, &found[first].1) {
            first = at;
        }
    }
    if found.is_empty() {
        let why = "nothing is promised: an SLO says what a failure costs".to_owned();
        return answered(question, Finding::unknown("no_slo", "grey", why), None, "");
    }
    let (slo, finding) = found.swap_remove(first);
    if view.pass_through.is_some() && finding.answer != Answer::No {
        let why = "nothing is ever injected in this run".to_owned();
        return answered(question, Finding::yes("pass_through", 0.0, why), None, "");
    }
    let others = found.iter().filter(|(_, other)| other.answer == finding.answer).count();
    let others = match (finding.answer, others) {
        (Answer::Yes, _) | (_, 0) => String::new(),
        (Answer::No, 1) => "; another SLO says no as well".to_owned(),
        (Answer::No, n) => format!("; {n} other SLOs say no as well"),
        (Answer::Unknown, 1) => "; another SLO cannot tell either".to_owned(),
        (Answer::Unknown, n) => format!("; {n} other SLOs cannot tell either"),
    };
    answered(question, finding, Some(&slo.name), &others)
}

fn answered(question: Question, finding: Finding, slo: Option<&str>, others: &str) -> GoOn {
    let (label, safe) = match question {
        Question::Start => ("start", "safe to start"),
        Question::GoOn => ("go_on", "safe to go on"),
        Question::Resume => ("resume", "safe to resume"),
        Question::RunAgain => ("run_again", "fit to be run again"),
    };
    let (answer, lead) = match finding.answer {
        Answer::Yes => ("yes", format!("S{}", &safe[1..])),
        Answer::No => ("no", format!("Not {safe}")),
        Answer::Unknown => ("unknown", format!("Nobody can tell yet if it is {safe}")),
    };
    let lead = match (question, finding.answer) {
        (Question::RunAgain, Answer::Yes) => "It can be run again".to_owned(),
        _ => lead,
    };
    GoOn {
        question: label.to_owned(),
        answer: answer.to_owned(),
        reason: finding.reason.to_owned(),
        slo: slo.map(str::to_owned),
        colour: finding.colour.to_owned(),
        sentence: format!("{lead}: {}{others}.", finding.why),
    }
}

impl Finding {
    fn no(reason: &'static str, weight: u8, why: String) -> Self {
        Self { answer: Answer::No, weight: f64::from(weight), reason, colour: "red", why }
    }

    fn unknown(reason: &'static str, colour: &'static str, why: String) -> Self {
        Self { answer: Answer::Unknown, weight: 0.0, reason, colour, why }
    }

    fn yes(reason: &'static str, weight: f64, why: String) -> Self {
        Self { answer: Answer::Yes, weight, reason, colour: "green", why }
    }
}

fn halted(view: &View, question: Question) -> Finding {
    let halt = view.halt.clone().unwrap_or_default();
    let colon = if halt.reason.is_empty() { "" } else { ": " };
    let by = format!("it was halted by {}{colon}{}", clean(&halt.by), clean(&halt.reason));
    let why = match question {
        Question::RunAgain => format!("{by}, and nobody has lifted that"),
        _ => format!("{by}; nothing is injected until `backburn rearm`"),
    };
    Finding::no("halted", 0, why)
}

/// "the 28-day budget of pay".
fn budget(slo: &Slo) -> String {
    format!("the {} budget of {}", words::window(slo.window_seconds), clean(&slo.name))
}

fn share(ratio: f64) -> String {
    words::budget_share(ratio).replace('<', "less than ")
}

fn left_of(ratio: f64) -> String {
    words::budget_left(ratio).replace('<', "less than ")
}

fn is_gone(slo: &Slo) -> bool {
    slo.budget_consumed.ratio.is_some_and(|ratio| ratio >= 1.0)
        || slo.budget.remaining_ratio.is_some_and(|left| left <= 0.0)
}

/// Why nothing of the budget may be burned any more.
fn gone(slo: &Slo) -> String {
    let budget = budget(slo);
    match told::in_the_red(slo) {
        Some(before) => format!("nothing is left of {budget} ({before})"),
        None => format!("{budget} is gone"),
    }
}

/// Nothing was counted, or too little to tell.
fn too_little(slo: &Slo) -> Option<Finding> {
    let name = clean(&slo.name);
    if slo.total == 0 {
        let why = format!("nothing of {name} has been counted so far");
        return Some(Finding::unknown("no_traffic", "grey", why));
    }
    let needed = slo.confidence.least_events.filter(|needed| *needed > slo.total)?;
    if slo.confidence.verdict != "inconclusive" || slo.unit == "slices" {
        return None;
    }
    let why = format!(
        "{} of {name} so far, {} needed",
        words::count(slo.total, &clean(slo.event())),
        thousands(needed)
    );
    Some(Finding::unknown("too_few", "amber", why))
}

/// While there is something to go on with.
fn on(slo: &Slo, several: bool) -> Finding {
    let name = clean(&slo.name);
    let dialect = clean(&slo.alerts.dialect);
    let consumed = slo.budget_consumed.ratio.unwrap_or(0.0);
    let allowance = slo.budget.allowance_ratio;
    let firing = |severity: &str| {
        let tiers = &slo.alerts.tiers;
        tiers.iter().find(|tier| tier.state == "firing" && tier.severity == severity)
    };
    if is_gone(slo) {
        return Finding::no("budget_gone", 9, gone(slo));
    }
    if let Some(tier) = firing("page") {
        let tier = clean(&tier.name);
        let why = format!("production would be paged for {name} now, by {tier} of {dialect}");
        return Finding::no("page", 8, why);
    }
    if let Some(most) = allowance.filter(|most| consumed >= *most) {
        let (burned, most) = (share(consumed), words::objective(most));
        let why = format!("{name} has burned {burned} of its budget, and may burn {most}");
        return Finding::no("allowance_spent", 7, why);
    }
    if let Some(finding) = too_little(slo) {
        return finding;
    }
    if slo.last_minute.events == 0 && slo.unit != "slices" {
        let why = format!("{name} has had no {} for a minute", clean(slo.event()));
        return Finding::unknown("no_traffic", "grey", why);
    }
    if let Some(end) = slo.forecasts.drill.as_ref().filter(|end| end.consumed_ratio.is_finite())
        && let Some(finding) = at_the_end(slo, end)
    {
        return finding;
    }
    if let Some(page) = &slo.forecasts.page {
        let (tier, after) = (clean(&page.tier), words::estimate(page.after_seconds));
        let after = if after.starts_with("less") { after } else { format!("about {after}") };
        let why = format!("a page for {name} is to be expected in {after}: {tier} of {dialect}");
        return Finding::no("page_expected", 4, why);
    }
    let mut finding = match &slo.forecasts.drill {
        Some(end) => within_limits(slo, end, several),
        None => without_end(slo),
    };
    if finding.answer == Answer::Yes {
        if let Some(tier) = firing("ticket") {
            finding.why.push_str(&format!("; a ticket would be open ({})", clean(&tier.name)));
            finding.colour = "amber";
        }
        if slo.budget.remaining_ratio.is_some_and(|left| left < LOW) {
            finding.colour = "amber";
        }
        let pages = slo.alerts.tiers.iter().filter(|tier| tier.severity == "page");
        let near = pages.filter_map(|tier| Some((tier, tier.pressure_ratio?)));
        let nearest = near.max_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((tier, pressure)) = nearest.filter(|(_, pressure)| *pressure >= NEAR) {
            let (tier, at) = (clean(&tier.name), words::budget_share(pressure.min(0.9994)));
            finding.why.push_str(&format!("; {tier} of {dialect} is at {at} of its threshold"));
        }
    }
    finding
}

/// What may be burned until the end: the allowance, else all that was left before the drill.
fn limit(slo: &Slo) -> f64 {
    let before = slo.budget.consumed_before_ratio.unwrap_or(0.0);
    (1.0 - before).min(slo.budget.allowance_ratio.unwrap_or(f64::INFINITY))
}

/// What the forecast says against it.
fn at_the_end(slo: &Slo, end: &AtTheEnd) -> Option<Finding> {
    let name = clean(&slo.name);
    let before = slo.budget.consumed_before_ratio.unwrap_or(0.0);
    let [at, low, high] = [end.consumed_ratio, end.low_ratio, end.high_ratio].map(share);
    let range = if low == high { String::new() } else { format!(" ({low} to {high})") };
    if end.consumed_ratio + before >= 1.0 {
        let why = format!("{} will be gone before the drill is over", budget(slo));
        return Some(Finding::no("budget_expected", 6, why));
    }
    if let Some(most) = slo.budget.allowance_ratio {
        let most_told = words::objective(most);
        if end.consumed_ratio > most {
            let why = format!(
                "at its end the drill is expected to have burned {at} of the budget of {name}\
                 {range}, more than the {most_told} it may: it will be halted"
            );
            return Some(Finding::no("allowance_expected", 5, why));
        }
    }
    if end.high_ratio > limit(slo) {
        let most = match slo.budget.allowance_ratio {
            Some(most) => format!("{} is what it may burn", words::objective(most)),
            None => format!("{} is what was left", left_of(1.0 - before)),
        };
        let why = format!(
            "at its end the drill will have burned {low} to {high} of the budget of {name}, and {most}"
        );
        return Some(Finding::unknown("close", "amber", why));
    }
    None
}

fn within_limits(slo: &Slo, end: &AtTheEnd, several: bool) -> Finding {
    let name = clean(&slo.name);
    let consumed = slo.budget_consumed.ratio.unwrap_or(0.0);
    let rest = (end.consumed_ratio - consumed).max(0.0);
    let which = if several { ", which can afford it least," } else { "" };
    let cost = if rest > 0.0 {
        format!("{} of its budget", share(rest))
    } else {
        "nothing of its budget".to_owned()
    };
    let left = match slo.budget.allowance_ratio {
        Some(most) => {
            format!(
                "{} of the {} it may burn is left",
                share(most - consumed),
                words::objective(most)
            )
        }
        None => format!("{} of it is left", left_of(slo.budget.remaining_ratio.unwrap_or(1.0))),
    };
    let unknown = match &end.faults_elsewhere[..] {
        [] => String::new(),
        services => {
            let services = clean(&services.join(" and "));
            format!(" (what it makes of faults on {services} is not known)")
        }
    };
    let why = format!(
        "the rest of the plan is expected to cost {name}{which} {cost}{unknown}, and {left}"
    );
    Finding::yes("within_limits", end.consumed_ratio / limit(slo).max(f64::MIN_POSITIVE), why)
}

/// Nobody knows for how long it goes on.
fn without_end(slo: &Slo) -> Finding {
    let budget = budget(slo);
    match slo.time_to_exhaustion_seconds {
        Some(left) if left < SOON => {
            let left = words::estimate(left);
            let why = format!("its end is not known, and at this rate {budget} is gone in {left}");
            Finding::unknown("open_end", "amber", why)
        }
        Some(left) => {
            let why = format!("at this rate {budget} lasts for {}", words::estimate(left));
            Finding::yes("lasts", SOON / left, why)
        }
        None => {
            let left = left_of(slo.budget.remaining_ratio.unwrap_or(1.0));
            Finding::yes(
                "lasts",
                0.0,
                format!("nothing burns {budget} now, and {left} of it is left"),
            )
        }
    }
}

/// When it is over.
fn again(slo: &Slo, several: bool) -> Finding {
    let name = clean(&slo.name);
    let consumed = slo.budget_consumed.ratio.unwrap_or(0.0);
    let left = slo.budget.remaining_ratio.unwrap_or(1.0);
    if is_gone(slo) {
        return Finding::no("budget_gone", 9, gone(slo));
    }
    if let Some(finding) = too_little(slo) {
        return finding;
    }
    if slo.budget.more_drills == Some(0) {
        let (cost, left) = (share(consumed), left_of(left));
        let why = format!("it cost {name} {cost} of its budget, and {left} is left");
        return Finding::no("unaffordable", 6, why);
    }
    let which = if several { ", which can afford it least," } else { "" };
    let cost = if consumed > 0.0 { share(consumed) } else { "nothing".to_owned() };
    let of = words::window(slo.window_seconds);
    let mut why =
        format!("it cost {name}{which} {cost} of its {of} budget, and {} is left", left_of(left));
    let paged =
        slo.alerts.tiers.iter().any(|tier| tier.severity == "page" && !tier.fired.is_empty());
    if paged {
        why.push_str("; production would be paged again");
    }
    let mut finding = Finding::yes("affordable", consumed / left, why);
    if paged || left < LOW {
        finding.colour = "amber";
    }
    finding
}

#[cfg(test)]
#[path = "go_on_tests.rs"]
mod tests;
