//! The meter's faults: what each asks for and what it got, in the running phase.

use super::health::FEWEST;
use super::line::{Canvas, Line, Tone, elide, table};
use super::meter::pick;
use super::view::{Fault, View};
use super::words::{self, clean, named, thousands};

/// A line each, at most `room`: the active ones first, the rest counted.
pub(super) fn some_faults(view: &View, canvas: &Canvas, room: usize) -> Vec<Line> {
    let (shown, hidden) = pick(&view.faults, room, |fault| fault.active);
    let rows = shown.iter().map(|fault| fault_row(fault, view, canvas)).collect();
    let mut lines = table(rows, &[0, 0, 2, 0, 0, 3, 1], canvas.columns);
    if !hidden.is_empty() {
        let active = hidden.iter().filter(|fault| fault.active).count();
        let active = if active == 0 { "none".to_owned() } else { thousands(active as u64) };
        lines.push(Line::new().add(
            Tone::Faint,
            format!(
                "  {} and {} more faults, {active} of them active",
                canvas.mark("…", "..."),
                hidden.len()
            ),
        ));
    }
    lines.truncate(room);
    lines
}

fn fault_row(fault: &Fault, view: &View, canvas: &Canvas) -> Vec<Line> {
    let name = elide(clean(&fault.name), canvas.columns / 3, canvas);
    let on = if view.has_several_services() {
        format!("on {}", clean(&fault.services.join(" and ")))
    } else {
        String::new()
    };
    if !fault.active {
        let hit = match fault.drill.hit {
            0 => String::new(),
            hit => format!("hit {} before", words::count(hit, "request")),
        };
        return [format!("{} off", canvas.mark("·", "-")), name, on, String::new(), hit]
            .map(|text| Line::new().add(Tone::Faint, text))
            .into();
    }
    let hits = fault.phase;
    let applied = match hits.eligible {
        0 => "no request yet".to_owned(),
        few @ 1..FEWEST => format!("hit {} of {few}", thousands(hits.hit)),
        of => format!("applied {}", words::part_share(hits.hit, of).unwrap_or_default()),
    };
    let counts = if hits.eligible < FEWEST {
        String::new()
    } else {
        format!("{} of {} requests", thousands(hits.hit), thousands(hits.eligible))
    };
    let skipped = named(&fault.skipped);
    let skipped = if skipped.is_empty() { skipped } else { format!("let through: {skipped}") };
    let now = match fault.in_burst {
        Some(false) => Line::new().add(Tone::Faint, format!("{} CALM", canvas.mark("·", "-"))),
        _ => Line::new().add(Tone::Warn, format!("{} INJECTING", canvas.mark("►", ">"))),
    };
    vec![
        now,
        Line::of(name),
        Line::of(on),
        Line::of(format!("asked {}", asked(fault))),
        Line::new().add(Tone::Strong, applied),
        Line::of(counts),
        Line::new().add(Tone::Warn, skipped),
    ]
}

/// In the scenario's words, or, for a share, what it is at this moment.
fn asked(fault: &Fault) -> String {
    match fault.asked_ratio {
        Some(ratio) if fault.who.ends_with('%') => words::objective(ratio),
        _ => clean(&fault.who),
    }
}
