//! One runtime: what it is, and the connection to it.

use std::path::{Path, PathBuf};

use super::{
    Container, Failure, PATIENCE, RuntimeError, SHORT_PATIENCE, containerd, cri, docker, grpc::Grpc,
    http::Http, podman, probe,
};

/// What listens at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To be found out.
    Unknown,
    /// containerd, which has containers besides those of Kubernetes.
    Containerd,
    /// Another runtime of Kubernetes, by its name.
    Cri(&'static str),
    /// Docker, or another that talks like it.
    Docker(&'static str),
    /// Nothing listens: podman's own files.
    PodmanFiles,
}

/// A runtime to ask.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    /// As it was given.
    given: Kind,
    /// As it was found out.
    found: Option<Kind>,
    grpc: Grpc,
    http: Http,
    warned: bool,
    last: Vec<Container>,
}

impl Source {
    pub fn new(path: PathBuf, kind: Kind) -> Self {
        let (grpc, http) = (Grpc::new(path.clone()), Http::new(path.clone()));
        Self { path, given: kind, found: None, grpc, http, warned: false, last: Vec::new() }
    }

    pub fn is(&self, path: &Path, kind: Kind) -> bool {
        self.path == path && self.given == kind
    }

    /// Its running containers, within [`PATIENCE`] or [`SHORT_PATIENCE`].
    pub async fn containers(&mut self) -> Result<Vec<Container>, RuntimeError> {
        let patience = if self.warned { SHORT_PATIENCE } else { PATIENCE };
        let Ok(answer) = tokio::time::timeout(patience, self.ask()).await else {
            self.forget();
            return Err(RuntimeError::TimedOut(self.path.clone()));
        };
        match answer {
            Ok(containers) => {
                self.warned = false;
                self.last.clone_from(&containers);
                Ok(containers)
            }
            Err(failure) => {
                self.forget();
                Err(RuntimeError::of_call(&self.path, failure).await)
            }
        }
    }

    /// What it answered last.
    pub fn last(&self) -> &[Container] {
        &self.last
    }

    /// Says what is wrong with it, once until it has answered again.
    pub fn warn(&mut self, error: &RuntimeError) {
        if !self.warned {
            self.warned = true;
            tracing::warn!("{error}; its containers are not seen");
        }
    }

    /// Begins anew the next time: another runtime may listen there by then.
    fn forget(&mut self) {
        self.found = None;
        self.grpc = Grpc::new(self.path.clone());
        self.http = Http::new(self.path.clone());
    }

    async fn ask(&mut self) -> Result<Vec<Container>, Failure> {
        let kind = match (self.given, self.found) {
            (Kind::Unknown, None) => *self.found.insert(probe::kind(&self.path).await?),
            (Kind::Unknown, Some(kind)) | (kind, _) => kind,
        };
        match kind {
            Kind::Unknown => Err(Failure::Nonsense("it does not say what it is".into())),
            Kind::Containerd => containerd::containers(&mut self.grpc).await,
            Kind::Cri(name) => cri::containers(&mut self.grpc, name).await,
            Kind::Docker(name) => docker::containers(&mut self.http, name).await,
            Kind::PodmanFiles => podman::containers(&self.path, Path::new(podman::RUN)),
        }
    }
}
