//! Every map of the kernel side. User space fills all of them before anything is attached.
//!
//! The match tables hold two generations each, one behind the other, and are mapped into user space's memory: it
//! writes the generation that does not count and then says that it counts ([`chaos_common::table`]). Only
//! [`KCHAOS_FIELDS`] has one entry for each; the numbers in it are absolute. How many entries the others have is
//! decided when they are made.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray},
    macros::btf_map,
};
use chaos_common::{
    MAX_RULES,
    call::{
        Asked, COMM, FileTypes, MAX_CALLERS, MAX_INODES, MAX_ONGOING, MAX_UNIX, Ongoing, Trial, UNIX_PATH,
    },
    control::SLOTS,
    counters::Counters,
    delay,
    line::{DEFAULT_PACKETS, Order, TOTALS, Waiting},
    memo::{ENTRIES, Memo},
    reset::Life,
    rule::Rule,
    scope::{MAX_FLOWS, MAX_NAMESPACES, MAX_NEW_FLOWS, MAX_PROTECTED, MAX_TARGETS, Scope, noted},
    table::{Block, Fields, GENERATIONS, MAX_BLOCKS, MAX_ROWS, MAX_SHORT_CUTS, Row, ShortCut},
};

use crate::lib::{plan::Plan, state::State};

const MAPPED: usize = BPF_F_MMAPABLE as usize;

/// Lease and halt mark; the name is the contract of `chaos_common::control::MAP_NAME`.
#[btf_map]
pub static KCHAOS_CONTROL: Array<u64, { SLOTS }> = Array::new();

/// Whose packets and calls count: one entry.
#[btf_map]
pub static KCHAOS_SCOPE: Array<Scope, 1> = Array::new();

/// The faults in file order; `Scope::rules` says how many are in use.
#[btf_map]
pub static KCHAOS_RULES: Array<Rule, { MAX_RULES * GENERATIONS }, { MAPPED }> = Array::new();

/// What each rule did, by `Rule::counters`.
#[btf_map]
pub static KCHAOS_COUNTERS: PerCpuArray<Counters, { MAX_RULES }> = PerCpuArray::new();

/// From a packet's fields to rows.
#[btf_map]
pub static KCHAOS_FIELDS: Array<Fields, { GENERATIONS }, { MAPPED }> = Array::new();

/// The trie of addresses, by absolute number.
#[btf_map]
pub static KCHAOS_BLOCKS: Array<Block, { MAX_BLOCKS * GENERATIONS }, { MAPPED }> = Array::new();

/// Its short cuts.
#[btf_map]
pub static KCHAOS_SHORTCUT: Array<ShortCut, { MAX_SHORT_CUTS * GENERATIONS }, { MAPPED }> = Array::new();

/// Sets of clauses.
#[btf_map]
pub static KCHAOS_ROWS: Array<Row, { MAX_ROWS * GENERATIONS }, { MAPPED }> = Array::new();

/// Words in which a clause matches, by rows: what was found before ([`chaos_common::memo`]).
#[btf_map]
pub static KCHAOS_MEMO: Array<Memo, { ENTRIES }> = Array::new();

/// The target's cgroups, by id.
#[btf_map]
pub static KCHAOS_TARGETS: HashMap<u64, u32, { MAX_TARGETS }> = HashMap::new();

/// The target's network namespaces, by cookie, where it consists of namespaces.
#[btf_map]
pub static KCHAOS_NETNS: HashMap<u64, u32, { MAX_NAMESPACES }> = HashMap::new();

/// Connections that have begun while the experiment ran, as `chaos_common::flow` names them.
#[btf_map]
pub static KCHAOS_FLOWS: LruHashMap<u64, u32, { MAX_NEW_FLOWS }> = LruHashMap::new();

/// Cgroups below the target whose processes are protected, by id.
#[btf_map]
pub static KCHAOS_PROTECT: HashMap<u64, u32, { MAX_PROTECTED }> = HashMap::new();

/// What a rule remembers from one match to the next, by `Rule::counters`.
#[btf_map]
pub static KCHAOS_STATE: Array<State, { MAX_RULES }> = Array::new();

/// What a rule remembers of a connection, by rule and connection.
#[btf_map]
pub static KCHAOS_FLOWSTAT: LruHashMap<u64, u64, { MAX_FLOWS }> = LruHashMap::new();

/// What is known of the lives of connections ([`chaos_common::reset`]).
#[btf_map]
pub static KCHAOS_LIFE: LruHashMap<u64, Life, { MAX_FLOWS }> = LruHashMap::new();

/// How many connections were ever noted, by table.
#[btf_map]
pub static KCHAOS_NOTED: Array<u64, { noted::TABLES }> = Array::new();

/// Packets of a connection that wait, by connection and direction.
#[btf_map]
pub static KCHAOS_ORDER: LruHashMap<u64, Order, { MAX_FLOWS }> = LruHashMap::new();

/// What is to be done to the packet at hand.
#[btf_map]
pub static KCHAOS_PLAN: PerCpuArray<Plan, 1> = PerCpuArray::new();

/// Quantiles of distributions ([`delay`]).
#[btf_map]
pub static KCHAOS_QUANTILE: Array<i64, { delay::TABLES }, { MAPPED }> = Array::new();

/// Packets in the delay line, by number. How many there may be is decided when it is made.
#[btf_map]
pub static KCHAOS_WAITING: HashMap<u32, Waiting, { DEFAULT_PACKETS as usize }> = HashMap::new();

/// Totals of the delay line ([`chaos_common::line`]).
#[btf_map]
pub static KCHAOS_LINE: Array<u64, { TOTALS }> = Array::new();

/// How many packets a CPU has sent into the delay line.
#[btf_map]
pub static KCHAOS_NUMBER: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Facts by the type of a file ([`chaos_common::call`]).
#[btf_map]
pub static KCHAOS_FILETYPES: Array<FileTypes, 1> = Array::new();

/// Facts by the address of an inode that a file is, or lies below.
#[btf_map]
pub static KCHAOS_INODES: HashMap<u64, u64, { MAX_INODES }> = HashMap::new();

/// Facts by the user id of the caller.
#[btf_map]
pub static KCHAOS_USERS: HashMap<u32, u64, { MAX_CALLERS }> = HashMap::new();

/// Facts by the name of the calling program, in words.
#[btf_map]
pub static KCHAOS_PROGRAMS: HashMap<[u64; COMM / 8], u64, { MAX_CALLERS }> = HashMap::new();

/// Facts by the path of a unix socket, in words.
#[btf_map]
pub static KCHAOS_UNIX: HashMap<[u64; UNIX_PATH.div_ceil(8)], u64, { MAX_UNIX }> = HashMap::new();

/// The call that is tried before anything is armed.
#[btf_map]
pub static KCHAOS_TRIAL: Array<Trial, 1> = Array::new();

/// The address of the inode of our own program. It stays where it is while the program runs.
#[btf_map]
pub static KCHAOS_OWN: Array<u64, 1> = Array::new();

/// The inode whose address is asked for.
#[btf_map]
pub static KCHAOS_ASKED: Array<Asked, 1> = Array::new();

/// System calls under way that ask more than once, by thread.
#[btf_map]
pub static KCHAOS_ONGOING: LruHashMap<u64, Ongoing, { MAX_ONGOING }> = LruHashMap::new();
