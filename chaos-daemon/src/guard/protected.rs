//! What is never hit unless the file says `allow_protected = true`: the ways to get in and stop it (sshd, our own
//! ports), what keeps the host's containers running (kubelet, the container runtimes), PID 1, and the clouds' metadata
//! services, without which a machine loses its credentials.
//!
//! Processes are protected by cgroup: the kernel knows a packet's cgroup, not its process. The cgroup of a protected
//! process is protected alone, not what lies below it.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::{
    printable::printable,
    target::{Cgroup, Hierarchy, NetNs, cgroup_of_process},
};

/// Names of protected programs, as in /proc/PID/comm.
const PROGRAMS: [&str; 8] =
    ["sshd", "kubelet", "containerd", "dockerd", "crio", "cri-dockerd", "conmon", "podman"];

/// Addresses of the clouds' metadata and credential services.
const METADATA: [&str; 7] = [
    // AWS, Google Cloud, Azure, and most others.
    "169.254.169.254",
    "fd00:ec2::254",
    "fd20:ce::254",
    // Credentials of AWS containers and pods.
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::23",
    // Azure's host agent.
    "168.63.129.16",
];

/// What is protected in and around a target.
#[derive(Debug, Default)]
pub struct Protected {
    /// Cgroups by id, and the program that makes them so.
    pub cgroups: BTreeMap<u64, ProtectedCgroup>,
    /// Far ends.
    pub peers: Vec<IpNet>,
    /// Ports of the near end: our own.
    pub local_ports: Vec<u16>,
}

/// A protected cgroup.
#[derive(Debug)]
pub struct ProtectedCgroup {
    /// Its path below the root.
    pub name: String,
    /// "sshd (pid 812)".
    pub program: String,
    /// Its protected processes.
    pub pids: Vec<i32>,
}

impl Protected {
    /// Looks at the processes of the target's cgroups. `own_ports` are the ports that kchaos itself listens on.
    pub fn find<'a>(
        hierarchy: &Hierarchy,
        target: impl Iterator<Item = &'a Cgroup>,
        own_ports: Vec<u16>,
    ) -> Self {
        let mut cgroups: BTreeMap<u64, ProtectedCgroup> = BTreeMap::new();
        let found = target.flat_map(|cgroup| cgroup.processes().pids).filter_map(|pid| {
            let process = procfs::process::Process::new(pid).ok()?;
            let comm = process.stat().ok()?.comm;
            if pid != 1 && !is_protected(&comm) {
                return None;
            }
            let name = cgroup_of_process(pid)?;
            let cgroup = hierarchy.cgroup(&name).ok()?;
            Some((
                cgroup.id,
                ProtectedCgroup {
                    name,
                    program: format!("{} (pid {pid})", printable(&comm)),
                    pids: vec![pid],
                },
            ))
        });
        for (id, mut found) in found {
            cgroups.entry(id).and_modify(|known| known.pids.append(&mut found.pids)).or_insert(found);
        }
        let peers = METADATA.iter().filter_map(|a| a.parse::<IpAddr>().ok()).map(IpNet::from).collect();
        Self { cgroups, peers, local_ports: own_ports }
    }
}

impl Protected {
    /// Whether a far end is protected by its address.
    pub fn is_far_end(&self, address: IpAddr) -> bool {
        self.peers.iter().any(|peer| peer.contains(&address))
    }

    /// The cgroups, by name.
    pub fn names(&self) -> Vec<String> {
        self.cgroups.values().map(|found| found.name.clone()).collect()
    }

    /// What is protected and lives in a network namespace, as far as is known.
    pub fn inside(&self, namespace: &NetNs) -> Option<&ProtectedCgroup> {
        self.cgroups.values().find(|found| found.pids.iter().any(|pid| namespace.may_have_process(*pid)))
    }
}

/// Whether a process is to be left alone whatever its cgroup, as far as its name tells.
pub fn is_process_protected(pid: i32) -> bool {
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pid == 1 || is_protected(comm.trim_end())
}

fn is_protected(comm: &str) -> bool {
    // sshd-session and sshd-auth of newer OpenSSH, containerd-shim-runc-v2 and its like.
    PROGRAMS.contains(&comm) || comm.starts_with("sshd-") || comm.starts_with("containerd-shim")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metadata_address_is_one() {
        for address in METADATA {
            assert!(address.parse::<IpAddr>().is_ok(), "{address}");
        }
    }
}
