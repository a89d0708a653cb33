//! Which Rust toolchain builds the eBPF programs, and in what environment.
//!
//! `core` has no precompiled copy for the BPF target, so it is built from the standard library's source. Not
//! every toolchain comes with that source: the one in use is asked first, then the distribution's own under
//! `/usr/bin`. What decides is whether the source is there, never a version. `build.rs` and `cargo xtask`
//! share this file, so that what `cargo xtask setup` checks is what the build needs.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

/// The target the kernel's verifier reads on every little-endian machine.
pub const TARGET: &str = "bpfel-unknown-none";

/// Options that make a stable cargo build `core` for a target it has no copy of.
pub const BUILD_STD: [&str; 4] = ["-Z", "build-std=core", "--target", TARGET];

/// The variables that say how cargo reaches its registry and shares its job slots; every other `CARGO_*` is
/// dropped.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_TERM_",
];

/// A cargo and rustc pair that has the standard library's source.
#[derive(Debug)]
pub struct Toolchain {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    sysroot: PathBuf,
    /// Whether this is the distribution's toolchain and not the one that runs this build.
    distribution: bool,
}

impl Toolchain {
    /// What the compiler says of itself: release, host, LLVM.
    pub fn verbose_version(&self) -> Option<String> {
        answer(Command::new(&self.rustc).arg("-vV"))
    }

    /// The toolchain in use if it can build `core`, else the distribution's if that one can.
    pub fn find(cargo: &Path, rustc: &Path) -> Option<Self> {
        Self::with_source(cargo, rustc, false)
            .or_else(|| Self::with_source(Path::new("/usr/bin/cargo"), Path::new("/usr/bin/rustc"), true))
    }

    fn with_source(cargo: &Path, rustc: &Path, distribution: bool) -> Option<Self> {
        let mut ask = Command::new(rustc);
        if distribution {
            ask.env_remove("LD_LIBRARY_PATH");
        }
        let sysroot = PathBuf::from(answer(ask.args(["--print", "sysroot"]))?.trim());
        let usable = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file() && starts(cargo);
        usable.then(|| Self { cargo: cargo.into(), rustc: rustc.into(), sysroot, distribution })
    }

    /// A command of this toolchain that builds for the BPF target and knows nothing of the build around it.
    ///
    /// `arch` is the machine the programs will run on, `scratch` a folder that may be written to.
    pub fn command(
        &self,
        program: &Path,
        linker: &Path,
        arch: &str,
        scratch: &Path,
    ) -> Result<Command, String> {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(leaks) {
                command.env_remove(name);
            }
        }
        if self.distribution {
            command.env_remove("RUSTUP_TOOLCHAIN");
        }
        command
            .env("CARGO", &self.cargo)
            .env("RUSTC", &self.rustc)
            // Empty and not unset: a wrapper in the user's cargo configuration would come back.
            .env("RUSTC_WRAPPER", "")
            .env("RUSTC_WORKSPACE_WRAPPER", "")
            // A stable rustc builds `core` only with this. It must not reach any other crate.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags(linker, arch)?);
        if let Some(paths) = self.loader_path(scratch)? {
            command.env("LD_LIBRARY_PATH", paths);
        }
        Ok(command)
    }

    /// bpf-linker borrows the LLVM that rustc itself uses, and loads the first `libLLVM*` it meets in these
    /// folders.
    ///
    /// A system's library folder may hold several; so it is shown a folder with exactly the right one.
    fn loader_path(&self, scratch: &Path) -> Result<Option<OsString>, String> {
        let inherited = env::var_os("LD_LIBRARY_PATH").filter(|_| !self.distribution);
        let Some(llvm) = self.llvm() else {
            return Ok(inherited);
        };
        let folder = scratch.join("llvm");
        let said = |error| format!("cannot prepare {}: {error}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(said)?;
        }
        fs::create_dir_all(&folder).map_err(said)?;
        symlink(&llvm, folder.join(llvm.file_name().unwrap_or_default())).map_err(said)?;
        let inherited = inherited.unwrap_or_default();
        let others = env::split_paths(&inherited).filter(|path| !path.as_os_str().is_empty());
        env::join_paths(std::iter::once(folder.clone()).chain(others))
            .map(Some)
            .map_err(|error| format!("LD_LIBRARY_PATH cannot hold {}: {error}", folder.display()))
    }

    /// The shared LLVM library of this toolchain's rustc. A bpf-linker with LLVM built in needs none.
    fn llvm(&self) -> Option<PathBuf> {
        let version = self.verbose_version()?;
        let version = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
        let major = version.split('.').next()?;
        let lib = self.sysroot.join("lib");
        let mut folders =
            vec![lib.clone(), lib.join(format!("llvm-{major}/lib")), self.sysroot.join("lib64")];
        folders.extend(entries(&lib).filter(|path| path.to_string_lossy().ends_with("-linux-gnu")));
        let named = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let version = name
                .strip_prefix("libLLVM-")
                .or_else(|| name.strip_prefix("libLLVM.so."))
                .and_then(|rest| rest.strip_prefix(major));
            version.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        };
        folders.iter().flat_map(|folder| entries(folder)).filter(named).find(|path| is_elf(path))
    }
}

/// A program's full path: where the shell finds it, else where `cargo install` puts it.
pub fn program(name: &str) -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|folder| folder.join(name))
        .find(|file| file.is_absolute() && file.is_file())
}

/// Whether a variable of the outer build would change what the inner one does.
fn leaks(name: &str) -> bool {
    let cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
    cargo
        || name.starts_with("RUSTC")
        || name.starts_with("RUSTDOC")
        || matches!(name, "RUSTFLAGS" | "CLIPPY_ARGS")
}

/// Type information (BTF) comes from debug information; the map definitions and the loader need it.
fn rustflags(linker: &Path, arch: &str) -> Result<String, String> {
    let linker = linker
        .to_str()
        .ok_or_else(|| format!("the path of bpf-linker is not UTF-8: {}", linker.display()))?;
    // The struct layouts of aya-ebpf differ with the machine; cargo's own `cfg` speaks of the BPF target
    // only.
    let arch = if arch.starts_with("riscv64") { "riscv64" } else { arch };
    Ok([
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2",
        &format!("-Clinker={linker}"),
        "-Clink-arg=--btf",
    ]
    .join("\x1f"))
}

/// What a command printed, if it ran and succeeded.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn starts(cargo: &Path) -> bool {
    answer(Command::new(cargo).arg("--version")).is_some()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// rustup ships a linker script under one of the library's names, which cannot be loaded.
fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}
