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

/// As RFC 3339 has it, in UTC; empty for what no calendar has.
pub fn rfc3339(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map(|when| when.to_string()).unwrap_or_default()
}
