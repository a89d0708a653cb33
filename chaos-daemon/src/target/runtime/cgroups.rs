//! From a container's id to its cgroup.
//!
//! Runtimes say where a container's cgroup is in many ways, and seen from their own mounts; but all of them write the
//! id into the name of its directory, and ids are not repeated. So it is looked for by its name, whatever the drivers
//! (cgroupfs or systemd) and parents (Kubernetes' classes, slices, a service) above it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::{Path, PathBuf},
};

use super::super::cgroup::children;

/// What runtimes write before the id. With `conmon` between, it is the cgroup of a container's monitor.
const PREFIXES: [&str; 7] =
    ["", "docker-", "cri-containerd-", "crio-", "libpod-", "libpod-payload-", "nerdctl-"];

/// The cgroups of the containers `ids`, as far as they have one, found in one walk through the hierarchy mounted at
/// `root`.
pub fn cgroup_of<'a>(root: &Path, ids: impl IntoIterator<Item = &'a str>) -> HashMap<&'a str, PathBuf> {
    let (mut found, mut wanted) = (HashMap::new(), HashSet::new());
    for id in ids {
        if is_made_up(id) {
            wanted.insert(id);
        } else if let Some(path) = chosen(root, id) {
            found.insert(id, path);
        }
    }
    // The nearest to the root first: what is below a container's cgroup is the container's own.
    let mut waiting = VecDeque::from([root.to_owned()]);
    while let Some(directory) = waiting.pop_front() {
        if wanted.is_empty() {
            break;
        }
        for child in children(&directory) {
            let name = child.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if let Some(id) = id_in(name).and_then(|id| wanted.take(id)) {
                found.insert(id, child);
            } else {
                waiting.push_back(child);
            }
        }
    }
    found
}

/// Whether a runtime made this id: nothing else is called like that.
pub fn is_made_up(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

/// The id in the name of a container's cgroup.
fn id_in(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (prefix, id) = name.split_at_checked(name.len().checked_sub(64)?)?;
    (is_made_up(id) && PREFIXES.contains(&prefix)).then_some(id)
}

/// Where ctr puts a container whose id somebody chose, "default/web": another cgroup may well be called "web".
fn chosen(root: &Path, id: &str) -> Option<PathBuf> {
    let (namespace, name) = id.split_once('/')?;
    let plain = |word: &str| !word.is_empty() && !word.starts_with('.') && !word.contains('/');
    let path = root.join(namespace).join(name);
    (plain(namespace) && plain(name) && path.is_dir()).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{cgroup_of, id_in};

    fn id(n: u8) -> String {
        format!("{n:02x}").repeat(32)
    }

    /// Makes each cgroup, and expects the container with its number to be found there, or not at all.
    fn check(there: &[&str], not_there: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        let ids: Vec<String> = (1u8..).map(id).take(there.len() + not_there.len()).collect();
        let paths: Vec<_> = there
            .iter()
            .chain(not_there)
            .zip(&ids)
            .map(|(layout, id)| root.path().join(layout.replace("ID", id)))
            .collect();
        for path in &paths {
            fs::create_dir_all(path.join("inside")).unwrap();
            fs::write(path.join("cgroup.procs"), "").unwrap();
        }
        let found = cgroup_of(root.path(), ids.iter().map(String::as_str));
        for (n, (id, path)) in ids.iter().zip(&paths).enumerate() {
            let expected = (n < there.len()).then_some(path);
            assert_eq!(expected, found.get(id.as_str()), "{}", path.display());
        }
    }

    #[test]
    fn kubernetes_with_the_cgroupfs_driver() {
        check(
            &[
                "kubepods/pod1a2b-3c/ID",
                "kubepods/burstable/pod1a2b-3c/ID",
                "kubepods/besteffort/pod1a2b-3c/ID",
                "kubepods/burstable/pod4/crio-ID",
                "k8s.io/ID",
            ],
            &["kubepods/burstable/pod4/crio-conmon-ID"],
        );
    }

    #[test]
    fn kubernetes_with_the_systemd_driver() {
        check(
            &[
                "kubepods.slice/kubepods-pod1a.slice/cri-containerd-ID.scope",
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a.slice/cri-containerd-ID.scope",
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1a.slice/crio-ID.scope",
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1a.slice/docker-ID.scope",
                // k3s under systemd.
                "system.slice/k3s.service/kubepods/burstable/pod1a/ID",
            ],
            &["kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a.slice/crio-conmon-ID.scope"],
        );
    }

    #[test]
    fn docker_podman_and_nerdctl() {
        check(
            &[
                "docker/ID",
                "system.slice/docker-ID.scope",
                "machine.slice/libpod-ID.scope",
                "libpod_parent/libpod-ID",
                "system.slice/checkout.service/libpod-payload-ID",
                "system.slice/nerdctl-ID.scope",
                "default/ID",
            ],
            &["machine.slice/libpod-conmon-ID.scope", "libpod_parent/x-ID", "machine.slice/libpod-IDa.scope"],
        );
    }

    #[test]
    fn an_id_that_somebody_chose_stands_where_ctr_puts_it() {
        let root = tempfile::tempdir().unwrap();
        for path in ["default/web", "system.slice/web", "web", "other"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let ids =
            ["default/web", "default/db", "web", "other", "./other", "../x", "/etc", "default/../other", ""];
        let found = cgroup_of(root.path(), ids);
        assert_eq!(
            [("default/web", root.path().join("default/web"))],
            *found.into_iter().collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_container_in_a_container_is_found_and_one_that_is_gone_is_not() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join(format!("docker/{}/docker/{}", id(1), id(2)));
        fs::create_dir_all(&inner).unwrap();
        let (wanted, absent) = (id(2), id(3));
        let found = cgroup_of(root.path(), [wanted.as_str(), &absent]);
        assert_eq!([(wanted.as_str(), inner)], *found.into_iter().collect::<Vec<_>>());
        assert!(cgroup_of(root.path(), []).is_empty());
        assert!(cgroup_of(&root.path().join("absent"), [id(1).as_str()]).is_empty());
    }

    #[test]
    fn names_that_are_no_containers_have_no_id() {
        for name in ["", "system.slice", "é", &"é".repeat(40), &"g".repeat(64), &"A".repeat(64), ".scope"] {
            assert_eq!(None, id_in(name), "{name}");
        }
    }
}
