//! States of a drill and what leads from one to the next. No clock: `now` is an argument.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Waiting,
    Running,
    Paused,
    Halted,
    Finished,
}
