//! The terminal of an instance that runs for a while: what is said scrolls by, the meter stands
//! below it and is redrawn in place.
//!
//! One thread owns stderr. Whoever has something to say puts it into a bounded queue and goes on:
//! a terminal that was stopped (Ctrl-S) or a pipe that nobody empties holds up that thread alone,
//! and neither a halt nor a request. What does not fit is dropped and counted.

mod frame;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::output;
use crate::report::{Canvas, View, meter};
use frame::Frame;

/// Bytes that may wait for a terminal that takes none.
const MOST: usize = 1 << 20;
/// How long an end waits for such a terminal.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rows of the terminal that stay free for what is said, where it has them.
const FREE: usize = 4;

/// The one that is open, for [`say`] and the log.
static OPEN: Mutex<Option<Arc<Shared>>> = Mutex::new(None);

/// Opened for as long as a drill runs; what was said and drawn is complete when it is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    shared: Arc<Shared>,
    /// It is a terminal, and a meter is wanted.
    meter: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    said: String,
    /// Texts that did not fit into `said`.
    lost: u64,
    /// To be drawn from now on.
    view: Option<Box<View>>,
    /// The shell has written below the block meanwhile.
    forget: bool,
    closing: bool,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn say(&self, text: &str) {
        let mut queue = lock(&self.queue);
        if queue.said.len() + text.len() < MOST {
            queue.said.push_str(text);
            if !text.ends_with('\n') {
                queue.said.push('\n');
            }
        } else {
            queue.lost += 1;
        }
        drop(queue);
        self.changed.notify_all();
    }

    fn set(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut lock(&self.queue));
        self.changed.notify_all();
    }

    /// Writes what comes until the end.
    fn serve(&self, mut stderr: impl Write) {
        let mut frame = Frame::default();
        let mut shown: Option<Box<View>> = None;
        loop {
            let mut queue = lock(&self.queue);
            while queue.said.is_empty() && queue.view.is_none() && !queue.closing {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let mut said = std::mem::take(&mut queue.said);
            let lost = std::mem::take(&mut queue.lost);
            let closing = queue.closing;
            shown = queue.view.take().or(shown);
            if std::mem::take(&mut queue.forget) {
                frame.forget();
            }
            drop(queue);
            if lost > 0 {
                said.push_str(&format!(
                    "({lost} messages were dropped: nobody read them in time)\n"
                ));
            }
            // Asked at each draw: terminals are resized.
            let canvas = output::canvas(&io::stderr());
            if !crate::os::in_foreground(io::stderr()) {
                frame.forget();
                shown = None;
            }
            let block = match &shown {
                Some(view) if !closing => meter::render(view, &below(canvas)),
                _ => Vec::new(),
            };
            let text = frame.draw(&said, &block, canvas.columns, crate::report::line::width_shown);
            // A reader that went away is no reason to end, nor is there anybody to tell.
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
            if closing {
                self.set(|queue| queue.closed = true);
                return;
            }
        }
    }
}

/// The part of the terminal that the meter may have: the cursor stands below it, and what is said
/// above it should be seen.
fn below(canvas: Canvas) -> Canvas {
    let rows = canvas.rows.map(|rows| rows.saturating_sub(1 + FREE.min(rows / 6)).max(1));
    Canvas { rows, ..canvas }
}

impl Screen {
    /// `meter`: it is wanted, if stderr is a terminal that can move its cursor.
    pub(super) fn open(meter: bool) -> io::Result<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let shared = Arc::new(Shared::default());
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || thread.serve(io::stderr()))?;
        *lock(&OPEN) = Some(Arc::clone(&shared));
        Ok(Self { shared, meter: meter && !dumb && io::stderr().is_terminal() })
    }

    /// Somebody can see a meter right now: a job in the background has no terminal.
    pub(super) fn has_meter(&self) -> bool {
        self.meter && crate::os::in_foreground(io::stderr())
    }

    /// Draws the meter.
    pub(super) fn show(&self, view: View) {
        self.shared.set(|queue| queue.view = Some(Box::new(view)));
    }

    /// The shell has the terminal, or had it: what was drawn stays where it is.
    pub(super) fn forget(&self) {
        self.shared.set(|queue| queue.forget = true);
    }
}

impl Drop for Screen {
    /// Takes the block away and writes the rest.
    fn drop(&mut self) {
        *lock(&OPEN) = None;
        self.shared.set(|queue| queue.closing = true);
        let queue = lock(&self.shared.queue);
        let patience =
            self.shared.changed.wait_timeout_while(queue, PATIENCE, |queue| !queue.closed);
        drop(patience);
    }
}

/// Text for people, above the meter if there is one.
pub(super) fn say(text: &str) {
    // Not held while writing: only a clone is taken.
    let open = lock(&OPEN).clone();
    match open {
        Some(shared) => shared.say(text),
        None => {
            let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
        }
    }
}

/// Where log lines go: the same way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log;

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for Log {
    /// Called once a line, with the whole of it. Never fails: the caller would complain of it on
    /// the very stderr that is gone, and panic.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        say(text.strip_suffix('\n').unwrap_or(&text));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that takes nothing costs a bounded amount of memory, and the loss is told.
    #[test]
    fn what_nobody_reads_is_dropped_and_counted() {
        let shared = Shared::default();
        let line = "x".repeat(1023);
        for _ in 0..2048 {
            shared.say(&line);
        }
        assert!(lock(&shared.queue).said.len() <= MOST);
        shared.set(|queue| queue.closing = true);
        let mut written = Vec::new();
        shared.serve(&mut written);
        let text = String::from_utf8(written).unwrap();
        let kept = text.matches(&line).count();
        assert!(text.ends_with(&format!(
            "({} messages were dropped: nobody read them in time)\n",
            2048 - kept
        )));
        assert!(kept >= 1000, "{kept}");
    }

    #[test]
    fn the_meter_leaves_room_for_what_is_said() {
        let rows = |rows| below(Canvas { rows: Some(rows), ..Canvas::PLAIN }).rows;
        assert_eq!(rows(24), Some(19));
        assert_eq!(rows(50), Some(45));
        assert_eq!(rows(5), Some(4));
        assert_eq!(rows(1), Some(1));
        assert_eq!(below(Canvas::PLAIN).rows, None);
    }
}
