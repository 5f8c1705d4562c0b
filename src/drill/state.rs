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
mod tests {
    use super::*;

    fn open() -> Vec<Step> {
        vec![Step { name: "drill".into(), length: None }]
    }

    fn script(steps: &[(&str, Option<u64>)]) -> Vec<Step> {
        let step = |(name, seconds): &(&str, Option<u64>)| Step {
            name: (*name).into(),
            length: seconds.map(Duration::from_secs),
        };
        steps.iter().map(step).collect()
    }

    const THREE: [(&str, Option<u64>); 3] =
        [("baseline", Some(10)), ("brownout", None), ("recovery", Some(30))];

    fn at(drill: &Drill) -> &str {
        match drill.position() {
            Position::Before => "before",
            Position::Phase(_) => drill.step().map_or("?", |step| &step.name),
            Position::After => "after",
        }
    }

    #[test]
    fn phases_follow_each_other() {
        let start = crate::clock::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut drill = Drill::new(start, false, None, script(&THREE));
        assert_eq!((at(&drill), drill.due(start)), ("baseline", Some(later(10))));
        assert!(!drill.tick(later(9)).anything());
        assert!(drill.tick(later(11)).phase);
        // It began when the time of the first was up, not when somebody looked.
        assert_eq!(
            (at(&drill), drill.phase_elapsed(later(11))),
            ("brownout", Duration::from_secs(1))
        );
        assert_eq!((drill.due(later(11)), drill.phase_left(later(11))), (None, None));
        assert!(!drill.tick(later(5000)).anything());
        drill.next(later(5000), None).unwrap();
        assert_eq!(at(&drill), "recovery");
        assert!(drill.may_inject());
        assert!(drill.tick(later(5031)).phase);
        assert_eq!((at(&drill), drill.may_inject(), drill.is_over()), ("after", false, true));
        assert!(drill.next(later(5032), None).is_err());
        drill.next(later(5032), Some("baseline")).unwrap();
        assert_eq!((at(&drill), drill.may_inject()), ("baseline", true));
        assert!(drill.next(later(5032), Some("no such")).is_err());
        // Long unlooked at, it passes through several at once.
        let mut drill = Drill::new(start, false, None, script(&[("a", Some(1)), ("b", Some(2))]));
        assert!(drill.tick(later(100)).phase);
        assert_eq!((at(&drill), drill.elapsed(later(100))), ("after", Duration::from_secs(100)));
    }

    #[test]
    fn a_pause_keeps_what_is_left() {
        let start = crate::clock::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut drill = Drill::new(start, false, None, script(&THREE));
        drill.pause(later(4)).unwrap();
        assert_eq!(drill.phase_left(later(400)), Some(Duration::from_secs(6)));
        assert!(!drill.tick(later(400)).anything());
        drill.resume(later(500)).unwrap();
        assert!(!drill.tick(later(505)).anything());
        assert!(drill.tick(later(506)).phase);
        // Going on while paused stays paused, with the whole time of what follows.
        drill.next(later(506), None).unwrap();
        drill.pause(later(516)).unwrap();
        drill.next(later(520), Some("baseline")).unwrap();
        assert_eq!((drill.state(), at(&drill)), (State::Paused, "baseline"));
        assert_eq!(drill.phase_left(later(600)), Some(Duration::from_secs(10)));
    }

    /// Phases in the place of none, and none in the place of phases: paused, and not over.
    #[test]
    fn phases_come_and_go() {
        let phases = script(&[("baseline", Some(10)), ("brownout", Some(10))]);
        let none = script(&[(DRILL, None)]);
        let begin = crate::clock::now();
        let later = |seconds| begin + Duration::from_secs(seconds);
        for (before, after) in [(&none, &phases), (&phases, &none)] {
            let mut drill = Drill::new(later(0), false, None, before.clone());
            let gone = Arc::clone(&before[0].name);
            assert_eq!(drill.adopt(later(3), after.clone()), Adopted::Gone(gone));
            assert_eq!((drill.state(), drill.position()), (State::Paused, Position::Phase(0)));
            drill.resume(later(4)).unwrap();
            assert!(drill.may_inject());
        }
    }

    #[test]
    fn a_changed_script_finds_the_running_phase_by_name() {
        let start = crate::clock::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut drill = Drill::new(start, false, None, script(&THREE));
        drill.tick(later(12));
        let longer = [("first", Some(5)), ("baseline", Some(10)), ("brownout", Some(3))];
        assert_eq!(drill.adopt(later(12), script(&longer)), Adopted::Kept);
        assert_eq!(
            (at(&drill), drill.phase_left(later(12))),
            ("brownout", Some(Duration::from_secs(1)))
        );
        // Shorter than it has run already: it ends now.
        let short = [("baseline", Some(10)), ("brownout", Some(1)), ("recovery", Some(30))];
        drill.adopt(later(12), script(&short));
        assert!(drill.tick(later(12)).phase);
        assert_eq!((at(&drill), drill.phase_elapsed(later(12))), ("recovery", Duration::ZERO));

        let mut drill = Drill::new(start, false, None, script(&THREE));
        let gone = [("warm-up", Some(1)), ("recovery", Some(30))];
        assert_eq!(drill.adopt(later(3), script(&gone)), Adopted::Gone("baseline".into()));
        assert_eq!((drill.state(), at(&drill)), (State::Paused, "recovery"));
        drill.resume(later(100)).unwrap();
        assert_eq!(drill.phase_left(later(101)), Some(Duration::from_secs(29)));

        let mut drill = Drill::new(start, false, None, script(&THREE));
        drill.halt(later(1), note());
        drill.adopt(later(2), script(&[("other", Some(1))]));
        assert_eq!((drill.state(), at(&drill)), (State::Halted, "after"), "a halt stays a halt");
    }

    #[test]
    fn a_waiting_drill_stands_before_its_first_phase() {
        let start = crate::clock::now();
        let mut drill = Drill::new(start, true, None, script(&THREE));
        let later = start + Duration::from_secs(100);
        assert!(!drill.tick(later).anything());
        assert_eq!(at(&drill), "before");
        assert!(drill.next(later, None).is_err());
        drill.start(later).unwrap();
        assert_eq!((at(&drill), drill.phase_elapsed(later)), ("baseline", Duration::ZERO));
    }

    fn note() -> Halt {
        Halt { by: "test".into(), reason: String::new() }
    }

    #[test]
    fn a_halt_latches() {
        let now = crate::clock::now();
        let mut drill = Drill::new(now, false, None, open());
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
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut drill = Drill::new(start, false, Some(Duration::from_secs(100)), open());
        drill.pause(at(60)).unwrap();
        assert_eq!(drill.elapsed(at(500)), Duration::from_secs(60));
        assert!(!drill.tick(at(500)).anything());
        drill.resume(at(500)).unwrap();
        assert!(!drill.tick(at(539)).anything());
        assert!(drill.tick(at(540)).drill);
        assert!(!drill.may_inject());
        assert_eq!(drill.position(), Position::After, "no phase's counts are watered down");
        assert!(!drill.tick(at(541)).anything(), "told once");
    }
}
