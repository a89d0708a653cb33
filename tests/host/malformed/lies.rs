//! What can be wrong with a frame: cut off at every length, every field that says how long something is or what comes
//! next set to what it must not be, bytes flipped at random. The same frames every time.

use chaos_common::draw::mix;

use super::{
    frames::{AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING, Whole, wholes},
    reader::{TCP, UDP},
};

const SEED: u64 = 2026;
/// Frames with flipped bytes, made of each whole one.
const FLIPPED: u64 = 40;
/// Frames of which all but the type, the version and a likely protocol is random.
const NONSENSE: u64 = 500;

/// A frame, and what is the matter with it.
pub struct Frame {
    pub what: String,
    pub bytes: Vec<u8>,
    /// Nothing.
    pub is_whole: bool,
}

/// Everything: whole frames, and what is made of them.
pub fn corpus() -> Vec<Frame> {
    let mut dice = Dice(SEED);
    let mut all = Vec::new();
    for whole in wholes() {
        let mut put = |what: String, bytes: Vec<u8>| {
            let is_whole = bytes == whole.bytes;
            all.push(Frame { what: format!("{}: {what}", whole.what), bytes, is_whole });
        };
        put("whole".into(), whole.bytes.clone());
        for length in 1..whole.bytes.len() {
            put(format!("cut to {length}"), whole.bytes[..length].to_vec());
        }
        for (at, value, what) in lies(&whole) {
            let mut bytes = whole.bytes.clone();
            bytes[at..at + value.len()].copy_from_slice(&value);
            if bytes == whole.bytes {
                continue;
            }
            put(format!("{what} {value:?}"), bytes);
        }
        put("padded".into(), [&whole.bytes[..], &[0x11; 18]].concat());
        for n in 0..FLIPPED {
            put(format!("flipped {n}"), dice.flip(&whole.bytes));
        }
    }
    let nonsense = |n| Frame { what: format!("nonsense {n}"), bytes: dice.nonsense(), is_whole: false };
    all.extend((0..NONSENSE).map(nonsense));
    all
}

/// Where something else is to stand, what, and what it is about.
type Lie = (usize, Vec<u8>, &'static str);

fn lies(whole: &Whole) -> Vec<Lie> {
    let mut all = if whole.is_v4() { about_v4(whole) } else { about_v6(whole) };
    let first = whole.bytes[whole.network];
    all.extend((0..16).map(|version| (whole.network, vec![version << 4 | first & 15], "version")));
    if whole.protocol == TCP {
        let at = whole.transport + 12;
        all.extend((0..16).map(|offset| (at, vec![offset << 4], "TCP data offset")));
        all.extend([0, 1, 2, 4, 18, 20, 63, 255].map(|flags| (at + 1, vec![flags], "TCP flags")));
    }
    if whole.protocol == UDP {
        let length = whole.bytes.len() - whole.transport;
        all.extend(lengths(length, 8).map(|length| (whole.transport + 4, length, "UDP length")));
    }
    all
}

const PROTOCOLS: [u8; 16] = [0, 1, 4, 6, 17, 33, 41, 43, 44, 50, 51, 58, 59, 60, 136, 255];

fn about_v4(whole: &Whole) -> Vec<Lie> {
    let at = whole.network;
    let (length, header) = (whole.bytes.len() - at, whole.transport - at);
    let mut all: Vec<Lie> = (0..16).map(|ihl| (at, vec![0x40 | ihl], "header length")).collect();
    all.extend(lengths(length, header).map(|length| (at + 2, length, "total length")));
    all.extend(PROTOCOLS.map(|protocol| (at + 9, vec![protocol], "protocol")));
    let fields = [0x2000u16, 1, 0x1fff, 0x3fff, 0x4000, 0x8000, 0xffff];
    all.extend(fields.map(|field| (at + 6, field.to_be_bytes().to_vec(), "fragment")));
    all
}

fn about_v6(whole: &Whole) -> Vec<Lie> {
    let at = whole.network;
    let (length, headers) = (whole.bytes.len() - at - 40, whole.transport - at - 40);
    let mut all: Vec<Lie> =
        lengths(length, headers).map(|length| (at + 4, length, "payload length")).to_vec();
    all.extend(PROTOCOLS.map(|next| (at + 6, vec![next], "next header")));
    for header in &whole.extensions {
        all.extend([0, 1, 2, 3, 5, 31, 254, 255].map(|length| (header + 1, vec![length], "its length")));
        // The last four of these: in a circle, as what follows is read as the same again.
        let kinds = [TCP, UDP, 50, 58, FRAGMENT, HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION];
        all.extend(kinds.map(|next| (*header, vec![next], "what is next")));
        all.extend(kinds.map(|next| (*header, vec![next, 255], "what is next, far away")));
        all.extend([1, 7, 8, 0xf8].map(|low| (header + 2, vec![0, low], "fragment")));
    }
    all
}

/// Too small, too large, none at all; `header`: of what the length is about, the part that must be there.
fn lengths(length: usize, header: usize) -> [Vec<u8>; 10] {
    let near = [0, 1, header.saturating_sub(1), header, header + 3, header + 4, length - length.min(1)];
    let far = [length + 1, 0x7fff, 0xffff];
    let mut all = near.into_iter().chain(far);
    std::array::from_fn(|_| u16::try_from(all.next().unwrap()).unwrap().to_be_bytes().to_vec())
}

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        // As SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        usize::try_from(mix(self.0) % limit as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    /// One to four bytes are others.
    fn flip(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..=self.below(4) {
            // Not the link's addresses, at which nobody looks.
            let at = 12 + self.below(bytes.len() - 12);
            bytes[at] = self.byte();
        }
        bytes
    }

    fn nonsense(&mut self) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..14 + self.below(120)).map(|_| self.byte()).collect();
        let is_v4 = self.below(2) == 0;
        bytes[12..14].copy_from_slice(if is_v4 { &[8, 0] } else { &[0x86, 0xdd] });
        let likely = PROTOCOLS[self.below(PROTOCOLS.len())];
        for (at, value) in if is_v4 { [(14, 0x45), (23, likely)] } else { [(14, 0x60), (20, likely)] } {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes
    }
}
