//! The command line's end of the control socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::handshake,
    header::HOST,
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::{net::UnixStream, time};

use crate::daemon::Refusal;

/// How long an answer may take: a start is answered when the experiment runs.
const PATIENCE: Duration = Duration::from_secs(45);

/// Why there is no answer, or none that was wanted.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers at {socket}: {error}. Start one (kchaos daemon, or systemctl start kchaos), or say where it \
         listens (--socket)"
    )]
    NoDaemon {
        /// Where.
        socket: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// It may not be opened.
    #[error("the control socket {0} is for root: run this as root (sudo kchaos ...)")]
    NotAllowed(PathBuf),
    /// The daemon hangs, or is stopped.
    #[error("the daemon at {0} does not answer; `kchaos halt --all` ends what it injects all the same")]
    Silent(PathBuf),
    /// The connection broke.
    #[error("talking to the daemon at {socket}: {error}")]
    Broken {
        /// Where.
        socket: PathBuf,
        /// How.
        error: String,
    },
    /// The daemon said no.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
}

/// A daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: Refusal,
}

impl Client {
    /// The one that listens at this path.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), patience: PATIENCE }
    }

    /// The same, waiting for an answer no longer than this.
    #[must_use]
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What stands at a path.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Asks for something to be done.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::POST, path, Bytes::new()).await
    }

    /// Hands a document over.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, document: String) -> Result<T, ClientError> {
        self.ask(Method::PUT, path, document.into()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let answer = time::timeout(self.patience, async {
            let response = self.send(method, path, body).await?;
            let body = response.into_body().collect().await.map_err(|e| self.broken(&e))?;
            Ok(body.to_bytes())
        });
        let bytes = answer.await.map_err(|_| ClientError::Silent(self.socket.clone()))??;
        serde_json::from_slice(&bytes).map_err(|error| self.broken(&error))
    }

    /// The lines of an answer without an end, one by one; `each` says whether to go on.
    pub async fn lines(&self, path: &str, mut each: impl FnMut(&str) -> bool) -> Result<(), ClientError> {
        let mut body = self.send(Method::GET, path, Bytes::new()).await?.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|e| self.broken(&e))?.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if !each(String::from_utf8_lossy(&line).trim_end()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// An answer that is a success.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed(self.socket.clone()),
            _ => ClientError::NoDaemon { socket: self.socket.clone(), error },
        })?;
        let (mut sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e))?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!("connection to the daemon: {error}");
            }
        });
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        let request = request.body(Full::new(body)).map_err(|e| self.broken(&e))?;
        let response = sender.send_request(request).await.map_err(|e| self.broken(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.into_body().collect().await.map_err(|e| self.broken(&e))?.to_bytes();
        Err(self.refused(status, &bytes))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(ErrorBody { error }) => ClientError::Refused(Box::new(error)),
            Err(_) => self.broken(&format!("{status}: {}", String::from_utf8_lossy(body).trim())),
        }
    }

    fn broken(&self, error: &impl ToString) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), error: error.to_string() }
    }
}
