//! What to write so that a terminal shows the block below everything that was said. Pure: bytes
//! out.

use std::fmt::Write as _;

/// Knows what of the block stands on the terminal.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// The width of each line drawn; the cursor stands at the beginning of the line below them.
    drawn: Vec<usize>,
}

impl Frame {
    /// What was drawn stays where it is; the next block starts below.
    pub(super) fn forget(&mut self) {
        self.drawn.clear();
    }

    /// First what was said, in the place of the old block, then the new block. `columns`: the
    /// terminal's width now; `width` measures a line.
    ///
    /// One write, over the old lines instead of after wiping them: nothing flickers. Lines are
    /// drawn with wrapping off, so that one the terminal thinks wider than we do is cut and does
    /// not shift the block.
    pub(super) fn draw(
        &mut self,
        said: &str,
        block: &[String],
        columns: usize,
        width: impl Fn(&str) -> usize,
    ) -> String {
        let mut out = String::new();
        // A terminal that has become narrower has broken the old lines.
        let rows: usize =
            self.drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
        if rows > 0 {
            let _ = write!(out, "\x1b[{rows}A\r");
        }
        if !said.is_empty() {
            if rows > 0 {
                out.push_str("\x1b[J");
            }
            out.push_str(said);
            if !said.ends_with('\n') {
                out.push('\n');
            }
        }
        if !block.is_empty() {
            out.push_str("\x1b[?7l");
            for line in block {
                out.push_str(line);
                // At the edge there is nothing left to clear, but for the last character itself.
                if width(line) < columns {
                    out.push_str("\x1b[K");
                }
                out.push('\n');
            }
            out.push_str("\x1b[?7h");
        }
        if rows > 0 {
            // What is left of an old block that was longer.
            out.push_str("\x1b[J");
        }
        // With wrapping off, none took more than its row.
        self.drawn = block.iter().map(|line| width(line).min(columns)).collect();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of a terminal as the frame uses, with unlimited lines above.
    struct Terminal {
        columns: usize,
        lines: Vec<String>,
        row: usize,
        column: usize,
        wrap: bool,
    }

    impl Terminal {
        fn new(columns: usize) -> Self {
            Self { columns, lines: vec![String::new()], row: 0, column: 0, wrap: true }
        }

        fn put(&mut self, c: char) {
            if self.column == self.columns {
                self.newline();
            }
            let mut line: Vec<char> = self.lines[self.row].chars().collect();
            line.resize(line.len().max(self.column + 1), ' ');
            line[self.column] = c;
            self.lines[self.row] = line.into_iter().collect();
            self.column += 1;
            if !self.wrap {
                // It stays on the last column, and what clears the rest of the line clears that.
                self.column = self.column.min(self.columns - 1);
            }
        }

        fn newline(&mut self) {
            (self.row, self.column) = (self.row + 1, 0);
            if self.row == self.lines.len() {
                self.lines.push(String::new());
            }
        }

        fn write(&mut self, text: &str) {
            let mut letters = text.chars();
            while let Some(c) = letters.next() {
                match c {
                    '\n' => self.newline(),
                    '\r' => self.column = 0,
                    '\x1b' => {
                        assert_eq!(letters.next(), Some('['));
                        let mut number = String::new();
                        let verb = loop {
                            match letters.next().unwrap() {
                                c @ ('0'..='9' | '?') => number.push(c),
                                verb => break verb,
                            }
                        };
                        match (number.as_str(), verb) {
                            (n, 'A') => self.row -= n.parse::<usize>().unwrap(),
                            ("", 'K') => self.cut(),
                            ("", 'J') => {
                                self.cut();
                                self.lines.truncate(self.row + 1);
                            }
                            ("?7", 'l') => self.wrap = false,
                            ("?7", 'h') => self.wrap = true,
                            other => panic!("{other:?}"),
                        }
                    }
                    c => self.put(c),
                }
            }
        }

        fn cut(&mut self) {
            self.lines[self.row] = self.lines[self.row].chars().take(self.column).collect();
        }

        fn text(&self) -> String {
            self.lines.join("\n")
        }
    }

    fn block(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    fn chars(text: &str) -> usize {
        text.chars().count()
    }

    #[test]
    fn what_is_said_goes_above_and_the_block_leaves_nothing() {
        let (mut terminal, mut frame) = (Terminal::new(10), Frame::default());
        let mut draw = |terminal: &mut Terminal, said: &str, lines: &[&str]| {
            let text = frame.draw(said, &block(lines), 10, chars);
            terminal.write(&text);
        };
        draw(&mut terminal, "hello\n", &["block one", "0123456789", "x"]);
        assert_eq!(terminal.text(), "hello\nblock one\n0123456789\nx\n");
        draw(&mut terminal, "", &["block two", "y"]);
        assert_eq!(terminal.text(), "hello\nblock two\ny\n");
        // Longer than the terminal is wide, and without an end.
        draw(&mut terminal, "a longer line", &["block three is cut", "z"]);
        assert_eq!(terminal.text(), "hello\na longer l\nine\nblock thrt\nz\n");
        draw(&mut terminal, "bye\n", &[]);
        assert_eq!(terminal.text(), "hello\na longer l\nine\nbye\n");
        assert!(terminal.wrap);
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_lines() {
        let (mut terminal, mut frame) = (Terminal::new(20), Frame::default());
        let long = "0123456789abcdefghij";
        terminal.write(&frame.draw("said\n", &block(&[long, "short"]), 20, chars));
        // The terminal reflows: the first line takes two.
        terminal.columns = 10;
        terminal.lines =
            ["said", "0123456789", "abcdefghij", "short", ""].map(str::to_owned).into();
        terminal.row = 4;
        terminal.write(&frame.draw("", &block(&["new"]), 10, chars));
        assert_eq!(terminal.text(), "said\nnew\n");
    }

    #[test]
    fn forgotten_is_left_alone() {
        let (mut terminal, mut frame) = (Terminal::new(20), Frame::default());
        terminal.write(&frame.draw("", &block(&["old"]), 20, chars));
        terminal.write("$ fg\n");
        frame.forget();
        terminal.write(&frame.draw("", &block(&["new"]), 20, chars));
        assert_eq!(terminal.text(), "old\n$ fg\nnew\n");
    }

    #[test]
    fn without_a_block_it_is_a_pipe() {
        let mut frame = Frame::default();
        assert_eq!(frame.draw("one\ntwo\n", &[], 80, chars), "one\ntwo\n");
        assert_eq!(frame.draw("", &[], 80, chars), "");
    }

    proptest::proptest! {
        #[test]
        fn every_word_stays_and_the_last_block_ends_it(
            steps in proptest::collection::vec(
                (
                    proptest::option::of("[a-z]{1,12}"),
                    proptest::collection::vec("[A-Z]{0,14}", 0..6),
                ),
                1..20,
            ),
        ) {
            let (mut terminal, mut frame) = (Terminal::new(14), Frame::default());
            let (mut said, mut last) = (Vec::new(), Vec::new());
            for (text, block) in steps {
                let text = text.map(|text| format!("{text}\n")).unwrap_or_default();
                terminal.write(&frame.draw(&text, &block, 14, chars));
                said.push(text);
                last = block.into_iter().map(|line| line + "\n").collect();
            }
            proptest::prop_assert_eq!(terminal.text(), said.concat() + &last.concat());
        }
    }
}
