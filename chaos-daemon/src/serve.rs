//! HTTP for clients that nobody knows: so many at a time, and none of them may say nothing for long.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

/// How long a client may take to say what it wants, or keep a connection for the next request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is read of a request before its body, at most, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// Places for clients; who finds none waits in the queue of the socket.
#[derive(Clone)]
pub struct Places(Arc<Semaphore>);

impl Places {
    /// So many.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Waits for one.
    pub async fn take(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.0).acquire_owned().await {
            Ok(place) => place,
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Serves one client in its place, beside everything else.
pub fn talk<S>(stream: S, router: Router, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
            .await;
        if let Err(error) = served {
            tracing::debug!("a client: {error}");
        }
        drop(place);
    });
}

/// After a connection that could not be taken: out of descriptors, most likely, of which some come back when clients go.
pub async fn not_taken(what: &str, error: &std::io::Error) {
    tracing::warn!("taking a connection to {what}: {error}");
    time::sleep(Duration::from_millis(100)).await;
}
