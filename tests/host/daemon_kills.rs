//! A daemon that is killed at any moment of a start, a run or a stop: nothing stays in force. Ten rounds in the suite,
//! as many as asked for with `cargo xtask kills`.

use std::{env, thread, time::Duration};

use kchaos_tests::{
    Cgroup, NetNs,
    daemon::{Daemon, connect_fault},
    kernel::{self, Held},
    slow,
    suite::{Feature, Level, facts, note},
    traffic::{Server, Sink, calls},
    wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(CgroupConnect, TcEgress, spread): killed_at_any_moment;
}

const PORT: u16 = 7777;

/// How many rounds, and what their moments are drawn from.
const ROUNDS: u64 = 10;
const SEED: u64 = 20_261_122;

/// Within this time after the daemon answers, experiments are handed over, run, and are halted.
const BUSY: Duration = Duration::from_secs(1);

/// Two that look at packets, one of which may make some wait, and one that looks at calls.
fn experiments(target: &Cgroup, other: &Cgroup, delays: bool) -> [String; 3] {
    let packets = |name: &str, cgroup: &Cgroup, fault: &str| {
        format!(
            "name = \"{name}\"\nduration = \"60s\"\nalongside = true\n[target]\ncgroup = \"{}\"\n[[fault]]\n{fault}\n",
            cgroup.name()
        )
    };
    let waits = if delays { "kind = \"delay\"\ndelay = \"5ms\"" } else { "kind = \"duplicate\"" };
    [
        packets("drops", target, "kind = \"drop\"\ndirection = \"both\""),
        packets("waits", other, waits),
        connect_fault("calls", target, "60s", PORT).replace("[target]", "alongside = true\n[target]"),
    ]
}

fn killed_at_any_moment() {
    let rounds = env::var("KCHAOS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let (ns, target, other, neighbour) =
        (NetNs::new(), Cgroup::new("target"), Cgroup::new("other"), Cgroup::new("neighbour"));
    let before = kernel::lists(&ns);
    // A clean-up finds a network namespace by the processes in it.
    let _resident = Server::start(&ns, &neighbour, "7361");
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let (mut held_some, mut noted) = (0, 0);
    for round in 0..rounds {
        let delays = facts().level(Feature::DelayLine) != Level::No;
        let daemon = Daemon::start(&ns, "");
        let held = killed_while_busy(&daemon, &experiments(&target, &other, delays), round);
        let (_, _folder) = daemon.wait();
        held_some += u64::from(!held.is_empty());
        let limit = Duration::from_secs(5);
        wait_for("programs, maps and links are gone", limit, || {
            held.alive().is_empty() || !kernel::has_tcx()
        });
        // What an old kernel keeps is inert when its lease has run out; a clean-up needs nobody who remembers.
        let clean = kchaos_tests::kchaos::run(&["clean", "--output", "json"]);
        assert_eq!(Some(0), clean.code, "round {round}: {clean:?}");
        kernel::lists(&ns).assert_as(&before, &format!("after round {round}"));
        wait_for("programs, maps and links are gone", limit, || held.alive().is_empty());
        for cgroup in [&target, &other, &neighbour] {
            let seen = calls(&ns, cgroup, &["udp-connect", &format!("127.0.0.1:{PORT}"), "5"]);
            assert_eq!(5, seen.ok, "round {round}: {seen:?}");
            // To the sender, a packet that is dropped on its way out is a success.
            let before = sink.count();
            let seen = calls(&ns, cgroup, &["udp-send", &sink.address.to_string(), "5"]);
            assert_eq!(5, seen.ok, "round {round}: {seen:?}");
            wait_for("all packets arrive", limit, || sink.count() == before + 5);
        }
        noted += notes();
        assert_eq!(0, daemon_cgroups(), "round {round}");
    }
    note(&format!(
        "kills: {held_some} of {rounds} rounds ended with programs loaded, {noted} left a note behind"
    ));
    assert!(rounds < 10 || held_some > 0, "never killed while there was something to leave behind");
}

/// Hands everything over, halts some, and kills it at a moment drawn for this round. Answers with what it held then.
fn killed_while_busy(daemon: &Daemon, experiments: &[String], round: u64) -> Held {
    let draw = chaos_common::draw::mix(SEED + round);
    let moment = BUSY * slow() * u32::try_from(draw % 1000).unwrap() / 1000;
    thread::scope(|scope| {
        scope.spawn(|| {
            for experiment in experiments {
                // Its answer is lost with the daemon.
                let _cut_short = daemon.apply_unchecked(experiment);
            }
            let _cut_short = daemon.run(&["halt", "waits"]);
            let _cut_short = daemon.run(&["halt", "--all"]);
        });
        thread::sleep(moment);
        // Nothing is added between the look and the end.
        daemon.signal(Signal::SIGSTOP);
        let held = daemon.held();
        daemon.signal(Signal::SIGKILL);
        held
    })
}

/// Notes of what ran, which the next daemon reads.
fn notes() -> usize {
    let entries = std::fs::read_dir("/run/kchaos").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("running-")).count()
}

/// Cgroups that a kchaos has made.
fn daemon_cgroups() -> usize {
    let root = chaos_daemon::target::Hierarchy::find().unwrap();
    let entries = std::fs::read_dir(root.mount()).unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("kchaos-")).count()
}
