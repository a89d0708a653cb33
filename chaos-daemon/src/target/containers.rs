//! Containers and pods as targets.
//!
//! The runtime is asked again and again on a task of its own, as it may hang; the engine takes the last list whenever
//! it looks. What must stay true: while no runtime answers, the containers that were there stay the target, and those
//! that end are let go all the same, as their cgroups are gone.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinHandle};

use super::{
    Hierarchy, Member,
    runtime::{Container, Pod, RuntimeError, Runtimes, cgroup_of, is_made_up},
    unfound::Unfound,
};
use crate::{config::Pods, printable::printable};

/// How often the runtime is asked. A restarted container is to be hit within a second.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The namespace of a pod that is named without one, as in kubectl.
const DEFAULT: &str = "default";

/// From so many characters on, a text may be the beginning of an id: this is how many `docker ps` shows.
const SHORT_ID: usize = 12;

/// Why a container that is listed cannot be hit.
pub const NO_CGROUP: &str = "it has no cgroup of the v2 hierarchy, or its process is gone";

/// The running containers, kept up to date.
#[derive(Clone, Debug)]
pub struct Containers {
    known: watch::Receiver<Vec<Container>>,
    unfound: Arc<Mutex<Unfound>>,
    /// `None` where a test says what is known.
    _asking: Option<Arc<Asking>>,
}

/// Ends with the last [`Containers`].
#[derive(Debug)]
struct Asking(JoinHandle<()>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Containers {
    /// Asks for the first time, and keeps asking. `socket` is the only runtime to ask; `None` asks all that are there.
    pub async fn start(socket: Option<PathBuf>) -> Result<Self, RuntimeError> {
        let mut runtimes = Runtimes::new(socket);
        let (send, known) = watch::channel(runtimes.containers().await?);
        let mut answered = true;
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(ASK_EVERY).await;
                match runtimes.containers().await {
                    Ok(now) => {
                        answered = true;
                        drop(send.send_replace(now));
                    }
                    Err(error) if answered => {
                        answered = false;
                        tracing::warn!("{error}: the containers that were there stay the target");
                    }
                    Err(_) => {}
                }
            }
        });
        Ok(Self { known, unfound: Arc::default(), _asking: Some(Arc::new(Asking(task))) })
    }

    /// Those that a test says are known, and how it says so later on.
    #[cfg(test)]
    pub(super) fn said(known: Vec<Container>) -> (watch::Sender<Vec<Container>>, Self) {
        let (send, known) = watch::channel(known);
        (send, Self { known, unfound: Arc::default(), _asking: None })
    }

    /// Those with this name or id; `pattern` may hold wildcards.
    pub fn named(&self, hierarchy: &Hierarchy, pattern: &str) -> Vec<Member> {
        self.members(hierarchy, |container| is_called(container, pattern))
    }

    /// Those of these pods.
    pub fn of_pods(&self, hierarchy: &Hierarchy, pods: &Pods) -> Vec<Member> {
        self.members(hierarchy, |container| {
            container.pod.as_ref().is_some_and(|pod| is_one_of(pod, pods))
                && pods.container.as_ref().is_none_or(|pattern| matches(pattern, &container.name))
        })
    }

    /// The names of those that are there, for a person who named one that is not.
    pub fn in_words(&self) -> String {
        const SHOWN: usize = 8;
        let known = self.known.borrow();
        let mut names: Vec<String> = known.iter().map(name).collect();
        names.sort();
        let more = names.len().saturating_sub(SHOWN);
        names.truncate(SHOWN);
        match (names.is_empty(), more) {
            (true, _) => "no container runs here".to_owned(),
            (_, 0) => format!("these run here: {}", names.join("; ")),
            _ => format!("these run here: {}; and {more} more", names.join("; ")),
        }
    }

    /// Names of those that were wanted when last looked at and have no cgroup.
    pub fn without_cgroup(&self) -> Vec<String> {
        self.unfound().names()
    }

    /// Says who of them cannot be hit, each once.
    pub fn warn(&self) {
        for name in self.unfound().news(Instant::now()) {
            tracing::warn!("{name} is listed as running and is not hit: {NO_CGROUP}");
        }
    }

    /// Nothing is left half done by whoever panics with it.
    pub(super) fn unfound(&self) -> MutexGuard<'_, Unfound> {
        self.unfound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes those that have no cgroup.
    fn members(&self, hierarchy: &Hierarchy, wanted: impl Fn(&Container) -> bool) -> Vec<Member> {
        let known = self.known.borrow();
        let wanted: Vec<&Container> = known.iter().filter(|container| wanted(container)).collect();
        let paths = cgroup_of(hierarchy.mount(), wanted.iter().map(|container| container.id.as_str()));
        let mut missing = Vec::new();
        let mut cgroup_of = |container: &Container| {
            let path = paths.get(container.id.as_str());
            let cgroup = path.and_then(|path| hierarchy.cgroup(&path.to_string_lossy()).ok());
            if cgroup.is_none() {
                missing.push((container.id.clone(), name(container)));
            }
            cgroup
        };
        let member = |container: &&Container| {
            let cgroup = cgroup_of(container)?;
            let picked_as = container.pod.as_ref().map_or_else(|| in_full(container), in_namespace);
            Some(Member { name: name(container), picked_as, cgroup })
        };
        let members = wanted.iter().filter_map(member).collect();
        self.unfound().note(missing.into_iter(), Instant::now());
        members
    }
}

/// What people call it.
fn name(container: &Container) -> String {
    printable(&in_full(container))
}

/// Stays the same when the container is restarted.
fn in_full(container: &Container) -> String {
    match &container.pod {
        Some(pod) => format!("container {} of pod {}", container.name, in_namespace(pod)),
        None => format!("container {}", container.name),
    }
}

fn in_namespace(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn is_called(container: &Container, pattern: &str) -> bool {
    // Only those that a runtime made up: of two chosen ones, one may well be the beginning of the other.
    let short = pattern.len() >= SHORT_ID && is_made_up(&container.id) && container.id.starts_with(pattern);
    short || container.id == pattern || matches(pattern, &container.name)
}

fn is_one_of(pod: &Pod, pods: &Pods) -> bool {
    matches(pods.namespace.as_deref().unwrap_or(DEFAULT), &pod.namespace)
        && pods.name.as_ref().is_none_or(|pattern| matches(pattern, &pod.name))
        && pods.labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// A pattern that is none has been refused when the file was read.
fn matches(pattern: &str, text: &str) -> bool {
    glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_a_runtime_are_shown_and_not_obeyed() {
        let pod = Pod {
            namespace: "shop\u{7}".into(),
            name: "checkout\u{1b}[2J".into(),
            uid: "u".into(),
            labels: [].into(),
        };
        let id = "ab".repeat(32);
        let container =
            Container { id: id.clone(), name: "web\nforged".into(), runtime: "test", pod: Some(pod) };
        let mount = tempfile::tempdir().unwrap();
        std::fs::create_dir(mount.path().join(&id)).unwrap();
        let shown = "container web\\nforged of pod shop\\u{7}/checkout\\u{1b}[2J";
        let (_send, known) = Containers::said(vec![container]);
        let members = known.named(&Hierarchy::at(mount.path()), "web*");
        assert_eq!([shown], *members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>());
        assert_eq!(format!("these run here: {shown}"), known.in_words());
    }

    #[test]
    fn containers_by_name_and_id() {
        let web = Container { id: "ab".repeat(32), name: "web".into(), runtime: "test", pod: None };
        for (pattern, expected) in [
            ("web", true),
            ("w*", true),
            ("we", false),
            ("", false),
            ("abababababab", true),
            ("ababababab", false),
            ("bababababababa", false),
        ] {
            assert_eq!(expected, is_called(&web, pattern), "{pattern}");
        }
        assert!(is_called(&web, &"ab".repeat(32)));
    }

    #[test]
    fn pods_by_namespace_name_and_labels() {
        let labels = [("app", "checkout"), ("tier", "web")];
        let pod = Pod {
            namespace: "shop".into(),
            name: "checkout-7d9".into(),
            uid: "u".into(),
            labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        };
        let wanted = |namespace: Option<&str>, name: Option<&str>, labels: &[(&str, &str)]| Pods {
            namespace: namespace.map(Into::into),
            name: name.map(Into::into),
            labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            container: None,
        };
        assert!(is_one_of(&pod, &wanted(Some("shop"), Some("checkout-*"), &[])));
        assert!(is_one_of(&pod, &wanted(Some("shop"), None, &[("app", "checkout")])));
        assert!(is_one_of(&pod, &wanted(Some("*"), None, &[("app", "checkout"), ("tier", "web")])));
        assert!(!is_one_of(&pod, &wanted(None, Some("checkout-7d9"), &[])), "of the namespace default only");
        assert!(!is_one_of(&pod, &wanted(Some("shop"), Some("checkout"), &[])));
        assert!(!is_one_of(&pod, &wanted(Some("shop"), None, &[("app", "checkout"), ("tier", "db")])));
        assert!(!is_one_of(&pod, &wanted(Some("shop"), None, &[("absent", "")])));
    }
}
