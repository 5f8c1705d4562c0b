//! The live meter: the drill as a block of lines that fits the terminal it is drawn on, for a
//! person on game day; and as one line for pipes and CI logs.
//!
//! A sentence comes first, the figures behind it after. Nothing is told by colour alone.

use super::faults::some_faults;
use super::go_on::GoOn;
use super::health::{FEWEST, Health, causes, elsewhere, sentence};
use super::line::{Canvas, Line, Tone, elide, fit, table, table_width, wrap};
use super::told;
use super::view::{Events, Slo, View};
use super::words::{self, clean, thousands};

/// Cells of the bar that splits bad events by cause.
const BAR: usize = 8;

/// The block. No line is wider than the canvas, and there are not more lines than it has rows.
pub fn render(view: &View, canvas: &Canvas) -> Vec<String> {
    let lines = layout(view, canvas);
    let rows = canvas.rows.unwrap_or(usize::MAX);
    lines.iter().take(rows).map(|line| line.paint(canvas)).collect()
}

/// The state and where the drill is: what somebody who has just changed it wants to see.
pub fn course(view: &View, canvas: &Canvas) -> Vec<String> {
    course_lines(view, canvas).iter().map(|line| line.paint(canvas)).collect()
}

/// One line without colour: what pipes and logs get every few seconds.
pub fn plain(view: &View) -> String {
    let mut parts = vec![view.state.clone()];
    if let Some(why) = &view.pass_through {
        parts[0].push_str(&format!(" PASS-THROUGH ({why})"));
    } else if view.over {
        parts[0].push_str(" (injection is over)");
    }
    if let Some(phase) = phase(view) {
        parts[0].push_str(&format!(" {phase}"));
    }
    let GoOn { question, answer, reason, .. } = &view.go_on;
    if !answer.is_empty() {
        let why = if answer == "yes" { String::new() } else { format!(" ({reason})") };
        parts.push(format!("{question} {answer}{why}").replace('_', " "));
    }
    parts.push(format!(
        "{}/s, {} held",
        words::rate(view.requests_per_second),
        thousands(view.held)
    ));
    if view.scenario_wrong {
        parts.push(format!("reload REJECTED, generation {} is live", view.generation));
    }
    for slo in &view.slos {
        let Some(good) = words::good_share(slo.good, slo.total) else {
            parts.push(format!("{} no traffic", slo.name));
            continue;
        };
        let now = match words::good_share(slo.now.good(), slo.now.events) {
            Some(now) => format!("now {now}"),
            None => "now no traffic".to_owned(),
        };
        let burn = slo
            .last_minute
            .burn_rate
            .map_or(String::new(), |rate| format!(", burn {} over 1m", words::burn(rate)));
        let bad = match slo.bad {
            0 => "none bad".to_owned(),
            bad => {
                let causes = causes([slo.injected, slo.masked, slo.organic]);
                format!("{} bad: {causes}", thousands(bad))
            }
        };
        // What nobody would otherwise see in a log.
        let told = ["PAGE", "TICKET", "GONE", "LOW"].contains(&slo.light.word.as_str());
        let light = if told { format!(" {}", slo.light.word) } else { String::new() };
        parts.push(format!("{}{light} {now}{burn}, drill {good}, {bad}", slo.name));
    }
    clean(&parts.join(" | "))
}

/// Blocks of lines, richest first; the first that fits is taken.
fn layout(view: &View, canvas: &Canvas) -> Vec<Line> {
    let rows = canvas.rows.unwrap_or(usize::MAX);
    let head = head(view, canvas);
    let about = about(view, canvas);
    let alerts = alerts(view, canvas);
    let slos = slos(view, canvas);
    let faults = some_faults(view, canvas, usize::MAX);
    let more = more(view);
    let legend = legend(view, canvas);
    let join = |blocks: &[&[Line]], gap: bool| {
        let mut lines: Vec<Line> = Vec::new();
        for block in blocks.iter().filter(|block| !block.is_empty()) {
            if gap && !lines.is_empty() {
                lines.push(Line::new());
            }
            lines.extend_from_slice(block);
        }
        lines
    };
    let top = [head.as_slice(), &about].concat();
    let full = slos.concat();
    let answer = go_on(view, canvas);
    let roomy = [answer.as_slice(), &alerts].concat();
    let whole = [head.as_slice(), &answer, &alerts].concat();
    // The first line says it; the rest why.
    let fixed = [head.as_slice(), &answer[..answer.len().min(1)], &alerts].concat();
    let rich = [
        join(&[&top, &roomy, &full, &faults, &more, &legend], true),
        join(&[&top, &roomy, &full, &faults, &more], true),
        join(&[&whole, &full, &faults, &more], true),
        join(&[&whole, &full, &faults, &more], false),
        join(&[&whole, &full, &faults], false),
        join(&[&whole, &brief(view, canvas, usize::MAX), &faults, &more], false),
        join(&[&fixed, &brief(view, canvas, usize::MAX), &faults, &more], false),
        join(&[&fixed, &brief(view, canvas, usize::MAX), &faults], false),
    ];
    if let Some(lines) = rich.into_iter().find(|lines| lines.len() <= rows) {
        return lines;
    }
    // Too much for any terminal this small: the worst SLOs and the active faults, the rest counted.
    let room = rows.saturating_sub(fixed.len());
    let want = (view.slos.len(), view.faults.len());
    let half = room.div_ceil(2);
    let for_slos = want.0.min(half.max(room.saturating_sub(want.1)));
    let brief = brief(view, canvas, for_slos);
    let faults = some_faults(view, canvas, room.saturating_sub(brief.len()));
    [fixed, brief, faults].concat()
}

/// The state, unmistakably, where the drill is, and how much traffic there is.
fn head(view: &View, canvas: &Canvas) -> Vec<Line> {
    let mut lines = course_lines(view, canvas);
    lines.push(traffic(view, canvas));
    lines
}

fn course_lines(view: &View, canvas: &Canvas) -> Vec<Line> {
    let (mark, tone, word, remedy) = standing(view, canvas);
    let mut first = Line::new().add(tone, format!("{mark} {word}"));
    if let Some(halt) = view.halt.as_ref().filter(|_| view.state == "halted") {
        let (by, reason) = (clean(&halt.by), clean(&halt.reason));
        let colon = if reason.is_empty() { "" } else { ": " };
        first = first.add(tone, format!(" by {by}{colon}{reason}"));
    }
    let mut lines = Vec::new();
    let place = phase(view).map(|place| Line::new().add(Tone::Strong, clean(&place)));
    match place {
        Some(place) if first.width() + 2 + place.width() <= canvas.columns => {
            lines.push(first.plain("  ").join(place));
        }
        place => {
            lines.push(first);
            lines.extend(place.map(|place| Line::of("  ").join(place)));
        }
    }
    if let Some(remedy) = remedy {
        lines.extend(wrap(Line::of("  "), &clean(&remedy), canvas.columns, 2));
    }
    lines
}

/// Mark, tone and word of the state, and what can be done about it.
fn standing(view: &View, canvas: &Canvas) -> (&'static str, Tone, String, Option<String>) {
    let nothing = |then: &str| Some(format!("Nothing is injected; {then}."));
    match view.state.as_str() {
        "halted" => (
            canvas.mark("■", "#"),
            Tone::Bad,
            "HALTED".to_owned(),
            nothing("`backburn rearm --reason TEXT`, then `backburn resume`, goes on"),
        ),
        "paused" => (
            canvas.mark("‖", "="),
            Tone::Warn,
            "PAUSED".to_owned(),
            Some(
                "Nothing is injected and the drill clock stands; `backburn resume` goes on."
                    .to_owned(),
            ),
        ),
        "waiting" => (
            canvas.mark("◌", "."),
            Tone::Warn,
            "WAITING".to_owned(),
            nothing("`backburn start` begins"),
        ),
        "finished" => (canvas.mark("□", "-"), Tone::Strong, "FINISHED".to_owned(), None),
        "running" if view.pass_through.is_some() => {
            let why = view.pass_through.as_deref().unwrap_or_default();
            (
                canvas.mark("→", ">"),
                Tone::Warn,
                "PASS-THROUGH".to_owned(),
                Some(format!("Nothing is ever injected: {why}.")),
            )
        }
        "running" if view.over => (
            canvas.mark("□", "-"),
            Tone::Strong,
            "OVER".to_owned(),
            nothing("the drill is over, and recording goes on until `backburn finish`"),
        ),
        "running" => (canvas.mark("►", ">"), Tone::Good, "RUNNING".to_owned(), None),
        other => (canvas.mark("·", "?"), Tone::Warn, clean(other).to_uppercase(), None),
    }
}

/// Where the drill is and what comes next: `brownout 2/3  0:41 left  next: recovery`.
fn phase(view: &View) -> Option<String> {
    if view.state == "finished" {
        return None;
    }
    let Some(phase) = &view.phase else {
        if view.state == "waiting" {
            return view.next_phase.as_ref().map(|next| format!("first: {next}"));
        }
        let left = words::clock(view.ends_in_seconds?);
        return Some(match view.state.as_str() {
            "running" => format!("injection ends in {left}"),
            _ => format!("{left} left"),
        });
    };
    let mut text = format!("{} {}/{}", phase.name, phase.index, phase.of);
    match (phase.remaining_seconds, phase.until_next) {
        (Some(left), false) => text.push_str(&format!("  {} left", words::clock(left))),
        (Some(left), true) => {
            text.push_str(&format!("  {} left, or `backburn next`", words::clock(left)));
        }
        (None, _) => text.push_str("  waits for `backburn next`"),
    }
    if let Some(ramp) = phase.ramp_ratio.filter(|ramp| ramp.is_finite()) {
        text.push_str(&format!("  ramp {:.0}% up", (ramp * 100.0).clamp(0.0, 99.0)));
    }
    match &view.next_phase {
        Some(next) => text.push_str(&format!("  next: {next}")),
        None => text.push_str("  last phase"),
    }
    Some(text)
}

fn traffic(view: &View, canvas: &Canvas) -> Line {
    let rate = if view.requests_per_second > 0.0 {
        format!("{} requests/s", words::rate(view.requests_per_second))
    } else {
        "no traffic".to_owned()
    };
    let held = if view.held > 0 {
        Line::new().add(Tone::Warn, format!("{} held by faults", thousands(view.held)))
    } else {
        Line::of("none held")
    };
    let refused: u64 = view.refused.values().fold(0, |sum, count| sum.saturating_add(*count));
    let mut parts = vec![
        (0, Line::of(format!("  {rate}"))),
        (0, Line::of(format!("{} so far", words::count(view.requests, "request")))),
        (0, held),
        (2, Line::of(format!("{} under way", thousands(view.active.max(0).unsigned_abs())))),
    ];
    if refused > 0 {
        let line = Line::new().add(Tone::Warn, format!("{} refused", thousands(refused)));
        parts.push((1, line));
    }
    parts.push((3, Line::new().add(Tone::Faint, format!("seed {}", view.seed))));
    fit(parts, "  ", canvas.columns)
}

/// What is being drilled, and the question it is to answer.
fn about(view: &View, canvas: &Canvas) -> Vec<Line> {
    let (name, question) = (&view.name, view.hypothesis.as_deref().unwrap_or_default());
    let colon = if name.is_empty() || question.is_empty() { "" } else { ": " };
    let text = clean(&format!("{name}{colon}{question}"));
    let lines = wrap(Line::of("  "), &text, canvas.columns, 2);
    // A question that fills the terminal is to be read in the file.
    lines.into_iter().take(2).filter(|line| line.width() > 2).map(Line::faint).collect()
}

/// Is it safe to go on? The answer first.
fn go_on(view: &View, canvas: &Canvas) -> Vec<Line> {
    let answer = &view.go_on;
    let Some((lead, why)) = answer.sentence.split_once(": ") else { return Vec::new() };
    let (tone, mark) = match (answer.answer.as_str(), answer.colour.as_str()) {
        (_, "grey") => (Tone::Faint, canvas.mark("·", "-")),
        ("yes", "green") => (Tone::Good, canvas.mark("✓", "+")),
        ("yes", _) => (Tone::Warn, canvas.mark("✓", "+")),
        ("no", _) => (Tone::Bad, canvas.mark("✗", "X")),
        _ => (Tone::Warn, "?"),
    };
    let first = Line::new().add(tone, format!("{mark} {}:", clean(lead)));
    wrap(first, &clean(why), canvas.columns, 2)
}

/// What needs somebody's eyes: a rejected or held reload, pass-through.
fn alerts(view: &View, canvas: &Canvas) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut alert = |tone: Tone, word: &str, text: &str| {
        let first = Line::new().add(tone, format!("! {word} "));
        lines.extend(wrap(first, &clean(text), canvas.columns, 2));
    };
    if let Some(why) = view.pass_through.as_ref().filter(|_| view.state != "running") {
        alert(Tone::Warn, "PASS-THROUGH:", &format!("nothing is ever injected: {why}."));
    }
    if let Some(reload) = view.reload.as_ref().filter(|_| view.scenario_wrong) {
        let first = reload.errors.first().map_or("", String::as_str);
        let others = match reload.errors.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", thousands(n as u64 - 1)),
        };
        alert(
            Tone::Bad,
            "RELOAD REJECTED",
            &format!(
                "{}: {first}{others}. The old plan is still live (generation {}).",
                words::ago(reload.age_seconds),
                reload.generation
            ),
        );
    }
    if let Some(pending) = &view.pending {
        let what = if pending.widens.is_empty() {
            pending.summary.clone()
        } else {
            format!("it widens {}", pending.widens.join("; "))
        };
        alert(
            Tone::Warn,
            "RELOAD HELD:",
            &format!("{what}. The old plan is live until `backburn reload --accept`."),
        );
    }
    lines
}

/// What an SLO is called: with its services where there are several in the drill.
fn name_of(slo: &Slo, view: &View) -> String {
    let (name, goal) = (clean(&slo.name), words::objective(slo.objective));
    if view.has_several_services() {
        format!("{name} ({}, goal {goal})", clean(&slo.services.join(" and ")))
    } else {
        format!("{name} (goal {goal})")
    }
}

/// Tone, shape and word: the light's, which knows of alerts as well.
fn badge(slo: &Slo, canvas: &Canvas) -> (Tone, &'static str, String) {
    let health = Health::of(slo);
    let (tone, mark) = shape(health, canvas);
    let light = &slo.light;
    let (tone, mark) = match (light.word.as_str(), light.colour.as_str()) {
        ("PAGE", _) => (Tone::Bad, canvas.mark("✗", "X")),
        ("TICKET" | "LOW", _) => (Tone::Warn, canvas.mark("▲", "!")),
        ("SPENDING", _) => (Tone::Good, canvas.mark("▽", "v")),
        _ => (tone, mark),
    };
    let word = if light.word.is_empty() { health.word().to_owned() } else { clean(&light.word) };
    (tone, mark, word)
}

fn shape(health: Health, canvas: &Canvas) -> (Tone, &'static str) {
    match health {
        Health::NoTraffic => (Tone::Faint, canvas.mark("·", "-")),
        Health::Fine => (Tone::Good, canvas.mark("✓", "+")),
        Health::Eased => (Tone::Good, canvas.mark("▽", "v")),
        Health::Unsure => (Tone::Warn, canvas.mark("?", "?")),
        Health::Burning => (Tone::Warn, canvas.mark("▲", "!")),
        Health::Gone => (Tone::Bad, canvas.mark("✗", "X")),
    }
}

/// Each SLO: its sentence, then the last ten seconds and the drill in figures, in columns that are
/// the same for all of them.
fn slos(view: &View, canvas: &Canvas) -> Vec<Vec<Line>> {
    let mut lines = figures(view, canvas).into_iter();
    let told = view.slos.iter().map(|slo| {
        let (tone, mark, word) = badge(slo, canvas);
        let first = Line::new()
            .add(tone, format!("{mark} {word}"))
            .plain("  ")
            .plain(bar(slo.drill().causes(), canvas));
        let mut text = sentence(slo, &name_of(slo, view), &elsewhere(slo, view));
        // A halted drill injects nothing more.
        let outlook = (view.state != "halted").then(|| told::outlook(slo)).flatten();
        let late = (view.state != "finished").then(|| told::late(slo)).flatten();
        let more = [told::afford(slo, &clean(&slo.name)), outlook, told::paged(slo), late];
        for more in more.into_iter().flatten() {
            text.push(' ');
            text.push_str(&more);
        }
        let mut block = wrap(first, &text, canvas.columns, 2);
        let figures: Vec<Line> = lines.by_ref().take(2).collect();
        if slo.total > 0 {
            block.extend(figures);
        }
        block
    });
    told.collect()
}

/// Two lines for each SLO. Where there is not room for everything, out of how many events goes
/// first, then whose they were (which the sentence tells as well), then the burn rate.
fn figures(view: &View, canvas: &Canvas) -> Vec<Line> {
    let rows = |whole: bool| -> Vec<Vec<Line>> {
        let stretches =
            view.slos.iter().flat_map(|slo| [("10 s", slo.now), ("drill", slo.drill())]);
        stretches.map(|(label, seen)| row(label, seen, whole)).collect()
    };
    let whole = [rows(true), rows(false)];
    let fits = whole.iter().position(|rows| table_width(rows) <= canvas.columns).unwrap_or(0);
    let [long, short] = whole;
    table(if fits == 0 { long } else { short }, &[0, 0, 1, 0, 2], canvas.columns)
}

fn row(label: &str, seen: Events, whole: bool) -> Vec<Line> {
    let label = Line::of(format!("  {label}"));
    let Some(good) = words::good_share(seen.good(), seen.events) else {
        return vec![label, Line::of("no traffic")];
    };
    // One bad request of five is no "200 times too fast".
    let burn = seen.burn_rate.filter(|_| seen.events >= FEWEST);
    let burn = burn.map_or(String::new(), |rate| format!("burn {}", words::burn(rate)));
    let of = if whole { format!(" of {}", thousands(seen.events)) } else { String::new() };
    vec![
        label,
        Line::new().add(Tone::Strong, format!("{good} good")),
        Line::of(burn),
        Line::of(format!("{}{of} bad", thousands(seen.bad))),
        if seen.bad == 0 { Line::new() } else { Line::of(causes(seen.causes())) },
    ]
}

/// A cell of a bar: injected, masked, organic.
fn marks(canvas: &Canvas) -> [&'static str; 3] {
    if canvas.unicode { ["█", "▒", "░"] } else { ["#", "%", "."] }
}

/// Bad events by cause as a bar: whose they are at a glance. Every cause there is has a cell.
fn bar(counts: [u64; 3], canvas: &Canvas) -> String {
    let marks = marks(canvas);
    let sum: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    if sum == 0 {
        return String::new();
    }
    let mut cells = counts.map(|count| match u128::from(count) * BAR as u128 / sum {
        0 if count > 0 => 1,
        cells => cells as usize,
    });
    // What rounding left over or took too much goes to the largest.
    let largest = (0..3).max_by_key(|at| counts[*at]).unwrap_or(0);
    let used: usize = cells.iter().sum();
    cells[largest] = (cells[largest] + BAR).saturating_sub(used);
    marks.iter().zip(cells).map(|(mark, cells)| mark.repeat(cells)).collect::<String>() + " "
}

/// SLOs in one line each; when there is no room for all, the worst, and a count of the others.
fn brief(view: &View, canvas: &Canvas, room: usize) -> Vec<Line> {
    let (shown, hidden) = pick(&view.slos, room, Health::of);
    let rows = shown.iter().map(|slo| {
        let health = Health::of(slo);
        let (tone, mark, word) = badge(slo, canvas);
        let now = words::good_share(slo.now.good(), slo.now.events);
        let left = slo.time_to_exhaustion_seconds.filter(|_| health == Health::Burning);
        let burned = slo.budget_consumed.ratio.filter(|_| slo.bad > 0).map(words::budget_share);
        vec![
            Line::new().add(tone, format!("{mark} {word}")),
            Line::of(elide(clean(&slo.name), canvas.columns / 3, canvas)),
            Line::of(now.map_or("no traffic".to_owned(), |now| format!("{now} good"))),
            Line::of(
                left.map_or(String::new(), |left| format!("gone in {}", words::estimate(left))),
            ),
            Line::of(burned.map_or(String::new(), |share| format!("burned {share}"))),
            Line::of(bar(slo.drill().causes(), canvas)),
        ]
    });
    let mut lines = table(rows.collect(), &[0, 0, 0, 1, 1, 2], canvas.columns);
    if !hidden.is_empty() {
        let burning = hidden.iter().filter(|slo| Health::of(slo) >= Health::Burning).count();
        let burning = if burning == 0 { "none".to_owned() } else { thousands(burning as u64) };
        lines.push(Line::new().add(
            Tone::Faint,
            format!(
                "  {} and {} more SLOs, {burning} of them burning",
                canvas.mark("…", "..."),
                hidden.len()
            ),
        ));
    }
    lines.truncate(room);
    lines
}

/// At most `room` lines' worth: those with the highest rank, in their own order, and the rest.
pub(super) fn pick<T, R: Ord>(
    all: &[T],
    room: usize,
    rank: impl Fn(&T) -> R,
) -> (Vec<&T>, Vec<&T>) {
    if all.len() <= room {
        return (all.iter().collect(), Vec::new());
    }
    let mut order: Vec<usize> = (0..all.len()).collect();
    // Stable: among equals, those that come first.
    order.sort_by_key(|at| std::cmp::Reverse(rank(&all[*at])));
    let (shown, hidden) = order.split_at(room.saturating_sub(1).min(all.len()));
    let by_place = |ats: &[usize]| {
        let mut ats = ats.to_vec();
        ats.sort_unstable();
        ats.into_iter().map(|at| &all[at]).collect()
    };
    (by_place(shown), by_place(hidden))
}

/// What may be left out on a small terminal: retries, live changes, the last reload, notes.
fn more(view: &View) -> Vec<Line> {
    let mut lines = Vec::new();
    for route in &view.operations {
        lines.push(Line::of(format!("  retries  {}", told::retries(route))));
    }
    lines.extend(view.composites.iter().map(|composite| Line::of(told::composite(composite))));
    for change in &view.overrides {
        lines.push(Line::new().add(
            Tone::Strong,
            format!("  set      {} = {}", clean(&change.key), clean(&change.value)),
        ));
    }
    // Alerts tell of the others.
    let told = view.scenario_wrong || view.pending.is_some();
    if let Some(reload) = view.reload.as_ref().filter(|_| !told) {
        lines.push(Line::of(format!(
            "  reload   {}: {}",
            words::ago(reload.age_seconds),
            clean(&reload.summary)
        )));
    }
    let restart = view.reload.iter().flat_map(|reload| &reload.needs_restart);
    let restart: Vec<String> = restart.map(|what| clean(what)).collect();
    if !restart.is_empty() {
        let text = format!("  restart  needed for what the files say of {}", restart.join(", "));
        lines.push(Line::new().add(Tone::Warn, text));
    }
    // The latest are the ones being talked about.
    for note in view.notes.iter().rev().take(2).rev() {
        lines.push(Line::of(format!(
            "  note     {}: {}",
            words::ago(note.age_seconds),
            clean(&note.text)
        )));
    }
    lines
}

/// What the words for causes mean, for whoever sees them for the first time.
fn legend(view: &View, canvas: &Canvas) -> Vec<Line> {
    if view.slos.iter().all(|slo| slo.bad == 0) {
        return Vec::new();
    }
    let [injected, masked, organic] = marks(canvas);
    let behind = if view.has_several_services() {
        ", which includes what it made of faults in the services behind it"
    } else {
        ""
    };
    let text = format!(
        "{injected} injected: by backburn; {masked} masked: by both; {organic} organic: by the \
         service itself{behind}; at this rate: the last minute's"
    );
    wrap(Line::of("  "), &text, canvas.columns, 2).into_iter().map(Line::faint).collect()
}
