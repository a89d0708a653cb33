//! The messages that make and end pods, with the field numbers of CRI's published `api.proto` and only the fields that
//! are used. Several messages of one shape share a type.

use std::collections::BTreeMap;

use prost::Message;

/// The network of the host, and not the pod's own.
const NODE: i32 = 2;

impl PodSandboxConfig {
    /// A pod whose containers get cgroups below `parent`.
    pub fn new(
        namespace: &str,
        name: &str,
        uid: &str,
        labels: BTreeMap<String, String>,
        parent: &str,
        host_network: bool,
    ) -> Self {
        let network = if host_network { NODE } else { 0 };
        let namespaces = NamespaceOption { network };
        Self {
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                uid: uid.into(),
                namespace: namespace.into(),
            }),
            // Or the machine's is copied, which may be a link to where nothing is mounted.
            dns_config: Some(DnsConfig { servers: vec!["127.0.0.1".into()] }),
            labels,
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: parent.into(),
                security_context: Some(SecurityContext { namespace_options: Some(namespaces) }),
            }),
        }
    }

    /// The pod's uid.
    pub fn uid(&self) -> &str {
        self.metadata.as_ref().map_or("", |m| &m.uid)
    }
}

impl ContainerConfig {
    /// The image's program with these arguments.
    pub fn new(name: &str, image: &str, args: &[&str]) -> Self {
        Self {
            metadata: Some(ContainerMetadata { name: name.into() }),
            image: Some(ImageSpec { image: image.into() }),
            args: args.iter().map(|&a| a.into()).collect(),
        }
    }
}

/// Nothing, or an answer of which nothing is of interest.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Empty {}

/// Every request and answer that has an id and nothing else.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Id {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(message, optional, tag = "4")]
    dns_config: Option<DnsConfig>,
    #[prost(btree_map = "string, string", tag = "6")]
    labels: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct DnsConfig {
    #[prost(string, repeated, tag = "1")]
    servers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security_context: Option<SecurityContext>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    pub config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pub sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "4")]
    args: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct ImageSpec {
    #[prost(string, tag = "1")]
    pub image: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct StopContainerRequest {
    #[prost(string, tag = "1")]
    pub id: String,
    /// Seconds until it is killed.
    #[prost(int64, tag = "2")]
    pub timeout: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct ImageStatusRequest {
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ImageStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub image: Option<Empty>,
}
