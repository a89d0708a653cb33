//! Compile-time proof that both sides see the same bytes.
//!
//! The kernel side is built for `bpfel-unknown-none` and the user side for the host, by two compilers if need be; these
//! assertions run in both builds. A failing line means that a field was added, moved or resized: bump what reads it on
//! both sides, then the number here.

use core::mem::{align_of, offset_of, size_of};

use crate::{
    call::{Asked, FileTypes, Ongoing, Trial},
    counters::Counters,
    line::Waiting,
    memo::Memo,
    reset::Life,
    rule::Rule,
    scope::Scope,
    table::{Block, Fields, Row, ShortCut},
};

const _: () = assert!(size_of::<Rule>() == 176 && align_of::<Rule>() == 8);
const _: () = assert!(offset_of!(Rule, clauses) == 0);
const _: () = assert!(offset_of!(Rule, exclude) == 8);
const _: () = assert!(offset_of!(Rule, threshold) == 16);
const _: () = assert!(offset_of!(Rule, flows) == 24);
const _: () = assert!(offset_of!(Rule, seed) == 32);
const _: () = assert!(offset_of!(Rule, start_ns) == 40);
const _: () = assert!(offset_of!(Rule, deadline_ns) == 48);
const _: () = assert!(offset_of!(Rule, pulse_on_ns) == 56);
const _: () = assert!(offset_of!(Rule, pulse_off_ns) == 64);
const _: () = assert!(offset_of!(Rule, counters) == 72);
const _: () = assert!(offset_of!(Rule, action) == 76);
const _: () = assert!(offset_of!(Rule, errno) == 80);
const _: () = assert!(offset_of!(Rule, flags) == 84);
const _: () = assert!(offset_of!(Rule, pattern) == 88);
const _: () = assert!(offset_of!(Rule, shares) == 96);
const _: () = assert!(offset_of!(Rule, numbers) == 128);
const _: () = assert!(offset_of!(Rule, facts) == 160);
const _: () = assert!(offset_of!(Rule, limit) == 168);

const _: () = assert!(size_of::<Scope>() == 64 && align_of::<Scope>() == 8);
const _: () = assert!(offset_of!(Scope, depths) == 0);
const _: () = assert!(offset_of!(Scope, rules) == 8);
const _: () = assert!(offset_of!(Scope, tag) == 12);
const _: () = assert!(offset_of!(Scope, flags) == 16);
const _: () = assert!(offset_of!(Scope, generation) == 20);
const _: () = assert!(offset_of!(Scope, salt) == 24);
const _: () = assert!(offset_of!(Scope, line) == 32);
const _: () = assert!(offset_of!(Scope, arrival_tag) == 36);
const _: () = assert!(offset_of!(Scope, line_bytes) == 40);
const _: () = assert!(offset_of!(Scope, sieve) == 48);
const _: () = assert!(offset_of!(Scope, engine) == 56);
const _: () = assert!(offset_of!(Scope, depth) == 60);

const _: () = assert!(size_of::<FileTypes>() == 128 && align_of::<FileTypes>() == 8);
const _: () = assert!(size_of::<Trial>() == 16 && align_of::<Trial>() == 8);
const _: () = assert!(size_of::<Asked>() == 16 && align_of::<Asked>() == 8);
const _: () = assert!(size_of::<Ongoing>() == 16 && align_of::<Ongoing>() == 4);

const _: () = assert!(size_of::<Waiting>() == 64 && align_of::<Waiting>() == 8);

const _: () = assert!(size_of::<Life>() == 40 && align_of::<Life>() == 8);

const _: () = assert!(size_of::<Memo>() == 16 && align_of::<Memo>() == 8);

// No padding behind the last member: its bytes are copied as they are.
const _: () = assert!(size_of::<Rule>() == offset_of!(Rule, limit) + 8);

const _: () = assert!(size_of::<Row>() == 8 + 8 * crate::table::WORDS && align_of::<Row>() == 8);
const _: () = assert!(size_of::<Block>() == 1024);
const _: () = assert!(size_of::<ShortCut>() == 40 && align_of::<ShortCut>() == 8);
const _: () = assert!(offset_of!(Fields, root6) == 1 << 18);
const _: () = assert!(offset_of!(Fields, far_port) == 2 << 18);
const _: () = assert!(offset_of!(Fields, near_port) == 5 << 17);
const _: () = assert!(offset_of!(Fields, protocol) == 6 << 17);
const _: () = assert!(offset_of!(Fields, matching) % 8 == 0);
const _: () = assert!(size_of::<Fields>() == offset_of!(Fields, protected) + 8);

const _: () = assert!(size_of::<Counters>() == 32 + 8 * crate::counters::SKIPS);
const _: () = assert!(offset_of!(Counters, injected) == 8);
const _: () = assert!(offset_of!(Counters, unattributed) == 16);
const _: () = assert!(offset_of!(Counters, skipped) == 32);

const _: () = assert!(crate::control::MAP_NAME.len() <= 15);
