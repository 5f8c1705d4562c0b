//! The only place that asks what time it is.

use std::time::{Instant, SystemTime};

/// Monotonic time: durations, deadlines, windows.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall-clock time, for people and file names only.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
