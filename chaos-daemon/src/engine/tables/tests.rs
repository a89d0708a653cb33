//! The compiled tables against the plain meaning of the file: for random addresses and ports, the clauses that the tables
//! give are exactly those whose network and ports contain them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chaos_common::clause_mask;
use proptest::prelude::*;

use super::*;
use crate::config::parse;

fn compile(faults: &str) -> Tables {
    let text = format!("duration = \"10s\"\n[target]\nhost = true\n{faults}");
    let experiment = parse("test", &text, "test").unwrap();
    Tables::compile(&experiment, &Addresses::new(), &Protected::default(), 1).unwrap()
}

/// What the kernel does: the longest prefix of each table, and what all agree on.
fn clauses(tables: &Tables, peer: IpAddr, ports: Option<(u16, u16)>) -> u64 {
    fn longest<const N: usize>(table: &Prefixes<[u8; N]>, key: [u8; N], bits: u32) -> u64 {
        (0..=bits).rev().find_map(|l| table.get(&(masked(key, l), l))).copied().unwrap_or(0)
    }
    let address = match peer {
        IpAddr::V4(a) => longest(&tables.peer4, a.octets(), 32),
        IpAddr::V6(a) => longest(&tables.peer6, a.octets(), 128),
    };
    match ports {
        None => address & clause_mask(tables.scope.portless),
        Some((near, far)) => {
            address
                & longest(&tables.far_ports, port_key(far), PORT_BITS)
                & longest(&tables.near_ports, port_key(near), PORT_BITS)
        }
    }
}

fn matches(tables: &Tables, peer: &str, ports: Option<(u16, u16)>) -> Vec<usize> {
    let found = clauses(tables, peer.parse().unwrap(), ports);
    let hit = |r: &Rule| r.clauses & found != 0 && r.exclude & found == 0;
    tables.rules.iter().enumerate().filter(|(_, r)| hit(r)).map(|(i, _)| i).collect()
}

const THREE: &str = r#"
[[fault]]
kind = "drop"
peer = ["10.0.0.0/8:5432-5433", "[2001:db8::/32]:443"]
exclude = "10.0.0.7"
[[fault]]
kind = "drop"
local_port = 6379
[[fault]]
kind = "drop"
peer = "10.1.0.0/16"
"#;

#[test]
fn a_table_of_packets() {
    let t = compile(THREE);
    assert_eq!(vec![0], matches(&t, "10.0.0.1", Some((999, 5432))));
    assert_eq!(vec![0, 2], matches(&t, "10.1.0.1", Some((999, 5433))));
    assert_eq!(vec![0, 1, 2], matches(&t, "10.1.0.1", Some((6379, 5433))));
    assert_eq!(Vec::<usize>::new(), matches(&t, "10.0.0.1", Some((999, 5434))), "port above the range");
    assert_eq!(Vec::<usize>::new(), matches(&t, "10.0.0.7", Some((999, 5432))), "excluded");
    assert_eq!(vec![1], matches(&t, "10.0.0.7", Some((6379, 5432))), "excluded from one fault only");
    assert_eq!(vec![0], matches(&t, "2001:db8::5", Some((999, 443))));
    assert_eq!(Vec::<usize>::new(), matches(&t, "2001:db9::5", Some((999, 443))));
    assert_eq!(vec![1], matches(&t, "2001:db9::5", Some((6379, 443))));
    assert_eq!(vec![2], matches(&t, "10.1.0.1", None), "without ports only what asks for none");
    assert_eq!(Vec::<usize>::new(), matches(&t, "11.0.0.1", None));
}

#[test]
fn a_fault_without_peers_matches_both_families() {
    let t = compile("[[fault]]\nkind = \"drop\"\n");
    for peer in ["127.0.0.1", "::1", "255.255.255.255", "ffff::"] {
        assert_eq!(vec![0], matches(&t, peer, Some((1, 1))));
        assert_eq!(vec![0], matches(&t, peer, None));
    }
}

#[test]
fn peers_with_the_same_ports_share_a_clause() {
    let t = compile("[[fault]]\nkind = \"drop\"\npeer = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"[::1]:80\"]\n");
    assert_eq!(1, t.rules[0].clauses.count_ones());
}

#[test]
fn protected_far_ends_and_ports_are_known() {
    let text = "duration = \"10s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\n";
    let experiment = parse("test", text, "test").unwrap();
    let protected = Protected {
        peers: vec!["169.254.169.254/32".parse().unwrap()],
        local_ports: vec![9100],
        ..Protected::default()
    };
    let t = Tables::compile(&experiment, &Addresses::new(), &protected, 1).unwrap();
    let mask = clause_mask(t.scope.protected);
    assert_ne!(0, mask & clauses(&t, "169.254.169.254".parse().unwrap(), Some((1, 80))));
    assert_ne!(0, mask & clauses(&t, "169.254.169.254".parse().unwrap(), None));
    assert_ne!(0, mask & clauses(&t, "::1".parse().unwrap(), Some((9100, 80))));
    assert_eq!(0, mask & clauses(&t, "10.0.0.1".parse().unwrap(), Some((80, 9100))));
}

#[test]
fn too_many_port_sets_are_refused_at_their_place() {
    let peers: Vec<String> = (1..=65).map(|p| format!("\":{p}\"")).collect();
    let text = format!(
        "duration=\"1s\"\n[target]\nhost=true\n[[fault]]\nkind=\"drop\"\npeer=[{}]\n",
        peers.join(",")
    );
    let experiment = parse("test", &text, "test").unwrap();
    let problem = Tables::compile(&experiment, &Addresses::new(), &Protected::default(), 1).unwrap_err();
    assert_eq!("\":65\"", &text[problem.span.unwrap()]);
}

/// Few distinct values, so that networks nest and ports collide.
fn peer() -> impl Strategy<Value = (IpAddr, u8, u16, u16)> {
    (any::<bool>(), 0u8..4, 0u8..4, 0usize..5, 1u16..40, 0u16..20).prop_map(
        |(v6, a, b, length, port, width)| {
            let ip = if v6 {
                IpAddr::V6(Ipv6Addr::new(0x2001, u16::from(a), 0, 0, 0, 0, 0, u16::from(b)))
            } else {
                IpAddr::V4(Ipv4Addr::new(10, a, 0, b))
            };
            let lengths: [u8; 5] = if v6 { [0, 16, 32, 127, 128] } else { [0, 8, 16, 31, 32] };
            (ip, lengths[length], port, port + width)
        },
    )
}

proptest! {
    #[test]
    fn tables_mean_what_the_file_says(
        rules in prop::collection::vec(prop::collection::vec(peer(), 1..4), 1..6),
        probes in prop::collection::vec(peer(), 20),
    ) {
        let net = |(ip, length, ..): &(IpAddr, u8, u16, u16)| IpNet::new(*ip, *length).unwrap().trunc();
        let faults: Vec<String> = rules.iter().map(|peers| {
            let peers: Vec<String> =
                peers.iter().map(|p| format!("\"[{}]:{}-{}\"", net(p), p.2, p.3)).collect();
            format!("[[fault]]\nkind = \"drop\"\npeer = [{}]\n", peers.join(", "))
        }).collect();
        let tables = compile(&faults.concat());
        for (ip, _, port, _) in probes {
            let expected: Vec<usize> = rules.iter().enumerate().filter(|(_, peers)| {
                peers.iter().any(|p| net(p).contains(&ip) && (p.2..=p.3).contains(&port))
            }).map(|(i, _)| i).collect();
            prop_assert_eq!(expected, matches(&tables, &ip.to_string(), Some((7, port))), "{} {}", ip, port);
        }
    }
}
