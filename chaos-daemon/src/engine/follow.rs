//! The target of an experiment while it runs: who joins and who leaves, and the record of that.
//!
//! What is slow or may hang (container runtimes) is asked on tasks of their own; the session takes what they have
//! found when it keeps itself alive, so that none ever keeps a lease from being extended.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{outcome::seconds, protect::Guard};
use crate::{
    bpf::{BpfError, Fails, Feature, Object},
    guard::forbidden::Forbidden,
    target::{Member, NetNs, Selection, Target, own_namespace},
};
use serde::Serialize;

/// How often the target is looked up again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// No record holds more changes than this: what comes after is only counted.
const MOST_CHANGES: usize = 1000;

/// Something that changed while the experiment ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Part of the target from now on.
    Joined(String),
    /// No longer part of it: gone, or no longer picked.
    Left(String),
    /// Would be part of it, and is left alone.
    KeptOut {
        /// Who.
        name: String,
        /// The protected program in it.
        program: String,
    },
    /// Would be part of it, and cannot be: others may have filled its cgroup with programs, or there are too many.
    LeftOut {
        /// Who.
        name: String,
        /// Why.
        error: String,
    },
    /// A host name has these addresses from now on.
    Resolved {
        /// Which.
        name: String,
        /// All of them.
        addresses: BTreeSet<std::net::IpAddr>,
    },
    /// There is no room in the tables for all addresses: the last ones stay.
    TooMany {
        /// Why.
        error: String,
    },
    /// A path leads elsewhere, or nowhere, and that cannot be followed: what it led to before goes on counting.
    Unfollowed {
        /// Why.
        error: String,
    },
    /// A host name could not be looked up: the last addresses stay.
    Unresolved {
        /// Which.
        name: String,
        /// Why.
        error: String,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined(name) => write!(f, "{name} joined the target"),
            Self::Left(name) => write!(f, "{name} left the target"),
            Self::KeptOut { name, program } => {
                write!(f, "{name} is left alone: {program} lives in it, which is protected")
            }
            Self::LeftOut { name, error } => write!(f, "{name} is not hit: {error}"),
            Self::Resolved { name, addresses } => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "{name} is {} now", list.join(", "))
            }
            Self::TooMany { error } => write!(f, "the last addresses of all names stay in force: {error}"),
            Self::Unfollowed { error } => {
                write!(f, "what the paths led to before goes on counting, and nothing new: {error}")
            }
            Self::Unresolved { name, error } => write!(f, "{name} keeps its addresses: {error}"),
        }
    }
}

/// When, and what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Seconds from the start of the experiment.
    pub after_seconds: f64,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

/// Everything that changed, in order.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The first of them.
    pub list: Vec<Change>,
    /// How many more there were.
    pub more: usize,
}

impl Changes {
    /// Notes a change.
    pub fn note(&mut self, after: Duration, what: What) {
        if self.list.len() < MOST_CHANGES {
            self.list.push(Change { after_seconds: seconds(after), what });
        } else {
            self.more += 1;
        }
    }
}

/// Who is in the target now.
pub struct Members {
    selection: Selection,
    list: Vec<Member>,
    /// The network namespaces that are known, by inode.
    namespaces: BTreeSet<u64>,
    /// Those that would be part of the target if nobody protected were in them.
    kept_out: BTreeSet<u64>,
    /// Cgroups that could not be attached to, by id.
    left_out: BTreeSet<u64>,
    /// Those that may not be attached to.
    forbidden: Forbidden,
    looked: Instant,
}

impl Members {
    /// Those that were found at the start.
    pub fn of(target: Target, forbidden: Forbidden) -> Self {
        let Target { members, namespaces, selection, .. } = target;
        Self {
            selection,
            list: members,
            namespaces: namespaces.iter().map(|namespace| namespace.inode).collect(),
            kept_out: BTreeSet::new(),
            left_out: BTreeSet::new(),
            forbidden,
            looked: Instant::now(),
        }
    }

    /// Their cgroups.
    pub fn cgroups(&self) -> impl Iterator<Item = &crate::target::Cgroup> + Clone + '_ {
        self.list.iter().map(|member| &member.cgroup)
    }

    /// Whether there will never be anyone again.
    pub fn gone_for_good(&self) -> bool {
        let all_gone = || self.list.iter().all(|member| !member.cgroup.is_there());
        self.selection.is_gone() || !self.selection.follows() && all_gone()
    }

    /// Looks again, if it is time: attaches to those that have come and lets those go that left. Answers with both.
    pub fn follow(&mut self, object: &mut Object, guard: &mut Guard) -> Result<Vec<What>, BpfError> {
        if self.looked.elapsed() < LOOK_EVERY {
            return Ok(Vec::new());
        }
        self.looked = Instant::now();
        let mut changes = Vec::new();
        if self.selection.follows() {
            match self.selection.now() {
                Ok(now) => changes = self.replace(now, object, guard)?,
                // What cannot be looked up now stays as it is.
                Err(error) => tracing::debug!("looking the target up again: {error}"),
            }
        }
        changes.extend(self.follow_namespaces(object, guard)?);
        Ok(changes)
    }

    /// Those that leave go first: a cgroup above one of theirs must not be attached while theirs is.
    fn replace(
        &mut self,
        now: Vec<Member>,
        object: &mut Object,
        guard: &mut Guard,
    ) -> Result<Vec<What>, BpfError> {
        let stay: BTreeSet<u64> = now.iter().map(|member| member.cgroup.id).collect();
        let mut changes = Vec::new();
        let left: Vec<Member> = self.list.extract_if(.., |m| !stay.contains(&m.cgroup.id)).collect();
        if !left.is_empty() {
            let known = self.list.iter().map(|member| member.cgroup.id).collect();
            object.leave_cgroups(&known)?;
            changes.extend(left.into_iter().map(|member| What::Left(member.name)));
        }
        let known: BTreeSet<u64> = self.list.iter().map(|member| member.cgroup.id).collect();
        let mut new: Vec<Member> =
            now.into_iter().filter(|member| !known.contains(&member.cgroup.id)).collect();
        let is_forbidden = |member: &mut Member| self.forbidden.reached_by(&member.cgroup.name).is_some();
        for member in new.extract_if(.., is_forbidden) {
            if self.left_out.insert(member.cgroup.id) {
                changes.push(What::LeftOut { name: member.name, error: "it is forbidden here".to_owned() });
            }
        }
        guard.look_at(object, new.iter().map(|member| &member.cgroup))?;
        for member in new {
            match object.attach_cgroup(&member.cgroup) {
                Ok(()) => {
                    changes.push(What::Joined(member.name.clone()));
                    self.list.push(member);
                }
                // It went away while we looked at it.
                Err(_) if !member.cgroup.is_there() => {}
                // The others are hit as before; it is tried again, in case there is no room just now.
                Err(error) => {
                    if self.left_out.insert(member.cgroup.id) {
                        changes.push(What::LeftOut { name: member.name, error: error.to_string() });
                    }
                }
            }
        }
        Ok(changes)
    }

    /// A namespace stays as long as someone of the target is in it.
    fn follow_namespaces(&mut self, object: &mut Object, guard: &mut Guard) -> Result<Vec<What>, BpfError> {
        let found = self.selection.namespaces(self.cgroups())?;
        let mut namespaces = found.namespaces;
        let mut changes = Vec::new();
        if self.selection.is_of_namespaces() {
            changes = self.exchanged(&mut namespaces, object, guard)?;
        } else if namespaces.is_empty() {
            // Nobody is there, and whoever comes is noticed: only ours is not kept alive by our watching it.
            namespaces.push(own_namespace()?);
        }
        // Those that are left go first: a device may have moved on from there. Someone may still be in them who cannot be
        // looked at, as he is just being started.
        if let Some(error) = found.missing {
            tracing::debug!("no namespace is left as long as this is so: {error}");
        } else {
            object.leave_namespaces(&namespaces.iter().map(|namespace| namespace.inode).collect())?;
        }
        for namespace in &namespaces {
            object.attach_namespace(namespace, Fails::Device)?;
        }
        object.follow_devices()?;
        Ok(changes)
    }

    /// The namespace that is the target may be another one under its old name. At a device nobody knows yet who will
    /// get a packet, so one with a protected process in it is left alone as long as that is so; at the start it would
    /// be refused.
    fn exchanged(
        &mut self,
        namespaces: &mut Vec<Arc<NetNs>>,
        object: &mut Object,
        guard: &mut Guard,
    ) -> Result<Vec<What>, BpfError> {
        let name = |inode: u64| match &self.list[..] {
            [member] => format!("{} (inode {inode})", member.name),
            _ => format!("network namespace {inode}"),
        };
        let there: BTreeSet<u64> = namespaces.iter().map(|namespace| namespace.inode).collect();
        let takes_all = object.features().any(|feature| feature == Feature::TcIngress);
        if !there.is_subset(&self.namespaces) {
            guard.look_at(object, self.cgroups())?;
        }
        let gone = self.namespaces.difference(&there).map(|inode| What::Left(name(*inode)));
        let mut changes: Vec<What> = gone.collect();
        let mut kept_out = BTreeSet::new();
        namespaces.retain(|namespace| {
            let Some(found) = guard.inside(namespace).filter(|_| takes_all) else { return true };
            if kept_out.insert(namespace.inode) && !self.kept_out.contains(&namespace.inode) {
                let program = found.program.clone();
                changes.push(What::KeptOut { name: name(namespace.inode), program });
            }
            false
        });
        let now: BTreeSet<u64> = there.difference(&kept_out).copied().collect();
        changes.extend(now.difference(&self.namespaces).map(|inode| What::Joined(name(*inode))));
        // That the name itself came or went has been noted already.
        if there.is_empty() || self.namespaces.is_empty() && self.kept_out.is_empty() {
            changes.clear();
        }
        (self.namespaces, self.kept_out) = (now, kept_out);
        Ok(changes)
    }
}
