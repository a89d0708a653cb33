//! A TCP connection whose ends are processes of their own, each in a cgroup, and each of which says how it ended.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde::Deserialize;

use crate::{Cgroup, NetNs, traffic::helper};

/// One end; killed when dropped.
pub struct End {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What became of a connection, as one end saw it. Times are boot times in nanoseconds.
#[derive(Clone, Debug, Deserialize)]
pub struct Ended {
    /// The errno; 0 where the other end has closed it.
    pub errno: i32,
    /// When that was known here.
    pub when: u64,
    /// When something was sent last, or 0.
    pub wrote: u64,
    /// How many bytes were read before.
    pub read: u64,
}

/// Both ends of one connection.
pub struct Ends {
    /// The one that has made it.
    pub client: End,
    /// The one that has accepted it.
    pub server: End,
}

impl Ends {
    /// Makes a connection to `at`.
    pub fn new(client: (&NetNs, &Cgroup), server: (&NetNs, &Cgroup), at: SocketAddr) -> Self {
        Self::over(client, at, server, at)
    }

    /// Makes a connection to `at` over which nothing goes but probes (keep-alive) of the client.
    pub fn probed(client: (&NetNs, &Cgroup), server: (&NetNs, &Cgroup), at: SocketAddr) -> Self {
        Self::made(client, &[&at.to_string(), "--probe"], server, at)
    }

    /// Makes a connection to what is known as `to` and is at `at`.
    pub fn over(
        client: (&NetNs, &Cgroup),
        to: SocketAddr,
        server: (&NetNs, &Cgroup),
        at: SocketAddr,
    ) -> Self {
        Self::made(client, &[&to.to_string()], server, at)
    }

    fn made(client: (&NetNs, &Cgroup), words: &[&str], server: (&NetNs, &Cgroup), at: SocketAddr) -> Self {
        let mut server = End::start(server, &[&at.to_string(), "--listen"]);
        server.says("listening");
        let mut client = End::start(client, words);
        client.says("connected");
        server.says("connected");
        Self { client, server }
    }
}

impl End {
    fn start((ns, cgroup): (&NetNs, &Cgroup), words: &[&str]) -> Self {
        let mut command = helper(ns, cgroup, &[&["tcp-end"], words].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    fn says(&mut self, what: &str) {
        assert_eq!(what, self.line().trim_end());
    }

    /// Sends so many bytes, as fast as they are taken.
    pub fn send(&mut self, bytes: u64) {
        writeln!(self.input, "{bytes}").unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> Ended {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
