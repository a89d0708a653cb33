//! The time of day, for people and for documents. What runs is never timed by it: the kernel's boot time does that.

use std::time::SystemTime;

/// Now, RFC 3339 in UTC, to the millisecond.
pub fn now() -> String {
    text(SystemTime::now())
}

/// A time of day, likewise.
pub fn text(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
