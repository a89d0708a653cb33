//! Compile-time proof that both sides see the same bytes.
//!
//! The kernel side is built for `bpfel-unknown-none` and the user side for the host, by two compilers if need be; these
//! assertions run in both builds. A failing line means that a field was added, moved or resized: bump what reads it on
//! both sides, then the number here.

use core::mem::{align_of, offset_of, size_of};

use crate::{counters::Counters, rule::Rule, scope::Scope};

const _: () = assert!(size_of::<Rule>() == 88 && align_of::<Rule>() == 8);
const _: () = assert!(offset_of!(Rule, clauses) == 0);
const _: () = assert!(offset_of!(Rule, exclude) == 8);
const _: () = assert!(offset_of!(Rule, threshold) == 16);
const _: () = assert!(offset_of!(Rule, seed) == 24);
const _: () = assert!(offset_of!(Rule, start_ns) == 32);
const _: () = assert!(offset_of!(Rule, deadline_ns) == 40);
const _: () = assert!(offset_of!(Rule, pulse_on_ns) == 48);
const _: () = assert!(offset_of!(Rule, pulse_off_ns) == 56);
const _: () = assert!(offset_of!(Rule, hooks) == 64);
const _: () = assert!(offset_of!(Rule, protocol) == 68);
const _: () = assert!(offset_of!(Rule, action) == 72);
const _: () = assert!(offset_of!(Rule, errno) == 76);
const _: () = assert!(offset_of!(Rule, flags) == 80);

const _: () = assert!(size_of::<Scope>() == 40 && align_of::<Scope>() == 8);
const _: () = assert!(offset_of!(Scope, cgroup_id) == 0);
const _: () = assert!(offset_of!(Scope, cgroup_level) == 8);
const _: () = assert!(offset_of!(Scope, rules) == 12);
const _: () = assert!(offset_of!(Scope, portless) == 16);
const _: () = assert!(offset_of!(Scope, protected) == 24);
const _: () = assert!(offset_of!(Scope, tag) == 32);
const _: () = assert!(offset_of!(Scope, flags) == 36);

const _: () = assert!(size_of::<Counters>() == 16 + 8 * crate::counters::SKIPS);
const _: () = assert!(offset_of!(Counters, injected) == 8);
const _: () = assert!(offset_of!(Counters, skipped) == 16);

const _: () = assert!(crate::control::MAP_NAME.len() <= 15);
