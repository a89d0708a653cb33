//! Whose packets and calls: from the selector in the file to a cgroup and its network namespaces.
//!
//! Every selector ends in a cgroup of the v2 hierarchy; it and everything below it is the target. What must stay true: a
//! selector that names nothing is an error, never "everything".

mod cgroup;
mod command;
mod netns;

use std::{path::PathBuf, sync::Arc};

use thiserror::Error;
use toml::Spanned;

pub use cgroup::{Cgroup, Hierarchy, Processes};
pub(crate) use command::in_words;
pub use command::{Command, Leftovers, OwnCgroup, remove_leftovers};
pub use netns::{NetNs, all as all_namespaces, inside};

use crate::config::{Problem, TargetSpec};

/// What the target is, looked up.
#[derive(Debug)]
pub struct Target {
    /// The cgroup; it and everything below it is hit.
    pub cgroup: Cgroup,
    /// The network namespaces of its processes; never empty.
    pub namespaces: Vec<Arc<NetNs>>,
    /// The command to start in it, and the cgroup made for that.
    pub command: Option<(Vec<String>, OwnCgroup)>,
}

/// Why a target could not be looked up.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The file names something that is not there.
    #[error("{}", .0.message)]
    Mistake(Problem),
    /// The cgroup v2 hierarchy is not mounted.
    #[error(
        "no cgroup v2 hierarchy is visible: mount one with `mount -t cgroup2 none /sys/fs/cgroup`. (`ip netns exec` hides \
         the host's: use `nsenter --net=/run/netns/NAME` instead)"
    )]
    NoHierarchy,
    /// Only a part of the hierarchy is visible.
    #[error(
        "{0} is not the root of the cgroup hierarchy: kchaos runs in a cgroup namespace of its own. \
         Start it in the host's (docker run --cgroupns=host, or hostPID and the host's /sys/fs/cgroup on Kubernetes)"
    )]
    NotTheRoot(PathBuf),
    /// The network namespace of a process of the target cannot be opened.
    #[error(
        "cannot look at the network namespace of process {pid} of the target: {error}. That takes CAP_SYS_PTRACE \
         (and CAP_SYS_ADMIN to enter it): run kchaos as root"
    )]
    UnreadableNamespace {
        /// The process.
        pid: i32,
        /// The kernel's answer.
        error: std::io::Error,
    },
    /// The target has processes outside the pid namespace of kchaos.
    #[error(
        "the cgroup {0} has processes that are not visible here: kchaos runs in a pid namespace of its own. Start it in \
         the host's (docker run --pid=host, hostPID on Kubernetes)"
    )]
    HiddenProcesses(String),
    /// The command of the target is not there, or is no program.
    #[error("cannot start {program}: {error}")]
    Command {
        /// Its first word.
        program: String,
        /// What exec(2) said.
        error: std::io::Error,
    },
    /// Something the kernel refused.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        error: std::io::Error,
    },
}

impl TargetError {
    pub(crate) fn io(what: impl Into<String>, error: impl Into<std::io::Error>) -> Self {
        Self::Io { what: what.into(), error: error.into() }
    }
}

/// Looks the selector up. For a command, its cgroup is made and nothing is started yet.
pub fn resolve(spec: &Spanned<TargetSpec>) -> Result<Target, TargetError> {
    let hierarchy = Hierarchy::find()?;
    let (cgroup, command) = match spec.get_ref() {
        TargetSpec::Cgroup(name) => (existing(&hierarchy, name, spec)?, None),
        TargetSpec::Host => (hierarchy.cgroup("/")?, None),
        TargetSpec::Command(words) => {
            let _what_is_stuck_is_no_obstacle = remove_leftovers(&hierarchy);
            let own = OwnCgroup::create(&hierarchy)?;
            (own.cgroup()?, Some((words.clone(), own)))
        }
    };
    let namespaces = netns::of_cgroup(&cgroup)?;
    Ok(Target { cgroup, namespaces, command })
}

fn existing(hierarchy: &Hierarchy, name: &str, spec: &Spanned<TargetSpec>) -> Result<Cgroup, TargetError> {
    match hierarchy.cgroup(name) {
        Err(TargetError::Io { error, .. }) if is_absence(&error) => {
            let nearest = hierarchy.nearest(name);
            Err(TargetError::Mistake(
                Problem::at(spec.span(), format!("there is no cgroup {name}"), "not found").help(format!(
                    "paths start at the cgroup v2 root, {}; what exists of this one is {nearest}. \
                     `systemd-cgls` or `cat /proc/PID/cgroup` shows a service's cgroup",
                    hierarchy.mount().display()
                )),
            ))
        }
        Ok(cgroup) if cgroup.level == 0 => Err(TargetError::Mistake(
            Problem::at(spec.span(), format!("the cgroup {name} is the whole host"), "the root cgroup")
                .help("to select every process of the host, say so: host = true"),
        )),
        other => other,
    }
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}
