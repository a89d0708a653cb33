//! `kchaos demo` tells a true story, and leaves nothing.

use kchaos_tests::{Kchaos, NetNs, kchaos::run, kernel, serial};

#[test]
fn the_tour() {
    let _serial = serial();
    let ns = NetNs::new();
    let before = kernel::lists(&ns);
    let kchaos = Kchaos::spawn(&["demo", "--seconds", "2"], |command| ns.place(command));
    let pid = kchaos.pid();
    let ended = kchaos.wait();
    assert_eq!(Some(0), ended.code, "{ended:?}");
    let rows = ended.json();
    let row = |title: &str| {
        rows.as_array()
            .unwrap()
            .iter()
            .find(|r| r["title"] == title)
            .unwrap_or_else(|| panic!("no {title} in {rows}"))
    };
    assert_eq!(0, row("baseline")["errors"].as_object().unwrap().len(), "{rows}");
    assert!(row("baseline")["requests"].as_u64().unwrap() > 500, "{rows}");
    let drop = row("drop");
    assert!(drop["outcome"]["faults"][0]["injected"].as_u64().unwrap() > 10, "{rows}");
    assert!(drop["p99_ms"].as_f64().unwrap() > 10.0 * row("baseline")["p99_ms"].as_f64().unwrap(), "{rows}");
    let connect = row("connect");
    let refused = connect["errors"]["connection refused"].as_u64().unwrap();
    assert_eq!(
        refused,
        connect["outcome"]["faults"][0]["injected"].as_u64().unwrap(),
        "seen and counted agree"
    );
    assert_eq!(before, kernel::lists(&ns));
    assert!(kernel::cgroups_of(pid).is_empty());
}

#[test]
fn its_table_has_a_row_for_every_kind() {
    let _serial = serial();
    let ended = run(&["demo", "--seconds", "1"]);
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert!(!ended.stdout.contains("not on this kernel"), "{}", ended.stdout);
    for kind in chaos_daemon::fault::KINDS {
        assert!(ended.stdout.lines().any(|l| l.trim_start().starts_with(kind.name())), "{}", ended.stdout);
    }
}

#[test]
fn ctrl_c_in_the_middle_leaves_nothing() {
    let _serial = serial();
    for after in [300, 3500] {
        let kchaos = Kchaos::spawn(&["demo", "--seconds", "3"], |_| {});
        let pid = kchaos.pid();
        std::thread::sleep(std::time::Duration::from_millis(after));
        kchaos.signal(nix::sys::signal::Signal::SIGINT);
        let ended = kchaos.wait();
        assert_eq!(Some(3), ended.code, "{ended:?}");
        assert!(kernel::cgroups_of(pid).is_empty(), "after {after} ms");
    }
}
