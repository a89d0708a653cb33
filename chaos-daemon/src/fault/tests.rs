//! What a fault of a file tells the kernel.

use chaos_common::{
    corrupt, delay,
    draw::{SCALE, threshold},
    pattern::{CORRELATED, EVERY, FIRST, GILBERT, INDEPENDENT},
    rate,
    redirect::Part,
    reject,
    rule::{FLAG_FLOWS, Rule, action, hook},
    scope::{FLAG_FILE_TYPES, FLAG_PROGRAMS, FLAG_USERS},
};

use crate::{
    bpf::{Feature, call::Call},
    config::{FaultSpec, parse, value::Protocol},
    engine::Facts,
};

fn fault(fields: &str) -> FaultSpec {
    let text = format!("duration = \"10s\"\n[target]\nhost = true\n[[fault]]\nkind = {fields}\n");
    parse("test", &text, "test").unwrap_or_else(|e| panic!("{e:?}")).faults.remove(0)
}

/// The rule, as the tables make it of the fault.
fn rule(fields: &str) -> Rule {
    let spec = fault(fields);
    let mut rule = Rule { threshold: spec.probability.threshold(), ..Rule::default() };
    spec.fault.encode(&mut rule);
    rule
}

#[test]
fn delays() {
    let plain = rule("\"delay\"\ndelay = \"3s\"");
    assert_eq!((action::DELAY, [3_000_000_000, 0, delay::UNIFORM, 0]), (plain.action, plain.numbers));
    let spread =
        "\"delay\"\ndelay = \"3s\"\njitter = \"500ms\"\ndistribution = \"pareto\"\ncorrelation = \"25%\"";
    assert_eq!([3_000_000_000, 500_000_000, delay::PARETO, SCALE / 4], rule(spread).numbers);
    assert_eq!(
        "delay packets sent by 3s, jitter 500ms pareto, correlation 25%",
        fault(spread).fault.describe()
    );
    let reorder = rule("\"reorder\"\nprobability = \"5%\"");
    assert_eq!((action::REORDER, 5_000_000), (reorder.action, reorder.numbers[0]));
}

#[test]
fn rates() {
    let numbers = rule("\"rate\"\nrate = \"10Mbit\"").numbers;
    // A packet of 1,514 bytes is more than a millisecond's.
    assert_eq!([1_250_000, 1_211_200, rate::OF_RULE, 0], numbers);
    assert_eq!(1_000_000, rule("\"rate\"\nrate = \"1Gbit\"").numbers[rate::BURST_NS]);
    let flow = rule("\"rate\"\nrate = \"1MB/s\"\nburst = \"64KiB\"\nper = \"flow\"");
    assert_eq!((action::RATE, [1_000_000, 65_536_000, rate::OF_FLOW, 0]), (flow.action, flow.numbers));
}

#[test]
fn corruption() {
    assert_eq!([1, corrupt::DISCARDED, 0, 0], rule("\"corrupt\"").numbers);
    assert_eq!([3, corrupt::DELIVERED, 0, 0], rule("\"corrupt\"\nchecksum = \"valid\"\nbits = 3").numbers);
    assert_eq!(action::DUPLICATE, rule("\"duplicate\"").action);
}

#[test]
fn resets() {
    let plain = rule("\"reset\"");
    assert_eq!((action::RESET, [0; 4], SCALE), (plain.action, plain.numbers, plain.threshold));
    assert_eq!([65_536, 0, 0, 0], rule("\"reset\"\nafter = \"64KiB\"").numbers);
    let old = "\"reset\"\nafter = \"2s\"\nidle = true";
    assert_eq!([0, 2_000_000_000, 0, 0], rule(old).numbers);
    assert!(fault(old).fault.cuts_idle() && !fault("\"reset\"").fault.cuts_idle());
    assert_eq!("cut connections by packets sent after 2s, idle ones too", fault(old).fault.describe());
    // A connection is drawn for, not its packets.
    let some = rule("\"reset\"\nprobability = \"30%\"");
    assert_eq!((SCALE, threshold(0.3), FLAG_FLOWS), (some.threshold, some.flows, some.flags));
    assert_eq!(Some(Protocol::Tcp), fault("\"reset\"").side.protocol);
}

#[test]
fn rejections_and_partitions() {
    for (number, with) in (0..).zip(["port", "host", "network", "admin"]) {
        let fields = format!("\"reject\"\nwith = \"{with}\"");
        assert_eq!((action::REJECT, number), (rule(&fields).action, rule(&fields).numbers[reject::WITH]));
    }
    assert_eq!(
        rule("\"reject\"\nwith = \"admin-prohibited\"").numbers,
        rule("\"reject\"\nwith = \"admin\"").numbers
    );
    let zone = "\"partition\"\npeer = \"10.0.0.0/8\"";
    assert_eq!(action::DROP, rule(zone).action);
    let refusing = format!("{zone}\nbehaviour = \"reject\"");
    assert_eq!(action::REJECT, rule(&refusing).action);
    assert_eq!(hook::EGRESS | hook::ARRIVAL, fault(&refusing).fault.hooks());
}

#[test]
fn redirects() {
    let port = Part::same_address(5433).0;
    let plain = rule("\"connect\"\nredirect = \":5433\"");
    assert_eq!((action::REDIRECT, [0, 0, port, port]), (plain.action, plain.numbers));
    let both = "\"connect\"\nredirect = [\"[fd00::9]:5433\", \"10.0.0.9\"]";
    let numbers = [0xfd, 0x0900_0000_0000_0000, Part::v4([10, 0, 0, 9], 0).0, Part::v6(5433).0];
    assert_eq!(numbers, rule(both).numbers);
    let one = "\"connect\"\nredirect = \"::ffff:10.0.0.9\"";
    assert_eq!([0, 0, Part::v4([10, 0, 0, 9], 0).0, Part::NONE.0], rule(one).numbers);
    let says = |fields: &str| fault(fields).fault.describe();
    assert_eq!("send connects to port 5433", says("\"connect\"\nredirect = \":5433\""));
    assert_eq!("send connects to [fd00::9]:5433 or 10.0.0.9", says(both));
    // The call goes on, so any kernel will do.
    let redirect = fault(both).fault;
    assert_eq!(
        (hook::CONNECT | hook::SEND_TO, [Feature::CgroupConnect.any_way()].as_slice()),
        (redirect.hooks(), redirect.needs())
    );
}

#[test]
fn calls() {
    let read = fault("\"call\"\ncall = \"read\"\nerrno = \"EIO\"\nlimit = 3");
    assert_eq!((hook::READ, "fail read with EIO".to_owned()), (read.fault.hooks(), read.fault.describe()));
    assert_eq!(Some(3), read.limit);
    let rule = rule("\"call\"\ncall = \"open\"\nerrno = \"EMFILE\"");
    assert_eq!((action::ERRNO, 24), (rule.action, rule.errno));
    // Connects by address are caught where they cost others nothing.
    let by = |peer: &str| {
        let spec = fault(&format!("\"call\"\ncall = \"connect\"\nerrno = \"EIO\"\npeer = \"{peer}\""));
        (spec.fault.hooks(), spec.fault.needs()[0].feature, spec.side.peers.len())
    };
    assert_eq!((hook::CONNECT, Feature::CgroupConnect, 1), by("10.0.0.1:80"));
    assert_eq!((hook::CONNECT_UNIX, Feature::Call(Call::Connect), 0), by("unix:/run/x.sock"));
    let hooks = Call::ALL.iter().fold(0, |all, call| all | call.hook());
    assert_eq!(Call::ALL.len(), hooks.count_ones() as usize, "two calls share a hook");
}

/// Every distinct condition is one bit, and a list is one condition.
#[test]
fn conditions_of_calls_are_numbered() {
    let faults = ["uid = 33", "uid = [33, 34]\ncomm = \"redis-server\"", "uid = 33\nfile = \"device\""]
        .map(|more| fault(&format!("\"call\"\ncall = \"read\"\nerrno = \"EIO\"\n{more}")));
    let mut rules = [Rule::default(); 3];
    let facts = Facts::of(&faults, &mut rules).unwrap();
    assert_eq!([0b1, 0b110, 0b1001], rules.map(|rule| rule.facts));
    assert_eq!(Some(&0b011), facts.users.get(&33));
    assert_eq!(Some(&0b010), facts.users.get(&34));
    let devices: Vec<usize> = (0..16).filter(|kind| facts.types.facts[*kind] == 0b1000).collect();
    assert_eq!(vec![2, 6], devices, "character and block devices");
    assert_eq!(FLAG_USERS | FLAG_PROGRAMS | FLAG_FILE_TYPES, facts.flags());
}

#[test]
fn patterns() {
    let plain = rule("\"drop\"\nprobability = \"10%\"");
    assert_eq!((INDEPENDENT, threshold(0.1)), (plain.pattern, plain.threshold));
    let correlated = rule("\"drop\"\nprobability = \"10%\"\ncorrelation = \"50%\"");
    assert_eq!((CORRELATED, threshold(0.1)), (correlated.pattern, correlated.threshold));
    assert_eq!(SCALE / 2, correlated.shares[0]);
    let model = rule("\"drop\"\np = \"1%\"\nr = \"25%\"\nh = \"50%\"\nk = \"99%\"");
    assert_eq!((GILBERT, threshold(0.01 / 0.26)), (model.pattern, model.threshold));
    assert_eq!([0.01, 0.25, 0.5, 0.01].map(threshold), model.shares);
    // netem's defaults: r = 100% - p, all lost in the bad state, none in the good one.
    assert_eq!([0.2, 0.8, 1.0, 0.0].map(threshold), rule("\"drop\"\np = \"20%\"").shares);
    // 5 % lost in bursts of 4: r = 1/4, and p / (p + r) = 5 %.
    let bursts = rule("\"drop\"\nprobability = \"5%\"\nburst_length = 4");
    assert_eq!([0.25 * 0.05 / 0.95, 0.25, 1.0, 0.0].map(threshold), bursts.shares);
    assert!(bursts.threshold.abs_diff(threshold(0.05)) <= 1);
    for (field, pattern) in [("every", EVERY), ("first", FIRST)] {
        let counted = rule(&format!("\"drop\"\n{field} = 3"));
        assert_eq!((pattern, SCALE, 3), (counted.pattern, counted.threshold, counted.shares[0]));
    }
}

/// A cgroup program can lose what is received; whatever else is done to it takes a device.
#[test]
fn what_is_received_is_lost_at_the_socket_and_changed_at_the_device() {
    let both = "\ndirection = \"both\"";
    assert_eq!(hook::EGRESS | hook::INGRESS, fault(&format!("\"drop\"{both}")).fault.hooks());
    assert_eq!(hook::EGRESS | hook::INGRESS, fault("\"partition\"\npeer = \"10.0.0.0/8\"").fault.hooks());
    for kind in [
        "\"reset\"",
        "\"reject\"",
        "\"delay\"\ndelay = \"1s\"",
        "\"rate\"\nrate = \"1Mbit\"",
        "\"reorder\"\nprobability = 0.1",
        "\"duplicate\"",
        "\"corrupt\"",
    ] {
        let spec = fault(&format!("{kind}{both}"));
        assert_eq!(hook::EGRESS | hook::ARRIVAL, spec.fault.hooks(), "{kind}");
        let needs: Vec<Feature> = spec.fault.needs().iter().map(|need| need.feature).collect();
        let mut rule = Rule::default();
        spec.fault.encode(&mut rule);
        // Copies of what arrives on lo need its settings.
        let line = action::WAITS | 1 << action::DUPLICATE;
        assert_eq!(action::is_one_of(rule.action, line), needs.contains(&Feature::DelayLine), "{kind}");
        assert!(needs.contains(&Feature::TcEgress) && needs.contains(&Feature::TcIngress), "{kind}");
        assert!(!needs.contains(&Feature::CgroupIngress), "{kind}");
    }
}
