//! Peers by host name, with a real name server whose answers change while the experiment runs.

use std::{
    ffi::CString,
    fs,
    net::UdpSocket,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kchaos_tests::{Cgroup, Kchaos, NetNs, ends_with_us, kchaos::Ended, slow, traffic::calls, wait_for};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;

kchaos_tests::tests! {
    needs(services, TcEgress): addresses_that_change_are_followed, a_name_that_is_gone_keeps_its_addresses;
    needs(services): a_name_that_never_was_is_an_error;
}

const NAME: &str = "db.test";
const OLD: &str = "127.0.0.11:9911";
const NEW: &str = "127.0.0.12:9911";
const OLD6: &str = "[fd00::11]:9911";
const NEW6: &str = "[fd00::12]:9911";

/// A name server, which knows one name.
pub struct NameServer {
    folder: TempDir,
    child: Child,
}

/// One in a network namespace, and the files by which it is asked.
struct Names {
    ns: NetNs,
    server: NameServer,
}

impl NameServer {
    /// Starts it.
    pub fn start(ns: &NetNs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("records")).unwrap();
        let mut command = Command::new("dnsmasq");
        command
            .args(["--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv"])
            .args(["--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/"])
            .arg(format!("--hostsdir={}", folder.path().join("records").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        ends_with_us(&mut command);
        ns.place(&mut command);
        let child = command.spawn().expect("dnsmasq of the package dnsmasq-base");
        ns.enter(|| {
            wait_for("the name server answers", Duration::from_secs(5), || {
                UdpSocket::bind("127.0.0.1:53").is_err()
            });
        });
        Self { folder, child }
    }

    /// Gives the name other addresses; none takes it away. Answers are never kept, and the server reads files that
    /// appear or change; of one that is gone it has to be told.
    pub fn set(&self, addresses: &[&str]) {
        let file = self.folder.path().join("records/hosts");
        let lines: Vec<String> = addresses.iter().map(|address| format!("{address} {NAME}")).collect();
        fs::write(&file, lines.join("\n") + "\n").unwrap();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            nix::sys::signal::Signal::SIGHUP,
        )
        .unwrap();
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Names {
    fn start() -> Self {
        let ns = NetNs::new();
        for address in ["fd00::11/128", "fd00::12/128"] {
            ns.ip(&format!("addr add {address} dev lo nodad"));
        }
        let server = NameServer::start(&ns);
        let path = |name: &str| server.folder.path().join(name);
        fs::write(path("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
        fs::write(path("hosts"), "127.0.0.1 localhost\n").unwrap();
        Self { ns, server }
    }

    fn set(&self, addresses: &[&str]) {
        self.server.set(addresses);
    }

    /// In the namespace, and with our files in the place of the host's.
    fn place(&self, command: &mut Command) {
        self.ns.place(command);
        let text = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
        let files = ["resolv.conf", "hosts"]
            .map(|name| (text(&self.server.folder.path().join(name)), text(&Path::new("/etc").join(name))));
        // SAFETY: only system calls, with strings that were made before.
        unsafe {
            command.pre_exec(move || {
                unshare(CloneFlags::CLONE_NEWNS)?;
                mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
                for (ours, theirs) in &files {
                    mount(
                        Some(ours.as_c_str()),
                        theirs.as_c_str(),
                        None::<&str>,
                        MsFlags::MS_BIND,
                        None::<&str>,
                    )?;
                }
                Ok(())
            });
        }
    }

    fn drop_on(&self, cgroup: &Cgroup) -> Kchaos {
        let peer = format!("{NAME}:9911");
        let words = ["inject", "drop", "--for", "60s", "--cgroup", cgroup.name(), "--peer", &peer];
        Kchaos::start_with(&words, |command| self.place(command))
    }
}

fn send(names: &Names, cgroup: &Cgroup, to: &str, count: u64) {
    assert_eq!(count, calls(&names.ns, cgroup, &["udp-send", to, &count.to_string()]).ok);
}

/// Longer than it takes until a change is noticed.
fn noticed() {
    std::thread::sleep(Duration::from_secs(4) * slow().min(2));
}

fn changes(ended: &Ended) -> Vec<String> {
    ended.json()["changes"].as_array().unwrap().iter().map(ToString::to_string).collect()
}

/// Both families; the old addresses are let go.
fn addresses_that_change_are_followed() {
    let names = Names::start();
    let cgroup = Cgroup::new("client");
    names.set(&["127.0.0.11", "fd00::11"]);
    let kchaos = names.drop_on(&cgroup);
    for (to, count) in [(OLD, 1), (OLD6, 2), (NEW, 100), (NEW6, 100)] {
        send(&names, &cgroup, to, count);
    }
    names.set(&["127.0.0.12", "fd00::12", "127.0.0.13"]);
    noticed();
    for (to, count) in [(NEW, 4), (NEW6, 8), ("127.0.0.13:9911", 16), (OLD, 200), (OLD6, 200)] {
        send(&names, &cgroup, to, count);
    }
    let ended = kchaos.stop();
    assert_eq!((31, 31), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    let changes = changes(&ended);
    assert!(
        changes.len() == 1 && changes[0].contains("127.0.0.13") && changes[0].contains("fd00::12"),
        "{changes:?}"
    );
}

/// And says so.
fn a_name_that_is_gone_keeps_its_addresses() {
    let names = Names::start();
    let cgroup = Cgroup::new("client");
    names.set(&["127.0.0.11"]);
    let kchaos = names.drop_on(&cgroup);
    names.set(&[]);
    noticed();
    send(&names, &cgroup, OLD, 20);
    send(&names, &cgroup, NEW, 20);
    let ended = kchaos.stop();
    assert_eq!(20, ended.count(0, "injected"), "{ended:?}");
    assert!(changes(&ended).iter().any(|change| change.contains("unresolved")), "{ended:?}");
}

fn a_name_that_never_was_is_an_error() {
    let names = Names::start();
    let words = ["inject", "drop", "--for", "5s", "--host", "--peer", "absent.test:80"];
    let ended = Kchaos::spawn(&words, |command| names.place(command)).wait();
    assert_eq!(Some(2), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("the name absent.test has no addresses"), "{}", ended.stderr);
}
