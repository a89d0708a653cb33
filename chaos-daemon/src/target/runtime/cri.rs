//! The interface that Kubernetes has to its runtimes: CRI v1, spoken by containerd and CRI-O.
//!
//! The messages have the field numbers of the published `api.proto` and only the fields that are read here: what a
//! message does not name is skipped, as the protocol wants it.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use super::{Container, Failure, Pod, grpc::Grpc};

/// The name that a runtime gives itself.
pub(super) async fn name(grpc: &mut Grpc) -> Result<String, Failure> {
    let answer: VersionResponse =
        grpc.call("/runtime.v1.RuntimeService/Version", VersionRequest::default()).await?;
    Ok(answer.runtime_name)
}

/// The running containers.
pub(super) async fn containers(grpc: &mut Grpc, runtime: &'static str) -> Result<Vec<Container>, Failure> {
    // In this order: what runs has a sandbox, and one that is made in between does no harm.
    let running = ContainerFilter { state: Some(StateValue { state: CONTAINER_RUNNING }) };
    let request = ListContainersRequest { filter: Some(running) };
    let listed: ListContainersResponse =
        grpc.call("/runtime.v1.RuntimeService/ListContainers", request).await?;
    if listed.containers.is_empty() {
        return Ok(Vec::new());
    }
    let ready = PodSandboxFilter { state: Some(StateValue { state: SANDBOX_READY }) };
    let request = ListPodSandboxRequest { filter: Some(ready) };
    let sandboxes: ListPodSandboxResponse =
        grpc.call("/runtime.v1.RuntimeService/ListPodSandbox", request).await?;
    Ok(joined(listed.containers, sandboxes.items, runtime))
}

fn joined(
    containers: Vec<ListedContainer>,
    sandboxes: Vec<PodSandbox>,
    runtime: &'static str,
) -> Vec<Container> {
    let pods: HashMap<String, Pod> = sandboxes
        .into_iter()
        .filter_map(|sandbox| {
            let PodSandboxMetadata { name, uid, namespace } = sandbox.metadata?;
            Some((sandbox.id, Pod { namespace, name, uid, labels: sandbox.labels }))
        })
        .collect();
    containers
        .into_iter()
        .map(|listed| {
            let pod = pods.get(&listed.pod_sandbox_id).cloned().or_else(|| written_on(&listed));
            let name = listed.metadata.map_or_else(|| listed.id.clone(), |m| m.name);
            Container { id: listed.id, name, runtime, pod }
        })
        .collect()
}

/// The pod of a container that outlives its sandbox for a moment; the kubelet writes it on the container, too.
fn written_on(container: &ListedContainer) -> Option<Pod> {
    let label = |name| container.labels.get(name).cloned();
    Some(Pod {
        namespace: label("io.kubernetes.pod.namespace")?,
        name: label("io.kubernetes.pod.name")?,
        uid: label("io.kubernetes.pod.uid")?,
        labels: BTreeMap::new(),
    })
}

const CONTAINER_RUNNING: i32 = 1;
const SANDBOX_READY: i32 = 0;

#[derive(Clone, PartialEq, Message)]
struct VersionRequest {
    #[prost(string, tag = "1")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct VersionResponse {
    #[prost(string, tag = "2")]
    runtime_name: String,
}

/// `ContainerStateValue` and `PodSandboxStateValue`: a message, so that 0 can be told from nothing.
#[derive(Clone, PartialEq, Message)]
struct StateValue {
    #[prost(int32, tag = "1")]
    state: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerFilter {
    #[prost(message, optional, tag = "2")]
    state: Option<StateValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ListContainersRequest {
    #[prost(message, optional, tag = "1")]
    filter: Option<ContainerFilter>,
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
    #[prost(string, tag = "2")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    metadata: Option<ContainerMetadata>,
    #[prost(btree_map = "string, string", tag = "8")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxFilter {
    #[prost(message, optional, tag = "2")]
    state: Option<StateValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ListPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    filter: Option<PodSandboxFilter>,
}

#[derive(Clone, PartialEq, Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandbox {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(btree_map = "string, string", tag = "5")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[cfg(test)]
mod tests {
    use super::{ContainerMetadata, ListedContainer, PodSandbox, PodSandboxMetadata, joined};

    fn container(id: &str, sandbox: &str, labels: &[(&str, &str)]) -> ListedContainer {
        ListedContainer {
            id: id.into(),
            pod_sandbox_id: sandbox.into(),
            metadata: Some(ContainerMetadata { name: format!("name of {id}") }),
            labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }

    #[test]
    fn a_container_belongs_to_the_pod_of_its_sandbox() {
        let metadata =
            PodSandboxMetadata { name: "checkout-7".into(), uid: "u-1".into(), namespace: "shop".into() };
        let labels = [("app".to_owned(), "checkout".to_owned())].into();
        let sandbox = PodSandbox { id: "s1".into(), metadata: Some(metadata), labels };
        let found = joined(vec![container("c1", "s1", &[])], vec![sandbox], "cri-o");
        assert_eq!(("c1", "name of c1", "cri-o"), (&*found[0].id, &*found[0].name, found[0].runtime));
        let pod = found[0].pod.as_ref().unwrap();
        assert_eq!(("shop", "checkout-7", "u-1"), (&*pod.namespace, &*pod.name, &*pod.uid));
        assert_eq!("checkout", pod.labels["app"]);
    }

    #[test]
    fn without_its_sandbox_a_container_says_itself_where_it_belongs() {
        let labels = [
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.pod.name", "checkout-7"),
            ("io.kubernetes.pod.uid", "u-1"),
        ];
        let found = joined(vec![container("c1", "s1", &labels), container("c2", "s1", &[])], vec![], "cri-o");
        assert_eq!("checkout-7", found[0].pod.as_ref().unwrap().name);
        assert_eq!(None, found[1].pod);
    }
}
