//! What a fault of a file tells the kernel.

use chaos_common::{
    corrupt, delay,
    draw::{SCALE, threshold},
    pattern::{CORRELATED, EVERY, FIRST, GILBERT, INDEPENDENT},
    rate,
    rule::{Rule, action, hook},
};

use crate::{
    bpf::Feature,
    config::{FaultSpec, parse},
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
    for kind in [
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
