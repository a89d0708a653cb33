//! The cgroups that runc makes, in all hierarchies of either version, and their end.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use chaos_daemon::target::Hierarchy;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::slow;

/// Ends the shims, which are in the cgroup `own`, and whatever is in those called `pods`, which are removed.
pub fn end(own: &str, pods: &str) {
    let (own, pods) = (own.trim_start_matches('/'), pods.trim_start_matches('/'));
    let shims = Hierarchy::find().unwrap().mount().join(own);
    for _ in 0..500 * slow() {
        // First those that would see their containers end, and start programs to clean up.
        kill_below(&shims);
        let left = roots().into_iter().map(|root| root.join(pods)).filter(|pods| !remove(pods)).count();
        if left == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    eprintln!("cgroups called {pods} are left");
}

/// Where each hierarchy of cgroups is mounted, of both versions.
fn roots() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (path, kind) = (words.next()?, words.next()?);
            kind.starts_with("cgroup").then(|| path.into())
        })
        .collect()
}

fn kill_below(cgroup: &Path) {
    for child in children(cgroup) {
        kill_below(&child);
    }
    let listed = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in listed.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0) {
        let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Ends what runs in a cgroup and removes it; answers whether it is gone.
fn remove(cgroup: &Path) -> bool {
    kill_below(cgroup);
    remove_empty(cgroup);
    !cgroup.exists()
}

fn remove_empty(cgroup: &Path) {
    for child in children(cgroup) {
        remove_empty(&child);
    }
    let _in_use_or_gone = fs::remove_dir(cgroup);
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}
