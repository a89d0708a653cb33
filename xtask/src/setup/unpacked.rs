//! Programs that are only unpacked, below target/, where the machine cannot or must not install them.
//!
//! apt refuses to install QEMU where that would take the removal of something else (a newer qemu-utils, for
//! one), and only root can install at all. Neither hinders downloading: the package and those it needs that
//! are not installed are unpacked into a folder of their own, and the program runs from there, with their
//! libraries beside the machine's. Nothing of the machine is changed.

use std::{
    env, fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{sh, toolchain};

/// A mirror that does not answer.
const LIMIT: Duration = Duration::from_mins(10);

/// A program that can be run from wherever it was unpacked.
pub struct Tool {
    /// By which it is called.
    pub program: &'static str,
    /// Its file, where that has another name.
    file: &'static str,
    /// The package.
    pub package: &'static str,
}

pub const QEMU: Tool =
    Tool { program: "qemu-system-x86_64", file: "qemu-system-x86_64", package: "qemu-system-x86" };
/// One file under many names, which are links to an absolute path.
pub const DEPMOD: Tool = Tool { program: "depmod", file: "kmod", package: "kmod" };
pub const XZ: Tool = Tool { program: "xz", file: "xz", package: "xz-utils" };

impl Tool {
    /// The machine's program if there is one, else ours.
    pub fn command(&self) -> Result<Command> {
        if let Some(installed) = sh::find_system(self.program) {
            return Ok(Command::new(installed));
        }
        let folder = self.folder()?;
        let file = ["usr/bin", "bin", "usr/sbin", "sbin"]
            .map(|place| folder.join(place).join(self.file))
            .into_iter()
            .find(|file| file.is_file());
        let file = file.with_context(|| format!("there is no {}; run `cargo xtask setup`", self.program))?;
        let mut command = Command::new(file);
        command.arg0(self.program).env("LD_LIBRARY_PATH", library_path(&folder)?);
        if self.package == QEMU.package {
            relocate_qemu(&mut command, &folder);
        }
        Ok(command)
    }

    /// Where it is unpacked.
    fn folder(&self) -> Result<PathBuf> {
        Ok(sh::target_dir()?.join("vm").join(self.package))
    }

    /// Fails where nothing can be downloaded with what the machine has.
    fn require_apt(&self, find: impl Fn(&str) -> Option<PathBuf>) -> Result<()> {
        for program in ["apt-get", "dpkg-deb"] {
            if find(program).is_none() {
                bail!("this machine has no {program}; install what Debian calls {} by hand", self.package);
            }
        }
        Ok(())
    }

    /// Downloads and unpacks it with what it needs.
    pub fn unpack(&self) -> Result<()> {
        self.require_apt(toolchain::program)?;
        let folder = self.folder()?;
        let new = folder.with_extension("new");
        for old in [&new, &folder] {
            if old.exists() {
                fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        let downloads = new.join("downloads");
        fs::create_dir_all(&downloads).with_context(|| format!("cannot create {}", downloads.display()))?;
        let apt = Apt::new(sh::target_dir()?.join("vm/apt/machine"))?;
        let packages = apt.closure(self.package)?;
        println!("setup    downloading {} with {} packages it needs", self.package, packages.len() - 1);
        let mut download = apt.command("apt-get");
        download.args(["download", "-qq"]).args(&packages).current_dir(&downloads);
        sh::run_within(&mut download, LIMIT)?;
        for package in fs::read_dir(&downloads)? {
            let package = package?.path();
            sh::output(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&new))?;
        }
        fs::remove_dir_all(&downloads)?;
        // Complete or not there at all.
        fs::rename(&new, &folder).with_context(|| format!("cannot create {}", folder.display()))
    }
}

/// Everywhere that the unpacked packages have libraries, and what the user has set.
fn library_path(folder: &Path) -> Result<std::ffi::OsString> {
    let mut folders = Vec::new();
    for place in ["usr/lib", "lib"].map(|place| folder.join(place)) {
        let Ok(entries) = fs::read_dir(&place) else { continue };
        let multiarch = entries.filter_map(Result::ok).map(|entry| entry.path());
        folders.extend(multiarch.filter(|path| path.is_dir() && path.to_string_lossy().ends_with("-gnu")));
        folders.push(place);
    }
    folders.sort();
    let users = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    folders.extend(env::split_paths(&users).filter(|path| !path.as_os_str().is_empty()));
    env::join_paths(folders).with_context(|| format!("{} cannot be in a search path", folder.display()))
}

/// QEMU looks for its firmware and its modules where its package would have put them.
fn relocate_qemu(command: &mut Command, folder: &Path) {
    for firmware in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
        command.arg("-L").arg(folder.join(firmware));
    }
    command.env("QEMU_MODULE_DIR", folder.join(format!("usr/lib/{}-linux-gnu/qemu", env::consts::ARCH)));
}

/// apt with the machine's sources and its list of what is installed, but lists and a cache of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: PathBuf) -> Result<Self> {
        for name in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(name))
                .with_context(|| format!("cannot create {}", folder.join(name).display()))?;
        }
        let apt = Self { folder };
        println!("setup    reading what this machine's package sources offer");
        if let Err(error) = sh::run_within(apt.command("apt-get").args(["update", "-qq"]), LIMIT) {
            // One stale source must not be in the way of packages that come from another.
            println!("setup    going on with the lists that are there: {error:#}");
        }
        Ok(apt)
    }

    /// A package and those it needs that are not installed, each as `name=version`.
    fn closure(&self, package: &str) -> Result<Vec<String>> {
        let mut simulation = self.command("apt-get");
        simulation.args(["install", "--simulate", "--no-install-recommends", package]).env("LC_ALL", "C");
        let said = sh::output(&mut simulation)
            .with_context(|| format!("the package sources do not offer {package}"))?;
        let packages = parse_simulation(&said);
        if packages.is_empty() {
            bail!("apt takes {package} for installed, but its program is not there; reinstall it");
        }
        Ok(packages)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (option, value) in [
            ("Dir::State::Lists", self.folder.join("lists").display().to_string()),
            ("Dir::Cache", self.folder.join("cache").display().to_string()),
            ("Acquire::Languages", "none".into()),
            // The folder is the user's, and apt's own user may not be able to get there.
            ("APT::Sandbox::User", "root".into()),
            // Nothing is installed, so whoever is installing something needs not be waited for.
            ("Debug::NoLocking", "true".into()),
        ] {
            command.arg("-o").arg(format!("{option}={value}"));
        }
        command
    }
}

/// Reads lines of `Inst name [installed version] (version origin [architecture])`.
fn parse_simulation(said: &str) -> Vec<String> {
    said.lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
            let version = rest.split_once('(')?.1.split_whitespace().next()?;
            Some(format!("{name}={version}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::{QEMU, library_path, parse_simulation, relocate_qemu};

    const SIMULATION: &str = "\
NOTE: This is only a simulation!
The following packages will be REMOVED:
  qemu-utils
Remv qemu-utils [1:10.0.2+ds-2+deb13u1~bpo12+1]
Inst libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])
Inst libusb-1.0-0 [2:1.0.25-1] (2:1.0.26-1 Debian:12.15/oldstable [amd64]) []
Inst qemu-system-x86 (1:7.2+dfsg-7+deb12u18+b3 Debian:12.15/oldstable [amd64])
Conf libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])
";

    #[test]
    fn what_would_be_installed_is_downloaded_and_nothing_else() {
        assert_eq!(
            parse_simulation(SIMULATION),
            ["libfdt1=1.6.1-4+b1", "libusb-1.0-0=2:1.0.26-1", "qemu-system-x86=1:7.2+dfsg-7+deb12u18+b3"]
        );
        assert!(parse_simulation("qemu-system-x86 is already the newest version").is_empty());
    }

    #[test]
    fn without_apt_the_package_is_named() {
        let error = QEMU.require_apt(|_| None).unwrap_err().to_string();
        assert_eq!(error, "this machine has no apt-get; install what Debian calls qemu-system-x86 by hand");
        assert!(QEMU.require_apt(|program| Some(program.into())).is_ok());
    }

    #[test]
    fn libraries_are_found_where_packages_put_them() {
        let folder = std::env::temp_dir().join(format!("kchaos-unpacked-{}", std::process::id()));
        fs::create_dir_all(folder.join("usr/lib/x86_64-linux-gnu")).unwrap();
        fs::create_dir_all(folder.join("usr/lib/python3")).unwrap();
        let path = library_path(&folder).unwrap().into_string().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let folder = folder.display();
        assert!(path.starts_with(&format!("{folder}/usr/lib:{folder}/usr/lib/x86_64-linux-gnu")), "{path}");
        assert!(!path.contains("python3"), "{path}");
    }

    #[test]
    fn qemu_is_told_where_its_firmware_is() {
        let mut command = Command::new("qemu");
        relocate_qemu(&mut command, "/there".as_ref());
        let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(arguments[..2], ["-L", "/there/usr/share/qemu"]);
    }
}
