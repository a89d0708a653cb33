//! Why the containers of a host are not known: what went wrong with one question, and what that comes to for a person.

use std::{
    io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;
use tokio::net::UnixStream;

use super::PATIENCE;
use crate::printable::printable;

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum Failure {
    /// There is no connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The answer cannot be read.
    #[error("{0}")]
    Nonsense(String),
    /// The runtime does not know what it was asked for.
    #[error("{0}")]
    Unimplemented(String),
    /// The runtime answers with an error.
    #[error("{0}")]
    Refused(String),
}

/// Why a runtime could not be asked, or not be understood.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// Nothing listens where runtimes usually do.
    #[error(
        "no container runtime found on this host: none of these exists: {}",
        looked_at.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    None {
        /// Where one was looked for.
        looked_at: Vec<PathBuf>,
    },
    /// There is no such socket.
    #[error("no container runtime listens at {0}: there is no such file")]
    Absent(PathBuf),
    /// There is something else.
    #[error("no container runtime listens at {0}: it is not a socket")]
    NotASocket(PathBuf),
    /// The socket of a runtime that has ended.
    #[error(
        "no container runtime listens at {0}: the socket is there, and nobody behind it. Is the runtime running?"
    )]
    NobodyListens(PathBuf),
    /// Not for us.
    #[error("the container runtime at {0} cannot be asked: permission denied. It takes root, as a rule")]
    Permission(PathBuf),
    /// The kernel refused something else.
    #[error("the container runtime at {path} cannot be asked: {error}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// It answers with an error.
    #[error("the container runtime at {path} does not list its containers: {said}")]
    Refused {
        /// The socket.
        path: PathBuf,
        /// Its words.
        said: String,
    },
    /// What listens there is no runtime.
    #[error("what listens at {path} is no container runtime, or its answer is damaged: {said}")]
    Nonsense {
        /// The socket.
        path: PathBuf,
        /// What is wrong with the answer.
        said: String,
    },
    /// No answer.
    #[error("the container runtime at {0} does not answer within {limit} s", limit = PATIENCE.as_secs())]
    TimedOut(PathBuf),
    /// There are several, and none answers.
    #[error("no container runtime answers: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    All(Vec<RuntimeError>),
}

impl RuntimeError {
    /// What the failure of a call comes to, at the socket `path`. The words may be those of whoever listens there.
    pub(super) async fn of_call(path: &Path, failure: Failure) -> Self {
        let said = printable(&failure.to_string());
        match failure {
            Failure::Connection(_) => Self::of_connection(path, said).await,
            Failure::Nonsense(_) => Self::Nonsense { path: path.into(), said },
            Failure::Unimplemented(_) | Failure::Refused(_) => Self::Refused { path: path.into(), said },
        }
    }

    /// What the kernel says about a path.
    pub(super) fn of_path(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent(path.into()),
            io::ErrorKind::PermissionDenied => Self::Permission(path.into()),
            io::ErrorKind::ConnectionRefused => Self::NobodyListens(path.into()),
            _ => Self::Io { path: path.into(), error },
        }
    }

    /// Why nothing could be made of the connection to a socket, with what was `said` about it if nothing better is
    /// found.
    async fn of_connection(path: &Path, said: String) -> Self {
        match std::fs::metadata(path) {
            Err(error) => Self::of_path(path, error),
            Ok(meta) if !meta.file_type().is_socket() => Self::NotASocket(path.into()),
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) => Self::of_path(path, error),
                Ok(_) => Self::Nonsense { path: path.into(), said },
            },
        }
    }

    /// One error for those of all runtimes.
    pub(super) fn of_all(mut errors: Vec<Self>) -> Self {
        match errors.pop() {
            Some(only) if errors.is_empty() => only,
            last => {
                errors.extend(last);
                Self::All(errors)
            }
        }
    }
}
