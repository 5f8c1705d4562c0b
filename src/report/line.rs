//! A line of text that knows its width on a terminal, and what it is drawn on.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Blanks between two columns of a table.
const GAP: usize = 2;

/// What text is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    /// No line is wider.
    pub columns: usize,
    /// Not more lines than this, where there is a limit.
    pub rows: Option<usize>,
    /// ANSI colours; a word or a shape always says the same.
    pub colour: bool,
    /// False: ASCII only.
    pub unicode: bool,
}

impl Canvas {
    /// 80 columns of uncoloured ASCII without an end: what any pipe takes.
    pub const PLAIN: Self = Self { columns: 80, rows: None, colour: false, unicode: false };

    pub(super) fn mark(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }
}

/// How a word is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// What the eye should find.
    Strong,
    /// What it may skip.
    Faint,
    Good,
    Warn,
    Bad,
}

impl Tone {
    fn sgr(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[1;33m",
            Self::Bad => "\x1b[1;31m",
        }
    }
}

/// Words in a row, each with its tone.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Vec<(Tone, String)>);

impl Line {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn of(text: impl Into<String>) -> Self {
        Self::new().add(Tone::Plain, text)
    }

    pub(super) fn add(mut self, tone: Tone, text: impl Into<String>) -> Self {
        let text = text.into();
        match self.0.last_mut() {
            Some((last, words)) if *last == tone => words.push_str(&text),
            _ => self.0.push((tone, text)),
        }
        self
    }

    pub(super) fn plain(self, text: impl Into<String>) -> Self {
        self.add(Tone::Plain, text)
    }

    pub(super) fn join(self, other: Self) -> Self {
        other.0.into_iter().fold(self, |line, (tone, text)| line.add(tone, text))
    }

    pub(super) fn faint(mut self) -> Self {
        for (tone, _) in &mut self.0 {
            *tone = Tone::Faint;
        }
        self
    }

    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    /// Filled up with blanks to `columns`.
    pub(super) fn pad(self, columns: usize) -> Self {
        let missing = columns.saturating_sub(self.width());
        self.plain(" ".repeat(missing))
    }

    /// Not wider than the canvas, with a mark where something was cut off, and in its colours.
    pub(super) fn paint(&self, canvas: &Canvas) -> String {
        if !canvas.unicode && self.0.iter().any(|(_, text)| !text.is_ascii()) {
            let ascii = |c: char| match c {
                '→' => '>',
                c if c.is_ascii() => c,
                _ => '?',
            };
            let spans =
                self.0.iter().map(|(tone, text)| (*tone, text.chars().map(ascii).collect()));
            return Self(spans.collect()).paint(canvas);
        }
        let whole = self.width() <= canvas.columns;
        let cut = if whole { "" } else { canvas.mark("…", "~") };
        let mut room = canvas.columns.saturating_sub(width(cut));
        let mut out = String::new();
        for (tone, text) in &self.0 {
            let fits = head(text, room);
            room -= width(fits);
            if fits.is_empty() {
                continue;
            }
            if canvas.colour && *tone != Tone::Plain {
                out.push_str(tone.sgr());
                out.push_str(fits);
                out.push_str("\x1b[0m");
            } else {
                out.push_str(fits);
            }
            if fits.len() < text.len() {
                break;
            }
        }
        if !whole && canvas.columns > 0 {
            out.push_str(cut);
        }
        if canvas.colour { out } else { out.trim_end().to_owned() }
    }
}

/// The width of a painted line, colours aside.
pub fn width_shown(painted: &str) -> usize {
    let mut plain = String::with_capacity(painted.len());
    let mut rest = painted;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    width(&plain)
}

/// The width of text on a terminal.
pub(super) fn width(text: &str) -> usize {
    // By character: a head of the text is then never wider than the text.
    text.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>().max(text.width())
}

/// Not wider than `columns`, with a mark where something was cut off.
pub(super) fn elide(text: String, columns: usize, canvas: &Canvas) -> String {
    if width(&text) <= columns {
        return text;
    }
    let mark = canvas.mark("…", "~");
    format!("{}{mark}", head(&text, columns.saturating_sub(1)))
}

/// The longest beginning that is not wider than `room`.
fn head(text: &str, room: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > room {
            return &text[..at];
        }
    }
    text
}

/// Breaks a sentence into lines of `columns`, words whole where they fit, the later lines indented.
/// `first` stands before it.
pub(super) fn wrap(first: Line, text: &str, columns: usize, indent: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = first;
    // A beginning that ends in a blank brings its own.
    let mut fresh = line.0.last().is_none_or(|(_, text)| text.is_empty() || text.ends_with(' '));
    for word in text.split_whitespace() {
        let blank = usize::from(!fresh);
        if line.width() + blank + width(word) > columns && !fresh {
            lines.push(line);
            line = Line::of(" ".repeat(indent.min(columns / 2)));
            fresh = true;
        }
        if !fresh {
            line = line.plain(" ");
        }
        line = line.plain(word);
        fresh = false;
    }
    lines.push(line);
    lines
}

/// Joins what fits: the parts in order, those of the highest `rank` left out first. Rank 0 stays
/// (and is cut when it must be).
pub(super) fn fit(parts: Vec<(u8, Line)>, gap: &str, columns: usize) -> Line {
    let mut parts = parts;
    loop {
        let gaps = width(gap) * parts.len().saturating_sub(1);
        let whole: usize = parts.iter().map(|(_, line)| line.width()).sum::<usize>() + gaps;
        let least = parts.iter().map(|(rank, _)| *rank).max().unwrap_or(0);
        if whole <= columns || least == 0 {
            break;
        }
        let at = parts.iter().rposition(|(rank, _)| *rank == least);
        parts.remove(at.unwrap_or(0));
    }
    let mut out = Line::new();
    for (at, (_, line)) in parts.into_iter().enumerate() {
        if at > 0 {
            out = out.plain(gap);
        }
        out = out.join(line);
    }
    out
}

/// Lines of cells in columns of the same width; columns of the highest rank go when they do not
/// all fit. The last cell of a line is not filled up.
pub(super) fn table(rows: Vec<Vec<Line>>, ranks: &[u8], columns: usize) -> Vec<Line> {
    let widths = widths(&rows);
    let mut kept: Vec<usize> = (0..widths.len()).filter(|at| widths[*at] > 0).collect();
    loop {
        let least = kept.iter().map(|at| ranks[*at]).max().unwrap_or(0);
        if sum(kept.iter().map(|at| widths[*at])) <= columns || least == 0 {
            break;
        }
        kept.retain(|at| ranks[*at] != least);
    }
    let lines = rows.into_iter().map(|row| {
        let mut line = Line::new();
        let last = kept.iter().rposition(|at| row.get(*at).is_some_and(|cell| cell.width() > 0));
        for (place, at) in kept.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
            let cell = row.get(*at).cloned().unwrap_or_default();
            let end = Some(place) == last;
            line = line.join(if end { cell } else { cell.pad(widths[*at] + GAP) });
        }
        line
    });
    lines.collect()
}

/// How wide a table is with all its columns.
pub(super) fn table_width(rows: &[Vec<Line>]) -> usize {
    sum(widths(rows).into_iter().filter(|width| *width > 0))
}

fn sum(widths: impl Iterator<Item = usize>) -> usize {
    widths.map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

fn widths(rows: &[Vec<Line>]) -> Vec<usize> {
    let most = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |at| rows.iter().filter_map(|row| row.get(at)).map(Line::width).max().unwrap_or(0);
    (0..most).map(wide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANVAS: Canvas = Canvas { columns: 10, rows: None, colour: false, unicode: true };

    #[test]
    fn cut_at_the_edge() {
        assert_eq!(Line::of("0123456789").paint(&CANVAS), "0123456789");
        assert_eq!(Line::of("01234").plain("567890").paint(&CANVAS), "012345678…");
        // A wide character that would stick out goes whole.
        assert_eq!(Line::of("日本日本日本").paint(&CANVAS), "日本日本…");
        let ascii = Canvas { unicode: false, ..CANVAS };
        assert_eq!(Line::of("Ünïcode is wide").paint(&ascii), "?n?code i~");
        let colour = Canvas { colour: true, ..CANVAS };
        let bold = Line::new().add(Tone::Strong, "x").plain("日").paint(&colour);
        assert_eq!(bold, "\x1b[1mx\x1b[0m日");
        assert_eq!(width_shown(&bold), 3);
        for columns in 0..3 {
            let line = Line::of("日本").paint(&Canvas { columns, ..CANVAS });
            assert!(width(&line) <= columns, "{line}");
        }
    }

    #[test]
    fn wrapped_and_fitted() {
        let lines = wrap(Line::of("A: "), "one two three", 8, 2);
        let text: Vec<String> = lines.iter().map(|line| line.paint(&CANVAS)).collect();
        assert_eq!(text, ["A: one", "  two", "  three"]);
        let parts = || vec![(0, Line::of("aa")), (2, Line::of("bb")), (1, Line::of("cc"))];
        assert_eq!(fit(parts(), "  ", 10).paint(&CANVAS), "aa  bb  cc");
        assert_eq!(fit(parts(), "  ", 9).paint(&CANVAS), "aa  cc");
        assert_eq!(fit(parts(), "  ", 3).paint(&CANVAS), "aa");
        assert_eq!(elide("0123456789".to_owned(), 4, &CANVAS), "012…");
        let row = |cells: [&str; 3]| cells.map(Line::of).to_vec();
        let rows = || vec![row(["a", "bb", "c"]), row(["aaa", "", ""])];
        let text = |columns| -> Vec<String> {
            let lines = table(rows(), &[0, 2, 1], columns);
            lines.iter().map(|line| line.paint(&CANVAS)).collect()
        };
        assert_eq!(table_width(&rows()), 10);
        assert_eq!(text(10), ["a    bb  c", "aaa"]);
        assert_eq!(text(9), ["a    c", "aaa"]);
    }
}
