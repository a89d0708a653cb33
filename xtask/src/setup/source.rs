//! The standard library's source, from which `core` is built for the BPF target, and rustup's components.
//!
//! rustup is the usual way to get it. Where there is no rustup, or it can download nothing, the distribution
//! may have a whole second toolchain that is new enough; it is used for the eBPF programs alone.

use std::{collections::BTreeMap, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, by_hand};
use crate::{sh, toolchain, toolchain::Toolchain, version::Version};

/// Debian's names for rustc, cargo and the source: its own toolchain, and the newer one it keeps for
/// browsers.
const PACKAGES: [[&str; 3]; 2] = [["rustc", "cargo", "rust-src"], ["rustc-web", "cargo-web", "rust-web-src"]];

/// rustup tries for long where it cannot reach its server.
const RUSTUP_LIMIT: Duration = Duration::from_mins(3);

/// Whether some toolchain has the source and is new enough for our crates.
pub fn check() -> Result<String, String> {
    let toolchain = Toolchain::find(&sh::cargo_path(), &sh::rustc_path())
        .ok_or("no Rust toolchain here has the standard library's source")?;
    let said = sh::output(Command::new(&toolchain.rustc).arg("--version").env_remove("LD_LIBRARY_PATH"))
        .map_err(|error| format!("{error:#}"))?;
    new_enough(&said, required()).map(|version| format!("of rustc {version}"))
}

/// Installs it, by rustup or else from the distribution.
pub fn install(apt: &mut Apt) -> Result<()> {
    let Err(from_rustup) = add_component("rust-src") else {
        return Ok(());
    };
    println!("setup    trying the distribution's packages, as {from_rustup:#}");
    apt.refresh(&PACKAGES.concat())?;
    let Some(packages) = suitable(&Apt::candidates(&PACKAGES.concat())?, required()) else {
        bail!(
            "{from_rustup:#}; and the distribution has no rustc and rust-src from {} on. \
             Where rustup works, `rustup component add rust-src` is all it takes",
            required()
        );
    };
    apt.install(&packages)
}

/// Says how it would be installed.
pub fn preview() -> Result<()> {
    println!("would run: rustup component add rust-src");
    match suitable(&Apt::candidates(&PACKAGES.concat())?, required()) {
        Some(packages) => println!("       or: {}", by_hand(&packages)),
        None => println!("       or: nothing; the distribution has no rustc from {} on", required()),
    }
    Ok(())
}

/// Adds a component to the rustup toolchain in use.
pub fn add_component(name: &str) -> Result<()> {
    let rustup = toolchain::program("rustup").context("there is no rustup here")?;
    let mut add = Command::new(rustup);
    add.args(["component", "add", name]);
    println!("setup    {}", sh::shown(&add));
    sh::run_within(&mut add, RUSTUP_LIMIT)
}

/// The first set of packages in which both the compiler and the source are new enough.
fn suitable(candidates: &BTreeMap<String, Version>, required: Version) -> Option<[&'static str; 3]> {
    PACKAGES.into_iter().find(|[rustc, cargo, source]| {
        let new_enough = |name: &str| candidates.get(name).is_some_and(|version| *version >= required);
        // Debian counted cargo's versions apart from rustc's for long, and the packages depend on each other.
        new_enough(rustc) && new_enough(source) && candidates.contains_key(*cargo)
    })
}

/// The version of rustc that the workspace asks for.
fn required() -> Version {
    Version::find(env!("CARGO_PKG_RUST_VERSION")).unwrap_or(Version(1, 85, 0))
}

/// Whether the rustc that printed this can compile our crates.
fn new_enough(said: &str, required: Version) -> Result<Version, String> {
    match Version::find(said) {
        Some(version) if version >= required => Ok(version),
        Some(version) => Err(format!("rustc {version} has it, but {required} or later is needed")),
        None => Err(format!("rustc does not say its version, but {:?}", said.trim())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{new_enough, required, suitable};
    use crate::version::Version;

    fn offer(packages: &[(&str, Version)]) -> BTreeMap<String, Version> {
        packages.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
    }

    #[test]
    fn the_newer_toolchain_is_taken_where_the_usual_one_is_too_old() {
        let bookworm = offer(&[
            ("rustc", Version(1, 63, 0)),
            ("cargo", Version(0, 66, 0)),
            ("rust-src", Version(1, 63, 0)),
            ("rustc-web", Version(1, 96, 0)),
            ("cargo-web", Version(1, 96, 0)),
            ("rust-web-src", Version(1, 96, 0)),
        ]);
        assert_eq!(suitable(&bookworm, Version(1, 95, 0)), Some(["rustc-web", "cargo-web", "rust-web-src"]));
        assert_eq!(suitable(&bookworm, Version(1, 60, 0)), Some(["rustc", "cargo", "rust-src"]));
        assert_eq!(suitable(&bookworm, Version(1, 99, 0)), None);
    }

    #[test]
    fn a_set_with_a_package_missing_is_not_taken() {
        let partial = offer(&[("rustc", Version(1, 99, 0)), ("cargo", Version(1, 99, 0))]);
        assert_eq!(suitable(&partial, Version(1, 95, 0)), None);
        assert_eq!(suitable(&BTreeMap::new(), Version(1, 95, 0)), None);
    }

    #[test]
    fn an_old_compiler_is_refused() {
        assert_eq!(new_enough("rustc 1.96.0 (ac68faa20)", Version(1, 95, 0)), Ok(Version(1, 96, 0)));
        assert!(new_enough("rustc 1.85.0", Version(1, 95, 0)).is_err());
        assert!(new_enough("", Version(1, 95, 0)).is_err());
    }

    #[test]
    fn the_workspace_says_which_compiler_it_needs() {
        assert!(required() > Version(1, 85, 0));
    }
}
