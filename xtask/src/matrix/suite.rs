//! The suite as it is run everywhere: one static binary, and what it needs beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{build, sh};

/// What the tests start besides their own programs. Redis' server is the program that checks its dumps, under
/// another name.
const PROGRAMS: [&str; 13] = [
    "ip",
    "tc",
    "redis-check-rdb",
    "redis-benchmark",
    "sh",
    "cat",
    "env",
    "true",
    "false",
    "sleep",
    "taskset",
    "nsenter",
    "unshare",
];

/// The suite and its companions.
pub struct Suite {
    /// The tests.
    pub tests: PathBuf,
    kct: PathBuf,
    kchaos: PathBuf,
}

impl Suite {
    /// Builds everything, static, so that the same files run on this machine and in every guest.
    pub fn build() -> Result<Self> {
        let tests = build::static_test("kchaos-tests", "host")?;
        let folder = sh::target_dir()?.join("suite");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // cargo puts a number behind the name that changes with every change.
        let suite = folder.join("kchaos-suite");
        let new = folder.join("kchaos-suite.new");
        fs::copy(&tests, &new)
            .and_then(|_| fs::rename(&new, &suite))
            .with_context(|| format!("cannot write {}", suite.display()))?;
        let kct = build::static_program("kchaos-tests", "kct")?;
        Ok(Self { tests: suite, kct, kchaos: build::binary()? })
    }

    /// What goes into a guest.
    pub fn programs(&self) -> Vec<PathBuf> {
        let ours = [&self.tests, &self.kct, &self.kchaos].into_iter().cloned();
        ours.chain(PROGRAMS.iter().filter_map(|name| sh::find_system(name))).collect()
    }

    /// The suite's environment, where its companions are in this folder or, without one, where they were built.
    pub fn environment(&self, folder: Option<&Path>) -> Vec<String> {
        let place = |file: &Path| match (folder, file.file_name()) {
            (Some(folder), Some(name)) => folder.join(name),
            _ => file.to_path_buf(),
        };
        let mut variables = vec![
            format!("KCHAOS_BIN={}", place(&self.kchaos).display()),
            format!("KCHAOS_KCT={}", place(&self.kct).display()),
        ];
        // In a guest nobody else's environment is there.
        for name in ["KCHAOS_RENEW", "RUST_BACKTRACE"] {
            variables.extend(std::env::var(name).ok().map(|value| format!("{name}={value}")));
        }
        variables
    }
}
