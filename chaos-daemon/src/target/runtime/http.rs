//! GET over a unix socket, on a connection that is kept.

use std::path::PathBuf;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Failure, grpc::chain};

/// The list of a big host is a few mebibytes.
const LONGEST_ANSWER: usize = 32 << 20;

/// A server behind a unix socket.
#[derive(Debug)]
pub(super) struct Http {
    socket: PathBuf,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl Http {
    /// Connects when first used.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, connection: None }
    }

    /// What stands at a path.
    pub async fn get(&mut self, path: &str) -> Result<Bytes, Failure> {
        let kept = self.connection.is_some();
        match self.once(path).await {
            // The server was restarted since, or had waited long enough for us.
            Err(Failure::Connection(_)) if kept => {
                self.connection = None;
                self.once(path).await
            }
            answer => answer,
        }
    }

    async fn once(&mut self, path: &str) -> Result<Bytes, Failure> {
        let failed = |e: hyper::Error| Failure::Connection(chain(&e));
        let connection = self.connection().await?;
        connection.ready().await.map_err(failed)?;
        let request = Request::get(path)
            .header(HOST, "localhost")
            .body(Empty::new())
            .map_err(|e| Failure::Nonsense(chain(&e)))?;
        let response = connection.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|e| Failure::Connection(chain(&*e)))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let text: String = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
        Err(Failure::Refused(if text.is_empty() { status.to_string() } else { format!("{status}: {text}") }))
    }

    async fn connection(&mut self) -> Result<&mut SendRequest<Empty<Bytes>>, Failure> {
        if self.connection.as_ref().is_some_and(SendRequest::is_closed) {
            self.connection = None;
        }
        if self.connection.is_none() {
            let stream = UnixStream::connect(&self.socket).await;
            let stream = stream.map_err(|e| Failure::Connection(e.to_string()))?;
            let (sender, driver) =
                handshake(TokioIo::new(stream)).await.map_err(|e| Failure::Connection(chain(&e)))?;
            tokio::spawn(async move {
                if let Err(error) = driver.await {
                    tracing::debug!("connection to a container runtime: {error}");
                }
            });
            self.connection = Some(sender);
        }
        self.connection.as_mut().ok_or_else(|| Failure::Connection("not connected".into()))
    }
}
