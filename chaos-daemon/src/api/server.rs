//! Connections to the control socket.
//!
//! What must stay true: the socket is root's alone from the moment it exists; a client that is slow, or one of thousands,
//! costs a bounded amount of memory and time.

use std::{
    fs, io,
    os::unix::{fs::FileTypeExt, net::UnixStream as StdStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::Extension;
use nix::sys::stat::{Mode, umask};
use tokio::net::{UnixListener, UnixStream};

use super::routes::routes;
use crate::{
    daemon::{Daemon, Peer},
    serve::{Places, not_taken, talk},
};

/// How many clients are served at a time; others wait in the socket's queue.
const CLIENTS: usize = 128;

/// The control socket; its file is gone when this is dropped.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens at `path`: with mode 0600 from the start, in the place of a socket that a dead daemon has left. The caller
    /// holds the lock that keeps a second daemon from this.
    pub fn listen(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() => match StdStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                _ => return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody else listens there")),
            },
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is a file that is no socket",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // No other thread runs yet that could make a file meanwhile.
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        Ok(Self { listener: listener?, path: path.to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!("removing {}: {error}", self.path.display());
        }
    }
}

/// Serves clients until dropped.
pub async fn serve(server: &Server, daemon: Arc<Daemon>) {
    let (router, places) = (routes(daemon), Places::new(CLIENTS));
    loop {
        let place = places.take().await;
        match server.listener.accept().await {
            // The file's mode keeps others out; who has got in by another way is not served.
            Ok((stream, _)) => {
                let Some(peer) = peer(&stream) else { continue };
                talk(stream, router.clone().layer(Extension(peer)), place);
            }
            Err(error) => not_taken("the control socket", &error).await,
        }
    }
}

fn peer(stream: &UnixStream) -> Option<Peer> {
    let peer = stream.peer_cred().ok()?;
    let is_us = peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw();
    is_us.then(|| Peer::of(peer.uid(), peer.pid()))
}
