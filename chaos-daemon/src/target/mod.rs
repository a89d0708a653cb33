//! Whose packets and calls: from the selector in the file to a cgroup and its network namespaces.
//!
//! Every selector ends in cgroups of the v2 hierarchy ([`select`]); they and everything below them are the target.
//! What must stay true: a selector that names nothing is an error, never "everything".

mod ancestors;
mod cgroup;
mod cgroup_namespace;
mod command;
mod containers;
mod netns;
pub mod runtime;
mod select;
mod unfound;

use std::{path::PathBuf, sync::Arc};

use thiserror::Error;
use toml::Spanned;

pub(crate) use ancestors::of as ancestors;
pub use cgroup::{Cgroup, Hierarchy, Processes, is_within, of_process as cgroup_of_process};
pub use cgroup_namespace::leave as leave_cgroup_namespace;
pub(crate) use command::in_words;
pub use command::{Command, Leftovers, OwnCgroup, remove_leftovers};
use containers::Containers;
pub use netns::{
    NetNs, all as all_namespaces, inside, of_process as namespace_of, own as own_namespace,
    private as private_namespace,
};
pub use select::{Member, Selection};

use crate::config::{Problem, Selector, TargetSpec};

/// What the target is, looked up.
#[derive(Debug)]
pub struct Target {
    /// The cgroups; they and everything below them are hit. Never empty.
    pub members: Vec<Member>,
    /// The network namespaces of its processes; never empty.
    pub namespaces: Vec<Arc<NetNs>>,
    /// The command to start in it, and the cgroup made for that.
    pub command: Option<(Vec<String>, OwnCgroup)>,
    /// What it was selected by, for asking again.
    pub selection: Selection,
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
        "{0} is not the root of the cgroup hierarchy, or kchaos runs in a cgroup namespace of its own and may not leave it. \
         Start it in the host's (docker run --cgroupns=host, or hostPID, CAP_SYS_ADMIN and the host's /sys/fs/cgroup on \
         Kubernetes)"
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
    /// Calls cannot be told apart by the network namespace that they are made in.
    #[error(
        "this kernel does not say which network namespace a call is made in: connect faults on netns need Linux 5.14. \
         Select the processes instead: cgroup, unit, container or pid"
    )]
    NoCookie,
    /// Which containers there are is not known.
    #[error("{0}")]
    Runtime(#[from] runtime::RuntimeError),
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

/// Looks the selector up; `seed` is what its choice starts from. For a command, its cgroup is made and nothing is
/// started yet.
pub async fn resolve(spec: &Spanned<TargetSpec>, seed: u64) -> Result<Target, TargetError> {
    let hierarchy = Hierarchy::find()?;
    let mut selection = Selection::new(spec, &hierarchy, seed).await?;
    let (members, command) = if let Selector::Command(words) = &spec.get_ref().selector {
        let _what_is_stuck_is_no_obstacle = remove_leftovers(&hierarchy);
        let own = OwnCgroup::create(&hierarchy)?;
        let member = Member::new(format!("command {}", words.join(" ")), own.cgroup()?);
        (vec![member], Some((words.clone(), own)))
    } else {
        (selection.at_start()?, None)
    };
    let mut namespaces = selection.first_namespaces(members.iter().map(|member| &member.cgroup))?;
    if namespaces.is_empty() {
        // Where the first process of an empty cgroup will be, unless someone arranges otherwise.
        namespaces.push(netns::own()?);
    }
    Ok(Target { members, namespaces, command, selection })
}
