//! A real Redis, its own client, and its own load generator.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use crate::{Cgroup, NetNs, client::Client, ends_with_us, wait_for};

/// A redis-server that is killed when dropped.
pub struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts one in a namespace and a cgroup, on all addresses, without persistence.
    pub fn start(ns: &NetNs, cgroup: &Cgroup, port: u16) -> Self {
        Self::start_in(ns, cgroup, port, Path::new("/tmp"), &["--appendonly", "no"])
    }

    /// Starts one that appends what it is told to a file below a folder before it answers, and flushes it every second.
    /// What is there already it reads.
    pub fn start_appending(ns: &NetNs, cgroup: &Cgroup, port: u16, folder: &Path) -> Self {
        Self::start_in(ns, cgroup, port, folder, &["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    /// Starts one below a folder, with more words.
    pub fn start_in(ns: &NetNs, cgroup: &Cgroup, port: u16, folder: &Path, words: &[&str]) -> Self {
        // Debian ships the server as redis-check-rdb in redis-tools and tells them apart by name.
        let mut command = Command::new("redis-check-rdb");
        command.arg0("redis-server");
        let port_text = port.to_string();
        command.args([
            "--port",
            &port_text,
            "--bind",
            "0.0.0.0",
            "::",
            "--protected-mode",
            "no",
            "--save",
            "",
        ]);
        command.args(words).args(["--maxclients", "5000", "--tcp-backlog", "1024"]);
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        ends_with_us(&mut command);
        ns.place(&mut command);
        cgroup.place(&mut command);
        let child = command.spawn().expect("redis-check-rdb of the package redis-tools");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_for("redis listens", Duration::from_secs(10), || {
            ns.enter(|| TcpStream::connect(address).is_ok())
        });
        Self { child, port }
    }

    /// Starts redis-cli in a cgroup. Without a command in `words` it reads commands, and connects again after it was cut off.
    pub fn client(&self, ns: &NetNs, cgroup: &Cgroup, address: IpAddr, words: &[&str]) -> Client {
        let (address, port) = (address.to_string(), self.port.to_string());
        Client::start(ns, cgroup, "redis-cli", &[&["-h", &address, "-p", &port], words].concat())
    }

    /// Starts redis-benchmark against it, in a cgroup.
    pub fn load(&self, ns: &NetNs, cgroup: &Cgroup, words: &str) -> Child {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &self.port.to_string()]).args(words.split(' '));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ends_with_us(&mut command);
        ns.place(&mut command);
        cgroup.place(&mut command);
        command.spawn().expect("redis-benchmark of the package redis-tools")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Expects that a load went through without a single error.
pub fn assert_no_errors(output: &Output) {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("requests per second"), "{text}");
    assert!(!text.to_lowercase().contains("error"), "{text}");
}
