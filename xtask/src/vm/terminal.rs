//! The user's terminal while a guest's shell has it.
//!
//! Every key goes to the guest, whose own terminal makes Ctrl-C of it; so ours is set raw, and set back
//! whatever ends this process short of SIGKILL.

use std::{
    env,
    io::{self, Read as _, Write},
    mem::MaybeUninit,
    os::fd::AsRawFd as _,
    thread,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::{SigSet, Signal},
        termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    },
};

/// What ends a terminal's input.
const END: u8 = 4;

/// Standard input.
pub struct Terminal {
    /// As the user had it, if it is a terminal.
    before: Option<Termios>,
    described: String,
}

/// A terminal that is set raw, until this is dropped.
pub struct Raw<'a>(&'a Terminal);

impl Terminal {
    /// Takes hold of the terminal. No other thread may run yet: they all have to leave the signals to one.
    pub fn hold() -> Result<Self> {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            restore_at_signals(before.clone())?;
        }
        Ok(Self { before, described: describe() })
    }

    /// Sets it raw.
    pub fn raw(&self) -> Result<Raw<'_>> {
        if let Some(mut settings) = self.before.clone() {
            cfmakeraw(&mut settings);
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, &settings).context("cannot set the terminal up")?;
        }
        Ok(Raw(self))
    }

    /// Rows, columns and type, as init is told.
    pub fn described(&self) -> &str {
        &self.described
    }

    /// Hands on what is typed, until nobody listens any more.
    pub fn feed(mut to: impl Write + Send + 'static) {
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            loop {
                let count = io::stdin().read(&mut buffer).unwrap_or(0);
                let typed = if count == 0 { &[END][..] } else { buffer.get(..count).unwrap_or_default() };
                if to.write_all(typed).and_then(|()| to.flush()).is_err() || count == 0 {
                    // Kept open: a guest without this line would not know it, but QEMU would end.
                    thread::park();
                }
            }
        });
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.0.before {
            restore(before);
        }
    }
}

fn restore(before: &Termios) {
    // There is nobody to tell that it could not be done.
    let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
}

/// Ends this process at signals that would end it, but with the terminal set back. QEMU ends with us.
fn restore_at_signals(before: Termios) -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            restore(&before);
            std::process::exit(128 + signal as i32);
        }
    });
    Ok(())
}

fn describe() -> String {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the structure is of the type that this call fills in, and for which zero is a value.
    let (result, size) = unsafe {
        let result = libc::ioctl(io::stdin().as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr());
        (result, size.assume_init())
    };
    let (rows, columns) =
        if Errno::result(result).is_ok() && size.ws_row > 0 { (size.ws_row, size.ws_col) } else { (24, 80) };
    let kind = env::var("TERM").unwrap_or_default();
    format!("{rows} {columns} {}", if kind.is_empty() { "dumb" } else { &kind })
}
