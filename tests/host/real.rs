//! Real servers and clients under `reset`, `reject` and `partition`: they say what they say when it happens by itself, and
//! work again afterwards.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    client::Client,
    nginx::{Fetched, Nginx, curl},
    postgres::Postgres,
    redis::Redis,
    slow, wait_for,
};

kchaos_tests::tests! {
    needs(services, TcEgress, TcIngress): a_download_breaks_off, an_idle_redis_client_is_cut_off,
        clients_of_a_redis_are_cut_off, a_query_that_waits_breaks_off, a_web_server_refuses,
        a_web_server_is_out_of_reach;
}

const MIB: u64 = 1 << 20;

/// For whatever happens at once, and for whatever answers.
const SOON: Duration = Duration::from_secs(5);

/// Where the servers are: at the far end of a wire.
fn far_addresses() -> [IpAddr; 2] {
    ["10.99.0.2", "fd99::2"].map(|address| address.parse().unwrap())
}

/// Expects a whole file.
fn assert_whole(fetched: &Fetched, bytes: u64) {
    assert_eq!((Some(0), bytes), (fetched.code, fetched.bytes), "{fetched:?}");
}

/// Of 5 MiB, 1 MiB arrives; what is smaller arrives whole.
fn a_download_breaks_off() {
    // Two of the largest segments that a device puts together.
    const SLACK: u64 = 130 << 10;
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _server = Nginx::start(&far, &other, 80, &[("large", 5 * MIB), ("small", MIB / 2)]);
    for address in far_addresses() {
        let at = SocketAddr::new(address, 80);
        for direction in ["both", "ingress"] {
            assert_whole(&curl(&near, &target, at, "large", &[]), 5 * MIB);
            let flags = ["--after", "1MiB", "--direction", direction];
            let kchaos = Kchaos::inject(&near, "reset", &target, &flags);
            let cut = curl(&near, &target, at, "large", &[]);
            assert_whole(&curl(&near, &target, at, "small", &[]), MIB / 2);
            assert_whole(&curl(&near, &other, at, "large", &[]), 5 * MIB);
            let ended = kchaos.stop();
            let what = format!("{direction} {at}: {cut:?} {ended:?}");
            assert_eq!(Some(56), cut.code, "{what}");
            assert!(cut.said.contains("Connection reset by peer"), "{what}");
            assert!((MIB - SLACK..=MIB + SLACK).contains(&cut.bytes), "{what}");
            // One more for each packet that was on its way meanwhile.
            assert!(ended.count(0, "injected") >= 1, "{what}");
            assert_whole(&curl(&near, &target, at, "large", &[]), 5 * MIB);
        }
    }
}

/// A client that has nothing to say loses its connection, and both it and the server notice.
fn an_idle_redis_client_is_cut_off() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let server = Redis::start(&far, &other, 6379);
    for address in far_addresses() {
        // Of the server, the one that asks among them.
        let clients = |count: u32| {
            let (code, said) = server.client(&near, &other, address, &["info", "clients"]).ended(SOON);
            assert_eq!(Some(0), code, "{said}");
            said.contains(&format!("connected_clients:{count}\r"))
        };
        let mut client = server.client(&near, &target, address, &[]);
        client.tell("echo first");
        client.says("first", SOON);
        // Those that have asked before may not all be gone.
        wait_for("the server has one client", SOON, || clients(2));
        let kchaos = Kchaos::inject(&near, "reset", &target, &["--idle"]);
        wait_for("the server notices", Duration::from_secs(1), || clients(1));
        client.tell("echo second");
        let (code, said) = client.ended(SOON);
        // The end at which the kernel was asked to do it is told so.
        assert_eq!(Some(1), code, "{said}");
        assert!(said.contains("Software caused connection abort"), "{said}");
        assert_pongs(&mut server.client(&near, &other, address, &["ping"]));
        assert_refused(&mut server.client(&near, &target, address, &["ping"]));
        let ended = kchaos.stop();
        assert!(ended.count(0, "injected") >= 2, "{ended:?}");
        assert_pongs(&mut server.client(&near, &target, address, &["ping"]));
    }
}

fn assert_pongs(client: &mut Client) {
    assert_eq!((Some(0), "PONG\n".to_owned()), client.ended(SOON));
}

fn assert_refused(client: &mut Client) {
    let (code, said) = client.ended(SOON);
    assert_eq!(Some(1), code, "{said}");
    assert!(said.contains("Connection refused"), "{said}");
}

/// The server is the target: clients that are busy hear of it, and only if idle ones are asked for, those that wait for an
/// answer and those that wait for their user.
fn clients_of_a_redis_are_cut_off() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let server = Redis::start(&far, &target, 6379);
    for address in far_addresses() {
        let client = |words: &[&str]| server.client(&near, &other, address, words);
        let mut waits = client(&["blpop", "nothing", "0"]);
        let mut idle = client(&[]);
        idle.tell("echo first");
        idle.says("first", SOON);
        let mut busy = client(&["-r", "1000", "-i", "0.02", "ping"]);
        busy.says("PONG\nPONG", SOON);

        let kchaos = Kchaos::inject(&far, "reset", &target, &["--direction", "both"]);
        assert_reset(&mut busy);
        assert!(!waits.has_ended() && !idle.has_ended());
        assert_refused(&mut client(&["ping"]));
        kchaos.stop();
        assert_pongs(&mut client(&["ping"]));

        let kchaos = Kchaos::inject(&far, "reset", &target, &["--direction", "both", "--idle"]);
        assert_reset(&mut waits);
        idle.tell("echo second");
        idle.says("Connection reset by peer", SOON);
        kchaos.stop();
        // It connects again for whatever it is told next.
        idle.tell("echo third");
        idle.says("third", SOON);
    }
}

fn assert_reset(client: &mut Client) {
    let (code, said) = client.ended(SOON);
    assert_eq!(Some(1), code, "{said}");
    assert!(said.contains("Connection reset by peer"), "{said}");
}

/// A client that waits for the server to answer, without any traffic.
fn a_query_that_waits_breaks_off() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let server = Postgres::start(&far, &other, 5432);
    for address in far_addresses() {
        // The server goes on with it for nobody, so those of both addresses must be told apart.
        let mut client = server.psql(&near, &target, address, &format!("select pg_sleep(30), '{address}'"));
        let statement = format!(
            "select 'waits' from pg_stat_activity where wait_event = 'PgSleep' and query like '%{address}%'"
        );
        wait_for("the query waits", SOON, || {
            server.psql(&near, &other, address, &statement).ended(SOON).1.contains("waits")
        });
        let kchaos = Kchaos::inject(&near, "reset", &target, &["--idle"]);
        let begun = Instant::now();
        let (code, said) = client.ended(SOON);
        assert!(begun.elapsed() < Duration::from_secs(1) * slow(), "after {:?}", begun.elapsed());
        assert_eq!(Some(2), code, "{said}");
        assert!(
            said.contains("could not receive data from server: Software caused connection abort"),
            "{said}"
        );
        let (code, said) = server.psql(&near, &target, address, "select 42").ended(SOON);
        assert_eq!(Some(2), code, "{said}");
        assert!(said.contains("Connection refused"), "{said}");
        assert_answers(&mut server.psql(&near, &other, address, "select 42"));
        let ended = kchaos.stop();
        assert!(ended.count(0, "injected") >= 2, "{ended:?}");
        assert_answers(&mut server.psql(&near, &target, address, "select 42"));
    }
}

fn assert_answers(client: &mut Client) {
    assert_eq!((Some(0), "42\n".to_owned()), client.ended(SOON));
}

/// As if it were not running.
fn a_web_server_refuses() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _server = Nginx::start(&far, &other, 80, &[("file", MIB)]);
    for address in far_addresses() {
        let at = SocketAddr::new(address, 80);
        assert_whole(&curl(&near, &target, at, "file", &[]), MIB);
        let kchaos = Kchaos::inject(&near, "reject", &target, &[]);
        let refused = curl(&near, &target, at, "file", &[]);
        assert_whole(&curl(&near, &other, at, "file", &[]), MIB);
        let ended = kchaos.stop();
        let what = format!("{at}: {refused:?} {ended:?}");
        assert_eq!((Some(7), 0), (refused.code, refused.bytes), "{what}");
        assert!(refused.took < Duration::from_millis(100) * slow(), "{what}");
        assert_eq!(1, ended.count(0, "injected"), "{what}");
        assert_whole(&curl(&near, &target, at, "file", &[]), MIB);
    }
}

/// One of two at the same place.
fn a_web_server_is_out_of_reach() {
    let (near, far) = NetNs::joined();
    far.ip("addr add 10.99.0.3/24 dev far");
    far.ip("addr add fd99::3/64 dev far nodad");
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _server = Nginx::start(&far, &other, 80, &[("file", MIB)]);
    for (here, gone) in far_addresses().into_iter().zip(["10.99.0.3", "fd99::3"]) {
        let (here, gone_at) = (SocketAddr::new(here, 80), SocketAddr::new(gone.parse().unwrap(), 80));
        assert_whole(&curl(&near, &target, gone_at, "file", &[]), MIB);
        let flags = ["--behaviour", "drop", "--peer", gone];
        let kchaos = Kchaos::inject(&near, "partition", &target, &flags);
        let waited = curl(&near, &target, gone_at, "file", &["--max-time", "1"]);
        assert_whole(&curl(&near, &target, here, "file", &[]), MIB);
        assert_whole(&curl(&near, &other, gone_at, "file", &[]), MIB);
        let ended = kchaos.stop();
        let what = format!("{gone}: {waited:?} {ended:?}");
        assert_eq!((Some(28), 0), (waited.code, waited.bytes), "{what}");
        assert!(ended.count(0, "injected") >= 1, "{what}");
        assert_whole(&curl(&near, &target, gone_at, "file", &[]), MIB);
    }
}
