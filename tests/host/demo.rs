//! `kchaos demo` tells a true story, and leaves nothing.

use kchaos_tests::{
    Kchaos, NetNs,
    kchaos::run,
    kernel, scaled, slow,
    suite::{Call, Feature, Level, facts},
};

kchaos_tests::tests! {
    needs(once, TcEgress, full CgroupConnect): the_tour;
    needs(once, TcEgress, full CgroupConnect): its_table_has_a_row_for_every_kind;
    needs(spread, TcEgress): ctrl_c_in_the_middle_leaves_nothing;
}

fn the_tour() {
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
    assert!(row("baseline")["requests"].as_u64().unwrap() > scaled(500), "{rows}");
    // The service is one of kchaos' own processes, which are left alone elsewhere.
    for row in rows.as_array().unwrap() {
        let faults = row["outcome"]["faults"].as_array();
        let hit = |fault: &serde_json::Value| fault["injected"].as_u64().unwrap() > 0;
        assert!(faults.is_none_or(|faults| faults.iter().all(hit)), "{row}");
    }
    let drop = row("drop");
    assert!(drop["outcome"]["faults"][0]["injected"].as_u64().unwrap() > 10, "{rows}");
    // On a slow machine much else takes its time.
    let longer = 10.0 / f64::from(slow());
    assert!(
        drop["p99_ms"].as_f64().unwrap() > longer * row("baseline")["p99_ms"].as_f64().unwrap(),
        "{rows}"
    );
    let connect = row("connect");
    let refused = connect["errors"]["connection refused"].as_u64().unwrap();
    assert_eq!(
        refused,
        connect["outcome"]["faults"][0]["injected"].as_u64().unwrap(),
        "seen and counted agree"
    );
    if facts().level(Feature::Call(Call::Recv)) > Level::No {
        let call = row("call");
        assert!(call["outcome"]["faults"][0]["injected"].as_u64().unwrap() > 0, "{rows}");
    }
    kernel::lists(&ns).assert_as(&before, "afterwards");
    assert!(kernel::cgroups_of(pid).is_empty());
}

fn its_table_has_a_row_for_every_kind() {
    let ended = run(&["demo", "--seconds", "1"]);
    assert_eq!(Some(0), ended.code, "{ended:?}");
    let calls = facts().level(Feature::Call(Call::Recv)) > Level::No;
    let controllers = facts().controllers;
    for kind in chaos_daemon::fault::KINDS {
        let row = ended.stdout.lines().find(|line| line.trim_start().starts_with(kind.name()));
        let row = row.unwrap_or_else(|| panic!("no {} in {}", kind.name(), ended.stdout));
        let works = match kind.name() {
            "call" => calls,
            // Where there are disks.
            "io" if controllers => continue,
            "cpu" | "memory" | "io" => controllers,
            _ => true,
        };
        assert_eq!(works, !row.contains("not on this "), "{}", ended.stdout);
    }
}

fn ctrl_c_in_the_middle_leaves_nothing() {
    // Once it listens to signals: in its first act, and in a later one.
    let start = 300 * u64::from(slow());
    for after in [start, start + 3200] {
        let kchaos = Kchaos::spawn(&["demo", "--seconds", "3"], |_| {});
        let pid = kchaos.pid();
        std::thread::sleep(std::time::Duration::from_millis(after));
        kchaos.signal(nix::sys::signal::Signal::SIGINT);
        let ended = kchaos.wait();
        assert_eq!(Some(3), ended.code, "{ended:?}");
        assert!(kernel::cgroups_of(pid).is_empty(), "after {after} ms");
    }
}
