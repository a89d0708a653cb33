//! What user space tells the programs about this kernel before it loads them.
//!
//! These are numbers in the programs' read-only data, written by the loader and frozen. The verifier knows them and does
//! not look at branches that they rule out; so one object serves kernels that lack a helper function which such a branch
//! calls.

/// Name of the `u32` that says whether a call can be given a return value of our own (`bpf_set_retval` and
/// `bpf_get_retval`, Linux 5.18): anything but 0. Without it, a call that is denied fails with EPERM.
pub const SETS_RETVAL: &str = "KCHAOS_SETS_RETVAL";
