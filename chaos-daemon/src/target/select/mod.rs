//! From a selector to the cgroups that it names now: asked at the start, and again and again while an experiment
//! follows its target. Units are found by [`units`], a process by [`processes`]; [`refusals`] says what is wrong where
//! nobody is named, or more than was meant.
//!
//! What must stay true: nothing that matches is nobody, never everybody; the same seed picks the same members as long
//! as they are there, and one that is restarted under its old name is picked again.

mod processes;
mod refusals;
mod units;

use std::{cmp::Reverse, collections::BTreeSet, io, ops::Range, path::Path, sync::Arc};

use toml::Spanned;

use super::{
    Cgroup, Containers, Hierarchy, NetNs, TargetError,
    netns::{self, Found},
};
use crate::{
    config::{Problem, Selector, TargetSpec, has_wildcards, is_every_cgroup, value::Pick, whole_host},
    printable::printable,
};
use chaos_common::draw::mix;

/// One part of the target: a cgroup and everything below it.
#[derive(Debug)]
pub struct Member {
    /// What people call it, without control characters.
    pub name: String,
    /// What it is chosen by, to the letter, which it may share with others: all containers of a pod are picked
    /// together.
    pub picked_as: String,
    /// The cgroup.
    pub cgroup: Cgroup,
}

impl Member {
    /// One that is picked on its own.
    pub fn new(name: String, cgroup: Cgroup) -> Self {
        Self { name: printable(&name), picked_as: name, cgroup }
    }
}

/// Who is named, how many of them, and where to look.
#[derive(Clone, Debug)]
pub struct Selection {
    spec: Spanned<TargetSpec>,
    hierarchy: Hierarchy,
    seed: u64,
    /// Where the selector needs to know them.
    containers: Option<Containers>,
    /// The network namespace that the selector named at the start.
    namespace: Option<Arc<NetNs>>,
    /// Who has been picked, ever, in that order.
    picked: Vec<String>,
    /// What was there at the start and has not been picked: it stays spared, and is not hit in the place of one that is
    /// just being restarted.
    spared: BTreeSet<String>,
}

impl Selection {
    /// Picks with `seed` if not all are wanted. Must be called inside a tokio runtime.
    pub async fn new(
        spec: &Spanned<TargetSpec>,
        hierarchy: &Hierarchy,
        seed: u64,
    ) -> Result<Self, TargetError> {
        let TargetSpec { selector, runtime, .. } = spec.get_ref();
        let containers = match selector {
            Selector::Container(_) | Selector::Pod(_) => {
                let asked = Containers::start(runtime.as_ref().map(|socket| socket.get_ref().into())).await;
                Some(asked.map_err(|error| match runtime {
                    Some(socket) => {
                        let said = printable(&error.to_string());
                        TargetError::Mistake(Problem::at(socket.span(), said, "asked here"))
                    }
                    None => TargetError::Runtime(error),
                })?)
            }
            _ => None,
        };
        let namespace = match selector {
            Selector::NetNs(name) => not_the_hosts(name, spec.span())?,
            _ => None,
        };
        Ok(Self {
            spec: spec.clone(),
            hierarchy: hierarchy.clone(),
            seed,
            containers,
            namespace,
            picked: Vec::new(),
            spared: BTreeSet::new(),
        })
    }

    /// Whether it is to be asked again while the experiment runs.
    pub fn follows(&self) -> bool {
        self.spec.get_ref().follow
    }

    /// Those that are there now; none is an error.
    pub fn at_start(&mut self) -> Result<Vec<Member>, TargetError> {
        let found = self.found()?;
        if found.is_empty() {
            return Err(TargetError::Mistake(self.nobody()));
        }
        let there = choices(&found).len();
        if self.is_one_container() && there > 1 {
            return Err(TargetError::Mistake(self.not_one(&found)));
        }
        let pick = self.pick();
        let count = pick.of(there).ok_or_else(|| {
            TargetError::Mistake(
                Problem::at(self.spec.span(), format!("{pick} of {there} is nobody"), "these are too few")
                    .help("pick a larger share, or a number: pick = \"one\""),
            )
        })?;
        self.containers.iter().for_each(Containers::warn);
        let all: Vec<String> = choices(&found).into_iter().map(ToOwned::to_owned).collect();
        let kept = self.keep(found, count);
        let spared = all.into_iter().filter(|name| kept.iter().all(|member| member.picked_as != *name));
        self.spared.extend(spared);
        Ok(kept)
    }

    /// Those that are there now, which may be none. A share of them is at least one.
    pub fn now(&mut self) -> Result<Vec<Member>, TargetError> {
        let found = self.found()?;
        self.containers.iter().for_each(Containers::warn);
        let count = self.pick().of(choices(&found).len()).unwrap_or(1);
        Ok(self.keep(found, count))
    }

    /// Whether there will never be anyone again, as far as this selector can tell.
    pub fn is_gone(&self) -> bool {
        match (&self.spec.get_ref().selector, &self.namespace) {
            (Selector::Pid(pid), _) => !Path::new(&format!("/proc/{pid}")).exists(),
            (Selector::NetNs(name), Some(first)) => {
                !self.follows()
                    && netns::named(name).is_ok_and(|now| now.is_none_or(|now| now.inode != first.inode))
            }
            _ => false,
        }
    }

    /// The network namespaces of `members`: those of their processes, or the one that the selector names.
    pub fn namespaces<'a>(&self, members: impl Iterator<Item = &'a Cgroup>) -> Result<Found, TargetError> {
        let one = |namespace: Option<Arc<NetNs>>| Found {
            namespaces: namespace.into_iter().collect(),
            ..Found::default()
        };
        match &self.spec.get_ref().selector {
            Selector::NetNs(name) if self.follows() => not_the_hosts(name, self.spec.span()).map(one),
            Selector::NetNs(_) => Ok(one(self.namespace.clone())),
            _ => netns::of_cgroups(members),
        }
    }

    /// Whether everything in its network namespaces is meant, whichever process it belongs to.
    pub fn is_of_namespaces(&self) -> bool {
        self.spec.get_ref().selector.is_of_namespaces()
    }

    /// The namespaces at the start. A process that is there and cannot be looked at is an error: its packets would be
    /// missed in silence.
    pub fn first_namespaces<'a>(
        &mut self,
        members: impl Iterator<Item = &'a Cgroup>,
    ) -> Result<Vec<Arc<NetNs>>, TargetError> {
        // Whoever takes its name away wants it gone: where it is followed, nobody keeps it but those who attach to it.
        let first = if self.follows() { self.namespace.take() } else { self.namespace.clone() };
        if let Some(first) = first {
            return Ok(vec![first]);
        }
        let found = self.namespaces(members)?;
        found.missing.map_or(Ok(found.namespaces), Err)
    }

    fn pick(&self) -> Pick {
        let unsaid = if self.is_one_container() { Pick::Count(1) } else { Pick::All };
        self.spec.get_ref().pick.unwrap_or(unsaid)
    }

    /// A container that is named in full is one container.
    fn is_one_container(&self) -> bool {
        let TargetSpec { selector, pick, .. } = self.spec.get_ref();
        pick.is_none() && matches!(selector, Selector::Container(name) if !has_wildcards(name))
    }

    /// Keeps those that were picked before, and fills places that are free with newcomers, by the marks that everyone
    /// has for its name (rendezvous hashing: Thaler and Ravishankar, 1998): who comes or goes does not change the
    /// choice among the others. What was picked earlier takes its place back when it returns.
    fn keep(&mut self, mut found: Vec<Member>, count: usize) -> Vec<Member> {
        if self.pick() == Pick::All {
            return found;
        }
        let mark = |name: &str| name.bytes().fold(mix(self.seed), |mark, byte| mix(mark ^ u64::from(byte)));
        let there: BTreeSet<String> = choices(&found).into_iter().map(ToOwned::to_owned).collect();
        let mut names: Vec<String> = there.difference(&self.spared).cloned().collect();
        let place = |name: &String| self.picked.iter().position(|other| other == name).unwrap_or(usize::MAX);
        names.sort_by_key(|name| (place(name), Reverse(mark(name))));
        names.truncate(count);
        let new: Vec<String> = names.iter().filter(|name| !self.picked.contains(name)).cloned().collect();
        self.picked.extend(new);
        found.retain(|member| names.contains(&member.picked_as));
        found
    }

    /// All that the selector names, without those that are part of another one.
    fn found(&self) -> Result<Vec<Member>, TargetError> {
        let mut found = match &self.spec.get_ref().selector {
            Selector::Cgroup(pattern) => self.cgroups(pattern)?,
            Selector::Unit(pattern) => units::named(&self.hierarchy, pattern)?,
            Selector::Pid(pid) => vec![processes::alone(&self.hierarchy, *pid, self.spec.span())?],
            Selector::Container(pattern) => self.of_runtime(|known| known.named(&self.hierarchy, pattern)),
            Selector::Pod(pods) => self.of_runtime(|known| known.of_pods(&self.hierarchy, pods)),
            // Its packets belong to whoever sends them there.
            Selector::NetNs(name) => match not_the_hosts(name, self.spec.span())? {
                Some(_) => {
                    vec![Member::new(format!("network namespace {name}"), self.hierarchy.cgroup("/")?)]
                }
                None => Vec::new(),
            },
            Selector::Host => vec![Member::new("the whole host".into(), self.hierarchy.cgroup("/")?)],
            // It has a cgroup of its own, which `super::resolve` makes.
            Selector::Command(_) => Vec::new(),
        };
        found.sort_by(|a, b| a.cgroup.path.cmp(&b.cgroup.path));
        // Sorted, so whatever covers another one comes before it.
        let mut outermost: Vec<Member> = Vec::new();
        for member in found {
            if !outermost.iter().any(|outer| member.cgroup.path.starts_with(&outer.cgroup.path)) {
                outermost.push(member);
            }
        }
        Ok(outermost)
    }

    fn of_runtime(&self, ask: impl Fn(&Containers) -> Vec<Member>) -> Vec<Member> {
        self.containers.as_ref().map(ask).unwrap_or_default()
    }

    fn cgroups(&self, pattern: &str) -> Result<Vec<Member>, TargetError> {
        let too_wide =
            || TargetError::Mistake(whole_host(self.spec.span(), &format!("the cgroup {pattern:?}")));
        // The text has been asked already; where the hierarchy is mounted is known only now.
        if is_every_cgroup(&self.hierarchy.relative(pattern).to_string_lossy()) {
            return Err(too_wide());
        }
        let one = |name: &str| match self.hierarchy.cgroup(name) {
            Ok(cgroup) if cgroup.level == 0 => Err(too_wide()),
            Ok(cgroup) => Ok(Some(Member::new(format!("cgroup {}", cgroup.name), cgroup))),
            Err(TargetError::Io { error, .. }) if is_absence(&error) => Ok(None),
            Err(other) => Err(other),
        };
        if !has_wildcards(pattern) {
            return Ok(one(pattern)?.into_iter().collect());
        }
        let full = self.hierarchy.below(pattern);
        let paths = glob::glob(&full.to_string_lossy())
            .map_err(|e| TargetError::io(format!("the pattern {pattern}"), io::Error::other(e)))?;
        let dirs = paths.flatten().filter(|path| path.is_dir());
        dirs.filter_map(|path| one(&path.to_string_lossy()).transpose()).collect()
    }
}

/// The network namespace of that name, if it is there; never that of the host, which a name may come to stand for.
fn not_the_hosts(name: &str, at: Range<usize>) -> Result<Option<Arc<NetNs>>, TargetError> {
    match netns::named(name)? {
        Some(found) if netns::of_host() == Some(found.inode) => {
            let what = format!("the network namespace {name:?}");
            Err(TargetError::Mistake(whole_host(at, &what)))
        }
        found => Ok(found),
    }
}

/// What can be chosen among.
fn choices(found: &[Member]) -> BTreeSet<&str> {
    found.iter().map(|member| member.picked_as.as_str()).collect()
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests;
