//! A real nginx, and curl that asks it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{Cgroup, NetNs, client::Client, ends_with_us, wait_for};

/// One that is killed when dropped.
pub struct Nginx {
    child: Child,
    folder: TempDir,
}

impl Nginx {
    /// Starts one in a namespace and a cgroup, on all addresses, with files of these names and sizes.
    pub fn start(ns: &NetNs, cgroup: &Cgroup, port: u16, files: &[(&str, u64)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, size) in files {
            File::create_new(folder.path().join(name)).unwrap().set_len(*size).unwrap();
        }
        let root = format!("root {};", folder.path().display());
        Self::start_in(folder, ns, cgroup, port, "", &root)
    }

    /// Starts one that does with requests what these lines say: of the section `http`, and of its one server.
    pub fn serving(ns: &NetNs, cgroup: &Cgroup, port: u16, http: &str, server: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), ns, cgroup, port, http, server)
    }

    fn start_in(folder: TempDir, ns: &NetNs, cgroup: &Cgroup, port: u16, http: &str, server: &str) -> Self {
        let configuration = folder.path().join("nginx.conf");
        fs::write(&configuration, configured(folder.path(), port, http, server)).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        ends_with_us(&mut command);
        ns.place(&mut command);
        cgroup.place(&mut command);
        let child = command.spawn().expect("nginx of the package nginx");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_for("nginx listens", Duration::from_secs(10), || {
            ns.enter(|| TcpStream::connect(address).is_ok())
        });
        Self { child, folder }
    }

    /// Where its files are.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }
}

/// All in one process, so that nothing is left when that is killed; everything it writes is in the folder.
fn configured(folder: &Path, port: u16, http: &str, server: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
        master_process off;
        pid {folder}/pid;
        error_log {folder}/error.log;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            sendfile on;
            {http}
            server {{
                listen 0.0.0.0:{port};
                listen [::]:{port};
                {server}
            }}
        }}"
    )
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What became of a request.
#[derive(Debug)]
pub struct Fetched {
    /// curl's exit code.
    pub code: Option<i32>,
    /// How many bytes of the file have arrived.
    pub bytes: u64,
    /// How long it took from the first word to the last.
    pub took: Duration,
    /// What curl said.
    pub said: String,
}

/// What every curl is told: to throw away what it fetches, and nothing that a user has set.
const WORDS: [&str; 5] = ["--disable", "--silent", "--show-error", "--output", "/dev/null"];

/// curl fetches a file and throws it away.
pub fn curl(ns: &NetNs, cgroup: &Cgroup, from: SocketAddr, name: &str, words: &[&str]) -> Fetched {
    let says = ["--globoff", "--write-out", "fetched %{size_download} %{time_total}\n"];
    let url = format!("http://{from}/{name}");
    let mut client = Client::start(ns, cgroup, "curl", &[&WORDS[..], &says, words, &[&url]].concat());
    let (code, said) = client.ended(Duration::from_secs(20));
    let fetched = said.lines().find_map(|line| line.strip_prefix("fetched ")?.split_once(' '));
    let (bytes, seconds) = fetched.unwrap_or_else(|| panic!("curl {url}: {code:?} {said}"));
    let took = Duration::from_secs_f64(seconds.parse().unwrap());
    Fetched { code, bytes: bytes.parse().unwrap(), took, said }
}

/// One curl fetches a file so many times, over one connection for as long as the server keeps it open: how many answers
/// had which status.
pub fn statuses(
    ns: &NetNs,
    cgroup: &Cgroup,
    from: SocketAddr,
    name: &str,
    count: u64,
) -> BTreeMap<String, u64> {
    let url = format!("http://{from}/{name}?[1-{count}]");
    let words = [&WORDS[..], &["--write-out", "status %{http_code}\n", &url]].concat();
    let (code, said) = Client::start(ns, cgroup, "curl", &words).ended(Duration::from_secs(20));
    assert_eq!(Some(0), code, "{said}");
    let mut statuses = BTreeMap::new();
    for status in said.lines().filter_map(|line| line.strip_prefix("status ")) {
        *statuses.entry(status.to_owned()).or_default() += 1;
    }
    statuses
}
