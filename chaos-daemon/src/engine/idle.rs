//! `reset` with `idle = true`: connections over which nothing comes show no packet to cut them by. The kernel ends them
//! when it is asked to (`sock_diag(7)`, `SOCK_DESTROY`): their owner wakes up with ECONNABORTED, and the other end gets a
//! reset.
//!
//! What must stay true: nothing is cut that a packet of the same connection would not be cut by: the same conditions, the
//! same times, the same draw, the same protection. Its age counts from when it was listed here first, as the programs count
//! from the first packet that they see. What was done is counted like what the programs do.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chaos_common::{
    counters::{Counters, Skip},
    draw, flow,
    reset::AFTER_NS,
    rule::{FLAG_FLOWS, FLAG_SHADOW, Rule},
    table::words_of,
    window::{self, Phase},
};

use super::{
    boot_ns,
    model::{self, Ports, Seen},
    tables::Addresses,
};
use crate::{
    config::FaultSpec,
    guard::protected::Protected,
    sock_diag::{Connection, SockDiag, TCP},
    target::{Cgroup, NetNs, inside},
};

/// How often all connections are looked at while a fault is on. What comes to life is cut by its packets.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Connections without traffic.
#[derive(Debug, Default)]
pub struct Idle {
    /// What was done, by fault.
    pub counts: Vec<Counters>,
    /// Which were counted and left as they are, by fault.
    spared: HashSet<(usize, u64)>,
    /// Since when each is known, by `CLOCK_BOOTTIME` in ns.
    since: HashMap<u64, u64>,
    /// Whether each was on when it was looked at last.
    were_on: Vec<bool>,
    looked: Option<Instant>,
}

/// Whose connections, and what about them.
pub struct Look<'a> {
    /// The faults as read.
    pub faults: &'a [FaultSpec],
    /// The same for the kernel, with times on the boot clock.
    pub rules: &'a [Rule],
    /// Addresses of host names.
    pub names: &'a Addresses,
    /// What is left alone.
    pub protected: &'a Protected,
    /// Whether protection counts.
    pub guarded: bool,
    /// The target's cgroups; `None` where it is all that is in its namespaces.
    pub cgroups: Option<Vec<&'a Cgroup>>,
    /// Its network namespaces.
    pub namespaces: &'a [Arc<NetNs>],
}

impl Idle {
    /// Cuts what is to be cut now, if it is time to look.
    pub fn cut(&mut self, look: &Look<'_>) -> io::Result<()> {
        self.counts.resize(look.rules.len(), Counters::default());
        let now = boot_ns();
        let on: Vec<bool> =
            look.faults.iter().zip(look.rules).map(|(fault, rule)| is_on(fault, rule, now)).collect();
        let begins =
            on.iter().zip(self.were_on.iter().chain(std::iter::repeat(&false))).any(|(is, was)| *is && !was);
        let due = self.looked.is_none_or(|last| last.elapsed() >= LOOK_EVERY);
        self.were_on.clone_from(&on);
        // Where it counts how old they are, they are listed before it is time to cut them.
        let waits = look.faults.iter().zip(look.rules).any(|(fault, rule)| asks_for_age(fault, rule));
        if !begins && !(due && (waits || on.contains(&true))) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let inodes = look.cgroups.as_ref().map(|cgroups| below(cgroups));
        let mut since = HashMap::new();
        for namespace in look.namespaces {
            inside(namespace, || self.cut_here(look, &on, inodes.as_ref(), &mut since))
                .map_err(io::Error::other)??;
        }
        self.since = since;
        Ok(())
    }

    /// `since`: fills in since when each is known.
    fn cut_here(
        &mut self,
        look: &Look<'_>,
        on: &[bool],
        cgroups: Option<&HashSet<u64>>,
        since: &mut HashMap<u64, u64>,
    ) -> io::Result<()> {
        let sockets = SockDiag::open()?;
        let now = boot_ns();
        for connection in sockets.connections()? {
            if cgroups.is_some_and(|cgroups| !cgroups.contains(&connection.cgroup)) {
                continue;
            }
            let cookie = connection.cookie();
            let first = self.since.get(&cookie).copied().unwrap_or(now);
            since.insert(cookie, first);
            let is_due = |rule: &Rule| now - first >= rule.numbers[AFTER_NS];
            let here = look.rules.iter().enumerate().filter(|(index, rule)| {
                on[*index] && is_due(rule) && fits(&look.faults[*index], look.names, &connection)
            });
            for (index, rule) in here {
                if let Some(why) = spared(rule, look, &connection) {
                    self.spare(index, &connection, why);
                    continue;
                }
                match sockets.destroy(&connection) {
                    Ok(true) => {
                        self.counts[index].matched += 1;
                        self.counts[index].injected += 1;
                        self.counts[index].last_injected_ns = boot_ns();
                    }
                    // It went by itself.
                    Ok(false) => {}
                    Err(error) => {
                        tracing::debug!("ending a connection to {}: {error}", connection.remote);
                        self.spare(index, &connection, Skip::Failed);
                    }
                }
                break;
            }
        }
        Ok(())
    }

    /// Once for each connection, however often it is looked at.
    fn spare(&mut self, index: usize, connection: &Connection, why: Skip) {
        if self.spared.insert((index, connection.cookie())) {
            self.counts[index].matched += 1;
            self.counts[index].skipped[why as usize] += 1;
        }
    }
}

/// Refuses faults that this kernel cannot do.
pub fn check(faults: &[FaultSpec]) -> io::Result<()> {
    if faults.iter().any(|fault| fault.fault.cuts_idle()) { SockDiag::open()?.can_destroy() } else { Ok(()) }
}

/// Whether a fault looks at connections without traffic now.
fn is_on(fault: &FaultSpec, rule: &Rule, now: u64) -> bool {
    fault.fault.cuts_idle() && window::phase(rule, now) == Phase::On
}

/// Whether a fault cuts connections when they are so old.
fn asks_for_age(fault: &FaultSpec, rule: &Rule) -> bool {
    fault.fault.cuts_idle() && rule.numbers[AFTER_NS] != 0
}

fn fits(fault: &FaultSpec, names: &Addresses, connection: &Connection) -> bool {
    let Connection { local, remote, .. } = connection;
    let ports = Ports::Known { near: Some(local.port()), far: remote.port() };
    let seen = Seen { far: remote.ip(), protocol: TCP.into(), ports };
    model::fits(fault, names, u32::MAX, &seen)
}

/// Why a connection that fits is left as it is.
fn spared(rule: &Rule, look: &Look<'_>, connection: &Connection) -> Option<Skip> {
    let Connection { local, remote, cgroup, .. } = connection;
    let protected = look.protected;
    let guarded = protected.cgroups.contains_key(cgroup)
        || protected.peers.iter().any(|network| network.contains(&remote.ip()))
        || protected.local_ports.contains(&local.port());
    if look.guarded && guarded {
        return Some(Skip::Protected);
    }
    let id = flow::between(
        flow::end(words(local.ip()), local.port()),
        flow::end(words(remote.ip()), remote.port()),
        TCP,
    );
    if rule.flags & FLAG_FLOWS != 0 && !draw::hit(rule.seed, id, rule.flows) {
        return Some(Skip::Flow);
    }
    (rule.flags & FLAG_SHADOW != 0).then_some(Skip::Shadow)
}

/// As the programs have it.
fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(v4) => [u64::from(u32::from_le_bytes(v4.octets())), 0],
        IpAddr::V6(v6) => words_of(&v6.octets()),
    }
}

/// The ids of cgroups and of all below them, which are the inodes of their folders.
fn below(cgroups: &[&Cgroup]) -> HashSet<u64> {
    let mut found = HashSet::new();
    for cgroup in cgroups {
        walk(&cgroup.path, &mut found);
    }
    found
}

fn walk(folder: &Path, found: &mut HashSet<u64>) {
    // One that goes away meanwhile has no connections any more.
    let Ok(inode) = fs::metadata(folder).map(|data| data.ino()) else { return };
    found.insert(inode);
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The draw must be that of the programs, which read addresses off packets.
    #[test]
    fn a_connection_is_drawn_for_as_its_packets_are() {
        let v4: IpAddr = "10.1.2.3".parse().unwrap();
        assert_eq!([u64::from(u32::from_le_bytes([10, 1, 2, 3])), 0], words(v4));
        let v6: IpAddr = "fd00::1".parse().unwrap();
        assert_eq!([0xfd, 1 << 56], words(v6));
    }
}
