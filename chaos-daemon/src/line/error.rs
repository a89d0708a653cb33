//! Why there is no delay line, and what to do about it.

use std::io;

use thiserror::Error;

use crate::{
    guard::loopback::LoopbackError,
    target::{NetNs, TargetError},
};

/// A delay line could not be built.
#[derive(Debug, Error)]
pub enum LineError {
    /// The number is not one of an experiment.
    #[error("there is no delay line {0}: there can be {max} on a host, from 0", max = chaos_common::line::LINES)]
    Number(u32),
    /// Someone else has a device of this name or number.
    #[error(
        "delaying packets takes a network device {name} with the number {index}, and network namespace {namespace} has one \
         of that name or number already: if another kchaos runs in a container with a /run of its own, stop it; if none \
         does, delete the device (ip link delete {name})"
    )]
    Taken {
        /// The name.
        name: String,
        /// The number.
        index: u32,
        /// The namespace.
        namespace: u64,
    },
    /// There is no way to make a TAP device.
    #[error("delaying packets takes /dev/net/tun: {0}{advice}", advice = tun_advice(.0))]
    NoTun(io::Error),
    /// The kernel has no `fq`, or no veth, or will not give us a network namespace.
    #[error("packets cannot wait in the kernel: {0}")]
    NoKernelLine(String),
    /// Something else was refused.
    #[error("building a delay line in network namespace {namespace}: {what}: {error}{advice}", advice = advice(error))]
    Step {
        /// What was tried.
        what: String,
        /// The namespace.
        namespace: u64,
        /// The kernel's answer.
        error: io::Error,
    },
    /// Settings of the loopback device that it needs.
    #[error("delaying packets takes settings of the loopback device: {0}")]
    Loopback(#[from] LoopbackError),
    /// The namespace could not be entered.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl LineError {
    /// What was tried, for people.
    pub(super) fn step(what: &str, namespace: &NetNs) -> impl FnOnce(io::Error) -> Self + use<> {
        let (what, namespace) = (what.to_owned(), namespace.inode);
        move |error| Self::Step { what, namespace, error }
    }
}

fn tun_advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            " (load the module on the host: modprobe tun; a container must be given the device: --device /dev/net/tun)"
        }
        Some(libc::EPERM | libc::EACCES) => " (a container must be given the device: --device /dev/net/tun)",
        _ => "",
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            " (needs CAP_NET_ADMIN in the user namespace that owns the network namespace: run kchaos on the host)"
        }
        Some(libc::EROFS) => {
            " (settings cannot be changed from inside this container: run kchaos on its host)"
        }
        _ => "",
    }
}
