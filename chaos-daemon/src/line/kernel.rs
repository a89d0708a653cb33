//! The line in the kernel: a veth pair with `fq` on it.
//!
//! The near end is the line device. A packet that is sent there waits in `fq`; when it is due, the far end receives it,
//! where a program makes it one that the near end has received. The far end is in a network namespace of ours that
//! nobody is in: if we die, the kernel removes it, and a pair goes with either of its ends.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
};

use chaos_common::line;

use super::{Built, Hook, LineError, Room, device, fq, name};
use crate::{
    bpf::Side,
    target::{NetNs, inside, private_namespace},
};

/// The far end.
const FAR: &str = "far";

/// The loopback device has this number in every network namespace.
const LO: u32 = 1;

/// The devices, which are removed when this is dropped.
pub struct Pair {
    private: Arc<NetNs>,
    index: u32,
}

impl Drop for Pair {
    fn drop(&mut self) {
        // By the far end, which is ours beyond doubt. Where it fails, they go with the namespace.
        let deleted = inside(&self.private, || device::delete(self.index));
        if let Ok(Err(error)) = deleted {
            tracing::debug!("removing the far end of a delay line: {error}");
        }
    }
}

/// Builds it.
pub fn open(namespace: &Arc<NetNs>, number: u32, room: Room) -> Result<(Built, Vec<Hook>), LineError> {
    let lacks = |what: &str, error: io::Error| LineError::NoKernelLine(format!("{what}: {error}"));
    let private = private_namespace().map_err(|e| lacks("making a network namespace", e))?;
    // Tried on a device that nothing depends on, before there is anything in the target's namespace.
    inside(&private, || fq::put(LO, room))?.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => LineError::NoKernelLine("the kernel has no sch_fq".into()),
        _ => lacks("trying sch_fq", error),
    })?;
    let (index, name) = (line::index(number), name(number));
    let fd = private.as_fd().as_raw_fd();
    device::make(namespace, &name, index, || device::add_pair(index, &name, FAR, fd)).map_err(|error| {
        if let LineError::Step { error, .. } = &error
            && error.raw_os_error() == Some(libc::EOPNOTSUPP)
        {
            return LineError::NoKernelLine("the kernel has no veth devices".into());
        }
        error
    })?;
    let pair = Pair { private, index };
    let far = || {
        device::disable_ipv6(FAR)?;
        device::up(index)
    };
    inside(&pair.private, far)?.map_err(LineError::step("setting up the far end", namespace))?;
    let near = || {
        device::disable_ipv6(&name)?;
        fq::put(index, room)?;
        device::up(index)
    };
    inside(namespace, near)?.map_err(LineError::step(&format!("setting up {name}"), namespace))?;
    let hook = |namespace: &Arc<NetNs>, name: &str, side, program| Hook {
        namespace: namespace.clone(),
        index,
        name: name.to_owned(),
        side,
        program,
    };
    let hooks = vec![
        hook(namespace, &name, Side::Ingress, line::EXIT),
        hook(&pair.private, FAR, Side::Ingress, line::BACK),
        hook(namespace, &name, Side::Egress, line::WAIT),
    ];
    Ok((Built::Kernel(pair), hooks))
}
