//! The clock on the wall, set by tests in guests.

use nix::{
    sys::time::{TimeSpec, TimeValLike},
    time::{ClockId, clock_gettime, clock_settime},
};

/// The wall clock, which goes back to where it would be without us.
pub struct WallClock {
    /// How far the wall is ahead of the boot clock.
    offset: TimeSpec,
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

impl WallClock {
    /// As it is now.
    pub fn new() -> Self {
        Self { offset: wall() - boot() }
    }

    /// Sets it to so many seconds ahead of the truth.
    pub fn step(&self, seconds: i64) {
        clock_settime(ClockId::CLOCK_REALTIME, boot() + self.offset + TimeSpec::new(seconds, 0)).unwrap();
        let off = (wall() - boot() - self.offset).num_seconds();
        assert!((off - seconds).abs() <= 1, "the wall clock is {off} s ahead instead of {seconds} s");
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        self.step(0);
    }
}

fn wall() -> TimeSpec {
    clock_gettime(ClockId::CLOCK_REALTIME).unwrap()
}

fn boot() -> TimeSpec {
    clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap()
}
