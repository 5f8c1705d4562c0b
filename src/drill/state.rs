//! States of a drill, its phases, and what leads from one to the next. No clock: `now` is an
//! argument.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plan::{DRILL, Phase, PhaseId};

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

/// Where in its script a drill stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// It has not been started.
    Before,
    Phase(PhaseId),
    /// The last phase is over: nothing is injected, recording goes on.
    After,
}

impl Position {
    pub fn phase(self) -> Option<PhaseId> {
        match self {
            Self::Phase(id) => Some(id),
            Self::Before | Self::After => None,
        }
    }
}

/// One phase, as far as the clock is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub name: Arc<str>,
    /// `None`: only a facilitator ends it.
    pub length: Option<Duration>,
}

impl From<&Phase> for Step {
    fn from(phase: &Phase) -> Self {
        Self { name: Arc::clone(&phase.name), length: phase.length }
    }
}

/// What a look at the clock found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// A phase has ended.
    pub phase: bool,
    /// The drill's longest time has.
    pub drill: bool,
}

impl Passed {
    pub fn anything(self) -> bool {
        self.phase || self.drill
    }
}

/// What became of the running phase when the script was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// It goes on.
    Kept,
    /// It is gone; the drill is paused (unless it was halted) before what followed it.
    Gone(Arc<str>),
}

/// The drill's clock and state.
#[derive(Debug)]
pub struct Drill {
    state: State,
    halt: Option<Halt>,
    /// Time spent running before `since`.
    ran: Duration,
    /// The same for the phase alone.
    phase_ran: Duration,
    since: Instant,
    longest: Option<Duration>,
    over: bool,
    script: Vec<Step>,
    at: Position,
}

impl Drill {
    /// `hold`: waits for [`Drill::start`]. `max_drill`: `None` means no limit. The script has at
    /// least one step.
    pub fn new(now: Instant, hold: bool, max_drill: Option<Duration>, script: Vec<Step>) -> Self {
        let (state, at) = if hold {
            (State::Waiting, Position::Before)
        } else {
            (State::Running, Position::Phase(0))
        };
        Self {
            state,
            halt: None,
            ran: Duration::ZERO,
            phase_ran: Duration::ZERO,
            since: now,
            longest: max_drill,
            over: false,
            script,
            at,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Set while halted.
    pub fn halt_note(&self) -> Option<&Halt> {
        self.halt.as_ref()
    }

    /// Its longest time is over, or its last phase is: nothing is injected any more, recording
    /// goes on.
    pub fn is_over(&self) -> bool {
        self.over || self.at == Position::After
    }

    pub fn position(&self) -> Position {
        self.at
    }

    /// The phase it stands in.
    pub fn step(&self) -> Option<&Step> {
        self.script.get(usize::from(self.at.phase()?))
    }

    /// Faults may fire.
    pub fn may_inject(&self) -> bool {
        self.state == State::Running && !self.is_over()
    }

    /// Held requests go on as if no fault had hit them. The end of a phase is no reason: what it
    /// decided is carried out.
    pub fn releases(&self) -> bool {
        self.state != State::Running || self.over
    }

    /// Time on the drill clock, which stands while waiting, paused or halted.
    pub fn elapsed(&self, now: Instant) -> Duration {
        self.ran + self.running(now)
    }

    /// The same since the phase began.
    pub fn phase_elapsed(&self, now: Instant) -> Duration {
        self.phase_ran + self.running(now)
    }

    /// What is left of the phase; `None`: only a facilitator ends it, or there is none.
    pub fn phase_left(&self, now: Instant) -> Option<Duration> {
        Some(self.step()?.length?.saturating_sub(self.phase_elapsed(now)))
    }

    fn running(&self, now: Instant) -> Duration {
        match self.state {
            State::Running => now.saturating_duration_since(self.since),
            _ => Duration::ZERO,
        }
    }

    fn book(&mut self, now: Instant) {
        (self.ran, self.phase_ran) = (self.elapsed(now), self.phase_elapsed(now));
        self.since = now;
    }

    fn go(&mut self, now: Instant, to: State) -> Change {
        self.book(now);
        self.state = to;
        Change::Made
    }

    fn enter(&mut self, now: Instant, at: Position) {
        self.book(now);
        self.phase_ran = Duration::ZERO;
        self.at = at;
    }

    fn after(&self, phase: PhaseId) -> Position {
        let next = usize::from(phase) + 1;
        if next < self.script.len() { Position::Phase(next as PhaseId) } else { Position::After }
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

    /// Gives the halt that stands its reason, where that came after it.
    pub fn give_reason(&mut self, reason: &str) {
        if let Some(halt) = self.halt.as_mut().filter(|halt| halt.reason.is_empty()) {
            reason.clone_into(&mut halt.reason);
        }
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
        self.begin(now);
        Ok(self.go(now, State::Paused))
    }

    /// A drill that never started begins with its first phase.
    fn begin(&mut self, now: Instant) {
        if self.at == Position::Before {
            self.enter(now, Position::Phase(0));
        }
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
            State::Waiting => {
                self.begin(now);
                Ok(self.go(now, State::Running))
            }
            State::Running => Ok(Change::None),
            _ => Err(self.refuse("start", "only a waiting drill starts")),
        }
    }

    /// Ends the phase and goes to the one that follows, or to the one that is named, forward or
    /// back. A paused drill stays paused.
    pub fn next(&mut self, now: Instant, to: Option<&str>) -> Result<Change, Refusal> {
        match self.state {
            State::Running | State::Paused => {}
            State::Waiting => return Err(self.refuse("go on", "use `start`")),
            State::Halted => {
                return Err(self.refuse("go on", "a halt is lifted by `rearm --reason TEXT` first"));
            }
            State::Finished => return Err(self.refuse("go on", "begin a new one")),
        }
        if self.over {
            return Err(Refusal("cannot go on: the drill's longest time is over".to_owned()));
        }
        let target = match to {
            Some(name) => {
                let found = self.script.iter().position(|step| &*step.name == name);
                let found = found.ok_or_else(|| {
                    let known = self.script.iter().map(|step| &*step.name);
                    let hint = crate::document::instead(name, known);
                    Refusal(format!("there is no phase `{name}`; {hint}"))
                })?;
                Position::Phase(found as PhaseId)
            }
            None => match self.at {
                Position::Phase(phase) => self.after(phase),
                Position::Before => Position::Phase(0),
                Position::After => {
                    let why = "cannot go on: the last phase is over; name one to go back to";
                    return Err(Refusal(why.to_owned()));
                }
            },
        };
        self.enter(now, target);
        Ok(Change::Made)
    }

    pub fn finish(&mut self, now: Instant) -> Change {
        if self.state == State::Finished {
            return Change::None;
        }
        self.go(now, State::Finished)
    }

    /// Takes a changed script. The phase it stands in is found again by its name and goes on, with
    /// the time it has run; its new length applies now.
    pub fn adopt(&mut self, now: Instant, script: Vec<Step>) -> Adopted {
        self.book(now);
        let before = std::mem::replace(&mut self.script, script);
        let Position::Phase(phase) = self.at else { return Adopted::Kept };
        let find = |step: &Step| self.script.iter().position(|known| known.name == step.name);
        if let Some(again) = before.get(usize::from(phase)).and_then(find) {
            self.at = Position::Phase(again as PhaseId);
            return Adopted::Kept;
        }
        let gone =
            before.get(usize::from(phase)).map_or_else(|| "".into(), |step| Arc::clone(&step.name));
        let next = before.iter().skip(usize::from(phase) + 1).find_map(find);
        // Phases that take the place of none, or the other way round: there is no order to keep.
        let one = |script: &[Step]| matches!(script, [only] if *only.name == *DRILL && only.length.is_none());
        let next = next.or((one(&before) || one(&self.script)).then_some(0));
        let next = next.map_or(Position::After, |next| Position::Phase(next as PhaseId));
        if self.state == State::Running {
            self.go(now, State::Paused);
        }
        self.enter(now, next);
        Adopted::Gone(gone)
    }

    /// Looks at the clock. A phase ends when its time is up, not when somebody looks: what follows
    /// begins then.
    pub fn tick(&mut self, now: Instant) -> Passed {
        let mut passed = Passed::default();
        if self.state != State::Running {
            return passed;
        }
        if !self.over
            && let Some(longest) = self.longest
            && self.elapsed(now) >= longest
        {
            // What comes from now on belongs to no phase: nothing is injected.
            self.enter(self.since + longest.saturating_sub(self.ran), Position::After);
            self.over = true;
            passed.drill = true;
        }
        while let (false, Position::Phase(phase)) = (self.over, self.at)
            && let Some(length) = self.step().and_then(|step| step.length)
            && self.phase_elapsed(now) >= length
        {
            // A length that was shortened below what has run ends now, not in the past.
            let left = length.saturating_sub(self.phase_ran);
            self.enter(self.since + left, self.after(phase));
            passed.phase = true;
        }
        passed
    }

    /// When the clock has to be looked at next; `None`: no time is running out.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        if self.state != State::Running || self.is_over() {
            return None;
        }
        let drill = self.longest.map(|longest| longest.saturating_sub(self.elapsed(now)));
        let left = match (drill, self.phase_left(now)) {
            (Some(drill), Some(phase)) => Some(drill.min(phase)),
            (one, other) => one.or(other),
        };
        now.checked_add(left?)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
