//! `--metrics`: the same numbers as the kernel's, to the unit.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    suite::an_errno,
    traffic::{Sink, calls},
};

kchaos_tests::tests! {
    needs(once, TcEgress): a_scrape_equals_the_kernel_to_the_unit;
    needs(once, CgroupConnect): metrics_do_not_switch_connect_faults_off;
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn get(ns: &NetNs, address: &str, path: &str) -> String {
    let mut connection = ns.enter(|| TcpStream::connect(address).unwrap());
    write!(connection, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

fn value(answer: &str, series: &str) -> u64 {
    let line =
        answer.lines().find(|l| l.starts_with(series)).unwrap_or_else(|| panic!("no {series} in\n{answer}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn a_scrape_equals_the_kernel_to_the_unit() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let to = sink.address.to_string();
    let address = free_address();
    let kchaos =
        Kchaos::inject(&ns, "drop", &cgroup, &["--probability", "50%", "--peer", &to, "--metrics", &address]);
    let labels = r#"{experiment="inject-drop",fault="drop-1",kind="drop""#;
    assert_eq!(0, value(&get(&ns, &address, "/metrics"), &format!("kchaos_matched_total{labels}")));
    let sent = calls(&ns, &cgroup, &["udp-send", &to, "5000", "4"]);
    assert_eq!(5000, sent.ok);
    let answer = get(&ns, &address, "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/plain"), "{answer}");
    assert!(get(&ns, &address, "/nowhere").starts_with("HTTP/1.1 404"));
    let ended = kchaos.stop();
    let injected = ended.count(0, "injected");
    assert_eq!(5000, value(&answer, &format!("kchaos_matched_total{labels}")));
    assert_eq!(injected, value(&answer, &format!("kchaos_injected_total{labels}")));
    let skipped = value(&answer, &format!("kchaos_skipped_total{labels},reason=\"probability\""));
    assert_eq!(5000 - injected, skipped);
    assert_eq!(0, value(&answer, &format!("kchaos_skipped_total{labels},reason=\"deadline\"")));
    assert!(ns.enter(|| TcpStream::connect(&address)).is_err(), "nothing listens after the end");
}

/// Metrics protect their own port, and nothing else: a connect has no near port yet.
fn metrics_do_not_switch_connect_faults_off() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let to = sink.address.to_string();
    let address = free_address();
    let (errno, number) = an_errno();
    let words = [
        "inject",
        "connect",
        "--for",
        "60s",
        "--cgroup",
        cgroup.name(),
        "--errno",
        errno,
        "--metrics",
        &address,
    ];
    let kchaos = Kchaos::start(&ns, &words);
    let got = calls(&ns, &cgroup, &["udp-send", &to, "20"]);
    assert_eq!(Some(&20), got.failed.get(&number), "{got:?}");
    assert_eq!(20, kchaos.stop().count(0, "injected"));
}
