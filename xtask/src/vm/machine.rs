//! One virtual machine: QEMU, what it says, and every way in which it can end.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    console::{Event, Splitter, tail, trouble},
    terminal::Terminal,
};
use crate::{setup::unpacked::QEMU, sh};

/// Booting takes seconds; this is a machine that is stuck or a host that is very slow.
pub const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// With more than one CPU, or with cmpxchg16b, the translated guest crashes now and then. The two fast string features make
/// the kernel copy and clear memory by one long instruction, which QEMU carries out byte by byte.
const TRANSLATED_CPU: &str = "max,cx16=off,erms=off,fsrm=off";

/// Without what costs a translated guest dearly and tests nothing: guards against speculation, checks and clearing of memory
/// as it is handed out, pressure statistics, and random addresses (QEMU keeps translated code by its address: a program that
/// is started again at the same one is not translated again). Together with [`TRANSLATED_CPU`] a test takes half as long.
///
/// The security modules are Debian's, with the one for BPF programs, which Debian leaves out.
const KERNEL_LINE: &str = "console=ttyS0 panic=-1 oops=panic quiet mitigations=off norandmaps init_on_alloc=0 \
     hardened_usercopy=off psi=0 lsm=landlock,lockdown,yama,integrity,apparmor,bpf";

/// Where instructions are counted the kernel is as hosts run it.
const COUNTED_LINE: &str = "console=ttyS0 panic=-1 oops=panic quiet norandmaps";

/// How often the kernel's console is looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    /// Translation: works everywhere, and is many times slower.
    Tcg,
}

impl Accelerator {
    /// What QEMU calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG (translation)",
        }
    }

    /// How much slower than on the host a test may be.
    pub fn slow(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::Tcg => 8,
        }
    }
}

/// Who is told how a guest gets on.
pub trait Audience {
    /// The command's output.
    fn output(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The command is about to start, so long after the machine.
    fn ready(&mut self, _boot: Duration) {}
    /// Several times a second.
    fn glance(&mut self) {}
}

/// Wants to know nothing.
pub struct Nobody;

impl Audience for Nobody {
    fn output(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// What to boot.
pub struct Guest<'a> {
    pub image: &'a Path,
    pub initramfs: &'a Path,
    /// Where the kernel's console is written to.
    pub console: PathBuf,
    /// Where what the command writes into `KCHAOS_REPORT` is written to.
    pub report: PathBuf,
    pub mark: &'a str,
    pub accelerator: Accelerator,
    /// Every instruction takes a nanosecond of its time, and its processor's clock counts them; waiting takes no time.
    pub counted: bool,
    /// For booting.
    pub boot_limit: Duration,
    /// For the command.
    pub limit: Duration,
    /// What is typed here is the command's input.
    pub terminal: Option<&'a Terminal>,
}

/// How a guest ended that did not end in an error.
#[derive(Debug)]
pub enum Ending {
    /// The command did, with this code; and how long booting took.
    Exited(u8, Duration),
    /// It died before our init had started anything, for this reason.
    NeverStarted(String),
}

impl Guest<'_> {
    /// Boots the machine, copies the command's output and waits for its end.
    pub fn run(&self, audience: &mut dyn Audience) -> Result<Ending> {
        self.follow(self.command()?, audience)
    }

    fn follow(&self, mut qemu: Command, audience: &mut dyn Audience) -> Result<Ending> {
        // What an earlier boot left must not be taken for this one's.
        for file in [&self.console, &self.report] {
            let _ = fs::remove_file(file);
        }
        let mut qemu = Running(sh::dies_with_us(&mut qemu).spawn().context("cannot start QEMU")?);
        let bytes = reader(&mut qemu.0)?;
        let mut splitter = Splitter::new(self.mark);
        let started = Instant::now();
        let mut booted = None;
        loop {
            let (shown, events, open) = match bytes.recv_timeout(GLANCE) {
                Ok(bytes) => {
                    let (shown, events) = splitter.feed(&bytes);
                    (shown, events, true)
                }
                Err(RecvTimeoutError::Timeout) => (Vec::new(), Vec::new(), true),
                Err(RecvTimeoutError::Disconnected) => (splitter.rest(), Vec::new(), false),
            };
            if !shown.is_empty() {
                audience.output(&shown).context("cannot write the output")?;
            }
            audience.glance();
            for event in events {
                match event {
                    Event::Ready => {
                        booted = Some(started.elapsed());
                        audience.ready(started.elapsed());
                        if let Some(input) = qemu.0.stdin.take() {
                            Terminal::feed(input);
                        }
                    }
                    Event::Exit(code) => return Ok(Ending::Exited(code, booted.unwrap_or_default())),
                    Event::Failed(reason) => bail!("the guest could not start the command: {reason}"),
                }
            }
            if let Some(ending) = self.judge(started.elapsed(), booted, open, &mut qemu)? {
                return Ok(ending);
            }
        }
    }

    /// Whether a guest that has not said that it is done will ever be.
    fn judge(
        &self,
        elapsed: Duration,
        booted: Option<Duration>,
        open: bool,
        qemu: &mut Running,
    ) -> Result<Option<Ending>> {
        let console = fs::read(&self.console).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let trouble = trouble(&console);
        let Some(boot) = booted else {
            if let Some(trouble) = trouble {
                return Ok(Some(Ending::NeverStarted(format!("{}: {}", trouble.kind, trouble.line))));
            }
            if !open {
                return self.refused(&console, qemu).map(Some);
            }
            if elapsed > self.boot_limit {
                bail!(
                    "the guest never answered: {:.0} s after its start its init had not said a word; \
                     {} may be damaged{}",
                    elapsed.as_secs_f64(),
                    self.image.display(),
                    tail(&console, 15)
                );
            }
            return Ok(None);
        };
        if let Some(trouble) = trouble {
            bail!("{} while the command ran: {}{}", trouble.kind, trouble.line, tail(&console, 40));
        }
        if !open {
            bail!("the guest was gone before the command ended{}", tail(&console, 15));
        }
        if elapsed > boot + self.limit {
            bail!(
                "the command was still running after {} s and was ended{}",
                self.limit.as_secs(),
                tail(&console, 15)
            );
        }
        Ok(None)
    }

    /// QEMU ended before the guest had said anything: was it QEMU's doing or the guest's?
    fn refused(&self, console: &str, qemu: &mut Running) -> Result<Ending> {
        let status = qemu.0.wait().context("cannot wait for QEMU")?;
        if !status.success() {
            let mut complaint = String::new();
            if let Some(mut pipe) = qemu.0.stderr.take() {
                // What cannot be read cannot be shown.
                let _ = pipe.read_to_string(&mut complaint);
            }
            bail!("QEMU gave up on {} ({status}): {}", self.image.display(), complaint.trim());
        }
        Ok(Ending::NeverStarted(format!("it switched itself off{}", tail(console, 5))))
    }

    fn command(&self) -> Result<Command> {
        let mut qemu = QEMU.command()?;
        match self.accelerator {
            Accelerator::Tcg => qemu.args(["-accel", "tcg", "-cpu", TRANSLATED_CPU]),
            Accelerator::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host"]),
        };
        if self.counted {
            qemu.args(["-icount", "shift=0,sleep=off"]);
        }
        qemu.args(["-smp", "1", "-m", "1024", "-no-reboot", "-nodefaults", "-display", "none"])
            // The first port is the kernel's, the second our init's, the third for reports.
            .arg("-serial")
            .arg(format!("file:{}", self.console.display()))
            .args(["-serial", "stdio", "-serial"])
            .arg(format!("file:{}", self.report.display()))
            .arg("-kernel")
            .arg(self.image)
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", if self.counted { COUNTED_LINE } else { KERNEL_LINE }])
            .stdin(if self.terminal.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(qemu)
    }
}

/// A QEMU that ends with us, however we end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads what the guest says on a thread, as waiting for it must have a limit.
fn reader(qemu: &mut Child) -> Result<Receiver<Vec<u8>>> {
    let mut pipe = qemu.stdout.take().context("QEMU has no output")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let Some(bytes) = buffer.get(..count) else { break };
            if sender.send(bytes.to_vec()).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests;
