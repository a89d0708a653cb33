//! Which clauses match: one row per field, and what is left in all of them. The cost does not grow with the number of
//! clauses.

use chaos_common::{
    memo::{self, Memo},
    scope::Scope,
    table::{Fields, Nodes, Row, RowId, ShortCut, WORDS, row_of},
};

use super::{
    headers::{Address, Transport},
    kern, plan,
};
use crate::maps::{KCHAOS_BLOCKS, KCHAOS_FIELDS, KCHAOS_MEMO, KCHAOS_ROWS, KCHAOS_SHORTCUT};

/// What a packet or call fits, as plain numbers: they can be handed to a function that the verifier looks at once.
#[derive(Clone, Copy)]
pub struct Found {
    /// Numbers of four rows, 16 bits each from the lowest: address, far port, near port, protocol.
    pub rows: u64,
    /// [`SECOND_HALF`], [`ELSEWHERE`].
    pub how: u32,
    /// Words in which a clause matches.
    pub words: u64,
}

/// [`Found::how`]: the rows are of generation 1.
const SECOND_HALF: u32 = 1 << 0;
/// [`Found::how`]: the ports are in another fragment.
const ELSEWHERE: u32 = 1 << 1;
/// [`Found::how`]: the packet's socket knows its far end by another address, whose rows are in the plan.
pub const TRANSLATED: u32 = 1 << 4;
/// Left to others who hand the number on.
pub const CALLERS_BITS: [u32; 2] = [1 << 2, 1 << 3];

/// The rows of a packet or call.
pub struct Fit {
    /// The tables they are from.
    pub fields: &'static Fields,
    /// Words in which a clause may match.
    pub summary: u64,
    address: &'static Row,
    far: &'static Row,
    /// Those of the service, or the same once more.
    service: (&'static Row, &'static Row),
    near: &'static Row,
    protocol: &'static Row,
    /// An exclusion must hold for the whole datagram, and leaving too much alone is the safe side. So where the ports
    /// are in another fragment, whatever fits the address excludes.
    elsewhere: bool,
}

impl Fit {
    /// What stands behind the numbers of [`Found`]. `None`: no clause.
    #[inline(always)]
    pub fn of(rows: u64, how: u32) -> Option<Self> {
        let fields = KCHAOS_FIELDS.get(how & SECOND_HALF)?;
        let number = |field: u32| ((rows >> (field * 16)) & 0xffff) as RowId;
        let (address, far) = (row(number(0))?, row(number(1))?);
        let (near, protocol) = (row(number(2))?, row(number(3))?);
        let service = if how & TRANSLATED == 0 {
            (address, far)
        } else {
            let rows = plan::service();
            (row(rows as RowId)?, row((rows >> 16) as RowId)?)
        };
        let ends = address.summary & far.summary | service.0.summary & service.1.summary;
        let summary = ends & protocol.summary & near.summary;
        if summary == 0 {
            return None;
        }
        let elsewhere = how & ELSEWHERE != 0;
        Some(Self { fields, summary, address, far, service, near, protocol, elsewhere })
    }

    /// The clauses that match in a word, and those that exclude.
    #[inline(always)]
    pub fn word(&self, number: u32) -> (u64, u64) {
        let word = number as usize % WORDS;
        let by_address = self.address.words[word];
        let by_service = self.service.0.words[word] & self.service.1.words[word];
        let ends = by_address & self.far.words[word] | by_service;
        let all = ends & self.near.words[word] & self.protocol.words[word];
        (all & self.fields.matching[word], if self.elsewhere { by_address } else { all })
    }

    /// Whether the far end or a port is protected.
    #[inline(always)]
    pub fn protected(&self) -> bool {
        let word = self.fields.protected_word as usize % WORDS;
        let by_service = self.service.0.words[word] & self.service.1.words[word];
        let ends = self.address.words[word] & self.far.words[word] | by_service;
        ends & self.near.words[word] & self.fields.protected != 0
    }
}

/// What a packet of this far end fits at a hook. `near_first` says that the source is the near end.
/// `None`: no clause.
#[inline(always)]
pub fn of_packet(
    scope: &Scope,
    hook: u32,
    peer: &Address,
    transport: Transport,
    near_first: bool,
) -> Option<Found> {
    rows_of(scope, hook, peer, transport, near_first).filter(|found| found.words != 0)
}

/// The same, also of what fits no clause. `None`: there are no tables.
#[inline(always)]
pub fn rows_of(
    scope: &Scope,
    hook: u32,
    peer: &Address,
    transport: Transport,
    near_first: bool,
) -> Option<Found> {
    // SAFETY: a plain number in a live value. Volatile: read once, as the next read may be another generation's.
    let generation = unsafe { (&raw const scope.generation).read_volatile() } & SECOND_HALF;
    let fields = KCHAOS_FIELDS.get(generation)?;
    let address = address(fields, peer);
    let protocol = protocol(fields, hook, transport.protocol());
    let elsewhere = if transport.is_elsewhere() { ELSEWHERE } else { 0 };
    let (mut far, mut near) = (fields.portless, fields.portless);
    if transport.has_ports() {
        let (source, destination) = (transport.source(), transport.destination());
        let ports = if near_first { (destination, source) } else { (source, destination) };
        (far, near) = (fields.far_port[kern::index(ports.0)], fields.near_port[kern::index(ports.1)]);
    }
    let rows = u64::from(address) | u64::from(far) << 16 | u64::from(near) << 32 | u64::from(protocol) << 48;
    let how = generation | elsewhere;
    Some(Found { rows, how, words: words(scope, rows, how) })
}

/// Whether two were found in the same tables.
#[inline(always)]
pub const fn are_of_one(how: u32, other: u32) -> bool {
    (how ^ other) & SECOND_HALF == 0
}

/// The words in which a clause matches: as they were found before, or found now.
#[inline(always)]
fn words(scope: &Scope, rows: u64, how: u32) -> u64 {
    let tag = memo::tag(rows, scope.salt);
    let Some(entry) = KCHAOS_MEMO.get_ptr_mut(memo::place(tag)) else { return kchaos_words(rows, how) };
    let entry: *mut [u64; 2] = entry.cast();
    // SAFETY: the entry of a map, two numbers. Volatile: other CPUs write them, too, and [`memo`] tells.
    let (check, known) =
        unsafe { ((&raw const (*entry)[0]).read_volatile(), (&raw const (*entry)[1]).read_volatile()) };
    if Memo::of(check, known).is_of(tag) {
        return known;
    }
    let words = kchaos_words(rows, how);
    let (check, words) = Memo::new(tag, words).numbers();
    // SAFETY: as above.
    unsafe {
        (&raw mut (*entry)[0]).write_volatile(check);
        (&raw mut (*entry)[1]).write_volatile(words);
    }
    words
}

/// Looks for the words in which a clause matches. A global function (see [`super`]).
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_words(rows: u64, how: u32) -> u64 {
    let Some(fit) = Fit::of(rows, how) else { return 0 };
    let (mut left, mut found, mut rounds, most) = (fit.summary, 0, 0, kern::words());
    // The bound is looked at last: Linux 5.10 takes a loop only if a jump closes it.
    loop {
        let rest = left & left.wrapping_sub(1);
        let found_here = (left ^ rest) & kchaos_any(rows, how, kern::lowest_bit(left));
        found = kern::forgotten(found | found_here, fit.summary);
        left = kern::forgotten(rest, fit.summary);
        rounds += 1;
        if left == 0 || rounds >= most {
            return found;
        }
    }
}

/// All bits if a clause matches in this word, or none. A global function and no branch in the loop: the verifier would
/// look at both in every round.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_any(rows: u64, how: u32, number: u32) -> u64 {
    if Fit::of(rows, how).is_some_and(|fit| fit.word(number).0 != 0) { u64::MAX } else { 0 }
}

/// What a call to this address and port fits. Its near port is not known yet, so only clauses that do not ask for one
/// can match: those that are found at port 0, which no clause names.
#[inline(always)]
pub fn of_call(scope: &Scope, hook: u32, peer: &Address, protocol: u8, port: u16) -> Option<Found> {
    of_packet(scope, hook, peer, Transport::of_call(protocol, port), true)
}

#[inline(always)]
fn row(number: RowId) -> Option<&'static Row> {
    KCHAOS_ROWS.get(u32::from(number))
}

#[inline(always)]
fn protocol(fields: &Fields, hook: u32, protocol: u8) -> RowId {
    fields.protocol[hook.trailing_zeros() as usize % chaos_common::table::HOOKS][protocol as usize]
}

#[inline(always)]
fn address(fields: &Fields, peer: &Address) -> RowId {
    let [first, second] = peer.words;
    let begins = kern::index((first as u16).swap_bytes());
    let root = if peer.v6 { fields.root6[begins] } else { fields.root4[begins] };
    kchaos_row(root, first, second)
}

/// The row of an address; the empty one past the end of the trie. A global function (see [`super`]).
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_row(root: u32, first: u64, second: u64) -> RowId {
    row_of(&Maps, root, [first, second]).unwrap_or(0)
}

/// The trie as it stands in the maps.
struct Maps;

impl Nodes for Maps {
    #[inline(always)]
    fn entry(&self, block: u32, byte: u8) -> Option<u32> {
        Some(KCHAOS_BLOCKS.get(block)?.entries[byte as usize])
    }

    #[inline(always)]
    fn short_cut(&self, number: u32) -> Option<&ShortCut> {
        KCHAOS_SHORTCUT.get(number)
    }
}
