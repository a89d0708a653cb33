//! What is found out before an experiment starts: what it needs, whether it may, what to call its target.

use std::net::UdpSocket;

use toml::Spanned;

use super::{boot_ns, error::StartError};
use crate::{
    bpf::{Cleaner, Feature, Lease, Need},
    config::{
        ConfigError, Experiment, FaultSpec, Problem, Selector,
        value::{Peer, Redirect},
    },
    guard::{
        capabilities::{self, MissingCapabilities},
        forbidden::Forbidden,
        loopback,
        protected::Protected,
    },
    resource::{self, Act, check::Refusal},
    target::{Hierarchy, Selection, Target},
};

/// The target in words.
pub fn describe(experiment: &Experiment, target: &Target) -> String {
    match (&experiment.target.get_ref().selector, &target.members[..]) {
        (_, [only]) => only.name.clone(),
        (Selector::Cgroup(pattern), several) => format!("{} cgroups of {pattern}", several.len()),
        (Selector::Unit(pattern), several) => format!("{} units of {pattern}", several.len()),
        (Selector::Container(pattern), several) => format!("{} containers called {pattern}", several.len()),
        (Selector::Pod(pods), several) => format!("{} containers of {pods}", several.len()),
        (_, several) => several.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", "),
    }
}

/// What the kernel must be able to do. Packets that come into a namespace are caught at its devices, whoever gets them.
pub fn needs(experiment: &Experiment, selection: &Selection) -> Vec<Need> {
    let needs = experiment.faults.iter().flat_map(|fault| fault.fault.needs()).copied();
    let of_namespaces = selection.is_of_namespaces();
    needs
        .map(|need| match need.feature {
            Feature::CgroupIngress if of_namespaces => Feature::TcIngress.any_way(),
            _ => need,
        })
        .collect()
}

/// What a killed kchaos has left in the target's network namespaces goes before ours comes. What cannot be removed is
/// inert.
pub fn remove_leftovers(target: &Target) {
    let mut cleaner = Cleaner::new(Lease::Respect);
    for namespace in &target.namespaces {
        let (removed, failed) = cleaner.clean(namespace);
        for filter in removed {
            tracing::warn!("removed {filter}");
        }
        for error in failed {
            tracing::warn!("{error}");
        }
        match loopback::clean_namespace(namespace) {
            Ok(restored) => restored.iter().for_each(|setting| tracing::warn!("removed {setting}")),
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

/// What the host's owner has forbidden is no target, as a whole or in part.
pub fn refuse_forbidden_target(
    experiment: &Experiment,
    target: &Target,
    forbidden: &Forbidden,
) -> Result<(), Box<ConfigError>> {
    let mut names = target.members.iter().map(|member| &member.cgroup.name);
    let Some((name, pattern)) = names.find_map(|name| Some((name, forbidden.reached_by(name)?))) else {
        return Ok(());
    };
    let message = format!("the target {name} is not allowed here: \"{pattern}\" is forbidden");
    let problem = Problem::at(experiment.target.span(), message, "not allowed on this host")
        .help("this host's owner has said so, in the settings of its daemon");
    Err(experiment.mistake(problem))
}

/// A target that consists of a protected service is most likely a mistake, and would match without ever injecting.
pub fn refuse_protected_target(
    experiment: &Experiment,
    target: &Target,
    protected: &Protected,
) -> Result<(), Box<ConfigError>> {
    if experiment.allow_protected {
        return Ok(());
    }
    let is_target = |id: &u64| target.members.iter().any(|m| m.cgroup.id == *id && m.cgroup.level > 0);
    let whole = protected.cgroups.iter().find(|(id, _)| is_target(id)).map(|(_, found)| found);
    // Where a namespace is the target, nobody asks at a device who will get a packet.
    let takes_all = target.selection.is_of_namespaces()
        && needs(experiment, &target.selection).iter().any(|need| need.feature == Feature::TcIngress);
    let inside = || target.namespaces.iter().filter(|_| takes_all).find_map(|ns| protected.inside(ns));
    let Some(found) = whole.or_else(inside) else { return Ok(()) };
    let problem = Problem::at(
        experiment.target.span(),
        format!("{} runs in {} and is protected", found.program, found.name),
        "a protected target",
    )
    .help("to hit it all the same, write allow_protected = true above [target]");
    Err(experiment.mistake(problem))
}

/// Calls are not sent on to what is protected.
pub fn refuse_protected_redirects(
    experiment: &Experiment,
    protected: &Protected,
) -> Result<(), Box<ConfigError>> {
    if experiment.allow_protected {
        return Ok(());
    }
    for fault in &experiment.faults {
        for redirect in fault.fault.redirects() {
            let to = redirect.get_ref();
            let what = if to.address.is_some_and(|address| protected.is_far_end(address)) {
                "a metadata service, which is protected"
            } else if protected.local_ports.iter().any(|port| may_reach_own(fault, to, *port)) {
                "a port that kchaos itself listens on"
            } else {
                continue;
            };
            let problem =
                Problem::at(redirect.span(), format!("calls could be sent on to {what}"), "a protected far end")
                    .help("name another far end; to send them there all the same, write allow_protected = true above [target]");
            return Err(experiment.mistake(problem));
        }
    }
    Ok(())
}

/// Whether a call can end at a port of ours. One of no address may be to this host, and one without a port of its own
/// has that of the call.
fn may_reach_own(fault: &FaultSpec, to: &Redirect, own: u16) -> bool {
    let names_it = |peer: &Spanned<Peer>| {
        let ports = peer.get_ref().ports.as_ref();
        ports.is_none_or(|ports| ports.0.iter().any(|range| (range.first..=range.last).contains(&own)))
    };
    let port = match to.port {
        Some(port) => port == own,
        None => fault.side.peers.is_empty() || fault.side.peers.iter().any(names_it),
    };
    // Only an address of this host can be bound to.
    port && to.address.is_none_or(|address| UdpSocket::bind((address, 0)).is_ok())
}

/// Whether what acts from user space can do so: its files must be there, and nobody in the target who is to be left alone.
pub fn check_resources(
    experiment: &Experiment,
    hierarchy: &Hierarchy,
    target: &Target,
    protected: &Protected,
) -> Result<(), StartError> {
    let cgroups = target.members.iter().map(|member| &member.cgroup);
    resource::check::check(experiment, hierarchy.mount(), &cgroups, &protected.names()).map_err(|refusal| {
        match refusal {
            Refusal::Mistake(problem) => experiment.mistake(problem).into(),
            Refusal::Host(error) => error.into(),
        }
    })
}

/// Whether this process has the capabilities that the experiment takes.
pub fn check_rights(experiment: &Experiment) -> Result<(), MissingCapabilities> {
    capabilities::check()?;
    if experiment.faults.iter().any(FaultSpec::catches_a_call) {
        capabilities::check_calls()?;
    }
    if experiment.faults.iter().any(|fault| matches!(fault.fault.acts(), Some(Act::Kill(_)))) {
        capabilities::check_kill()?;
    }
    Ok(())
}

/// A seed that nobody chose: it is shown, so that the run can be repeated.
pub fn fresh_seed() -> u64 {
    // Small enough for a TOML integer, which is signed.
    chaos_common::draw::mix(boot_ns() ^ u64::from(std::process::id()) << 32) >> 1
}
