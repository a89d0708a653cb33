//! Capabilities: which are missing, by name, before anything is tried.

use caps::{CapSet, Capability};
use thiserror::Error;

/// A capability, whether `CAP_SYS_ADMIN` stands in for it (it was split off from it in Linux 5.8), and what it is for.
type Need = (Capability, bool, &'static str);

const INJECT: [Need; 3] = [
    (Capability::CAP_BPF, true, "load programs and maps"),
    (Capability::CAP_NET_ADMIN, false, "attach programs to devices and cgroups"),
    (Capability::CAP_PERFMON, true, "let the verifier accept programs that read packets"),
];

const CALLS: [Need; 1] = [(Capability::CAP_SYS_ADMIN, true, "catch calls in the kernel's own functions")];

const KILL: [Need; 1] = [(Capability::CAP_KILL, false, "send signals to processes of others")];

const HALT: [Need; 1] =
    [(Capability::CAP_SYS_ADMIN, true, "find the experiments of others and write to their maps")];

const CLEAN: [Need; 2] = [
    (
        Capability::CAP_SYS_ADMIN,
        true,
        "tell what is left over from what is in use, in every network namespace",
    ),
    (Capability::CAP_NET_ADMIN, false, "remove tc filters"),
];

/// A capability is missing: exit code 4.
#[derive(Debug, Error)]
#[error(
    "kchaos needs {names} and does not have {them}: run it as root (sudo kchaos ...), or give it the capability \
     (setcap, or AmbientCapabilities= in a systemd unit)",
    names = .0.join(", "),
    them = if .0.len() == 1 { "it" } else { "them" }
)]
pub struct MissingCapabilities(pub Vec<String>);

/// What injecting takes.
pub fn check() -> Result<(), MissingCapabilities> {
    check_for(&INJECT)
}

/// What making calls fail takes besides.
pub fn check_calls() -> Result<(), MissingCapabilities> {
    check_for(&CALLS)
}

/// What sending signals takes besides.
pub fn check_kill() -> Result<(), MissingCapabilities> {
    check_for(&KILL)
}

/// What halting the experiments of others takes.
pub fn check_halt() -> Result<(), MissingCapabilities> {
    check_for(&HALT)
}

/// What cleaning up after others takes.
pub fn check_clean() -> Result<(), MissingCapabilities> {
    check_for(&CLEAN)
}

/// Looks at the effective capabilities of this process.
fn check_for(needs: &[Need]) -> Result<(), MissingCapabilities> {
    let has = |c| caps::has_cap(None, CapSet::Effective, c).unwrap_or(false);
    let admin = has(Capability::CAP_SYS_ADMIN);
    let missing: Vec<String> = needs
        .iter()
        .filter(|(capability, admin_will_do, _)| !(has(*capability) || *admin_will_do && admin))
        .map(|(capability, _, why)| format!("{capability} (to {why})"))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(MissingCapabilities(missing)) }
}
