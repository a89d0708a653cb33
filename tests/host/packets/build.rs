//! Packets, byte by byte.

use std::net::Ipv6Addr;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const DCCP: u8 = 33;
pub const ICMPV6: u8 = 58;
pub const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;

/// Bytes of a transport header behind the ports, in every packet built here.
pub const AFTER_PORTS: usize = 16;
/// Bytes behind the transport header.
pub const PAYLOAD: usize = 32;

#[derive(Clone)]
enum Ends {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

/// A packet, from its Ethernet header on.
#[derive(Clone)]
pub struct Packet {
    ends: Ends,
    protocol: u8,
    ports: (u16, u16),
    options: usize,
    /// Kind and body of each extension header.
    extensions: Vec<(u8, Vec<u8>)>,
    /// In units of eight bytes.
    fragment: Option<u16>,
    vlan: Option<u16>,
}

impl Packet {
    pub fn v4(source: [u8; 4], destination: [u8; 4], protocol: u8) -> Self {
        Self::new(Ends::V4(source, destination), protocol)
    }

    pub fn v6(source: &str, destination: &str, protocol: u8) -> Self {
        let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        Self::new(Ends::V6(octets(source), octets(destination)), protocol)
    }

    fn new(ends: Ends, protocol: u8) -> Self {
        Self { ends, protocol, ports: (0, 0), options: 0, extensions: vec![], fragment: None, vlan: None }
    }

    pub fn ports(mut self, source: u16, destination: u16) -> Self {
        self.ports = (source, destination);
        self
    }

    pub fn towards_v4(mut self, destination: [u8; 4]) -> Self {
        if let Ends::V4(_, d) = &mut self.ends {
            *d = destination;
        }
        self
    }

    pub fn towards_v6(mut self, destination: &str) -> Self {
        if let Ends::V6(_, d) = &mut self.ends {
            *d = destination.parse::<Ipv6Addr>().unwrap().octets();
        }
        self
    }

    /// The same packet on its way back: ends and ports exchanged.
    pub fn reversed(&self) -> Self {
        let mut back = self.clone();
        back.ends = match self.ends {
            Ends::V4(s, d) => Ends::V4(d, s),
            Ends::V6(s, d) => Ends::V6(d, s),
        };
        back.ports = (self.ports.1, self.ports.0);
        back
    }

    /// So many bytes of IPv4 options, a multiple of four.
    pub fn options(mut self, bytes: usize) -> Self {
        self.options = bytes;
        self
    }

    /// An IPv6 extension header of so many bytes.
    pub fn extension(mut self, kind: u8, bytes: usize) -> Self {
        const AUTHENTICATION: u8 = 51;
        let mut body = vec![0; bytes];
        body[1] = u8::try_from(if kind == AUTHENTICATION { bytes / 4 - 2 } else { bytes / 8 - 1 }).unwrap();
        self.extensions.push((kind, body));
        self
    }

    pub fn fragment(mut self, offset: u16) -> Self {
        self.fragment = Some(offset);
        if matches!(self.ends, Ends::V6(..)) {
            let mut body = vec![0; 8];
            body[2..4].copy_from_slice(&(offset << 3 | 1).to_be_bytes());
            self.extensions.push((FRAGMENT, body));
        }
        self
    }

    pub fn vlan(mut self, id: u16) -> Self {
        self.vlan = Some(id);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut transport = vec![];
        transport.extend(self.ports.0.to_be_bytes());
        transport.extend(self.ports.1.to_be_bytes());
        transport.extend([0; AFTER_PORTS]);
        transport.extend([0xa5; PAYLOAD]);
        let mut frame = vec![2; 12];
        let ethertype: u16 = if matches!(self.ends, Ends::V4(..)) { 0x0800 } else { 0x86dd };
        if let Some(id) = self.vlan {
            frame.extend(0x8100u16.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(self.network(&transport));
        frame.extend(transport);
        frame
    }

    fn network(&self, transport: &[u8]) -> Vec<u8> {
        let mut h = vec![];
        match &self.ends {
            Ends::V4(source, destination) => {
                let length = 20 + self.options;
                h.push(0x40 | u8::try_from(length / 4).unwrap());
                h.push(0);
                h.extend(u16::try_from(length + transport.len()).unwrap().to_be_bytes());
                h.extend([0, 1]);
                h.extend(self.fragment.map_or(0, |f| f | 0x2000).to_be_bytes());
                h.extend([64, self.protocol, 0, 0]);
                h.extend(source);
                h.extend(destination);
                h.extend(vec![1; self.options]);
            }
            Ends::V6(source, destination) => {
                let extensions: usize = self.extensions.iter().map(|(_, body)| body.len()).sum();
                h.extend([0x60, 0, 0, 0]);
                h.extend(u16::try_from(extensions + transport.len()).unwrap().to_be_bytes());
                let kinds: Vec<u8> =
                    self.extensions.iter().map(|(kind, _)| *kind).chain([self.protocol]).collect();
                h.extend([kinds[0], 64]);
                h.extend(source);
                h.extend(destination);
                for ((_, body), next) in self.extensions.iter().zip(&kinds[1..]) {
                    let at = h.len();
                    h.extend(body);
                    h[at] = *next;
                }
            }
        }
        h
    }
}
