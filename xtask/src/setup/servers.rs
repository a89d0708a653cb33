//! Real servers and clients for the tests: they are started by the tests alone, in namespaces of their own.

use std::{fs, os::unix::process::CommandExt as _, process::Command};

use super::{
    Purpose,
    needs::{Fix, Need, first_line},
};
use crate::sh;

/// Debian's own, which has Debian's packages; another one may come first on the path.
const PYTHON: &str = "/usr/bin/python3";

/// What the tests break, and with what they notice.
pub const SERVERS: [Need; 11] = [
    Need {
        name: "redis",
        why: "a real server for the tests to break",
        purpose: Purpose::Test,
        check: redis,
        // The server's program is in here too; the package redis-server would start a service.
        fix: Fix::Packages(&["redis-tools"]),
    },
    Need {
        name: "nginx",
        why: "a real web server for the tests to break",
        purpose: Purpose::Test,
        check: nginx,
        fix: Fix::Server { packages: &["nginx"], service: "nginx" },
    },
    Need {
        name: "curl",
        why: "a real client that says what became of its requests",
        purpose: Purpose::Test,
        check: || first_line(sh::system("curl").arg("--version")),
        fix: Fix::Packages(&["curl"]),
    },
    Need {
        name: "postgres",
        why: "a real database, whose clients wait long for an answer",
        purpose: Purpose::Test,
        check: postgres,
        // Its client comes with it.
        fix: Fix::Server { packages: &["postgresql"], service: "postgresql" },
    },
    Need {
        name: "rabbitmq",
        why: "a real broker, whose queues the tests let grow",
        purpose: Purpose::Test,
        check: rabbitmq,
        fix: Fix::Server { packages: &["rabbitmq-server"], service: "rabbitmq-server" },
    },
    Need {
        name: "pika",
        why: "sends and takes the messages of that broker",
        purpose: Purpose::Test,
        check: || first_line(Command::new(PYTHON).args(["-c", "import pika; print(pika.__version__)"])),
        fix: Fix::Packages(&["python3", "python3-pika"]),
    },
    Need {
        name: "containerd",
        why: "real pods and containers for the tests to find",
        purpose: Purpose::Test,
        check: containerd,
        fix: Fix::Packages(&["containerd", "runc"]),
    },
    Need {
        name: "network plugins",
        why: "give the pods of the tests networks of their own",
        purpose: Purpose::Test,
        check: network_plugins,
        fix: Fix::Packages(&["containernetworking-plugins"]),
    },
    Need {
        name: "prometheus",
        why: "a real one for stop conditions to ask",
        purpose: Purpose::Test,
        check: || first_line(sh::system("prometheus").arg("--version")),
        fix: Fix::Server { packages: &["prometheus"], service: "prometheus" },
    },
    Need {
        name: "chromium",
        why: "a real browser that looks at the page of a record",
        purpose: Purpose::Test,
        check: || first_line(sh::system("chromium").arg("--version")),
        fix: Fix::Packages(&["chromium"]),
    },
    Need {
        name: "dnsmasq",
        why: "a name server whose answers the tests change",
        purpose: Purpose::Test,
        check: || first_line(sh::system("dnsmasq").arg("--version")),
        // Without the service that the package dnsmasq starts.
        fix: Fix::Packages(&["dnsmasq-base"]),
    },
];

/// Starts the server by the name under which it does not check a dump file but serves, and its client.
fn redis() -> Result<String, String> {
    first_line(sh::system("redis-cli").arg("--version"))?;
    let said = first_line(sh::system("redis-check-rdb").arg0("redis-server").arg("--version"))?;
    if said.starts_with("Redis server") {
        Ok(said)
    } else {
        Err(format!("redis-check-rdb is no server: {said}"))
    }
}

/// The daemon, its client, the helper it starts for each pod, and what that starts to make containers.
fn containerd() -> Result<String, String> {
    for program in ["ctr", "runc"] {
        first_line(sh::system(program).arg("--version"))?;
    }
    first_line(sh::system("containerd-shim-runc-v2").arg("-v"))?;
    first_line(sh::system("containerd").arg("--version"))
}

/// Asks those that the tests' network is made of which versions of the interface they speak.
fn network_plugins() -> Result<String, String> {
    for name in ["ptp", "host-local", "loopback"] {
        let mut plugin = Command::new(format!("/usr/lib/cni/{name}"));
        let said = sh::output(plugin.env("CNI_COMMAND", "VERSION")).map_err(|error| format!("{error:#}"))?;
        if !said.contains("0.4.0") {
            return Err(format!("{name} does not speak version 0.4.0 of CNI, but {}", said.trim()));
        }
    }
    Ok("CNI 0.4.0".to_owned())
}

/// The script, which would take seconds to say its version, and the two programs of Erlang that a server consists of.
fn rabbitmq() -> Result<String, String> {
    let script = "/usr/lib/rabbitmq/bin/rabbitmq-server";
    fs::metadata(script).map_err(|error| format!("{script}: {error}"))?;
    sh::find_system("epmd").ok_or("there is no epmd")?;
    let says = "io:put_chars(erlang:system_info(otp_release)), halt().";
    Ok(format!("on Erlang {}", first_line(sh::system("erl").args(["-noshell", "-eval", says]))?))
}

/// It says its version where others complain.
fn nginx() -> Result<String, String> {
    sh::output(sh::system("nginx").arg("-v")).map_err(|error| format!("{error:#}"))?;
    Ok("it starts".to_owned())
}

/// The newest version's server, what makes its databases, and its client; the first two are not on the path.
fn postgres() -> Result<String, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").map_err(|_missing| "it is not installed")?;
    let folders = versions.filter_map(Result::ok).map(|version| version.path().join("bin"));
    let servers = folders.filter(|folder| folder.join("initdb").is_file());
    let newest = servers.max().ok_or("there are only clients")?;
    for program in ["initdb", "psql"] {
        first_line(Command::new(newest.join(program)).arg("--version"))?;
    }
    first_line(Command::new(newest.join("postgres")).arg("--version"))
}
