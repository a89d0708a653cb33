//! Docker's HTTP API, which podman's service speaks as well.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::{Container, Failure, Pod, http::Http, podman::is_infra};

/// One entry of `GET /containers/json`, which lists what runs.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// What `GET /version` says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    /// Says that it is this API, and is not used otherwise.
    #[serde(rename = "ApiVersion")]
    _api: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: String,
}

/// The running containers.
pub(super) async fn containers(http: &mut Http, runtime: &'static str) -> Result<Vec<Container>, Failure> {
    parse(&http.get("/containers/json").await?, runtime)
}

/// Who it is.
pub(super) async fn name(http: &mut Http) -> Result<&'static str, Failure> {
    who(&http.get("/version").await?)
}

fn who(json: &[u8]) -> Result<&'static str, Failure> {
    let version: Version = serde_json::from_slice(json).map_err(|e| Failure::Nonsense(e.to_string()))?;
    let podman = version.components.iter().any(|c| c.name.starts_with("Podman"));
    Ok(if podman { "podman" } else { "docker" })
}

fn parse(json: &[u8], runtime: &'static str) -> Result<Vec<Container>, Failure> {
    let listed: Vec<Listed> = serde_json::from_slice(json).map_err(|e| Failure::Nonsense(e.to_string()))?;
    let pauses: HashMap<String, BTreeMap<String, String>> = listed
        .iter()
        .filter(|c| c.label("io.kubernetes.docker.type") == Some("podsandbox"))
        .map(|c| (c.id.clone(), c.labels.clone().unwrap_or_default()))
        .collect();
    Ok(listed
        .into_iter()
        .filter(|c| !pauses.contains_key(&c.id) && !is_infra(c.name()))
        .map(|c| c.container(&pauses, runtime))
        .collect())
}

impl Listed {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// Other names are those by which linked containers know it: "/web/db".
    fn name(&self) -> &str {
        let names = self.names.as_deref().unwrap_or_default();
        let own = names.iter().map(|n| n.strip_prefix('/').unwrap_or(n)).find(|n| !n.contains('/'));
        own.unwrap_or(&self.id)
    }

    /// Where Kubernetes runs on Docker, pods are written on their containers.
    fn container(
        self,
        pauses: &HashMap<String, BTreeMap<String, String>>,
        runtime: &'static str,
    ) -> Container {
        let pod = || {
            let pause = self.label("io.kubernetes.sandbox.id").and_then(|id| pauses.get(id));
            Some(Pod {
                namespace: self.label("io.kubernetes.pod.namespace")?.into(),
                name: self.label("io.kubernetes.pod.name")?.into(),
                uid: self.label("io.kubernetes.pod.uid")?.into(),
                labels: pause.cloned().unwrap_or_default(),
            })
        };
        let pod = pod();
        let name = match &pod {
            Some(_) => self.label("io.kubernetes.container.name"),
            None => None,
        };
        let name = name.unwrap_or(self.name()).to_owned();
        Container { id: self.id, name, runtime, pod }
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, who};
    use crate::target::runtime::{Container, Failure};

    /// Shortened from what Docker 20.10 answers.
    const DOCKER: &str = r#"[{"Id":"4f66ad9a0b2e3c1d","Names":["/web/db","/checkout-db"],"Image":"postgres:16",
        "ImageID":"sha256:1","Command":"postgres","Created":1700000000,"Ports":[],"Labels":{"tier":"db"},
        "State":"running","Status":"Up 3 seconds","HostConfig":{"NetworkMode":"default"},"Mounts":[]},
        {"Id":"aa11","Names":null,"Labels":null}]"#;

    /// Kubernetes on Docker: the container, and the pause container that has the pod's labels.
    const KUBERNETES: &str = r#"[
        {"Id":"c1","Names":["/k8s_app_checkout-7_shop_u-1_0"],"Labels":{"io.kubernetes.container.name":"app",
         "io.kubernetes.docker.type":"container","io.kubernetes.pod.name":"checkout-7",
         "io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"u-1","io.kubernetes.sandbox.id":"p1"}},
        {"Id":"p1","Names":["/k8s_POD_checkout-7_shop_u-1_0"],"Labels":{"app":"checkout",
         "io.kubernetes.docker.type":"podsandbox"}}]"#;

    #[test]
    fn a_container_has_its_own_name_and_no_slash() {
        let found = parse(DOCKER.as_bytes(), "docker").unwrap();
        let expected = [("4f66ad9a0b2e3c1d", "checkout-db"), ("aa11", "aa11")].map(|(id, name)| Container {
            id: id.into(),
            name: name.into(),
            runtime: "docker",
            pod: None,
        });
        assert_eq!(&expected[..], found);
    }

    #[test]
    fn kubernetes_on_docker_has_pods_and_no_pause_containers() {
        let found = parse(KUBERNETES.as_bytes(), "docker").unwrap();
        assert_eq!(1, found.len());
        assert_eq!(("c1", "app"), (found[0].id.as_str(), found[0].name.as_str()));
        let pod = found[0].pod.as_ref().unwrap();
        assert_eq!(
            ("shop", "checkout-7", "u-1"),
            (pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str())
        );
        assert_eq!(Some("checkout"), pod.labels.get("app").map(String::as_str));
    }

    #[test]
    fn the_infra_container_of_a_podman_pod_is_none_of_its_containers() {
        let list = r#"[{"Id":"1","Names":["/0123456789ab-infra"]},{"Id":"2","Names":["/my-infra"]}]"#;
        let found = parse(list.as_bytes(), "podman").unwrap();
        assert_eq!(vec!["my-infra"], found.iter().map(|c| c.name.as_str()).collect::<Vec<_>>());
    }

    #[test]
    fn docker_and_podman_say_who_they_are() {
        let docker = r#"{"Version":"20.10.24","ApiVersion":"1.41","Components":[{"Name":"Engine"}]}"#;
        let podman = r#"{"ApiVersion":"1.41","Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}"#;
        assert_eq!("docker", who(docker.as_bytes()).unwrap());
        assert_eq!("podman", who(podman.as_bytes()).unwrap());
        assert!(matches!(who(br#"{"hello":"world"}"#), Err(Failure::Nonsense(_))));
    }

    #[test]
    fn what_is_no_list_is_nonsense() {
        for text in ["", "{}", "<html>", r#"[{"Names":["/x"]}]"#] {
            assert!(matches!(parse(text.as_bytes(), "docker"), Err(Failure::Nonsense(_))), "{text}");
        }
    }
}
