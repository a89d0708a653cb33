//! What is wrong with a selector that names nobody, or more than was meant, and what would be right.

use super::{Member, Selection};
use crate::{
    config::{Problem, Selector, has_wildcards},
    target::containers::{Containers, NO_CGROUP},
};

impl Selection {
    pub(super) fn not_one(&self, found: &[Member]) -> Problem {
        let names: Vec<&str> = found.iter().map(|member| member.name.as_str()).collect();
        let message = format!("{} containers have this name", found.len());
        Problem::at(self.spec.span(), message, "not one").help(format!(
            "{}. Name a pod's: pod = {{ namespace = \"...\", name = \"...\", container = \"...\" }}; or say how many you \
             mean: pick = \"all\", \"one\" or a share",
            names.join("; ")
        ))
    }

    fn running(&self) -> String {
        self.containers.as_ref().map(Containers::in_words).unwrap_or_default()
    }

    /// Nobody, though a runtime lists them.
    fn without_cgroup(&self) -> Option<Problem> {
        let names = self.containers.as_ref().map(Containers::without_cgroup)?;
        let (first, others) = names.split_first()?;
        let message = format!("{first} cannot be hit: {NO_CGROUP}");
        let as_well =
            if others.is_empty() { String::new() } else { format!("; so with {}", others.join("; ")) };
        Some(Problem::at(self.spec.span(), message, "listed, and not found").help(format!(
            "kchaos needs cgroup v2; where a system starts without it, systemd.unified_cgroup_hierarchy=1 on the kernel's \
             command line switches it on{as_well}"
        )))
    }

    pub(super) fn nobody(&self) -> Problem {
        if let Some(problem) = self.without_cgroup() {
            return problem;
        }
        let at = self.spec.span();
        match &self.spec.get_ref().selector {
            Selector::Cgroup(name) if !has_wildcards(name) => {
                let nearest = self.hierarchy.nearest(name);
                Problem::at(at, format!("there is no cgroup {name}"), "not found").help(format!(
                    "paths start at the cgroup v2 root, {}; what exists of this one is {nearest}. \
                     `systemd-cgls` or `cat /proc/PID/cgroup` shows a service's cgroup",
                    self.hierarchy.mount().display()
                ))
            }
            Selector::Cgroup(pattern) => Problem::at(at, format!("no cgroup matches {pattern}"), "nobody")
                .help("`systemd-cgls` shows all cgroups; * does not reach across a slash, ** does"),
            Selector::Unit(name) => Problem::at(at, format!("no unit {name} is running"), "not found")
                .help("`systemctl list-units --state=running` shows those that are"),
            Selector::Container(name) => {
                Problem::at(at, format!("no container {name} is running here"), "not found").help(self.running())
            }
            Selector::Pod(pods) => Problem::at(at, format!("no {pods} is running here"), "not found")
                .help(format!("{}. A pod without a namespace is looked for in \"default\"", self.running())),
            Selector::NetNs(name) => {
                Problem::at(at, format!("there is no network namespace {name}"), "not found").help(
                    "`ip netns list` and `lsns -t net` show them: netns = \"NAME\", or a path such as \"/proc/812/ns/net\"",
                )
            }
            Selector::Pid(_) | Selector::Command(_) | Selector::Host => {
                Problem::at(at, "the target is nobody", "nobody")
            }
        }
    }
}
