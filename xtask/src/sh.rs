//! Running other programs: always shown when they fail, always from the top of the workspace.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{getpid, getppid},
};

use crate::toolchain;

/// The top of the workspace.
pub fn root() -> Result<PathBuf> {
    let manifest = env::var("CARGO_MANIFEST_DIR").context("start this through `cargo xtask`")?;
    fs::canonicalize(PathBuf::from(manifest).join("..")).context("cannot find the top of the workspace")
}

/// The folder of everything built.
pub fn target_dir() -> Result<PathBuf> {
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(root()?.join(folder))
}

/// The path of the cargo that runs this.
pub fn cargo_path() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// The path of the rustc that belongs to [`cargo_path`].
pub fn rustc_path() -> PathBuf {
    env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from)
}

/// The cargo that runs this, at the top of the workspace, without the marks of running under it.
pub fn cargo() -> Result<Command> {
    let mut command = Command::new(cargo_path());
    command.current_dir(root()?);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    Ok(command)
}

/// This machine's target triple.
pub fn host() -> Result<String> {
    let version = output(Command::new(rustc_path()).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` does not name its host")?.to_owned())
}

/// A cargo whose `run` and `test` start the programs they have built as root.
///
/// Only those programs: what cargo itself writes stays the user's.
pub fn cargo_as_root() -> Result<Command> {
    let mut command = cargo()?;
    if !is_root() {
        let sudo =
            toolchain::program("sudo").context("this needs root, and there is no sudo: run it as root")?;
        let triple = host()?.to_uppercase().replace(['-', '.'], "_");
        command.env(format!("CARGO_TARGET_{triple}_RUNNER"), format!("{} -E", sudo.display()));
    }
    Ok(command)
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    // A process's own entry belongs to its effective user.
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A command that runs as root, through sudo where need be; none if there is no way to.
pub fn as_root(program: impl AsRef<OsStr>) -> Option<Command> {
    if is_root() {
        return Some(Command::new(program));
    }
    let mut command = Command::new(toolchain::program("sudo")?);
    command.arg(program);
    Some(command)
}

/// Makes a program end with the thread that starts it, however that ends: a virtual machine that is left over
/// is a whole CPU that is lost.
pub fn dies_with_us(command: &mut Command) -> &mut Command {
    let us = getpid();
    let bind = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // It may already have happened.
        if getppid() == us { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: between fork and exec, this makes two system calls and nothing else.
    unsafe { command.pre_exec(bind) }
}

/// Runs to the end with the user's terminal; failing is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Like [`run`], but given up after some time: a program that waits for a network may wait for ever.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let started = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
    loop {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                return Ok(());
            }
            bail!("`{}` failed ({status})", shown(command));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("`{}` was still running after {} s", shown(command), limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Standard output of a command that succeeds quietly; what it complained of is in the error.
pub fn output(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output_bytes(command)?).into_owned())
}

/// Like [`output`], for what is not text.
pub fn output_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", shown(command), output.status, complaint.trim());
    }
    Ok(output.stdout)
}

/// A system program. Debian keeps some where a user's shell does not look.
pub fn system(name: &str) -> Command {
    Command::new(find_system(name).unwrap_or_else(|| PathBuf::from(name)))
}

/// Where a system program is.
pub fn find_system(name: &str) -> Option<PathBuf> {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("{word:?}") }
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        time::{Duration, Instant},
    };

    use super::{output, run, run_within, shown};

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("/usr/bin/apt-get");
        command.args(["install", "-y", "libc6-dev", "two words", ""]);
        assert_eq!(shown(&command), r#"apt-get install -y libc6-dev "two words" """#);
    }

    #[test]
    fn failing_is_an_error_with_the_complaint() {
        let error = output(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("no such thing"), "{error}");
        assert!(run(&mut Command::new("false")).is_err());
        assert!(run(&mut Command::new("/no/such/program")).is_err());
    }

    #[test]
    fn a_hanging_command_is_given_up() {
        let started = Instant::now();
        let error = run_within(Command::new("sleep").arg("60"), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("still running"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
        run_within(&mut Command::new("true"), Duration::from_secs(10)).unwrap();
        assert!(run_within(&mut Command::new("false"), Duration::from_secs(10)).is_err());
    }
}
