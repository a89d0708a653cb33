//! Random rules, packets and calls, always the same for a seed.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use chaos_common::draw::mix;
use chaos_daemon::engine::model::{Ports, Seen};

use crate::packets::build::{DCCP, HOP_BY_HOP, ICMP, ICMPV6, Packet, TCP, UDP};

/// A protocol that has no ports.
const ESP: u8 = 50;

/// What rules are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Packets,
    Calls,
}

/// A packet, and what it shows to a program.
pub struct Shown {
    /// As its sender sends it.
    pub packet: Packet,
    /// As its sender gets it, from its far end.
    pub arriving: Packet,
    pub seen: Seen,
}

/// A call to make.
pub struct Call {
    /// What `kct call-each` knows it by.
    pub verb: &'static str,
    pub protocol: u32,
    pub to: SocketAddr,
}

/// Numbers that look random.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 0 to `limit` - 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        // As SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % limit
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn small(&mut self, limit: u8) -> u8 {
        u8::try_from(self.below(u64::from(limit))).unwrap()
    }

    fn port(&mut self) -> u16 {
        let near_the_edges = self.one(&[1, 2, 65_534, 65_535]);
        let close = 50 + u16::from(self.small(20));
        self.one(&[close, close, close, near_the_edges])
    }

    fn v4(&mut self) -> Ipv4Addr {
        let (a, b) = (self.one(&[0, 1, 127, 255]), self.one(&[0, 1, 2, 254, 255]));
        let first = self.one(&[10, 10, 10, 192, 0, 255]);
        Ipv4Addr::new(first, a, self.small(2), b)
    }

    fn v6(&mut self) -> Ipv6Addr {
        let second = u16::from(self.small(3));
        let (fifth, last) = (self.one(&[0, 1, 0xffff]), self.one(&[0, 1, 0xfffe, 0xffff]));
        let first = self.one(&[0x2001, 0x2001, 0x2001, 0xfd00, 0xffff]);
        Ipv6Addr::new(first, 0xdb8, second, 0, fifth, 0, 0, last)
    }

    fn ports(&mut self) -> String {
        let mut list = Vec::new();
        for _ in 0..=self.below(3) {
            let first = self.port();
            let end = first.saturating_add(self.one(&[0, 0, 1, 7]));
            list.push(format!("{first}-{end}"));
        }
        list.join(",")
    }

    fn peer(&mut self, with_ports: bool) -> String {
        let (v4, v6) = (self.v4(), self.v6());
        let net4 = ipnet::Ipv4Net::new(v4, self.one(&[0, 8, 9, 15, 16, 17, 24, 31, 32, 32])).unwrap().trunc();
        let net6 =
            ipnet::Ipv6Net::new(v6, self.one(&[0, 16, 31, 32, 47, 48, 80, 127, 128, 128])).unwrap().trunc();
        let host = match self.below(5) {
            0 | 1 => format!("[{net4}]"),
            2 | 3 => format!("[{net6}]"),
            _ => String::new(),
        };
        if host.is_empty() || with_ports && self.below(2) == 0 {
            return if with_ports { format!("{host}:{}", self.ports()) } else { format!("{net4}") };
        }
        host.trim_start_matches('[').trim_end_matches(']').to_owned()
    }

    fn peers(&mut self, most: u64, with_ports: bool) -> String {
        let list: Vec<String> =
            (0..self.below(most + 1)).map(|_| format!("\"{}\"", self.peer(with_ports))).collect();
        list.join(", ")
    }

    /// One to forty faults; now and then several hundred, which differ in their ports.
    pub fn faults(&mut self, shape: Shape) -> String {
        let count = self.one(&[1, 2, 5, 10, 20, 40]);
        let mut text = String::new();
        for _ in 0..count {
            self.fault(shape, &mut text, None);
        }
        if self.below(20) == 0 {
            for port in 0..600 {
                self.fault(shape, &mut text, Some(port + 100));
            }
        }
        text
    }

    fn fault(&mut self, shape: Shape, text: &mut String, port: Option<u16>) {
        let is_call = shape == Shape::Calls;
        let without_icmp = is_call || port.is_some();
        let protocol =
            self.one(if without_icmp { &["", "tcp", "udp"] } else { &["", "", "tcp", "udp", "icmp"] });
        let has_ports = protocol != "icmp";
        let (peers, exclude) = match port {
            Some(port) => (format!("\"10.0.0.0/8:{port}\""), String::new()),
            None => (self.peers(5, has_ports), self.peers(3, has_ports)),
        };
        // Writing to a String cannot fail.
        let mut line = |line: String| writeln!(text, "{line}").unwrap();
        line("[[fault]]\nstart_after = \"20m\"".into());
        line(if is_call { "kind = \"connect\"\nerrno = \"EPERM\"" } else { "kind = \"drop\"" }.into());
        if !peers.is_empty() {
            line(format!("peer = [{peers}]"));
        }
        if !exclude.is_empty() {
            line(format!("exclude = [{exclude}]"));
        }
        if !protocol.is_empty() {
            line(format!("protocol = \"{protocol}\""));
        }
        if !is_call {
            let direction = self.one(&["egress", "ingress", "both"]);
            let near = (has_ports && self.below(3) == 0).then(|| self.ports());
            let mut line = |line: String| writeln!(text, "{line}").unwrap();
            line(format!("direction = \"{direction}\""));
            if let Some(near) = near {
                line(format!("local_port = \"{near}\""));
            }
        }
    }

    /// To a far end that rules may name.
    pub fn packet(&mut self) -> Shown {
        let is_v4 = self.below(2) == 0;
        let protocol = self.one(&[TCP, TCP, UDP, UDP, DCCP, ICMP, ESP]);
        let on_wire = if protocol == ICMP && !is_v4 { ICMPV6 } else { protocol };
        let (mut near, mut far) = (self.port(), self.port());
        if on_wire == ICMPV6 {
            // An echo request: its type stands where others have a port, whichever way it goes.
            (near, far) = (128 << 8, 128 << 8);
        }
        let (packet, address): (Packet, IpAddr) = if is_v4 {
            let to = self.v4();
            (Packet::v4([10, 9, 9, 9], to.octets(), on_wire), to.into())
        } else {
            let to = self.v6();
            (Packet::v6("2001:db8:99::1", &to.to_string(), on_wire), to.into())
        };
        let packet = packet.ports(near, far);
        let (packet, ports) = match self.below(10) {
            0 => (packet.fragment(0), true),
            1 => (packet.fragment(185), false),
            2 if is_v4 => (packet.options(8), true),
            2 => (packet.extension(HOP_BY_HOP, 16), true),
            _ => (packet, true),
        };
        let ports = match protocol {
            _ if !ports => Ports::Elsewhere,
            TCP | UDP | DCCP => Ports::Known { near: Some(near), far },
            _ => Ports::None,
        };
        let seen = Seen { far: address, protocol: protocol.into(), ports };
        Shown { arriving: packet.reversed(), packet, seen }
    }

    pub fn call(&mut self) -> Call {
        let (verb, protocol) =
            self.one(&[("tcp-connect", TCP), ("udp-connect", UDP), ("udp-send", UDP), ("udp-send", UDP)]);
        let ip: IpAddr = match self.below(5) {
            0 | 1 => self.v4().into(),
            2 => self.v4().to_ipv6_mapped().into(),
            _ => self.v6().into(),
        };
        Call { verb, protocol: protocol.into(), to: (ip, self.port()).into() }
    }
}
