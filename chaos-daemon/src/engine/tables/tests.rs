//! The compiled tables against the plain meaning of the file: for random addresses and ports, the rules that the tables
//! give are exactly those whose networks and ports contain them.

mod hooks;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chaos_common::table::{Nodes, WORD_BITS, row_of, words_of};
use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::config::parse;

const UDP: u8 = 17;

fn compile(faults: &str) -> Tables {
    compile_into(faults, Half::FIRST)
}

fn compile_into(faults: &str, half: Half) -> Tables {
    let text = format!("duration = \"10s\"\n[target]\nhost = true\n{faults}");
    let experiment = parse("test", &text, "test").unwrap();
    Tables::compile(&experiment, &Addresses::new(), &Protected::default(), 1, half).unwrap()
}

/// The kernel's maps, of which only one half is written.
struct Maps<'a>(&'a Tables, Half);

impl Nodes for Maps<'_> {
    fn entry(&self, block: u32, byte: u8) -> Option<u32> {
        Some(self.0.blocks[(block - self.1.blocks()) as usize].entries[usize::from(byte)])
    }

    fn short_cut(&self, number: u32) -> Option<&ShortCut> {
        Some(&self.0.short_cuts[(number - self.1.short_cuts()) as usize])
    }
}

/// What the kernel does: a row for each field, and what all agree on.
fn clauses(tables: &Tables, half: Half, peer: IpAddr, ports: Option<(u16, u16)>) -> Bits {
    let row = |number: u16| Bits(tables.rows[usize::from(number - half.rows())].words);
    let mut address = [0; 16];
    let root = match peer {
        IpAddr::V4(a) => {
            address[..4].copy_from_slice(&a.octets());
            &tables.roots[0]
        }
        IpAddr::V6(a) => {
            address = a.octets();
            &tables.roots[1]
        }
    };
    let entry = root[usize::from(u16::from_be_bytes([address[0], address[1]]))];
    let address = row(row_of(&Maps(tables, half), entry, words_of(&address)).unwrap());
    let (near, far) = match ports {
        None => (tables.portless, tables.portless),
        Some((near, far)) => (tables.ports[1][usize::from(near)], tables.ports[0][usize::from(far)]),
    };
    and(&and(&address, &row(near)), &row(far))
}

/// What both have, as the programs find it.
fn and(one: &Bits, other: &Bits) -> Bits {
    let mut both = one.clone();
    both.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    both
}

fn matches(tables: &Tables, peer: &str, ports: Option<(u16, u16)>) -> Vec<usize> {
    matches_in(tables, Half::FIRST, peer.parse().unwrap(), UDP, ports)
}

fn matches_in(
    tables: &Tables,
    half: Half,
    peer: IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
) -> Vec<usize> {
    let egress = tables.protocol[0][usize::from(protocol)];
    let egress = Bits(tables.rows[usize::from(egress - half.rows())].words);
    let found = and(&clauses(tables, half, peer, ports), &egress);
    let mut hit = Vec::new();
    for (word, bits) in found.0.iter().enumerate() {
        let mut left = bits & tables.matching[word];
        while left != 0 {
            let rule =
                usize::from(tables.rule_of[word * WORD_BITS + left.trailing_zeros() as usize] - half.rule(0));
            left &= !tables.rules[rule].clauses & (left - 1);
            if tables.rules[rule].exclude & bits == 0 {
                hit.push(rule);
            }
        }
    }
    hit
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
    let t = Tables::compile(&experiment, &Addresses::new(), &protected, 1, Half::FIRST).unwrap();
    let (word, mask) = t.protected;
    let guards = |peer: &str, ports| {
        mask & clauses(&t, Half::FIRST, peer.parse().unwrap(), ports).0[usize::from(word)] != 0
    };
    assert!(guards("169.254.169.254", Some((1, 80))));
    assert!(guards("169.254.169.254", None));
    assert!(guards("::1", Some((9100, 80))));
    assert!(!guards("10.0.0.1", Some((80, 9100))));
}

#[test]
fn too_many_port_sets_are_refused() {
    let peers: Vec<String> = (1..=65).map(|p| format!("\":{p}\"")).collect();
    let text = format!(
        "duration=\"1s\"\n[target]\nhost=true\n[[fault]]\nkind=\"drop\"\npeer=[{}]\n",
        peers.join(",")
    );
    let experiment = parse("test", &text, "test").unwrap();
    let problem =
        Tables::compile(&experiment, &Addresses::new(), &Protected::default(), 1, Half::FIRST).unwrap_err();
    assert_eq!("\":1\"", &text[problem.span.unwrap()]);
}

#[test]
fn a_thousand_faults_compile_alike_or_apart() {
    let compile = |fault: &dyn Fn(usize) -> String| {
        let faults: String = (0..1024).map(fault).collect();
        let text = format!("duration = \"1s\"\n[target]\nhost = true\n{faults}");
        let experiment = parse("test", &text, "test").unwrap();
        Tables::compile(&experiment, &Addresses::new(), &Protected::default(), 1, Half::FIRST)
    };
    let fault = |port: usize| format!("[[fault]]\nkind = \"drop\"\npeer = \"10.0.0.0/8:{port}\"\n");
    assert!(compile(&|_| fault(80)).is_ok());
    assert!(compile(&|n| fault(n + 1)).is_ok());
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

fn net(peer: &(IpAddr, u8, u16, u16)) -> IpNet {
    IpNet::new(peer.0, peer.1).unwrap().trunc()
}

fn covers(peer: &(IpAddr, u8, u16, u16), ip: IpAddr, port: u16) -> bool {
    net(peer).contains(&ip) && (peer.2..=peer.3).contains(&port)
}

/// A fault: peers, exclusions, near ports, and whether it names UDP.
type Fault = (Vec<(IpAddr, u8, u16, u16)>, Vec<(IpAddr, u8, u16, u16)>, Option<(u16, u16)>, bool);

fn fault() -> impl Strategy<Value = Fault> {
    let near = prop::option::of((1u16..20, 0u16..10).prop_map(|(port, width)| (port, port + width)));
    (prop::collection::vec(peer(), 1..4), prop::collection::vec(peer(), 0..3), near, any::<bool>())
}

fn written((peers, exclude, near, udp): &Fault) -> String {
    let list = |peers: &[(IpAddr, u8, u16, u16)]| {
        let peers: Vec<String> = peers.iter().map(|p| format!("\"[{}]:{}-{}\"", net(p), p.2, p.3)).collect();
        peers.join(", ")
    };
    let mut text = format!("[[fault]]\nkind = \"drop\"\npeer = [{}]\n", list(peers));
    if !exclude.is_empty() {
        text += &format!("exclude = [{}]\n", list(exclude));
    }
    if let Some((first, last)) = near {
        text += &format!("local_port = \"{first}-{last}\"\n");
    }
    if *udp {
        text += "protocol = \"udp\"\n";
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn tables_mean_what_the_file_says(
        faults in prop::collection::vec(fault(), 1..12),
        probes in prop::collection::vec((peer(), 1u16..30, any::<bool>()), 20),
        second in any::<bool>(),
    ) {
        let half = Half { generation: u32::from(second), capacity: Size::LIMIT };
        let tables = compile_into(&faults.iter().map(written).collect::<String>(), half);
        for ((ip, _, far, _), near, udp) in probes {
            let fits = |(peers, exclude, nears, only_udp): &Fault| {
                let near_fits = nears.is_none_or(|(first, last)| (first..=last).contains(&near));
                near_fits && (udp || !only_udp)
                    && peers.iter().any(|p| covers(p, ip, far))
                    && !exclude.iter().any(|p| covers(p, ip, far))
            };
            let expected: Vec<usize> = (0..faults.len()).filter(|i| fits(&faults[*i])).collect();
            let protocol = if udp { UDP } else { 6 };
            let found = matches_in(&tables, half, ip, protocol, Some((near, far)));
            prop_assert_eq!(expected, found, "{} {} {}", ip, near, far);
        }
    }
}

#[test]
fn what_programs_must_do_stays_the_same_when_a_name_gets_addresses() {
    let fault = "[[fault]]\nkind = \"drop\"\npeer = [\"db.example:5432\", \"10.0.0.0/8\"]\nexclude = \"cache.example\"\n";
    let text = format!("duration = \"10s\"\n[target]\nhost = true\n{}", fault.repeat(40));
    let experiment = parse("test", &text, "test").unwrap();
    let named = |db: &[&str]| {
        let of = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        let names = [("db.example".to_owned(), of(db)), ("cache.example".to_owned(), of(&["::1"]))];
        Tables::compile(&experiment, &names.into(), &Protected::default(), 1, Half::FIRST).unwrap().uses()
    };
    let none = named(&[]);
    // Three clauses for each of them, and two that protect.
    assert_eq!((2, 40), (none.words, none.rules));
    assert_eq!(none, named(&["10.1.2.3", "10.1.2.4", "fd00::1"]));
}
