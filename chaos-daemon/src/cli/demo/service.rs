//! The demo's service: answers 64 bytes with 64 bytes, on the loopback of both address families.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::Context;

use crate::cli::{Exit, Failure};

/// Size of a request and of its answer, in bytes.
pub const MESSAGE: usize = 64;

/// Arguments of the service.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Its port
    port: u16,
}

/// Serves until killed.
pub fn serve(args: &ServeArgs) -> Result<Exit, Failure> {
    let v6 = listen((Ipv6Addr::LOCALHOST, args.port).into())?;
    let v4 = listen((Ipv4Addr::LOCALHOST, args.port).into())?;
    thread::spawn(move || accept(&v6));
    accept(&v4);
    Ok(Exit::Done)
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("listening on {address}"))
}

fn accept(listener: &TcpListener) {
    for connection in listener.incoming().flatten() {
        thread::spawn(move || answer(connection));
    }
}

fn answer(mut connection: TcpStream) {
    let mut message = [0; MESSAGE];
    while connection.read_exact(&mut message).is_ok() {
        if connection.write_all(&message).is_err() {
            return;
        }
    }
}
