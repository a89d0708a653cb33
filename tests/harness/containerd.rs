//! A containerd of our own with real pods, made through the interface that Kubernetes uses.
//!
//! It shares nothing with one that the machine may have: it lives in a network namespace (which is "the host's" to its
//! pods), and in a mount namespace where `/run` and `/var/lib` are empty, as shims, runc and CNI plugins keep things
//! there whatever the configuration says. What it mounts and listens at is gone with its last process; those are all
//! in cgroups of ours.

mod cri;
mod hierarchies;
mod image;
mod process;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use chaos_daemon::target::runtime::{Failure, Grpc};
use prost::Message;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{Cgroup, NetNs, wait_for};

/// The program in the only image: [`crate::kct`].
const IMAGE: &str = "kchaos.test/kct:1";

/// A containerd that is ended when dropped, with its pods.
pub struct Containerd {
    /// Its network namespace, which host-network pods are in.
    pub ns: NetNs,
    /// The cgroup above those of its containers.
    pods: String,
    folder: TempDir,
    own: Cgroup,
    child: RefCell<Child>,
    grpc: RefCell<Grpc>,
    runtime: Runtime,
}

/// A pod.
pub struct PodSandbox<'a> {
    /// The id of its sandbox.
    pub id: String,
    containerd: &'a Containerd,
    config: cri::PodSandboxConfig,
}

/// A container that was started.
pub struct Container<'a> {
    /// Its full id.
    pub id: String,
    containerd: &'a Containerd,
}

impl Containerd {
    /// Starts one, and gives it the image.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ns, own) = (NetNs::new(), Cgroup::new("containerd"));
        let pods = format!("{}-pods", own.name());
        process::configure(folder.path(), IMAGE);
        let child = process::start(folder.path(), &ns, &own, None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let grpc = RefCell::new(Grpc::new(socket_in(folder.path())));
        let started = Self { ns, pods, folder, own, child: RefCell::new(child), grpc, runtime };
        started.wait_until_it_answers();
        started.import();
        started
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        socket_in(self.folder.path())
    }

    /// Ends it without a chance to say goodbye, and starts it again. Containers do not notice.
    pub fn restart(&self) {
        // The namespace with the mounts of what runs.
        let mounts = fs::File::open(format!("/proc/{}/ns/mnt", self.child.borrow().id())).unwrap();
        self.stop();
        *self.child.borrow_mut() = process::start(self.folder.path(), &self.ns, &self.own, Some(&mounts));
        self.wait_until_it_answers();
    }

    /// Ends it; its containers go on.
    pub fn stop(&self) {
        let mut child = self.child.borrow_mut();
        let _gone = child.kill();
        let _reaped = child.wait();
    }

    /// Makes a pod, on the network of the host or on one of its own.
    pub fn pod(
        &self,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        host_network: bool,
    ) -> PodSandbox<'_> {
        let uid = format!("{namespace}-{name}-uid");
        let parent = format!("{}/burstable/pod{uid}", self.pods);
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config = cri::PodSandboxConfig::new(namespace, name, &uid, labels, &parent, host_network);
        let request = cri::RunPodSandboxRequest { config: Some(config.clone()) };
        let id = self.call::<_, cri::Id>("/runtime.v1.RuntimeService/RunPodSandbox", request).id;
        PodSandbox { id, containerd: self, config }
    }

    /// Starts a container of the same program with `ctr`, which Kubernetes knows nothing about.
    pub fn plain(&self, id: &str, args: &[&str]) {
        self.import_to(self.namespace());
        // ctr keeps the ends of standard output where containerd cannot see them.
        let words = ["run", "-d", "--null-io", "--snapshotter", "native", IMAGE, id, "/kct"];
        self.ctr(self.namespace(), &[&words[..], args].concat());
    }

    /// Ends and removes a container that `ctr` started.
    pub fn remove_plain(&self, id: &str) {
        self.ctr(self.namespace(), &["task", "rm", "-f", id]);
        self.ctr(self.namespace(), &["container", "rm", id]);
    }

    /// That of what `ctr` starts; its cgroup is called the same.
    pub fn namespace(&self) -> &str {
        self.pods.trim_start_matches('/')
    }

    fn import(&self) {
        fs::write(self.image(), image::archive(IMAGE, &crate::kct())).unwrap();
        self.import_to("k8s.io");
        // CRI hears of it a moment later.
        wait_for("the image is there", Duration::from_secs(10), || {
            let request = cri::ImageStatusRequest { image: Some(cri::ImageSpec { image: IMAGE.into() }) };
            let method = "/runtime.v1.ImageService/ImageStatus";
            self.try_call::<_, cri::ImageStatusResponse>(method, request).is_ok_and(|a| a.image.is_some())
        });
    }

    fn import_to(&self, namespace: &str) {
        let image = self.image();
        self.ctr(namespace, &["images", "import", "--snapshotter", "native", image.to_str().unwrap()]);
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image.tar")
    }

    fn ctr(&self, namespace: &str, words: &[&str]) {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(self.socket()).args(["-n", namespace]).args(words);
        let output = command.output().expect("ctr of the package containerd");
        assert!(output.status.success(), "{command:?}: {output:?}\n{}", self.log());
    }

    fn wait_until_it_answers(&self) {
        wait_for("containerd answers", Duration::from_mins(1), || {
            let exited = self.child.borrow_mut().try_wait().unwrap();
            assert!(exited.is_none(), "containerd: {exited:?}\n{}", self.log());
            self.try_call::<_, cri::Empty>("/runtime.v1.RuntimeService/Version", cri::Empty {}).is_ok()
        });
    }

    fn try_call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.runtime.block_on(self.grpc.borrow_mut().call(method, request))
    }

    fn call<Q, A>(&self, method: &'static str, request: Q) -> A
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let answer = self.try_call(method, request);
        answer.unwrap_or_else(|failure| panic!("{method}: {failure}\n{}", self.log()))
    }

    /// The last of what it said.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("level=info")).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl<'a> PodSandbox<'a> {
    /// Starts a container of the pod: [`crate::kct`] with these arguments.
    pub fn container(&self, name: &str, args: &[&str]) -> Container<'a> {
        let config = cri::ContainerConfig::new(name, IMAGE, args);
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let id = self.containerd.call::<_, cri::Id>("/runtime.v1.RuntimeService/CreateContainer", request).id;
        self.containerd
            .call::<_, cri::Empty>("/runtime.v1.RuntimeService/StartContainer", cri::Id { id: id.clone() });
        Container { id, containerd: self.containerd }
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        self.config.uid()
    }

    /// Ends it, with its containers, and removes it.
    pub fn remove(self) {
        self.containerd.call::<_, cri::Empty>(
            "/runtime.v1.RuntimeService/StopPodSandbox",
            cri::Id { id: self.id.clone() },
        );
        self.containerd
            .call::<_, cri::Empty>("/runtime.v1.RuntimeService/RemovePodSandbox", cri::Id { id: self.id });
    }
}

impl Container<'_> {
    /// Kills it. It is still there, as one that has ended.
    pub fn stop(&self) {
        let request = cri::StopContainerRequest { id: self.id.clone(), timeout: 0 };
        self.containerd.call::<_, cri::Empty>("/runtime.v1.RuntimeService/StopContainer", request);
    }

    /// Kills and removes it.
    pub fn remove(self) {
        self.stop();
        self.containerd.call::<_, cri::Empty>(
            "/runtime.v1.RuntimeService/RemoveContainer",
            cri::Id { id: self.id.clone() },
        );
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.stop();
        hierarchies::end(self.own.name(), &self.pods);
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("containerd.sock")
}
