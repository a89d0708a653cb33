//! configs/kubernetes and configs/systemd: the same rights, no more files than needed, settings that are right.

use std::{collections::BTreeSet, fs, process::Command};

use kchaos_tests::{kchaos::run, unit};
use serde_json::Value;

const MANIFEST: &str = include_str!("../../configs/kubernetes/daemonset.yaml");
const DOCKERFILE: &str = include_str!("../../configs/container/Dockerfile");

/// The one document of this kind.
fn document(kind: &str) -> Value {
    let documents: Vec<Value> = serde_saphyr::from_multiple(MANIFEST).unwrap();
    let mut found = documents.into_iter().filter(|document| document["kind"] == kind);
    let document = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "two of {kind}");
    document
}

fn pod() -> Value {
    document("DaemonSet")["spec"]["template"]["spec"].take()
}

fn container() -> Value {
    let pod = pod();
    assert_eq!(1, pod["containers"].as_array().unwrap().len());
    assert!(pod.get("initContainers").is_none());
    pod["containers"][0].clone()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap_or_else(|| panic!("no list: {list}"))
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect()
}

#[test]
fn the_pod_has_the_rights_of_the_unit_and_no_other() {
    assert!(!MANIFEST.contains("privileged: true"));
    let context = &container()["securityContext"];
    assert_eq!(vec!["ALL"], texts(&context["capabilities"]["drop"]));
    let added: BTreeSet<String> =
        texts(&context["capabilities"]["add"]).into_iter().map(|name| format!("CAP_{name}")).collect();
    assert_eq!(unit::capabilities(), added);
    assert_eq!(true, context["readOnlyRootFilesystem"]);
    assert_eq!(0, context["runAsUser"]);
    let pod = pod();
    assert_eq!((true, false), (pod["hostPID"].as_bool().unwrap(), pod["hostNetwork"].as_bool().unwrap()));
    // Nothing in the cluster.
    for holder in [&pod, &document("ServiceAccount")] {
        assert_eq!(false, holder["automountServiceAccountToken"]);
    }
    assert_eq!(document("ServiceAccount")["metadata"]["name"], pod["serviceAccountName"]);
    for line in MANIFEST.lines() {
        assert!(!line.starts_with("kind: ") || !line.contains("Role"), "{line}");
    }
}

#[test]
fn only_its_own_folders_can_be_written() {
    let (pod, container) = (pod(), container());
    let volumes = pod["volumes"].as_array().unwrap();
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert_eq!(volumes.len(), mounts.len());
    let mut writable = Vec::new();
    for mount in mounts {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            assert_eq!(path, mount["mountPath"], "the daemon finds it where it is on the host");
        }
        if mount["readOnly"] != true {
            writable.push(mount["mountPath"].as_str().unwrap());
        }
    }
    writable.sort_unstable();
    let mut of_unit = unit::setting("ReadWritePaths");
    of_unit.sort_unstable();
    assert_eq!(of_unit, writable);
}

#[test]
fn its_settings_are_right() {
    let config = document("ConfigMap");
    let text = config["data"]["daemon.toml"].as_str().unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    fs::write(file.path(), text).unwrap();
    let ended = run(&["daemon", "--check", "--config", file.path().to_str().unwrap()]);
    assert_eq!(Some(0), ended.code, "{ended:?}");
    let settings = chaos_daemon::daemon::load_settings(file.path()).unwrap();
    let container = container();
    let (args, port) = (texts(&container["args"]), &container["ports"][0]["containerPort"]);
    assert_eq!(vec!["daemon", "--config", "/etc/kchaos/daemon.toml"], args);
    assert_eq!(settings.metrics.unwrap().port(), u16::try_from(port.as_u64().unwrap()).unwrap());
    // Both lie in folders that are mounted, and are those that `kchaos list` looks for.
    assert_eq!(chaos_daemon::daemon::default_socket(), settings.socket);
    assert!(settings.audit_log.starts_with("/var/log/kchaos"));
    assert!(!settings.rails.allow_commands, "there is none in the image");
}

#[test]
fn probes_and_names_fit_together() {
    let (set, container) = (document("DaemonSet"), container());
    assert_eq!(set["spec"]["selector"]["matchLabels"], set["spec"]["template"]["metadata"]["labels"]);
    for kind in ["ServiceAccount", "ConfigMap", "DaemonSet"] {
        assert_eq!(
            document("Namespace")["metadata"]["name"],
            document(kind)["metadata"]["namespace"],
            "{kind}"
        );
    }
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let command = texts(&container[probe]["exec"]["command"]);
        assert_eq!(
            Some(("kchaos", &["list", "--output", "json"][..])),
            command.split_first().map(|(p, w)| (*p, w))
        );
        assert!(container[probe]["timeoutSeconds"].is_u64(), "one second is short for a busy node");
    }
    for limit in ["requests", "limits"] {
        assert!(container["resources"][limit]["memory"].is_string());
    }
    let grace = pod()["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert_eq!(unit::setting("TimeoutStopSec"), [grace.to_string()]);
}

/// From scratch, with the static binary and nothing else, under the name that the manifest has.
#[test]
fn the_image_is_the_binary() {
    let lines: Vec<&str> =
        DOCKERFILE.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!("FROM scratch", lines[0]);
    assert!(!lines.iter().any(|line| line.starts_with("RUN") || line.starts_with("ADD")), "{lines:?}");
    let copied: Vec<_> = lines.iter().filter(|line| line.starts_with("COPY")).collect();
    assert_eq!([&"COPY --chmod=0755 kchaos /usr/local/bin/kchaos"], *copied);
    assert!(
        lines.contains(&"USER 0:0") && lines.contains(&"ENTRYPOINT [\"/usr/local/bin/kchaos\"]"),
        "{lines:?}"
    );
    let version = env!("CARGO_PKG_VERSION");
    assert!(DOCKERFILE.contains(&format!("image.version=\"{version}\"")));
    assert_eq!(format!("kchaos:{version}"), container()["image"]);
}

/// With the binary that is tested in the place of the installed one, which `verify` wants to be there.
#[test]
fn systemd_takes_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kchaos.service");
    let binary = kchaos_tests::kchaos().get_program().to_owned();
    fs::write(&path, unit::UNIT.replace("/usr/local/bin/kchaos", binary.to_str().unwrap())).unwrap();
    let output = match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => panic!("{error}"),
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_unit_says_what_the_code_needs() {
    let text = include_str!("../../chaos-daemon/src/guard/capabilities.rs");
    let needed =
        text.split("Capability::").skip(1).map(|rest| rest.split([',', ' ', ')', ';']).next().unwrap());
    let needed: BTreeSet<&str> = needed.filter(|name| name.starts_with("CAP_")).collect();
    let given = unit::capabilities();
    assert!(!needed.is_empty() && needed.iter().all(|name| given.contains(*name)), "{needed:?} {given:?}");
    // Each one is explained.
    for name in &given {
        assert!(unit::UNIT.lines().any(|line| line.starts_with(&format!("# {name} "))), "{name}");
    }
    assert_eq!(["notify"], *unit::setting("Type"));
    assert_eq!(["kchaos"], *unit::setting("RuntimeDirectory"));
    assert_eq!(["0700"], *unit::setting("RuntimeDirectoryMode"));
}
