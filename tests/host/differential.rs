//! The kernel's matcher against its model: random rules, random packets through the real programs and random calls of a
//! real process; every one is counted for exactly the rules that the model names.
//!
//! The rules begin minutes after the packets have been: so nothing is hit, no rule ends the evaluation, and `matched`
//! says which of them the kernel found. Values are few, so that networks nest, ports collide and exclusions bite.

mod random;

use std::{collections::BTreeMap, io::Write, process::Stdio};

use chaos_common::{rule::hook, uses::Uses};
use chaos_daemon::{
    bpf::{Feature, Need, Object},
    config::{self, Experiment},
    engine::{
        Half, Size, Tables, boot_ns,
        model::{self, Ports, Seen},
    },
    guard::protected::Protected,
    target::Hierarchy,
};
use kchaos_tests::{Cgroup, NetNs, programs::ROOT, scaled, suite::note, traffic};
use random::{Call, Random, Shape, Shown};

kchaos_tests::tests! {
    needs(spread, TcEgress, CgroupIngress): packets_fit_the_rules_that_the_model_names;
    needs(spread, TcEgress): every_rule_that_fits_is_asked;
    needs(spread, CgroupConnect): calls_fit_the_rules_that_the_model_names;
}

/// Packets in all, on a machine that is not slow.
const PACKETS: u64 = 1_000_000;
/// Packets for one set of rules.
const FOR_ONE_SET: u64 = 10_000;
/// Packets between two looks at the counters.
const BATCH: u64 = 20;
const SEED: u64 = 2026;

/// The programs, and the rules in force.
struct Under {
    object: Object,
    tables: Tables,
    experiment: Experiment,
}

impl Under {
    fn new(random: &mut Random, shape: Shape, needs: &[Need]) -> Self {
        Self::with(compiled(random, shape, Half::FIRST), needs)
    }

    fn with((experiment, tables): (Experiment, Tables), needs: &[Need]) -> Self {
        let mut object = Object::load(needs, Size::LIMIT, Uses::ALL).unwrap();
        object.fill(&tables).unwrap();
        object.arm(&tables, boot_ns(), u64::MAX).unwrap();
        Self { object, tables, experiment }
    }

    /// Other rules, in the place of these.
    fn change(&mut self, random: &mut Random, shape: Shape) {
        let half = self.object.other_half(&self.tables);
        (self.experiment, self.tables) = compiled(random, shape, half);
        self.object.replace(&self.tables, boot_ns()).unwrap();
    }

    fn matched(&self) -> Vec<u64> {
        let counters = self.object.counters(self.tables.rules.len()).unwrap();
        counters.iter().map(|counters| counters.matched).collect()
    }

    /// Adds one to each rule that the model names.
    fn expect(&self, hook: u32, seen: &Seen, expected: &mut [u64]) {
        for (fault, count) in self.experiment.faults.iter().zip(expected) {
            *count += u64::from(model::fits(fault, &BTreeMap::new(), hook, seen));
        }
    }
}

/// Rules that can be compiled: those that need more room than there is are made anew.
fn compiled(random: &mut Random, shape: Shape, half: Half) -> (Experiment, Tables) {
    loop {
        if let Some(done) = compile(&random.faults(shape), half) {
            return done;
        }
    }
}

fn compile(faults: &str, half: Half) -> Option<(Experiment, Tables)> {
    let text = format!("duration = \"30m\"\n[target]\nhost = true\n{faults}");
    let experiment = config::parse("random", &text, "random").unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let mut tables =
        Tables::compile(&experiment, &BTreeMap::new(), &Protected::default(), SEED, half).ok()?;
    // The same packet may come twice, and is judged twice.
    tables.scope.tag = 0;
    Some((experiment, tables))
}

fn packets_fit_the_rules_that_the_model_names() {
    let mut random = Random::new(SEED);
    let needs = [Feature::TcEgress.any_way(), Feature::CgroupIngress.in_full()];
    let mut under = Under::new(&mut random, Shape::Packets, &needs);
    under.object.aim(ROOT, 0).unwrap();
    let (mut packets, mut matches, mut rules) = (0, 0, 0);
    while packets < scaled(PACKETS) {
        under.change(&mut random, Shape::Packets);
        rules += under.tables.rules.len();
        for _ in 0..FOR_ONE_SET / BATCH {
            let before = under.matched();
            let mut expected = before.clone();
            let batch: Vec<Shown> = (0..BATCH).map(|_| random.packet()).collect();
            for shown in &batch {
                // Seen from the other end, the same packet is one that arrives.
                let (program, hook, packet) = if random.below(2) == 0 {
                    ("kchaos_egress", hook::EGRESS, shown.packet.bytes())
                } else {
                    ("kchaos_ingress", hook::INGRESS, shown.arriving.bytes())
                };
                under.object.test_run(program, &packet, 1).unwrap();
                under.expect(hook, &shown.seen, &mut expected);
            }
            assert_eq!(
                expected,
                under.matched(),
                "after {packets} packets, among {:?} with\n{:#?}",
                batch.iter().map(|shown| shown.seen).collect::<Vec<_>>(),
                under.experiment.faults
            );
            matches += expected.iter().sum::<u64>() - before.iter().sum::<u64>();
            packets += BATCH;
        }
    }
    note(&format!("{packets} packets, {rules} rules, {matches} matches"));
    assert!(matches > packets / 4, "too few matches to say anything");
}

/// A thousand rules fit one packet: none of them is left out.
fn every_rule_that_fits_is_asked() {
    const FAULT: &str = "[[fault]]\nkind = \"drop\"\nstart_after = \"20m\"\n";
    let mut random = Random::new(SEED);
    let needs = [Feature::TcEgress.any_way()];
    let mut under = Under::with(compile(&FAULT.repeat(1024), Half::FIRST).unwrap(), &needs);
    under.object.aim(ROOT, 0).unwrap();
    let mut expected = vec![0; 1024];
    for _ in 0..100 {
        let shown = random.packet();
        under.object.test_run("kchaos_egress", &shown.packet.bytes(), 1).unwrap();
        under.expect(hook::EGRESS, &shown.seen, &mut expected);
    }
    assert!(expected[0] > 50, "too few packets fit");
    assert_eq!(expected, under.matched());
}

/// TCP and UDP connects and UDP sends of both families, to addresses that lead nowhere.
fn calls_fit_the_rules_that_the_model_names() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("caller"));
    let mut random = Random::new(SEED);
    let mut under = Under::new(&mut random, Shape::Calls, &[Feature::CgroupConnect.any_way()]);
    under.object.attach_cgroup(&Hierarchy::find().unwrap().cgroup(cgroup.name()).unwrap()).unwrap();
    let (mut made, mut matches) = (0, 0);
    while made < scaled(40_000) {
        under.change(&mut random, Shape::Calls);
        let before = under.matched();
        let mut expected = before.clone();
        let calls: Vec<Call> = (0..1000).map(|_| random.call()).collect();
        for Call { protocol, to, .. } in &calls {
            let ports = Ports::Known { near: None, far: to.port() };
            // An IPv4 address in an IPv6 one is an IPv4 peer.
            let seen = Seen { far: to.ip().to_canonical(), protocol: *protocol, ports };
            under.expect(hook::CONNECT, &seen, &mut expected);
        }
        let lines: Vec<String> = calls.iter().map(|call| format!("{} {}", call.verb, call.to)).collect();
        let mut child = traffic::helper(&ns, &cgroup, &["call-each"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(expected, under.matched(), "after {made} calls");
        matches += expected.iter().sum::<u64>() - before.iter().sum::<u64>();
        made += 1000;
    }
    note(&format!("{made} calls, {matches} matches"));
    assert!(matches > made / 2, "too few matches to say anything");
}
