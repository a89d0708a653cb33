//! Where guests are made: puts together what one needs, boots it, and keeps what tells why it failed.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};

use super::{
    initramfs::{self, Contents},
    kernel::{Choice, Kernel},
    machine::{Accelerator, Audience, BOOT_LIMIT, Ending, Guest, Nobody},
    modules,
    terminal::Terminal,
};
use crate::{build, setup, sh};

/// How often a guest is started that dies before our init runs: translated kernels do at times.
const BOOTS: u32 = 3;

/// A probe for KVM; a guest that works is up in a second.
const PROBE_LIMIT: Duration = Duration::from_secs(15);

/// How many folders of failed runs are kept.
const KEPT: usize = 5;

/// Everything that is the same for all guests.
pub struct Lab {
    init: PathBuf,
    cache: PathBuf,
    /// Asked once; two guests that start together must not both ask.
    accelerator: Mutex<Option<Accelerator>>,
}

/// What a guest is to do.
pub struct Job<'a> {
    pub command: &'a [String],
    pub environment: &'a [String],
    pub programs: &'a [PathBuf],
    /// What else it has, at the places where it is on this machine.
    pub files: &'a [PathBuf],
    /// How long the command may take.
    pub limit: Duration,
    /// Where what the command writes into `KCHAOS_REPORT` is kept, whatever the end.
    pub report: Option<&'a Path>,
    /// The user's terminal, for a shell.
    pub terminal: Option<&'a Terminal>,
    /// Instructions are counted, which takes a translated guest.
    pub counted: bool,
}

/// How a guest went that did what it was to do.
pub struct Run {
    /// The command's exit code.
    pub code: u8,
    /// How long booting took.
    pub boot: Duration,
    /// How long it all took.
    pub seconds: Duration,
}

impl Lab {
    /// Brings the machine to where guests can be booted.
    pub fn new() -> Result<Self> {
        if std::env::consts::ARCH != "x86_64" {
            bail!("the virtual machines are x86-64, and this machine is {}", std::env::consts::ARCH);
        }
        let cache = sh::target_dir()?.join("vm");
        // Before anything takes time.
        fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
        setup::ensure(setup::Purpose::Vm)?;
        prune(&cache.join("runs"));
        Ok(Self {
            init: build::static_program("kchaos-tests", "kchaos-init")?,
            cache,
            accelerator: Mutex::default(),
        })
    }

    /// Finds or fetches a kernel.
    pub fn kernel(&self, choice: &Choice, modules: Option<&Path>) -> Result<Kernel> {
        Kernel::get(choice, modules, &self.cache)
    }

    /// Runs a command on a kernel. A guest that died, hung or never answered is an error.
    pub fn run(&self, kernel: &Kernel, job: &Job, audience: &mut dyn Audience) -> Result<Run> {
        let accelerator = if job.counted { Accelerator::Tcg } else { self.accelerator(kernel)? };
        let modules = match &kernel.modules {
            Some(folder) => modules::read(folder).with_context(|| kernel.again())?,
            None => Vec::new(),
        };
        let folder = self.folder()?;
        let mark = mark();
        let mut environment =
            vec![format!("KCHAOS_SLOW={}", accelerator.slow()), "KCHAOS_GUEST=1".to_owned()];
        environment.extend_from_slice(job.environment);
        let contents = Contents {
            init: &self.init,
            programs: job.programs,
            files: job.files,
            modules: &modules,
            command: job.command,
            environment: &environment,
            terminal: job.terminal.map(Terminal::described),
            mark: &mark,
        };
        let guest = Guest {
            image: &kernel.image,
            initramfs: &write(&folder, &contents)?,
            console: folder.join("console.log"),
            report: job.report.map_or_else(|| folder.join("report.jsonl"), Path::to_path_buf),
            mark: &mark,
            accelerator,
            counted: job.counted,
            boot_limit: BOOT_LIMIT,
            limit: job.limit,
            terminal: job.terminal,
        };
        let started = Instant::now();
        let ended = until_it_starts(&guest, audience);
        let (code, boot) = ended.with_context(|| format!("{} (see {})", kernel.name, folder.display()))?;
        // Kept when something went wrong.
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        Ok(Run { code, boot, seconds: started.elapsed() })
    }

    /// KVM only where a guest really boots under it; asked once per boot of the host.
    pub fn accelerator(&self, kernel: &Kernel) -> Result<Accelerator> {
        let mut known = self.accelerator.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(accelerator) = *known {
            return Ok(accelerator);
        }
        let usable = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        let accelerator =
            if usable && self.kvm_is_known_to_work(kernel)? { Accelerator::Kvm } else { Accelerator::Tcg };
        Ok(*known.insert(accelerator))
    }

    fn kvm_is_known_to_work(&self, kernel: &Kernel) -> Result<bool> {
        let file = self.cache.join("kvm");
        let host = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let before = fs::read_to_string(&file).unwrap_or_default();
        if let (Some(answer), false) = (before.strip_prefix(&host), host.is_empty()) {
            return Ok(answer == "works");
        }
        let works = self.kvm_works(kernel)?;
        let answer = if works { "works" } else { "hangs" };
        fs::write(&file, format!("{host}{answer}"))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(works)
    }

    fn kvm_works(&self, kernel: &Kernel) -> Result<bool> {
        let folder = self.folder()?;
        let mark = mark();
        let contents = Contents {
            init: &self.init,
            programs: &[],
            files: &[],
            modules: &[],
            command: &[],
            environment: &[],
            terminal: None,
            mark: &mark,
        };
        let guest = Guest {
            image: &kernel.image,
            initramfs: &write(&folder, &contents)?,
            console: folder.join("kvm.log"),
            report: folder.join("report.jsonl"),
            mark: &mark,
            accelerator: Accelerator::Kvm,
            counted: false,
            boot_limit: PROBE_LIMIT,
            limit: PROBE_LIMIT,
            terminal: None,
        };
        let works = matches!(guest.run(&mut Nobody), Ok(Ending::Exited(0, _)));
        if !works {
            eprintln!("vm       a guest does not boot under this machine's KVM; translating instead");
        }
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        Ok(works)
    }

    /// A new folder for one run.
    fn folder(&self) -> Result<PathBuf> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = format!("{}-{}", process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let folder = self.cache.join("runs").join(run);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }
}

/// Boots again what died before our init ran.
fn until_it_starts(guest: &Guest, audience: &mut dyn Audience) -> Result<(u8, Duration)> {
    let mut reason = String::new();
    for boot in 1..=BOOTS {
        match guest.run(audience)? {
            Ending::Exited(code, boot) => return Ok((code, boot)),
            Ending::NeverStarted(why) => {
                eprintln!("vm       boot {boot} of {BOOTS} died before the command: {why}");
                reason = why;
            }
        }
    }
    bail!("the guest died {BOOTS} times before its init had started: {reason}")
}

fn write(folder: &Path, contents: &Contents) -> Result<PathBuf> {
    let file = folder.join("initramfs.cpio");
    fs::write(&file, initramfs::build(contents)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Removes the folders of failed runs but for the last few, and those of runs that still go on.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut ended: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name.split('-').next().unwrap_or_default().to_owned();
            !Path::new("/proc").join(process).exists()
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    ended.sort();
    for (_, path) in ended.iter().rev().skip(KEPT) {
        // What cannot be removed is in nobody's way.
        let _ = fs::remove_dir_all(path);
    }
}

/// No output of a command has this in it by chance.
fn mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("kchaos-vm-{}-{}", process::id(), now.as_nanos())
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::{KEPT, prune};

    #[test]
    fn only_the_last_failures_are_kept_and_what_still_runs() {
        let folder = std::env::temp_dir().join(format!("kchaos-runs-{}", process::id()));
        let running = folder.join(format!("{}-0", process::id()));
        fs::create_dir_all(&running).unwrap();
        for run in 0..KEPT + 3 {
            // No process has such a number.
            fs::create_dir_all(folder.join(format!("99999999-{run}"))).unwrap();
        }
        prune(&folder);
        let left = fs::read_dir(&folder).unwrap().count();
        let kept = running.exists();
        fs::remove_dir_all(&folder).unwrap();
        assert!(kept);
        assert_eq!(left, KEPT + 1);
    }
}
