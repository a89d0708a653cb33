//! podman without its service: it has no daemon, and keeps what it knows in files.
//!
//! Names stand in `containers.json` of the storage, which lists every container that exists; whether one runs is seen
//! by the file of its process, and by that process being in the container's cgroup.

use std::{fs, io, path::Path};

use serde::Deserialize;

use super::{Container, Failure};

/// Where the containers of root are kept.
pub(super) const STORAGE: &str = "/var/lib/containers/storage/overlay-containers";

/// Where those that run leave their marks.
pub(super) const RUN: &str = "/run/containers/storage/overlay-containers";

/// The ones that stay, and the ones of `podman run --rm`, which a newer podman lists apart.
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];

/// One entry of a list.
#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// JSON in JSON.
    #[serde(default)]
    metadata: String,
}

/// What podman writes into it, and CRI-O, which keeps its containers in the same list.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "pod-id")]
    pod_id: String,
}

/// Whether there is such a list.
pub(super) fn is_there(storage: &Path) -> bool {
    LISTS.iter().any(|list| storage.join(list).is_file())
}

/// Whether this is the container that holds the namespaces of a podman pod: it has the name "0123456789ab-infra".
pub(super) fn is_infra(name: &str) -> bool {
    let id = name.strip_suffix("-infra").unwrap_or_default();
    id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The running containers.
pub(super) fn containers(storage: &Path, run: &Path) -> Result<Vec<Container>, Failure> {
    let mut found = Vec::new();
    for list in LISTS {
        let path = storage.join(list);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Failure::Refused(format!("{}: {e}", path.display()))),
        };
        let listed = parse(&text).map_err(|e| Failure::Nonsense(format!("{}: {e}", path.display())))?;
        found.extend(listed.into_iter().filter(|container| runs(run, &container.id)));
    }
    Ok(found)
}

fn parse(text: &str) -> serde_json::Result<Vec<Container>> {
    let listed: Vec<Listed> = serde_json::from_str(text)?;
    let container = |listed: Listed| {
        let metadata: Metadata = serde_json::from_str(&listed.metadata).unwrap_or_default();
        let name = listed.names.into_iter().next().unwrap_or(metadata.name);
        let ours = metadata.pod_id.is_empty() && !is_infra(&name);
        ours.then_some(Container { id: listed.id, name, runtime: "podman", pod: None })
    };
    Ok(listed.into_iter().filter_map(container).collect())
}

/// A process may have ended, and its number be another's now.
fn runs(run: &Path, id: &str) -> bool {
    let pid = fs::read_to_string(run.join(id).join("userdata/pidfile")).unwrap_or_default();
    let Ok(pid) = pid.trim().parse::<u32>() else { return false };
    // In any hierarchy: one without a cgroup of v2 runs all the same.
    fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroups| cgroups.contains(id))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{containers, is_infra, is_there, parse};
    use crate::target::runtime::Failure;

    /// Shortened from what podman 4.3 writes; the second is the infra container of a pod, the third is CRI-O's.
    const LIST: &str = r#"[
        {"id":"aa","names":["web"],"image":"1","layer":"2","created":"2026-01-02T03:04:05Z","flags":{"MountLabel":""},
         "metadata":"{\"image-name\":\"docker.io/library/nginx\",\"image-id\":\"1\",\"name\":\"web\",\"created-at\":17}"},
        {"id":"bb","names":["0123456789ab-infra"],
         "metadata":"{\"image-name\":\"localhost/podman-pause:4.3.1\",\"name\":\"0123456789ab-infra\"}"},
        {"id":"cc","names":["k8s_app_checkout_shop_u_0"],
         "metadata":"{\"pod-name\":\"k8s_checkout_shop_u_0\",\"pod-id\":\"dd\",\"name\":\"k8s_app_checkout_shop_u_0\"}"}]"#;

    #[test]
    fn the_list_has_names_and_neither_infra_nor_cri_o() {
        let found = parse(LIST).unwrap();
        assert_eq!(vec![("aa", "web")], found.iter().map(|c| (&*c.id, &*c.name)).collect::<Vec<_>>());
        assert!(parse("{").is_err());
    }

    #[test]
    fn infra_is_known_by_its_name() {
        assert!(is_infra("0123456789ab-infra"));
        for other in ["infra", "my-infra", "0123456789abc-infra", "0123456789ax-infra", "0123456789ab"] {
            assert!(!is_infra(other), "{other}");
        }
    }

    #[test]
    fn what_has_no_process_does_not_run() {
        let (storage, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(!is_there(storage.path()));
        assert!(containers(storage.path(), run.path()).unwrap().is_empty());
        fs::write(storage.path().join("containers.json"), LIST).unwrap();
        assert!(is_there(storage.path()));
        assert!(containers(storage.path(), run.path()).unwrap().is_empty());
        // Nor does what has the number of a process that is somewhere else.
        let userdata = run.path().join("aa/userdata");
        fs::create_dir_all(&userdata).unwrap();
        fs::write(userdata.join("pidfile"), "4194399").unwrap();
        assert!(containers(storage.path(), run.path()).unwrap().is_empty());
        fs::write(storage.path().join("containers.json"), "no list").unwrap();
        assert!(matches!(containers(storage.path(), run.path()), Err(Failure::Nonsense(_))));
    }
}
