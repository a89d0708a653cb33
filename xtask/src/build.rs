//! `cargo xtask build`: one static binary with the eBPF programs inside.
//!
//! Static, so that the same file runs on a developer's machine, in a container without a shell and on a
//! cluster node, whatever C library is there.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{elf, setup, sh};

/// Past this size something was linked in that does not belong there.
const LIMIT: u64 = 20 << 20;

/// Runs the command.
pub fn main() -> Result<()> {
    setup::ensure(setup::Purpose::Build)?;
    binary().map(drop)
}

/// Builds the binary, checks it and returns where it is.
pub fn binary() -> Result<PathBuf> {
    let built = static_program("chaos-daemon", "kchaos")?;
    let target = sh::target_dir()?;
    let binary = target.join("kchaos");
    // A new file under the old name: a kchaos that is running cannot be written to.
    let new = target.join("kchaos.new");
    fs::copy(&built, &new)
        .and_then(|_| fs::rename(&new, &binary))
        .with_context(|| format!("cannot write {}", binary.display()))?;
    let size = fs::metadata(&binary)?.len();
    eprintln!("{} is static, {}", binary.display(), mebibytes(size));
    if size > LIMIT {
        bail!("the binary may be {} at most: look at what the last change linked in", mebibytes(LIMIT));
    }
    Ok(binary)
}

/// Builds a program that needs no shared library, and returns where cargo has put it.
pub fn static_program(package: &str, program: &str) -> Result<PathBuf> {
    let host = sh::host()?;
    let target = sh::target_dir()?;
    // Naming the target keeps these flags away from build scripts and macros, which must stay dynamic.
    let flags = format!("{} -C target-feature=+crt-static", env::var("RUSTFLAGS").unwrap_or_default());
    let mut cargo = sh::cargo()?;
    cargo
        .args(["build", "--release", "--package", package, "--bin", program, "--target", &host])
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", flags.trim())
        // It would win over the line above.
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    sh::run(&mut cargo)?;

    let built = target.join(host).join("release").join(program);
    let content = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    elf::require_static(&content).with_context(|| format!("{} is not a static binary", built.display()))?;
    Ok(built)
}

/// A size with one decimal, rounded down.
fn mebibytes(bytes: u64) -> String {
    let tenths = (bytes * 10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, mebibytes};

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(mebibytes(LIMIT), "20.0 MiB");
        assert_eq!(mebibytes(1_600_000), "1.5 MiB");
        assert_eq!(mebibytes(0), "0.0 MiB");
    }
}
