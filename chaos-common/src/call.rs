//! Calls that can be made to fail, and what a rule may ask of one beside its far end.
//!
//! A condition such as "below /var/lib/x", "a pipe" or "made by uid 33" is a *fact*: one bit of a number. The programs
//! find out which facts hold for a call, all of an experiment at once, and a rule names those that it wants
//! ([`crate::rule::Rule::facts`]). A list in the file ("below a or below b") is one fact, so what a rule names must
//! hold all together.

/// How many facts an experiment may ask about.
pub const MAX_FACTS: usize = 64;

/// Inodes that a path may stand for: itself, and the root of every mount below it.
pub const MAX_INODES: usize = 1024;

/// Users, and names of programs, that rules may ask for.
pub const MAX_CALLERS: usize = 1024;

/// Paths of unix sockets that rules may ask for.
pub const MAX_UNIX: usize = 1024;

/// Length of a program's name in the kernel (`TASK_COMM_LEN`), padded with zeros.
pub const COMM: usize = 16;

/// Length of a unix socket's path in `struct sockaddr_un`, padded with zeros.
pub const UNIX_PATH: usize = 108;

/// How many directories a file may lie below the one that a rule names.
pub const MAX_DEPTH: usize = 64;

/// Kinds of files by the upper four bits of a mode (`S_IFMT`, `include/uapi/linux/stat.h`).
pub const MODE_SHIFT: u32 = 12;

/// The facts that the type of a file settles, by the upper four bits of its mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FileTypes {
    /// Facts.
    pub facts: [u64; 16],
}

/// What the trial of a hook is for: written before anything is armed, by the thread that makes the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Trial {
    /// The thread: process in the upper 32 bits, thread in the lower (`bpf_get_current_pid_tgid`). 0: nobody.
    pub who: u64,
    /// Which call: a bit of [`crate::rule::hook`].
    pub hook: u32,
    /// How it shall fail.
    pub errno: u32,
}

/// An inode that user space wants to know the address of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Asked {
    /// The thread that looks at it with fstat(2), as in [`Trial::who`]. 0: nobody.
    pub who: u64,
    /// The address; 0 until it was looked at.
    pub inode: u64,
}

/// What was decided in a system call that asks about the same file more than once (`sendfile`, `copy_file_range`,
/// `splice`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ongoing {
    /// Hooks that it has been decided for.
    pub decided: u32,
    /// Of these, those that fail.
    pub fails: u32,
    /// With which errno.
    pub errno: u32,
    /// When it began, by [`Self::clock`].
    pub begun: u32,
}

impl Ongoing {
    /// Nothing yet.
    pub const NONE: Self = Self { decided: 0, fails: 0, errno: 0, begun: 0 };

    /// After so long, by [`Self::clock`], what was noted is not believed any more: its end was missed, and the thread's
    /// number may be another's. About 17 s.
    pub const LONGEST: u32 = 4;

    /// Boot time in units of 2^32 ns, about 4.3 s.
    #[inline(always)]
    pub const fn clock(boot_ns: u64) -> u32 {
        (boot_ns >> 32) as u32
    }
}

/// How many such calls may be under way.
pub const MAX_ONGOING: usize = 4096;

/// A number that spreads ids of cgroups over the 64 bits of [`crate::scope::Scope::sieve`].
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The bit of an id. Most of those who are not in the target are told by this alone.
#[inline(always)]
pub const fn sieve(id: u64) -> u64 {
    1 << (id.wrapping_mul(GOLDEN_GAMMA) >> 58)
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, integers only, no padding ([`crate::layout`] checks it), every bit pattern is valid.
    unsafe impl aya::Pod for super::FileTypes {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Trial {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Asked {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Ongoing {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_ids_share_a_bit_of_the_sieve() {
        let bits = (1..=64u64).fold(0, |all, id| all | sieve(1000 + id));
        assert!(bits.count_ones() > 32, "{bits:b}");
    }
}
