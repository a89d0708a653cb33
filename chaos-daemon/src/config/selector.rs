//! Who can be named in `[target]`, as written.

use std::{collections::BTreeMap, fmt};

/// Who is named. Names and paths may hold `*` and `?` where several can be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Cgroups, by path, and everything below them.
    Cgroup(String),
    /// systemd units, by name.
    Unit(String),
    /// Containers, by name or id.
    Container(String),
    /// Containers of pods.
    Pod(Pods),
    /// The cgroup of one process, if that runs nothing else.
    Pid(i32),
    /// A command that is started in a cgroup of its own.
    Command(Vec<String>),
    /// Everything in a network namespace, by name (of `ip netns`) or path.
    NetNs(String),
    /// Every process of the host.
    Host,
}

impl Selector {
    /// Whether everything in some network namespaces is meant, whichever process it belongs to.
    pub const fn is_of_namespaces(&self) -> bool {
        matches!(self, Self::NetNs(_))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(path) => write!(f, "cgroup {path}"),
            Self::Unit(name) => write!(f, "unit {name}"),
            Self::Container(name) => write!(f, "container {name}"),
            Self::Pod(pods) => pods.fmt(f),
            Self::Pid(pid) => write!(f, "process {pid}"),
            Self::Command(words) => write!(f, "command {}", words.join(" ")),
            Self::NetNs(name) => write!(f, "network namespace {name}"),
            Self::Host => f.write_str("the whole host"),
        }
    }
}

/// Which pods, and which of their containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// Their namespace; `None` is "default".
    pub namespace: Option<String>,
    /// Their name; `None` is any.
    pub name: Option<String>,
    /// Labels that they must have.
    pub labels: BTreeMap<String, String>,
    /// One container of each; `None` is all of them.
    pub container: Option<String>,
}

impl fmt::Display for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, labels, container } = self;
        if let Some(container) = container {
            write!(f, "container {container} of ")?;
        }
        let name = name.as_deref().unwrap_or("*");
        write!(f, "pod {}/{name}", namespace.as_deref().unwrap_or("default"))?;
        for (number, (key, value)) in labels.iter().enumerate() {
            write!(f, "{}{key}={value}", if number == 0 { " with " } else { ", " })?;
        }
        Ok(())
    }
}
