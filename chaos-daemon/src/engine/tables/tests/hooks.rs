//! Which rules are asked where, and what the programs must find out for them.

use chaos_common::{
    rule::hook::{ARRIVAL, EGRESS, INGRESS},
    scope,
};

use super::UDP;
use crate::{
    config::parse,
    engine::tables::{Addresses, Half, Tables},
    guard::protected::Protected,
};

fn compile_for(target: &str, faults: &str) -> Tables {
    let text = format!("duration = \"10s\"\n[target]\n{target}\n{faults}");
    let experiment = parse("test", &text, "test").unwrap();
    Tables::compile(&experiment, &Addresses::new(), &Protected::default(), 1, Half::FIRST).unwrap()
}

/// Which rules are asked at a hook about UDP.
fn asked_at(tables: &Tables, hook: u32) -> Vec<usize> {
    let row = tables.protocol[hook.trailing_zeros() as usize][usize::from(UDP)];
    let words = tables.rows[usize::from(row)].words;
    (0..tables.rules.len()).filter(|rule| words[0] & tables.rules[*rule].clauses != 0).collect()
}

#[test]
fn what_is_received_is_judged_at_devices_where_a_namespace_is_the_target() {
    let faults = "[[fault]]\nkind = \"drop\"\ndirection = \"ingress\"\n\
                  [[fault]]\nkind = \"duplicate\"\ndirection = \"ingress\"\n\
                  [[fault]]\nkind = \"corrupt\"\ndirection = \"egress\"\n";
    let host = compile_for("host = true", faults);
    assert_eq!([vec![0], vec![1], vec![2]], [INGRESS, ARRIVAL, EGRESS].map(|hook| asked_at(&host, hook)));
    let namespace = compile_for("netns = \"blue\"", faults);
    assert_eq!([vec![0, 1], vec![2]], [ARRIVAL, EGRESS].map(|hook| asked_at(&namespace, hook)));
}

#[test]
fn connections_are_told_apart_where_a_rule_needs_it() {
    let flags = |fields: &str| {
        compile_for("host = true", &format!("[[fault]]\nkind = {fields}\n")).scope.flags & scope::FLAG_FLOWS
    };
    for plain in ["\"drop\"", "\"drop\"\nevery = 3", "\"duplicate\"", "\"corrupt\""] {
        assert_eq!(0, flags(plain), "{plain}");
    }
    for apart in [
        "\"delay\"\ndelay = \"1ms\"",
        "\"rate\"\nrate = \"1Mbit\"",
        "\"reorder\"\nprobability = \"1%\"",
        "\"drop\"\nfirst = 3",
        "\"drop\"\nflows = \"10%\"",
    ] {
        assert_ne!(0, flags(apart), "{apart}");
    }
}
