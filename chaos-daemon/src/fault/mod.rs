//! One file per kind of fault: its fields in the file, its bytes in the kernel's rule, what it needs of the host.
//!
//! To add a kind: a file here, its line in [`KINDS`], and its counterpart in `chaos-ebpf/src/fault/`. Whatever else a
//! kind must bring (a row in the demo, its fields for the command line) is a method of [`Kind`] or [`Fault`], so the
//! compiler asks for it. What kinds for packets share is in [`packets`]; what those do that act from user
//! space (their counterpart is in [`crate::resource`]), in [`resources`]. `docs/ADDING_A_FAULT.md` walks through it.

pub mod call;
pub mod connect;
pub mod corrupt;
pub mod cpu;
pub mod delay;
pub mod drop;
pub mod duplicate;
pub mod io;
pub mod kill;
mod loss;
pub mod memory;
mod packets;
pub mod partition;
pub mod pause;
pub mod rate;
pub mod reject;
pub mod reorder;
pub mod reset;
pub mod resources;

use std::{fmt, ops::Range};

use chaos_common::rule::Rule;
use toml::Spanned;

use crate::{
    bpf::Need,
    config::{
        Packets, Problem, Section,
        value::{Protocol, Redirect, Span},
    },
    resource::Act,
};

/// All kinds, in the order of help texts and the demo.
pub const KINDS: &[&dyn Kind] = &[
    &drop::Drop,
    &delay::Delay,
    &rate::Rate,
    &reorder::Reorder,
    &duplicate::Duplicate,
    &corrupt::Corrupt,
    &reset::Reset,
    &reject::Reject,
    &partition::Partition,
    &connect::Connect,
    &call::Call,
    &kill::Kill,
    &pause::Pause,
    &cpu::Cpu,
    &memory::Memory,
    &io::Io,
];

/// The kind that is called so elsewhere.
pub fn called(name: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| kind.elsewhere().iter().any(|other| other.eq_ignore_ascii_case(name)))
}

/// A kind of fault: what can be known without a file.
pub trait Kind: Sync {
    /// The word in `kind = "..."`, in metrics and on the command line.
    fn name(&self) -> &'static str;

    /// What it is called elsewhere, to say what it is called here.
    fn elsewhere(&self) -> &'static [&'static str] {
        &[]
    }

    /// One line for help texts.
    fn about(&self) -> &'static str;

    /// Its own fields, beside those that every fault has.
    fn fields(&self) -> &'static [Field];

    /// Whether it acts from user space, on processes and cgroups: it has no peer, no protocol, no packets or calls.
    fn acts(&self) -> bool {
        false
    }

    /// Reads its own fields: the fault, and the conditions that only kinds for packets have ([`Packets::read`]; for
    /// calls the default).
    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem>;

    /// The fault that `kchaos demo` shows, as the fields of a `[[fault]]` without `kind` and `peer`, and one sentence
    /// on what to look for.
    fn demo(&self) -> (&'static str, &'static str);
}

/// One field, as `kchaos inject` offers it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the file; `_` becomes `-` in a flag.
    pub name: &'static str,
    /// What stands for the value in help texts, if it takes one.
    pub value: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// How it is given.
    pub takes: Takes,
}

/// How a field is given as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Once, with a value.
    One,
    /// Once or more, with a value each.
    Several,
    /// Without a value: it is true.
    Nothing,
}

/// One fault of an experiment.
pub trait Fault: fmt::Debug + Send + Sync {
    /// The name of its [`Kind`].
    fn kind(&self) -> &'static str;

    /// Where it applies: bits of `chaos_common::rule::hook`.
    fn hooks(&self) -> u32;

    /// Writes its action into the rule.
    fn encode(&self, rule: &mut Rule);

    /// What it does, without which packets or calls: "drop packets sent".
    fn describe(&self) -> String;

    /// What the host's kernel must be able to do.
    fn needs(&self) -> &[Need];

    /// The only protocol that it can do something to.
    fn protocol(&self) -> Option<Protocol> {
        None
    }

    /// How long after its start it hits for the first time, and where that stands in the file.
    fn earliest(&self) -> Option<(Span, Range<usize>)> {
        None
    }

    /// What a call must be about, beside its far end and ports.
    fn asks(&self) -> Option<&call::Asks> {
        None
    }

    /// What it does from user space, if that is where it acts.
    fn acts(&self) -> Option<Act> {
        None
    }

    /// Whether connections without traffic are to be cut (`engine/idle.rs`).
    fn cuts_idle(&self) -> bool {
        false
    }

    /// Where calls go instead, and where that stands in the file.
    fn redirects(&self) -> &[Spanned<Redirect>] {
        &[]
    }
}

#[cfg(test)]
mod tests;
