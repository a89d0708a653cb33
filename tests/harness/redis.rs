//! A real Redis, and its own load generator.

use std::{
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use crate::{Cgroup, NetNs, ends_with_us, wait_for};

/// A redis-server that is killed when dropped.
pub struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts one in a namespace and a cgroup, on both loopback addresses, without persistence.
    pub fn start(ns: &NetNs, cgroup: &Cgroup, port: u16) -> Self {
        // Debian ships the server as redis-check-rdb in redis-tools and tells them apart by name.
        let mut command = Command::new("redis-check-rdb");
        command.arg0("redis-server");
        let port_text = port.to_string();
        command.args([
            "--port",
            &port_text,
            "--bind",
            "127.0.0.1",
            "::1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--maxclients", "5000", "--tcp-backlog", "1024"]);
        command.current_dir("/tmp").stdin(Stdio::null()).stdout(Stdio::null());
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
