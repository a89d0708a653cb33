//! A real Prometheus that scrapes one service.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Cgroup, NetNs, ends_with_us, wait_for};

/// How often it scrapes.
pub const SCRAPE: Duration = Duration::from_millis(500);

/// One that is killed when dropped.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one in a namespace and a cgroup. It scrapes /metrics at `target` as the job "shop", twice a second.
    pub fn start(ns: &NetNs, cgroup: &Cgroup, port: u16, target: SocketAddr) -> Self {
        Self::start_at(ns, cgroup, port, target, "/metrics")
    }

    /// The same with the metrics somewhere else.
    pub fn start_at(ns: &NetNs, cgroup: &Cgroup, port: u16, target: SocketAddr, path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: {0}ms\n  scrape_timeout: {0}ms\n\
             scrape_configs:\n  - job_name: shop\n    metrics_path: {path}\n    static_configs:\n      - targets: [\"{target}\"]\n",
            SCRAPE.as_millis()
        );
        fs::write(&configuration, text).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        ends_with_us(&mut command);
        ns.place(&mut command);
        cgroup.place(&mut command);
        let child = command.spawn().expect("prometheus of the package prometheus");
        let this = Self { child, address, _folder: folder };
        wait_for("prometheus scrapes", Duration::from_secs(20), || {
            ns.enter(|| this.ask("up")).is_some_and(|found| found == ["1"])
        });
        this
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The values of a query without spaces or other characters that a URL does not take, asked without kchaos, from
    /// inside its namespace. `None` while nobody answers.
    pub fn ask(&self, query: &str) -> Option<Vec<String>> {
        let mut connection = TcpStream::connect(self.address).ok()?;
        let request = format!("GET /api/v1/query?query={query} HTTP/1.0\r\nHost: x\r\n\r\n");
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        let json: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        let values = json["data"]["result"].as_array()?.iter();
        values.map(|series| series["value"][1].as_str().map(ToOwned::to_owned)).collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
