//! Calls narrowed down: by place, kind of file, user, program, far end and near port; and shares of them that hold on
//! every file system.

use std::{collections::BTreeSet, fs, path::Path};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    caller::{Caller, Ends},
    scaled,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

kchaos_tests::tests! {
    needs(spread, calls): by_place, by_kind_of_file, by_user_and_program, by_socket, a_file_that_is_replaced,
        a_mount_below, every_fault_asks_for_its_own;
    needs(spread, calls): shares_hold_on_a_file_system, shares_hold_on_overlayfs;
}

const ERRNO: (&str, i32) = ("ENOMEDIUM", libc::ENOMEDIUM);
const COUNT: u64 = 20;

fn fault(call: &str, more: &str) -> String {
    format!("kind = \"call\"\ncall = \"{call}\"\nerrno = \"{}\"\n{more}", ERRNO.0)
}

fn failed(ends: &Ends) -> u64 {
    ends.get(&ERRNO.1).copied().unwrap_or(0)
}

/// Which of `COUNT` calls fit each of these faults: the call, how `kct` makes it, the conditions, and whether they hold.
/// All are of one experiment, and none of them hits anything yet.
fn fit(ns: &NetNs, target: &Cgroup, caller: &mut Caller, rows: &[(&str, &str, String, bool)]) {
    let wait = |more: &str| format!("{more}\nstart_after = \"4m\"");
    let faults: Vec<String> = rows.iter().map(|(call, _, more, _)| fault(call, &wait(more))).collect();
    let kchaos = Kchaos::run(ns, target, &faults);
    let made: BTreeSet<&str> = rows.iter().map(|(_, made, ..)| *made).collect();
    for call in made {
        assert_eq!(0, failed(&caller.make(call, COUNT)));
    }
    let ended = kchaos.stop();
    for (number, (call, made, more, fits)) in rows.iter().enumerate() {
        // It is put back to its old name.
        let times = if *made == "rename" { 2 } else { 1 };
        let expected = if *fits { times * COUNT } else { 0 };
        assert_eq!(expected, ended.count(number, "matched"), "{call} {more}: {ended:?}");
        assert_eq!(expected, ended.skipped(number, "window"), "{call} {more}: {ended:?}");
    }
}

/// The file itself, the folder that it is in, one above; not its neighbour.
fn by_place() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let place = caller.place.path().to_owned();
    let at = |name: &str| format!("path = \"{}\"", place.join(name).display());
    let above = format!("path = \"{}\"", place.parent().unwrap().display());
    let other = TempDir::new().unwrap();
    let elsewhere = format!("path = \"{}\"", other.path().display());
    let both = format!("path = [\"{}\", \"{}\"]", other.path().display(), place.display());
    let row = |call: &'static str, path: &str, fits| (call, call, path.to_owned(), fits);
    let rows = [
        row("read", &at("file"), true),
        row("read", &at(""), true),
        row("read", &above, true),
        row("read", &both, true),
        row("read", &at("other"), false),
        row("read", &elsewhere, false),
        row("write", &at("file"), true),
        row("open", &at("old"), true),
        row("open", &at("file"), false),
        row("stat", &at("old"), true),
        row("stat", &at("other"), false),
        row("unlink", &at(""), true),
        row("unlink", &at("file"), false),
        row("rename", &at(""), true),
        row("rename", &elsewhere, false),
        row("mkdir", &at(""), true),
        row("mkdir", &elsewhere, false),
        row("truncate", &at("other"), true),
        row("truncate", &at("file"), false),
        row("mmap", &at("file"), true),
        row("mmap", &at("other"), false),
    ];
    fit(&ns, &target, &mut caller, &rows);
}

fn by_kind_of_file() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let reads = [
        ("regular", "read"),
        ("pipe", "read-pipe"),
        ("socket", "read-socket"),
        ("device", "read-zero"),
        ("dir", "getdents"),
    ];
    // All of them are made, and each fits its own fault only.
    let rows = reads.map(|(kind, call)| ("read", call, format!("file = \"{kind}\""), true));
    fit(&ns, &target, &mut caller, &rows);
}

fn by_user_and_program() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let rows = [
        ("uid = 0", true),
        ("uid = [33, 0]", true),
        ("uid = 33", false),
        ("comm = \"kct\"", true),
        ("comm = \"postgres\"", false),
        ("uid = 0\ncomm = \"kct\"\nfile = \"regular\"", true),
        ("uid = 0\ncomm = \"kct\"\nfile = \"pipe\"", false),
    ];
    fit(&ns, &target, &mut caller, &rows.map(|(more, fits)| ("read", "read", more.to_owned(), fits)));
}

/// By both ends of a UDP socket, and by the path of a unix one.
fn by_socket() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let sends = [
        ("peer = \"127.0.0.1:7999\"", true),
        ("peer = \":7999\"\nprotocol = \"udp\"", true),
        ("peer = \"127.0.0.1:80\"", false),
        ("peer = \"10.0.0.0/8\"", false),
        ("protocol = \"tcp\"", false),
        ("exclude = \":7999\"", false),
        ("local_port = 7999", false),
        ("", true),
    ];
    let connects = [
        ("peer = \"unix:/nowhere/kct.sock\"", true),
        ("peer = [\"unix:@kct\", \"unix:/nowhere/kct.sock\"]", true),
        ("peer = \"unix:/nowhere/kct.soc\"", false),
        ("peer = \"unix:@kct\"", false),
    ];
    let listens = [("local_port = 7998", true), ("local_port = 7999", false), ("", true)];
    let rows: Vec<_> = sends
        .map(|(more, fits)| ("send", "send-udp", more.to_owned(), fits))
        .into_iter()
        .chain(connects.map(|(more, fits)| ("connect", "connect", more.to_owned(), fits)))
        .chain(listens.map(|(more, fits)| ("listen", "listen-tcp", more.to_owned(), fits)))
        .collect();
    fit(&ns, &target, &mut caller, &rows);
    let over_ipv6 = sends.map(|(more, fits)| {
        ("send", "send-udp6", more.replace("127.0.0.1:", "[::1]:").replace("10.0.0.0/8", "fd00::/8"), fits)
    });
    fit(&ns, &target, &mut caller, &over_ipv6);
}

/// A file that is put in the place of another one is found within two seconds.
fn a_file_that_is_replaced() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let file = caller.place.path().join("old");
    let kchaos = Kchaos::run(&ns, &target, &[fault("open", &format!("path = \"{}\"", file.display()))]);
    assert_eq!(COUNT, failed(&caller.make("open", COUNT)));
    fs::remove_file(&file).unwrap();
    fs::write(&file, "another one").unwrap();
    kchaos_tests::wait_for("it is found", std::time::Duration::from_secs(5), || {
        failed(&caller.make("open", 1)) == 1
    });
    kchaos.stop();
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        umount2(self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

/// What is mounted below a folder is below it.
fn a_mount_below() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let folder = TempDir::new().unwrap();
    let below = folder.path().join("mounted");
    fs::create_dir(&below).unwrap();
    mount(Some("tmpfs"), &below, Some("tmpfs"), MsFlags::empty(), Some("size=8m")).unwrap();
    let _mounted = Mounted(&below);
    let mut caller = Caller::start_in(&ns, &target, &below);
    let path = format!("path = \"{}\"", folder.path().display());
    fit(&ns, &target, &mut caller, &[("read", "read", path, true)]);
}

/// Faults of one experiment do not share their conditions.
fn every_fault_asks_for_its_own() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let place = caller.place.path().to_owned();
    let at = |name: &str| format!("path = \"{}\"", place.join(name).display());
    let faults = [
        fault("read", &at("other")),
        fault("read", "file = \"pipe\""),
        fault("read", "uid = 33"),
        fault("write", &at("file")),
        fault("read", &at("file")),
    ];
    let kchaos = Kchaos::run(&ns, &target, &faults);
    assert_eq!(COUNT, failed(&caller.make("read", COUNT)));
    assert_eq!(COUNT, failed(&caller.make("read-pipe", COUNT)));
    assert_eq!(0, failed(&caller.make("read-zero", COUNT)));
    let ended = kchaos.stop();
    let matched = [0, 1, 2, 3, 4].map(|fault| ended.count(fault, "matched"));
    assert_eq!([0, COUNT, 0, 0, COUNT], matched, "{ended:?}");
}

fn shares_hold_on_a_file_system() {
    shares(&std::env::temp_dir());
}

/// overlayfs asks about the file below, too.
fn shares_hold_on_overlayfs() {
    let base = TempDir::new().unwrap();
    let at = |name: &str| base.path().join(name);
    for folder in ["tmp", "all"] {
        fs::create_dir(at(folder)).unwrap();
    }
    let tmp = at("tmp");
    mount(Some("tmpfs"), &tmp, Some("tmpfs"), MsFlags::empty(), Some("size=64m")).unwrap();
    let _tmp = Mounted(&tmp);
    for folder in ["lower", "upper", "work"] {
        fs::create_dir(tmp.join(folder)).unwrap();
    }
    let show = |folder: &str| tmp.join(folder).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", show("lower"), show("upper"), show("work"));
    let all = at("all");
    let mounted = mount(Some("overlay"), &all, Some("overlay"), MsFlags::empty(), Some(options.as_str()));
    mounted.unwrap();
    let _all = Mounted(&all);
    shares(&all);
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start_in(&ns, &target, &all);
    // It opens and reads the directories below, too.
    for (call, made) in [("open", "open-dir"), ("read", "getdents")] {
        fit(&ns, &target, &mut caller, &[(call, made, String::new(), true)]);
    }
}

/// Each call is drawn for once, whatever the share.
fn shares(folder: &Path) {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start_in(&ns, &target, folder);
    let count = scaled(5_000);
    for share in ["1%", "25%", "99%"] {
        let asked: f64 = share.trim_end_matches('%').parse::<f64>().unwrap() / 100.0;
        let calls = ["read", "write", "open", "recv", "stat"];
        let faults = calls.map(|call| fault(call, &format!("probability = \"{share}\"")));
        let kchaos = Kchaos::run(&ns, &target, &faults);
        let ends = calls.map(|call| failed(&caller.make(call, count)));
        let ended = kchaos.stop();
        for (number, call) in calls.iter().enumerate() {
            let books = (ended.count(number, "matched"), ended.count(number, "injected"));
            assert_eq!((count, ends[number]), books, "{call} {share}: {ended:?}");
            assert_share(call, asked, ends[number], count);
        }
    }
}
