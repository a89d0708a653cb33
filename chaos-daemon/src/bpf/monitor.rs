//! Hears of network devices that appear, go or change their name.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The group of news about devices (`linux/rtnetlink.h`).
const RTMGRP_LINK: u32 = 1;

/// Listens in one network namespace, wherever it is asked from.
pub struct Monitor {
    socket: Socket,
}

impl Monitor {
    /// Listens in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_LINK))?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// Whether there was any news since the last time; what it was must be looked up.
    pub fn has_news(&mut self) -> bool {
        let mut news = false;
        loop {
            match self.socket.recv_from_full() {
                Ok(_) => news = true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return news,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // So much that some of it was lost.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => news = true,
                Err(error) => {
                    tracing::debug!("listening for network devices: {error}");
                    return true;
                }
            }
        }
    }
}
