//! Egress before Linux 6.6: bpf filters on a clsact qdisc.
//!
//! Unlike a link, a filter does not die with the process that made it. What makes that bearable: its program looks at the
//! lease, so a filter whose owner is gone passes everything; it is known by its name and its handle, so anyone can find
//! it; and the handle says whether the clsact qdisc under it was made by us, so whoever removes the last filter knows
//! whether the qdisc must go, too. Filters and qdiscs of others are listed and never touched.

use std::{collections::BTreeSet, io, os::fd::RawFd, sync::Arc};

use super::netlink::{Filter, Place, Side, Tc};
use crate::{
    guard::run_dir,
    target::{NetNs, TargetError, inside},
};

/// Upper half of our filters' handles: "kc".
const MARK: u32 = 0x6b63_0000;
const MARK_MASK: u32 = 0xffff_0000;

/// How many there can be on one device.
const NUMBERS: u32 = 1 << 15;

/// In a handle: the qdisc is ours. Whoever finds it set on a device's filter sets it on his own.
const MADE_CLSACT: u32 = 1;

/// The filters of one experiment; deleted when this is dropped.
#[derive(Debug, Default)]
pub struct Filters(Vec<Attached>);

#[derive(Debug)]
struct Attached {
    namespace: Arc<NetNs>,
    device: u32,
    place: Place,
}

impl Filters {
    /// Adds a filter to a device of `namespace`, which the calling thread must be in: before all filters of others if
    /// that can be. Answers with the priority if one of theirs comes first.
    pub fn attach(
        &mut self,
        namespace: &Arc<NetNs>,
        device: &str,
        program: RawFd,
        name: &'static str,
    ) -> io::Result<Option<u16>> {
        let _lock = run_dir::lock("tc")?;
        let device = nix::net::if_::if_nametoindex(device)?;
        let tc = Tc::open()?;
        let made = match tc.add_clsact(device) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(e),
        };
        let added = add(&tc, device, made, program, name);
        match added {
            Ok(place) => {
                self.0.push(Attached { namespace: namespace.clone(), device, place });
                Ok((place.priority > 1).then_some(place.priority - 1))
            }
            Err(error) => {
                if made {
                    remove_qdisc(&tc, device)?;
                }
                Err(error)
            }
        }
    }

    /// Deletes all of them, and the qdiscs that were made for them.
    pub fn detach(&mut self) -> Result<(), TargetError> {
        let mut result = Ok(());
        for Attached { namespace, device, place } in self.0.drain(..) {
            let removed = inside(&namespace, || {
                let _lock = run_dir::lock("tc")?;
                remove(&Tc::open()?, device, place)
            });
            let removed = removed.and_then(|r| {
                r.map_err(|e| TargetError::io(format!("deleting the tc filter of device {device}"), e))
            });
            // One that cannot be deleted does not keep the others.
            result = result.and(removed.map(drop));
        }
        result
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            tracing::warn!("{error}; it passes everything, and `kchaos clean` removes it");
        }
    }
}

/// Whether a filter was made by a kchaos, this one or another.
pub fn is_ours(filter: &Filter, names: &[&str]) -> bool {
    filter.kind == "bpf"
        && filter.place.handle & MARK_MASK == MARK
        && filter.name.as_deref().is_some_and(|name| names.contains(&name))
}

/// Deletes a filter of ours, and its qdisc if we made that and nobody else uses it. Answers whether the qdisc went. What
/// is gone already, with its device for example, is no error.
pub fn remove(tc: &Tc, device: u32, place: Place) -> io::Result<bool> {
    if let Err(error) = tc.delete_filter(device, Side::Egress, place) {
        let there = tc.filters(device, Side::Egress).unwrap_or_default();
        if there.iter().any(|f| f.place == place) {
            return Err(error);
        }
    }
    if place.handle & MADE_CLSACT == 0 { Ok(false) } else { remove_qdisc(tc, device) }
}

/// Puts the filter at the first priority where no one else has any.
fn add(tc: &Tc, device: u32, made: bool, program: RawFd, name: &str) -> io::Result<Place> {
    if !made && !tc.has_clsact(device)? {
        return Err(io::Error::other(
            "the device has an ingress qdisc of someone else's, beside which there can be no clsact: on this kernel its \
             egress cannot be reached (Linux 6.6 and later need no qdisc)",
        ));
    }
    let there = tc.filters(device, Side::Egress)?;
    let ours = |f: &Filter| is_ours(f, &[name]);
    let inherited = there.iter().any(|f| ours(f) && f.place.handle & MADE_CLSACT != 0);
    // The kernel lists every priority once more, as a filter with the number 0.
    let others = |f: &&Filter| f.kind != "bpf" || f.place.handle != 0 && !ours(f);
    let taken: BTreeSet<u16> = there.iter().filter(others).map(|f| f.place.priority).collect();
    let priority = (1..u16::MAX).find(|p| !taken.contains(p)).unwrap_or(u16::MAX);
    let made = if made || inherited { MADE_CLSACT } else { 0 };
    // Other experiments have filters of the same priority; the first free number is ours.
    for number in 0..NUMBERS {
        let place = Place { priority, handle: MARK | number << 1 | made };
        match tc.add_filter(device, Side::Egress, place, program, name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| place),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Deletes a qdisc that we made, unless somebody has come to use it.
fn remove_qdisc(tc: &Tc, device: u32) -> io::Result<bool> {
    let unused = |side| tc.filters(device, side).is_ok_and(|filters| filters.is_empty());
    if !unused(Side::Egress) || !unused(Side::Ingress) {
        return Ok(false);
    }
    match tc.delete_clsact(device) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::EINVAL)) => Ok(false),
        Err(e) => Err(e),
    }
}
