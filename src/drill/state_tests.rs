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
    assert_eq!((at(&drill), drill.phase_elapsed(later(11))), ("brownout", Duration::from_secs(1)));
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
