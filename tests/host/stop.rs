//! Stop conditions end an experiment, each by its own source, and keep one from starting that would be stopped at once.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    kchaos::Ended,
    kernel::lists,
    slow,
    suite::note,
    traffic::{Flood, Sink, calls},
    wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(once, CgroupIngress): what_holds_already_keeps_all_from_starting, what_nobody_can_tell_keeps_all_from_starting,
        a_server_that_answers_wrongly_ends_it, a_server_that_is_slow_ends_it, a_port_that_closes_ends_it,
        a_command_ends_it, a_pressure_is_read, a_kill_takes_the_conditions_program_along,
        faults_are_off_when_it_is_told;
    needs(once, TcEgress): a_counter_ends_it, metrics_show_how_conditions_stand;
}

/// An experiment that loses arriving UDP of nobody, with these stop conditions.
pub fn write(cgroup: &Cgroup, fault: &str, stops: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "duration = \"60s\"\n[target]\ncgroup = \"{}\"\n[[fault]]\n{fault}\n{stops}\n",
        cgroup.name()
    );
    fs::write(file.path(), text).unwrap();
    file
}

const HARMLESS: &str = "kind = \"drop\"\ndirection = \"ingress\"\nprotocol = \"udp\"";

/// Starts one and waits until it injects.
pub fn start(ns: &NetNs, cgroup: &Cgroup, fault: &str, stops: &str) -> Kchaos {
    let file = write(cgroup, fault, stops);
    Kchaos::start(ns, &["run", file.path().to_str().unwrap()])
}

/// Runs one that is not to start.
fn refused(ns: &NetNs, cgroup: &Cgroup, stops: &str) -> Ended {
    let file = write(cgroup, HARMLESS, stops);
    Kchaos::spawn(&["run", file.path().to_str().unwrap()], |command| ns.place(command)).wait()
}

/// Expects that a condition has ended it, and answers why.
pub fn stopped(ended: &Ended, name: &str) -> String {
    assert_eq!(Some(3), ended.code, "{ended:?}");
    let how = ended.json()["ended"].clone();
    assert_eq!("stop_condition", how["reason"], "{ended:?}");
    assert_eq!(name, how["detail"]["name"], "{ended:?}");
    how["detail"]["why"].as_str().unwrap().to_owned()
}

/// Waits for the end and says how long that took; more than `limit`, or a slow machine's multiple of it, is too long.
pub fn within(limit: Duration, kchaos: Kchaos) -> (Ended, Duration) {
    let begun = Instant::now();
    let ended = kchaos.wait();
    let took = begun.elapsed();
    assert!(took <= limit * slow(), "{took:?} are more than {limit:?}: {ended:?}");
    (ended, took)
}

/// A server that answers as it is told, in a namespace.
struct Server {
    address: SocketAddr,
    bad: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Server {
    fn start(ns: &NetNs) -> Self {
        let listener = ns.enter(|| TcpListener::bind("127.0.0.1:0").unwrap());
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let [bad, silent, over] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let this = Self { address, bad: bad.clone(), silent: silent.clone(), over: over.clone() };
        thread::spawn(move || {
            let mut kept = Vec::new();
            while !over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((connection, _)) if silent.load(Ordering::Relaxed) => kept.push(connection),
                    Ok((connection, _)) => answer(connection, bad.load(Ordering::Relaxed)),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        this
    }
}

fn answer(mut connection: TcpStream, bad: bool) {
    connection.set_nonblocking(false).unwrap();
    let _request = connection.read(&mut [0; 4096]);
    let status = if bad { "503 Service Unavailable" } else { "200 OK" };
    let _gone = connection.write_all(
        format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes").as_bytes(),
    );
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Nothing is attached while it is looked at, and nothing afterwards; `for` is not waited for.
fn what_holds_already_keeps_all_from_starting() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let before = lists(&ns);
    let script = "sleep 1; echo out of stock >&2; exit 7";
    let stops = format!(
        "[[stop]]\nname = \"no stock\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\ntimeout = \"10s\"\nfor = \"30s\""
    );
    let file = write(&cgroup, HARMLESS, &stops);
    let kchaos = Kchaos::spawn(&["run", file.path().to_str().unwrap()], |command| ns.place(command));
    thread::sleep(Duration::from_millis(600));
    assert!(kchaos.held().is_empty(), "{:?}", kchaos.held());
    let ended = kchaos.wait();
    assert_eq!(Some(3), ended.code, "{ended:?}");
    for says in ["nothing was applied", "no stock", "holds already", "exit code 7: out of stock"] {
        assert!(ended.stderr.contains(says), "{says}: {ended:?}");
    }
    lists(&ns).assert_as(&before, "after a start that was refused");
    for verb in [&["run", "--dry-run"][..], &["preview"]] {
        let words = [verb, &[file.path().to_str().unwrap()]].concat();
        let ended = Kchaos::spawn(&words, |command| ns.place(command)).wait();
        let (code, said) = if verb[0] == "preview" { (0, &ended.stdout) } else { (3, &ended.stderr) };
        assert_eq!(Some(code), ended.code, "{ended:?}");
        assert!(said.contains("out of stock"), "{ended:?}");
    }
}

fn what_nobody_can_tell_keeps_all_from_starting() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let prometheus = "prometheus = { url = \"http://127.0.0.1:9\", query = \"up\" }";
    let ended = refused(&ns, &cgroup, &format!("[[stop]]\n{prometheus}\nfor = \"30s\""));
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("cannot be evaluated") && ended.stderr.contains("refused"), "{ended:?}");
    for on_error in ["stop", "ignore"] {
        let stops = format!("[[stop]]\ncommand = [\"/nowhere/at-all\"]\non_error = \"{on_error}\"");
        let ended = refused(&ns, &cgroup, &stops);
        assert_eq!(Some(2), ended.code, "{ended:?}");
        assert!(ended.stderr.contains("/nowhere/at-all") && ended.stderr.contains("\"line\":"), "{ended:?}");
    }
    // What is ignored does not keep it from starting, nor does it end it.
    let stops = format!("[[stop]]\n{prometheus}\non_error = \"ignore\"\ninterval = \"100ms\"");
    let kchaos = start(&ns, &cgroup, HARMLESS, &stops);
    thread::sleep(Duration::from_secs(1));
    kchaos.stop();
}

fn a_server_that_answers_wrongly_ends_it() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let server = Server::start(&ns);
    let stops = format!(
        "[[stop]]\nname = \"wrong\"\nhttp = {{ url = \"http://{}\", body = \"yes\" }}\ninterval = \"200ms\"\n\
         for = \"1s\"",
        server.address
    );
    let kchaos = start(&ns, &cgroup, HARMLESS, &stops);
    // Shorter than `for`: no reason to stop.
    server.bad.store(true, Ordering::Relaxed);
    thread::sleep(Duration::from_millis(500));
    server.bad.store(false, Ordering::Relaxed);
    thread::sleep(Duration::from_millis(1200));
    assert!(kchaos.held().armed(), "it goes on");
    server.bad.store(true, Ordering::Relaxed);
    let (ended, took) = within(Duration::from_millis(1000 + 200 + 500), kchaos);
    let why = stopped(&ended, "wrong");
    assert!(why.contains("503") && why.contains("for 1s"), "{why}");
    assert!(took >= Duration::from_millis(800), "after {took:?}, before it has held for long enough");
    note(&format!("http: ended {took:?} after the first wrong answer, with for = 1s and interval = 200ms"));
}

fn a_server_that_is_slow_ends_it() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let server = Server::start(&ns);
    let stops = format!(
        "[[stop]]\nname = \"slow\"\nhttp = {{ url = \"http://{}\", within = \"300ms\" }}\ninterval = \"200ms\"",
        server.address
    );
    let kchaos = start(&ns, &cgroup, HARMLESS, &stops);
    server.silent.store(true, Ordering::Relaxed);
    let (ended, _) = within(Duration::from_secs(1), kchaos);
    assert!(stopped(&ended, "slow").contains("has not answered within 300ms"), "{ended:?}");
}

fn a_port_that_closes_ends_it() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let server = Server::start(&ns);
    let stops = format!(
        "[[stop]]\nname = \"gone\"\ntcp = {{ connect = \"{}\" }}\ninterval = \"200ms\"",
        server.address
    );
    let kchaos = start(&ns, &cgroup, HARMLESS, &stops);
    drop(server);
    let (ended, _) = within(Duration::from_millis(200 + 500), kchaos);
    assert!(stopped(&ended, "gone").contains("accepted no connection"), "{ended:?}");
}

fn a_command_ends_it() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("hurt");
    let script = format!("if [ -e {0} ]; then echo it hurts >&2; exit 9; fi", flag.display());
    let stops =
        format!("[[stop]]\nname = \"hurt\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\ninterval = \"200ms\"");
    let kchaos = start(&ns, &cgroup, HARMLESS, &stops);
    thread::sleep(Duration::from_millis(500));
    assert!(kchaos.held().armed(), "it goes on");
    fs::write(&flag, "").unwrap();
    let (ended, _) = within(Duration::from_millis(200 + 500), kchaos);
    assert!(stopped(&ended, "hurt").ends_with("ended with exit code 9: it hurts"), "{ended:?}");
}

/// Of the host, whose pressure nobody can foresee: what can never be, and what always is.
fn a_pressure_is_read() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let stops = |resource: &str, when: &str| {
        format!(
            "[[stop]]\nname = \"busy\"\npressure = {{ resource = \"{resource}\", window = \"300s\" }}\nwhen = \"{when}\""
        )
    };
    if fs::read_to_string("/proc/pressure/cpu").is_err() {
        let ended = refused(&ns, &cgroup, &stops("cpu", "> 20%"));
        assert_eq!(Some(4), ended.code, "{ended:?}");
        assert!(ended.stderr.contains("CONFIG_PSI"), "{ended:?}");
        return note("this kernel measures no pressure, and says so");
    }
    for resource in ["cpu", "memory", "io"] {
        let ended = refused(&ns, &cgroup, &stops(resource, ">= 0%"));
        assert_eq!(Some(3), ended.code, "{ended:?}");
        assert!(ended.stderr.contains(&format!("{resource} pressure of the host")), "{ended:?}");
    }
    let kchaos = start(&ns, &cgroup, HARMLESS, &stops("memory", "> 100%"));
    kchaos.stop();
    // The cgroup's own: of an idle one it is 0, and afterwards it is not there any more.
    let own = Cgroup::new("pressure");
    let stops = format!(
        "[[stop]]\nname = \"busy\"\npressure = {{ resource = \"cpu\", cgroup = \"{}\" }}\nwhen = \"> 90%\"\n\
         interval = \"200ms\"",
        own.name()
    );
    let kchaos = start(&ns, &cgroup, HARMLESS, &stops);
    thread::sleep(Duration::from_millis(500));
    assert!(kchaos.held().armed(), "it goes on");
    drop(own);
    let (ended, _) = within(Duration::from_millis(200 + 500), kchaos);
    assert!(stopped(&ended, "busy").contains("there is no cgroup"), "{ended:?}");
}

/// SIGKILL, in the middle of a look.
fn a_kill_takes_the_conditions_program_along() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("if [ -e {0} ]; then echo $$ > {0}; exec sleep 8; fi", pid.display());
    let stops = format!(
        "[[stop]]\ncommand = [\"sh\", \"-c\", \"{script}\"]\ninterval = \"200ms\"\ntimeout = \"10s\""
    );
    let kchaos = start(&ns, &cgroup, HARMLESS, &stops);
    fs::write(&pid, "").unwrap();
    let running = || fs::read_to_string(&pid).unwrap().trim().to_owned();
    wait_for("the program runs", Duration::from_secs(5), || !running().is_empty());
    let stat = Path::new("/proc").join(running()).join("stat");
    assert!(stat.exists());
    kchaos.signal(Signal::SIGKILL);
    wait_for("the program is gone", Duration::from_secs(2), || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z"))
    });
    drop(kchaos);
}

fn a_counter_ends_it() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let fault = "kind = \"drop\"\ndirection = \"egress\"\nprobability = \"10%\"";
    let stops = "[[stop]]\nname = \"enough\"\ncounter = \"injected\"\nfault = \"drop-1\"\nwhen = \">= 100\"\n\
                 interval = \"100ms\"";
    let kchaos = start(&ns, &cgroup, fault, stops);
    assert_eq!(500, calls(&ns, &cgroup, &["udp-send", &sink.address.to_string(), "500"]).ok);
    thread::sleep(Duration::from_millis(400));
    assert!(kchaos.held().armed(), "not enough yet");
    let flood = Flood::start(&ns, &cgroup, sink.address, 200);
    let (ended, _) = within(Duration::from_secs(2), kchaos);
    drop(flood);
    let why = stopped(&ended, "enough");
    assert!(why.contains("injected by drop-1 is ") && why.contains("(>= 100)"), "{why}");
    assert!(ended.count(0, "injected") >= 100, "{ended:?}");
}

/// The faults are off before anything is said, and all is as before.
fn faults_are_off_when_it_is_told() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let before = lists(&ns);
    let server = Server::start(&ns);
    let stops = format!(
        "[[stop]]\nname = \"gone\"\ntcp = {{ connect = \"{}\" }}\ninterval = \"100ms\"",
        server.address
    );
    let kchaos = start(&ns, &cgroup, HARMLESS, &stops);
    let held = kchaos.held();
    drop(server);
    let (ended, _) = within(Duration::from_millis(100 + 500), kchaos);
    stopped(&ended, "gone");
    lists(&ns).assert_as(&before, "after the end");
    // The kernel takes a moment to give up maps that nobody holds any more.
    wait_for("nothing of it is left", Duration::from_secs(2), || held.alive().is_empty());
}

fn metrics_show_how_conditions_stand() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let server = Server::start(&ns);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let stops = format!(
        "[[stop]]\nname = \"too many\"\ncounter = \"matched\"\nwhen = \"> 1000000\"\ninterval = \"100ms\"\n\
         [[stop]]\nname = \"slow\"\nhttp = {{ url = \"http://{}\" }}\ninterval = \"100ms\"\nfor = \"30s\"\n\
         [[stop]]\nname = \"unknown\"\nprometheus = {{ url = \"http://127.0.0.1:9\", query = \"up\" }}\n\
         interval = \"100ms\"\non_error = \"ignore\"",
        server.address
    );
    let file = write(&cgroup, "kind = \"drop\"\ndirection = \"egress\"\nprotocol = \"udp\"", &stops);
    let kchaos = Kchaos::start(&ns, &["run", file.path().to_str().unwrap(), "--metrics", &address]);
    server.bad.store(true, Ordering::Relaxed);
    thread::sleep(Duration::from_millis(500) * slow());
    let mut connection = ns.enter(|| TcpStream::connect(&address).unwrap());
    write!(connection, "GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let value = |metric: &str, condition: &str| {
        let label = format!("condition=\"{condition}\"");
        let line = answer.lines().find(|line| line.starts_with(metric) && line.contains(&label));
        line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
    };
    let holds = ["too many", "slow", "unknown"].map(|name| value("kchaos_stop_condition_holds", name));
    assert_eq!(["0", "1", "0"].map(|text| Some(text.to_owned())), holds, "{answer}");
    assert_eq!(Some("0"), value("kchaos_stop_condition_value", "too many").as_deref(), "{answer}");
    assert_eq!(None, value("kchaos_stop_condition_value", "slow"), "{answer}");
    let errors: u64 = value("kchaos_stop_condition_errors_total", "unknown").unwrap().parse().unwrap();
    assert!(errors >= 2, "{answer}");
    kchaos.stop();
}
