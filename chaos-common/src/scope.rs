//! The scope: whose packets and calls the programs look at, one per experiment.

/// [`Scope::flags`]: the protected table must be asked.
pub const FLAG_PROTECTED_CGROUPS: u32 = 1 << 0;

/// [`Scope::flags`]: a rule looks at whole connections, so they must be told apart.
pub const FLAG_FLOWS: u32 = 1 << 1;

/// [`Scope::flags`]: a rule wants new connections only, so the starts of connections must be noted.
pub const FLAG_NEW_FLOWS: u32 = 1 << 2;

/// [`Scope::flags`]: the target is everything in some network namespaces. Devices carry our programs there only; calls
/// are told apart by the table of namespaces.
pub const FLAG_NAMESPACES: u32 = 1 << 3;

/// [`Scope::flags`]: a rule asks how old connections are, or what they have carried ([`crate::reset`]).
pub const FLAG_LIFE: u32 = 1 << 4;

/// [`Scope::flags`]: a rule cuts connections. What ends one by itself is not looked at for it.
pub const FLAG_RESETS: u32 = 1 << 5;

/// [`Scope::flags`]: a rule asks where a file lies.
pub const FLAG_PATHS: u32 = 1 << 6;

/// [`Scope::flags`]: a rule asks what kind of file it is.
pub const FLAG_FILE_TYPES: u32 = 1 << 7;

/// [`Scope::flags`]: a rule asks which user makes the call.
pub const FLAG_USERS: u32 = 1 << 8;

/// [`Scope::flags`]: a rule asks which program makes the call.
pub const FLAG_PROGRAMS: u32 = 1 << 9;

/// [`Scope::flags`]: calls of our own program, whoever runs it, are never hit, and neither is starting it.
pub const FLAG_OURS_SPARED: u32 = 1 << 10;

/// Network namespaces that a target may consist of.
pub const MAX_NAMESPACES: usize = 64;

/// Depths at which a target may have cgroups. Every packet is asked once for each.
pub const MAX_DEPTHS: usize = 8;

/// Cgroups that a target may have at a time.
pub const MAX_TARGETS: usize = 4096;

/// Protected cgroups below a target.
pub const MAX_PROTECTED: usize = 1024;

/// Connections whose start is remembered; the longest unused one is forgotten first.
pub const MAX_NEW_FLOWS: usize = 65_536;

/// Connections of which something is remembered: the order of their packets, or what a rule knows of them. The longest
/// unused one is forgotten first.
pub const MAX_FLOWS: usize = 65_536;

/// How many connections were ever noted, by table: those that are not there at the end have been forgotten.
pub mod noted {
    /// What is known of the lives of connections.
    pub const LIFE: u32 = 0;
    /// What rules remember of a connection.
    pub const STATE: u32 = 1;
    /// Connections that have begun while the experiment ran.
    pub const NEW: u32 = 2;
    /// Number of tables.
    pub const TABLES: usize = 3;
}

/// What the programs of one experiment need to know before they look at rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Scope {
    /// Bit `d`: a cgroup of the target is at depth `d` of the v2 hierarchy (the root is 0). At most [`MAX_DEPTHS`]
    /// bits; the ids are in the table of targets.
    pub depths: u64,
    /// How many rules there are; 0 until the experiment is armed.
    pub rules: u32,
    /// The bit of `skb->tc_index` that marks a packet as judged by this experiment. A packet passes several devices on
    /// its way out (bridge, bond, VLAN, tunnel) and must be judged once.
    pub tag: u32,
    /// Bits of `FLAG_*`.
    pub flags: u32,
    /// Which generation of the tables counts: 0 or 1. Programs read it once.
    pub generation: u32,
    /// Another number each time that tables are put in place: by it [`crate::memo`] tells them apart.
    pub salt: u64,
    /// Number of the delay line's device, the same in every network namespace; 0 if no rule makes packets wait.
    pub line: u32,
    /// As `tag`, for what was judged on its way in ([`crate::rule::hook::ARRIVAL`]); 0 if nothing is.
    pub arrival_tag: u32,
    /// How many bytes may wait in the delay line.
    pub line_bytes: u64,
    /// Which bits [`crate::call::sieve`] has for the ids of the target's cgroups.
    pub sieve: u64,
    /// The process that runs the experiment: none of its calls is ever hit.
    pub engine: u32,
    /// The depth of `depths` if there is one, and [`SEVERAL`] if there are more: what programs look at that run for
    /// everybody.
    pub depth: u32,
}

/// [`Scope::depth`]: see `depths`.
pub const SEVERAL: u32 = u32::MAX;

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding ([`crate::layout`] checks it), every bit pattern is valid.
unsafe impl aya::Pod for Scope {}
