//! A rule: one fault of an experiment, compiled for the kernel.

/// Where a rule applies: one bit per hook, so that one table serves every program.
pub mod hook {
    /// Packets that the target sends (tc egress).
    pub const EGRESS: u32 = 1 << 0;
    /// Packets that the target receives (cgroup ingress).
    pub const INGRESS: u32 = 1 << 1;
    /// Calls that open a connection or send to an address (cgroup connect4/6, sendmsg4/6).
    pub const CONNECT: u32 = 1 << 2;
}

/// What happens to a packet or call that is hit.
pub mod action {
    /// The packet is lost: its sender believes that it was sent.
    pub const DROP: u32 = 1;
    /// The call fails with the rule's `errno`.
    pub const ERRNO: u32 = 2;
}

/// Any transport protocol.
pub const PROTOCOL_ANY: u32 = 0;

/// [`Rule::flags`]: count what would be hit, hit nothing.
pub const FLAG_SHADOW: u32 = 1 << 0;

/// One fault, as the kernel programs read it. Times are `CLOCK_BOOTTIME` in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Rule {
    /// Clauses of which one must match.
    pub clauses: u64,
    /// Clauses of which none may match.
    pub exclude: u64,
    /// The share that is hit, on the scale of [`crate::draw::SCALE`].
    pub threshold: u64,
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
    /// Where the rule applies: bits of [`hook`].
    pub hooks: u32,
    /// IP protocol number, or [`PROTOCOL_ANY`].
    pub protocol: u32,
    /// What to do: one of [`action`].
    pub action: u32,
    /// For [`action::ERRNO`]: 1..=133.
    pub errno: u32,
    /// Bits of `FLAG_*`.
    pub flags: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding ([`crate::layout`] checks it), every bit pattern is valid.
unsafe impl aya::Pod for Rule {}
