//! The sockets of the target's processes, from `/proc/PID/net` of one process of each network namespace.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
};

use chaos_common::rule::hook::{ARRIVAL, CONNECT, EGRESS, INGRESS};
use procfs::{
    net::TcpState,
    process::{FDTarget, Process},
};
use serde::Serialize;

use super::ProcessSeen;
use crate::{
    config::Experiment,
    engine::{
        Addresses,
        model::{self, Ports, Seen},
    },
    guard::protected::Protected,
};

const TCP: u32 = 6;
const UDP: u32 = 17;

/// A socket of the target that a fault looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Socket {
    /// Its process.
    pub pid: i32,
    /// The process's name.
    pub program: String,
    /// "tcp" or "udp".
    pub protocol: &'static str,
    /// What it does.
    pub state: State,
    /// Its near end.
    pub local: SocketAddr,
    /// Its far end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// The faults that look at its packets or calls.
    pub faults: Vec<String>,
    /// Why it is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected: Option<String>,
}

/// What a socket does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for connections, or for datagrams of anyone.
    Listening,
    /// It has a far end.
    Connected,
}

/// What sockets are looked at for.
pub struct Look<'a> {
    pub experiment: &'a Experiment,
    pub names: &'a Addresses,
    pub protected: &'a Protected,
}

/// A socket as the kernel lists it.
struct Listed {
    protocol: u32,
    state: State,
    local: SocketAddr,
    remote: SocketAddr,
}

/// Those of `processes` that at least one fault looks at.
pub fn of(processes: &[ProcessSeen], look: &Look<'_>) -> Vec<Socket> {
    let mut by_namespace: BTreeMap<u64, HashMap<u64, Listed>> = BTreeMap::new();
    let mut found = Vec::new();
    for process in processes {
        let Ok(entry) = Process::new(process.pid) else { continue };
        let listed = by_namespace.entry(process.namespace).or_insert_with(|| list(&entry));
        // Without permission, or of a process that has just ended.
        let Ok(descriptors) = entry.fd() else { continue };
        for descriptor in descriptors.flatten() {
            let FDTarget::Socket(inode) = descriptor.target else { continue };
            let socket = listed.get(&inode).and_then(|listed| seen(process, listed, look));
            // One that is open twice is one.
            found.extend(socket.filter(|socket| !found.contains(socket)));
        }
    }
    found
}

fn list(process: &Process) -> HashMap<u64, Listed> {
    let mut found = HashMap::new();
    for entry in [process.tcp(), process.tcp6()].into_iter().flatten().flatten() {
        let state = match entry.state {
            TcpState::Listen => State::Listening,
            TcpState::Close | TcpState::TimeWait => continue,
            _ => State::Connected,
        };
        let (local, remote) = (plain(entry.local_address), plain(entry.remote_address));
        found.insert(entry.inode, Listed { protocol: TCP, state, local, remote });
    }
    for entry in [process.udp(), process.udp6()].into_iter().flatten().flatten() {
        let state = if entry.remote_address.port() == 0 { State::Listening } else { State::Connected };
        let (local, remote) = (plain(entry.local_address), plain(entry.remote_address));
        found.insert(entry.inode, Listed { protocol: UDP, state, local, remote });
    }
    found
}

/// An IPv4 end of an IPv6 socket is matched as IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn seen(process: &ProcessSeen, listed: &Listed, look: &Look<'_>) -> Option<Socket> {
    let Listed { protocol, state, local, remote } = *listed;
    let looks = |fault: &&crate::config::FaultSpec| {
        [EGRESS, INGRESS | ARRIVAL, CONNECT].into_iter().any(|hook| match state {
            // A connection that is there will not be made again; datagrams name their far end each time.
            _ if hook == CONNECT && protocol == TCP => false,
            State::Listening => model::may_fit(fault, hook, protocol, local.port()),
            State::Connected => {
                let near = (hook != CONNECT).then_some(local.port());
                let ports = Ports::Known { near, far: remote.port() };
                model::fits(fault, look.names, hook, &Seen { far: remote.ip(), protocol, ports })
            }
        })
    };
    let faults: Vec<String> =
        look.experiment.faults.iter().filter(looks).map(|fault| fault.name.clone()).collect();
    if faults.is_empty() {
        return None;
    }
    let remote = (state == State::Connected).then_some(remote);
    Some(Socket {
        pid: process.pid,
        program: process.program.clone(),
        protocol: if protocol == TCP { "tcp" } else { "udp" },
        state,
        local,
        remote,
        faults,
        protected: process.protected.clone().or_else(|| far_end(remote.map(|r| r.ip()), look.protected)),
    })
}

fn far_end(remote: Option<IpAddr>, protected: &Protected) -> Option<String> {
    let remote = remote?;
    let is = protected.peers.iter().any(|network| network.contains(&remote));
    is.then(|| "its far end is the cloud's metadata service".to_owned())
}
