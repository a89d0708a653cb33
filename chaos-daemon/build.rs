//! Builds the eBPF programs, so that the `kchaos` binary carries them inside.
//!
//! They are compiled for another target, with `core` from source and perhaps with another toolchain, which
//! cargo cannot express as a dependency: a second cargo does it, with a target folder and an environment of
//! its own. The daemon finds the object through the variable `KCHAOS_BPF_OBJECT`.

#[path = "build/toolchain.rs"]
mod toolchain;

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use object::build::elf::{Builder, SectionData};
use toolchain::{BUILD_STD, TARGET, Toolchain};

/// Where the programs' sources are, relative to this crate; a change in any of them builds the object again.
const SOURCES: [&str; 7] = [
    "build.rs",
    "build",
    "../chaos-ebpf",
    "../chaos-common/src",
    "../chaos-common/Cargo.toml",
    "../Cargo.toml",
    "../Cargo.lock",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe eBPF programs were not built: {error}\n");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    let cargo = PathBuf::from(variable("CARGO")?);
    let rustc = PathBuf::from(variable("RUSTC")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../chaos-ebpf/Cargo.toml");

    let toolchain = Toolchain::find(&cargo, &rustc).ok_or(
        "no Rust toolchain on this machine has the standard library's source, which the BPF target needs; \
         run `cargo xtask setup`",
    )?;
    let linker =
        toolchain::program("bpf-linker").ok_or("bpf-linker is not installed; run `cargo xtask setup`")?;
    // A new compiler or linker makes a new object.
    println!("cargo:rerun-if-changed={}", linker.display());
    if toolchain.rustc.is_absolute() {
        println!("cargo:rerun-if-changed={}", toolchain.rustc.display());
    }
    println!("cargo:rerun-if-env-changed=CARGO_HOME");

    let object = out.join("kchaos.bpf.o");
    let content = compile(&toolchain, &linker, &manifest, &out)?;
    let content = without_debug_information(&content)
        .map_err(|error| format!("cannot strip the eBPF programs: {error}"))?;
    fs::write(&object, content).map_err(|error| format!("cannot write {}: {error}", object.display()))?;
    println!("cargo:rustc-env=KCHAOS_BPF_OBJECT={}", object.display());
    let version = toolchain.verbose_version().unwrap_or_default();
    let release = version.lines().find_map(|line| line.strip_prefix("release: ")).unwrap_or_default();
    println!("cargo:rustc-env=KCHAOS_BPF_RUSTC={release}");
    Ok(())
}

/// Runs the inner cargo and returns the object it made.
fn compile(toolchain: &Toolchain, linker: &Path, manifest: &Path, out: &Path) -> Result<Vec<u8>, String> {
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let target_dir = folder_of_programs(out, &arch, linker, manifest);
    // The inner cargo's own lock ends before the object is read, which with the feature and without is the same file.
    let said = |error| format!("cannot lock {}: {error}", target_dir.display());
    fs::create_dir_all(&target_dir).map_err(said)?;
    let locked = fs::File::create(target_dir.join("lock")).map_err(said)?;
    locked.lock().map_err(said)?;
    let mut command = toolchain.command(&toolchain.cargo, linker, &arch, out)?;
    command
        .args(["build", "--release", "--bin", "chaos-ebpf"])
        .args(BUILD_STD)
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target_dir)
        // The outer cargo reads this script's standard output as instructions.
        .stdout(Stdio::null());
    if env::var_os("CARGO_FEATURE_KERNEL_LOG").is_some() {
        command.args(["--features", "kernel-log"]);
    }
    let status =
        command.status().map_err(|error| format!("cannot start {}: {error}", toolchain.cargo.display()))?;
    if !status.success() {
        return Err(format!("{} says why, above ({status})", toolchain.cargo.display()));
    }
    let built = target_dir.join(TARGET).join("release/chaos-ebpf");
    fs::read(&built).map_err(|error| format!("cannot read {}: {error}", built.display()))
}

/// A folder of their own, as the outer cargo holds a lock on its target folder while this runs; but one for all its
/// profiles: what the programs become does not depend on how the daemon is built. It is another one for another checkout,
/// and for another linker, of which the inner cargo sees only the path.
fn folder_of_programs(out: &Path, arch: &str, linker: &Path, manifest: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    manifest.hash(&mut hasher);
    let about = fs::metadata(linker);
    about.map(|about| (about.len(), about.modified().ok())).ok().hash(&mut hasher);
    let name = format!("ebpf-{arch}-{:016x}", hasher.finish());
    // <target>/[<triple>/]<profile>/build/<package>/out; with another layout it is a folder of this build alone.
    let built = out.ancestors().nth(2).filter(|folder| folder.ends_with("build"));
    let above = built.and_then(|folder| folder.ancestors().nth(2));
    let triple = env::var("TARGET").unwrap_or_default();
    match above {
        Some(folder) if folder.ends_with(&triple) => folder.parent().unwrap_or(folder).join(name),
        Some(folder) => folder.join(name),
        None => out.join(name),
    }
}

/// The object without DWARF: the linker has made BTF of it, which is what the kernel reads. It is more than half of the
/// object, and would be looked through at every start.
fn without_debug_information(content: &[u8]) -> Result<Vec<u8>, object::build::Error> {
    let mut object = Builder::read(content)?;
    for section in &mut object.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    object.delete_orphans();
    // LLVM keeps the names of sections among those of symbols; what writes it wants a place for them alone.
    if !object.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = object.sections.add();
        names.name = b".shstrtab"[..].into();
        names.sh_type = object::elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    object.write(&mut stripped)?;
    Ok(stripped)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}
