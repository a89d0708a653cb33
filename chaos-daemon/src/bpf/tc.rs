//! A tc program on one side of a device: by a tcx link, or as a clsact filter where the kernel has no tcx.

use std::{
    any::Any,
    io,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
};

use aya::programs::{
    LinkOrder, Program, ProgramError, ProgramId, ProgramInfo, SchedClassifier, TcAttachType,
    tc::TcAttachOptions,
};

use super::{
    BpfError, Feature, Level, Object,
    clsact::Runs,
    feature::{Place, forced},
    netlink::Side,
};
use crate::target::NetNs;

/// A link, which detaches its program when it is dropped.
pub(super) type Link = Box<dyn Any + Send + Sync>;

/// One side of a device.
pub(super) struct At<'a> {
    /// Its network namespace, which the calling thread must be in.
    pub namespace: &'a Arc<NetNs>,
    /// Its number.
    pub index: u32,
    /// Its name.
    pub device: &'a str,
    /// Which side.
    pub side: Side,
}

impl Object {
    /// Attaches one program, before all of others there. One that may send packets into a delay line goes behind those of
    /// our other experiments: they could not tell whose a packet is that comes out of it.
    pub(super) fn attach_tc(
        &mut self,
        feature: Feature,
        name: &'static str,
        at: &At<'_>,
        links: &mut Vec<Link>,
    ) -> Result<(), BpfError> {
        let Self { ebpf, filters, levels, remarks, has_tcx, .. } = self;
        let behind_ours = levels.contains_key(&Feature::DelayLine) && feature.place() == Place::Devices;
        let found = ebpf.program_mut(name).ok_or(BpfError::Absent(name))?;
        let refused = |error| BpfError::Program { feature, step: "attaching", program: name, error };
        let Program::SchedClassifier(program) = found else {
            return Err(refused(ProgramError::UnexpectedProgramType));
        };
        if *has_tcx {
            match attach_tcx(program, at, behind_ours.then_some(name)) {
                Ok(link) => {
                    links.push(link);
                    return Ok(());
                }
                Err(error) if !lacks_tcx(&error) => return Err(refused(error)),
                Err(error) => {
                    tracing::debug!("{}: {error}: there is no tcx", at.device);
                    *has_tcx = false;
                }
            }
        }
        let fd = program.fd().map_err(refused)?.as_fd().as_raw_fd();
        let runs = Runs { fd, id: program.info().map_err(refused)?.id(), name };
        let first = filters
            .attach(at.namespace, at.index, at.device, at.side, runs)
            .map_err(|error| BpfError::Clsact { device: at.device.to_owned(), error })?;
        // On devices of our own nothing is left behind, and nobody else has filters.
        if feature.place() != Place::Devices {
            return Ok(());
        }
        levels.insert(feature, Level::Reduced);
        remarks.extend(first.map(|priority| {
            format!(
                "on {}, filters of others up to priority {priority} run first: what they keep for themselves is not seen",
                at.device
            )
        }));
        Ok(())
    }
}

/// Before all others, or behind the last of ours, which has this name.
fn attach_tcx(
    program: &mut SchedClassifier,
    at: &At<'_>,
    behind: Option<&str>,
) -> Result<Link, ProgramError> {
    if forced(Feature::TcEgress) {
        let io_error = io::Error::from_raw_os_error(libc::EINVAL);
        return Err(ProgramError::SyscallError(aya::sys::SyscallError { call: TCX_CALL, io_error }));
    }
    let side = match at.side {
        Side::Egress => TcAttachType::Egress,
        Side::Ingress => TcAttachType::Ingress,
    };
    let order = |order| TcAttachOptions::TcxOrder(order);
    let last = behind.and_then(|name| last_named(name, at.device, side));
    // It may be gone by now, and there is no harm in being the first then.
    let attached = last.and_then(|id| {
        // SAFETY: a number of which nothing is assumed: the kernel looks it up.
        let after = LinkOrder::after_program_id(unsafe { ProgramId::new(id) });
        program.attach_with_options(at.device, side, order(after)).ok()
    });
    let id = match attached {
        Some(id) => id,
        None => program.attach_with_options(at.device, side, order(LinkOrder::first()))?,
    };
    Ok(Box::new(program.take_link(id)?))
}

/// The last program of that name on a device, which the kernel keeps the first 15 bytes of.
fn last_named(name: &str, device: &str, side: TcAttachType) -> Option<u32> {
    let known = name.get(..15).unwrap_or(name);
    let (_, programs) = SchedClassifier::query_tcx(device, side).ok()?;
    programs.iter().rev().find(|program| program.name_as_str() == Some(known)).map(ProgramInfo::id)
}

/// aya's name for attaching by tcx.
const TCX_CALL: &str = "bpf_mprog_attach";

/// A kernel without tcx does not know the attach type.
fn lacks_tcx(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(e)
        if e.call == TCX_CALL && e.io_error.raw_os_error() == Some(libc::EINVAL))
}
