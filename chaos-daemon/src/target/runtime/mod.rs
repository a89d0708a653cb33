//! Which containers run on this host, asked of the runtimes that run them.
//!
//! A container is named by people ("checkout", a pod's labels) and found by the kernel through its cgroup; the runtime
//! knows the first, [`cgroup_of`] finds the second by the container's id. One file per runtime: [`cri`] (containerd
//! and CRI-O as Kubernetes talks to them), [`containerd`] (what nerdctl and ctr start beside that), [`docker`] (also
//! podman's service), [`podman`] (without a service). [`grpc`] and [`http`] carry the questions, [`probe`] finds out
//! what listens, [`error`] says why there is no answer.
//!
//! What must stay true: only running containers are answered, never a pod's pause container; a runtime that cannot be
//! asked is never taken for one that runs nothing, unless another one answers; no runtime is waited for longer than
//! [`PATIENCE`].

mod cgroups;
mod containerd;
mod cri;
mod docker;
mod error;
mod grpc;
mod http;
mod podman;
mod probe;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

pub use cgroups::cgroup_of;
pub(super) use cgroups::is_made_up;
pub use error::{Failure, RuntimeError};
use futures_util::future::join_all;
pub use grpc::Grpc;
use source::{Kind, Source};

/// How long one runtime may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The same of one that has failed last while others answer: they are not asked again before, and a container of
/// theirs that is restarted is to be hit within a second.
const SHORT_PATIENCE: Duration = Duration::from_millis(500);

/// Where runtimes listen, unless somebody has moved them.
const SOCKETS: [(&str, Kind); 5] = [
    ("/run/containerd/containerd.sock", Kind::Containerd),
    ("/run/k3s/containerd/containerd.sock", Kind::Containerd),
    ("/run/crio/crio.sock", Kind::Cri("cri-o")),
    ("/run/docker.sock", Kind::Docker("docker")),
    (PODMAN_SOCKET, Kind::Docker("podman")),
];

const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its full id. One that people chose themselves, as ctr lets them, stands behind its containerd namespace:
    /// `default/web`.
    pub id: String,
    /// Its name as people write it: in the pod's specification, or behind `docker run --name`.
    pub name: String,
    /// Who runs it: containerd, cri-o, docker, podman.
    pub runtime: &'static str,
    /// The Kubernetes pod it belongs to.
    pub pod: Option<Pod>,
}

/// A Kubernetes pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which no other pod ever has.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The runtimes of this host. They are connected to when first asked, stay connected, and are connected to again when
/// they were restarted.
#[derive(Debug)]
pub struct Runtimes {
    /// The only one to ask.
    only: Option<PathBuf>,
    sources: Vec<Source>,
}

impl Runtimes {
    /// Without a socket: every runtime that listens where runtimes usually do, whenever it is there. With one: the one
    /// that listens there, whichever it is.
    pub fn new(socket: Option<PathBuf>) -> Self {
        Self { only: socket, sources: Vec::new() }
    }

    /// The containers that run now.
    ///
    /// A runtime that fails while another one answers is warned about once; if none answers, that is an error.
    pub async fn containers(&mut self) -> Result<Vec<Container>, RuntimeError> {
        self.look_around()?;
        let (mut found, mut failed, mut answered) = (Vec::new(), Vec::new(), false);
        // All at once: one that hangs does not keep the others.
        let asked = self.sources.iter_mut().map(async |source| {
            let answer = source.containers().await;
            (source, answer)
        });
        for (source, answer) in join_all(asked).await {
            match answer {
                Ok(mut containers) => {
                    answered = true;
                    found.append(&mut containers);
                }
                // What it ran when it last answered is still there, for all that anybody knows.
                Err(error) => {
                    found.extend(source.last().iter().cloned());
                    failed.push((source, error));
                }
            }
        }
        if !answered {
            return Err(RuntimeError::of_all(failed.into_iter().map(|(_, error)| error).collect()));
        }
        for (source, error) in failed {
            source.warn(&error);
        }
        // One runtime may answer at two sockets.
        let mut seen = BTreeSet::new();
        found.retain(|container| seen.insert(container.id.clone()));
        Ok(found)
    }

    /// Brings the list of those to ask up to date: runtimes come and go while an experiment runs.
    fn look_around(&mut self) -> Result<(), RuntimeError> {
        if let Some(path) = &self.only {
            if self.sources.is_empty() {
                self.sources.push(Source::new(path.clone(), Kind::Unknown));
            }
            return Ok(());
        }
        let mut there: Vec<(PathBuf, Kind)> = Vec::new();
        let mut files = BTreeSet::new();
        for (path, kind) in SOCKETS {
            // podman-docker makes Docker's socket a link to podman's.
            if let Ok(file) = Path::new(path).canonicalize()
                && files.insert(file)
            {
                there.push((path.into(), kind));
            }
        }
        if !Path::new(PODMAN_SOCKET).exists() && podman::is_there(Path::new(podman::STORAGE)) {
            there.push((podman::STORAGE.into(), Kind::PodmanFiles));
        }
        self.sources.retain(|s| there.iter().any(|(path, kind)| s.is(path, *kind)));
        for (path, kind) in there {
            if !self.sources.iter().any(|s| s.is(&path, kind)) {
                self.sources.push(Source::new(path, kind));
            }
        }
        if self.sources.is_empty() {
            let sockets = SOCKETS.iter().map(|(path, _)| PathBuf::from(path));
            return Err(RuntimeError::None { looked_at: sockets.chain([podman::STORAGE.into()]).collect() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
