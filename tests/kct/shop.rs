//! A small service with a cache: what it answers it asks a Redis for, and without one it reads it from its own books,
//! which takes longer. Without a time limit for the cache it has a bug that many services have: a cache that does not
//! answer is waited for.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Mutex,
    thread,
    time::Duration,
};

use crate::http;

/// How long it takes without the cache.
const BOOKS: Duration = Duration::from_millis(5);

/// How it asks its cache.
pub struct Cache {
    /// Where it is.
    pub at: SocketAddr,
    /// For how long it is waited for; without one for ever.
    pub limit: Option<Duration>,
    /// Whether one connection is used again for as long as it lives. Otherwise there is a new one for each question, as
    /// from a pool that has lost its own.
    pub keep: bool,
}

/// Serves HTTP until killed.
pub fn serve(listen: SocketAddr, cache: Cache) {
    let kept = Mutex::new(None);
    http::serve(listen, move |_path| {
        let asked =
            if cache.keep { cache.ask_again(&mut kept.lock().unwrap()) } else { cache.ask().map(drop) };
        let source = if asked.is_ok() {
            "cache"
        } else {
            thread::sleep(BOOKS);
            "books"
        };
        (200, source.to_owned())
    });
}

impl Cache {
    fn ask(&self) -> std::io::Result<TcpStream> {
        let stream = match self.limit {
            Some(limit) => TcpStream::connect_timeout(&self.at, limit)?,
            None => TcpStream::connect(self.at)?,
        };
        stream.set_read_timeout(self.limit)?;
        asked(stream)
    }

    /// Over the connection that was kept. One that has failed is forgotten.
    fn ask_again(&self, kept: &mut Option<TcpStream>) -> std::io::Result<()> {
        *kept = Some(match kept.take() {
            Some(stream) => asked(stream)?,
            None => self.ask()?,
        });
        Ok(())
    }
}

/// The connection, once it has been answered on.
fn asked(mut stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.write_all(b"PING\r\n")?;
    stream.read_exact(&mut [0; 7])?;
    Ok(stream)
}
