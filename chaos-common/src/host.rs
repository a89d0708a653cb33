//! What user space tells the programs about this kernel before it loads them.
//!
//! These are numbers in the programs' read-only data, written by the loader and frozen. The verifier knows them and does
//! not look at branches that they rule out; so one object serves kernels that lack a helper function which such a branch
//! calls.

/// Name of the `u32` that says whether a call can be given a return value of our own (`bpf_set_retval` and
/// `bpf_get_retval`, Linux 5.18): anything but 0. Without it, a call that is denied fails with EPERM.
pub const SETS_RETVAL: &str = "KCHAOS_SETS_RETVAL";

/// Name of the `u32` that says whether the kernel tells programs in its own functions which cgroups the calling task is in
/// (`bpf_get_current_ancestor_cgroup_id`, Linux 5.11): anything but 0. Without it they look into the task.
pub const KNOWS_ANCESTORS: &str = "KCHAOS_KNOWS_ANCESTORS";

/// Name of the `u32` that says whether all programs of an experiment may hold locks: anything but 0. Programs in functions
/// of the kernel's may not on old kernels (5.10); user space refuses rules that remember something there.
pub const LOCKS: &str = "KCHAOS_LOCKS";
