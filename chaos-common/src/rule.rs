//! A rule: one fault of an experiment, compiled for the kernel.

/// Where a rule applies: one bit per hook, so that one table serves every program.
pub mod hook {
    /// Packets that the target sends (tc egress).
    pub const EGRESS: u32 = 1 << 0;
    /// Packets that the target receives (cgroup ingress).
    pub const INGRESS: u32 = 1 << 1;
    /// Calls that open a connection or send to an address (cgroup connect4/6, sendmsg4/6). The last one: there are
    /// [`crate::table::HOOKS`].
    pub const CONNECT: u32 = 1 << 2;
}

/// What happens to a packet or call that is hit.
pub mod action {
    /// The packet is lost: its sender believes that it was sent.
    pub const DROP: u32 = 1;
    /// The call fails with the rule's `errno`.
    pub const ERRNO: u32 = 2;
}

/// [`Rule::flags`]: count what would be hit, hit nothing.
pub const FLAG_SHADOW: u32 = 1 << 0;

/// [`Rule::flags`]: only some connections are hit ([`Rule::flows`]).
pub const FLAG_FLOWS: u32 = 1 << 1;

/// [`Rule::flags`]: only connections that have begun while the experiment ran.
pub const FLAG_NEW_ONLY: u32 = 1 << 2;

/// One fault, as the kernel programs read it. Times are `CLOCK_BOOTTIME` in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Rule {
    /// Clauses of which one must match: bits of one word ([`crate::table::Fields::rule_of`] says which).
    pub clauses: u64,
    /// Clauses of which none may match: bits of the same word.
    pub exclude: u64,
    /// The share that is hit, on the scale of [`crate::draw::SCALE`].
    pub threshold: u64,
    /// The share of connections that is hit at all, on the same scale; each is drawn for once and for all.
    pub flows: u64,
    /// Where this rule's draws start ([`crate::draw::rule_seed`]).
    pub seed: u64,
    /// Injection starts here.
    pub start_ns: u64,
    /// Injection has ended here.
    pub deadline_ns: u64,
    /// Length of the on phase, counted from `start_ns`; 0 is always on.
    pub pulse_on_ns: u64,
    /// Length of the off phase that follows.
    pub pulse_off_ns: u64,
    /// Where its counters are: the same through all generations.
    pub counters: u32,
    /// What to do: one of [`action`].
    pub action: u32,
    /// For [`action::ERRNO`]: 1..=133.
    pub errno: u32,
    /// Bits of `FLAG_*`.
    pub flags: u32,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding ([`crate::layout`] checks it), every bit pattern is valid.
unsafe impl aya::Pod for Rule {}
