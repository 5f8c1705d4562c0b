//! States of a drill and what leads from one to the next. No clock: `now` is an argument.

use std::fmt;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// `--hold`: until `start`.
    Waiting,
    Running,
    /// Nothing is injected, the drill clock stands.
    Paused,
    /// Latched: only `rearm` leads out of it.
    Halted,
    Finished,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Finished => "finished",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What cannot be done in the present state, and what can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// A call that had nothing to do (halting what is halted) is no refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Made,
    None,
}

/// Who stopped it, how, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    pub by: String,
    pub reason: String,
}

/// The drill's clock and state.
#[derive(Debug)]
pub struct Drill {
    state: State,
    halt: Option<Halt>,
    /// Time spent running before `since`.
    ran: Duration,
    since: Instant,
    longest: Option<Duration>,
    over: bool,
}

impl Drill {
    /// `hold`: waits for [`Drill::start`]. `max_drill`: `None` means no limit.
    pub fn new(now: Instant, hold: bool, max_drill: Option<Duration>) -> Self {
        let state = if hold { State::Waiting } else { State::Running };
        Self { state, halt: None, ran: Duration::ZERO, since: now, longest: max_drill, over: false }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Set while halted.
    pub fn halt_note(&self) -> Option<&Halt> {
        self.halt.as_ref()
    }

    /// Its longest time is over: nothing is injected any more, recording goes on.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Faults may fire.
    pub fn may_inject(&self) -> bool {
        self.state == State::Running && !self.over
    }

    /// Time on the drill clock, which stands while waiting, paused or halted.
    pub fn elapsed(&self, now: Instant) -> Duration {
        match self.state {
            State::Running => self.ran + now.saturating_duration_since(self.since),
            _ => self.ran,
        }
    }

    fn go(&mut self, now: Instant, to: State) -> Change {
        self.ran = self.elapsed(now);
        self.since = now;
        self.state = to;
        Change::Made
    }

    fn refuse(&self, verb: &str, remedy: &str) -> Refusal {
        Refusal(format!("cannot {verb}: the drill is {}; {remedy}", self.state))
    }

    /// Always possible until the end; a second halt keeps the first note.
    pub fn halt(&mut self, now: Instant, note: Halt) -> Change {
        if matches!(self.state, State::Halted | State::Finished) {
            return Change::None;
        }
        self.halt = Some(note);
        self.go(now, State::Halted)
    }

    /// Lifts a halt into a pause. `reason` must say something.
    pub fn rearm(&mut self, now: Instant, reason: &str) -> Result<Change, Refusal> {
        if self.state != State::Halted {
            return Err(self.refuse("rearm", "only a halt needs it"));
        }
        if reason.trim().is_empty() {
            return Err(Refusal("rearm needs a reason".to_owned()));
        }
        self.halt = None;
        Ok(self.go(now, State::Paused))
    }

    pub fn pause(&mut self, now: Instant) -> Result<Change, Refusal> {
        match self.state {
            State::Running => Ok(self.go(now, State::Paused)),
            State::Paused => Ok(Change::None),
            _ => Err(self.refuse("pause", "nothing is being injected")),
        }
    }

    pub fn resume(&mut self, now: Instant) -> Result<Change, Refusal> {
        match self.state {
            State::Paused => Ok(self.go(now, State::Running)),
            State::Running => Ok(Change::None),
            State::Halted => {
                Err(self.refuse("resume", "a halt is lifted by `rearm --reason TEXT` first"))
            }
            State::Waiting => Err(self.refuse("resume", "use `start`")),
            State::Finished => Err(self.refuse("resume", "begin a new one")),
        }
    }

    pub fn start(&mut self, now: Instant) -> Result<Change, Refusal> {
        match self.state {
            State::Waiting => Ok(self.go(now, State::Running)),
            State::Running => Ok(Change::None),
            _ => Err(self.refuse("start", "only a waiting drill starts")),
        }
    }

    pub fn finish(&mut self, now: Instant) -> Change {
        if self.state == State::Finished {
            return Change::None;
        }
        self.go(now, State::Finished)
    }

    /// Looks at the clock; true when the drill's longest time has just ended.
    pub fn tick(&mut self, now: Instant) -> bool {
        let ended = !self.over && self.longest.is_some_and(|max| self.elapsed(now) >= max);
        self.over |= ended;
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Halt {
        Halt { by: "test".into(), reason: String::new() }
    }

    #[test]
    fn a_halt_latches() {
        let now = crate::clock::now();
        let mut drill = Drill::new(now, false, None);
        assert!(drill.may_inject());
        assert_eq!(drill.halt(now, note()), Change::Made);
        assert_eq!(drill.halt(now, note()), Change::None);
        assert!(drill.resume(now).is_err());
        assert!(drill.start(now).is_err());
        assert!(drill.pause(now).is_err());
        assert!(drill.rearm(now, "  ").is_err());
        assert!(!drill.may_inject());
        drill.rearm(now, "upstream is fine").unwrap();
        assert_eq!(drill.state(), State::Paused);
        assert!(!drill.may_inject());
        drill.resume(now).unwrap();
        assert!(drill.may_inject());
    }

    #[test]
    fn the_clock_stands_while_paused() {
        let start = crate::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut drill = Drill::new(start, false, Some(Duration::from_secs(100)));
        drill.pause(at(60)).unwrap();
        assert_eq!(drill.elapsed(at(500)), Duration::from_secs(60));
        assert!(!drill.tick(at(500)));
        drill.resume(at(500)).unwrap();
        assert!(!drill.tick(at(539)));
        assert!(drill.tick(at(540)));
        assert!(!drill.may_inject());
        assert!(!drill.tick(at(541)), "told once");
    }
}
