//! A real RabbitMQ, with the plugin that tells Prometheus how long its queues are.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{Cgroup, NetNs, ends_with_us, wait_for};

/// Where it says how long its queues are, by name.
pub const METRICS: &str = "/metrics/per-object";

/// One that is killed when dropped, with the name server of its nodes. What it starts itself ends with its cgroup.
pub struct RabbitMq {
    server: Child,
    names: Child,
    folder: TempDir,
}

/// Messages.
const PORT: u16 = 5672;
/// Metrics.
const METRICS_PORT: u16 = 15692;

impl RabbitMq {
    /// Starts one in a namespace and a cgroup, with the ports it always has, and everything it writes in a folder.
    pub fn start(ns: &NetNs, cgroup: &Cgroup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("plugins"), "[rabbitmq_prometheus].\n").unwrap();
        // The shortest that is seen at each scrape.
        let settings = "listeners.tcp.1 = 127.0.0.1:5672\ncollect_statistics_interval = 500\n";
        fs::write(path("settings.conf"), settings).unwrap();

        // Started by ourselves, in the foreground: the server would leave one behind.
        let mut names = Command::new("epmd");
        names.args(["-address", "127.0.0.1"]);
        let names =
            placed(ns, cgroup, names, &folder, "names").spawn().expect("epmd of the package erlang-base");

        let mut server = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        server.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        server.env("HOME", folder.path()).env("RABBITMQ_NODENAME", "kct@localhost");
        // Then its script becomes the server, instead of waiting for it.
        server.env("RUNNING_UNDER_SYSTEMD", "true");
        for (name, file) in [
            ("CONF_ENV_FILE", "none"),
            ("CONFIG_FILE", "settings.conf"),
            ("ADVANCED_CONFIG_FILE", "none.config"),
            ("ENABLED_PLUGINS_FILE", "plugins"),
            ("MNESIA_BASE", "data"),
            ("LOG_BASE", "logs"),
            ("PID_FILE", "pid"),
            ("FEATURE_FLAGS_FILE", "flags"),
            ("GENERATED_CONFIG_DIR", "generated"),
            ("PLUGINS_EXPAND_DIR", "expanded"),
        ] {
            server.env(format!("RABBITMQ_{name}"), path(file));
        }
        let server = placed(ns, cgroup, server, &folder, "log").spawn().expect("the package rabbitmq-server");
        let mut this = Self { server, names, folder };
        this.wait_until_it_answers(ns);
        this
    }

    fn wait_until_it_answers(&mut self, ns: &NetNs) {
        wait_for("rabbitmq answers", Duration::from_secs(40), || {
            let ended = self.server.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            ns.enter(|| [PORT, METRICS_PORT].iter().all(|port| connects(*port)))
                && self.log().contains("Starting broker... completed")
        });
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Where Prometheus finds its numbers.
    pub fn metrics(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT))
    }
}

fn connects(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// With what it says in a file of the folder.
fn placed(ns: &NetNs, cgroup: &Cgroup, mut command: Command, folder: &TempDir, log: &str) -> Command {
    let log = File::create_new(folder.path().join(log)).unwrap();
    command.current_dir(folder.path()).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    ends_with_us(&mut command);
    ns.place(&mut command);
    cgroup.place(&mut command);
    command
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.names] {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}
