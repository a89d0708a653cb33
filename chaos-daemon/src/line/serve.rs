//! The thread that serves a TAP: reads frames, keeps them until they are due, and writes them back as they were.
//!
//! It never waits for anything but the device, the next release time and the end. It is no task of the runtime, whose
//! threads would be late for both.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::fd::AsFd,
    thread::{self, JoinHandle},
    time::Duration,
};

use chaos_common::line::{HORIZON_NS, RELEASE_OFFSET};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{prctl::set_timerslack, time::TimeSpec},
};

use super::queue::{Queue, Room, Waiting};
use crate::engine::monotonic_ns;

/// Length of the `struct virtio_net_hdr` before each frame.
const HEADER: usize = 10;

/// Where the release time is.
const RELEASE: usize = HEADER + RELEASE_OFFSET;

/// The shortest that makes sense: an Ethernet header.
const SHORTEST: usize = HEADER + 14;

/// More than the longest frame: 64 KiB of packet, Ethernet header, VLAN tags.
const LONGEST: usize = HEADER + (64 << 10) + 256;

/// A frame that is that late was not delayed but held up, as we were stopped: nobody waits for it any more.
const LATE_NS: u64 = 2_000_000_000;

/// Frames that are read before it is looked whether others are due.
const BATCH: usize = 64;

/// What has become of frames: told to whoever looks for a fault in this, once the thread ends. (What the result counts as
/// undelivered is what the programs have written down and not seen again.)
#[derive(Debug, Default)]
struct Tally {
    read: u64,
    written: u64,
    /// Dropped: more than 2 s late, as we were stopped.
    late: u64,
    /// Dropped: no room.
    full: u64,
    /// Dropped: not stamped by our programs.
    foreign: u64,
    /// Dropped: the device did not take them back.
    refused: u64,
}

/// The thread. It ends, and the device with it, when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// The thread hears of its end.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it, for a TAP that does not block.
    pub fn start(tap: File, room: Room) -> io::Result<Self> {
        let (heard, stop) = io::pipe()?;
        let server = Worker {
            tap,
            stop: heard,
            queue: Queue::new(room),
            buffer: vec![0; LONGEST].into(),
            tally: Tally::default(),
        };
        let thread = thread::Builder::new().name("kchaos-line".into()).spawn(move || server.run())?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Whether it is at work. It ends by itself if the device is removed.
    pub fn runs(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::warn!("the thread of a delay line has panicked");
        }
    }
}

/// What the thread works with.
struct Worker {
    tap: File,
    stop: PipeReader,
    queue: Queue,
    buffer: Box<[u8]>,
    tally: Tally,
}

/// What there is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Work,
    End,
}

impl Worker {
    fn run(mut self) {
        if let Err(error) = be_punctual() {
            tracing::debug!("packets may be late: {error}");
        }
        if let Err(error) = self.serve() {
            tracing::warn!("a delay line ended, and packets in it are lost: {error}");
        }
        tracing::debug!("a delay line by TAP has ended: {:?}", self.tally);
    }

    /// To the end, or until the device is gone.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let more = self.read()?;
            self.write_due();
            if self.wait(more)? == Next::End {
                return Ok(());
            }
        }
    }

    /// Reads what there is, and answers whether there may be more.
    fn read(&mut self) -> io::Result<bool> {
        for _ in 0..BATCH {
            match self.tap.read(&mut self.buffer) {
                Ok(length) => self.keep(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn keep(&mut self, length: usize) {
        self.tally.read += 1;
        let frame = self.buffer.get(..length).unwrap_or_default();
        let latest = monotonic_ns().saturating_add(HORIZON_NS);
        match release(frame) {
            Some(release) if length < LONGEST && release <= latest => {
                if self.queue.push(release, frame).is_err() {
                    self.tally.full += 1;
                }
            }
            _ => self.tally.foreign += 1,
        }
    }

    fn write_due(&mut self) {
        let now = monotonic_ns();
        while let Some(waiting) = self.queue.pop(now) {
            if now - waiting.release > LATE_NS {
                self.tally.late += 1;
            } else {
                self.write(&waiting);
            }
        }
    }

    fn write(&mut self, waiting: &Waiting) {
        loop {
            match self.tap.write(&waiting.frame) {
                Ok(_) => return self.tally.written += 1,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::trace!("writing a frame back: {error}");
                    return self.tally.refused += 1;
                }
            }
        }
    }

    /// Until a frame comes, one is due, or this is to end.
    fn wait(&self, more: bool) -> io::Result<Next> {
        let left = self.queue.next().map(|release| release.saturating_sub(monotonic_ns()));
        let timeout = if more { Some(Duration::ZERO) } else { left.map(nap) };
        let mut both = [
            PollFd::new(self.stop.as_fd(), PollFlags::empty()),
            PollFd::new(self.tap.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut both, timeout.map(TimeSpec::from), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Nothing is ever written to the pipe: it hangs up.
        Ok(if both[0].any() == Some(true) { Next::End } else { Next::Work })
    }
}

/// Of the calling thread: before all ordinary processes, as on a busy machine it would be milliseconds late; and timers
/// that are exact. It cannot keep others from running for long, as all it ever does is what they give it to do. Children
/// do not inherit it.
fn be_punctual() -> io::Result<()> {
    // Where a kernel or a container does not allow it, this is what is left; 50 µs are usual.
    set_timerslack(1)?;
    // SAFETY: a structure of integers, which may all be zero.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = 1;
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and the pointer is to a live structure that is only read.
    let failed = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How long to sleep when there is so much time left. The kernel lets a poll be late by a thousandth of its timeout,
/// so a long wait is cut short, and what remains is waited for once more.
fn nap(left: u64) -> Duration {
    Duration::from_nanos(if left > 500_000 { left - left / 500 } else { left })
}

/// When a frame is due.
fn release(frame: &[u8]) -> Option<u64> {
    let stamp = frame.get(RELEASE..SHORTEST)?;
    stamp.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_time_is_behind_the_header() {
        let mut frame = vec![0xff; RELEASE];
        frame.extend(5_000_000_007u64.to_ne_bytes());
        frame.extend([0xff; 2]);
        assert_eq!(release(&frame), Some(5_000_000_007));
        assert_eq!(release(&frame[..SHORTEST - 1]), None);
        assert_eq!(release(&[]), None);
    }

    #[test]
    fn naps_end_in_time() {
        for left in [0, 1, 499_999, 500_001, 1_000_000, 100_000_000, HORIZON_NS] {
            let nap = u64::try_from(nap(left).as_nanos()).expect("at most an hour");
            // By as much as the kernel may be late.
            assert!(nap + nap / 1000 <= left.max(500_500), "{left}: {nap}");
            assert!(nap >= left - left / 500);
        }
    }
}
