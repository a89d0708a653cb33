//! What a rule did, as counted in the kernel: one [`Counters`] per rule and per CPU.
//!
//! Every packet or call that a rule matches adds one to `matched` and one to exactly one of `injected` and
//! `skipped[..]`, so `matched == injected + sum(skipped)` holds for every rule at rest. The programs use atomic adds:
//! a cgroup program can be preempted by another one on the same CPU.

/// Number of [`Skip`] reasons.
pub const SKIPS: usize = Skip::ALL.len();

/// Why a matched packet or call was not hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Skip {
    /// The draw said no: this is what `probability` asks for.
    Probability = 0,
    /// Not armed: no lease, the lease ran out, or the experiment was halted.
    Lease = 1,
    /// The time box is over.
    Deadline = 2,
    /// Before `start_after`, or in the off phase of `pulse`.
    Window = 3,
    /// The process or the far end is protected.
    Protected = 4,
    /// The experiment runs in shadow mode: it would have been hit.
    Shadow = 5,
    /// Another program or policy had already made this call fail.
    Denied = 6,
    /// The kernel refused the effect (a helper failed): a bug or a limit, never silent.
    Failed = 7,
    /// Its connection is none of those that `flows` has chosen, or it carries no ports to tell.
    Flow = 8,
    /// Its connection was there before the experiment, and `new_only` asks for new ones.
    OldFlow = 9,
    /// The delay line was full, so the packet was lost instead of waiting.
    Overflow = 10,
    /// Another fault lost the packet before this one could take effect.
    Lost = 11,
    /// Its connection has not come to the point yet after which it is cut.
    Early = 12,
    /// The rule has hit as often as its `limit` allows.
    Limit = 13,
}

impl Skip {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Probability,
        Self::Lease,
        Self::Deadline,
        Self::Window,
        Self::Protected,
        Self::Shadow,
        Self::Denied,
        Self::Failed,
        Self::Flow,
        Self::OldFlow,
        Self::Overflow,
        Self::Lost,
        Self::Early,
        Self::Limit,
    ];

    /// Every reason must stand in [`Self::ALL`], at its number: adding one to the enumeration breaks this match, and a
    /// gap breaks the assertion below it.
    const fn position(self) -> usize {
        match self {
            Self::Probability
            | Self::Lease
            | Self::Deadline
            | Self::Window
            | Self::Protected
            | Self::Shadow
            | Self::Denied
            | Self::Failed
            | Self::Flow
            | Self::OldFlow
            | Self::Overflow
            | Self::Lost
            | Self::Early
            | Self::Limit => self as usize,
        }
    }

    /// The word for it in metrics, reports and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probability => "probability",
            Self::Lease => "lease",
            Self::Deadline => "deadline",
            Self::Window => "window",
            Self::Protected => "protected",
            Self::Shadow => "shadow",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Flow => "flow",
            Self::OldFlow => "old_flow",
            Self::Overflow => "overflow",
            Self::Lost => "lost",
            Self::Early => "early",
            Self::Limit => "limit",
        }
    }
}

/// Counts of one rule on one CPU; the sum over CPUs is what is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Packets or calls that fitted the rule while it was attached.
    pub matched: u64,
    /// Of these, how many were hit.
    pub injected: u64,
    /// Packets that fit the rule, and nobody can say whose they are: they have no socket, or none that can be known. Not
    /// among `matched`; never hit.
    pub unattributed: u64,
    /// When it hit last, in boot time; 0: never. What another program writes between a hit and its time may be overwritten
    /// by it, so it can be early by as long as a program may be preempted.
    pub last_injected_ns: u64,
    /// Of those matched, how many were not, by [`Skip`].
    pub skipped: [u64; SKIPS],
}

impl Counters {
    /// Adds the counts of another CPU; the last hit is the last of both.
    pub fn add(&mut self, other: &Self) {
        let Self { matched, injected, unattributed, last_injected_ns, skipped } = other;
        self.matched += matched;
        self.injected += injected;
        self.unattributed += unattributed;
        self.last_injected_ns = self.last_injected_ns.max(*last_injected_ns);
        for (sum, n) in self.skipped.iter_mut().zip(skipped) {
            *sum += n;
        }
    }

    /// How many were hit, or would have been in shadow mode.
    pub fn hits(&self) -> u64 {
        self.injected + self.skipped[Skip::Shadow as usize]
    }
}

const _: () = {
    let mut i = 0;
    while i < SKIPS {
        assert!(Skip::ALL[i].position() == i, "Skip::ALL is not in the order of the numbers");
        i += 1;
    }
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, u64 only, no padding, every bit pattern is valid.
unsafe impl aya::Pod for Counters {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_in_order_and_named_once() {
        for (i, reason) in Skip::ALL.into_iter().enumerate() {
            assert_eq!(i, reason as usize);
            assert_eq!(1, Skip::ALL.iter().filter(|r| r.name() == reason.name()).count());
        }
    }

    #[test]
    fn sums_over_cpus() {
        let mut sum = Counters::default();
        let cpu = Counters {
            matched: 5,
            injected: 2,
            unattributed: 1,
            last_injected_ns: 7,
            skipped: [1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        sum.add(&cpu);
        sum.add(&cpu);
        sum.add(&Counters { last_injected_ns: 6, ..Counters::default() });
        assert_eq!((10, 2, 7), (sum.matched, sum.unattributed, sum.last_injected_ns));
        assert_eq!(8, sum.hits());
    }
}
