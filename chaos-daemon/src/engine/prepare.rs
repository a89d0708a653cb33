//! What is found out before an experiment starts: what it needs, whether it may, what to call its target.

use super::boot_ns;
use crate::{
    bpf::{Cleaner, Feature, Lease, Need},
    config::{ConfigError, Experiment, Problem, Selector},
    guard::{loopback, protected::Protected},
    target::{Selection, Target},
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

/// A seed that nobody chose: it is shown, so that the run can be repeated.
pub fn fresh_seed() -> u64 {
    // Small enough for a TOML integer, which is signed.
    chaos_common::draw::mix(boot_ns() ^ u64::from(std::process::id()) << 32) >> 1
}
