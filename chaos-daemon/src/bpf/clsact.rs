//! Devices before Linux 6.6: bpf filters on a clsact qdisc.
//!
//! Unlike a link, a filter does not die with the process that made it. What makes that bearable: its program looks at
//! the lease, so a filter whose owner is gone passes everything; it is known by its name, its handle and its program,
//! so anyone can find it; and the handle says whether the clsact qdisc under it was made by us, so whoever removes the
//! last filter knows whether the qdisc must go, too. Filters and qdiscs of others are listed and never touched.

use std::{collections::BTreeSet, io, os::fd::RawFd, sync::Arc, time::Duration};

use super::{
    Feature,
    netlink::{Filter, Place, Side, Tc},
};
use crate::{
    guard::run_dir,
    rtnl::device_name,
    target::{NetNs, inside},
};

/// Upper half of our filters' handles: "kc".
const MARK: u32 = 0x6b63_0000;
const MARK_MASK: u32 = 0xffff_0000;

/// How many there can be on one device.
const NUMBERS: u32 = 1 << 15;

/// In a handle: the qdisc is ours. Whoever finds it set on a device's filter sets it on his own.
const MADE_CLSACT: u32 = 1;

/// The lock that whoever adds or removes filters holds.
pub(super) const LOCK: &str = "tc";

/// A program to run as a filter.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// Its descriptor.
    pub fd: RawFd,
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: &'static str,
}

/// The filters of one experiment; deleted when this is dropped.
#[derive(Debug)]
pub struct Filters {
    list: Vec<Attached>,
    /// How long another kchaos that is at work on filters is waited for.
    pub patience: Duration,
}

impl Default for Filters {
    fn default() -> Self {
        Self { list: Vec::new(), patience: run_dir::PATIENCE }
    }
}

#[derive(Debug)]
struct Attached {
    namespace: Arc<NetNs>,
    device: u32,
    /// As it was called when the filter was added.
    name: String,
    side: Side,
    place: Place,
    program: u32,
}

impl Filters {
    /// Adds a filter to a device of `namespace`, which the calling thread must be in: before all filters of others if
    /// that can be. Answers with the priority of theirs that come first.
    pub fn attach(
        &mut self,
        namespace: &Arc<NetNs>,
        device: u32,
        name: &str,
        side: Side,
        runs: Runs,
    ) -> io::Result<Option<u16>> {
        let _lock = run_dir::lock(LOCK, self.patience)?;
        let tc = Tc::open()?;
        let made = match tc.add_clsact(device) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(e),
        };
        match add(&tc, device, side, made, runs) {
            Ok(place) => {
                self.list.push(Attached {
                    namespace: namespace.clone(),
                    device,
                    name: name.to_owned(),
                    side,
                    place,
                    program: runs.id,
                });
                Ok((place.priority > 1).then_some(place.priority - 1))
            }
            Err(error) => {
                if made && all(&tc, device)?.is_empty() {
                    tc.delete_clsact(device)?;
                }
                Err(error)
            }
        }
    }

    /// Forgets those of devices that are not there any more, in a namespace with these.
    pub fn forget(&mut self, inode: u64, there: &BTreeSet<u32>) {
        self.list.retain(|attached| attached.namespace.inode != inode || there.contains(&attached.device));
    }

    /// Deletes those on such devices (inode of the namespace, number), and the qdiscs that were made for them. Answers
    /// with what was not as it should be. Those that another kchaos keeps from being deleted for longer than `patience`
    /// are deleted another time.
    pub fn detach(&mut self, which: impl Fn(u64, u32) -> bool, patience: Duration) -> Vec<String> {
        let (mut notes, mut later) = (Vec::new(), Vec::new());
        let gone = self.list.extract_if(.., |attached| which(attached.namespace.inode, attached.device));
        for attached in gone {
            match attached.delete(patience) {
                Ok(note) => notes.extend(note),
                Err(error) if error.kind() == io::ErrorKind::TimedOut && patience < run_dir::PATIENCE => {
                    later.push(attached);
                }
                // One that cannot be deleted does not keep the others.
                Err(error) => notes.push(format!(
                    "our filter on {} could not be deleted ({error}); it passes everything, and `kchaos clean` removes it",
                    attached.at()
                )),
            }
        }
        self.list.append(&mut later);
        notes
    }
}

impl Attached {
    /// Answers with what was not as it should be.
    fn delete(&self, patience: Duration) -> io::Result<Option<String>> {
        let removed = inside(&self.namespace, || {
            let _lock = run_dir::lock(LOCK, patience)?;
            remove(&Tc::open()?, self.device, self.side, self.place, self.program)
        });
        Ok(match removed.map_err(io::Error::other)?? {
            Removed::Ours { behind: None, .. } | Removed::DeviceGone => None,
            Removed::Ours { behind: Some(kind), .. } => Some(format!(
                "on {} a {kind} filter of someone else's came before ours: what it kept for itself was not seen",
                self.at()
            )),
            Removed::Missing => Some(format!(
                "our filter on {} had been removed by someone else: from then on nothing was seen there",
                self.at()
            )),
        })
    }

    fn at(&self) -> String {
        format!("{} in network namespace {}", self.name, self.namespace.inode)
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        for note in self.detach(|_, _| true, run_dir::PATIENCE) {
            tracing::warn!("{note}");
        }
    }
}

/// Programs that can be filters.
pub fn names() -> Vec<&'static str> {
    let features =
        Feature::ALL.into_iter().filter(|feature| feature.place() == super::feature::Place::Devices);
    features.flat_map(|feature| feature.programs().iter().copied()).collect()
}

/// Whether a filter was made by a kchaos, this one or another.
pub fn is_ours(filter: &Filter, names: &[&str]) -> bool {
    filter.kind == "bpf"
        && filter.place.handle & MARK_MASK == MARK
        && filter.name.as_deref().is_some_and(|name| names.contains(&name))
}

/// What [`remove`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The filter, which is gone now.
    Ours {
        /// Whether the qdisc went with it.
        clsact: bool,
        /// The kind of someone else's filter that ran before it.
        behind: Option<String>,
    },
    /// Somebody else had removed it.
    Missing,
    /// The device is not there any more.
    DeviceGone,
}

/// Deletes the filter at `place` if it still runs `program`, and its qdisc if we made that and nobody else uses it. The
/// caller must hold [`LOCK`] and be in the device's namespace: a place that was freed may be someone else's by now.
pub fn remove(tc: &Tc, device: u32, side: Side, place: Place, program: u32) -> io::Result<Removed> {
    let here = tc.filters(device, side)?;
    let Some(at) = here.iter().position(|f| f.place == place && f.program == Some(program)) else {
        return Ok(if device_name(device).is_some() { Removed::Missing } else { Removed::DeviceGone });
    };
    let ours = &here[at];
    let foreign = |f: &&Filter| f.place.handle != 0 && !(f.kind == "bpf" && f.name == ours.name);
    // They are listed in the order in which they run.
    let behind = here[..at].iter().filter(|f| f.chain == 0).find(foreign).map(|f| f.kind.clone());
    // The kernel lists every priority once more, as a filter with the number 0.
    let others =
        here.iter().filter(|f| f.place.handle != 0 || f.place.priority != place.priority).count() - 1;
    let alone = others == 0 && tc.filters(device, side.other())?.is_empty();
    let clsact = alone && place.handle & MADE_CLSACT != 0;
    // With the qdisc in one step, where both go.
    if clsact {
        tc.delete_clsact(device)?;
    } else {
        tc.delete_filter(device, side, place)?;
    }
    Ok(Removed::Ours { clsact, behind })
}

/// The filters of both sides, egress first.
fn all(tc: &Tc, device: u32) -> io::Result<Vec<Filter>> {
    let mut all = tc.filters(device, Side::Egress)?;
    all.extend(tc.filters(device, Side::Ingress)?);
    Ok(all)
}

/// Puts the filter at the first priority where no one else has any.
fn add(tc: &Tc, device: u32, side: Side, made: bool, runs: Runs) -> io::Result<Place> {
    if !made && !tc.has_clsact(device)? {
        return Err(io::Error::other(
            "the device has an ingress qdisc of someone else's, beside which there can be no clsact: on this kernel its \
             packets cannot be reached (Linux 6.6 and later need no qdisc)",
        ));
    }
    let there = tc.filters(device, side)?;
    let ours = |f: &Filter| is_ours(f, &[runs.name]);
    let inherited =
        all(tc, device)?.iter().any(|f| is_ours(f, &names()) && f.place.handle & MADE_CLSACT != 0);
    // The kernel lists every priority once more, as a filter with the number 0.
    let others = |f: &&Filter| f.chain == 0 && (f.kind != "bpf" || f.place.handle != 0 && !ours(f));
    let taken: BTreeSet<u16> = there.iter().filter(others).map(|f| f.place.priority).collect();
    let priority = (1..u16::MAX).find(|p| !taken.contains(p)).unwrap_or(u16::MAX);
    let made = if made || inherited { MADE_CLSACT } else { 0 };
    // Other experiments have filters of the same priority; the first free number is ours.
    for number in 0..NUMBERS {
        let place = Place { priority, handle: MARK | number << 1 | made };
        match tc.add_filter(device, side, place, runs.fd, runs.name) {
            Ok(()) => return Ok(place),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                return Err(io::Error::other(
                    "its clsact shares its filters with other devices (a tc block), where none can be added for it alone",
                ));
            }
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
