//! What an experiment would touch now: its processes, their sockets, the devices that its programs would sit on, the
//! addresses behind its names, and how its stop conditions stand. Everything is looked up and checked as for a real
//! start; nothing is loaded, attached or started, but for programs that stop conditions run.

mod sockets;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use procfs::process::Process;
use serde::Serialize;
pub use sockets::{Socket, State};

use crate::{
    config::{Experiment, Selector, StopSpec, value::Pick},
    engine::{self, Addresses, StartError},
    guard::{
        protected::Protected,
        stop::{self, Looked, Verdict},
    },
    target::{self, Hierarchy, Member, NetNs, TargetError, inside},
};

/// Everything that the rules cover now.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// The experiment's name.
    pub experiment: String,
    /// "inject" or "shadow".
    pub mode: &'static str,
    /// What the choice among several started from. A run without a seed in its file chooses anew.
    pub seed: u64,
    /// Whether the file names that seed.
    pub seeded: bool,
    /// Whether there was a choice.
    pub picks: bool,
    /// Whether what is protected will be hit, too.
    pub allow_protected: bool,
    /// The cgroups that make up the target, in words.
    pub members: Vec<String>,
    /// Its processes.
    pub processes: Vec<ProcessSeen>,
    /// Their sockets that a fault looks at, and those that are protected from it.
    pub sockets: Vec<Socket>,
    /// The network devices of its namespaces.
    pub interfaces: Vec<Interface>,
    /// The faults, with the addresses of their host names.
    pub faults: Vec<FaultSeen>,
    /// The stop conditions, looked at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stops: Vec<StopSeen>,
}

/// A stop condition, and how it stands.
#[derive(Debug, Serialize)]
pub struct StopSeen {
    /// Its name.
    pub condition: String,
    /// When it holds, in words.
    pub holds_when: String,
    /// Whether it holds now; `None`: nobody can tell.
    pub holds: Option<bool>,
    /// Why it holds, or why nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A process of the target.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessSeen {
    /// Its id.
    pub pid: i32,
    /// Its name.
    pub program: String,
    /// Its cgroup.
    pub cgroup: String,
    /// Inode of its network namespace.
    pub namespace: u64,
    /// Why it is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected: Option<String>,
}

/// A network device.
#[derive(Debug, Serialize)]
pub struct Interface {
    /// Inode of its network namespace.
    pub namespace: u64,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// A fault and what it looks at.
#[derive(Debug, Serialize)]
pub struct FaultSeen {
    /// Its name.
    pub fault: String,
    /// What it does.
    pub effect: String,
    /// The far ends, as written.
    pub peers: Vec<String>,
    /// What else must hold for a call, each as in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// Those that are left alone.
    pub exclude: Vec<String>,
    /// Host names among them, and all their addresses.
    pub names: Addresses,
}

/// Looks everything up.
pub async fn of(experiment: &Experiment) -> Result<Preview, StartError> {
    engine::check(experiment).await?;
    let names = engine::addresses(experiment).await?;
    let seed = experiment.seed.unwrap_or_else(engine::fresh_seed);
    let hierarchy = Hierarchy::find()?;
    let (members, namespaces, protected) = target_of(experiment, &hierarchy, seed).await?;
    engine::check_paths(experiment, members.iter().map(|member| &member.cgroup))?;
    let of_namespace = experiment.target.get_ref().selector.is_of_namespaces();
    let mut processes = processes(&hierarchy, &members, &protected);
    if of_namespace {
        processes.retain(|process| namespaces.iter().any(|namespace| namespace.inode == process.namespace));
    }
    let looked_at = sockets::Look { experiment, names: &names, protected: &protected };
    Ok(Preview {
        experiment: experiment.name.clone(),
        mode: experiment.mode.name(),
        seed,
        seeded: experiment.seed.is_some(),
        picks: experiment.target.get_ref().pick.is_some_and(|pick| pick != Pick::All),
        allow_protected: experiment.allow_protected,
        members: members.iter().map(|member| member.name.clone()).collect(),
        sockets: sockets::of(&processes, &looked_at),
        processes,
        interfaces: interfaces(&namespaces)?,
        faults: faults(experiment, &names),
        stops: stops(experiment).await,
    })
}

async fn stops(experiment: &Experiment) -> Vec<StopSeen> {
    let looked = stop::look_once(experiment, None).await;
    let seen = |(spec, looked): (&StopSpec, Looked)| {
        let (holds, why) = match looked.verdict {
            Verdict::Holds(why) => (Some(true), Some(why)),
            Verdict::HoldsNot => (Some(false), None),
            Verdict::Unknown(error) => (None, Some(error.to_string())),
        };
        StopSeen { condition: spec.name.clone(), holds_when: spec.describe(), holds, why }
    };
    experiment.stops.iter().zip(looked).map(seen).collect()
}

/// A command has no cgroup before it is started, and will be where kchaos is.
async fn target_of(
    experiment: &Experiment,
    hierarchy: &Hierarchy,
    seed: u64,
) -> Result<(Vec<Member>, Vec<Arc<NetNs>>, Protected), StartError> {
    if matches!(experiment.target.get_ref().selector, Selector::Command(_)) {
        return Ok((Vec::new(), vec![target::own_namespace()?], Protected::default()));
    }
    let target = engine::resolve(experiment, seed).await?;
    let protected =
        Protected::find(hierarchy, target.members.iter().map(|member| &member.cgroup), Vec::new());
    engine::refuse_protected_target(experiment, &target, &protected)?;
    engine::refuse_protected_redirects(experiment, &protected)?;
    Ok((target.members, target.namespaces, protected))
}

fn processes(hierarchy: &Hierarchy, members: &[Member], protected: &Protected) -> Vec<ProcessSeen> {
    let mut known: BTreeMap<String, Option<u64>> = BTreeMap::new();
    let pids: BTreeSet<i32> = members.iter().flat_map(|member| member.cgroup.processes().pids).collect();
    let seen = |pid: i32| {
        // One that ends meanwhile is nobody.
        let process = Process::new(pid).ok()?;
        let cgroup = target::cgroup_of_process(pid)?;
        let id = known
            .entry(cgroup.clone())
            .or_insert_with(|| hierarchy.cgroup(&cgroup).ok().map(|cgroup| cgroup.id));
        let found = id.and_then(|id| protected.cgroups.get(&id));
        Some(ProcessSeen {
            pid,
            program: process.stat().ok()?.comm,
            namespace: target::namespace_of(pid).unwrap_or(0),
            protected: found.map(|found| format!("{} runs in its cgroup", found.program)),
            cgroup,
        })
    };
    pids.into_iter().filter_map(seen).collect()
}

fn interfaces(namespaces: &[Arc<NetNs>]) -> Result<Vec<Interface>, TargetError> {
    let mut found = Vec::new();
    for namespace in namespaces {
        let list = |e: nix::Error| {
            TargetError::io(format!("listing the devices of network namespace {}", namespace.inode), e)
        };
        let mut devices: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        inside(namespace, || {
            for device in &nix::net::if_::if_nameindex()? {
                devices.insert(device.name().to_string_lossy().into_owned(), BTreeSet::new());
            }
            for entry in nix::ifaddrs::getifaddrs()? {
                let Some(address) = entry.address else { continue };
                let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
                let v6 = address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip()));
                devices.entry(entry.interface_name).or_default().extend(v4.or(v6));
            }
            Ok::<_, nix::Error>(())
        })?
        .map_err(list)?;
        let inode = namespace.inode;
        found.extend(devices.into_iter().map(|(name, addresses)| Interface {
            namespace: inode,
            name,
            addresses,
        }));
    }
    Ok(found)
}

fn conditions(fault: &crate::config::FaultSpec) -> Vec<String> {
    let ports = &fault.side.packets.local_ports;
    let ports = ports.iter().map(|ports| format!("local_port = {ports}"));
    fault.fault.asks().iter().flat_map(|asks| asks.conditions()).chain(ports).collect()
}

fn faults(experiment: &Experiment, names: &Addresses) -> Vec<FaultSeen> {
    let seen = |fault: &crate::config::FaultSpec| {
        let peers = |list: &[toml::Spanned<crate::config::value::Peer>]| {
            list.iter().map(|peer| peer.get_ref().to_string()).collect::<Vec<_>>()
        };
        let hosts = fault.side.peers.iter().chain(&fault.side.exclude).map(|peer| &peer.get_ref().host);
        let resolved = hosts.filter_map(|host| match host {
            crate::config::value::Host::Name(name) => Some((name.clone(), names.get(name)?.clone())),
            _ => None,
        });
        let asks = fault.fault.asks();
        FaultSeen {
            fault: fault.name.clone(),
            effect: fault.fault.describe(),
            peers: peers(&fault.side.peers)
                .into_iter()
                .chain(asks.iter().flat_map(|asks| asks.sockets()))
                .collect(),
            conditions: conditions(fault),
            exclude: peers(&fault.side.exclude),
            names: resolved.collect(),
        }
    };
    experiment.faults.iter().map(seen).collect()
}
