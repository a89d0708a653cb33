//! A packet as the kernel hands it to tc and cgroup programs, its fields and bytes behind safe functions with their units.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, bpf_hdr_start_off, bpf_sock},
    helpers::generated::{
        bpf_clone_redirect, bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id, bpf_skb_change_tail,
        bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_skb_store_bytes,
    },
    programs::{SkBuffContext, TcContext},
};

/// A packet as tc and cgroup programs see it.
pub struct Skb(*mut __sk_buff);

impl From<*mut __sk_buff> for Skb {
    #[inline(always)]
    fn from(context: *mut __sk_buff) -> Self {
        Self(context)
    }
}

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
    /// The packet as the kernel hands it to the program.
    #[inline(always)]
    pub const fn context(&self) -> *mut __sk_buff {
        self.0
    }

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

    /// Index of the device the packet is at.
    #[inline(always)]
    pub fn device(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).ifindex }
    }

    /// The socket that sends it, or that it was given to; null if there is none.
    #[inline(always)]
    pub fn socket(&self) -> *const bpf_sock {
        // SAFETY: as above. Volatile: one load of the whole pointer, which the verifier knows.
        unsafe { (&raw const (*self.0).__bindgen_anon_2.sk).read_volatile().cast_const() }
    }

    /// Whether it is for this host alone, by its link-layer address.
    #[inline(always)]
    pub fn is_for_host(&self) -> bool {
        const PACKET_HOST: u32 = 0;
        // SAFETY: as above.
        unsafe { (*self.0).pkt_type == PACKET_HOST }
    }

    /// Length in bytes, with its link-layer header.
    #[inline(always)]
    pub fn length(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).len }
    }

    /// Length in bytes that its segments have on the wire, with the headers of each.
    #[inline(always)]
    pub fn wire_length(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).wire_len }
    }

    /// Into how many packets it is yet to be cut; 0 or 1 for most.
    #[inline(always)]
    pub fn segments(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).gso_segs }
    }

    /// `SO_MARK` and whatever else uses it.
    #[inline(always)]
    pub fn mark(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).mark }
    }

    /// See [`Self::mark`].
    #[inline(always)]
    pub fn set_mark(&self, mark: u32) {
        // SAFETY: as above, and as in [`Self::set_tag`].
        unsafe { (&raw mut (*self.0).mark).write_volatile(mark) }
    }

    /// `SO_PRIORITY`, and the class of queueing disciplines.
    #[inline(always)]
    pub fn priority(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).priority }
    }

    /// See [`Self::priority`].
    #[inline(always)]
    pub fn set_priority(&self, priority: u32) {
        // SAFETY: as above, and as in [`Self::set_tag`].
        unsafe { (&raw mut (*self.0).priority).write_volatile(priority) }
    }

    /// When it is due to leave (`CLOCK_MONOTONIC`, ns), for queues that look at it; 0 for at once.
    #[inline(always)]
    pub fn set_time(&self, ns: u64) {
        // SAFETY: as above, and as in [`Self::set_tag`].
        unsafe { (&raw mut (*self.0).tstamp).write_volatile(ns) }
    }

    /// `N` bytes at `offset` from its start, link-layer header included, or `None` past its end. Unlike [`Self::load`] it
    /// reaches what is not in the linear part of the buffer, where TCP has its data.
    #[inline(always)]
    pub fn data<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the buffer is N bytes long.
        let failed =
            unsafe { bpf_skb_load_bytes(self.0.cast(), offset, bytes.as_mut_ptr().cast(), N as u32) };
        // SAFETY: the kernel has filled it.
        if failed == 0 { Some(unsafe { bytes.assume_init() }) } else { None }
    }

    /// Its first 16 bytes, link-layer header included.
    #[inline(always)]
    pub fn start(&self) -> Option<[u64; 2]> {
        let mut words = MaybeUninit::<[u64; 2]>::uninit();
        // SAFETY: the buffer is 16 bytes long.
        let failed = unsafe { bpf_skb_load_bytes(self.0.cast(), 0, words.as_mut_ptr().cast(), 16) };
        // SAFETY: the kernel has filled it.
        if failed == 0 { Some(unsafe { words.assume_init() }) } else { None }
    }

    /// Where its network header begins: 14 with an Ethernet header, and 0 without (all else is taken for that).
    #[inline(always)]
    pub fn network_offset(&self) -> u32 {
        const ETHERNET: u32 = 14;
        let mut behind = [0u8; 4];
        // SAFETY: the buffer is 4 bytes long.
        let failed = unsafe { bpf_skb_load_bytes(self.0.cast(), ETHERNET, behind.as_mut_ptr().cast(), 4) };
        // Version, service and length, which are no part of an address or a port by chance.
        if failed == 0 && self.load::<4>(0) == Some(behind) && self.start_ethertype() { ETHERNET } else { 0 }
    }

    /// Whether its `EtherType` stands where an Ethernet header has it.
    #[inline(always)]
    fn start_ethertype(&self) -> bool {
        self.start().is_some_and(|[_, rest]| ((rest >> 32) as u16).swap_bytes() == self.ethertype())
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

    /// Puts `N` bytes at `offset` from the network header into `buffer`, at the index `to`; `false` past the end of either.
    #[inline(always)]
    pub fn copy<const N: usize>(&self, offset: u32, buffer: &mut [u8], to: usize) -> bool {
        let Some(place) = buffer.get_mut(to..to + N) else { return false };
        // SAFETY: the place is N bytes long.
        unsafe {
            bpf_skb_load_bytes_relative(
                self.0.cast(),
                offset,
                place.as_mut_ptr().cast(),
                N as u32,
                bpf_hdr_start_off::BPF_HDR_START_NET,
            ) == 0
        }
    }

    /// `N` bytes at `offset` from the network header, or `None` past the end of the linear part, which has the headers.
    /// Relative to the network header, so devices with and without a link-layer header, and VLAN tags, need no care.
    #[inline(always)]
    pub fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
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
        // SAFETY: the kernel has filled it.
        if failed == 0 { Some(unsafe { bytes.assume_init() }) } else { None }
    }

    /// Writes at `offset` from its start, link-layer header included. A sum that a network card has made of all bytes
    /// follows, but no checksum in a header.
    #[inline(always)]
    pub fn store<T: Copy>(&self, offset: u32, bytes: &T) -> Option<()> {
        const RECOMPUTE_CSUM: u64 = 1;
        self.store_with(offset, bytes, RECOMPUTE_CSUM)
    }

    /// The same where no such sum changes: the link-layer header is not in it, and changes that cancel each other out are
    /// none.
    #[inline(always)]
    pub fn store_unseen<T: Copy>(&self, offset: u32, bytes: &T) -> Option<()> {
        self.store_with(offset, bytes, 0)
    }

    #[inline(always)]
    fn store_with<T: Copy>(&self, offset: u32, bytes: &T, flags: u64) -> Option<()> {
        // SAFETY: a helper on the program's packet; what is written is as long as said.
        let failed = unsafe {
            bpf_skb_store_bytes(self.0, offset, (&raw const *bytes).cast(), size_of::<T>() as u32, flags)
        };
        if failed == 0 { Some(()) } else { None }
    }

    /// Cuts it off at this length, link-layer header included. It is one packet then, however many it was to be cut into.
    #[inline(always)]
    pub fn cut(&self, length: u32) -> Option<()> {
        // SAFETY: a helper on the program's packet.
        if unsafe { bpf_skb_change_tail(self.0, length, 0) } == 0 { Some(()) } else { None }
    }

    /// Sends a copy on from where the packet is: received by the device once more, or sent. It belongs to no socket.
    #[inline(always)]
    pub fn send_copy(&self, received: bool) -> bool {
        const INGRESS: u64 = 1;
        let flags = if received { INGRESS } else { 0 };
        // SAFETY: a helper on the program's packet.
        unsafe { bpf_clone_redirect(self.0, self.device(), flags) == 0 }
    }
}
