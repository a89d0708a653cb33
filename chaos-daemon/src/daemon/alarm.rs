//! Waits for a moment on the clock on the wall, and notices when that clock is set.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use jiff::Timestamp;
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

/// For `AsyncFd`, which asks for the number of a descriptor.
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Returns at that moment, or earlier: when the clock was set (`TFD_TIMER_CANCEL_ON_SET`, `timerfd_create(2)`). So who
/// waits looks at the clock again.
pub async fn until(moment: Timestamp) -> std::io::Result<()> {
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    let at = TimeSpec::new(moment.as_second(), moment.subsec_nanosecond().into());
    timer.set(
        Expiration::OneShot(at),
        TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET,
    )?;
    // SAFETY: it owns the descriptor, which is open as long as it lives, and always answers with that one.
    let timer = unsafe { AsyncFd::register(Timer(timer)) }.map_err(std::io::Error::from)?;
    timer.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn it_returns_at_the_moment_and_at_once_for_one_that_is_over() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let begun = Instant::now();
        runtime.block_on(until(Timestamp::now() + Duration::from_millis(100))).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(99), "{:?}", begun.elapsed());
        runtime.block_on(until(Timestamp::now() - Duration::from_hours(1))).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
