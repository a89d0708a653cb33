//! containerd: the containers of Kubernetes through CRI, and those that nerdctl and ctr start beside them, which CRI
//! does not show, through its own interface.
//!
//! The messages have the field numbers of containerd's published API and only the fields that are read here.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::{Container, Failure, cgroups::is_made_up, cri, grpc::Grpc};

/// Namespaces whose containers others list, with names that people know: Kubernetes through CRI, Docker through its
/// own API.
const OTHERS: [&str; 2] = ["k8s.io", "moby"];

/// Succeeds if it is containerd.
pub(super) async fn is_there(grpc: &mut Grpc) -> Result<(), Failure> {
    grpc.call("/containerd.services.version.v1.Version/Version", ()).await
}

/// The running containers.
pub(super) async fn containers(grpc: &mut Grpc) -> Result<Vec<Container>, Failure> {
    let mut found = match cri::containers(grpc, "containerd").await {
        // Where Docker has installed it, the part for Kubernetes is switched off.
        Err(Failure::Unimplemented(_)) => Vec::new(),
        answer => answer?,
    };
    let namespaces: ListNamespacesResponse =
        grpc.call("/containerd.services.namespaces.v1.Namespaces/List", ListRequest {}).await?;
    for namespace in namespaces.namespaces {
        if !OTHERS.contains(&namespace.name.as_str()) {
            found.append(&mut plain(grpc, &namespace.name).await?);
        }
    }
    Ok(found)
}

/// Those of a namespace.
async fn plain(grpc: &mut Grpc, namespace: &str) -> Result<Vec<Container>, Failure> {
    let within = Some(namespace);
    let tasks: ListTasksResponse =
        grpc.call_in(within, "/containerd.services.tasks.v1.Tasks/List", ListRequest {}).await?;
    let running: BTreeSet<String> = tasks
        .tasks
        .into_iter()
        .filter(|task| RUNNING.contains(&task.status))
        // A task of before containerd 1.2 has its container's id in the other field.
        .map(|task| if task.container_id.is_empty() { task.id } else { task.container_id })
        .collect();
    if running.is_empty() {
        return Ok(Vec::new());
    }
    let listed: ListContainersResponse =
        grpc.call_in(within, "/containerd.services.containers.v1.Containers/List", ListRequest {}).await?;
    let listed = listed.containers.into_iter().filter(|c| running.contains(&c.id));
    Ok(listed.map(|c| container(c, namespace)).collect())
}

fn container(mut listed: ListedContainer, namespace: &str) -> Container {
    let name = listed.labels.remove("nerdctl/name").unwrap_or_else(|| listed.id.clone());
    // What people choose is unique within its namespace only.
    let id = if is_made_up(&listed.id) { listed.id } else { format!("{namespace}/{}", listed.id) };
    Container { id, name, runtime: "containerd", pod: None }
}

/// Running, paused, and about to be paused.
const RUNNING: [i32; 3] = [2, 4, 5];

/// Everything.
#[derive(Clone, PartialEq, Message)]
struct ListRequest {}

#[derive(Clone, PartialEq, Message)]
struct ListNamespacesResponse {
    #[prost(message, repeated, tag = "1")]
    namespaces: Vec<Namespace>,
}

#[derive(Clone, PartialEq, Message)]
struct Namespace {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListTasksResponse {
    #[prost(message, repeated, tag = "1")]
    tasks: Vec<Process>,
}

#[derive(Clone, PartialEq, Message)]
struct Process {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(int32, tag = "4")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<ListedContainer>,
}

#[derive(Clone, PartialEq, Message)]
struct ListedContainer {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(btree_map = "string, string", tag = "2")]
    labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::{ListedContainer, container};

    #[test]
    fn nerdctl_writes_names_on_its_containers_and_ctr_has_ids_only() {
        let id = "ab".repeat(32);
        let labels = [("nerdctl/name".to_owned(), "checkout".to_owned())].into();
        let nerdctl = container(ListedContainer { id: id.clone(), labels }, "default");
        assert_eq!((&*id, "checkout"), (&*nerdctl.id, &*nerdctl.name));
        let ctr = container(ListedContainer { id: "web".into(), labels: [].into() }, "default");
        assert_eq!(("default/web", "web"), (&*ctr.id, &*ctr.name));
    }
}
