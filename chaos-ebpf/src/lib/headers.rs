//! What is known of a packet or of a socket: addresses, protocol, ports. Packets are read by [`super::parse`], sockets by
//! [`super::socket`](mod@super::socket) and [`super::call`].

use chaos_common::table::words_of;

/// An address of either family. Plain numbers and no enum, here and below: the compiler leaves what a variant does not
/// have undefined and moves it about all the same, which the verifier refuses.
#[derive(Clone, Copy)]
pub struct Address {
    /// Its bytes in network order, the first the lowest, as the match tables want them.
    pub words: [u64; 2],
    /// Whether it has 16 bytes and not four.
    pub v6: bool,
}

impl Address {
    /// An IPv4 address whose bytes lie in memory in network order.
    #[inline(always)]
    pub fn v4(a: [u8; 4]) -> Self {
        Self { words: [u64::from(u32::from_le_bytes(a)), 0], v6: false }
    }

    /// An IPv6 address.
    #[inline(always)]
    pub fn v6(a: &[u8; 16]) -> Self {
        Self { words: words_of(a), v6: true }
    }

    /// An IPv6 address as a socket has it, in four words that lie in memory in network order. An IPv4-mapped one
    /// (`::ffff:a.b.c.d`, RFC 4291) reaches an IPv4 peer, and is matched as one.
    #[inline(always)]
    pub fn unmapped(words: [u32; 4]) -> Self {
        if words[0] == 0 && words[1] == 0 && words[2] == 0x0000_ffffu32.to_be() {
            return Self::v4(words[3].to_ne_bytes());
        }
        let [a, b, c, d] = words.map(u32::to_ne_bytes);
        Self::v6(&[
            a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3],
        ])
    }
}

/// What rules are matched against.
pub struct Headers {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// What follows them.
    pub transport: Transport,
}

/// A transport header, packed into one number: that is what a function can return which the verifier looks at once.
#[derive(Clone, Copy)]
pub struct Transport(u64);

/// The packet ends before its headers do, or has more of them than anyone sends, or is not for us.
pub const UNREADABLE: u64 = 0;
/// The protocol has no ports.
pub const PORTLESS: u64 = 1;
/// The ports are in another fragment.
pub const ELSEWHERE: u64 = 2;
/// They are in this packet.
pub const HERE: u64 = 3;

impl Transport {
    /// `offset` and `ports` mean something where `kind` is [`HERE`].
    #[inline(always)]
    pub const fn new(kind: u64, protocol: u8, offset: u32, ports: u32) -> Self {
        Self(kind << 56 | (protocol as u64) << 48 | (offset as u64 & 0xffff) << 32 | ports as u64)
    }

    /// The number it is packed into, for functions that take plain numbers.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The same with another destination.
    #[inline(always)]
    pub const fn to(self, port: u16) -> Self {
        Self(self.0 & !0xffff | port as u64)
    }

    /// One of the four kinds above.
    #[inline(always)]
    pub const fn kind(self) -> u64 {
        self.0 >> 56 & 3
    }

    /// The first of several fragments, if there are more.
    #[inline(always)]
    pub const fn with_more(self, more: bool) -> Self {
        Self(self.0 | (more as u64) << 63)
    }

    /// A piece of a datagram, the first or a later one.
    #[inline(always)]
    pub const fn is_fragment(self) -> bool {
        self.0 >> 63 != 0 || self.is_elsewhere()
    }

    /// A later fragment: the ports are in the first.
    #[inline(always)]
    pub const fn is_elsewhere(self) -> bool {
        self.kind() == ELSEWHERE
    }

    /// Whether [`Self::source`] and [`Self::destination`] mean anything. They are 0 if not.
    #[inline(always)]
    pub const fn has_ports(self) -> bool {
        self.kind() == HERE
    }

    /// IP protocol number. `ICMPv6` is reported as ICMP, so that a rule for ICMP covers both families.
    #[inline(always)]
    pub const fn protocol(self) -> u8 {
        (self.0 >> 48) as u8
    }

    /// Where it begins, counted from the network header, if it is here.
    #[inline(always)]
    pub const fn offset(self) -> u32 {
        (self.0 >> 32) as u32 & 0xffff
    }

    /// Port, host byte order.
    #[inline(always)]
    pub const fn source(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Port, host byte order.
    #[inline(always)]
    pub const fn destination(self) -> u16 {
        self.0 as u16
    }

    /// What has no ports, nor any protocol.
    #[inline(always)]
    pub const fn none() -> Self {
        Self::new(PORTLESS, 0, 0, 0)
    }

    /// What a socket looks like with these ports at its near and its far end.
    #[inline(always)]
    pub const fn of_socket(protocol: u8, near: u16, far: u16) -> Self {
        Self::new(HERE, protocol, 0, (near as u32) << 16 | far as u32)
    }

    /// The same with another source.
    #[inline(always)]
    pub const fn with_source(self, port: u16) -> Self {
        Self(self.0 & !0xffff_0000 | (port as u64) << 16)
    }

    /// What a call looks like that names a far port and has no near one yet.
    #[inline(always)]
    pub const fn of_call(protocol: u8, port: u16) -> Self {
        Self::new(HERE, protocol, 0, port as u32)
    }
}

impl From<u64> for Transport {
    /// What [`Transport::number`] has packed.
    #[inline(always)]
    fn from(number: u64) -> Self {
        Self(number)
    }
}
