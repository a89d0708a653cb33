//! Every map of the kernel side. User space fills all of them before anything is attached.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray},
    macros::btf_map,
};
use chaos_common::{
    ClauseBits, MAX_RULES,
    control::SLOTS,
    counters::Counters,
    key::{MAX_PREFIXES, PortKey},
    rule::Rule,
    scope::Scope,
};

/// Lease and halt mark; the name is the contract of `chaos_common::control::MAP_NAME`.
#[btf_map]
pub static KCHAOS_CONTROL: Array<u64, { SLOTS }> = Array::new();

/// Whose packets and calls count: one entry.
#[btf_map]
pub static KCHAOS_SCOPE: Array<Scope, 1> = Array::new();

/// The faults in file order; `Scope::rules` says how many are in use.
#[btf_map]
pub static KCHAOS_RULES: Array<Rule, { MAX_RULES }> = Array::new();

/// What each rule did, by rule number.
#[btf_map]
pub static KCHAOS_COUNTERS: PerCpuArray<Counters, { MAX_RULES }> = PerCpuArray::new();

/// IPv4 address of the far end to clauses.
#[btf_map]
pub static KCHAOS_PEER4: LpmTrie<[u8; 4], ClauseBits, { MAX_PREFIXES }> = LpmTrie::new();

/// IPv6 address of the far end to clauses.
#[btf_map]
pub static KCHAOS_PEER6: LpmTrie<[u8; 16], ClauseBits, { MAX_PREFIXES }> = LpmTrie::new();

/// Port of the far end to clauses.
#[btf_map]
pub static KCHAOS_PPORT: LpmTrie<PortKey, ClauseBits, { MAX_PREFIXES }> = LpmTrie::new();

/// Port of the near end to clauses.
#[btf_map]
pub static KCHAOS_LPORT: LpmTrie<PortKey, ClauseBits, { MAX_PREFIXES }> = LpmTrie::new();

/// Cgroups below the target whose processes are protected, by id.
#[btf_map]
pub static KCHAOS_PROTECT: HashMap<u64, u32, 1024> = HashMap::new();
