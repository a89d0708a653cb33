//! The cgroup of one process, if that is all it holds.

use std::ops::Range;

use super::Member;
use crate::{
    config::Problem,
    printable::printable,
    target::{Hierarchy, TargetError, ancestors, cgroup_of_process},
};

/// The cgroup of a process. The kernel knows a packet's cgroup, not its process: others in it would be hit as well.
pub(super) fn alone(hierarchy: &Hierarchy, pid: i32, at: Range<usize>) -> Result<Member, TargetError> {
    let wrong = |message: String, label: &str, help: &str| {
        TargetError::Mistake(Problem::at(at.clone(), message, label).help(help))
    };
    let absent =
        || wrong(format!("there is no process {pid}"), "not running", "`pgrep -a NAME` shows processes");
    let name = cgroup_of_process(pid).ok_or_else(absent)?;
    let cgroup = hierarchy.cgroup(&name)?;
    // What it has started itself is a part of it.
    let others: Vec<i32> = cgroup
        .processes()
        .pids
        .into_iter()
        .filter(|other| !ancestors::of(*other).any(|ancestor| ancestor == pid))
        .collect();
    if cgroup.level == 0 || !others.is_empty() {
        return Err(wrong(
            format!(
                "process {pid} shares its cgroup {} with {} others",
                printable(&cgroup.name),
                others.len()
            ),
            "not alone",
            "packets are told apart by cgroup: select the cgroup to hit all of them, or start the process in one of \
             its own (systemd-run --scope, or command = [...])",
        ));
    }
    Ok(Member::new(format!("process {pid} (cgroup {})", cgroup.name), cgroup))
}
