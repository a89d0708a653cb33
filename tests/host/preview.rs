//! `kchaos preview` shows what would be touched, and touches nothing.

use std::{fs, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    kchaos::{Ended, kchaos},
    kernel::lists,
    traffic::{self, calls},
    wait_for,
};
use serde_json::Value;

kchaos_tests::tests! {
    needs(once): it_shows_what_the_rules_cover_and_touches_nothing, what_a_run_would_refuse_is_refused;
}

/// As JSON.
fn preview(ns: &NetNs, text: &str) -> Ended {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    Kchaos::spawn(&["preview", file.path().to_str().unwrap()], |command| ns.place(command)).wait()
}

/// For people.
fn preview_in_words(ns: &NetNs, text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let mut command = kchaos();
    command.arg("preview").arg(file.path());
    ns.place(&mut command);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn it_shows_what_the_rules_cover_and_touches_nothing() {
    let (ns, cgroup, other) = (NetNs::new(), Cgroup::new("server"), Cgroup::new("other"));
    let serve = |cgroup: &Cgroup, port: &str| traffic::helper(&ns, cgroup, &["serve", port]).spawn().unwrap();
    let (mut server, mut neighbour) = (serve(&cgroup, "7700"), serve(&other, "7701"));
    for to in ["127.0.0.1:7700", "127.0.0.1:7701"] {
        wait_for("the servers listen", Duration::from_secs(5), || {
            calls(&ns, &other, &["connect", to, "1"]).ok == 1
        });
    }
    let text = format!(
        "duration = \"10s\"\n[target]\ncgroup = \"{}\"\n[[fault]]\nkind = \"drop\"\nlocal_port = 7700\n\
         peer = \"localhost\"\n[[fault]]\nkind = \"drop\"\nlocal_port = 7701\n",
        cgroup.name()
    );
    let before = lists(&ns);
    let ended = preview(&ns, &text);
    lists(&ns).assert_as(&before, "after a preview");
    assert_eq!(Some(0), ended.code, "{ended:?}");
    let shown = ended.json();
    let list = |key: &str| shown[key].as_array().unwrap().clone();
    let pids: Vec<Value> = list("processes").into_iter().map(|p| p["pid"].clone()).collect();
    assert_eq!(vec![Value::from(server.id())], pids);
    let mut sockets: Vec<String> = list("sockets")
        .iter()
        .map(|s| format!("{} {} {} {}", s["protocol"], s["local"], s["state"], s["faults"]).replace('"', ""))
        .collect();
    sockets.sort();
    assert_eq!(vec!["tcp [::]:7700 listening [drop-1]", "udp [::]:7700 listening [drop-1]"], sockets);
    let devices = list("interfaces");
    assert_eq!(1, devices.len());
    assert_eq!(
        ("lo", 2),
        (devices[0]["name"].as_str().unwrap(), devices[0]["addresses"].as_array().unwrap().len())
    );
    let names = shown["faults"][0]["names"]["localhost"].to_string();
    assert!(names.contains("127.0.0.1") && names.contains("::1"), "{names}");

    let text = preview_in_words(&ns, &text);
    for says in [&server.id().to_string(), "tcp [::]:7700 listening", "localhost is 127.0.0.1, ::1"] {
        assert!(text.contains(says), "{says}: {text}");
    }
    for child in [&mut server, &mut neighbour] {
        let _killed = child.kill();
        let _reaped = child.wait();
    }
}

fn what_a_run_would_refuse_is_refused() {
    let ns = NetNs::new();
    for (text, says) in [
        (
            "cgroup = \"/absent-of-kchaos\"\n[[fault]]\nkind = \"drop\"\n",
            "there is no cgroup /absent-of-kchaos",
        ),
        (
            "host = true\n[[fault]]\nkind = \"drop\"\nprotocol = \"icmp\"\npeer = \":80\"\n",
            "icmp has no ports",
        ),
    ] {
        let ended = preview(&ns, &format!("duration = \"10s\"\n[target]\n{text}"));
        assert_eq!(Some(2), ended.code, "{ended:?}");
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}
