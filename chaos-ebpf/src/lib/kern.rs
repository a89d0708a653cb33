//! The kernel helpers used, each behind a safe function with its units.

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, bpf_hdr_start_off},
    helpers::generated::{
        bpf_get_current_cgroup_id, bpf_get_retval, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
        bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id, bpf_skb_load_bytes_relative,
    },
    programs::{SkBuffContext, TcContext},
};

/// `CLOCK_BOOTTIME` in nanoseconds: runs on through suspend and does not follow wall-clock steps.
#[inline(always)]
pub fn boot_ns() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The CPU that runs the program.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: no arguments.
    unsafe { bpf_get_smp_processor_id() as u32 }
}

/// Id of the calling task's cgroup (v2).
#[inline(always)]
pub fn current_cgroup() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_get_current_cgroup_id() }
}

/// Whether this kernel lets a program say how a call fails: `chaos_common::host::SETS_RETVAL`, written by the loader.
#[unsafe(no_mangle)]
static KCHAOS_SETS_RETVAL: u32 = 1;

/// See [`KCHAOS_SETS_RETVAL`]. Where this is false the verifier never looks at what follows from it.
#[inline(always)]
pub fn sets_retval() -> bool {
    // SAFETY: a live static. Volatile: to the compiler it is a constant, to the loader it is not.
    unsafe { (&raw const KCHAOS_SETS_RETVAL).read_volatile() != 0 }
}

/// What earlier programs of this hook made of the call: 0 or a negative errno. A kernel that cannot tell
/// ([`sets_retval`]) says 0.
#[inline(always)]
pub fn earlier_verdict() -> i32 {
    if !sets_retval() {
        return 0;
    }
    // SAFETY: no arguments.
    unsafe { bpf_get_retval() as i32 }
}

/// A packet as tc and cgroup programs see it.
pub struct Skb(*mut __sk_buff);

impl From<&TcContext> for Skb {
    #[inline(always)]
    fn from(ctx: &TcContext) -> Self {
        Self(ctx.as_ptr().cast())
    }
}

impl From<&SkBuffContext> for Skb {
    #[inline(always)]
    fn from(ctx: &SkBuffContext) -> Self {
        Self(ctx.as_ptr().cast())
    }
}

impl EbpfContext for Skb {
    #[inline(always)]
    fn as_ptr(&self) -> *mut core::ffi::c_void {
        self.0.cast()
    }
}

impl Skb {
    /// `EtherType` of the packet, in host byte order.
    #[inline(always)]
    pub fn ethertype(&self) -> u16 {
        // SAFETY: the kernel hands a valid context to the program.
        u16::from_be(unsafe { (*self.0).protocol } as u16)
    }

    /// Index of the device the packet was received on; 0 if it was made on this host, in this network namespace.
    #[inline(always)]
    pub fn ingress_ifindex(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).ingress_ifindex }
    }

    /// The 16 bits of `tc_index`: they travel with the packet through devices, and hardly anyone else uses them.
    #[inline(always)]
    pub fn tag(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).tc_index }
    }

    /// Sets the 16 bits of [`Self::tag`].
    #[inline(always)]
    pub fn set_tag(&self, tag: u32) {
        // SAFETY: as above. Volatile: the verifier refuses stores to the context that LLVM has merged or widened.
        unsafe { (&raw mut (*self.0).tc_index).write_volatile(tag) }
    }

    /// Id of the cgroup (v2) of the socket that sends or receives the packet; 0 if there is none.
    #[inline(always)]
    pub fn cgroup(&self) -> u64 {
        // SAFETY: a valid context.
        unsafe { bpf_skb_cgroup_id(self.0) }
    }

    /// Id of that cgroup's ancestor at `level` (0 is the root); 0 if it has none there.
    #[inline(always)]
    pub fn ancestor_cgroup(&self, level: u32) -> u64 {
        // SAFETY: a valid context.
        unsafe { bpf_skb_ancestor_cgroup_id(self.0, level as i32) }
    }

    /// `N` bytes at `offset` from the network header, or `None` past the packet's end. Relative to the network header,
    /// so devices with and without a link-layer header, and VLAN tags, need no care.
    #[inline(always)]
    pub fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0u8; N];
        // SAFETY: the buffer is N bytes long.
        let failed = unsafe {
            bpf_skb_load_bytes_relative(
                self.0.cast(),
                offset,
                bytes.as_mut_ptr().cast(),
                N as u32,
                bpf_hdr_start_off::BPF_HDR_START_NET,
            )
        };
        if failed == 0 { Some(bytes) } else { None }
    }
}
