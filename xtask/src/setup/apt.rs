//! Debian's packages: what is on offer, and how to install it without touching anything else.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{sh, toolchain, version::Version};

/// Nothing that is not asked for: no recommended packages, and never the removal of one that is in the way.
const INSTALL: [&str; 4] = ["install", "--yes", "--no-install-recommends", "--no-remove"];

/// No questions, and no restart of the user's services because a library was updated.
const ENVIRONMENT: [&str; 2] = ["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"];

/// Runs a command while every start of a service is refused, as Debian's policy is asked before each. If there is a policy
/// already, it is the machine's; ours ends with us, whatever we end of.
const WITHOUT_SERVICES: &str = "policy=/usr/sbin/policy-rc.d; \
    [ -e $policy ] || { \
    trap 'rm -f $policy' EXIT; trap 'exit 1' HUP INT TERM; \
    printf '#!/bin/sh\\nkill -0 %s 2>/dev/null && exit 101\\nexit 0\\n' $$ > $policy && chmod 755 $policy; }; \
    \"$@\"";

/// The package manager. It refreshes its lists once, and only if something is to be installed.
#[derive(Default)]
pub struct Apt {
    refreshed: bool,
}

impl Apt {
    /// Installs packages.
    pub fn install(&mut self, packages: &[&str]) -> Result<()> {
        self.refresh(packages)?;
        println!("setup    installing the packages {}", packages.join(", "));
        let mut install = root_command(packages, &["sh", "-c", WITHOUT_SERVICES, "sh", "apt-get"])?;
        sh::run(install.args(INSTALL).args(packages))
            .with_context(|| format!("try it by hand to see what is in the way: {}", by_hand(packages)))
    }

    /// Installs a package if that is allowed and takes no change to what is installed.
    pub fn install_harmlessly(&mut self, package: &str) -> Result<()> {
        // Whether it is allowed, before anything is tried.
        root_command(&[package], &["apt-get"])?;
        self.refresh(&[package])?;
        let mut simulation = Command::new("apt-get");
        simulation.args(INSTALL).args(["--simulate", package]).env("LC_ALL", "C");
        let Ok(said) = sh::output(&mut simulation) else {
            bail!("apt would have to remove something, or does not know it");
        };
        if said.lines().any(|line| line.starts_with("Inst ") && upgrades(line)) {
            bail!("apt would have to change the version of something");
        }
        self.install(&[package])
    }

    /// Brings the package lists up to date; a machine image often comes without any.
    pub fn refresh(&mut self, wanted: &[&str]) -> Result<()> {
        if !self.refreshed {
            let mut update = root_command(wanted, &["apt-get"])?;
            println!("setup    refreshing the package lists");
            if let Err(error) = sh::run(update.args(["update", "--quiet"])) {
                // One stale source must not be in the way of packages that come from another.
                println!("setup    going on with the lists that are there: {error:#}");
            }
            self.refreshed = true;
        }
        Ok(())
    }

    /// The version that would be installed of each package that there is.
    pub fn candidates(packages: &[&str]) -> Result<BTreeMap<String, Version>> {
        let mut policy = Command::new("apt-cache");
        // The words that are looked for below are translated in other locales.
        let policy = sh::output(policy.arg("policy").args(packages).env("LC_ALL", "C"))?;
        Ok(parse_policy(&policy))
    }
}

/// Whether a line of a simulation replaces an installed version: `Inst name [old] (new origin [amd64])`.
fn upgrades(line: &str) -> bool {
    line.split_once('(').is_some_and(|(head, _)| head.contains('['))
}

/// The same installation as a person would type it.
pub fn by_hand(packages: &[&str]) -> String {
    let sudo = sudo();
    format!("{sudo}apt-get update && {sudo}apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Keeps a service that came with a package from being started with the machine.
pub fn disable(service: &str) -> Result<()> {
    let mut command =
        sh::find_system("update-rc.d").and_then(sh::as_root).context("cannot disable its service")?;
    sh::run(command.args([service, "disable"]))
}

/// The same as a person would type it.
pub fn disable_by_hand(service: &str) -> String {
    format!("{}update-rc.d {service} disable", sudo())
}

/// What a person would type before what takes root's rights.
fn sudo() -> &'static str {
    if sh::is_root() || toolchain::program("sudo").is_none() { "" } else { "sudo " }
}

/// `words`, which run `apt-get`, as root, or an error that says what to run by hand.
fn root_command(packages: &[&str], words: &[&str]) -> Result<Command> {
    if toolchain::program("apt-get").is_none() {
        bail!("this machine has no apt-get; install what Debian calls {} by hand", packages.join(", "));
    }
    // Through env, as sudo does not hand variables on.
    let mut command = sh::as_root("env").with_context(|| {
        format!(
            "packages can only be installed by root, and there is no sudo; run as root: {}",
            by_hand(packages)
        )
    })?;
    command.args(ENVIRONMENT).args(words);
    Ok(command)
}

/// Reads the answer of `apt-cache policy`: a line with the package's name, then indented lines about it.
fn parse_policy(policy: &str) -> BTreeMap<String, Version> {
    let mut candidates = BTreeMap::new();
    let mut package = "";
    for line in policy.lines() {
        if !line.starts_with(' ') {
            package = line.trim_end_matches(':');
        } else if let Some(version) = line.trim().strip_prefix("Candidate:").and_then(Version::find) {
            candidates.insert(package.to_owned(), version);
        }
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::{by_hand, parse_policy, upgrades};
    use crate::version::Version;

    const POLICY: &str = "\
rustc-web:
  Installed: 1.85.0+dfsg3-1~deb12u3
  Candidate: 1.96.0+dfsg1-1~deb12u2
  Version table:
     1.96.0+dfsg1-1~deb12u2 500
        500 http://mirror.example.org/debian-security bookworm-security/main amd64 Packages
 *** 1.85.0+dfsg3-1~deb12u3 100
        100 /var/lib/dpkg/status
rust-src:
  Installed: (none)
  Candidate: (none)
  Version table:
rustc:
  Installed: (none)
  Candidate: 1.63.0+dfsg1-2
  Version table:
     1.63.0+dfsg1-2 500
";

    #[test]
    fn reads_the_candidate_and_not_what_is_installed() {
        let candidates = parse_policy(POLICY);
        assert_eq!(candidates.get("rustc-web"), Some(&Version(1, 96, 0)));
        assert_eq!(candidates.get("rustc"), Some(&Version(1, 63, 0)));
    }

    #[test]
    fn a_package_that_cannot_be_installed_is_no_candidate() {
        let candidates = parse_policy(POLICY);
        assert_eq!(candidates.get("rust-src"), None);
        assert_eq!(candidates.len(), 2);
        assert!(parse_policy("").is_empty());
    }

    #[test]
    fn a_package_that_replaces_another_version_is_seen() {
        assert!(upgrades("Inst libusb-1.0-0 [2:1.0.25-1] (2:1.0.26-1 Debian:12.15/oldstable [amd64])"));
        assert!(!upgrades("Inst libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])"));
    }

    #[test]
    fn the_command_to_type_names_the_packages() {
        assert!(
            by_hand(&["gcc", "iproute2"]).ends_with("apt-get install --no-install-recommends gcc iproute2")
        );
    }
}
