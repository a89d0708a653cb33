//! A real Postgres, as a user without rights: it refuses to be root's.

use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Gid, Pid, Uid, chown},
};
use tempfile::TempDir;

use crate::{Cgroup, NetNs, client::Client, wait_for};

/// Nobody, by number: not every machine has a user for databases.
const USER: u32 = 65_534;

/// A server with a new database, which is ended when dropped.
pub struct Postgres {
    child: Child,
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// Starts one in a namespace and a cgroup, on all addresses, for whoever asks. Its pages have checksums.
    pub fn start(ns: &NetNs, cgroup: &Cgroup, port: u16) -> Self {
        Self::start_with(ns, cgroup, port, &[])
    }

    /// The same with settings such as `work_mem=4MB`.
    pub fn start_with(ns: &NetNs, cgroup: &Cgroup, port: u16, settings: &[&str]) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        let mut command = unprivileged(ns, cgroup, &programs().join("initdb"));
        command.arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "-k", "--no-sync"]);
        let made = command.current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{command:?}: {made:?}");
        let mut rules = File::options().append(true).open(data.join("pg_hba.conf")).unwrap();
        writeln!(rules, "host all all all trust").unwrap();

        Self::start_on(folder, ns, cgroup, port, settings)
    }

    /// Starts another one that follows this one and refuses to be written to, until it is told otherwise.
    pub fn start_replica(&self, ns: &NetNs, cgroup: &Cgroup, port: u16) -> Self {
        let folder = folder();
        let mut command = unprivileged(ns, cgroup, &self.programs.join("pg_basebackup"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-D"]);
        command.arg(folder.path().join("data")).args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        let made = command.current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{command:?}: {made:?}");
        Self::start_on(folder, ns, cgroup, port, &[])
    }

    fn start_on(folder: TempDir, ns: &NetNs, cgroup: &Cgroup, port: u16, settings: &[&str]) -> Self {
        let programs = programs();
        let log = File::create_new(folder.path().join("log")).unwrap();
        let mut command = unprivileged(ns, cgroup, &programs.join("postgres"));
        command.arg("-D").arg(folder.path().join("data"));
        command.args(["-p", &port.to_string(), "-c", "listen_addresses=*"]);
        command.arg("-c").arg(format!("unix_socket_directories={}", folder.path().display()));
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        command.args(["-c", "fsync=off"]).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let server = Self { child, programs, folder, port };
        server.wait_until_it_answers(ns);
        server
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// All that it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn wait_until_it_answers(&self, ns: &NetNs) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        // It listens some time before it is ready.
        wait_for("postgres answers", Duration::from_secs(20), || {
            // "connections", or of a replica "read-only connections".
            self.log().contains("system is ready to accept")
                && ns.enter(|| TcpStream::connect(address).is_ok())
        });
    }

    /// Starts psql with one statement, in a cgroup.
    pub fn psql(&self, ns: &NetNs, cgroup: &Cgroup, address: IpAddr, statement: &str) -> Client {
        self.psql_each(ns, cgroup, address, &[statement.to_owned()])
    }

    /// The same with several, each by itself: one that fails does not keep it from the next. Without any it reads them.
    pub fn psql_each(&self, ns: &NetNs, cgroup: &Cgroup, address: IpAddr, statements: &[String]) -> Client {
        let program = self.programs.join("psql");
        let connection =
            format!("host={address} port={} user=postgres dbname=postgres connect_timeout=5", self.port);
        let statements = statements.iter().flat_map(|statement| ["-c", statement]);
        let words: Vec<&str> =
            ["-X", "-A", "-t"].into_iter().chain(statements).chain([&*connection]).collect();
        Client::start(ns, cgroup, program.to_str().unwrap(), &words)
    }

    /// The same as a text for a shell, for whoever else is to ask.
    pub fn psql_text(&self, address: IpAddr, statement: &str) -> String {
        let (program, port) = (self.programs.join("psql"), self.port);
        let connection = format!("host={address} port={port} user=postgres dbname=postgres");
        format!("exec {} -X -A -t -c '{statement}' '{connection}'", program.display())
    }

    /// Ends it in good order: its exit code, and what `pg_checksums` says about the pages that it has left.
    pub fn end_and_check(&mut self, ns: &NetNs, cgroup: &Cgroup) -> (Option<i32>, String) {
        self.signal(Signal::SIGINT);
        wait_for("postgres ends", Duration::from_secs(20), || self.child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code();
        let mut command = unprivileged(ns, cgroup, &self.programs.join("pg_checksums"));
        let checked = command.arg("--check").arg("-D").arg(self.data()).output().unwrap();
        let said = [checked.stdout, checked.stderr].concat();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
        (code, String::from_utf8(said).unwrap())
    }

    fn signal(&mut self, signal: Signal) {
        // The number of one that was waited for may be another's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _asked = kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal);
        }
    }
}

/// One that belongs to the user it runs as.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    folder
}

/// Where the newest version's are; Debian puts none of the server's onto the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("the package postgresql");
    let programs = versions.map(|version| version.unwrap().path().join("bin"));
    let servers = programs.filter(|programs| programs.join("initdb").is_file());
    servers.max().expect("initdb of the package postgresql")
}

/// A program as nobody, which ends with us. It is setpriv that changes user, as what moves it into the namespace and the
/// cgroup takes root's rights.
fn unprivileged(ns: &NetNs, cgroup: &Cgroup, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let user = USER.to_string();
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    // A signal at which it removes its shared memory.
    command.args(["--pdeathsig", "QUIT"]).arg(program).env("LC_ALL", "C");
    ns.place(&mut command);
    cgroup.place(&mut command);
    command
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It removes its shared memory and ends its children, within five seconds even if they do not want to.
        self.signal(Signal::SIGQUIT);
        let _reaped = self.child.wait();
    }
}
