//! Where members of the kernel's structures are, in bytes from the start of each: they differ from kernel to kernel, and
//! user space finds them in the kernel's own BTF before it loads the programs.
//!
//! The numbers are part of the programs' read-only data. What a kernel does not have is [`ABSENT`], and what would read it
//! is not loaded there.

/// No such member.
pub const ABSENT: u32 = u32::MAX;

/// Name of the [`Offsets`] in the programs' read-only data.
pub const NAME: &str = "KCHAOS_OFFSETS";

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $structure:literal . $member:literal,)*) => {
        /// Offsets in bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Offsets {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl Offsets {
            /// None is known.
            pub const NONE: Self = Self { $($field: ABSENT,)* };

            /// Finds all of them by `find`, which is asked for a structure and the way to a member of it.
            pub fn find(mut find: impl FnMut(&'static str, &'static str) -> Option<u32>) -> Self {
                Self { $($field: find($structure, $member).unwrap_or(ABSENT),)* }
            }

            /// Structures and members that this kernel does not have.
            pub fn missing(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
                [$((self.$field, ($structure, $member)),)*]
                    .into_iter()
                    .filter(|(offset, _)| *offset == ABSENT)
                    .map(|(_, name)| name)
            }
        }
    };
}

offsets! {
    /// `struct inode *`
    file_inode: "file"."f_inode",
    /// `struct path`
    file_path: "file"."f_path",
    /// `unsigned int`
    file_flags: "file"."f_flags",
    /// `fmode_t`, 32 bits
    file_mode: "file"."f_mode",
    /// `struct dentry *`
    path_dentry: "path"."dentry",
    /// `struct inode *`
    dentry_inode: "dentry"."d_inode",
    /// `struct dentry *`
    dentry_parent: "dentry"."d_parent",
    /// `umode_t`, 16 bits
    inode_mode: "inode"."i_mode",
    /// `struct file *`
    binprm_file: "linux_binprm"."file",
    /// `unsigned int`
    task_flags: "task_struct"."flags",
    /// `const struct cred *`
    task_cred: "task_struct"."cred",
    /// `const struct cred *`
    task_real_cred: "task_struct"."real_cred",
    /// `struct mm_struct *`
    task_mm: "task_struct"."mm",
    /// `struct css_set *`
    task_cgroups: "task_struct"."cgroups",
    /// `struct file *`
    mm_exe_file: "mm_struct"."exe_file",
    /// `unsigned long`
    mm_end_code: "mm_struct"."end_code",
    /// `struct cgroup *`
    css_set_cgroup: "css_set"."dfl_cgrp",
    /// `int`
    cgroup_level: "cgroup"."level",
    /// `u64[]`; not in Linux 6.1 and later, which keep pointers
    cgroup_ancestor_ids: "cgroup"."ancestor_ids",
    /// `struct sock *`
    socket_sk: "socket"."sk",
    /// `socket_state`, 32 bits
    socket_state: "socket"."state",
    /// `unsigned short`
    sock_family: "sock"."__sk_common.skc_family",
    /// `__be16`
    sock_far_port: "sock"."__sk_common.skc_dport",
    /// `__u16`
    sock_near_port: "sock"."__sk_common.skc_num",
    /// `__be32`
    sock_far_ip4: "sock"."__sk_common.skc_daddr",
    /// `struct in6_addr`
    sock_far_ip6: "sock"."__sk_common.skc_v6_daddr",
    /// `gfp_t`, 32 bits
    sock_allocation: "sock"."sk_allocation",
    /// `u16`
    sock_protocol: "sock"."sk_protocol",
    /// `void *`
    msg_name: "msghdr"."msg_name",
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, `u32` only, every bit pattern is valid.
unsafe impl aya::Pod for Offsets {}
