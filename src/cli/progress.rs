//! How a running drill shows itself: the meter on a terminal, a line now and then elsewhere.

use std::io;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::terminal::Screen;
use super::{args, output};
use crate::report::{Live, meter};

/// How often the meter is redrawn.
const REDRAW: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Args)]
pub(super) struct ProgressArgs {
    /// How often a progress line comes, where there is no meter: whole seconds, or `none`.
    #[arg(
        long,
        env = "BACKBURN_PROGRESS",
        default_value = "10s",
        value_parser = args::pace,
        value_name = "DURATION|none"
    )]
    progress: args::Pace,
    /// Progress lines in place of the meter, on a terminal too.
    #[arg(long, env = "BACKBURN_NO_METER", value_parser = FalseyValueParser::new())]
    no_meter: bool,
}

/// Shows a drill once a second, for as long as it is kept.
pub(super) struct Progress {
    screen: Screen,
    tick: tokio::time::Interval,
    /// The process was stopped (Ctrl-Z) and goes on.
    continued: Signal,
    /// Redraws between two lines; 0: no lines.
    every: u64,
    ticks: u64,
}

impl Progress {
    /// Must be called inside the runtime. What is said from now on goes above the meter.
    pub(super) fn open(args: &ProgressArgs) -> io::Result<Self> {
        let mut tick = tokio::time::interval(REDRAW);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let continued = signal(SignalKind::from_raw(crate::os::CONTINUED))?;
        let screen = Screen::open(!args.no_meter)?;
        Ok(Self { screen, tick, continued, every: args.progress.0, ticks: 0 })
    }

    /// Waits for the next second.
    pub(super) async fn second(&mut self) {
        loop {
            tokio::select! {
                _ = self.tick.tick() => return,
                _ = self.continued.recv() => self.screen.forget(),
            }
        }
    }

    /// Shows the drill as it is.
    pub(super) fn show(&mut self, live: &Live) {
        let line_due = self.every > 0 && self.ticks > 0 && self.ticks.is_multiple_of(self.every);
        self.ticks += 1;
        if self.screen.has_meter() {
            self.screen.show(live.view(crate::clock::now()));
            return;
        }
        // In the background others write to the terminal.
        self.screen.forget();
        if line_due {
            output::say(&meter::plain(&live.view(crate::clock::now())));
        }
    }
}
