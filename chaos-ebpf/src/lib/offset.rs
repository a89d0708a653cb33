//! Where members of the kernel's structures are, and how they are read.
//!
//! Everything is copied by a helper function, which finds zeros where nothing is. A pointer that a hook hands over could
//! be followed directly, and then the kernel believes what it knows of the hook: among the security modules that no
//! argument is ever nothing, though `mmap_file` has no file for memory without one. It would take our own question
//! for dead code, and read from address 0. So an argument is a number here, and no more is known of it.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_probe_read_kernel, programs::LsmContext};
use chaos_common::offsets::Offsets;

/// `chaos_common::offsets::NAME`, written by the loader.
#[unsafe(no_mangle)]
static KCHAOS_OFFSETS: Offsets = Offsets::NONE;

/// One of the offsets. Volatile: to the compiler it is a constant, to the loader it is not.
macro_rules! offset {
    ($field:ident) => {
        $crate::lib::offset::known(core::mem::offset_of!(chaos_common::offsets::Offsets, $field))
    };
}
pub(crate) use offset;

/// Reads one of [`Offsets`], by its place there.
#[inline(always)]
pub fn known(place: usize) -> usize {
    // SAFETY: a live static, and a place inside of it.
    unsafe { (&raw const KCHAOS_OFFSETS).byte_add(place).cast::<u32>().read_volatile() as usize }
}

/// A structure of the kernel's, by its address.
#[derive(Clone, Copy)]
pub struct Known(u64);

impl Known {
    /// An argument of a hook.
    #[inline(always)]
    pub fn argument(ctx: &LsmContext, number: usize) -> Self {
        Self(copied(ctx.as_ptr() as u64, number * size_of::<u64>()).unwrap_or(0))
    }

    /// What is at an address.
    #[inline(always)]
    pub const fn at(address: u64) -> Self {
        Self(address)
    }

    /// What a member that is a pointer points to, unless that is nothing.
    #[inline(always)]
    pub fn follow(self, offset: usize) -> Option<Self> {
        let next = self.read(offset);
        if next == 0 { None } else { Some(Self(next)) }
    }

    /// A structure inside of this one.
    #[inline(always)]
    pub fn inside(self, offset: usize) -> Self {
        Self(self.0.wrapping_add(offset as u64))
    }

    /// A number; zeros where nothing is.
    #[inline(always)]
    pub fn read<T: Copy>(self, offset: usize) -> T {
        copy(self.0, offset).0
    }

    /// Whether a hook was handed nothing.
    #[inline(always)]
    pub fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// The same, for a helper function that copies.
    #[inline(always)]
    pub const fn pointer(self) -> *const c_void {
        self.0 as *const c_void
    }

    /// Its address.
    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0
    }
}

/// Copies `T` from an address of the kernel's. `None`: there is nothing.
#[inline(always)]
pub fn copied<T: Copy>(address: u64, offset: usize) -> Option<T> {
    let (value, failed) = copy(address, offset);
    if failed { None } else { Some(value) }
}

/// The value, and whether there is none.
#[inline(always)]
fn copy<T: Copy>(address: u64, offset: usize) -> (T, bool) {
    let mut value = MaybeUninit::<T>::uninit();
    let from = address.wrapping_add(offset as u64) as *const c_void;
    // SAFETY: the helper fills all of the value, with zeros if it cannot read; these are numbers only.
    unsafe {
        let failed = bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        (value.assume_init(), failed != 0)
    }
}
