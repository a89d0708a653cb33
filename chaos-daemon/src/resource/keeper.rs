//! The keeper: a process of its own that puts everything back when kchaos cannot, because it was killed or stopped.
//!
//! It holds nothing but one end of a pipe. As long as kchaos keeps its lease it writes into the other end; when nothing has
//! come for as long as a lease lasts, or kchaos is gone, the keeper puts back what the journal says, and ends. It is started
//! before anything is changed, in a session of its own, so that no Ctrl-C reaches it. A kchaos that goes on (SIGCONT) finds it
//! gone, starts another one and begins anew: what it does without a keeper it does not do.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use chaos_common::control::LEASE_NS;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigHandler, Signal, signal},
    unistd::{pipe2, setsid},
};

use super::journal;
use crate::engine::boot_ns;

/// The hidden verb of the command line that is it.
pub const VERB: &str = "keep";

/// How long a keeper may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(1);

/// A name for an experiment of this process that no other one has, also after a reboot.
pub fn fresh_owner() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}-{}", std::process::id(), boot_ns(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A keeper that runs. It ends when this is dropped: then there is nothing left for it to do.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    /// Nothing once it is to end.
    pipe: Option<File>,
}

impl Keeper {
    /// Starts one for what `owner` holds, and waits until it keeps watch.
    pub fn start(owner: &str) -> io::Result<Self> {
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
        // A keeper that does not read must not stop us.
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // Not by its name: the file may be replaced while it runs.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(VERB)
            .arg(owner)
            .stdin(theirs)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .env_clear();
        // SAFETY: setsid is async-signal-safe.
        unsafe {
            command.pre_exec(|| setsid().map(drop).map_err(io::Error::from));
        }
        let mut child = command.spawn()?;
        drop(command);
        let said = child.stdout.take();
        let this = Self { child, pipe: Some(ours.into()) };
        ready(said)?;
        Ok(this)
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Tells it that all is well. False: it is gone.
    pub fn beat(&mut self) -> bool {
        match self.pipe.as_mut().map(|pipe| pipe.write(b".")) {
            Some(Ok(_)) => true,
            // It has not read for hours, and lives.
            Some(Err(error)) => error.kind() == io::ErrorKind::WouldBlock,
            None => false,
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.pipe = None;
        let until = Instant::now() + PATIENCE;
        // One that was stopped never ends. What it should put back is noted, and `kchaos clean` puts it back.
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(LOOK),
                Ok(Some(_)) => return,
                Err(error) => return tracing::debug!("waiting for the keeper's end: {error}"),
            }
        }
        tracing::warn!(
            "the process that puts everything back did not end within {PATIENCE:?} and was killed"
        );
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::debug!("ending the keeper: {error}");
        }
    }
}

/// Waits for its first word.
fn ready(said: Option<ChildStdout>) -> io::Result<()> {
    let mut said = said.ok_or(io::ErrorKind::BrokenPipe)?;
    if !is_readable(said.as_fd(), PATIENCE)? {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it does not answer within {PATIENCE:?}"),
        ));
    }
    said.read_exact(&mut [0; 1]).map_err(|_| io::Error::other("it ended at once"))
}

fn is_readable(fd: std::os::fd::BorrowedFd<'_>, within: Duration) -> io::Result<bool> {
    let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(ready) => return Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The keeper's own life.
pub fn keep(owner: &str) -> io::Result<()> {
    forget_the_rest();
    ignore_signals()?;
    let mut input = io::stdin().lock();
    say_ready()?;
    let lease = Duration::from_nanos(LEASE_NS);
    let mut heard = [0; 4096];
    let mut is_dead = false;
    while !is_dead && is_readable(input.as_fd(), lease)? {
        is_dead = match input.read(&mut heard) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        };
    }
    // From here on kchaos must not take it for one that keeps watch.
    drop(input);
    let null: OwnedFd = File::open("/dev/null")?.into();
    nix::unistd::dup2_stdin(null)?;
    let failed = journal::put_back_of(owner, is_dead).failed;
    if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("; "))) }
}

/// What was inherited and is none of its business: descriptors without CLOEXEC of whoever started kchaos.
fn forget_the_rest() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: numbers only, and nothing here has a descriptor of its own yet. Kernels before 5.9 keep them open.
    unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0);
    }
}

/// Whoever ends a whole service means kchaos, whose end is the keeper's.
fn ignore_signals() -> io::Result<()> {
    for wanted in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: to ignore a signal runs no code.
        unsafe { signal(wanted, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// One byte, and then nobody waits for the end of it.
fn say_ready() -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(b"!")?;
    out.flush()?;
    drop(out);
    let null: OwnedFd = File::options().write(true).open("/dev/null")?.into();
    nix::unistd::dup2_stdout(null)?;
    Ok(())
}
